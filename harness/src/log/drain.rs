//! Takes records out of the rings, before they are full.

use std::sync::atomic::Ordering::*;
use std::time::{Duration, Instant};

use ringer_kernel::arena::{layout, Arena};
use ringer_kernel::log::ring::{self, ring_state, RingHead};
use ringer_kernel::log::{Kind, Record};
use ringer_kernel::sync::lock_word::OwnerId;
use ringer_kernel::task;

use crate::sys::Here;

/// A thread that the kernel has not marked dead is looked up in /proc this often.
const PROC_INTERVAL: Duration = Duration::from_millis(200);

/// A thread, as its ring names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Who {
    pub ring: u32,
    pub pid: u32,
    pub tid: u32,
    pub comm: [u8; 16],
}

/// A record and whose it is: an index into the threads met so far.
#[derive(Clone, Copy, Debug)]
pub struct Raw {
    pub who: u32,
    pub record: Record,
}

/// What one look at all rings found.
#[derive(Default)]
pub struct Batch {
    /// Threads met for the first time, in the order of [`Raw::who`].
    pub met: Vec<Who>,
    pub records: Vec<Raw>,
    /// Time-stamp counter before the look: what comes later may still be older than a record of
    /// this batch, but hardly older than this.
    pub horizon: u64,
    /// Records did not fit.
    pub lossy: bool,
}

#[derive(Clone, Copy)]
struct Known {
    who: Who,
    index: u32,
    asked: Instant,
}

pub struct Drainer {
    arena: Arena,
    since: u64,
    known: Vec<Option<Known>>,
    met: u32,
    /// The fullest ring of the last look, in records.
    pub fullest: u64,
}

impl Drainer {
    /// Records from before `since` are taken out and thrown away.
    pub fn new(arena: Arena, since: u64) -> Drainer {
        Drainer {
            arena,
            since,
            known: Vec::new(),
            met: 0,
            fullest: 0,
        }
    }

    /// Looks at every ring once.
    pub fn sweep(&mut self, now_tsc: u64) -> Batch {
        let mut batch = Batch {
            horizon: now_tsc,
            ..Batch::default()
        };
        self.fullest = 0;
        let used = self
            .arena
            .header()
            .rings_used
            .load(Acquire)
            .min(layout::MAX_RINGS);
        for index in 1..used {
            if let Some(head) = ring::head(&self.arena, index) {
                self.ring(index, head, &mut batch);
            }
        }
        batch
    }

    fn ring(&mut self, index: u32, h: &RingHead, batch: &mut Batch) {
        // The state is read before the head: what a retired thread wrote is all there.
        let state = h.state.load(Acquire);
        let pid = h.pid.load(Acquire); // 0: being claimed
        if state == ring_state::FREE || pid == 0 {
            return;
        }
        let dead = state == ring_state::RETIRED || self.owner_is_dead(index, h);
        batch.lossy |= h.lost.load(Relaxed) != 0;
        let head = h.head.load(Acquire); // pairs with the writer's store
        let drained = h.drained.load(Relaxed);
        if head == drained && !dead {
            return;
        }
        let who = self.meet(index, h, pid, batch);
        // A head that makes no sense (somebody scribbled) is not believed.
        let from = drained.max(head.saturating_sub(ring::RECORDS)).min(head);
        self.fullest = self.fullest.max(head - from);
        let mut torn = 0u64;
        for i in from..head {
            match ring::read(&self.arena, h, i) {
                Some(record) if record.tsc < self.since => {}
                Some(record) => {
                    batch.lossy |= record.kind == Kind::Lost.raw();
                    batch.records.push(Raw { who, record });
                }
                None => torn += 1,
            }
        }
        h.drained.store(head, Release); // pairs with the writer's load: it may overwrite them
        if dead {
            self.bury(h, who, head, batch);
            if let Some(known) = self.known.get_mut(index as usize) {
                *known = None;
            }
        }
        if torn > 0 {
            batch.lossy = true;
            batch.records.push(lost(who, torn, batch.horizon));
        }
    }

