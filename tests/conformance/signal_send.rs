//! Sending signals: to whom, which error comes first, and what the siginfo says.
//! See kill(2), tgkill(2), sigqueue(3), rt_sigqueueinfo(2), pthread_kill(3), signal(7).

use libc::{ESRCH, SIGCHLD, SIGTERM, SI_QUEUE, SI_TKILL, SI_USER};
use ringer_support::prelude::*;
use sig::{Info, RTMAX, RTMIN};

/// A number beyond any pid_max.
const NOBODY: i32 = 0x7fff_fff0;

/// The pid of a child that is a zombie.
fn zombie() -> Child {
    let child = fork_run(|| {});
    procfs::gone(child.pid());
    child
}

/// The pid of a child that is no more.
fn reaped() -> i32 {
    let child = fork_run(|| {});
    let pid = child.pid();
    child.succeeds();
    pid
}

cases!(kill_and_its_errors, {
    "signal 0 tells that a process is there" => {
        assert_eq!(sig::kill(getpid(), 0), Ok(0));
        assert_eq!(sig::kill(getppid(), 0), Ok(0));
    }
    "signal 0 is never delivered" => {
        for number in 1..=31 {
            if number != SIGKILL && number != SIGSTOP {
                journal::on(number, 0);
            }
        }
        assert_eq!(sig::kill(getpid(), 0), Ok(0));
        assert_eq!((journal::count(), sig::pending()), (0, 0));
    }
    "numbers that are no signals are EINVAL" => {
        for number in [-1, 65, 66, 128, 1000, i32::MAX, i32::MIN] {
            assert_eq!(sig::kill(getpid(), number), Err(EINVAL), "{number}");
            assert_eq!(sig::sys_kill(getpid(), number), Err(EINVAL), "{number}");
        }
    }
    "a process that is not there is ESRCH" => {
        assert_eq!(sig::kill(NOBODY, 0), Err(ESRCH));
        assert_eq!(sig::kill(NOBODY, SIGTERM), Err(ESRCH));
        assert_eq!(sig::kill(reaped(), 0), Err(ESRCH));
        assert_eq!(sig::kill(reaped(), SIGKILL), Err(ESRCH));
    }
    "ESRCH comes before EINVAL" => {
        assert_eq!(sig::kill(NOBODY, 65), Err(ESRCH));
        assert_eq!(sig::kill(-NOBODY, 65), Err(ESRCH));
    }
    "the least pid is ESRCH" => {
        assert_eq!(sig::kill(i32::MIN, SIGTERM), Err(ESRCH));
        assert_eq!(sig::kill(i32::MIN, 0), Err(ESRCH));
    }
    "a group that is not there is ESRCH" => {
        assert_eq!(sig::kill(-NOBODY, 0), Err(ESRCH));
        assert_eq!(sig::killpg(NOBODY, 0), Err(ESRCH));
        assert_eq!(sig::killpg(-1, 0), Err(EINVAL));
        assert_eq!(sig::killpg(-NOBODY, 0), Err(EINVAL));
    }
    "a zombie takes any signal and stays what it is" => {
        let child = zombie();
        for number in [0, SIGTERM, SIGKILL, SIGSTOP, SIGCONT, RTMIN] {
            assert_eq!(sig::kill(child.pid(), number), Ok(0), "{number}");
        }
        assert_eq!(sig::kill(child.pid(), 65), Err(EINVAL));
        child.succeeds();
    }
    "the number of a thread is the number of its process for kill" => {
        journal::on(SIGUSR1, 0);
        let s = Shared::new();
        let thread = std::thread::spawn(move || {
            s.set(0, gettid() as u64);
            s.wait_for(1, 1);
        });
        s.wait_for(0, 1);
        assert_eq!(sig::kill(s.get(0) as i32, SIGUSR1), Ok(0));
        journal::wait_for(1);
        assert_eq!(journal::only().code, SI_USER);
        s.set(1, 1);
        thread.join().unwrap();
    }
    "every signal that may be caught arrives as the one that was sent" => {
        let child = journal::listener(
            &(1..=64)
                .filter(|n| ![SIGKILL, SIGSTOP, 32, 33].contains(n))
                .collect::<Vec<_>>(),
            || {},
        );
        let mut sent = 0;
        for number in (1..=64).filter(|n| ![SIGKILL, SIGSTOP, 32, 33].contains(n)) {
            assert_eq!(sig::kill(child.pid(), number), Ok(0), "{number}");
            sent += 1;
            journal::wait_for(sent);
            assert_eq!(journal::last().number, number);
        }
    }
});

