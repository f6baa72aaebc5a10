//! Waits that a stop ends, without any handler, and what is done for those who are stopped. See signal(7),
//! "Interruption of system calls and library functions by stop signals"; who sends it is a process of the session,
//! or one that ringer is not in. (What a stop does not end is in signal_interrupt.rs.)

mod descriptors;
mod outside;
mod queues;
mod senders;

use libc::{SIGTSTP, SIGTTIN, SIGTTOU};
use ringer_support::prelude::*;
use ringer_support::sysv::*;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

pub const TERMINALS: [c_int; 3] = [SIGTSTP, SIGTTIN, SIGTTOU];

/// A child in a group of its own that waits for number 0, and what that comes to.
pub fn waiter(s: &Sems, expected: Sys) -> Child {
    let before = s.ncnt(0);
    let child = fork_run(|| {
        sig::own_group();
        assert_eq!(s.op(&[op(0, -1)]), expected);
    });
    wait_until(|| s.ncnt(0) == before + 1);
    child.sleeping();
    child
}

static FROM_OUTSIDE: AtomicBool = AtomicBool::new(false);

/// Whoever sends, from now on.
pub fn from_outside() {
    FROM_OUTSIDE.store(true, Relaxed);
}

pub fn signal(child: &Child, number: c_int) {
    if !FROM_OUTSIDE.load(Relaxed) {
        return child.kill(number);
    }
    let (pid, number) = (child.pid().to_string(), number.to_string());
    let envoy = program("envoy", Linkage::Static);
    fork_run(|| {
        // What it held would be the kernel's from then on.
        // SAFETY: nobody in this process uses a descriptor any more.
        unsafe { libc::close_range(3, u32::MAX, 0) };
        exec(&envoy, &["kill", &pid, &number])
    })
    .succeeds();
}

pub fn stop_by(child: &Child, number: c_int) {
    signal(child, number);
    procfs::stopped(child.pid());
}

/// The same cases with a sender in the session and with one that ringer is not in.
macro_rules! stop_cases {
    ($name:ident, { $($case:literal => $body:block)* }) => {
        mod $name {
            use super::*;
            cases!(from_the_session, { $($case => $body)* });
            cases!(from_outside, { $($case => { crate::from_outside(); $body })* });
        }
    };
}
pub(crate) use stop_cases;

stop_cases!(semaphores, {
    "semop is out of the queue from the stop on" => {
        let s = Sems::new(1);
        let stopped = waiter(&s, Err(EINTR));
        let next = waiter(&s, Ok(0));
        stop_by(&stopped, SIGSTOP);
        assert_eq!(s.ncnt(0), 1);
        s.op(&[op(0, 1)]).unwrap();
        next.succeeds();
        s.op(&[op(0, 1)]).unwrap();
        assert_eq!((s.get(0), s.ncnt(0)), (1, 0));
        signal(&stopped, SIGCONT);
        stopped.succeeds();
        assert_eq!(s.get(0), 1);
    }
    "and what it waited for is there for who tries" => {
        let s = Sems::new(1);
        let stopped = waiter(&s, Err(EINTR));
        stop_by(&stopped, SIGSTOP);
        s.op(&[op(0, 1)]).unwrap();
        assert_eq!(s.op(&[op_with(0, -1, NOWAIT)]), Ok(0));
        signal(&stopped, SIGCONT);
        stopped.succeeds();
    }
    "also with a timeout, for zero, and for several" => {
        let s = Sems::new(2);
        s.set(1, 1);
        let long = Duration::from_secs(1000);
        let ways: [&dyn Fn() -> Sys; 3] = [
            &|| semtimedop(s.id, &[op(0, -1)], long),
            &|| s.op(&[op(1, 0)]),
            &|| s.op(&[op(1, -1), op(0, -1)]),
        ];
        for way in ways {
            let child = fork_run(|| assert_eq!(way(), Err(EINTR)));
            wait_until(|| s.ncnt(0) + s.zcnt(1) == 1);
            child.sleeping();
            stop_by(&child, SIGSTOP);
            assert_eq!(s.ncnt(0) + s.zcnt(1), 0);
            s.set(0, 1);
            s.set(1, 0);
            signal(&child, SIGCONT);
            child.succeeds();
            assert_eq!((s.get(0), s.get(1)), (1, 0));
            s.set_all(&[0, 1]).unwrap();
        }
    }
    "a set that is removed meanwhile" => {
        let s = Sems::new(1);
        let child = waiter(&s, Err(EINTR));
        stop_by(&child, SIGSTOP);
        s.remove().unwrap();
        signal(&child, SIGCONT);
        child.succeeds();
    }
    "SIGCONT for who is not stopped is nothing" => {
        let s = Sems::new(1);
        let child = waiter(&s, Ok(0));
        signal(&child, SIGCONT);
        pause(Duration::from_millis(50));
        assert_eq!(s.ncnt(0), 1);
        s.op(&[op(0, 1)]).unwrap();
        child.succeeds();
    }
    "all threads that wait" => {
        let s = Sems::new(1);
        let child = fork_run(|| {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| s.op(&[op(0, -1)]))).collect();
                for thread in threads {
                    assert_eq!(thread.join().unwrap(), Err(EINTR));
                }
            });
        });
        wait_until(|| s.ncnt(0) == 3);
        pause(Duration::from_millis(2));
        stop_by(&child, SIGSTOP);
        assert_eq!(s.ncnt(0), 0);
        signal(&child, SIGCONT);
        child.succeeds();
    }
});