    /// The last words of a dead thread; its ring is free again.
    fn bury(&self, h: &RingHead, who: u32, head: u64, batch: &mut Batch) {
        // Killed between a record and its count: the commit word says that it is whole.
        if let Some(record) = ring::read(&self.arena, h, head) {
            batch.records.push(Raw { who, record });
            h.head.store(head + 1, Release);
            h.drained.store(head + 1, Release);
        }
        let unsaid = h.lost.swap(0, AcqRel);
        if unsaid > 0 {
            batch.records.push(lost(who, unsaid, batch.horizon));
        }
        h.state.store(ring_state::FREE, Release);
    }

    /// The number under which records of this ring's thread go now.
    fn meet(&mut self, index: u32, h: &RingHead, pid: u32, batch: &mut Batch) -> u32 {
        let [low, high] = &h.comm;
        let comm = u128::from(low.load(Relaxed)) | u128::from(high.load(Relaxed)) << 64;
        let who = Who {
            ring: index,
            pid,
            tid: h.tid.load(Relaxed),
            comm: comm.to_le_bytes(),
        };
        let slot = index as usize;
        if self.known.len() <= slot {
            self.known.resize(slot + 1, None);
        }
        match self.known.get_mut(slot) {
            Some(Some(known)) if known.who == who => known.index,
            Some(place) => {
                let index = self.met;
                *place = Some(Known {
                    who,
                    index,
                    asked: Instant::now(),
                });
                batch.met.push(who);
                self.met += 1;
                index
            }
            None => 0,
        }
    }

    fn owner_is_dead(&mut self, index: u32, h: &RingHead) -> bool {
        let owner = OwnerId::from_raw(h.owner.load(Relaxed));
        let Some(task) = owner.and_then(|o| task::task_of(&self.arena, o)) else {
            return true;
        };
        if task.surely_alive() {
            return false;
        }
        if task.kernel_says_dead() {
            return true;
        }
        // Not registered with the kernel: /proc knows, and takes its time.
        let Some(Some(known)) = self.known.get_mut(index as usize) else {
            return false;
        };
        if known.asked.elapsed() < PROC_INTERVAL {
            return false;
        }
        known.asked = Instant::now();
        owner.is_some_and(|o| task::is_dead(&self.arena, &Here, o))
    }

    /// At the end: whoever is dead must be noticed now.
    pub fn forget_patience(&mut self) {
        let long_ago = Instant::now()
            .checked_sub(PROC_INTERVAL)
            .unwrap_or_else(Instant::now);
        self.known
            .iter_mut()
            .flatten()
            .for_each(|k| k.asked = long_ago);
    }
}

