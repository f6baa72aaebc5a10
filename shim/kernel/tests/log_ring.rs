//! A thread's ring of log records.

mod support;

use std::sync::atomic::Ordering::*;

use ringer_kernel::log::ring::{self, ring_state, RingHead, Writer, RECORDS};
use ringer_kernel::log::{Kind, Log, Record};
use support::host::tsc;
use support::{Me, Others, Sleeps, TestHost, World};

fn yes(_: *mut u8, _: usize) -> bool {
    true
}

fn no(_: *mut u8, _: usize) -> bool {
    false
}

struct Thread {
    world: World,
    head: &'static RingHead,
    writer: Writer,
}

fn claim(world: World, me: &Me, populate: fn(*mut u8, usize) -> bool) -> Thread {
    let (arena, host) = (world.arena, world.host);
    let writer = ring::claim(
        arena,
        me.owner,
        host,
        1,
        me.tid,
        *b"name\0\0\0\0\0\0\0\0\0\0\0\0",
        populate,
        tsc,
    );
    Thread {
        world,
        head: world.ring_of(me),
        writer: writer.unwrap(),
    }
}

fn thread() -> Thread {
    let world = World::new(TestHost::new(Sleeps::ForEver, Others::Live));
    claim(world, &world.enter(), yes)
}

impl Thread {
    fn put(&self, a: i64) -> u64 {
        self.writer.put(Record {
            kind: Kind::Write.raw(),
            a,
            fd: 3,
            ..Record::default()
        })
    }

    fn read(&self, index: u64) -> Option<Record> {
        ring::read(self.world.arena, self.head, index)
    }

    /// What the drainer takes.
    fn drain(&self) -> Vec<Record> {
        let (from, to) = (self.head.drained.load(SeqCst), self.head.head.load(SeqCst));
        let records = (from..to)
            .map(|i| self.read(i).expect("a committed record"))
            .collect();
        self.head.drained.store(to, SeqCst);
        records
    }
}

#[test]
fn what_was_put_is_read() {
    let t = thread();
    let all = Record {
        kind: 20,
        aux: 3,
        object: u32::MAX,
        seq: 7,
        fd: -1,
        cause: u64::MAX,
        a: i64::MIN,
        b: 1 << 63,
        c: 42,
        ..Record::default()
    };
    let id = t.writer.put(all);
    assert_eq!(id & ((1 << 40) - 1), 0);
    let got = t.read(0).unwrap();
    assert!(got.tsc > 0);
    assert_eq!(
        got,
        Record {
            commit: 1,
            tsc: got.tsc,
            ..all
        }
    );
}

#[test]
fn a_ring_goes_round() {
    let t = thread();
    for round in 0..5 * RECORDS / 100 {
        for n in 0..100 {
            t.put((round * 100 + n) as i64);
        }
        let got: Vec<_> = t.drain().iter().map(|r| r.a).collect();
        assert_eq!(
            got,
            (round * 100..round * 100 + 100)
                .map(|n| n as i64)
                .collect::<Vec<_>>()
        );
    }
    assert_eq!(t.head.lost.load(SeqCst), 0);
}

#[test]
fn a_full_ring_counts_what_it_lost_and_says_so() {
    let t = thread();
    for n in 0..RECORDS as i64 {
        assert_eq!(t.put(n) != 0, n >= 0);
    }
    for n in 0..3 {
        assert_eq!(t.put(n), 0);
    }
    assert_eq!(t.head.lost.load(SeqCst), 3);
    assert_eq!(t.drain().len() as u64, RECORDS);
    let id = t.put(99);
    assert_ne!(id, 0);
    let got = t.drain();
    assert_eq!(got.len(), 2);
    assert_eq!((Kind::from_raw(got[0].kind), got[0].a), (Kind::Lost, 3));
    assert_eq!((got[1].a, t.head.lost.load(SeqCst)), (99, 0));
}

#[test]
fn the_last_place_goes_to_the_record_of_the_loss() {
    let t = thread();
    for n in 0..RECORDS as i64 + 5 {
        t.put(n);
    }
    t.head.drained.store(1, SeqCst);
    assert_eq!(t.put(6), 0, "the sixth is lost, too");
    t.head.drained.store(RECORDS + 1, SeqCst);
    t.put(7);
    let lost: i64 = (RECORDS..t.head.head.load(SeqCst))
        .filter_map(|i| t.read(i))
        .filter(|r| Kind::from_raw(r.kind) == Kind::Lost)
        .map(|r| r.a)
        .sum();
    assert_eq!(lost, 6);
}

