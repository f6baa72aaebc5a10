//! The real wait loop, locks and wake-ups against a model of the kernel's futexes: a lost wake-up
//! is a deadlock. With it, signals that come at any moment.

use super::*;
use crate::sync::lock_word::Progress;
use crate::sync::robust::{Owners, RobustLock};
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
use loom::thread;

/// futex(2) as the kernel does it: sleepers of each word in the order in which they came.
struct Kernel {
    asleep: Mutex<Vec<Asleep>>,
    beds: Vec<Condvar>,
    notes: Vec<AtomicU32>,
}

struct Asleep {
    word: usize,
    who: usize,
    woken: bool,
}

fn address(word: &AtomicU32) -> usize {
    core::ptr::from_ref(word) as usize
}

impl Kernel {
    fn new(threads: usize) -> Kernel {
        Kernel {
            asleep: Mutex::new(Vec::new()),
            beds: (0..threads).map(|_| Condvar::new()).collect(),
            notes: (0..threads).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// A signal is noted for `who` and ends its sleep, if it is asleep.
    fn signal(&self, who: usize) {
        self.notes[who].store(1, Release);
        let _asleep = self.asleep.lock().unwrap();
        self.beds[who].notify_one();
    }
}

/// The kernel as one thread calls it.
struct Calls<'a> {
    kernel: &'a Kernel,
    who: usize,
}

impl Calls<'_> {
    fn noted(&self, signals: Signals) -> bool {
        signals == Signals::End && self.kernel.notes[self.who].load(Acquire) != 0
    }

    fn leave(&self, mut asleep: MutexGuard<'_, Vec<Asleep>>) -> bool {
        let at = asleep.iter().position(|a| a.who == self.who).unwrap();
        asleep.remove(at).woken
    }
}

/// Nobody dies here.
struct Alive;

impl Owners for Alive {
    fn is_dead(&self, _: OwnerId) -> bool {
        false
    }

    fn is_elsewhere(&self, _: OwnerId, _: impl Fn() -> bool) -> bool {
        false
    }
}

impl Caller for Calls<'_> {
    fn me(&self) -> OwnerId {
        owner(self.who)
    }

    fn was_killed(&self, _: OwnerId) -> bool {
        false
    }
}

impl Futex for Calls<'_> {
    fn wait(&self, word: &AtomicU32, value: u32, _: u64, signals: Signals) -> Slept {
        let mut asleep = self.kernel.asleep.lock().unwrap();
        if self.noted(signals) {
            return Slept::Signal;
        }
        if word.load(SeqCst) != value {
            return Slept::Woken;
        }
        asleep.push(Asleep {
            word: address(word),
            who: self.who,
            woken: false,
        });
        loop {
            asleep = self.kernel.beds[self.who].wait(asleep).unwrap();
            let woken = asleep.iter().any(|a| a.who == self.who && a.woken);
            if woken || self.noted(signals) {
                self.leave(asleep);
                // A signal is told even if a wake-up came, too: the wake-up may be lost with it.
                return if self.noted(signals) {
                    Slept::Signal
                } else {
                    Slept::Woken
                };
            }
        }
    }

    fn wake(&self, word: &AtomicU32, n: u32) -> u32 {
        let mut asleep = self.kernel.asleep.lock().unwrap();
        let sleepers = asleep
            .iter_mut()
            .filter(|a| a.word == address(word) && !a.woken);
        let mut woken = 0;
        for a in sleepers.take(n as usize) {
            a.woken = true;
            woken += 1;
            self.kernel.beds[a.who].notify_one();
        }
        woken
    }
}

/// A pipe of things that are taken one by one.
struct Things {
    kernel: Kernel,
    wlock: RobustLock,
    rlock: RobustLock,
    rd_wait: WaitQueue,
    head: AtomicU32,
    tail: AtomicU32,
}

fn owner(n: usize) -> OwnerId {
    OwnerId::from_raw(n as u32 + 1).unwrap()
}

impl Things {
    fn new(threads: usize) -> Arc<Things> {
        let zero = || AtomicU32::new(0);
        Arc::new(Things {
            kernel: Kernel::new(threads),
            wlock: RobustLock { word: zero() },
            rlock: RobustLock { word: zero() },
            rd_wait: WaitQueue::default(),
            head: zero(),
            tail: zero(),
        })
    }