/// A record about records.
fn lost(who: u32, count: u64, tsc: u64) -> Raw {
    let record = Record {
        kind: Kind::Lost.raw(),
        tsc,
        a: count as i64,
        fd: -1,
        ..Record::default()
    };
    Raw { who, record }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::Temporary;
    use crate::sys::{clock, host};
    use ringer_kernel::log::ring::Writer;

    fn writer(arena: &Arena) -> (u32, Writer) {
        let me = std::process::id();
        let start = crate::sys::procfs::start_of(me);
        let (slot, owner) = task::claim_task(arena, &Here, 0, me, me, start).unwrap();
        let comm = *b"writer\0\0\0\0\0\0\0\0\0\0";
        (
            slot,
            ring::claim(
                arena,
                owner,
                &Here,
                me,
                me,
                comm,
                host::populate,
                clock::tsc,
            )
            .unwrap(),
        )
    }

    fn put(w: &Writer, a: i64) {
        w.put(Record {
            kind: Kind::Write.raw(),
            a,
            ..Record::default()
        });
    }

    fn numbers(batch: &Batch) -> Vec<i64> {
        batch.records.iter().map(|r| r.record.a).collect()
    }

    #[test]
    fn every_record_comes_once_and_in_order() {
        let made = Temporary::new(1);
        let (_, w) = writer(&made.0.arena);
        let mut drainer = Drainer::new(made.0.arena, 0);
        (0..3).for_each(|n| put(&w, n));
        let batch = drainer.sweep(0);
        assert_eq!(numbers(&batch), [0, 1, 2]);
        assert_eq!(batch.met.len(), 1);
        assert!(drainer.sweep(0).records.is_empty());
        put(&w, 3);
        assert_eq!(numbers(&drainer.sweep(0)), [3]);
    }

    #[test]
    fn what_did_not_fit_is_said() {
        let made = Temporary::new(1);
        let (_, w) = writer(&made.0.arena);
        let mut drainer = Drainer::new(made.0.arena, 0);
        (0..ring::RECORDS as i64 + 5).for_each(|n| put(&w, n));
        assert_eq!(drainer.sweep(0).records.len() as u64, ring::RECORDS);
        put(&w, -1);
        let batch = drainer.sweep(0);
        let kinds: Vec<u16> = batch.records.iter().map(|r| r.record.kind).collect();
        assert_eq!(kinds, [Kind::Lost.raw(), Kind::Write.raw()]);
        assert_eq!(numbers(&batch), [5, -1]);
    }

    #[test]
    fn a_retired_ring_is_emptied_and_used_again() {
        let made = Temporary::new(1);
        let (_, w) = writer(&made.0.arena);
        let mut drainer = Drainer::new(made.0.arena, 0);
        put(&w, 1);
        w.retire();
        assert_eq!(numbers(&drainer.sweep(0)), [1]);
        let (_, again) = writer(&made.0.arena);
        put(&again, 2);
        let batch = drainer.sweep(0);
        assert_eq!(numbers(&batch), [2]);
        assert_eq!(batch.met.len(), 1);
        assert_eq!(
            made.0.header().rings_used.load(Relaxed),
            2,
            "one ring for both"
        );
        assert_eq!(batch.records[0].record.commit, 2, "ids go on");
    }

    #[test]
    fn the_ring_of_a_killed_thread_gives_all_that_is_whole() {
        let made = Temporary::new(1);
        let (slot, w) = writer(&made.0.arena);
        let mut drainer = Drainer::new(made.0.arena, 0);
        put(&w, 1);
        put(&w, 2);
        // As if it had been killed before it counted the second.
        let head = ring::head(&made.0.arena, 1).unwrap();
        head.head.store(1, Relaxed);
        head.lost.store(4, Relaxed);
        let task = task::task(&made.0.arena, slot).unwrap();
        task.life
            .store(ringer_kernel::task::task_state::LIVE | 0x4000_0000, Relaxed);
        assert_eq!(numbers(&drainer.sweep(0)), [1, 2, 4]);
        assert_eq!(head.state.load(Relaxed), ring_state::FREE);
        assert_eq!(head.head.load(Relaxed), 2);
    }

    #[test]
    fn what_was_before_us_is_not_ours_to_tell() {
        let made = Temporary::new(1);
        let (_, w) = writer(&made.0.arena);
        put(&w, 1);
        let mut drainer = Drainer::new(made.0.arena, clock::tsc());
        put(&w, 2);
        assert_eq!(numbers(&drainer.sweep(0)), [2]);
    }

    #[test]
    fn a_scribbled_head_is_not_followed() {
        let made = Temporary::new(1);
        let (_, w) = writer(&made.0.arena);
        put(&w, 1);
        let head = ring::head(&made.0.arena, 1).unwrap();
        head.head.store(u64::MAX - 7, Relaxed);
        let mut drainer = Drainer::new(made.0.arena, 0);
        let batch = drainer.sweep(0);
        assert_eq!(
            numbers(&batch),
            [ring::RECORDS as i64],
            "all torn, and said so"
        );
        head.data_at.store(u32::MAX, Relaxed);
        head.head.store(3, Relaxed);
        drainer.sweep(0);
    }
}
