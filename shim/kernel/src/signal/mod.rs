//! Signals that wait in the arena: what a process of the session sent to one that blocks it.
//!
//! The real kernel stays the truth for everything else: a signal that its target does not block is
//! sent by the kernel, and what comes from outside is pending in the kernel. What is pending for a
//! process is therefore the union of both; which signals a sender may leave here is [`State::taken`],
//! and it is the target that says so.
//!
//! How sender and target agree is in [`published`], the queue in [`sigqueue`].

#[cfg(not(loom))]
pub mod published;
pub mod sigqueue;
pub mod state;

pub use sigqueue::{Pushed, Siginfo, Taken};
pub use state::{close, discard, open, peek, push, send, take, Sent, State};

/// The bit of `sig` in a mask, 0 for what is no signal.
#[inline(always)]
pub const fn bit(sig: i32) -> u64 {
    if sig >= 1 && sig <= 64 {
        1 << (sig - 1)
    } else {
        0
    }
}

/// SIGRTMIN as the kernel has it. (include/uapi/asm-generic/signal.h)
pub const SIGRTMIN: i32 = 32;

/// SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS: they go before the others.
/// (Linux v6.18 kernel/signal.c SYNCHRONOUS_MASK)
pub const SYNCHRONOUS: u64 = bit(4) | bit(5) | bit(7) | bit(8) | bit(11) | bit(31);

/// Which of these is delivered first. (Linux v6.18 kernel/signal.c next_signal)
pub fn next_signal(set: u64) -> Option<i32> {
    let first = match set & SYNCHRONOUS {
        0 => set,
        synchronous => synchronous,
    };
    (first != 0).then(|| first.trailing_zeros() as i32 + 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn synchronous_signals_go_first_then_the_lowest_number() {
        assert_eq!(next_signal(0), None);
        assert_eq!(next_signal(bit(1) | bit(10)), Some(1));
        assert_eq!(next_signal(bit(1) | bit(11)), Some(11));
        assert_eq!(next_signal(bit(64)), Some(64));
        assert_eq!(bit(0) | bit(65) | bit(-1), 0);
    }
}