cases!(a_signal_to_oneself_comes_before_the_call_returns, {
    "kill" => {
        journal::on(SIGUSR1, 0);
        for n in 1..=100 {
            sig::kill(getpid(), SIGUSR1).unwrap();
            assert_eq!(journal::count(), n);
        }
    }
    "kill by syscall" => {
        journal::on(SIGUSR1, 0);
        sig::sys_kill(getpid(), SIGUSR1).unwrap();
        assert_eq!(journal::count(), 1);
    }
    "kill of the own group, of one process" => {
        let group = sig::own_group();
        journal::on(SIGUSR1, 0);
        sig::kill(0, SIGUSR1).unwrap();
        assert_eq!(journal::count(), 1);
        sig::kill(-group, SIGUSR1).unwrap();
        assert_eq!(journal::count(), 2);
        sig::killpg(0, SIGUSR1).unwrap();
        sig::killpg(group, SIGUSR1).unwrap();
        assert_eq!(journal::count(), 4);
        assert!(journal::events().iter().all(|e| e.code == SI_USER && e.pid() == getpid()));
    }
    "raise" => {
        journal::on(SIGUSR1, 0);
        sig::raise(SIGUSR1).unwrap();
        let e = journal::only();
        assert_eq!((e.code, e.pid(), e.tid), (SI_TKILL, getpid(), gettid()));
    }
    "tgkill, tkill" => {
        journal::on(SIGUSR1, 0);
        sig::tgkill(getpid(), gettid(), SIGUSR1).unwrap();
        assert_eq!(journal::count(), 1);
        sig::tkill(gettid(), SIGUSR1).unwrap();
        assert_eq!(journal::count(), 2);
    }
    "pthread_kill" => {
        journal::on(SIGUSR1, 0);
        assert_eq!(sig::pthread_kill(sig::me(), SIGUSR1), 0);
        assert_eq!(journal::only().code, SI_TKILL);
    }
    "sigqueue, pthread_sigqueue" => {
        journal::on(RTMIN, 0);
        sig::sigqueue(getpid(), RTMIN, 7).unwrap();
        assert_eq!((journal::count(), journal::last().value()), (1, 7));
        assert_eq!(sig::thread_sigqueue(sig::me(), RTMIN, 8), 0);
        assert_eq!((journal::count(), journal::last().value()), (2, 8));
    }
    "rt_sigqueueinfo, rt_tgsigqueueinfo" => {
        journal::on(RTMIN, 0);
        sig::rt_sigqueueinfo(getpid(), RTMIN, &Info::new(-9)).unwrap();
        assert_eq!((journal::count(), journal::last().code), (1, -9));
        sig::rt_tgsigqueueinfo(getpid(), gettid(), RTMIN, &Info::new(-10)).unwrap();
        assert_eq!((journal::count(), journal::last().code), (2, -10));
    }
    "to oneself from a thread that alone does not block it" => {
        journal::on(SIGUSR1, 0);
        sig::block(sig::bit(SIGUSR1));
        std::thread::spawn(|| {
            sig::unblock(sig::bit(SIGUSR1));
            for n in 1..=50 {
                sig::kill(getpid(), SIGUSR1).unwrap();
                assert_eq!(journal::count(), n);
                assert_eq!(journal::last().tid, gettid());
            }
        })
        .join()
        .unwrap();
    }
    "errno stays as it was" => {
        journal::on(SIGUSR1, 0);
        ringer_support::set_errno(77);
        sig::kill(getpid(), SIGUSR1).unwrap();
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(ringer_support::errno(), 77);
    }
});

