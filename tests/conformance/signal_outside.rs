//! Signals from and to processes without a shim: statically linked, or with an empty environment.
//! The program is tests/c/envoy.c.

use libc::{CLD_EXITED, CLD_KILLED, SIGCHLD, SIGTERM, SI_QUEUE, SI_USER};
use ringer_support::prelude::*;
use sig::{bit, RTMIN};

#[derive(Clone, Copy, Debug)]
enum How {
    Static,
    NoEnvironment,
}

fn start(how: How, words: &str) -> Child {
    fork_run(|| {
        sig::default(SIGPIPE);
        sig::set_mask(0);
        let words: Vec<&str> = words.split(' ').collect();
        match how {
            How::Static => exec(&program("envoy", Linkage::Static), &words),
            How::NoEnvironment => exec_with_env(&program("envoy", Linkage::Dynamic), &words, &[]),
        }
    })
}

fn each(test: impl Fn(How)) {
    for how in [How::Static, How::NoEnvironment] {
        eprintln!("how: {how:?}");
        journal::start();
        sig::set_mask(0);
        test(how);
    }
}

/// One that hears, its page, and that it is ready.
fn hears(how: How, number: c_int, count: u64) -> (Child, Shared) {
    let (s, fd) = Shared::with_fd();
    let child = start(how, &format!("hear {} {number} {count}", fd.number()));
    s.wait_for(0, 1);
    (child, s)
}

cases!(from_outside, {
    "kill to a handler" => {
        each(|how| {
            journal::on(SIGUSR1, 0);
            for n in 1..=20 {
                let child = start(how, &format!("kill {} {SIGUSR1}", getpid()));
                journal::wait_for(n);
                let e = journal::last();
                assert_eq!((e.code, e.pid(), e.tid), (SI_USER, child.pid(), getpid()));
                child.succeeds();
            }
        });
    }
    "sigqueue: all values in their order" => {
        each(|how| {
            journal::on(RTMIN, 0);
            let child = start(how, &format!("send {} {RTMIN} 1000", getpid()));
            journal::wait_for(1000);
            child.succeeds();
            let values: Vec<u64> = journal::events().iter().map(|e| e.value()).collect();
            assert_eq!(values, (0..1000).collect::<Vec<_>>());
            assert!(journal::events().iter().all(|e| e.code == SI_QUEUE));
        });
    }
    "what is blocked is pending, and can be waited for" => {
        each(|how| {
            sig::block(bit(RTMIN));
            start(how, &format!("send {} {RTMIN} 100", getpid())).succeeds();
            assert_eq!(sig::pending(), bit(RTMIN));
            for value in 0..100 {
                let info = sig::poll_info(bit(RTMIN)).unwrap();
                assert_eq!((info.code, info.value()), (SI_QUEUE, value));
            }
            assert_eq!(sig::pending(), 0);
        });
    }
    "what was blocked comes when it is unblocked" => {
        each(|how| {
            journal::on(SIGUSR1, 0);
            sig::block(bit(SIGUSR1));
            start(how, &format!("kill {} {SIGUSR1}", getpid())).succeeds();
            start(how, &format!("kill {} {SIGUSR1}", getpid())).succeeds();
            assert_eq!(journal::count(), 0);
            sig::unblock(bit(SIGUSR1));
            assert_eq!(journal::count(), 1);
        });
    }
    "to sigwaitinfo, sigsuspend and a signalfd that wait" => {
        each(|how| {
            journal::on(SIGUSR1, 0);
            sig::block(bit(SIGUSR1));
            let words = format!("kill {} {SIGUSR1}", getpid());
            let child = start(how, &words);
            assert_eq!(sig::wait_info(bit(SIGUSR1), None).unwrap().pid(), child.pid());
            child.succeeds();
            let child = start(how, &words);
            assert_eq!(sig::sigsuspend(0), Err(EINTR));
            assert_eq!(journal::only().pid(), child.pid());
            child.succeeds();
            let fd = signal::signalfd(SIGUSR1, 0);
            let child = start(how, &words);
            assert_eq!(read_n(&fd, 128).map(|b| b.len()), Ok(128));
            child.succeeds();
        });
    }
    "and from within, mixed: each sender's order" => {
        each(|how| {
            sig::block(bit(RTMIN));
            let child = start(how, &format!("send {} {RTMIN} 200", getpid()));
            for value in 0..200 {
                sig::sigqueue(getpid(), RTMIN, 1 << 32 | value).unwrap();
            }
            child.succeeds();
            let all: Vec<u64> = std::iter::from_fn(|| sig::poll_info(bit(RTMIN)).ok())
                .map(|info| info.value())
                .collect();
            let (own, outer): (Vec<u64>, Vec<u64>) = all.iter().partition(|v| *v >> 32 == 1);
            assert!(own.iter().map(|v| v & 0xffff).eq(0..200));
            assert!(outer.iter().copied().eq(0..200));
        });
    }
    "default actions" => {
        each(|how| {
            let s = Shared::new();
            let target = fork_run(|| {
                s.set(0, 1);
                loop {
                    let _ = sig::pause();
                }
            });
            s.wait_for(0, 1);
            start(how, &format!("kill {} {SIGSTOP}", target.pid())).succeeds();
            procfs::stopped(target.pid());
            start(how, &format!("kill {} {SIGCONT}", target.pid())).succeeds();
            target.sleeping();
            start(how, &format!("kill {} {SIGTERM}", target.pid())).succeeds();
            assert_eq!(target.wait().signal(), Some(SIGTERM));
        });
    }
    "what is ignored" => {
        each(|how| {
            sig::ignore(SIGUSR1);
            start(how, &format!("kill {} {SIGUSR1}", getpid())).succeeds();
            sig::default(SIGUSR1);
        });
    }
});

