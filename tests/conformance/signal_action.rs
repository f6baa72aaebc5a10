//! Actions: what sigaction(2) sets, gives back and refuses, what each flag does,
//! and what becomes of pending signals. See sigaction(2).

use libc::{
    ECHILD, SA_NOCLDSTOP, SA_NOCLDWAIT, SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_SIGINFO, SIGCHLD,
    SIGTSTP, SIGURG, SIGWINCH, SIG_DFL, SIG_IGN,
};
use ringer_support::prelude::*;
use sig::{bit, bits, Action, RTMAX, RTMIN};

extern "C" fn nothing(_: c_int) {}

/// By a static, for a function may have several addresses.
static HANDLER: extern "C" fn(c_int) = nothing;

fn handler() -> usize {
    HANDLER as usize
}

/// What Rust's library handles or ignores from the start.
const RUSTS: [c_int; 3] = [libc::SIGSEGV, libc::SIGBUS, SIGPIPE];

/// All that may be handled, but for libc's own.
fn catchable() -> impl Iterator<Item = c_int> {
    (1..=64).filter(|n| ![SIGKILL, SIGSTOP, 32, 33].contains(n))
}

/// As the kernel has it.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Raw {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

fn rt_sigaction(number: c_int, new: usize, old: usize, size: usize) -> Sys {
    // SAFETY: the kernel copies, and says EFAULT.
    ringer_support::check(unsafe { libc::syscall(libc::SYS_rt_sigaction, number, new, old, size) })
}

fn raw_action(number: c_int) -> Raw {
    let mut old = Raw::default();
    let at = std::ptr::from_mut(&mut old) as usize;
    rt_sigaction(number, 0, at, 8).unwrap();
    old
}

cases!(what_is_set_is_what_is_read, {
    "in the beginning all is default" => {
        for number in catchable().filter(|n| !RUSTS.contains(n)) {
            let now = sig::action(number).unwrap();
            assert_eq!(now, Action { handler: SIG_DFL, flags: 0, mask: 0 }, "{number}");
        }
    }
    "every set of flags" => {
        let flags = [
            SA_NOCLDSTOP, SA_NOCLDWAIT, SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_RESTART, SA_SIGINFO,
        ];
        for choice in 0..128 {
            let chosen = (0..7).filter(|i| choice & 1 << i != 0);
            let sum = chosen.fold(0, |sum, i| sum | flags[i]);
            for number in [SIGUSR1, SIGCHLD, RTMIN] {
                for to in [handler(), SIG_DFL, SIG_IGN] {
                    sig::set_action(number, to, sum, 0).unwrap();
                    let expected = Action { handler: to, flags: sum, mask: 0 };
                    assert_eq!(sig::action(number), Ok(expected));
                }
            }
        }
    }
    "the old action comes back with the new" => {
        let first = sig::set_action(SIGUSR1, handler(), SA_RESTART, bit(SIGUSR2)).unwrap();
        assert_eq!(first.handler, SIG_DFL);
        let second = sig::set_action(SIGUSR1, SIG_IGN, 0, 0).unwrap();
        let expected = Action { handler: handler(), flags: SA_RESTART, mask: bit(SIGUSR2) };
        assert_eq!(second, expected);
        assert_eq!(sig::set_action(SIGUSR1, SIG_DFL, 0, 0).unwrap().handler, SIG_IGN);
    }
    "all threads have the same actions" => {
        std::thread::spawn(|| sig::set_action(SIGUSR1, handler(), SA_RESTART, bit(SIGIO)).unwrap())
            .join()
            .unwrap();
        let expected = Action { handler: handler(), flags: SA_RESTART, mask: bit(SIGIO) };
        assert_eq!(sig::action(SIGUSR1), Ok(expected));
    }
    "a child has its parent's actions, and its own from then on" => {
        sig::set_action(SIGUSR1, handler(), SA_RESTART, bit(SIGIO)).unwrap();
        sig::ignore(SIGUSR2);
        fork_run(|| {
            let expected = Action { handler: handler(), flags: SA_RESTART, mask: bit(SIGIO) };
            assert_eq!(sig::action(SIGUSR1), Ok(expected));
            assert_eq!(sig::action(SIGUSR2).unwrap().handler, SIG_IGN);
            sig::default(SIGUSR1);
            sig::default(SIGUSR2);
        })
        .succeeds();
        assert_eq!(sig::action(SIGUSR1).unwrap().handler, handler());
        assert_eq!(sig::action(SIGUSR2).unwrap().handler, SIG_IGN);
    }
});

