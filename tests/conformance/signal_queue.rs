//! Sending to threads, with values, and up to the limit. See tgkill(2), rt_sigqueueinfo(2),
//! pthread_sigqueue(3), getrlimit(2) RLIMIT_SIGPENDING, abort(3).

use libc::{EAGAIN, EPERM, ESRCH, SIGABRT, SIGTERM, SI_QUEUE, SI_TKILL, SI_USER};
use ringer_support::prelude::*;
use sig::{bit, Info, RTMAX, RTMIN};

const NOBODY: i32 = 0x7fff_fff0;

cases!(threads_as_targets_and_the_errors, {
    "tgkill refuses what is no thread" => {
        let me = getpid();
        for (pid, tid, errno) in [
            (0, me, EINVAL),
            (-1, me, EINVAL),
            (me, 0, EINVAL),
            (me, -1, EINVAL),
            (me, NOBODY, ESRCH),
            (NOBODY, me, ESRCH),
            (getppid(), me, ESRCH),
            (me, getppid(), ESRCH),
        ] {
            for number in [0, SIGUSR1] {
                assert_eq!(sig::tgkill(pid, tid, number), Err(errno), "{pid} {tid}");
                let info = Info::new(-1);
                assert_eq!(sig::rt_tgsigqueueinfo(pid, tid, number, &info), Err(errno));
            }
        }
    }
    "tkill refuses what is no thread" => {
        for (tid, errno) in [(0, EINVAL), (-1, EINVAL), (NOBODY, ESRCH)] {
            assert_eq!(sig::tkill(tid, 0), Err(errno));
            assert_eq!(sig::tkill(tid, SIGUSR1), Err(errno));
        }
    }
    "numbers that are no signals" => {
        for number in [-1, 65, i32::MAX] {
            assert_eq!(sig::tgkill(getpid(), gettid(), number), Err(EINVAL));
            assert_eq!(sig::tgkill(getpid(), NOBODY, number), Err(ESRCH));
            assert_eq!(sig::tkill(gettid(), number), Err(EINVAL));
            assert_eq!(sig::pthread_kill(sig::me(), number), EINVAL);
            assert_eq!(sig::sigqueue(getpid(), number, 0), Err(EINVAL));
            assert_eq!(sig::raise(number), Err(EINVAL));
        }
    }
    "signal 0" => {
        assert_eq!(sig::tgkill(getpid(), gettid(), 0), Ok(0));
        assert_eq!(sig::tkill(gettid(), 0), Ok(0));
        assert_eq!(sig::pthread_kill(sig::me(), 0), 0);
        assert_eq!(sig::sigqueue(getpid(), 0, 0), Ok(0));
        assert_eq!(sig::sigqueue(NOBODY, 0, 0), Err(ESRCH));
        assert_eq!(sig::raise(0), Ok(0));
        assert_eq!(sig::pending(), 0);
    }
    "libc keeps its own two to itself" => {
        for number in [32, 33] {
            assert_eq!(sig::pthread_kill(sig::me(), number), EINVAL);
            assert_eq!(sig::thread_sigqueue(sig::me(), number, 0), EINVAL);
        }
    }
    "a thread that has ended is ESRCH for tgkill" => {
        let tid = std::thread::spawn(gettid).join().unwrap();
        procfs::gone(tid);
        assert_eq!(sig::tgkill(getpid(), tid, SIGUSR1), Err(ESRCH));
        assert_eq!(sig::tgkill(getpid(), tid, 0), Err(ESRCH));
        assert_eq!(sig::tkill(tid, SIGUSR1), Err(ESRCH));
    }
    "what is sent to a thread is for that thread" => {
        journal::on(SIGUSR1, 0);
        let s = Shared::new();
        let threads = [0, 1, 2].map(|i| {
            std::thread::spawn(move || {
                s.set(i + 10, sig::me() as u64);
                s.set(i, gettid() as u64);
                s.wait_for(5, 1);
            })
        });
        for i in 0..3 {
            s.wait_for(i, 1);
        }
        for (n, i) in [2, 0, 1, 1, 2].into_iter().enumerate() {
            if n % 2 == 0 {
                sig::tgkill(getpid(), s.get(i) as i32, SIGUSR1).unwrap();
            } else {
                assert_eq!(sig::pthread_kill(s.get(i + 10) as _, SIGUSR1), 0);
            }
            journal::wait_for(n + 1);
            assert_eq!((journal::last().tid, journal::last().code), (s.get(i) as i32, SI_TKILL));
        }
        s.set(5, 1);
        threads.into_iter().for_each(|t| t.join().unwrap());
    }
    "pthread_sigqueue to another thread" => {
        journal::on(RTMIN + 1, 0);
        let s = Shared::new();
        let thread = std::thread::spawn(move || {
            s.set(1, sig::me() as u64);
            s.set(0, gettid() as u64);
            s.wait_for(2, 1);
        });
        s.wait_for(0, 1);
        assert_eq!(sig::thread_sigqueue(s.get(1) as _, RTMIN + 1, 4711), 0);
        journal::wait_for(1);
        let e = journal::only();
        assert_eq!((e.tid, e.code, e.value()), (s.get(0) as i32, SI_QUEUE, 4711));
        assert_eq!((e.pid(), e.number), (getpid(), RTMIN + 1));
        s.set(2, 1);
        thread.join().unwrap();
    }
});

