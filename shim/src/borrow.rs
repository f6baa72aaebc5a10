//! Descriptors that are opened for a moment only: no child is forked meanwhile, or it would hold an end
//! of a pipe that nobody in it knows of, and end of file would wait for it.
//!
//! ```text
//! word | meaning
//! 0    | nobody borrows, nobody forks
//! 1    | somebody does
//! 2    | somebody does, and others wait for that
//! ```
//!
//! The word is the process's own: whoever holds it can not die without everybody who waits. A forked
//! child starts with it free. posix_spawn's helper, which has its parent's memory but descriptors of its
//! own, and may be killed alone, neither needs it nor takes it. What is done under it never blocks.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicU32, Ordering::*};

use ringer_kernel::sync::futex::{Futex, Signals};

use crate::host::Shim;
use crate::tls::tls;

static WORD: AtomicU32 = AtomicU32::new(0);

/// A sleeper looks again after this long.
const RECHECK_NS: u64 = 5_000_000;

/// Held while a descriptor is borrowed, and over a fork.
#[must_use]
pub struct Borrowing {
    taken: bool,
    _not_send: PhantomData<*const ()>,
}

impl Borrowing {
    pub fn begin() -> Borrowing {
        let tls = tls();
        // Who borrows may do so within it once more.
        let taken = tls.in_vfork.get() == 0 && tls.borrowing.get() == 0;
        if taken {
            lock();
            tls.borrowing.set(1);
        }
        Borrowing {
            taken,
            _not_send: PhantomData,
        }
    }
}

fn lock() {
    let mut next = 1;
    while WORD.compare_exchange(0, next, Acquire, Relaxed).is_err() {
        if WORD.swap(2, Acquire) == 0 {
            break; // ours; who comes later may be woken once in vain
        }
        next = 2;
        Shim.wait(&WORD, 2, RECHECK_NS, Signals::Wait);
    }
}

/// A forked child has none of its parent's other threads.
pub fn forget_in_child() {
    WORD.store(0, Relaxed);
    tls().borrowing.set(0);
}

impl Drop for Borrowing {
    fn drop(&mut self) {
        if !self.taken {
            return;
        }
        tls().borrowing.set(0);
        if WORD.swap(0, Release) == 2 {
            Shim.wake(&WORD, 1);
        }
    }
}