    /// As `Pipe::unlock_writers`.
    fn put(&self, who: usize) {
        let calls = Calls {
            kernel: &self.kernel,
            who,
        };
        let _ = self.wlock.lock(owner(who), &calls, &Alive);
        let head = self.head.load(Relaxed);
        self.head.store(head + 1, Release);
        if self.wlock.unlock(owner(who), Progress::Made, &calls) {
            self.rd_wait.wake_one(&calls, 0);
        }
    }

    fn looks_empty(&self) -> bool {
        self.tail.load(Acquire) == self.head.load(Acquire)
    }

    /// As `sys::read_write::sleep`.
    fn take(&self, who: usize) -> Result<(), SysError> {
        let calls = Calls {
            kernel: &self.kernel,
            who,
        };
        let mut taking = Taking {
            things: self,
            calls: &calls,
        };
        let wq = &self.rd_wait;
        wq.wait_interruptible(&self.wlock.word, &calls, Processors::One, &mut taking)
    }
}

struct Taking<'a> {
    things: &'a Things,
    calls: &'a Calls<'a>,
}

impl Waitable for Taking<'_> {
    type Done = ();

    fn attempt(&mut self) -> Result<Option<()>, SysError> {
        let (t, me) = (self.things, owner(self.calls.who));
        let _ = t.rlock.lock(me, self.calls, &Alive);
        let tail = t.tail.load(Relaxed);
        let there = tail != t.head.load(Acquire);
        if there {
            t.tail.store(tail + 1, Release);
        }
        let _ = t.rlock.unlock(me, Progress::None, self.calls);
        Ok(there.then_some(()))
    }

    fn looks_ready(&self) -> bool {
        !self.things.looks_empty()
    }
}

fn explore(bound: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut b = loom::model::Builder::new();
    b.preemption_bound = Some(bound);
    b.check(f);
}

const RESTART: Result<(), SysError> = Err(SysError::Restart(Restart::Sys));

#[test]
fn a_reader_that_sleeps_is_woken() {
    explore(3, || {
        let t = Things::new(2);
        let reader = thread::spawn({
            let t = t.clone();
            move || t.take(1)
        });
        t.put(0);
        assert_eq!(reader.join().unwrap(), Ok(()));
        assert!(t.looks_empty());
    });
}

#[test]
fn a_signal_ends_the_sleep_and_nothing_is_lost() {
    explore(3, || {
        let t = Things::new(2);
        let reader = thread::spawn({
            let t = t.clone();
            move || t.take(1)
        });
        t.kernel.signal(1);
        let result = reader.join().unwrap();
        assert_eq!(result, RESTART);
        t.put(0);
        assert!(!t.looks_empty());
    });
}

#[test]
fn a_signal_and_a_wake_up_at_once() {
    explore(2, || {
        let t = Things::new(2);
        let reader = thread::spawn({
            let t = t.clone();
            move || t.take(1)
        });
        let writer = thread::spawn({
            let t = t.clone();
            move || t.put(0)
        });
        t.kernel.signal(1);
        writer.join().unwrap();
        let result = reader.join().unwrap();
        // Either it has the thing, or the thing is still there.
        assert_eq!(result == Ok(()), t.looks_empty());
    });
}

#[test]
fn two_sleepers_and_one_wake_up_each() {
    explore(2, || {
        let t = Things::new(3);
        let readers: Vec<_> = [1, 2]
            .into_iter()
            .map(|who| {
                let t = t.clone();
                thread::spawn(move || t.take(who))
            })
            .collect();
        t.put(0);
        t.put(0);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Ok(()));
        }
    });
}

/// The first sleeper gets the wake-up and a signal. If it leaves, the second must not sleep on.
#[test]
fn a_sleeper_that_leaves_takes_no_wake_up_with_it() {
    explore(2, || {
        let t = Things::new(3);
        let leaver = thread::spawn({
            let t = t.clone();
            move || t.take(1)
        });
        let stayer = thread::spawn({
            let t = t.clone();
            move || t.take(2)
        });
        t.put(0);
        t.kernel.signal(1);
        t.put(0);
        let left = leaver.join().unwrap();
        assert!(left == Ok(()) || left == RESTART);
        assert_eq!(stayer.join().unwrap(), Ok(()));
    });
}