cases!(rt_sigqueueinfo_and_its_errors, {
    "a bad pointer is EFAULT" => {
        let bad = 8;
        assert_eq!(sig::rt_sigqueueinfo(getpid(), RTMIN, bad), Err(EFAULT));
        assert_eq!(sig::rt_sigqueueinfo(NOBODY, RTMIN, bad), Err(EFAULT));
        assert_eq!(sig::rt_tgsigqueueinfo(getpid(), gettid(), RTMIN, bad), Err(EFAULT));
        assert_eq!(sig::rt_tgsigqueueinfo(0, 0, RTMIN, bad), Err(EFAULT));
        assert_eq!(sig::pending(), 0);
    }
    "nobody may pretend to be the kernel or kill" => {
        let child = journal::listener(&[RTMIN], || {});
        for code in [0, 1, 0x80, SI_TKILL, i32::MAX] {
            let info = Info::new(code);
            assert_eq!(sig::rt_sigqueueinfo(child.pid(), RTMIN, &info), Err(EPERM), "{code}");
            let to = child.pid();
            assert_eq!(sig::rt_tgsigqueueinfo(to, to, RTMIN, &info), Err(EPERM));
        }
        for code in [-1, -2, -3, -4, -5, -60, i32::MIN] {
            let info = Info::new(code);
            assert_eq!(sig::rt_sigqueueinfo(child.pid(), RTMIN, &info), Ok(0), "{code}");
        }
        journal::wait_for(7);
        assert_eq!(journal::count(), 7);
    }
    "to oneself any code is allowed" => {
        journal::on(RTMIN, 0);
        for code in [0, 1, 0x80, SI_TKILL, -1, i32::MIN] {
            sig::rt_sigqueueinfo(getpid(), RTMIN, &Info::new(code)).unwrap();
            assert_eq!(journal::last().code, code);
            sig::rt_tgsigqueueinfo(getpid(), gettid(), RTMIN, &Info::new(code)).unwrap();
            assert_eq!(journal::last().code, code);
        }
        assert_eq!(journal::count(), 12);
    }
    "EPERM comes before ESRCH and EINVAL" => {
        assert_eq!(sig::rt_sigqueueinfo(NOBODY, RTMIN, &Info::new(0)), Err(EPERM));
        assert_eq!(sig::rt_sigqueueinfo(NOBODY, 65, &Info::new(0)), Err(EPERM));
        assert_eq!(sig::rt_sigqueueinfo(NOBODY, 65, &Info::new(-1)), Err(ESRCH));
        assert_eq!(sig::rt_sigqueueinfo(getpid(), 65, &Info::new(-1)), Err(EINVAL));
        assert_eq!(sig::rt_tgsigqueueinfo(getpid(), NOBODY, 0, &Info::new(0)), Err(EPERM));
    }
    "groups are not for it" => {
        assert_eq!(sig::rt_sigqueueinfo(0, 0, &Info::new(-1)), Err(ESRCH));
        assert_eq!(sig::rt_sigqueueinfo(-1, 0, &Info::new(-1)), Err(ESRCH));
        assert_eq!(sig::rt_sigqueueinfo(-getpid(), 0, &Info::new(-1)), Err(ESRCH));
    }
});

fn limit(n: u64) {
    let limit = libc::rlimit {
        rlim_cur: n,
        rlim_max: n,
    };
    // SAFETY: a valid limit.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &limit) };
    assert_eq!(done, 0);
}

/// A user alone, for the count is the user's.
fn alone(n: u64) -> bool {
    let alone = sig::become_nobody_else().is_some();
    if alone {
        limit(n);
        // SIGCHLD would count as well.
        sig::block(!bit(libc::SIGCHLD));
    }
    alone
}

// (Of what is in the arena, each process's own count: docs/limits.md.)
cases!(the_limit_is_the_users, {
    "private and shared ones count together, of all the user's processes" => {
        if alone(4) {
            let s = Shared::new();
            let child = fork_run(|| {
                s.set(0, 1);
                s.wait_for(1, 1);
            });
            s.wait_for(0, 1);
            sig::sigqueue(getpid(), RTMIN, 1).unwrap();
            assert_eq!(sig::thread_sigqueue(sig::me(), RTMIN, 2), 0);
            sig::sigqueue(child.pid(), RTMIN, 3).unwrap();
            sig::sigqueue(child.pid(), RTMIN, 4).unwrap();
            assert_eq!(sig::sigqueue(child.pid(), RTMIN, 5), Err(EAGAIN));
            assert_eq!(sig::thread_sigqueue(sig::me(), RTMIN, 5), EAGAIN);
            s.set(1, 1);
            child.succeeds();
            // What was pending for the dead does not count.
            sig::sigqueue(getpid(), RTMIN, 6).unwrap();
            sig::sigqueue(getpid(), RTMIN, 7).unwrap();
            assert_eq!(sig::sigqueue(getpid(), RTMIN, 8), Err(EAGAIN));
        }
    }
});

