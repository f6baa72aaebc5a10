//! Owners of System V objects that die at a crash point: an operation is done or not, once, with what
//! it owes; who sleeps is told; messages are there once.

#![cfg(feature = "crash-points")]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::sysv::perm::IPC_NOWAIT;
use support::sysv::{Process, Sysv};
use support::victim::{names_in_the_sources, Victim};
use support::{ignore, Me, Others, Sleeps, TestHost, Watchdog, World};

const UNDO: i16 = 0x1000;
const COMMITTED: &str = "sysv.committed";
const SETTLED: &str = "sysv.settled";
const MADE: &str = "sysv.made";
const QUEUED: &str = "sysv.queued";
const HANDED: &str = "sysv.handed";
const ASLEEP: &str = "sysv.asleep";

fn sysv() -> Sysv {
    Sysv::new(World::new(TestHost::new(Sleeps::Bounded, Others::Live)))
}

/// A stage: a session, its survivor, and the victim's process.
struct Stage {
    s: Sysv,
    me: Me,
    p: Process,
    victim: Process,
}

impl Stage {
    fn new() -> Stage {
        let s = sysv();
        let me = s.world.enter();
        let (p, victim) = (s.process(501), s.process(502));
        Stage { s, me, p, victim }
    }

    fn set(&self, values: &[u16]) -> i32 {
        let n = values.len() as i32;
        let id = self.s.semget(&self.me, self.p, 0, n).unwrap() as i32;
        self.s.set_values(&self.me, self.p, id, values).unwrap();
        id
    }

    fn values(&self, id: i32, n: usize) -> Vec<u16> {
        self.s.values(&self.me, self.p, id, n)
    }

