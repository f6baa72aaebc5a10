//! Stopping and going on. See signal(7), wait(2), kill(2).

use libc::{SIGHUP, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, WCONTINUED, WUNTRACED};
use ringer_support::prelude::*;
use sig::{bit, bits};

const STOPS: [c_int; 4] = [SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU];

/// A child in a group of its own, which is not orphaned: so the terminal's stops stop it.
fn child(body: impl FnOnce()) -> Child {
    let s = Shared::new();
    let child = fork_run(|| {
        sig::own_group();
        body();
        s.set(0, 1);
        loop {
            let _ = sig::pause();
        }
    });
    s.wait_for(0, 1);
    child
}

fn status_of(child: &Child, options: c_int) -> c_int {
    wait_pid(child.pid(), options).unwrap().1 .0
}

#[track_caller]
fn stops_by(child: &Child, number: c_int) {
    let status = status_of(child, WUNTRACED);
    assert!(libc::WIFSTOPPED(status), "{status:#x}");
    assert_eq!(libc::WSTOPSIG(status), number);
}

#[track_caller]
fn goes_on(child: &Child) {
    let status = status_of(child, WCONTINUED);
    assert!(libc::WIFCONTINUED(status), "{status:#x}");
}

cases!(signals_that_stop, {
    "each, and SIGCONT" => {
        for number in STOPS {
            let child = child(|| {});
            for _ in 0..3 {
                child.kill(number);
                stops_by(&child, number);
                child.kill(SIGCONT);
                goes_on(&child);
            }
            child.kill_9();
        }
    }
    "each, from itself" => {
        for number in STOPS {
            let s = Shared::new();
            let child = fork_run(|| {
                sig::own_group();
                sig::raise(number).unwrap();
                s.set(1, 1);
            });
            stops_by(&child, number);
            assert_eq!(s.get(1), 0);
            child.kill(SIGCONT);
            child.succeeds();
        }
    }
    "when it is unblocked" => {
        let s = Shared::new();
        let child = fork_run(|| {
            sig::own_group();
            sig::block(bit(SIGTSTP));
            sig::raise(SIGTSTP).unwrap();
            s.set(1, 1);
            sig::unblock(bit(SIGTSTP));
        });
        stops_by(&child, SIGTSTP);
        assert_eq!(s.get(1), 1);
        child.kill(SIGCONT);
        child.succeeds();
    }
    "in a group without anybody to continue it only SIGSTOP does" => {
        let s = Shared::new();
        let orphan = fork_run(|| {
            // SAFETY: no argument.
            assert_ne!(unsafe { libc::setsid() }, -1);
            sig::die_with_parent();
            for number in [SIGTSTP, SIGTTIN, SIGTTOU] {
                sig::raise(number).unwrap();
            }
            s.set(0, 1);
            sig::raise(SIGSTOP).unwrap();
        });
        stops_by(&orphan, SIGSTOP);
        assert_eq!(s.get(0), 1);
        orphan.kill(SIGCONT);
        orphan.succeeds();
    }
    "handled ones do not, but SIGSTOP" => {
        journal::start();
        let child = child(|| {
            for number in [SIGTSTP, SIGTTIN, SIGTTOU] {
                journal::on(number, 0);
            }
        });
        for (n, number) in [SIGTSTP, SIGTTIN, SIGTTOU].into_iter().enumerate() {
            child.kill(number);
            journal::wait_for(n + 1);
        }
        child.kill(SIGSTOP);
        stops_by(&child, SIGSTOP);
        child.kill_9();
    }
    "what comes meanwhile waits for SIGCONT, but SIGKILL does not" => {
        let stopped = child(|| {});
        stopped.kill(SIGSTOP);
        stops_by(&stopped, SIGSTOP);
        stopped.kill(SIGTERM);
        procfs::stopped(stopped.pid());
        stopped.kill(SIGCONT);
        assert_eq!(stopped.wait().signal(), Some(SIGTERM));
        let stopped = child(|| {});
        stopped.kill(SIGSTOP);
        stops_by(&stopped, SIGSTOP);
        stopped.kill_9();
    }
    "all threads stop" => {
        let s = Shared::new();
        let child = child(|| {
            for i in 0..2 {
                std::thread::spawn(move || loop {
                    s.bump(10 + i);
                    pause(std::time::Duration::from_micros(50));
                });
            }
        });
        (10..12).for_each(|i| s.wait_for(i, 5));
        child.kill(SIGSTOP);
        stops_by(&child, SIGSTOP);
        let now = [s.get(10), s.get(11)];
        pause(std::time::Duration::from_millis(5));
        assert_eq!([s.get(10), s.get(11)], now);
        child.kill(SIGCONT);
        (10..12).for_each(|i| s.wait_for(i, now[i - 10] + 5));
        child.kill_9();
    }
});

