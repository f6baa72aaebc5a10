//! By which calls, and to whom, a stop is sent; and signals that could stop, and do not.

use super::{stop_by, waiter, TERMINALS};
use libc::{pid_t, pthread_t, SIGTSTP};
use ringer_support::prelude::*;
use ringer_support::sysv::*;
use sig::bit;
use std::time::Duration;

fn by_number(nr: i64, args: [i64; 3]) -> Sys {
    let [a, b, c] = args;
    // SAFETY: numbers, or null.
    ringer_support::check(unsafe { libc::syscall(nr, a, b, c, 0) })
}

/// Sends SIGSTOP to this process.
type Way = (&'static str, fn(pid_t) -> Sys);

const STOP: i64 = SIGSTOP as i64;

const WAYS: [Way; 8] = [
    ("kill", |pid| sig::kill(pid, SIGSTOP)),
    ("sigqueue", |pid| sig::sigqueue(pid, SIGSTOP, 5)),
    ("killpg", |pid| sig::killpg(pid, SIGSTOP)),
    ("kill of the group", |pid| sig::kill(-pid, SIGSTOP)),
    ("kill by number", |pid| {
        by_number(libc::SYS_kill, [pid.into(), STOP, 0])
    }),
    ("tkill", |pid| sig::tkill(pid, SIGSTOP)),
    ("tgkill", |pid| sig::tgkill(pid, pid, SIGSTOP)),
    ("pidfd_send_signal", |pid| {
        let fd = Fd::own(by_number(libc::SYS_pidfd_open, [pid.into(), 0, 0])?);
        by_number(libc::SYS_pidfd_send_signal, [fd.number().into(), STOP, 0])
    }),
];

fn is_ended(s: &Sems, child: Child) {
    procfs::stopped(child.pid());
    s.op(&[op(0, 1)]).unwrap();
    assert_eq!((s.get(0), s.ncnt(0)), (1, 0));
    s.op(&[op(0, -1)]).unwrap();
    child.kill(SIGCONT);
    child.succeeds();
}

fn each_way(sends: fn(pid_t, fn(pid_t) -> Sys)) {
    for (name, way) in WAYS {
        eprintln!("by {name}");
        let s = Sems::new(1);
        let child = waiter(&s, Err(EINTR));
        sends(child.pid(), way);
        is_ended(&s, child);
    }
}

cases!(senders, {
    "each call" => {
        each_way(|pid, way| assert_eq!(way(pid), Ok(0)));
    }
    "each call, by a child" => {
        each_way(|pid, way| fork_run(|| assert_eq!(way(pid), Ok(0))).succeeds());
    }
    "a shell" => {
        let s = Sems::new(1);
        let child = waiter(&s, Err(EINTR));
        let command = std::ffi::CString::new(format!("kill -STOP {}", child.pid())).unwrap();
        // SAFETY: a C string.
        assert_eq!(unsafe { libc::system(command.as_ptr()) }, 0);
        is_ended(&s, child);
    }
    "another thread of the process" => {
        let ways: [fn(pthread_t) -> Sys; 4] = [
            |_| sig::raise(SIGSTOP),
            |_| sig::kill(getpid(), SIGSTOP),
            |main| Ok(sig::pthread_kill(main, SIGSTOP) as usize),
            |_| by_number(libc::SYS_tkill, [gettid().into(), STOP, 0]),
        ];
        for way in ways {
            let s = Sems::new(1);
            let child = fork_run(|| {
                let main = sig::me() as usize;
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        wait_until(|| s.ncnt(0) == 1);
                        procfs::sleeping(getpid());
                        assert_eq!(way(main as pthread_t), Ok(0));
                    });
                    assert_eq!(s.op(&[op(0, -1)]), Err(EINTR));
                });
            });
            is_ended(&s, child);
        }
    }
    "to a thread's number: the process" => {
        let (s, tid) = (Sems::new(1), Shared::new());
        let child = fork_run(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    tid.set(0, gettid() as u64);
                    assert_eq!(s.op(&[op(0, -1)]), Err(EINTR));
                });
            });
        });
        wait_until(|| s.ncnt(0) == 1);
        pause(Duration::from_millis(2));
        sig::tkill(tid.get(0) as i32, SIGSTOP).unwrap();
        is_ended(&s, child);
    }
    "to a group: all of it, and nobody else" => {
        let s = Sems::new(1);
        let apart = waiter(&s, Ok(0));
        let leader = waiter(&s, Err(EINTR));
        let group = leader.pid();
        let members: Vec<Child> = (0..3)
            .map(|n| {
                let child = fork_run(|| {
                    // SAFETY: numbers.
                    assert_eq!(unsafe { libc::setpgid(0, group) }, 0);
                    assert_eq!(s.op(&[op(0, -1)]), Err(EINTR));
                });
                wait_until(|| s.ncnt(0) == 3 + n);
                child.sleeping();
                child
            })
            .collect();
        sig::killpg(group, SIGTSTP).unwrap();
        for child in members.iter().chain([&leader]) {
            procfs::stopped(child.pid());
        }
        assert_eq!(s.ncnt(0), 1);
        sig::killpg(group, SIGCONT).unwrap();
        all_succeed(members);
        leader.succeeds();
        s.op(&[op(0, 1)]).unwrap();
        apart.succeeds();
    }
});

