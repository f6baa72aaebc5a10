//! Further calls that wait, as in signal_calls.rs: variants with more arguments, System V's, a terminal.

use crate::signal_calls::{Call, When::*};
use crate::signal_makers::*;
use ringer_support::check;
use ringer_support::prelude::*;
use ringer_support::rights::socketpair;
use std::ptr::{null, null_mut};

macro_rules! call {
    ($name:literal, $when:expr, |$go:ident| $body:expr) => {
        Call {
            name: $name,
            when: $when,
            stop_ends_it: false,
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

/// A far time of CLOCK_REALTIME.
const LATE: libc::timespec = libc::timespec {
    tv_sec: i32::MAX as i64,
    tv_nsec: 0,
};

/// Both ends of a terminal, without echo.
fn terminal() -> (Fd, Fd) {
    let (mut master, mut slave) = (0, 0);
    // SAFETY: room for two numbers; the rest may be null.
    let made = unsafe { libc::openpty(&mut master, &mut slave, null_mut(), null(), null()) };
    assert_eq!(made, 0, "openpty");
    (Fd::own(master as usize), Fd::own(slave as usize))
}

pub const VARIANTS: &[Call] = &[
    call!("writev to a full pipe", Restart, |go| {
        let p = full_pipe();
        let part = libc::iovec {
            iov_base: b"x".as_ptr().cast_mut().cast(),
            iov_len: 1,
        };
        then!(go, libc::writev(p.w.number(), &part, 1))
    }),
    call!("preadv2 of a pipe", Restart, |go| {
        let p = pipe();
        let mut byte = 0u8;
        let part = libc::iovec {
            iov_base: std::ptr::from_mut(&mut byte).cast(),
            iov_len: 1,
        };
        then!(go, libc::preadv2(p.r.number(), &part, 1, -1, 0))
    }),
    call!("recvfrom", Restart, |go| {
        let (a, _b) = socketpair(libc::SOCK_DGRAM);
        let mut byte = 0u8;
        let at = std::ptr::from_mut(&mut byte).cast();
        then!(
            go,
            libc::recvfrom(a.number(), at, 1, 0, null_mut(), null_mut())
        )
    }),
    call!("sendto", Restart, |go| {
        let (a, _b) = full_pair(libc::SOCK_DGRAM);
        let at = b"x".as_ptr().cast();
        then!(go, libc::sendto(a.number(), at, 1, 0, null(), 0))
    }),
    call!("accept4", Restart, |go| {
        let (fd, ..) = listener();
        then!(
            go,
            libc::accept4(fd.number(), null_mut(), null_mut(), O_CLOEXEC)
        )
    }),
    call!("mq_timedsend", Restart, |go| {
        let fd = queue(1);
        then!(
            go,
            libc::mq_timedsend(fd.number(), c"x".as_ptr(), 1, 0, &LATE)
        )
    }),
    // (signal(7) has it among those that are restarted; but a wait with a timeout ends by
    // ERESTART_RESTARTBLOCK, which a handler makes EINTR. [kernel/futex/waitwake.c futex_wait])
    call!("sem_timedwait", Never, |go| {
        // SAFETY: a semaphore may be moved before it is made.
        let mut sem: libc::sem_t = unsafe { std::mem::zeroed() };
        // SAFETY: room for a semaphore.
        unsafe { libc::sem_init(&mut sem, 0, 0) };
        then!(go, libc::sem_timedwait(&mut sem, &LATE))
    }),
    call!("read of a terminal", Restart, |go| {
        let (_master, slave) = terminal();
        go();
        read(&slave, &mut [0])
    }),
    call!("msgsnd to a full queue", Never, |go| {
        // SAFETY: numbers.
        let id = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
        let message = [1u64; 513];
        let at: *const c_void = message.as_ptr().cast();
        // SAFETY: a message of 4096 bytes after its type.
        while unsafe { libc::msgsnd(id, at, 4096, libc::IPC_NOWAIT) } == 0 {}
        system_v(
            id,
            // SAFETY: an identifier.
            |id| unsafe { libc::msgctl(id, libc::IPC_RMID, null_mut()) },
            || then!(go, libc::msgsnd(id, at, 4096, 0)),
        )
    }),
    call!("clock_nanosleep until a time", Never, |go| {
        go();
        let (clock, flags) = (libc::CLOCK_REALTIME, libc::TIMER_ABSTIME);
        // SAFETY: a valid time.
        match unsafe { libc::clock_nanosleep(clock, flags, &LATE, null_mut()) } {
            0 => Ok(0),
            e => Err(e),
        }
    }),
];
