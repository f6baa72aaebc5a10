//! Masks: each thread has one, threads, children and new programs inherit it, and what it held back
//! comes before the call that unblocks it returns. See sigprocmask(2), sigpending(2).

use libc::{SA_NODEFER, SIGCHLD, SIGHUP, SIGTERM, SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK};
use ringer_support::prelude::*;
use sig::{bit, bits, RTMAX, RTMIN};

const NEVER: [c_int; 2] = [SIGKILL, SIGSTOP];
/// Those that a fault raises.
const SYNCHRONOUS: u64 = 1 << 30 | 1 << 10 | 1 << 6;
/// glibc's own.
const INTERNAL: [c_int; 2] = [32, 33];

fn rt_sigprocmask(how: c_int, new: usize, old: usize, size: usize) -> Sys {
    // SAFETY: the kernel copies, and says EFAULT.
    ringer_support::check(unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, new, old, size) })
}

fn rt_sigpending(set: usize, size: usize) -> Sys {
    // SAFETY: the kernel copies, and says EFAULT.
    ringer_support::check(unsafe { libc::syscall(libc::SYS_rt_sigpending, set, size) })
}

fn raw_mask() -> u64 {
    let mut old = 0u64;
    let at = std::ptr::from_mut(&mut old) as usize;
    rt_sigprocmask(SIG_BLOCK, 0, at, 8).unwrap();
    old
}

cases!(the_three_ways_to_change_a_mask, {
    "each signal alone" => {
        for number in (1..=64).filter(|n| !NEVER.contains(n) && !INTERNAL.contains(n)) {
            assert_eq!(sig::block(bit(number)), 0, "{number}");
            assert_eq!(sig::mask(), bit(number));
            assert_eq!(sig::unblock(bit(number)), bit(number));
            assert_eq!(sig::mask(), 0);
        }
    }
    "block adds, unblock takes, set sets" => {
        let (a, b) = (bits(&[SIGUSR1, RTMIN]), bits(&[SIGUSR2, RTMIN, RTMAX]));
        assert_eq!(sig::block(a), 0);
        assert_eq!(sig::block(b), a);
        assert_eq!(sig::unblock(a), a | b);
        assert_eq!(sig::set_mask(a), b & !a);
        assert_eq!(sig::set_mask(0), a);
        assert_eq!(sig::unblock(a), 0);
        assert_eq!(sig::mask(), 0);
    }
    "KILL and STOP are left out without a word" => {
        sig::set_mask(bits(&[SIGKILL, SIGSTOP, SIGUSR1]));
        assert_eq!(sig::mask(), bit(SIGUSR1));
        sig::block(u64::MAX);
        assert_eq!(sig::mask(), !bits(&NEVER) & !bits(&INTERNAL));
        assert_eq!(raw_mask() | SYNCHRONOUS, !bits(&NEVER) & !bits(&INTERNAL));
    }
    "past libc all others can be blocked" => {
        let all = u64::MAX;
        let at = std::ptr::from_ref(&all) as usize;
        rt_sigprocmask(SIG_SETMASK, at, 0, 8).unwrap();
        assert_eq!(raw_mask() | SYNCHRONOUS, !bits(&NEVER));
        let child = fork_run(|| loop {
            let _ = sig::pause();
        });
        child.kill_9();
    }
    "no new set: nothing changes, whatever is said" => {
        sig::block(bit(SIGUSR1));
        for how in [SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK, 3, -1, i32::MAX] {
            let mut old = 0u64;
            let at = std::ptr::from_mut(&mut old) as usize;
            assert_eq!(rt_sigprocmask(how, 0, at, 8), Ok(0), "{how}");
            assert_eq!(old, bit(SIGUSR1));
        }
        assert_eq!(rt_sigprocmask(SIG_SETMASK, 0, 0, 8), Ok(0));
        assert_eq!(sig::mask(), bit(SIGUSR1));
    }
    "other ways are EINVAL" => {
        for how in [3, 4, -1, 100, i32::MAX, i32::MIN] {
            assert_eq!(sig::change_mask(how, 0), Err(EINVAL), "{how}");
            // SAFETY: a valid set.
            let e = unsafe {
                libc::pthread_sigmask(how, &sig::set(0), std::ptr::null_mut())
            };
            assert_eq!(e, EINVAL);
        }
    }
    "bad pointers" => {
        let one = bit(SIGUSR1);
        let at = std::ptr::from_ref(&one) as usize;
        assert_eq!(rt_sigprocmask(SIG_BLOCK, 8, 0, 8), Err(EFAULT));
        assert_eq!(rt_sigprocmask(99, 8, 0, 8), Err(EFAULT));
        assert_eq!(rt_sigprocmask(99, at, 8, 8), Err(EINVAL));
        assert_eq!(sig::mask(), 0);
        // The new mask is there before the place for the old one is found to be bad.
        assert_eq!(rt_sigprocmask(SIG_BLOCK, at, 8, 8), Err(EFAULT));
        assert_eq!(sig::mask(), one);
    }
    "sets of another size" => {
        for size in [0, 4, 7, 9, 16, 128] {
            assert_eq!(rt_sigprocmask(SIG_BLOCK, 0, 0, size), Err(EINVAL), "{size}");
            assert_eq!(rt_sigprocmask(SIG_BLOCK, 8, 8, size), Err(EINVAL), "{size}");
        }
    }
    "old and new set in one place" => {
        sig::block(bit(SIGUSR1));
        let mut both = sig::set(bit(SIGUSR2));
        let at = std::ptr::from_mut(&mut both);
        // SAFETY: a valid set.
        assert_eq!(unsafe { libc::sigprocmask(SIG_SETMASK, at, at) }, 0);
        assert_eq!(sig::bits_of(&both), bit(SIGUSR1));
        assert_eq!(sig::mask(), bit(SIGUSR2));
    }
});