#[test]
fn a_torn_record_is_none() {
    let t = thread();
    t.put(1);
    assert!(t.read(1).is_none(), "not written yet");
    assert!(t.read(RECORDS).is_none(), "the next round's");
    // C1: the writer died after the words, before the commit.
    let index = RECORDS;
    for n in 1..index {
        t.put(n as i64);
        t.drain();
    }
    let before = t.read(0).unwrap();
    assert_eq!(before.a, 1);
    assert!(t.read(index).is_none());
    t.put(5);
    assert!(t.read(0).is_none(), "overwritten");
    assert_eq!(t.read(index).unwrap().a, 5);
}

#[test]
fn no_memory_loses_records_and_no_more() {
    let world = World::new(TestHost::new(Sleeps::ForEver, Others::Live));
    let t = claim(world, &world.enter(), no);
    assert_eq!((t.put(1), t.put(2)), (0, 0));
    assert_eq!(t.head.lost.load(SeqCst), 2);
    assert_eq!(t.head.head.load(SeqCst), 0);
}

#[test]
fn no_block_for_a_ring_leaves_the_thread_without_one() {
    let world = World::new(TestHost::new(Sleeps::ForEver, Others::Live));
    let me = world.enter();
    world.arena.header().bump.store(u32::MAX, SeqCst);
    let none = ring::claim(world.arena, me.owner, world.host, 1, 1, [0; 16], yes, tsc);
    assert!(none.is_none());
    world.arena.header().bump.store(0, SeqCst);
    let some = ring::claim(world.arena, me.owner, world.host, 1, 1, [0; 16], yes, tsc);
    assert!(some.is_some(), "the slot was given back");
    assert_eq!(world.arena.header().rings_used.load(SeqCst), 2);
}

#[test]
fn ids_are_unique_across_rings_and_their_reuse() {
    let world = World::new(TestHost::new(Sleeps::ForEver, Others::Live));
    let mut ids = std::collections::HashSet::new();
    for round in 0..5 {
        let threads = [
            claim(world, &world.enter(), yes),
            claim(world, &world.enter(), yes),
        ];
        for t in &threads {
            assert_eq!(t.head.first.load(SeqCst), t.head.head.load(SeqCst));
            for n in 0..100 {
                assert!(ids.insert(t.put(n)), "an id twice");
            }
        }
        assert_eq!(world.arena.header().rings_used.load(SeqCst), 3, "{round}");
        for t in &threads {
            t.writer.retire();
            assert_eq!(t.head.state.load(SeqCst), ring_state::RETIRED);
            let other = claim(world, &world.enter(), yes);
            assert!(!std::ptr::eq(other.head, t.head), "not before it was read");
            other.head.state.store(ring_state::FREE, SeqCst);
            t.head.state.store(ring_state::FREE, SeqCst); // as its reader does
            other.head.owner.store(0, SeqCst);
            t.head.owner.store(0, SeqCst);
        }
        world.arena.header().rings_used.store(3, SeqCst);
    }
    assert!(!ids.contains(&0));
}

/// A pipe's records have places in the pipe's order, whoever wrote them.
#[test]
fn an_objects_records_are_numbered_without_gaps() {
    let world = World::new(TestHost::new(Sleeps::ForEver, Others::Live));
    let me = world.enter();
    let pair = world.pipe(&me, 16);
    let threads = [claim(world, &me, yes), claim(world, &world.enter(), yes)];
    for n in 0..50 {
        let log = Log {
            ring: Some(&threads[n % 2].writer),
            fd: 3,
            layer: 1,
        };
        assert_ne!(log.pipe(pair.pipe, Kind::Write, 0, (n as i64, 0, 0)), 0);
    }
    let mut all: Vec<_> = threads.iter().flat_map(Thread::drain).collect();
    all.sort_by_key(|r| r.seq);
    let order: Vec<_> = all.iter().map(|r| (r.seq, r.a)).collect();
    let first = order[0].0;
    assert!(order
        .iter()
        .enumerate()
        .all(|(i, &(seq, a))| seq == first + i as u32 && a == i as i64));
    assert!(all.iter().all(|r| r.object == pair.pipe.id.load(SeqCst)));
    assert_eq!(Log::OFF.pipe(pair.pipe, Kind::Write, 0, (0, 0, 0)), 0);
}