cases!(sent_by_the_session, {
    "stopped and continued at once, again and again" => {
        let (s, rounds) = (Sems::new(1), Shared::new());
        let child = fork_run(|| {
            for _ in 0..30 {
                assert_eq!(s.op(&[op(0, -1)]), Err(EINTR));
                rounds.bump(0);
            }
            assert_eq!(s.op(&[op(0, -1)]), Ok(0));
        });
        for n in 0..30 {
            rounds.wait_for(0, n);
            wait_until(|| s.ncnt(0) == 1);
            child.sleeping();
            signal(&child, SIGSTOP);
            signal(&child, SIGCONT);
        }
        rounds.wait_for(0, 30);
        wait_until(|| s.ncnt(0) == 1);
        s.op(&[op(0, 1)]).unwrap();
        child.succeeds();
    }
    "stopped twice, continued once" => {
        let s = Sems::new(1);
        let child = waiter(&s, Err(EINTR));
        stop_by(&child, SIGSTOP);
        stop_by(&child, SIGSTOP);
        signal(&child, SIGCONT);
        child.succeeds();
    }
});

stop_cases!(messages, {
    "a stopped receiver is passed over, and receives later" => {
        let q = Queue::new();
        let receiver = |expected: &'static [u8]| {
            fork_run(|| assert_eq!(q.receive(10, 0, 0), Ok((1, expected.to_vec()))))
        };
        let stopped = receiver(b"second");
        stopped.sleeping();
        stop_by(&stopped, SIGSTOP);
        q.send(1, b"first", 0).unwrap();
        assert_eq!(q.len(), 1);
        assert_eq!(q.receive(10, 0, libc::IPC_NOWAIT), Ok((1, b"first".to_vec())));
        signal(&stopped, SIGCONT);
        stopped.sleeping();
        q.send(1, b"second", 0).unwrap();
        stopped.succeeds();
    }
    "another one that waits is served instead" => {
        let q = Queue::new();
        let receiver = |expected: &'static [u8]| {
            fork_run(|| assert_eq!(q.receive(10, 0, 0), Ok((1, expected.to_vec()))))
        };
        let stopped = receiver(b"second");
        stopped.sleeping();
        let other = receiver(b"first");
        other.sleeping();
        stop_by(&stopped, SIGSTOP);
        q.send(1, b"first", 0).unwrap();
        other.succeeds();
        q.send(1, b"second", 0).unwrap();
        signal(&stopped, SIGCONT);
        stopped.succeeds();
    }
});