cases!(past_libc_the_mask_is_the_same, {
    "all of it" => {
        sig::block(u64::MAX);
        assert_eq!(raw_mask(), !bits(&NEVER) & !bits(&INTERNAL));
    }
    "SEGV, BUS and SYS" => {
        sig::block(SYNCHRONOUS);
        assert_eq!(raw_mask(), SYNCHRONOUS);
    }
});

cases!(what_is_pending, {
    "what is blocked and came, of the process and of the thread" => {
        sig::block(bits(&[SIGUSR1, SIGUSR2, RTMIN, SIGHUP]));
        sig::kill(getpid(), SIGUSR1).unwrap();
        sig::raise(RTMIN).unwrap();
        assert_eq!(sig::pending(), bits(&[SIGUSR1, RTMIN]));
        assert!(signal::is_pending(SIGUSR1) && !signal::is_pending(SIGUSR2));
    }
    "another thread sees what is for the process, not what is for the thread" => {
        sig::block(bits(&[SIGUSR1, RTMIN]));
        sig::kill(getpid(), SIGUSR1).unwrap();
        sig::raise(RTMIN).unwrap();
        std::thread::spawn(|| assert_eq!(sig::pending(), bit(SIGUSR1))).join().unwrap();
    }
    "a thread that does not block sees none" => {
        sig::block(bit(SIGCHLD));
        sig::raise(SIGCHLD).unwrap();
        assert_eq!(sig::pending(), bit(SIGCHLD));
    }
    "a child has none" => {
        sig::block(bits(&[SIGUSR1, RTMIN]));
        sig::kill(getpid(), SIGUSR1).unwrap();
        sig::raise(RTMIN).unwrap();
        fork_run(|| {
            assert_eq!((sig::pending(), sig::mask()), (0, bits(&[SIGUSR1, RTMIN])));
        })
        .succeeds();
        assert_eq!(sig::pending(), bits(&[SIGUSR1, RTMIN]));
    }
    "errors" => {
        let mut set = 0u64;
        let at = std::ptr::from_mut(&mut set) as usize;
        assert_eq!(rt_sigpending(8, 8), Err(EFAULT));
        assert_eq!(rt_sigpending(at, 16), Err(EINVAL));
        assert_eq!(rt_sigpending(8, 9), Err(EINVAL));
        for size in [0, 4, 8] {
            assert_eq!(rt_sigpending(at, size), Ok(0));
        }
    }
    "a shorter set is written in part" => {
        sig::block(bits(&[SIGUSR1, RTMAX]));
        sig::raise(SIGUSR1).unwrap();
        sig::raise(RTMAX).unwrap();
        let mut set = 0u64;
        let at = std::ptr::from_mut(&mut set) as usize;
        assert_eq!(rt_sigpending(at, 4), Ok(0));
        assert_eq!(set, bit(SIGUSR1));
    }
});

