//! Owners that die while they note descriptors in flight, or take them up: the others go on, and a count
//! is too high at most.

#![cfg(feature = "crash-points")]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;

use ringer_kernel::eventfd::Mode;
use ringer_kernel::file::{self, FileRef};
use ringer_kernel::unix::flight::{self, Held};
use ringer_kernel::unix::Side;
use support::counter::Counter;
use support::sockets::{Sockets, STREAM};
use support::victim::{names_in_the_sources, Victim};
use support::{Me, Others, Sleeps, TestHost, Watchdog, World};

/// Every crash point, whether it is met by noting, and the references then: one is the sender's.
const POINTS: &[(&str, bool, u32)] = &[
    ("flight.counted", true, 2),
    ("flight.noted", true, 2),
    ("flight.taken", false, 2),
];

#[test]
fn every_crash_point_is_covered() {
    let covered: BTreeSet<_> = POINTS.iter().map(|(name, ..)| name.to_string()).collect();
    assert_eq!(covered, names_in_the_sources("flight."));
}

fn add(s: &Sockets, me: &Me, slot: u32) {
    let k = s.world.ctx(me);
    Held::take(&k, s.a.pair).add(slot, Side::B).unwrap();
}

fn take(s: &Sockets, me: &Me, slot: u32) -> Option<u32> {
    let k = s.world.ctx(me);
    flight::remove(&k, s.a.pair, Side::B, |f: &FileRef| f.file_slot() == slot)
}

#[test]
fn the_survivors_of_every_death_go_on() {
    let world = World::new(TestHost::new(Sleeps::Bounded, Others::Live));
    for &(name, notes, refs) in POINTS {
        let _watchdog = Watchdog::step(name);
        let (s, c) = (
            Sockets::new(world, STREAM),
            Counter::new(world, 0, Mode::Counter),
        );
        let slot = c.file.file_slot();
        if !notes {
            add(&s, &s.me, slot);
        }
        let died = Victim::kill_at(&world, name, move |me| match notes {
            true => add(&s, me, slot),
            false => assert_eq!(take(&s, me, slot), Some(slot)),
        });
        assert!(died, "nobody comes to {name}");
        let counted = file::file(world.arena, slot).unwrap().refs.load(SeqCst);
        assert_eq!(counted, refs, "{name}");
        // What is not noted, or taken, is not there; what is, is.
        let me = world.enter();
        let there = name == "flight.noted";
        assert_eq!(take(&s, &me, slot), there.then_some(slot), "{name}");
        for _ in 0..100 {
            add(&s, &me, slot);
        }
        for _ in 0..100 {
            assert_eq!(take(&s, &me, slot), Some(slot), "{name}");
        }
        assert_eq!(take(&s, &me, slot), None);
        assert_eq!(s.a.pair.flights.lock.holder(), None);
    }
}
