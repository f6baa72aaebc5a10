//! Calls that wait, for signal_interrupt.rs: what each does when a signal comes. See signal(7)
//! "Interruption of system calls and library functions by signal handlers".

use crate::signal_makers::*;
use ringer_support::prelude::*;
use ringer_support::rights::socketpair;
use ringer_support::{check, transfer};
use std::ptr::{null, null_mut};
use When::{Never, Restart};

/// Which handlers end the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Those without SA_RESTART.
    Restart,
    /// All: it is never restarted.
    Never,
}

pub struct Call {
    pub name: &'static str,
    pub when: When,
    /// Whether a stop and SIGCONT end it, without any handler.
    pub stop_ends_it: bool,
    /// Makes what it needs, says that it is ready, and waits.
    pub run: fn(&dyn Fn()) -> Sys,
}

macro_rules! call {
    ($name:literal, $when:expr, |$go:ident| $body:expr) => {
        Call {
            name: $name,
            when: $when,
            stop_ends_it: false,
            run: |$go| $body,
        }
    };
    ($name:literal, $when:expr, stop, |$go:ident| $body:expr) => {
        Call {
            name: $name,
            when: $when,
            stop_ends_it: true,
            run: |$go| $body,
        }
    };
}

/// After `go`, the call.
macro_rules! then {
    ($go:ident, $call:expr) => {{
        $go();
        // SAFETY: what the call needs was made above, or is a number.
        #[allow(unused_unsafe)]
        check(unsafe { $call } as i64)
    }};
}

