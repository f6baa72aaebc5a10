//! Waiting with pause(2) and sigsuspend(2).

use libc::{SIGCHLD, SIGHUP, SIGTERM};
use ringer_support::prelude::*;
use sig::{bit, bits, RTMIN};

extern "C" {
    #[link_name = "__xpg_sigpause"]
    fn sigpause(number: c_int) -> c_int;
}

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

fn rt_sigsuspend(set: usize, size: usize) -> Sys {
    // SAFETY: the kernel copies, and says EFAULT.
    ringer_support::check(unsafe { libc::syscall(libc::SYS_rt_sigsuspend, set, size) })
}

cases!(pause_ends_with_a_handler, {
    "and is never restarted" => {
        for flags in [0, SA_RESTART] {
            let setup: fn() = match flags {
                0 => || journal::on(SIGUSR1, 0),
                _ => || journal::on(SIGUSR1, SA_RESTART),
            };
            let child = waiting(setup, || assert_eq!(sig::pause(), Err(EINTR)));
            child.kill(SIGUSR1);
            child.succeeds();
            assert_eq!(journal::count(), 1);
        }
    }
    "not with an ignored signal, nor a stop" => {
        let setup = || {
            sig::ignore(SIGUSR2);
            journal::on(SIGUSR1, 0);
        };
        let child = waiting(setup, || {
            assert_eq!(sig::pause(), Err(EINTR));
            assert_eq!(journal::numbers(), [SIGUSR1]);
        });
        for number in [SIGUSR2, SIGCHLD, SIGCONT] {
            child.kill(number);
            child.sleeping();
        }
        child.kill(SIGSTOP);
        procfs::stopped(child.pid());
        child.kill(SIGCONT);
        child.sleeping();
        child.kill(SIGUSR1);
        child.succeeds();
    }
    "not with a blocked one" => {
        let setup = || {
            journal::on(SIGUSR1, 0);
            journal::on(SIGUSR2, 0);
            sig::block(bit(SIGUSR2));
        };
        let child = waiting(setup, || {
            assert_eq!(sig::pause(), Err(EINTR));
            assert_eq!((journal::numbers(), sig::pending()), (vec![SIGUSR1], bit(SIGUSR2)));
        });
        child.kill(SIGUSR2);
        child.sleeping();
        child.kill(SIGUSR1);
        child.succeeds();
    }
});

cases!(sigsuspend_opens_the_mask_while_it_waits, {
    "what is pending ends it at once" => {
        journal::on(SIGUSR1, SA_RESTART);
        sig::block(bits(&[SIGUSR1, SIGHUP]));
        for n in 1..=50 {
            sig::kill(getpid(), SIGUSR1).unwrap();
            assert_eq!(sig::sigsuspend(bit(SIGTERM)), Err(EINTR));
            assert_eq!((journal::count(), sig::pending()), (n, 0));
            let e = journal::last();
            assert_eq!(e.blocked, bits(&[SIGTERM, SIGUSR1]));
            assert_eq!((e.saved, sig::mask()), (bits(&[SIGUSR1, SIGHUP]), bits(&[SIGUSR1, SIGHUP])));
        }
    }
    "what its mask blocks does not" => {
        let setup = || {
            journal::on(SIGUSR1, 0);
            journal::on(SIGUSR2, 0);
            sig::block(bit(SIGUSR1));
        };
        let child = waiting(setup, || {
            assert_eq!(sig::sigsuspend(bit(SIGUSR2)), Err(EINTR));
            // SIGUSR2 is not blocked any more, so it came on the way out.
            assert_eq!(journal::numbers(), [SIGUSR1, SIGUSR2]);
            assert_eq!((sig::mask(), sig::pending()), (bit(SIGUSR1), 0));
        });
        child.kill(SIGUSR2);
        child.sleeping();
        assert_eq!(journal::count(), 0);
        child.kill(SIGUSR1);
        child.succeeds();
    }
    "all that are pending come, the last on top" => {
        let three = [SIGUSR1, SIGUSR2, RTMIN];
        for number in three {
            journal::on(number, 0);
        }
        sig::block(bits(&three));
        for number in three {
            sig::raise(number).unwrap();
        }
        assert_eq!(sig::sigsuspend(0), Err(EINTR));
        assert_eq!(journal::numbers(), [RTMIN, SIGUSR2, SIGUSR1]);
        let saved: Vec<u64> = journal::events().iter().map(|e| e.saved).collect();
        assert_eq!(saved, [bits(&[SIGUSR1, SIGUSR2]), bit(SIGUSR1), bits(&three)]);
        assert_eq!(sig::mask(), bits(&three));
    }
    "ignored signals and stops do not end it" => {
        let setup = || {
            journal::on(SIGUSR1, 0);
            sig::ignore(SIGUSR2);
            sig::block(bits(&[SIGUSR1, SIGUSR2]));
        };
        let child = waiting(setup, || {
            sig::raise(SIGUSR2).unwrap();
            assert_eq!(sig::sigsuspend(0), Err(EINTR));
            assert_eq!(journal::numbers(), [SIGUSR1]);
        });
        child.kill(SIGCHLD);
        child.kill(SIGUSR2);
        child.kill(SIGSTOP);
        procfs::stopped(child.pid());
        child.kill(SIGCONT);
        child.sleeping();
        child.kill(SIGUSR1);
        child.succeeds();
    }
    "a signal that kills, kills" => {
        let child = waiting(|| drop(vec![sig::block(bit(SIGTERM))]), || {
            let _ = sig::sigsuspend(0);
        });
        child.kill(SIGTERM);
        assert_eq!(child.wait().signal(), Some(SIGTERM));
    }
    "KILL and STOP can not be shut out" => {
        let child = waiting(|| {}, || {
            let _ = sig::sigsuspend(u64::MAX);
        });
        child.kill(SIGSTOP);
        procfs::stopped(child.pid());
        child.kill_9();
    }
    "errors" => {
        sig::block(bit(SIGUSR1));
        assert_eq!(rt_sigsuspend(8, 8), Err(EFAULT));
        for size in [0, 4, 16] {
            assert_eq!(rt_sigsuspend(8, size), Err(EINVAL));
        }
        assert_eq!(sig::mask(), bit(SIGUSR1));
    }
    "in one thread of several" => {
        journal::on(SIGUSR1, 0);
        sig::block(bit(SIGUSR1));
        let s = Shared::new();
        let thread = std::thread::spawn(move || {
            s.set(0, gettid() as u64);
            assert_eq!(sig::sigsuspend(0), Err(EINTR));
        });
        s.wait_for(0, 1);
        procfs::thread_sleeping(s.get(0) as i32);
        sig::kill(getpid(), SIGUSR1).unwrap();
        thread.join().unwrap();
        assert_eq!(journal::only().tid, s.get(0) as i32);
    }
    "sigpause leaves one signal out of the mask" => {
        journal::on(SIGUSR1, 0);
        journal::on(SIGUSR2, 0);
        sig::block(bits(&[SIGUSR1, SIGUSR2]));
        sig::raise(SIGUSR1).unwrap();
        sig::raise(SIGUSR2).unwrap();
        // SAFETY: a number.
        assert_eq!(unsafe { sigpause(SIGUSR2) }, -1);
        assert_eq!((ringer_support::errno(), journal::numbers()), (EINTR, vec![SIGUSR2]));
        assert_eq!(sig::pending(), bit(SIGUSR1));
    }
});