cases!(what_is_unblocked_comes_before_the_call_returns, {
    "by each way to unblock" => {
        journal::on(SIGUSR1, 0);
        let ways: [fn() -> bool; 6] = [
            || sig::change_mask(SIG_UNBLOCK, bit(SIGUSR1)).is_ok(),
            || sig::change_mask(SIG_SETMASK, 0).is_ok(),
            || {
                signal::unblock(&[SIGUSR1]);
                true
            },
            || rt_sigprocmask(SIG_SETMASK, std::ptr::from_ref(&0u64) as usize, 0, 8).is_ok(),
            // SAFETY: a number.
            || unsafe { sig::sigrelse(SIGUSR1) } == 0,
            // SAFETY: a number.
            || unsafe { sig::sigsetmask(0) } == bit(SIGUSR1) as c_int,
        ];
        for (i, way) in ways.iter().enumerate() {
            sig::block(bit(SIGUSR1));
            sig::raise(SIGUSR1).unwrap();
            assert_eq!(journal::count(), i);
            assert!(way());
            assert_eq!(journal::count(), i + 1);
        }
    }
    "all of them do, not only one" => {
        let numbers = [SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, RTMIN, RTMAX];
        for number in numbers {
            journal::on(number, 0);
        }
        sig::block(bits(&numbers));
        for number in numbers {
            sig::kill(getpid(), number).unwrap();
        }
        sig::set_mask(0);
        assert_eq!(journal::count(), numbers.len());
        assert_eq!((sig::pending(), sig::mask()), (0, 0));
    }
    "all of a queue, each in its time" => {
        journal::on(RTMIN, 0);
        sig::block(bit(RTMIN));
        for value in 0..200 {
            sig::sigqueue(getpid(), RTMIN, value).unwrap();
        }
        sig::unblock(bit(RTMIN));
        let values: Vec<u64> = journal::events().iter().map(|e| e.value()).collect();
        assert_eq!(values, (0..200).collect::<Vec<_>>());
        assert!(journal::events().iter().all(|e| e.depth == 0));
    }
    "the old mask is given back although a handler ran" => {
        journal::on(SIGUSR1, 0);
        sig::block(bits(&[SIGUSR1, SIGUSR2]));
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(sig::unblock(bit(SIGUSR1)), bits(&[SIGUSR1, SIGUSR2]));
        assert_eq!(journal::only().saved, bit(SIGUSR2));
    }
    "only what is unblocked" => {
        journal::on(SIGUSR1, 0);
        journal::on(SIGUSR2, 0);
        sig::block(bits(&[SIGUSR1, SIGUSR2]));
        sig::raise(SIGUSR1).unwrap();
        sig::raise(SIGUSR2).unwrap();
        sig::unblock(bit(SIGUSR2));
        assert_eq!(journal::numbers(), [SIGUSR2]);
        assert_eq!(sig::pending(), bit(SIGUSR1));
    }
    "within a handler, too" => {
        extern "C" fn unblock_in_it(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            sig::raise(SIGUSR2).unwrap();
            assert_eq!(journal::count(), 0);
            sig::unblock(bit(SIGUSR2));
            assert_eq!(journal::count(), 1);
        }
        journal::on(SIGUSR2, 0);
        let handler = unblock_in_it as *const () as usize;
        sig::set_action(SIGUSR1, handler, libc::SA_SIGINFO, bit(SIGUSR2)).unwrap();
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(journal::only().saved, bit(SIGUSR1));
        assert_eq!(sig::mask(), 0);
    }
});