cases!(what_the_kernel_makes_of_it, {
    "handler, flags and mask of every signal" => {
        for number in catchable() {
            let mask = bit(number % 31 + 1) | bit(RTMIN + number % 30);
            let flags = [0, SA_RESTART, SA_SIGINFO | SA_ONSTACK][number as usize % 3];
            sig::set_action(number, handler(), flags, mask).unwrap();
        }
        for number in catchable() {
            let mask = bit(number % 31 + 1) | bit(RTMIN + number % 30);
            let flags = [0, SA_RESTART, SA_SIGINFO | SA_ONSTACK][number as usize % 3];
            let mask = mask & !bits(&[SIGKILL, SIGSTOP]);
            let expected = Action { handler: handler(), flags, mask };
            assert_eq!(sig::action(number), Ok(expected), "{number}");
        }
    }
    "flags that nobody knows are dropped" => {
        for flag in [0x10, 0x20, 0x400, 0x1000, 0x0001_0000, 0x2000_0000, 0x0080_0000] {
            sig::set_action(SIGUSR1, handler(), flag | SA_RESTART, 0).unwrap();
            assert_eq!(sig::action(SIGUSR1).unwrap().flags, SA_RESTART, "{flag:#x}");
        }
    }
    "KILL and STOP are never in the mask" => {
        sig::set_action(SIGUSR1, handler(), 0, u64::MAX).unwrap();
        let mask = sig::action(SIGUSR1).unwrap().mask;
        assert_eq!(mask, !bits(&[SIGKILL, SIGSTOP]));
    }
});

cases!(what_sigaction_refuses, {
    "KILL and STOP may be read, but not set" => {
        for number in [SIGKILL, SIGSTOP] {
            for to in [handler(), SIG_DFL, SIG_IGN] {
                assert_eq!(sig::set_action(number, to, 0, 0), Err(EINVAL));
            }
            assert_eq!(sig::action(number).unwrap().handler, SIG_DFL);
        }
    }
    "numbers that are no signals" => {
        for number in [0, -1, 65, 1000, i32::MAX, i32::MIN] {
            assert_eq!(sig::set_action(number, SIG_IGN, 0, 0), Err(EINVAL), "{number}");
            assert_eq!(sig::action(number), Err(EINVAL), "{number}");
        }
    }
    "libc's own two" => {
        for number in [32, 33] {
            assert_eq!(sig::set_action(number, SIG_IGN, 0, 0), Err(EINVAL));
            assert_eq!(sig::action(number), Err(EINVAL));
        }
    }
    "a bad place for the old action, when the new one is set already" => {
        let new = Raw { handler: SIG_IGN, ..Raw::default() };
        let at = std::ptr::from_ref(&new) as usize;
        assert_eq!(rt_sigaction(SIGUSR1, at, 8, 8), Err(EFAULT));
        assert_eq!(raw_action(SIGUSR1).handler, SIG_IGN);
    }
    "sets of another size" => {
        for size in [0, 4, 7, 9, 16, 128] {
            assert_eq!(rt_sigaction(SIGUSR1, 0, 0, size), Err(EINVAL), "{size}");
            assert_eq!(rt_sigaction(SIGUSR1, 8, 8, size), Err(EINVAL), "{size}");
        }
        assert_eq!(rt_sigaction(SIGUSR1, 0, 0, 8), Ok(0));
    }
    "past libc it is the same action" => {
        sig::set_action(SIGUSR1, handler(), SA_RESTART, bit(SIGIO)).unwrap();
        let raw = raw_action(SIGUSR1);
        assert_eq!((raw.handler, raw.mask), (handler(), bit(SIGIO)));
        assert_eq!(raw.flags, (SA_RESTART | sig::SA_RESTORER) as u64);
        let at = std::ptr::from_ref(&raw) as usize;
        rt_sigaction(SIGUSR2, at, 0, 8).unwrap();
        assert_eq!(sig::action(SIGUSR1), sig::action(SIGUSR2));
        sig::raise(SIGUSR2).unwrap();
    }
});