cases!(the_limit_of_pending_signals, {
    "beyond it sigqueue is EAGAIN, until some are taken" => {
        if alone(5) {
            for value in 0..5 {
                assert_eq!(sig::sigqueue(getpid(), RTMIN, value), Ok(0));
            }
            assert_eq!(sig::sigqueue(getpid(), RTMIN, 5), Err(EAGAIN));
            assert_eq!(sig::sigqueue(getpid(), RTMIN + 1, 5), Err(EAGAIN));
            for value in 0..5 {
                assert_eq!(sig::poll_info(bit(RTMIN)).unwrap().value(), value);
            }
            assert_eq!(sig::poll_info(bit(RTMIN)), Err(EAGAIN));
            assert_eq!(sig::sigqueue(getpid(), RTMIN, 6), Ok(0));
        }
    }
    "kill with a real-time signal goes through, without its siginfo" => {
        if alone(0) {
            assert_eq!(sig::kill(getpid(), RTMIN), Ok(0));
            assert_eq!(sig::kill(getpid(), RTMIN), Ok(0));
            assert_eq!(sig::pending(), bit(RTMIN));
            let info = sig::poll_info(bit(RTMIN)).unwrap();
            assert_eq!((info.code, info.pid(), info.uid()), (SI_USER, 0, 0));
            assert_eq!(sig::poll_info(bit(RTMIN)), Err(EAGAIN));
        }
    }
    "tgkill with a real-time signal does not" => {
        if alone(0) {
            assert_eq!(sig::tgkill(getpid(), gettid(), RTMIN), Err(EAGAIN));
            assert_eq!(sig::pending(), 0);
        }
    }
    "standard signals of kill are above it and keep their siginfo" => {
        if alone(0) {
            assert_eq!(sig::kill(getpid(), SIGUSR1), Ok(0));
            let info = sig::poll_info(bit(SIGUSR1)).unwrap();
            assert_eq!((info.code, info.pid()), (SI_USER, getpid()));
        }
    }
    "standard signals of sigqueue arrive without their siginfo" => {
        if alone(0) {
            assert_eq!(sig::sigqueue(getpid(), SIGUSR1, 9), Ok(0));
            let info = sig::poll_info(bit(SIGUSR1)).unwrap();
            assert_eq!((info.code, info.pid(), info.value()), (SI_USER, 0, 0));
        }
    }
    "what is ignored needs no room" => {
        if alone(0) {
            sig::ignore(RTMIN);
            sig::unblock(bit(RTMIN));
            assert_eq!(sig::sigqueue(getpid(), RTMIN, 1), Ok(0));
        }
    }
    "what is delivered at once needs room, too" => {
        if alone(1) {
            journal::on(RTMAX, 0);
            sig::unblock(bit(RTMAX));
            for n in 1..=20 {
                assert_eq!(sig::sigqueue(getpid(), RTMAX, n as u64), Ok(0));
                assert_eq!((journal::count(), journal::last().value()), (n, n as u64));
            }
            limit(0);
            assert_eq!(sig::sigqueue(getpid(), RTMAX, 1), Err(EAGAIN));
        }
    }
});

extern "C" fn come_back(_: c_int) {}

fn aborts(prepare: fn()) {
    let child = fork_run(|| {
        sig::no_core();
        prepare();
        // SAFETY: ends the process.
        unsafe { libc::abort() };
    });
    assert_eq!(child.wait().signal(), Some(SIGABRT));
}

cases!(abort_always_aborts, {
    "by default" => { aborts(|| {}); }
    "ignored" => { aborts(|| sig::ignore(SIGABRT)); }
    "blocked" => {
        aborts(|| {
            sig::block(bit(SIGABRT));
        });
    }
    "all blocked" => {
        aborts(|| {
            sig::block(u64::MAX);
        });
    }
    "with a handler that returns" => {
        aborts(|| {
            let handler = come_back as *const () as usize;
            sig::set_action(SIGABRT, handler, 0, 0).unwrap();
        });
    }
    "the handler runs first" => {
        journal::start();
        aborts(|| journal::on(SIGABRT, 0));
        assert_eq!(journal::only().number, SIGABRT);
    }
    "in a thread" => {
        aborts(|| {
            // SAFETY: ends the process.
            let _ = std::thread::spawn(|| unsafe { libc::abort() }).join();
        });
    }
    "SIGTERM is not abort" => {
        let child = fork_run(|| sig::raise(SIGTERM).map(drop).unwrap());
        assert_eq!(child.wait().signal(), Some(SIGTERM));
    }
});