pub const DESCRIPTORS: &[Call] = &[
    call!("read of a pipe", Restart, |go| {
        let p = pipe();
        go();
        read(&p.r, &mut [0])
    }),
    call!("readv of a pipe", Restart, |go| {
        let p = pipe();
        let part = libc::iovec {
            iov_base: null_mut(),
            iov_len: 1,
        };
        then!(go, libc::readv(p.r.number(), &part, 1))
    }),
    call!("write to a full pipe", Restart, |go| {
        let p = full_pipe();
        go();
        write(&p.w, b"x")
    }),
    call!("splice of an empty pipe", Restart, |go| {
        let (p, q) = (pipe(), pipe());
        go();
        transfer::splice(&p.r, &q.w, 10, 0)
    }),
    call!("tee of an empty pipe", Restart, |go| {
        let (p, q) = (pipe(), pipe());
        go();
        transfer::tee(&p.r, &q.w, 10, 0)
    }),
    call!("open of a FIFO", Restart, |go| {
        let path = std::ffi::CString::new(format!("/tmp/ringer-fifo-{}", getpid())).unwrap();
        // SAFETY: a C string.
        check(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }).unwrap();
        let done = then!(go, libc::open(path.as_ptr(), O_RDONLY));
        // SAFETY: a C string.
        unsafe { libc::unlink(path.as_ptr()) };
        done
    }),
    call!("recv", Restart, |go| {
        let (a, _b) = socketpair(libc::SOCK_STREAM);
        go();
        receive(&a, 0)
    }),
    call!("read of a socket", Restart, |go| {
        let (a, _b) = socketpair(libc::SOCK_SEQPACKET);
        go();
        read(&a, &mut [0])
    }),
    call!("recvmsg", Restart, |go| {
        let (a, _b) = socketpair(libc::SOCK_DGRAM);
        go();
        message(&a, true)
    }),
    call!("recv with SO_RCVTIMEO", Never, stop, |go| {
        let (a, _b) = socketpair(libc::SOCK_STREAM);
        limit_time(&a, libc::SO_RCVTIMEO);
        go();
        receive(&a, 0)
    }),
    call!("send", Restart, |go| {
        let (a, _b) = full_pair(libc::SOCK_STREAM);
        go();
        send(&a)
    }),
    call!("sendmsg", Restart, |go| {
        let (a, _b) = full_pair(libc::SOCK_DGRAM);
        go();
        message(&a, false)
    }),
    call!("write to a socket", Restart, |go| {
        let (a, _b) = full_pair(libc::SOCK_SEQPACKET);
        go();
        write(&a, b"x")
    }),
    call!("send with SO_SNDTIMEO", Never, stop, |go| {
        let (a, _b) = full_pair(libc::SOCK_STREAM);
        limit_time(&a, libc::SO_SNDTIMEO);
        go();
        send(&a)
    }),
    call!("accept", Restart, |go| {
        let (fd, ..) = listener();
        then!(go, libc::accept(fd.number(), null_mut(), null_mut()))
    }),
    call!("accept with SO_RCVTIMEO", Never, stop, |go| {
        let (fd, ..) = listener();
        limit_time(&fd, libc::SO_RCVTIMEO);
        then!(go, libc::accept4(fd.number(), null_mut(), null_mut(), 0))
    }),
    call!("connect", Restart, |go| {
        let (_fd, to, len) = listener();
        connect(&to, len, &|| {}).unwrap();
        connect(&to, len, go)
    }),
    call!("read of an eventfd", Restart, |go| {
        let fd = ringer_support::ready::eventfd(0);
        set_nonblocking(&fd, false);
        go();
        read(&fd, &mut [0; 8])
    }),
    call!("write to a full eventfd", Restart, |go| {
        let fd = ringer_support::ready::eventfd(0);
        set_nonblocking(&fd, false);
        write(&fd, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        go();
        write(&fd, &1u64.to_ne_bytes())
    }),
    call!("read of a timerfd", Restart, |go| {
        // SAFETY: numbers.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, 0) };
        go();
        read(&Fd::own(fd as usize), &mut [0; 8])
    }),
    call!("read of a signalfd", Restart, |go| {
        sig::block(sig::bit(SIGALRM));
        let fd = signal::signalfd(SIGALRM, 0);
        go();
        read(&fd, &mut [0; 128])
    }),
    call!("read of an inotify", Restart, |go| {
        // SAFETY: no argument.
        let fd = Fd::own(check(unsafe { libc::inotify_init() }).unwrap());
        go();
        read(&fd, &mut [0; 512])
    }),
    call!("flock", Restart, |go| {
        let fd = locked(|fd, wait| {
            ringer_support::fd::flock(fd, libc::LOCK_EX | if wait { 0 } else { libc::LOCK_NB })
        });
        go();
        ringer_support::fd::flock(&fd, libc::LOCK_EX)
    }),
    call!("fcntl F_SETLKW", Restart, |go| {
        let fd = locked(|fd, _| whole_file(fd, libc::F_SETLKW));
        go();
        whole_file(&fd, libc::F_SETLKW)
    }),
    call!("fcntl F_OFD_SETLKW", Restart, |go| {
        let fd = locked(|fd, _| whole_file(fd, libc::F_OFD_SETLKW));
        go();
        whole_file(&fd, libc::F_OFD_SETLKW)
    }),
    call!("mq_receive", Restart, |go| {
        let (fd, mut room) = (queue(0), [0; 8]);
        then!(
            go,
            libc::mq_receive(fd.number(), room.as_mut_ptr(), 8, null_mut())
        )
    }),
    call!("mq_send", Restart, |go| {
        let fd = queue(1);
        then!(go, libc::mq_send(fd.number(), c"x".as_ptr(), 1, 0))
    }),
    call!("mq_timedreceive", Restart, |go| {
        let (fd, mut room) = (queue(0), [0; 8]);
        let end = libc::timespec {
            tv_sec: i64::from(i32::MAX),
            tv_nsec: 0,
        };
        then!(
            go,
            libc::mq_timedreceive(fd.number(), room.as_mut_ptr(), 8, null_mut(), &end)
        )
    }),
];