cases!(bad_pointers_are_found_in_order, {
    "bad pointers" => {
        assert_eq!(rt_sigaction(SIGUSR1, 8, 0, 8), Err(EFAULT));
        assert_eq!(rt_sigaction(SIGUSR1, 0, 8, 8), Err(EFAULT));
        // EFAULT for the new action is found before anything else.
        assert_eq!(rt_sigaction(SIGKILL, 8, 0, 8), Err(EFAULT));
        assert_eq!(rt_sigaction(1000, 8, 0, 8), Err(EFAULT));
        assert_eq!(rt_sigaction(1000, 0, 8, 8), Err(EINVAL));
    }
});

cases!(what_the_flags_do, {
    "in the handler its signal, sa_mask and what was blocked are blocked" => {
        journal::on_masked(SIGUSR1, 0, bits(&[SIGIO, RTMIN, SIGKILL]));
        let old = bits(&[SIGALRM, RTMAX]);
        sig::set_mask(old);
        sig::raise(SIGUSR1).unwrap();
        let e = journal::only();
        assert_eq!(e.blocked, old | bits(&[SIGUSR1, SIGIO, RTMIN]));
        assert_eq!((e.saved, sig::mask()), (old, old));
    }
    "SA_NODEFER leaves its signal deliverable" => {
        journal::on_masked(SIGUSR1, SA_NODEFER, bit(SIGIO));
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(journal::only().blocked, bit(SIGIO));
    }
    "SA_NODEFER with its signal in sa_mask" => {
        journal::on_masked(SIGUSR1, SA_NODEFER, bit(SIGUSR1));
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(journal::only().blocked, bit(SIGUSR1));
    }
    "SA_RESETHAND works once" => {
        journal::on_masked(SIGUSR1, SA_RESETHAND | SA_RESTART, bit(SIGIO));
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(journal::only().blocked, bits(&[SIGUSR1, SIGIO]));
        let flags = SA_RESETHAND | SA_RESTART | SA_SIGINFO;
        let expected = Action { handler: SIG_DFL, flags, mask: bit(SIGIO) };
        assert_eq!(sig::action(SIGUSR1), Ok(expected));
        assert_eq!(fork_run(|| sig::raise(SIGUSR1).map(|_| ()).unwrap()).wait().signal(), Some(SIGUSR1));
    }
    "SA_RESETHAND has done its work before the handler begins" => {
        extern "C" fn look(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            assert_eq!(sig::action(SIGUSR1).unwrap().handler, SIG_DFL);
        }
        signal::handle(SIGUSR1, SA_RESETHAND, look);
        sig::raise(SIGUSR1).unwrap();
    }
    "SA_NOCLDSTOP: no signal when a child stops or goes on" => {
        for (flags, expected) in [(SA_NOCLDSTOP, 1), (0, 3)] {
            journal::start();
            journal::on(SIGCHLD, flags);
            let child = fork_run(|| loop {
                let _ = sig::pause();
            });
            child.kill(SIGSTOP);
            assert_eq!(wait_pid(child.pid(), libc::WUNTRACED).unwrap().0, child.pid());
            let each = |n| if flags == 0 { journal::wait_for(n) };
            each(1);
            child.kill(SIGCONT);
            assert_eq!(wait_pid(child.pid(), libc::WCONTINUED).unwrap().0, child.pid());
            each(2);
            child.kill_9();
            assert_eq!(journal::count(), expected);
        }
    }
    "SA_NOCLDWAIT: no zombies, but the signal" => {
        journal::on(SIGCHLD, SA_NOCLDWAIT);
        let pid = fork_run(|| {}).leak();
        assert_eq!(wait_pid(pid, 0), Err(ECHILD));
        journal::wait_for(1);
        assert_eq!(journal::only().pid(), pid);
    }
    "SIGCHLD ignored: no zombies" => {
        sig::ignore(SIGCHLD);
        let pid = fork_run(|| {}).leak();
        assert_eq!(wait_pid(pid, 0), Err(ECHILD));
        sig::default(SIGCHLD);
        fork_run(|| {}).succeeds();
    }
});