cases!(stops_and_continues_cancel_each_other, {
    "SIGCONT discards pending stops" => {
        sig::block(bits(&STOPS) | bit(SIGHUP));
        for number in [SIGTSTP, SIGTTIN, SIGTTOU, SIGHUP] {
            sig::kill(getpid(), number).unwrap();
            sig::raise(number).unwrap();
        }
        assert_eq!(sig::pending(), bits(&[SIGTSTP, SIGTTIN, SIGTTOU, SIGHUP]));
        sig::kill(getpid(), SIGCONT).unwrap();
        assert_eq!(sig::pending(), bit(SIGHUP));
        sig::unblock(bits(&STOPS));
    }
    "each stop discards a pending SIGCONT" => {
        sig::block(bits(&STOPS) | bit(SIGCONT));
        for number in [SIGTSTP, SIGTTIN, SIGTTOU] {
            sig::kill(getpid(), SIGCONT).unwrap();
            sig::raise(SIGCONT).unwrap();
            assert_eq!(sig::pending(), bit(SIGCONT));
            sig::raise(number).unwrap();
            assert_eq!(sig::pending(), bit(number));
            sig::raise(SIGCONT).unwrap();
            assert_eq!(sig::pending(), bit(SIGCONT));
        }
    }
    "also if they are ignored or handled" => {
        journal::on(SIGTSTP, 0);
        sig::ignore(SIGCONT);
        sig::block(bit(SIGTSTP));
        sig::raise(SIGTSTP).unwrap();
        sig::raise(SIGCONT).unwrap();
        assert_eq!(sig::pending(), 0);
        sig::unblock(bit(SIGTSTP));
        assert_eq!(journal::count(), 0);
    }
    "in all threads" => {
        sig::block(bits(&[SIGTSTP, SIGCONT]));
        let s = Shared::new();
        let thread = std::thread::spawn(move || {
            s.set(0, gettid() as u64);
            s.wait_for(1, 1);
            assert_eq!(sig::pending(), bit(SIGCONT));
        });
        s.wait_for(0, 1);
        sig::tgkill(getpid(), s.get(0) as i32, SIGTSTP).unwrap();
        sig::kill(getpid(), SIGCONT).unwrap();
        s.set(1, 1);
        thread.join().unwrap();
    }
});

cases!(sigcont_continues, {
    "blocked, ignored or handled" => {
        journal::start();
        let ways: [fn(); 4] = [
            || sig::default(SIGCONT),
            || sig::ignore(SIGCONT),
            || assert_eq!(sig::block(bit(SIGCONT)), 0),
            || journal::on(SIGCONT, 0),
        ];
        for way in ways {
            let child = child(way);
            child.kill(SIGSTOP);
            stops_by(&child, SIGSTOP);
            child.kill(SIGCONT);
            goes_on(&child);
            child.sleeping();
            child.kill_9();
        }
        journal::wait_for(1);
        assert_eq!(journal::numbers(), [SIGCONT]);
    }
    "blocked it stays pending" => {
        let s = Shared::new();
        let child = fork_run(|| {
            sig::block(bit(SIGCONT));
            sig::raise(SIGSTOP).unwrap();
            s.wait_for(0, 1);
            assert_eq!(sig::pending(), bit(SIGCONT));
        });
        stops_by(&child, SIGSTOP);
        child.kill(SIGCONT);
        goes_on(&child);
        s.set(0, 1);
        child.succeeds();
    }
    "who is not stopped takes no notice" => {
        let child = child(|| {});
        child.kill(SIGCONT);
        child.sleeping();
        assert_eq!(wait_pid(child.pid(), libc::WNOHANG | WCONTINUED | WUNTRACED).unwrap().0, 0);
        child.kill_9();
    }
});
