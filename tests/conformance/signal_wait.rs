//! Waiting with sigwait(3), sigwaitinfo(2) and sigtimedwait(2).

use libc::{SIGCHLD, SIGHUP, SIGTERM};
use ringer_support::prelude::*;
use sig::{bit, bits, Info, RTMAX, RTMIN};

/// A child that waits in `body`, after `setup`.
fn waiting(setup: fn(), body: fn()) -> Child {
    journal::start();
    let s = Shared::new();
    let child = fork_run(|| {
        setup();
        s.set(0, 1);
        body();
    });
    s.wait_for(0, 1);
    child.sleeping();
    child
}

fn rt_sigtimedwait(set: usize, info: usize, timeout: usize, size: usize) -> Sys {
    // SAFETY: the kernel copies, and says EFAULT.
    ringer_support::check(unsafe {
        libc::syscall(libc::SYS_rt_sigtimedwait, set, info, timeout, size)
    })
}

fn millis(n: i64) -> Option<libc::timespec> {
    Some(ringer_support::ready::milliseconds(n))
}

cases!(sigwait_and_its_relatives_take_what_is_pending, {
    "the siginfo is the sender's" => {
        sig::block(u64::MAX);
        sig::kill(getpid(), SIGUSR1).unwrap();
        let info = sig::poll_info(bit(SIGUSR1)).unwrap();
        assert_eq!((info.number, info.errno, info.code, info.pid()), (SIGUSR1, 0, 0, getpid()));
        sig::sigqueue(getpid(), RTMIN, 77).unwrap();
        let info = sig::wait_info(bit(RTMIN), None).unwrap();
        assert_eq!((info.code, info.pid(), info.value()), (libc::SI_QUEUE, getpid(), 77));
        sig::raise(SIGUSR2).unwrap();
        // libc says SI_USER for SI_TKILL.
        assert_eq!(sig::wait_info(bit(SIGUSR2), None).unwrap().code, libc::SI_USER);
        assert_eq!(sig::pending(), 0);
    }
    "sigwait gives the number" => {
        sig::block(u64::MAX);
        for number in [SIGHUP, SIGUSR1, SIGCHLD, RTMIN, RTMAX] {
            sig::kill(getpid(), number).unwrap();
            assert_eq!(sig::sigwait(bits(&[number, SIGALRM])), Ok(number));
        }
    }
    "the lowest number first, and each real-time signal" => {
        sig::block(u64::MAX);
        for number in [RTMAX, RTMIN, SIGUSR2, RTMIN, SIGHUP, SIGUSR2] {
            sig::kill(getpid(), number).unwrap();
        }
        let got: Vec<c_int> = std::iter::from_fn(|| sig::poll_info(u64::MAX).ok())
            .map(|info| info.number)
            .collect();
        assert_eq!(got, [SIGHUP, SIGUSR2, RTMIN, RTMIN, RTMAX]);
    }
    "the thread's before the process's, whatever their numbers" => {
        sig::block(u64::MAX);
        sig::kill(getpid(), SIGHUP).unwrap();
        sig::raise(RTMAX).unwrap();
        sig::raise(SIGUSR1).unwrap();
        sig::kill(getpid(), SIGUSR1).unwrap();
        let got: Vec<c_int> = std::iter::from_fn(|| sig::poll_info(u64::MAX).ok())
            .map(|info| info.number)
            .collect();
        assert_eq!(got, [SIGUSR1, RTMAX, SIGHUP, SIGUSR1]);
    }
    "what is pending stays one when another one is waited for" => {
        sig::block(bits(&[SIGTERM, SIGUSR1]));
        sig::kill(getpid(), SIGTERM).unwrap();
        assert_eq!(sig::poll_info(bit(SIGUSR1)), Err(EAGAIN));
        sig::kill(getpid(), SIGTERM).unwrap();
        assert_eq!(sig::poll_info(bit(SIGTERM)).map(|info| info.number), Ok(SIGTERM));
        assert_eq!(sig::poll_info(bit(SIGTERM)), Err(EAGAIN));
        sig::kill(getpid(), SIGTERM).unwrap();
        assert_eq!(sig::poll_info(bit(SIGTERM)).map(|info| info.number), Ok(SIGTERM));
        assert_eq!(sig::pending(), 0);
    }
    "libc says SI_USER for raise" => {
        sig::block(bits(&[SIGTERM, SIGHUP]));
        sig::raise(SIGTERM).unwrap();
        assert_eq!(sig::poll_info(bit(SIGTERM)).unwrap().code, libc::SI_USER);
    }
    "what is not in the set stays" => {
        sig::block(u64::MAX);
        sig::raise(SIGUSR1).unwrap();
        sig::raise(SIGUSR2).unwrap();
        assert_eq!(sig::sigwait(bit(SIGUSR2)), Ok(SIGUSR2));
        assert_eq!(sig::poll_info(bit(SIGUSR2)), Err(EAGAIN));
        assert_eq!(sig::pending(), bit(SIGUSR1));
    }
    "timeouts" => {
        sig::block(bit(SIGUSR1));
        for time in [0, 1, 30] {
            assert_eq!(sig::wait_info(bit(SIGUSR1), millis(time)), Err(EAGAIN));
        }
        assert_eq!(sig::wait_info(0, millis(1)), Err(EAGAIN));
        assert_eq!(sig::wait_info(bits(&[SIGKILL, SIGSTOP]), millis(1)), Err(EAGAIN));
    }
    "errors" => {
        let set = bit(SIGUSR1);
        sig::block(set);
        let at = std::ptr::from_ref(&set) as usize;
        for (sec, nsec) in [(-1, 0), (0, -1), (0, 1_000_000_000), (0, i64::MAX)] {
            let time = libc::timespec { tv_sec: sec, tv_nsec: nsec };
            assert_eq!(sig::wait_info(set, Some(time)), Err(EINVAL), "{sec} {nsec}");
        }
        assert_eq!(rt_sigtimedwait(8, 0, 0, 8), Err(EFAULT));
        assert_eq!(rt_sigtimedwait(at, 0, 8, 8), Err(EFAULT));
        for size in [0, 4, 16] {
            assert_eq!(rt_sigtimedwait(8, 0, 0, size), Err(EINVAL));
        }
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(rt_sigtimedwait(at, 0, 8, 8), Err(EFAULT));
        assert_eq!(sig::pending(), set);
        // Taken, and then there was no place for it.
        assert_eq!(rt_sigtimedwait(at, 8, 0, 8), Err(EFAULT));
        assert_eq!(sig::pending(), 0);
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(rt_sigtimedwait(at, 0, 0, 8), Ok(SIGUSR1 as usize));
    }
});

