//! Small worlds: few objects, and all calls on them that can make a difference.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{sems, waits};
use crate::fuzz::program::{Call, Place, Program, Reg, Step, What};

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
pub enum Object {
    Pipe,
    Eventfd,
    Stream,
    Dgram,
    Seqpacket,
    Mq,
    /// System V semaphores
    Sem,
    Msg,
    PosixSem,
    /// Two signals, one thread
    Signal,
    /// Two signals, two threads
    Threads,
    /// Calls that wait, of two or three processes
    WaitPipe,
    WaitSem,
    WaitMsg,
    WaitMq,
    WaitSignal,
    WaitPosixSem,
}

impl Object {
    /// What `ringer check` tries without --depth: some minutes at the most.
    pub fn usual_depth(self) -> usize {
        match self {
            Object::Mq | Object::Threads | Object::PosixSem => 4,
            _ if Small::of(self).waits => 3,
            _ => 5,
        }
    }
}

pub struct Small {
    /// Done before each sequence.
    pub before: Vec<Step>,
    /// A sequence is made of these.
    pub letters: Vec<Step>,
    /// Done after each, so that what it left shows.
    pub after: Vec<Step>,
    /// Its calls may wait: each sequence has processes of its own.
    pub waits: bool,
}

impl Small {
    pub fn of(object: Object) -> Small {
        let small = |before: Vec<Call>, letters: Vec<Call>| Small {
            before: of_the_first(before),
            letters: of_the_first(letters),
            after: vec![],
            waits: false,
        };
        match object {
            Object::Pipe => small(
                vec![handler(libc::SIGPIPE), pipe2(libc::O_NONBLOCK)],
                pipe(),
            ),
            Object::Eventfd => small(eventfds(), eventfd()),
            Object::Stream => small(pair(libc::SOCK_STREAM), socket(&[1, 4096, 65536])),
            Object::Dgram => small(pair(libc::SOCK_DGRAM), socket(&[0, 1, 4096])),
            Object::Seqpacket => small(pair(libc::SOCK_SEQPACKET), socket(&[0, 1, 4096])),
            Object::Mq => small(vec![handler(libc::SIGUSR1), mq_open(0, O_CREATE)], mq()),
            Object::Sem => small(vec![Call::Semget { to: 0, count: 2 }], sem()),
            Object::Msg => small(vec![Call::Msgget { to: 0 }], msg()),
            Object::Signal => Small {
                after: of_the_first(vec![mask(libc::SIG_SETMASK, &[])]),
                ..small(signals_before(), signal())
            },
            Object::Threads => threads(),
            Object::WaitPipe => waits::pipe(),
            Object::WaitSem => waits::sem(),
            Object::WaitMsg => waits::msg(),
            Object::WaitMq => waits::mq(),
            Object::WaitSignal => waits::signal(),
            Object::PosixSem => sems::calls(),
            Object::WaitPosixSem => sems::waits(),
        }
    }

    /// A part is not longer than so many sequences: that much is done again, if it differs.
    pub fn most_of_a_part(&self) -> usize {
        match self.waits {
            true => 100,
            false => 4000,
        }
    }

    /// A sequence as a program that `ringer fuzz --replay` takes.
    pub fn program(&self, sequence: &[u8]) -> Program {
        let letter = |at: &u8| self.letters.get(usize::from(*at)).cloned();
        let steps = self.before.iter().cloned();
        Program {
            seed: 0,
            steps: steps
                .chain(sequence.iter().filter_map(letter))
                .chain(self.after.iter().cloned())
                .collect(),
        }
    }
}

pub fn of_the_first(calls: Vec<Call>) -> Vec<Step> {
    let step = |call| Step { who: 0, call };
    calls.into_iter().map(step).collect()
}

fn read(fd: Reg, len: u32) -> Call {
    let at = Place::Good;
    Call::Read { fd, len, at }
}

fn write(fd: Reg, len: u32) -> Call {
    let at = Place::Good;
    Call::Write { fd, len, at }
}

fn close(fd: Reg) -> Call {
    Call::Close { fd }
}

fn poll(fds: &[Reg]) -> Call {
    let both = |fd: &Reg| (*fd, libc::POLLIN | libc::POLLOUT);
    Call::Poll {
        fds: fds.iter().map(both).collect(),
        ms: 0,
    }
}

pub fn handler(signal: i32) -> Call {
    Call::Action {
        signal,
        what: What::Handler,
        flags: 0,
        mask: vec![],
    }
}

/// A pipe of registers 0 and 1.
fn pipe2(flags: i32) -> Call {
    Call::Pipe2 { r: 0, w: 1, flags }
}

