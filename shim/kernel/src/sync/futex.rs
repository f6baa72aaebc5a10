//! Sleeping on a word of the arena. The real one is the host's; the model is loom's condvar.

use super::atomic::AtomicU32;

/// Why a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slept {
    /// Woken, or the word had already changed. (Spurious wake-ups look the same.)
    Woken,
    /// The time is over; or the sleep was broken off, see [`Futex::halts`].
    TimedOut,
    /// A signal is waiting for this thread.
    Signal,
}

/// futex(2) on shared words: never FUTEX_PRIVATE_FLAG, because the other side is another process.
pub trait Futex {
    /// Sleeps while `word` is `value`, for `timeout_ns` at the most. With `signals`, a signal
    /// that was noted before or comes during the sleep ends it: none is ever slept over.
    fn wait(&self, word: &AtomicU32, value: u32, timeout_ns: u64, signals: Signals) -> Slept;

    /// Wakes up to `n` sleepers; how many there were.
    fn wake(&self, word: &AtomicU32, n: u32) -> u32;

    /// Number of the processor that this thread runs on just now. A hint, for spinning.
    fn cpu(&self) -> u32 {
        0
    }

    /// A clock that always runs, in ticks of about a third of a nanosecond. A hint, for spinning.
    fn ticks(&self) -> u64 {
        0
    }

    /// How often a sleep of this thread was broken off although no signal was for it: its process was stopped and
    /// continued. (-ERESTARTSYS, where Linux would make futex(2) again.)
    fn halts(&self) -> u32 {
        0
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signals {
    /// An interruptible sleep (TASK_INTERRUPTIBLE).
    End,
    /// Waiting for a lock: signals wait too.
    Wait,
}

/// A futex that loom understands: a lost wake-up shows as a deadlock.
#[cfg(all(test, loom))]
pub(crate) mod model {
    use super::AtomicU32;
    use loom::sync::{Condvar, Mutex};

    pub struct Futex {
        pub word: AtomicU32,
        bucket: Mutex<()>,
        sleepers: Condvar,
    }

    impl Futex {
        pub fn new() -> Self {
            Futex {
                word: AtomicU32::new(0),
                bucket: Mutex::new(()),
                sleepers: Condvar::new(),
            }
        }

        pub fn wait(&self, value: u32) {
            let bucket = self.bucket.lock().unwrap();
            if self.word.load(loom::sync::atomic::Ordering::SeqCst) == value {
                drop(self.sleepers.wait(bucket).unwrap());
            }
        }

        pub fn wake(&self, n: u32) {
            let _bucket = self.bucket.lock().unwrap();
            if n == 1 {
                self.sleepers.notify_one();
            } else {
                self.sleepers.notify_all();
            }
        }
    }
}
