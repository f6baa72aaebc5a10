//! Small worlds in which calls wait: who sleeps, whom a call wakes, in which order.
//!
//! The actors are processes; each sequence has new ones, and a referee (see `fuzz::exec`).

use super::small::{handler, of_the_first, Small};
use crate::fuzz::program::{Call, Place, Reg, Step, What};

pub const A: i32 = libc::SIGUSR1;
const B: i32 = 35;

pub fn by(who: u8, call: Call) -> Step {
    Step { who, call }
}

pub fn fork(child: u8) -> Call {
    Call::Fork { child }
}

pub fn kill(whom: u8, signal: i32) -> Call {
    Call::Kill { whom, signal }
}

/// What SIGUSR1 interrupts begins again.
pub fn restarting_handler(signal: i32) -> Call {
    Call::Action {
        signal,
        what: What::Handler,
        flags: libc::SA_RESTART,
        mask: vec![],
    }
}

pub fn small(before: Vec<Call>, letters: Vec<Step>, after: Vec<Step>) -> Small {
    Small {
        before: of_the_first(before),
        letters,
        after,
        waits: true,
    }
}

/// A pipe of one page between two processes.
pub fn pipe() -> Small {
    let (r, w) = (0, 1);
    let at = Place::Good;
    let read = |who, len| by(who, Call::Read { fd: r, len, at });
    let write = |who, len| by(who, Call::Write { fd: w, len, at });
    let close = |who, fd| by(who, Call::Close { fd });
    let before = vec![
        handler(libc::SIGPIPE),
        handler(A),
        Call::Pipe2 { r, w, flags: 0 },
        Call::Fcntl {
            fd: w,
            cmd: libc::F_SETPIPE_SZ,
            arg: 4096,
        },
        fork(1),
    ];
    let letters = vec![
        write(0, 1),
        write(0, 4096),
        write(0, 10_000),
        write(1, 1),
        read(1, 1),
        read(1, 4096),
        read(0, 4096),
        by(1, poll(r, libc::POLLIN)),
        by(0, poll(w, libc::POLLOUT)),
        close(0, w),
        close(1, w),
        close(0, r),
        close(1, r),
        by(1, kill(0, A)),
        by(0, kill(1, A)),
        by(1, restarting_handler(A)),
    ];
    let left = |who| by(who, Call::Fionread { fd: r });
    small(before, letters, vec![left(0), left(1)])
}

/// A wait for this, without an end.
fn poll(fd: Reg, events: i16) -> Call {
    let fds = vec![(fd, events)];
    Call::Poll { fds, ms: -1 }
}

/// A set of two semaphores, and three processes.
pub fn sem() -> Small {
    let semop = |who, ops: &[(u16, i16)]| {
        let op = |(num, op): &(u16, i16)| (*num, *op, 0);
        let ops = ops.iter().map(op).collect();
        by(who, Call::Semop { id: 0, ops })
    };
    // Its death gives one back.
    let undone = |who| {
        let ops = vec![(0, 2, 0), (0, -1, libc::SEM_UNDO as i16)];
        by(who, Call::Semop { id: 0, ops })
    };
    let semctl = |who, num, cmd, value| {
        let id = 0;
        by(
            who,
            Call::Semctl {
                id,
                num,
                cmd,
                value,
            },
        )
    };
    let before = vec![
        handler(A),
        Call::Semget { to: 0, count: 2 },
        fork(1),
        fork(2),
    ];
    let letters = vec![
        semop(0, &[(0, 1)]),
        semop(0, &[(0, 2)]),
        semop(0, &[(0, -1)]),
        semop(0, &[(1, 1)]),
        semop(1, &[(0, -1)]),
        semop(1, &[(0, -2), (1, 1)]),
        semop(1, &[(0, 0)]),
        semop(2, &[(0, -1)]),
        semop(2, &[(0, 0), (0, 1)]),
        semop(2, &[(1, -1), (0, -1)]),
        undone(2),
        semctl(0, 0, libc::SETVAL, 3),
        semctl(0, 0, libc::GETNCNT, 0),
        semctl(0, 0, libc::IPC_RMID, 0),
        by(0, kill(1, A)),
        by(0, kill(2, libc::SIGKILL)),
    ];
    let told = |num, cmd| semctl(0, num, cmd, 0);
    let after = vec![
        told(0, libc::GETVAL),
        told(1, libc::GETVAL),
        told(0, libc::GETZCNT),
        told(0, libc::GETNCNT),
    ];
    small(before, letters, after)
}