extern "C" fn change_the_mask(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    sig::set_mask(bits(&[SIGHUP, SIGTERM]));
}

cases!(who_inherits_a_mask, {
    "what a handler blocks is unblocked when it returns" => {
        signal::handle(SIGUSR1, 0, change_the_mask);
        sig::set_mask(bit(RTMIN));
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(sig::mask(), bit(RTMIN));
    }
    "a thread has its maker's, and its own from then on" => {
        sig::set_mask(bits(&[SIGUSR1, RTMAX]));
        std::thread::spawn(|| {
            assert_eq!(sig::mask(), bits(&[SIGUSR1, RTMAX]));
            sig::set_mask(bit(SIGHUP));
            std::thread::spawn(|| assert_eq!(sig::mask(), bit(SIGHUP))).join().unwrap();
            assert_eq!(sig::mask(), bit(SIGHUP));
        })
        .join()
        .unwrap();
        assert_eq!(sig::mask(), bits(&[SIGUSR1, RTMAX]));
    }
    "a child has the mask of the thread that forked it" => {
        sig::set_mask(bit(SIGUSR1));
        fork_run(|| {
            assert_eq!(sig::mask(), bit(SIGUSR1));
            sig::set_mask(bit(SIGHUP));
        })
        .succeeds();
        raw_clone_child(|| assert_eq!(sig::mask(), bit(SIGUSR1))).succeeds();
        assert_eq!(sig::mask(), bit(SIGUSR1));
        std::thread::spawn(|| {
            sig::set_mask(bit(SIGHUP));
            fork_run(|| assert_eq!(sig::mask(), bit(SIGHUP))).succeeds();
        })
        .join()
        .unwrap();
    }
    "a child that was forked in a handler" => {
        extern "C" fn fork_in_it(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            fork_run(|| {
                assert_eq!(sig::mask(), bits(&[SIGUSR1, SIGHUP]));
                journal::on(SIGUSR2, 0);
                sig::raise(SIGUSR2).unwrap();
                assert_eq!(journal::count(), 1);
            })
            .succeeds();
        }
        let handler = fork_in_it as *const () as usize;
        sig::set_action(SIGUSR1, handler, libc::SA_SIGINFO, bit(SIGHUP)).unwrap();
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(sig::mask(), 0);
    }
    "a child that returns from the handler in which it was forked" => {
        static FORKED: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);
        extern "C" fn fork_in_it(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            // SAFETY: one thread.
            FORKED.store(unsafe { libc::fork() }, SeqCst);
        }
        signal::handle(SIGUSR1, 0, fork_in_it);
        sig::set_mask(bit(RTMIN));
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(sig::mask(), bit(RTMIN));
        match FORKED.load(SeqCst) {
            // SAFETY: ends the process.
            0 => unsafe { libc::_exit(7) },
            pid => Child::adopt(pid).exits_with(7),
        }
    }
    "what a thread blocks is open for the others" => {
        journal::on(SIGUSR1, 0);
        let s = Shared::new();
        let thread = std::thread::spawn(move || {
            s.set(0, gettid() as u64);
            s.wait_for(1, 1);
        });
        s.wait_for(0, 1);
        sig::block(bit(SIGUSR1));
        for n in 1..=20 {
            sig::kill(getpid(), SIGUSR1).unwrap();
            journal::wait_for(n);
            assert_eq!(journal::last().tid, s.get(0) as i32);
        }
        s.set(1, 1);
        thread.join().unwrap();
    }
    "SA_NODEFER and masks leave nothing behind" => {
        journal::on_masked(SIGUSR1, SA_NODEFER, bits(&[SIGHUP]));
        for _ in 0..100 {
            sig::raise(SIGUSR1).unwrap();
        }
        assert_eq!(sig::mask(), 0);
    }
});
