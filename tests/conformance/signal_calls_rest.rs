//! The rest of signal(7)'s list, as in signal_calls.rs: many messages at once, limits of time in both directions, further
//! ways to wait.

use crate::signal_calls::{Call, When::*};
use crate::signal_makers::*;
use ringer_support::prelude::*;
use ringer_support::rights::socketpair;
use ringer_support::{check, transfer};
use std::ptr::{from_mut, null, null_mut};

extern "C" {
    fn semtimedop(
        id: c_int,
        ops: *mut libc::sembuf,
        n: usize,
        time: *const libc::timespec,
    ) -> c_int;
}

macro_rules! call {
    ($name:literal, $when:expr, $stop:literal, |$go:ident| $body:expr) => {
        Call {
            name: $name,
            when: $when,
            stop_ends_it: $stop,
            run: |$go| $body,
        }
    };
}

/// After `go`, the call.
macro_rules! then {
    ($go:ident, $call:expr) => {{
        $go();
        // SAFETY: what the call needs was made above, or is a number.
        check(unsafe { $call } as i64)
    }};
}

/// recvmmsg(2) or sendmmsg(2) of one message of one byte.
fn messages(fd: &Fd, receive: bool, go: &dyn Fn()) -> Sys {
    let mut byte = 0u8;
    let mut part = libc::iovec {
        iov_base: from_mut(&mut byte).cast(),
        iov_len: 1,
    };
    // SAFETY: zeroes are a valid message.
    let mut all: libc::mmsghdr = unsafe { std::mem::zeroed() };
    (all.msg_hdr.msg_iov, all.msg_hdr.msg_iovlen) = (&mut part, 1);
    match receive {
        true => then!(go, libc::recvmmsg(fd.number(), &mut all, 1, 0, null_mut())),
        false => then!(go, libc::sendmmsg(fd.number(), &mut all, 1, 0)),
    }
}

/// A pair of which one end has a limit of time, and can send no more.
fn limited(kind: c_int, option: c_int) -> (Fd, Fd) {
    let (a, b) = match option {
        libc::SO_SNDTIMEO => full_pair(kind),
        _ => socketpair(kind),
    };
    limit_time(&a, option);
    (a, b)
}

fn semaphore(wait: impl FnOnce(c_int) -> Sys) -> Sys {
    // SAFETY: numbers.
    let id = unsafe { libc::semget(libc::IPC_PRIVATE, 1, 0o600) };
    let remove = |id| {
        // SAFETY: an identifier.
        unsafe { libc::semctl(id, 0, libc::IPC_RMID) }
    };
    system_v(id, remove, || wait(id))
}