fn pipe() -> Vec<Call> {
    let sizes = [1, 4095, 4096, 4097, 65536];
    let fcntl = |cmd, arg| Call::Fcntl { fd: 1, cmd, arg };
    let mut letters: Vec<Call> = sizes.map(|len| write(1, len)).to_vec();
    letters.extend(sizes.map(|len| read(0, len)));
    letters.extend([
        fcntl(libc::F_SETPIPE_SZ, 4096),
        fcntl(libc::F_SETPIPE_SZ, 131_072),
        fcntl(libc::F_SETFL, libc::O_NONBLOCK | libc::O_DIRECT),
        fcntl(libc::F_SETFL, libc::O_NONBLOCK),
        Call::Fionread { fd: 0 },
        poll(&[0, 1]),
        Call::Dup { fd: 0, to: 2 },
        Call::Dup { fd: 1, to: 3 },
        close(0),
        close(1),
        close(2),
        close(3),
    ]);
    letters
}

/// An eventfd and one that is a semaphore.
fn eventfds() -> Vec<Call> {
    let eventfd = |to, count, flags| Call::Eventfd {
        to,
        count,
        flags: libc::EFD_NONBLOCK | flags,
    };
    vec![eventfd(0, 0, 0), eventfd(1, 2, libc::EFD_SEMAPHORE)]
}

fn eventfd() -> Vec<Call> {
    let add = |fd, value| Call::Add { fd, value };
    vec![
        read(0, 8),
        read(1, 8),
        read(0, 7),
        read(1, 16),
        add(0, 0),
        add(0, 1),
        add(1, 1),
        add(0, u64::MAX - 1),
        add(1, u64::MAX - 1),
        add(0, u64::MAX),
        write(0, 7),
        poll(&[0]),
        poll(&[0, 1]),
        Call::Dup { fd: 0, to: 2 },
        add(2, 1),
        read(2, 8),
        close(0),
        close(2),
    ]
}

fn pair(kind: i32) -> Vec<Call> {
    let kind = kind | libc::SOCK_NONBLOCK;
    vec![
        handler(libc::SIGPIPE),
        Call::Socketpair { a: 0, b: 1, kind },
    ]
}

fn socket(sizes: &[u32]) -> Vec<Call> {
    let at = Place::Good;
    let recv = |fd, len, flags| Call::Recv { fd, len, flags, at };
    let mut letters: Vec<Call> = sizes.iter().map(|len| write(0, *len)).collect();
    letters.extend([
        write(1, 1),
        read(1, 1),
        read(1, 4096),
        read(1, 65536),
        read(0, 4096),
        recv(1, 10, libc::MSG_PEEK),
        recv(1, 10, libc::MSG_TRUNC),
        Call::Fionread { fd: 1 },
        Call::Shutdown { fd: 0, how: 1 },
        Call::Shutdown { fd: 1, how: 0 },
        Call::Dup { fd: 0, to: 2 },
        close(0),
        close(1),
        close(2),
    ]);
    letters
}

const O_CREATE: i32 = libc::O_RDWR | libc::O_CREAT | libc::O_NONBLOCK;

/// The queue of this name has room for three messages of eight bytes.
fn mq_open(to: Reg, flags: i32) -> Call {
    Call::MqOpen {
        to,
        name: 0,
        flags,
        most: 3,
        size: 8,
    }
}

fn mq() -> Vec<Call> {
    let at = Place::Good;
    let (fd, signal) = (0, libc::SIGUSR1);
    let send = |len, priority| Call::MqSend {
        fd,
        len,
        priority,
        at,
    };
    let receive = |fd, len| Call::MqReceive { fd, len, at };
    vec![
        send(1, 0),
        send(8, 1),
        send(8, 0),
        send(0, 32767),
        send(0, 32768),
        send(9, 0),
        receive(0, 8),
        receive(0, 7),
        receive(1, 16),
        Call::MqAttr { fd },
        Call::MqNotify { fd, signal },
        Call::MqNotify { fd, signal: 0 },
        Call::MqUnlink { name: 0 },
        mq_open(1, libc::O_RDONLY | libc::O_NONBLOCK),
        mq_open(1, O_CREATE | libc::O_EXCL),
        poll(&[0]),
        close(0),
        close(1),
    ]
}

fn sem() -> Vec<Call> {
    let nowait = libc::IPC_NOWAIT as i16;
    let undo = nowait | libc::SEM_UNDO as i16;
    let semop = |ops: &[(u16, i16, i16)]| Call::Semop {
        id: 0,
        ops: ops.to_vec(),
    };
    let semctl = |num, cmd, value| Call::Semctl {
        id: 0,
        num,
        cmd,
        value,
    };
    vec![
        semop(&[(0, 1, nowait)]),
        semop(&[(0, -1, nowait)]),
        semop(&[(0, 0, nowait)]),
        semop(&[(1, -1, nowait)]),
        semop(&[(0, -1, nowait), (1, 1, nowait)]),
        semop(&[(1, 2, nowait), (0, -2, nowait)]),
        semop(&[(0, 1, nowait), (0, -2, nowait)]),
        semop(&[(0, 32767, nowait)]),
        semop(&[(0, 1, undo)]),
        semop(&[(0, -1, undo)]),
        semop(&[(2, 1, nowait)]),
        semop(&[]),
        semctl(0, libc::SETVAL, 0),
        semctl(1, libc::SETVAL, 3),
        semctl(0, libc::SETVAL, 32768),
        semctl(0, libc::GETVAL, 0),
        semctl(1, libc::GETVAL, 0),
        semctl(0, libc::IPC_RMID, 0),
    ]
}