cases!(what_the_siginfo_of_each_sender_says, {
    "kill" => {
        let child = journal::listener(&[SIGUSR1], || {});
        sig::kill(child.pid(), SIGUSR1).unwrap();
        journal::wait_for(1);
        let e = journal::only();
        assert_eq!((e.errno, e.code, e.pid()), (0, SI_USER, getpid()));
        // SAFETY: no argument.
        assert_eq!(e.uid(), unsafe { libc::getuid() });
        assert_eq!(e.payload[1..], [0, 0]);
    }
    "tgkill" => {
        let child = journal::listener(&[SIGUSR1], || {});
        sig::tgkill(child.pid(), child.pid(), SIGUSR1).unwrap();
        journal::wait_for(1);
        let e = journal::only();
        assert_eq!((e.errno, e.code, e.pid(), e.tid), (0, SI_TKILL, getpid(), child.pid()));
        assert_eq!(e.payload[1..], [0, 0]);
    }
    "sigqueue carries any value with any signal" => {
        let child = journal::listener(&[SIGUSR1, SIGUSR2, RTMIN, RTMAX], || {});
        let values = [0, 1, u64::MAX, 0xdead_beef_0bad_cafe];
        for (n, number) in [SIGUSR1, SIGUSR2, RTMIN, RTMAX].into_iter().enumerate() {
            sig::sigqueue(child.pid(), number, values[n]).unwrap();
            journal::wait_for(n + 1);
            let e = journal::last();
            assert_eq!((e.number, e.code, e.value()), (number, SI_QUEUE, values[n]));
            assert_eq!(e.pid(), getpid());
        }
    }
    "the real user is told" => {
        let child = journal::listener(&[SIGUSR1], || {});
        fork_run(|| {
            if is_root() {
                sig::set_users(1234, 0, 0);
                sig::kill(child.pid(), SIGUSR1).unwrap();
                journal::wait_for(1);
                assert_eq!((journal::only().uid(), journal::only().pid()), (1234, getpid()));
            }
        })
        .succeeds();
    }
    "the process is told, not the thread that sends" => {
        let child = journal::listener(&[SIGUSR1, RTMIN], || {});
        let to = child.pid();
        std::thread::spawn(move || {
            assert_ne!(gettid(), getpid());
            sig::kill(to, SIGUSR1).unwrap();
            sig::sigqueue(to, RTMIN, 1).unwrap();
        })
        .join()
        .unwrap();
        journal::wait_for(2);
        assert!(journal::events().iter().all(|e| e.pid() == getpid()));
    }
    "rt_sigqueueinfo gives what it was given, but for the number" => {
        let child = journal::listener(&[SIGUSR1, RTMIN], || {});
        for (n, number) in [SIGUSR1, RTMIN].into_iter().enumerate() {
            let mut info = Info::new(-123);
            (info.number, info.errno) = (9, 55);
            info.payload[..3].copy_from_slice(&[11, 22, 33]);
            sig::rt_sigqueueinfo(child.pid(), number, &info).unwrap();
            journal::wait_for(n + 1);
            let e = journal::last();
            assert_eq!((e.number, e.errno, e.code), (number, 55, -123));
            assert_eq!(e.payload, [11, 22, 33]);
        }
    }
    "SIGCHLD by kill is a signal like any other" => {
        let child = journal::listener(&[SIGCHLD], || {});
        sig::kill(child.pid(), SIGCHLD).unwrap();
        journal::wait_for(1);
        assert_eq!((journal::only().code, journal::only().pid()), (SI_USER, getpid()));
    }
});

cases!(signals_to_groups_and_to_all, {
    "kill(0) reaches each of the group once" => {
        let group = sig::own_group();
        journal::start();
        journal::on(SIGUSR1, 0);
        let children: Vec<Child> = (0..3).map(|_| journal::listener(&[SIGUSR1], || {})).collect();
        sig::kill(0, SIGUSR1).unwrap();
        journal::wait_for(4);
        sig::kill(-group, SIGUSR1).unwrap();
        journal::wait_for(8);
        sig::killpg(group, SIGUSR1).unwrap();
        journal::wait_for(12);
        for pid in children.iter().map(Child::pid).chain([getpid()]) {
            assert_eq!(journal::events().iter().filter(|e| e.tid == pid).count(), 3);
        }
    }
    "a group outlives its leader" => {
        let s = Shared::new();
        journal::start();
        let leader = fork_run(|| {
            sig::own_group();
            fork_run(|| {
                journal::on(SIGUSR1, 0);
                s.set(0, 1);
                // Nobody else would end it: its watchdog is not this test's.
                for _ in 0..100_000 {
                    if journal::count() != 0 {
                        break;
                    }
                    pause(std::time::Duration::from_micros(200));
                }
            })
            .leak();
            s.wait_for(0, 1);
        });
        let group = leader.pid();
        leader.succeeds();
        assert_eq!(sig::kill(-group, SIGUSR1), Ok(0));
        journal::wait_for(1);
        assert_ne!(journal::only().tid, group);
    }
    "kill(-1) reaches all that one may signal, but not oneself" => {
        journal::start();
        if sig::become_nobody_else().is_some() {
            journal::on(SIGUSR1, 0);
            let children: Vec<Child> =
                (0..3).map(|_| journal::listener(&[SIGUSR1], || {})).collect();
            sig::kill(-1, SIGUSR1).unwrap();
            journal::wait_for(3);
            for child in &children {
                assert!(journal::events().iter().any(|e| e.tid == child.pid()));
            }
            assert_eq!(journal::count(), 3);
        }
    }
    "kill(-1) without anybody is no error" => {
        if sig::become_nobody_else().is_some() {
            assert_eq!(sig::kill(-1, 0), Ok(0));
            assert_eq!(sig::kill(-1, SIGTERM), Ok(0));
            assert_eq!(sig::kill(-1, 65), Err(EINVAL));
        }
    }
});