pub const REST: &[Call] = &[
    call!("recvmmsg", Restart, false, |go| {
        let (a, _b) = socketpair(libc::SOCK_DGRAM);
        messages(&a, true, go)
    }),
    call!("sendmmsg", Restart, false, |go| {
        let (a, _b) = full_pair(libc::SOCK_DGRAM);
        messages(&a, false, go)
    }),
    call!("recvmmsg with SO_RCVTIMEO", Never, true, |go| {
        let (a, _b) = limited(libc::SOCK_DGRAM, libc::SO_RCVTIMEO);
        messages(&a, true, go)
    }),
    call!("sendmmsg with SO_SNDTIMEO", Never, true, |go| {
        let (a, _b) = limited(libc::SOCK_STREAM, libc::SO_SNDTIMEO);
        messages(&a, false, go)
    }),
    call!("recvmsg with SO_RCVTIMEO", Never, true, |go| {
        let (a, _b) = limited(libc::SOCK_SEQPACKET, libc::SO_RCVTIMEO);
        go();
        message(&a, true)
    }),
    call!("sendmsg with SO_SNDTIMEO", Never, true, |go| {
        let (a, _b) = limited(libc::SOCK_DGRAM, libc::SO_SNDTIMEO);
        go();
        message(&a, false)
    }),
    call!("read of a socket with SO_RCVTIMEO", Never, true, |go| {
        let (a, _b) = limited(libc::SOCK_DGRAM, libc::SO_RCVTIMEO);
        go();
        read(&a, &mut [0])
    }),
    call!("connect with SO_SNDTIMEO", Never, true, |go| {
        let (_fd, to, len) = listener();
        connect(&to, len, &|| {}).unwrap();
        // SAFETY: numbers.
        let made = check(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) });
        let fd = Fd::own(made.unwrap());
        limit_time(&fd, libc::SO_SNDTIMEO);
        then!(
            go,
            libc::connect(fd.number(), std::ptr::from_ref(&to).cast(), len)
        )
    }),
    call!("splice into a full pipe", Restart, false, |go| {
        let (p, q) = (pipe(), full_pipe());
        write(&p.w, b"x").unwrap();
        go();
        transfer::splice(&p.r, &q.w, 1, 0)
    }),
    call!("vmsplice into a full pipe", Restart, false, |go| {
        let p = full_pipe();
        let part = libc::iovec {
            iov_base: b"x".as_ptr().cast_mut().cast(),
            iov_len: 1,
        };
        then!(go, libc::vmsplice(p.w.number(), &part, 1, 0))
    }),
    call!("open of a FIFO for writing", Restart, false, |go| {
        let path = std::ffi::CString::new(format!("/tmp/ringer-fifo-w-{}", getpid())).unwrap();
        // SAFETY: a C string.
        check(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }).unwrap();
        let done = then!(go, libc::open(path.as_ptr(), libc::O_WRONLY));
        // SAFETY: a C string.
        unsafe { libc::unlink(path.as_ptr()) };
        done
    }),
    call!("semtimedop", Never, true, |go| semaphore(|id| {
        let mut down = libc::sembuf {
            sem_num: 0,
            sem_op: -1,
            sem_flg: 0,
        };
        then!(go, semtimedop(id, &mut down, 1, &HOURS))
    })),
    call!("semop until it is zero", Never, true, |go| semaphore(
        |id| {
            // SAFETY: an identifier.
            check(unsafe { libc::semctl(id, 0, libc::SETVAL, 1) }).unwrap();
            let mut zero = libc::sembuf {
                sem_num: 0,
                sem_op: 0,
                sem_flg: 0,
            };
            then!(go, libc::semop(id, &mut zero, 1))
        }
    )),
    // (A wait with a timeout: see sem_timedwait in signal_calls_more.rs.)
    call!("futex FUTEX_WAIT with a timeout", Never, false, |go| {
        let (word, wait) = (0u32, libc::FUTEX_WAIT);
        then!(go, libc::syscall(libc::SYS_futex, &word, wait, 0, &HOURS))
    }),
    call!("epoll_pwait2", Never, true, |go| {
        // SAFETY: numbers.
        let e = check(unsafe { libc::epoll_create1(0) }).unwrap() as c_int;
        let mut room = libc::epoll_event { events: 0, u64: 0 };
        let nr = libc::SYS_epoll_pwait2;
        then!(
            go,
            libc::syscall(nr, e, &mut room, 1, &HOURS, null::<()>(), 0)
        )
    }),
    call!("futex FUTEX_WAIT_BITSET", Restart, false, |go| {
        let (word, wait) = (0u32, libc::FUTEX_WAIT_BITSET);
        let (nr, all) = (libc::SYS_futex, u32::MAX);
        then!(
            go,
            libc::syscall(nr, &word, wait, 0, null::<()>(), null::<()>(), all)
        )
    }),
    call!("io_getevents", Never, true, |go| {
        let mut context = 0u64;
        // SAFETY: room for the context's name.
        check(unsafe { libc::syscall(libc::SYS_io_setup, 1, &mut context) }).unwrap();
        let mut room = [0u64; 4];
        let (nr, at) = (libc::SYS_io_getevents, room.as_mut_ptr());
        then!(
            go,
            libc::syscall(nr, context, 1, 1, at, null::<libc::timespec>())
        )
    }),
    call!("wait", Restart, false, |go| {
        let _child = sleeper();
        then!(go, libc::wait(null_mut()))
    }),
    call!(
        "read of the other side of a terminal",
        Restart,
        false,
        |go| {
            let (mut master, mut slave) = (0, 0);
            let (name, modes, size) = (null_mut(), null(), null());
            // SAFETY: room for two numbers; the rest may be null.
            let made = unsafe { libc::openpty(&mut master, &mut slave, name, modes, size) };
            assert_eq!(made, 0, "openpty");
            let master = Fd::own(master as usize);
            go();
            read(&master, &mut [0])
        }
    ),
];