fn msg() -> Vec<Call> {
    let id = 0;
    let send = |kind, len| Call::Msgsnd {
        id,
        kind,
        len,
        flags: libc::IPC_NOWAIT,
    };
    let receive = |kind, len, flags| Call::Msgrcv {
        id,
        kind,
        len,
        flags: flags | libc::IPC_NOWAIT,
    };
    vec![
        send(1, 1),
        send(2, 8),
        send(1, 8192),
        send(3, 0),
        send(1, 8193),
        send(0, 1),
        receive(0, 8192, 0),
        receive(1, 8192, 0),
        receive(2, 8192, 0),
        receive(-2, 8192, 0),
        receive(1, 8192, libc::MSG_EXCEPT),
        receive(0, 4, 0),
        receive(0, 4, libc::MSG_NOERROR),
        receive(1, 8192, libc::MSG_COPY),
        Call::Msgcount { id },
        Call::Msgrm { id },
    ]
}

/// A standard signal and a real-time one.
const SIGNALS: [i32; 2] = [libc::SIGUSR1, 35];

/// All is as in the beginning: nothing blocked, nothing pending, both with handlers.
fn signals_before() -> Vec<Call> {
    let nothing = Call::Mask {
        how: libc::SIG_SETMASK,
        set: vec![],
    };
    let mut before = vec![nothing];
    before.extend(SIGNALS.map(handler));
    before
}

fn mask(how: i32, set: &[i32]) -> Call {
    let set = set.to_vec();
    Call::Mask { how, set }
}

fn take(set: &[i32]) -> Call {
    Call::Take {
        set: set.to_vec(),
        waits: false,
    }
}

fn signal() -> Vec<Call> {
    let [a, b] = SIGNALS;
    let (block, unblock) = (libc::SIG_BLOCK, libc::SIG_UNBLOCK);
    let queue = |signal, value| Call::Queue {
        whom: 0,
        signal,
        value,
    };
    let action = |what, flags, mask| Call::Action {
        signal: a,
        what,
        flags,
        mask,
    };
    vec![
        mask(block, &[a]),
        mask(block, &[b]),
        mask(unblock, &[a]),
        mask(unblock, &[b]),
        mask(libc::SIG_SETMASK, &[]),
        Call::Kill { whom: 0, signal: a },
        queue(a, 1),
        queue(b, 1),
        queue(b, 2),
        Call::Raise { signal: a },
        Call::Raise { signal: b },
        Call::Pending,
        take(&[a, b]),
        take(&[a]),
        action(What::Ignore, 0, vec![]),
        action(What::Handler, libc::SA_NODEFER, vec![b]),
    ]
}

fn threads() -> Small {
    let [a, b] = SIGNALS;
    let (block, unblock) = (libc::SIG_BLOCK, libc::SIG_UNBLOCK);
    let mut letters = Vec::new();
    for who in 0..2 {
        let calls = [
            mask(block, &[a]),
            mask(block, &[b]),
            mask(unblock, &[a]),
            mask(unblock, &[b]),
            Call::Pending,
            take(&[a, b]),
            Call::Tgkill {
                whom: who,
                signal: a,
            },
            Call::Tgkill {
                whom: 1 - who,
                signal: a,
            },
            Call::Tgkill {
                whom: 1 - who,
                signal: b,
            },
        ];
        letters.extend(calls.map(|call| Step { who, call }));
    }
    let kill = |signal| Call::Kill { whom: 0, signal };
    letters.extend(of_the_first(vec![kill(a), kill(b)]));
    let mut before = of_the_first(signals_before());
    before.push(Step {
        who: 0,
        call: Call::Thread { child: 1 },
    });
    before.push(Step {
        who: 1,
        call: mask(libc::SIG_SETMASK, &[]),
    });
    let unmask = |who| Step {
        who,
        call: mask(libc::SIG_SETMASK, &[]),
    };
    Small {
        before,
        letters,
        after: vec![unmask(1), unmask(0)],
        waits: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_world_has_its_letters() {
        for object in Object::value_variants() {
            let small = Small::of(*object);
            assert!(!small.before.is_empty() && small.letters.len() >= 15);
            let program = small.program(&[0, 1, 1]);
            let around = small.before.len() + small.after.len();
            assert_eq!(program.steps.len(), around + 3);
        }
    }
}