fn handle(number: c_int) {
    sig::set_action(number, handler(), 0, 0).unwrap();
}

/// Whether a pending signal is still there after this.
fn survives(number: c_int, what: fn(c_int)) -> bool {
    sig::block(bit(number));
    sig::kill(getpid(), number).unwrap();
    sig::raise(number).unwrap();
    assert_eq!(sig::pending(), bit(number));
    what(number);
    let left = [0; 3].map(|_| sig::poll_info(bit(number)).is_ok());
    assert!(!left[2]);
    assert_eq!(left[0], left[1], "the private and the shared one");
    left[0]
}

cases!(what_becomes_of_pending_signals, {
    "SIG_IGN discards them, for the thread and for the process" => {
        for number in [SIGUSR1, SIGALRM, RTMIN, RTMAX, SIGCHLD, SIGTSTP] {
            assert!(!survives(number, sig::ignore), "{number}");
        }
    }
    "SIG_DFL discards those that are ignored by default" => {
        for number in [SIGCHLD, SIGURG, SIGWINCH] {
            assert!(!survives(number, sig::default), "{number}");
        }
    }
    "SIG_DFL keeps the others" => {
        for number in [SIGUSR1, SIGALRM, RTMIN, SIGTSTP] {
            assert!(survives(number, sig::default), "{number}");
        }
    }
    "handlers keep all" => {
        for number in [SIGUSR1, RTMIN, SIGCHLD, SIGWINCH] {
            assert!(survives(number, handle), "{number}");
        }
    }
    "a whole queue is discarded" => {
        sig::block(bit(RTMIN));
        for value in 0..100 {
            sig::sigqueue(getpid(), RTMIN, value).unwrap();
        }
        sig::ignore(RTMIN);
        assert_eq!(sig::pending(), 0);
        sig::sigqueue(getpid(), RTMIN, 1000).unwrap();
        assert_eq!(sig::poll_info(bit(RTMIN)).map(|i| i.value()), Ok(1000));
    }
    "those of other threads are discarded, too" => {
        sig::block(bit(SIGUSR1));
        let s = Shared::new();
        let thread = std::thread::spawn(move || {
            s.set(0, gettid() as u64);
            s.wait_for(1, 1);
            assert_eq!(sig::pending(), 0);
        });
        s.wait_for(0, 1);
        sig::tgkill(getpid(), s.get(0) as i32, SIGUSR1).unwrap();
        sig::ignore(SIGUSR1);
        s.set(1, 1);
        thread.join().unwrap();
    }
    "a blocked signal is kept although it is ignored, until it is unblocked" => {
        sig::ignore(SIGUSR1);
        sig::block(bit(SIGUSR1));
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(sig::pending(), bit(SIGUSR1));
        journal::on(SIGUSR1, 0);
        sig::unblock(bit(SIGUSR1));
        assert_eq!(journal::count(), 1);
        sig::ignore(SIGUSR1);
        sig::block(bit(SIGUSR1));
        sig::raise(SIGUSR1).unwrap();
        sig::unblock(bit(SIGUSR1));
        sig::block(bit(SIGUSR1));
        assert_eq!(sig::pending(), 0);
    }
    "an ignored signal that is not blocked leaves no trace" => {
        for number in [SIGCHLD, SIGURG, SIGWINCH, SIGCONT] {
            sig::raise(number).unwrap();
            sig::block(bit(number));
            assert_eq!(sig::pending(), 0);
        }
    }
});