cases!(to_the_outside, {
    "real-time signals, all in their order" => {
        each(|how| {
            let (child, s) = hears(how, RTMIN, 300);
            for value in 0..300 {
                sig::sigqueue(child.pid(), RTMIN, value).unwrap();
            }
            child.succeeds();
            assert!((0..300).all(|i| s.get(8 + i) == i as u64));
        });
    }
    "one by one" => {
        each(|how| {
            let (child, s) = hears(how, SIGUSR1, 100);
            for n in 1..=100 {
                child.kill(SIGUSR1);
                s.wait_for(1, n);
            }
            child.succeeds();
        });
    }
    "to one thread of it" => {
        each(|how| {
            let (child, _s) = hears(how, SIGUSR1, 1);
            sig::tgkill(child.pid(), child.pid(), SIGUSR1).unwrap();
            child.succeeds();
        });
    }
    "default actions" => {
        each(|how| {
            for number in [SIGTERM, SIGKILL, SIGUSR1, RTMIN] {
                let child = start(how, "sleep");
                child.kill(number);
                assert_eq!(child.wait().signal(), Some(number));
            }
        });
    }
    "stop and continue" => {
        each(|how| {
            let child = start(how, "sleep");
            for _ in 0..5 {
                child.kill(SIGSTOP);
                procfs::stopped(child.pid());
                child.kill(SIGCONT);
                wait_until(|| procfs::state(child.pid()) != Some('T'));
            }
            child.kill(SIGTERM);
            assert_eq!(child.wait().signal(), Some(SIGTERM));
        });
    }
    "a group of both" => {
        each(|how| {
            sig::own_group();
            journal::on(SIGUSR1, 0);
            let (child, s) = hears(how, SIGUSR1, 1);
            sig::kill(0, SIGUSR1).unwrap();
            assert_eq!(journal::count(), 1);
            s.wait_for(1, 1);
            child.succeeds();
        });
    }
});

cases!(children_outside, {
    "SIGCHLD says how they ended" => {
        each(|how| {
            journal::on(SIGCHLD, 0);
            let child = start(how, "exit 7");
            procfs::gone(child.pid());
            journal::wait_for(1);
            let e = journal::last();
            assert_eq!((e.code, e.pid(), e.status()), (CLD_EXITED, child.pid(), 7));
            child.exits_with(7);
            let child = start(how, &format!("die {SIGTERM}"));
            procfs::gone(child.pid());
            journal::wait_for(2);
            let e = journal::last();
            assert_eq!((e.code, e.pid(), e.status()), (CLD_KILLED, child.pid(), SIGTERM));
            assert_eq!(child.wait().signal(), Some(SIGTERM));
            sig::default(SIGCHLD);
        });
    }
    "a signal right after their start" => {
        each(|how| {
            for _ in 0..50 {
                let child = start(how, "sleep");
                child.kill(SIGTERM);
                assert_eq!(child.wait().signal(), Some(SIGTERM));
            }
        });
    }
});