pub const READINESS: &[Call] = &[
    call!("poll", Never, |go| {
        let p = pipe();
        go();
        poll(&mut [pollfd(&p.r, POLLIN)], -1)
    }),
    call!("poll with a timeout", Never, |go| {
        let p = pipe();
        go();
        poll(&mut [pollfd(&p.r, POLLIN)], 10_000_000)
    }),
    call!("ppoll", Never, |go| {
        let p = pipe();
        go();
        ppoll(&mut [pollfd(&p.r, POLLIN)], Some(HOURS), Some(sig::set(0)))
    }),
    call!("select", Never, |go| {
        let p = pipe();
        go();
        select(&[p.r.number()], &[], None, Select::Timeval).count
    }),
    call!("pselect", Never, |go| {
        let p = pipe();
        go();
        select(&[p.r.number()], &[], Some(10_000_000), Select::Timespec).count
    }),
    call!("epoll_wait", Never, stop, |go| {
        let e = Epoll::new();
        go();
        e.wait(-1).map(|v| v.len())
    }),
    call!("epoll_wait with a timeout", Never, stop, |go| {
        let e = Epoll::new();
        go();
        e.wait(10_000_000).map(|v| v.len())
    }),
    call!("epoll_pwait", Never, stop, |go| {
        // SAFETY: numbers.
        let e = check(unsafe { libc::epoll_create1(0) }).unwrap() as c_int;
        let mut room = libc::epoll_event { events: 0, u64: 0 };
        let mask = sig::set(0);
        then!(go, libc::epoll_pwait(e, &mut room, 1, -1, &mask))
    }),
];

pub const OTHERS: &[Call] = &[
    call!("waitpid", Restart, |go| {
        let c = sleeper();
        then!(go, libc::waitpid(c.pid(), null_mut(), 0))
    }),
    call!("wait4", Restart, |go| {
        let c = sleeper();
        then!(go, libc::wait4(c.pid(), null_mut(), 0, null_mut()))
    }),
    call!("waitid", Restart, |go| {
        let c = sleeper();
        // SAFETY: zeroes are a valid siginfo.
        let mut info = unsafe { std::mem::zeroed() };
        then!(
            go,
            libc::waitid(libc::P_PID, c.pid() as u32, &mut info, libc::WEXITED)
        )
    }),
    call!("futex FUTEX_WAIT", Restart, |go| {
        let word = 0u32;
        then!(
            go,
            libc::syscall(libc::SYS_futex, &word, libc::FUTEX_WAIT, 0, null::<()>())
        )
    }),
    call!("sem_wait", Restart, |go| {
        // SAFETY: a semaphore may be moved before it is made.
        let mut sem: libc::sem_t = unsafe { std::mem::zeroed() };
        // SAFETY: room for a semaphore.
        unsafe { libc::sem_init(&mut sem, 0, 0) };
        then!(go, libc::sem_wait(&mut sem))
    }),
    call!("nanosleep", Never, |go| then!(
        go,
        libc::nanosleep(&HOURS, null_mut())
    )),
    call!("usleep", Never, |go| then!(go, libc::usleep(900_000_000))),
    call!("clock_nanosleep", Never, |go| {
        go();
        // SAFETY: a valid time.
        match unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &HOURS, null_mut()) } {
            0 => Ok(0),
            e => Err(e),
        }
    }),
    call!("pause", Never, |go| then!(go, libc::pause())),
    call!("sigsuspend", Never, |go| {
        go();
        sig::sigsuspend(0)
    }),
    call!("sigwaitinfo", Never, stop, |go| {
        go();
        sig::wait_info(sig::bit(SIGALRM), None).map(|_| 0)
    }),
    call!("sigtimedwait", Never, stop, |go| {
        go();
        sig::wait_info(sig::bit(SIGALRM), Some(HOURS)).map(|_| 0)
    }),
    call!("msgrcv", Never, |go| {
        // SAFETY: numbers.
        let id = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
        let mut room = [0u64; 2];
        // SAFETY: an identifier.
        system_v(
            id,
            |id| unsafe { libc::msgctl(id, libc::IPC_RMID, null_mut()) },
            || then!(go, libc::msgrcv(id, room.as_mut_ptr().cast(), 8, 0, 0)),
        )
    }),
    call!("semop", Never, stop, |go| {
        // SAFETY: numbers.
        let id = unsafe { libc::semget(libc::IPC_PRIVATE, 1, 0o600) };
        let mut down = libc::sembuf {
            sem_num: 0,
            sem_op: -1,
            sem_flg: 0,
        };
        // SAFETY: an identifier.
        system_v(
            id,
            |id| unsafe { libc::semctl(id, 0, libc::IPC_RMID) },
            || then!(go, libc::semop(id, &mut down, 1)),
        )
    }),
];