fn block(number: c_int) {
    sig::block(bit(number));
}

/// A child in a group of its own that waits, prepared by `prepare`.
fn prepared(s: &Sems, prepare: fn(c_int), number: c_int, expected: Sys) -> Child {
    let child = fork_run(|| {
        sig::own_group();
        prepare(number);
        assert_eq!(s.op(&[op(0, -1)]), expected);
        sig::default(number);
        sig::ignore(number); // what is pending is no more
        sig::unblock(bit(number));
    });
    wait_until(|| s.ncnt(0) == 1);
    child.sleeping();
    child
}

cases!(signals, {
    "by default each stops" => {
        for number in TERMINALS {
            let s = Sems::new(1);
            let child = prepared(&s, sig::default, number, Err(EINTR));
            stop_by(&child, number);
            is_ended(&s, child);
        }
    }
    "ignored or blocked they do not" => {
        for number in TERMINALS {
            let ways: [fn(c_int); 2] = [sig::ignore, block];
            for way in ways {
                let s = Sems::new(1);
                let child = prepared(&s, way, number, Ok(0));
                child.kill(number);
                pause(Duration::from_millis(30));
                assert_eq!(s.ncnt(0), 1);
                s.op(&[op(0, 1)]).unwrap();
                child.succeeds();
            }
        }
    }
    "a handler ends it" => {
        for number in TERMINALS {
            journal::start();
            let s = Sems::new(1);
            let way = |n| journal::on(n, SA_RESTART);
            let child = prepared(&s, way, number, Err(EINTR));
            child.kill(number);
            child.succeeds();
            assert_eq!(journal::numbers(), [number]);
        }
    }
    "SIGSTOP whatever is blocked" => {
        let s = Sems::new(1);
        let way = |_| TERMINALS.into_iter().chain([SIGCONT]).for_each(block);
        let child = prepared(&s, way, SIGTSTP, Err(EINTR));
        stop_by(&child, SIGSTOP);
        is_ended(&s, child);
    }
    "also in an orphaned group, where the terminal's do not stop" => {
        for number in TERMINALS {
            let s = Sems::new(1);
            let child = fork_run(|| {
                // SAFETY: no argument.
                assert_ne!(unsafe { libc::setsid() }, -1);
                sig::die_with_parent();
                assert_eq!(s.op(&[op(0, -1)]), Err(EINTR));
            });
            wait_until(|| s.ncnt(0) == 1);
            child.sleeping();
            child.kill(number);
            child.succeeds();
        }
    }
    "one that may not be sent" => {
        if !is_root() {
            return;
        }
        let s = Sems::new(1);
        let child = waiter(&s, Ok(0));
        let pid = child.pid();
        fork_run(|| {
            become_nobody();
            assert_eq!(sig::kill(pid, SIGSTOP), Err(libc::EPERM));
        })
        .succeeds();
        pause(Duration::from_millis(50));
        assert_eq!(s.ncnt(0), 1);
        s.op(&[op(0, 1)]).unwrap();
        child.succeeds();
    }
});
