//! The older functions for actions and masks. See signal(2), sysv_signal(3), sigset(3), siginterrupt(3),
//! sigblock(3).

use libc::{SA_NODEFER, SA_RESETHAND, SIG_DFL, SIG_ERR, SIG_IGN};
use ringer_support::prelude::*;
use sig::{bit, Action};

extern "C" fn nothing(_: c_int) {}

/// By a static, for a function may have several addresses.
static HANDLER: extern "C" fn(c_int) = nothing;

fn handler() -> usize {
    HANDLER as usize
}

type Old = unsafe extern "C" fn(c_int, usize) -> usize;

/// What one of signal's relatives sets.
fn set_by(by: Old) -> Action {
    // SAFETY: a handler that does nothing.
    assert_eq!(unsafe { by(SIGUSR1, handler()) }, SIG_DFL);
    // SAFETY: as above.
    assert_eq!(unsafe { by(SIGUSR1, handler()) }, handler());
    for number in [SIGKILL, SIGSTOP, 0, 65, -1] {
        // SAFETY: refused.
        assert_eq!(unsafe { by(number, handler()) }, SIG_ERR, "{number}");
        assert_eq!(ringer_support::errno(), EINVAL);
    }
    sig::action(SIGUSR1).unwrap()
}

cases!(the_older_functions, {
    "signal: restarts, blocks its own" => {
        let a = set_by(libc::signal);
        assert_eq!((a.flags, a.mask), (SA_RESTART, bit(SIGUSR1)));
    }
    "bsd_signal is signal" => {
        let a = set_by(sig::bsd_signal);
        assert_eq!((a.flags, a.mask), (SA_RESTART, bit(SIGUSR1)));
    }
    "sigset: no flags" => {
        let a = set_by(sig::sigset);
        assert_eq!((a.flags, a.mask), (0, 0));
    }
    "siginterrupt takes SA_RESTART away, and signal remembers" => {
        // SAFETY: numbers and handlers that do nothing.
        unsafe {
            libc::signal(SIGUSR1, handler());
            assert_eq!(sig::siginterrupt(SIGUSR1, 1), 0);
            assert_eq!(sig::action(SIGUSR1).unwrap().flags & SA_RESTART, 0);
            libc::signal(SIGUSR1, handler());
            assert_eq!(sig::action(SIGUSR1).unwrap().flags & SA_RESTART, 0);
            assert_eq!(sig::siginterrupt(SIGUSR1, 0), 0);
            assert_eq!(sig::action(SIGUSR1).unwrap().flags & SA_RESTART, SA_RESTART);
            libc::signal(SIGUSR1, handler());
            assert_eq!(sig::action(SIGUSR1).unwrap().flags & SA_RESTART, SA_RESTART);
            assert_eq!(sig::siginterrupt(65, 1), -1);
        }
    }
    "sighold, sigrelse, sigignore" => {
        journal::on(SIGUSR1, 0);
        // SAFETY: numbers.
        unsafe {
            assert_eq!(sig::sighold(SIGUSR1), 0);
            sig::raise(SIGUSR1).unwrap();
            assert_eq!((journal::count(), sig::mask()), (0, bit(SIGUSR1)));
            assert_eq!(sig::sigrelse(SIGUSR1), 0);
            assert_eq!((journal::count(), sig::mask()), (1, 0));
            assert_eq!(sig::sigignore(SIGUSR1), 0);
            assert_eq!(sig::action(SIGUSR1).unwrap().handler, SIG_IGN);
            assert_eq!((sig::sighold(65), sig::sigrelse(0)), (-1, -1));
            assert_eq!(sig::sigignore(SIGKILL), -1);
        }
    }
    "sigset holds and tells that it held" => {
        const SIG_HOLD: usize = 2;
        // SAFETY: handlers that do nothing.
        unsafe {
            assert_eq!(sig::sigset(SIGUSR1, SIG_HOLD), SIG_DFL);
            assert_eq!(sig::mask(), bit(SIGUSR1));
            assert_eq!(sig::sigset(SIGUSR1, handler()), SIG_HOLD);
            assert_eq!(sig::mask(), 0);
            assert_eq!(sig::sigset(SIGUSR1, SIG_IGN), handler());
        }
    }
    "sigblock, sigsetmask, siggetmask" => {
        // SAFETY: numbers.
        unsafe {
            let (one, two) = (bit(SIGUSR1) as c_int, bit(SIGUSR2) as c_int);
            assert_eq!(sig::sigblock(one), 0);
            assert_eq!(sig::sigblock(two), one);
            assert_eq!(sig::siggetmask(), one | two);
            assert_eq!(sig::sigsetmask(two), one | two);
            assert_eq!(sig::mask(), bit(SIGUSR2));
        }
    }
});

cases!(a_flag_that_only_libc_knows, {
    "sysv_signal: once, and blocks nothing" => {
        let a = set_by(sig::sysv_signal);
        assert_eq!((a.flags, a.mask), (SA_RESETHAND | SA_NODEFER, 0));
    }
});
