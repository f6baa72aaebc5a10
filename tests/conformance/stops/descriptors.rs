//! Pipes and sockets: a stop ends what has something to return, and what has a timeout.

use super::{signal, stop_by};
use ringer_support::prelude::*;
use ringer_support::rights::socketpair;

/// A child that writes `len` bytes with `write`, and finds that it has written so many.
fn writer(len: usize, written: usize, write: impl Fn(&[u8]) -> Sys) -> Child {
    let s = Shared::new();
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(write(&stream(0, len)), Ok(written));
    });
    s.wait_for(0, 1);
    child.sleeping();
    child
}

cases!(parts, {
    "a write to a pipe: what it had written before the stop" => {
        let p = pipe();
        let child = writer(200_000, CAPACITY, |bytes| write(&p.w, bytes));
        stop_by(&child, SIGSTOP);
        // There is room now, but it has come too late.
        read_exactly(&p.r, CAPACITY);
        signal(&child, SIGCONT);
        child.succeeds();
        assert_eq!(bytes_waiting(&p.r), Ok(0));
    }
    "a write to a pipe that has written nothing goes on" => {
        let p = nonblocking_pipe();
        fill(&p.w);
        set_nonblocking(&p.w, false);
        let child = writer(7, 7, |bytes| write(&p.w, bytes));
        stop_by(&child, SIGSTOP);
        signal(&child, SIGCONT);
        child.sleeping();
        read_exactly(&p.r, PAGE);
        child.succeeds();
    }
    "a send to a stream" => {
        let (a, b) = socketpair(libc::SOCK_STREAM);
        let s = Shared::new();
        let child = fork_run(|| {
            s.set(0, 1);
            let written = write(&a, &stream(0, 10_000_000)).unwrap();
            assert_eq!(written as u64, s.get(1));
        });
        s.wait_for(0, 1);
        child.sleeping();
        stop_by(&child, SIGSTOP);
        s.set(1, bytes_waiting(&b).unwrap() as u64);
        signal(&child, SIGCONT);
        child.succeeds();
    }
    "a receive of all (MSG_WAITALL)" => {
        let (a, b) = socketpair(libc::SOCK_STREAM);
        let s = Shared::new();
        let child = fork_run(|| {
            let mut all = [0u8; 10];
            s.set(0, 1);
            let (at, flags) = (all.as_mut_ptr().cast(), libc::MSG_WAITALL);
            // SAFETY: room for ten bytes.
            let n = unsafe { libc::recv(b.number(), at, all.len(), flags) };
            assert_eq!((n, &all[..4]), (4, &b"four"[..]));
        });
        s.wait_for(0, 1);
        child.sleeping();
        write_all(&a, b"four");
        wait_until(|| bytes_waiting(&b) == Ok(0));
        child.sleeping();
        stop_by(&child, SIGSTOP);
        signal(&child, SIGCONT);
        child.succeeds();
    }
});

/// With SO_RCVTIMEO and SO_SNDTIMEO.
pub fn timed_pair(kind: c_int) -> (Fd, Fd) {
    let (a, b) = socketpair(kind);
    let time = libc::timeval {
        tv_sec: 10_000,
        tv_usec: 0,
    };
    for option in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        let (at, len) = (std::ptr::from_ref(&time).cast(), size_of_val(&time) as u32);
        // SAFETY: a valid option.
        let done = unsafe { libc::setsockopt(a.number(), libc::SOL_SOCKET, option, at, len) };
        assert_eq!(done, 0);
    }
    (a, b)
}

cases!(timed_sockets, {
    "a receive, also of what has come meanwhile" => {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
            let (a, b) = timed_pair(kind);
            let s = Shared::new();
            let child = fork_run(|| {
                s.set(0, 1);
                assert_eq!(read(&a, &mut [0; 10]), Err(EINTR));
                assert_eq!(read(&a, &mut [0; 10]), Ok(4));
            });
            s.wait_for(0, 1);
            child.sleeping();
            stop_by(&child, SIGSTOP);
            write_all(&b, b"late");
            signal(&child, SIGCONT);
            child.succeeds();
        }
    }
    "a send" => {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
            let (a, _b) = timed_pair(kind);
            set_nonblocking(&a, true);
            while write(&a, &[0; 4096]).is_ok() {}
            set_nonblocking(&a, false);
            let s = Shared::new();
            let child = fork_run(|| {
                s.set(0, 1);
                assert_eq!(write(&a, &[0; 4096]), Err(EINTR));
            });
            s.wait_for(0, 1);
            child.sleeping();
            stop_by(&child, SIGSTOP);
            signal(&child, SIGCONT);
            child.succeeds();
        }
    }
});