/// A queue for two messages of the largest kind, and three processes.
pub fn msg() -> Small {
    let (id, flags) = (0, 0);
    let send = |who, kind, len| {
        by(
            who,
            Call::Msgsnd {
                id,
                kind,
                len,
                flags,
            },
        )
    };
    let receive = |who, kind, flags| {
        let len = 8192;
        by(
            who,
            Call::Msgrcv {
                id,
                kind,
                len,
                flags,
            },
        )
    };
    let before = vec![handler(A), Call::Msgget { to: 0 }, fork(1), fork(2)];
    let letters = vec![
        send(0, 1, 1),
        send(0, 2, 0),
        send(0, 2, 8192),
        send(0, 3, 8192),
        send(1, 1, 8192),
        receive(1, 0, 0),
        receive(1, 2, 0),
        receive(2, 1, 0),
        receive(2, -2, 0),
        receive(2, 1, libc::MSG_EXCEPT),
        receive(0, 0, libc::IPC_NOWAIT),
        by(0, Call::Msgrm { id }),
        by(0, kill(1, A)),
        by(2, kill(0, A)),
        by(0, kill(1, libc::SIGKILL)),
    ];
    small(before, letters, vec![by(0, Call::Msgcount { id })])
}

/// A queue of one message, and three processes.
pub fn mq() -> Small {
    let (fd, at) = (0, Place::Good);
    let send = |who, priority| {
        let len = u32::from(who);
        by(
            who,
            Call::MqSend {
                fd,
                len,
                priority,
                at,
            },
        )
    };
    let receive = |who| by(who, Call::MqReceive { fd, len: 8, at });
    let before = vec![
        handler(A),
        Call::MqOpen {
            to: fd,
            name: 0,
            flags: libc::O_RDWR | libc::O_CREAT,
            most: 1,
            size: 8,
        },
        fork(1),
        fork(2),
    ];
    let letters = vec![
        send(0, 0),
        send(0, 5),
        send(1, 1),
        send(2, 2),
        receive(0),
        receive(1),
        receive(2),
        by(0, Call::MqNotify { fd, signal: A }),
        by(0, kill(1, A)),
        by(1, kill(2, A)),
        by(2, kill(0, A)),
        by(1, restarting_handler(A)),
        by(0, kill(2, libc::SIGKILL)),
        by(0, Call::Close { fd }),
        by(1, poll(fd, libc::POLLIN)),
    ];
    small(before, letters, vec![by(0, Call::MqAttr { fd })])
}

/// Two signals, and two processes that wait for them.
pub fn signal() -> Small {
    let take = |who, set: &[i32]| {
        let set = set.to_vec();
        by(who, Call::Take { set, waits: true })
    };
    let suspend = |who, set: &[i32]| by(who, Call::Suspend { set: set.to_vec() });
    let mask = |who, how, set: &[i32]| {
        let set = set.to_vec();
        by(who, Call::Mask { how, set })
    };
    let queue = |who, whom, signal, value| {
        by(
            who,
            Call::Queue {
                whom,
                signal,
                value,
            },
        )
    };
    let before = vec![
        handler(A),
        handler(B),
        Call::Mask {
            how: libc::SIG_BLOCK,
            set: vec![A],
        },
        fork(1),
    ];
    let letters = vec![
        take(1, &[A]),
        take(1, &[B]),
        take(1, &[A, B]),
        take(0, &[A, B]),
        suspend(1, &[]),
        suspend(1, &[A]),
        mask(1, libc::SIG_BLOCK, &[B]),
        mask(1, libc::SIG_UNBLOCK, &[A]),
        by(0, kill(1, A)),
        by(1, kill(0, A)),
        queue(0, 1, A, 1),
        queue(0, 1, B, 2),
        queue(1, 1, B, 3),
        by(1, Call::Pending),
        by(0, kill(1, libc::SIGKILL)),
    ];
    let unmask = |who| mask(who, libc::SIG_SETMASK, &[]);
    small(before, letters, vec![unmask(1), unmask(0)])
}