/// A child that waits for `SIGUSR1` and `RTMIN`, as `setup` left them.
fn waits(setup: fn(), then: fn(Sys<Info>)) -> Child {
    journal::start();
    let s = Shared::new();
    let child = fork_run(|| {
        setup();
        s.set(0, 1);
        then(sig::wait_info(bits(&[SIGUSR1, RTMIN]), None));
    });
    s.wait_for(0, 1);
    child.sleeping();
    child
}

cases!(sigwait_and_its_relatives_wait, {
    "for a blocked signal" => {
        let setup = || drop(vec![sig::block(bits(&[SIGUSR1, RTMIN]))]);
        for number in [SIGUSR1, RTMIN] {
            let child = waits(setup, |got| assert_eq!(got.unwrap().pid(), getppid()));
            child.kill(number);
            child.succeeds();
        }
    }
    "for a signal that is not blocked: the set goes before the handler" => {
        let child = waits(|| journal::on(SIGUSR1, 0), |got| {
            assert_eq!((got.unwrap().number, journal::count()), (SIGUSR1, 0));
            sig::raise(SIGUSR1).unwrap();
            assert_eq!(journal::count(), 1);
        });
        child.kill(SIGUSR1);
        child.succeeds();
    }
    "a signal that is not blocked and would kill, kills" => {
        let child = waits(|| {}, |_| {});
        child.kill(SIGUSR1);
        assert_eq!(child.wait().signal(), Some(SIGUSR1));
    }
    "for a signal that is ignored and blocked" => {
        let setup = || {
            sig::ignore(SIGUSR1);
            sig::block(bit(SIGUSR1));
        };
        let child = waits(setup, |got| assert_eq!(got.unwrap().number, SIGUSR1));
        child.kill(SIGUSR1);
        child.succeeds();
    }
    "not for one that is ignored and not blocked" => {
        let setup = || {
            sig::ignore(SIGUSR1);
            sig::block(bit(RTMIN));
        };
        let child = waits(setup, |got| assert_eq!(got.unwrap().number, RTMIN));
        child.kill(SIGUSR1);
        child.sleeping();
        child.kill(RTMIN);
        child.succeeds();
    }
    "and another handler interrupts them, SA_RESTART or not" => {
        for setup in [|| journal::on(SIGUSR2, 0), || journal::on(SIGUSR2, SA_RESTART)] {
            let child = waits(setup, |got| assert_eq!((got, journal::count()), (Err(EINTR), 1)));
            child.kill(SIGUSR2);
            child.succeeds();
        }
    }
    "and a stop interrupts them" => {
        let child = waits(|| {}, |got| assert_eq!(got, Err(EINTR)));
        child.kill(SIGSTOP);
        procfs::stopped(child.pid());
        child.kill(SIGCONT);
        child.succeeds();
    }
    "sigwait goes on after a handler" => {
        let setup = || {
            journal::on(SIGUSR2, 0);
            sig::block(bit(SIGUSR1));
        };
        let child = waiting(setup, || {
            assert_eq!(sig::sigwait(bit(SIGUSR1)), Ok(SIGUSR1));
            assert_eq!(journal::numbers(), [SIGUSR2, SIGUSR2]);
        });
        for n in 1..=2 {
            child.kill(SIGUSR2);
            journal::wait_for(n);
            child.sleeping();
        }
        child.kill(SIGUSR1);
        child.succeeds();
    }
    "one signal for one of several threads that wait" => {
        sig::block(bits(&[SIGUSR1, RTMIN]));
        let s = Shared::new();
        let threads: Vec<_> = (0..4)
            .map(|i| {
                std::thread::spawn(move || {
                    s.set(10 + i, gettid() as u64);
                    // Linux may wake others than the one that gets it.
                    let wait = || sig::wait_info(bits(&[SIGUSR1, RTMIN]), None).ok();
                    let info = std::iter::repeat_with(wait).flatten().next().unwrap();
                    s.bump(0);
                    info.value()
                })
            })
            .collect();
        for i in 0..4 {
            s.wait_for(10 + i, 1);
            procfs::thread_sleeping(s.get(10 + i) as i32);
        }
        for n in 1..=4u64 {
            sig::sigqueue(getpid(), RTMIN, n).unwrap();
            s.wait_for(0, n);
            assert_eq!(s.get(0), n);
        }
        let mut values: Vec<u64> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        values.sort_unstable();
        assert_eq!(values, [1, 2, 3, 4]);
    }
    "a thread's own signal wakes that thread" => {
        sig::block(bit(SIGUSR1));
        let s = Shared::new();
        let threads: Vec<_> = (0..3)
            .map(|i| {
                std::thread::spawn(move || {
                    s.set(i, gettid() as u64);
                    sig::sigwait(bit(SIGUSR1)).unwrap();
                    s.set(10 + i, 1);
                })
            })
            .collect();
        for i in 0..3 {
            s.wait_for(i, 1);
            procfs::thread_sleeping(s.get(i) as i32);
        }
        for i in [1, 2, 0] {
            assert_eq!(s.get(10 + i), 0);
            sig::tgkill(getpid(), s.get(i) as i32, SIGUSR1).unwrap();
            s.wait_for(10 + i, 1);
        }
        threads.into_iter().for_each(|t| t.join().unwrap());
    }
});