    /// Kills at passage after passage until there is none any more: `play` with each.
    fn each(
        name: &'static str,
        at_least: u32,
        mut play: impl FnMut(&Stage, (&'static str, u32)) -> bool,
    ) {
        let mut nth = 0;
        loop {
            let _watchdog = Watchdog::step(name);
            if !play(&Stage::new(), (name, nth)) {
                break;
            }
            nth += 1;
        }
        assert!(nth >= at_least, "{name} was passed {nth} times only");
    }

    fn kill(
        &self,
        at: (&'static str, u32),
        f: impl FnOnce(&Sysv, &Me, Process) + Send + 'static,
    ) -> bool {
        let (s, p) = (self.s, self.victim);
        let victim = Victim::start_at(&self.s.world, at, move |me| f(&s, me, p));
        victim.map(Victim::kill).is_some()
    }
}

#[test]
fn every_crash_point_is_played() {
    let all = [COMMITTED, SETTLED, MADE, QUEUED, HANDED, ASLEEP];
    let played: BTreeSet<String> = all.iter().map(|n| n.to_string()).collect();
    assert_eq!(played, names_in_the_sources("sysv."));
}

#[test]
fn what_was_begun_is_done_as_a_whole_with_what_it_owes() {
    type Case = (&'static [(u16, i16, i16)], [u16; 3]);
    const CASES: &[Case] = &[
        (&[(0, -1, UNDO)], [4, 5, 5]),
        (&[(0, -1, UNDO), (1, 2, 0), (2, -5, UNDO)], [4, 7, 0]),
        (&[(0, -1, UNDO), (0, -1, UNDO), (1, 1, UNDO)], [3, 6, 5]),
    ];
    for (ops, after) in CASES {
        Stage::each(COMMITTED, 2, |stage, at| {
            let id = stage.set(&[5, 5, 5]);
            let died = stage.kill(at, move |s, me, p| ignore(s.semop(me, p, id, ops)));
            assert_eq!(stage.values(id, 3), after);
            stage.s.leave(&stage.me, stage.victim);
            let kept: Vec<u16> = (0..3u16)
                .map(|num| {
                    let lasting = ops.iter().filter(|o| o.0 == num && o.2 & UNDO == 0);
                    (5 + lasting.map(|o| o.1).sum::<i16>()) as u16
                })
                .collect();
            assert_eq!(stage.values(id, 3), kept);
            died
        });
    }
}

#[test]
fn all_values_are_set_or_none() {
    Stage::each(COMMITTED, 3, |stage, at| {
        let id = stage.set(&[1, 2, 3]);
        let died = stage.kill(at, move |s, me, p| {
            ignore(s.set_values(me, p, id, &[7, 8, 9]))
        });
        assert_eq!(stage.values(id, 3), [7, 8, 9]);
        died
    });
}

#[test]
fn giving_back_can_be_finished_by_the_next() {
    Stage::each(COMMITTED, 4, |stage, at| {
        let id = stage.set(&[5, 5, 5]);
        let debtor = stage.s.process(503);
        let ops = [(0, -1, UNDO), (1, 2, UNDO), (2, -5, UNDO)];
        stage.s.semop(&stage.me, debtor, id, &ops).unwrap();
        let died = stage.kill(at, move |s, me, _| s.leave(me, debtor));
        stage.s.leave(&stage.me, debtor);
        assert_eq!(stage.values(id, 3), [5, 5, 5]);
        died
    });
}

fn until(mut f: impl FnMut() -> bool) {
    while !f() {
        thread::yield_now();
    }
}

#[test]
fn a_sleeper_whose_call_was_carried_out_is_told_once() {
    for name in [COMMITTED, SETTLED] {
        Stage::each(name, 2, |stage, at| {
            let id = stage.set(&[0, 0]);
            let (s, p) = (stage.s, stage.p);
            let sleepers: Vec<_> = [[(0, -1, 0), (1, 1, 0)], [(1, -1, UNDO), (1, 0, 0)]]
                .into_iter()
                .enumerate()
                .map(|(i, ops)| {
                    let t = thread::spawn(move || s.semop(&s.world.enter(), p, id, &ops));
                    until(|| s.set(id).asleep.load(SeqCst) == i as u32 + 1);
                    t
                })
                .collect();
            // One lets the first go on, which lets the second go on.
            let died = stage.kill(at, move |s, me, p| ignore(s.semop(me, p, id, &[(0, 1, 0)])));
            for t in sleepers {
                assert_eq!(t.join().unwrap(), Ok(0), "{at:?}");
            }
            assert_eq!(stage.values(id, 2), [0, 0], "{at:?}");
            assert_eq!(s.set(id).asleep.load(SeqCst), 0);
            died
        });
    }
}

#[test]
fn a_set_is_there_or_not_and_its_key_can_be_used() {
    Stage::each(MADE, 1, |stage, at| {
        let died = stage.kill(at, move |s, me, p| ignore(s.semget(me, p, 77, 2)));
        let id = stage.s.semget(&stage.me, stage.p, 77, 2).unwrap() as i32;
        assert_eq!(stage.values(id, 2), [0, 0]);
        assert_eq!(stage.s.root.sems.load(SeqCst), 2);
        assert_eq!(stage.s.root.sem_ids.in_use.load(SeqCst), 1);
        died
    });
}

#[test]
fn sleepers_on_a_half_removed_set_are_sent_away() {
    Stage::each(MADE, 1, |stage, at| {
        let (s, p) = (stage.s, stage.p);
        let id = s.semget(&stage.me, p, 77, 2).unwrap() as i32;
        let sleeper = thread::spawn(move || s.semop(&s.world.enter(), p, id, &[(0, -1, UNDO)]));
        until(|| s.set(id).asleep.load(SeqCst) == 1);
        let died = stage.kill(at, move |s, me, _| ignore(s.sem_remove(me, id)));
        let told = sleeper.join().unwrap();
        assert_eq!(told, Err(SysError::Errno(Errno::EIDRM)));
        let next = s.semget(&stage.me, p, 77, 1).unwrap() as i32;
        assert_ne!(next, id);
        s.leave(&stage.me, p); // what was owed to the old set is not taken from the new one
        assert_eq!(stage.values(next, 1), [0]);
        died
    });
}

#[test]
fn a_killed_sleepers_slot_is_good_for_the_next_thread() {
    let stage = Stage::new();
    let _watchdog = Watchdog::step("a killed sleeper");
    let (s, p) = (stage.s, stage.p);
    let id = stage.set(&[0]);
    let other = stage.set(&[0, 0]);
    let victim = Victim::start(&s.world, ASLEEP, move |me| {
        ignore(s.semop(me, p, id, &[(0, -1, 0)]));
    });
    let victim = victim.unwrap();
    let doomed = victim.me;
    assert_eq!(s.set(id).asleep.load(SeqCst), 1);
    victim.kill();
    // Its slot is the next thread's, who waits for something else.
    let heir = s.world.enter();
    assert_eq!(heir.owner.raw() & 0x7fff, doomed.owner.raw() & 0x7fff);
    let next = thread::spawn(move || s.semop(&heir, p, other, &[(0, -1, 0), (1, -1, 0)]));
    until(|| s.set(other).asleep.load(SeqCst) == 1);
    assert_eq!(s.set(id).asleep.load(SeqCst), 0);
    s.semop(&stage.me, p, id, &[(0, 1, 0)]).unwrap();
    assert_eq!(stage.values(id, 1), [1]);
    s.semop(&stage.me, p, other, &[(0, 1, 0), (1, 1, 0)])
        .unwrap();
    assert_eq!(next.join().unwrap(), Ok(0));
}

/// All that is in a queue.
fn drain(stage: &Stage, id: i32) -> Vec<Vec<u8>> {
    let (s, me, p) = (stage.s, &stage.me, stage.p);
    std::iter::from_fn(|| s.receive(me, p, id, 0, IPC_NOWAIT).ok()).collect()
}

fn consistent(stage: &Stage, id: i32, n: u32) {
    let q = stage.s.queue(id);
    // Somebody has to take the dead owner's lock first.
    ignore(stage.s.receive(&stage.me, stage.p, id, 99, IPC_NOWAIT));
    assert_eq!(q.qnum.load(SeqCst), n);
    assert_eq!(q.cbytes.load(SeqCst), u64::from(n) * 3);
}

#[test]
fn a_message_is_sent_or_not() {
    Stage::each(QUEUED, 1, |stage, at| {
        let (s, p) = (stage.s, stage.p);
        let id = s.msgget(&stage.me, p, 0).unwrap() as i32;
        s.send(&stage.me, p, id, 1, b"one").unwrap();
        let died = stage.kill(at, move |s, me, p| ignore(s.send(me, p, id, 2, b"two")));
        consistent(stage, id, 2);
        s.send(&stage.me, p, id, 3, b"end").unwrap();
        assert_eq!(drain(stage, id), [b"one", b"two", b"end"]);
        died
    });
}

#[test]
fn a_message_is_received_or_not() {
    for mtype in [1, 2, 3] {
        Stage::each(QUEUED, 1, |stage, at| {
            let (s, p) = (stage.s, stage.p);
            let id = s.msgget(&stage.me, p, 0).unwrap() as i32;
            for (n, text) in [(1, b"one"), (2, b"two"), (3, b"end")] {
                s.send(&stage.me, p, id, n, text).unwrap();
            }
            let died = stage.kill(at, move |s, me, p| ignore(s.receive(me, p, id, mtype, 0)));
            consistent(stage, id, 2);
            s.send(&stage.me, p, id, 4, b"new").unwrap();
            let left = drain(stage, id);
            assert_eq!((left.len(), left[2].as_slice()), (3, &b"new"[..]));
            died
        });
    }
}

#[test]
fn a_message_that_was_handed_over_comes_once() {
    Stage::each(HANDED, 1, |stage, at| {
        let (s, p) = (stage.s, stage.p);
        let id = s.msgget(&stage.me, p, 0).unwrap() as i32;
        let receiver = thread::spawn(move || s.receive(&s.world.enter(), p, id, 2, 0));
        until(|| s.queue(id).receiving.load(SeqCst) == 1);
        let died = stage.kill(at, move |s, me, p| ignore(s.send(me, p, id, 2, b"two")));
        assert_eq!(receiver.join().unwrap(), Ok(b"two".to_vec()));
        assert_eq!(drain(stage, id).len(), 0);
        died
    });
}

#[test]
fn a_sleeping_senders_message_comes_once() {
    for name in [HANDED, QUEUED] {
        Stage::each(name, 1, |stage, at| {
            let (s, p) = (stage.s, stage.p);
            let id = s.msgget(&stage.me, p, 0).unwrap() as i32;
            s.queue(id).qbytes.store(4, SeqCst);
            s.send(&stage.me, p, id, 1, b"one").unwrap();
            let sender = thread::spawn(move || s.send(&s.world.enter(), p, id, 2, b"two"));
            until(|| s.queue(id).sending.load(SeqCst) == 1);
            let died = stage.kill(at, move |s, me, p| ignore(s.receive(me, p, id, 1, 0)));
            assert_eq!(sender.join().unwrap(), Ok(0), "{at:?}");
            assert_eq!(drain(stage, id), [b"two"], "{at:?}");
            died
        });
    }
}

#[test]
fn a_killed_sleeper_is_passed_over() {
    let stage = Stage::new();
    let _watchdog = Watchdog::step("a killed sleeper");
    let (s, p) = (stage.s, stage.p);
    let id = s.msgget(&stage.me, p, 0).unwrap() as i32;
    s.queue(id).qbytes.store(4, SeqCst);
    let receiver = Victim::start(&s.world, ASLEEP, move |me| {
        ignore(s.receive(me, p, id, 2, 0))
    });
    receiver.unwrap().kill();
    s.send(&stage.me, p, id, 2, b"two").unwrap();
    let sender = Victim::start(&s.world, ASLEEP, move |me| {
        ignore(s.send(me, p, id, 3, b"end"))
    });
    sender.unwrap().kill();
    assert_eq!(drain(&stage, id), [b"two"]);
    let set = stage.set(&[0]);
    let taker = Victim::start(&s.world, ASLEEP, move |me| {
        ignore(s.semop(me, p, set, &[(0, -1, UNDO)]));
    });
    taker.unwrap().kill();
    s.semop(&stage.me, p, set, &[(0, 1, 0)]).unwrap();
    assert_eq!(stage.values(set, 1), [1]);
}
