//! The two words by which a sender and its target agree on where a signal is.
//!
//! ```text
//! taken    what the target blocks, and will look for here before it unblocks it
//! pending  what is here
//! ```
//!
//! # Invariants
//!
//! - W1. Only the target stores `taken`, and looks at `pending` after every store that takes a bit
//!   away.
//! - W2. A sender sets the bit in `pending` while the bit is in `taken`, and looks at `taken` once
//!   more afterwards: if the bit is gone, whichever of the two takes the signal out has it.
//!
//! Both look after they have stored, sequentially consistent: so at least one of them sees the
//! other's store, and no signal is left behind (`loom_tests`).

use crate::sync::atomic::{AtomicU64, Ordering::*};

/// The target's: from now on it looks for these only.
#[inline(always)]
pub fn publish(taken: &AtomicU64, set: u64) {
    taken.store(set, SeqCst); // W1
    for_loom();
}

/// loom takes sequentially consistent accesses for weaker ones, and only fences for what they are.
#[inline(always)]
fn for_loom() {
    #[cfg(loom)]
    loom::sync::atomic::fence(SeqCst);
}

/// The sender's, before and after: may it be left here?
#[inline(always)]
pub fn is_taken(taken: &AtomicU64, bit: u64) -> bool {
    taken.load(SeqCst) & bit != 0
}

/// The sender's: it is here.
#[inline(always)]
pub fn mark(pending: &AtomicU64, bit: u64) {
    pending.fetch_or(bit, SeqCst); // W2
    for_loom();
}

/// Anybody's, under the queue's lock: the last of its number is gone.
#[inline(always)]
pub fn unmark(pending: &AtomicU64, bit: u64) -> bool {
    pending.fetch_and(!bit, SeqCst) & bit != 0
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    const X: u64 = 1;

    struct Words {
        taken: AtomicU64,
        pending: AtomicU64,
        by_kernel: AtomicU64,
        delivered: AtomicU64,
    }

    fn words() -> Arc<Words> {
        Arc::new(Words {
            taken: AtomicU64::new(X),
            pending: AtomicU64::new(0),
            by_kernel: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
        })
    }

    /// One look, the taking back included.
    fn send(w: &Words) {
        if !is_taken(&w.taken, X) {
            w.by_kernel.fetch_add(1, SeqCst);
            return;
        }
        mark(&w.pending, X);
        if !is_taken(&w.taken, X) && unmark(&w.pending, X) {
            w.by_kernel.fetch_add(1, SeqCst);
        }
    }

    fn unblock(w: &Words) {
        publish(&w.taken, 0);
        if w.pending.load(SeqCst) & X != 0 && unmark(&w.pending, X) {
            w.delivered.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_signal_is_delivered_once_by_the_one_or_the_other() {
        loom::model(|| {
            let w = words();
            let sender = {
                let w = w.clone();
                thread::spawn(move || send(&w))
            };
            unblock(&w);
            sender.join().unwrap();
            assert_eq!(w.pending.load(SeqCst), 0, "nobody looks there any more");
            assert_eq!(w.by_kernel.load(SeqCst) + w.delivered.load(SeqCst), 1);
        });
    }

    /// Unblocked and blocked again at once, as by a handler: it may be pending still, but is not lost.
    #[test]
    fn a_signal_outlives_a_short_unblocking() {
        loom::model(|| {
            let w = words();
            let sender = {
                let w = w.clone();
                thread::spawn(move || send(&w))
            };
            unblock(&w);
            publish(&w.taken, X);
            sender.join().unwrap();
            unblock(&w);
            assert_eq!(w.pending.load(SeqCst), 0);
            assert_eq!(w.by_kernel.load(SeqCst) + w.delivered.load(SeqCst), 1);
        });
    }
}
