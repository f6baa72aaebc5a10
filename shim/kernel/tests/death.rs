//! Owners that die at a crash point: the survivors neither hang nor see a torn object, what was
//! acknowledged is there, in order, and nothing is there twice.

#![cfg(feature = "crash-points")]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;

use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::sync::lock_word;
use ringer_kernel::sys::Blocking;
use support::kit::Kit;
use support::model::Model;
use support::pattern;
use support::victim::{names_in_the_sources, Victim};
use support::{ignore, Me, Others, Sleeps, TestHost, Watchdog, World};

/// What the victim was doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    Write(usize),
    Read(usize),
    Resize(u32),
    Demote,
}

use Doing::*;

/// Every crash point, and in what it is passed.
const POINTS: &[(&str, &[Doing])] = &[
    (
        "pipe.write.locked",
        &[Write(50), Write(4096), Write(5000), Write(65_600)],
    ),
    ("pipe.write.merge", &[Write(50), Write(5000)]),
    (
        "pipe.write.publish",
        &[Write(50), Write(4096), Write(5000), Write(65_600)],
    ),
    (
        "pipe.write.published",
        &[Write(50), Write(4096), Write(5000), Write(65_600)],
    ),
    (
        "pipe.write.unlock",
        &[Write(50), Write(4096), Write(5000), Resize(32), Demote],
    ),
    ("pipe.write.wake", &[Write(50), Write(4096), Write(5000)]),
    ("pipe.read.locked", &[Read(10), Read(5000), Read(70_000)]),
    ("pipe.read.close", &[Read(5000), Read(70_000)]),
    ("pipe.read.publish", &[Read(10), Read(5000), Read(70_000)]),
    ("pipe.read.published", &[Read(10), Read(5000), Read(70_000)]),
    (
        "pipe.read.unlock",
        &[
            Read(10),
            Read(5000),
            Read(70_000),
            Resize(32),
            Resize(4),
            Demote,
        ],
    ),
    ("pipe.read.wake", &[Read(5000), Read(70_000), Resize(32)]),
    ("pipe.resize.intent", &[Resize(32), Resize(4), Resize(1)]),
    ("pipe.resize.done", &[Resize(32), Resize(4), Resize(1)]),
    ("pipe.demote.whole", &[Demote]),
    ("pipe.demote.slot", &[Demote]),
    ("pipe.demote.mode", &[Demote]),
];

/// What was in the pipe before: sizes of writes, negative for packets, then a read.
const BEFORE: &[(&[isize], usize)] = &[
    (&[], 0),
    (&[100], 0),
    (&[4000], 1000),
    (&[4096, 904], 4096),
    (&[5000, 3000, 3000], 10),
    (&[-100, -4096, 7], 0),
    (&[65_000], 0),
    (&[65_536], 4096),
    (&[65_536], 0),
];

/// What the survivors do, starting anywhere and going round.
const STEPS: [&str; 5] = ["write", "read", "count", "grow", "shrink"];

#[test]
fn every_crash_point_of_the_sources_is_covered() {
    let covered: BTreeSet<_> = POINTS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(covered, names_in_the_sources("pipe."));
}

fn act(kit: &Kit, me: &Me, doing: Doing, pos: u64) {
    match doing {
        Write(n) => ignore(kit.write(me, pattern::bytes(pos, n), Blocking::No)),
        Read(n) => ignore(kit.read(me, n, Blocking::No)),
        Resize(n) => ignore(kit.resize(me, n)),
        Demote => ignore(kit.demote(me)),
    }
}

/// What is in the pipe after a death at `name`.
fn left_over(name: &str, doing: Doing, before: &Model) -> Model {
    let mut model = before.clone();
    match (name, doing) {
        (_, Resize(_) | Demote) => {}
        ("pipe.write.locked" | "pipe.write.merge", _) => {}
        ("pipe.read.locked" | "pipe.read.close" | "pipe.read.publish", _) => {}
        // What went into the last slot is there, what is in new slots is not (C1).
        ("pipe.write.publish", Write(n)) => {
            model.append(&pattern::bytes(before.written, n)[..before.merged(n)]);
        }
        (_, Write(n)) => ignore(model.write(pattern::bytes(before.written, n), None)),
        (_, Read(n)) => ignore(model.read(n, None)),
    }
    model
}

/// As if the maker of a resize had died only after so many of its three stores.
fn finish_partly(kit: &Kit, stores: usize) {
    let p = kit.pair.pipe;
    for (to, from) in [
        (&p.slots_at, &p.next_slots_at),
        (&p.data_at, &p.next_data_at),
        (&p.slots, &p.next_slots),
    ]
    .into_iter()
    .take(stores)
    {
        to.store(from.load(SeqCst), SeqCst);
    }
}

/// The survivors go on, each call with the result that the model gives.
fn survive(kit: &Kit, first: usize, mut model: Model) {
    let me = kit.world.enter();
    for step in STEPS.iter().cycle().skip(first).take(2 * STEPS.len()) {
        match *step {
            // Only merging may be lost, so how much fits is not compared.
            "write" => match kit.write(&me, b"survivor", Blocking::No) {
                Ok(n) => model.append(&b"survivor"[..n]),
                Err(e) => assert_eq!(e, SysError::Errno(Errno::EAGAIN)),
            },
            "read" => assert_eq!(
                kit.read(&me, 33, Blocking::No).ok(),
                model.read(33, None).ok()
            ),
            "count" => assert_eq!(kit.queued(&me), Ok(model.queued())),
            "grow" => kit.resize(&me, 64).unwrap(),
            _ => assert!(matches!(
                kit.resize(&me, 4),
                Ok(()) | Err(SysError::Errno(Errno::EBUSY))
            )),
        }
    }
    let rest = model.contents();
    if first.is_multiple_of(2) {
        kit.demote(&me).unwrap();
        assert!(kit.kernel.bytes() == rest, "what was demoted");
        return;
    }
    let mut all = Vec::new();
    while let Ok(mut got) = kit.read(&me, 100_000, Blocking::No) {
        all.append(&mut got);
    }
    assert!(all == rest, "what was read");
    let p = kit.pair.pipe;
    assert_eq!(
        (p.wlock.holder(), p.rlock.holder(), p.token_lock.holder()),
        (None, None, None)
    );
}

/// A demotion was under way: it is brought to its end, and no slot is there twice.
fn survive_demotion(kit: &Kit, first: usize, before: &Model) {
    let me = kit.world.enter();
    let gone = Err(SysError::Demoted);
    for step in STEPS.iter().cycle().skip(first).take(STEPS.len()) {
        match *step {
            "write" => assert_eq!(kit.write(&me, b"x", Blocking::No), gone),
            "read" => assert_eq!(kit.read(&me, 10, Blocking::No).map(|b| b.len()), gone),
            "count" => assert_eq!(kit.queued(&me), gone),
            "grow" => assert_eq!(kit.resize(&me, 64).map(|()| 0), gone),
            _ => assert_eq!(kit.resize(&me, 4).map(|()| 0), gone),
        }
    }
    if let Err(e) = kit.demote(&me) {
        assert_eq!(e, SysError::Demoted); // it was at its end
    }
    assert!(kit.kernel.bytes() == before.contents());
}

#[test]
fn the_survivors_of_every_death_go_on() {
    let _watchdog = Watchdog::step("the_survivors_of_every_death_go_on");
    let world = World::new(TestHost::new(Sleeps::Bounded, Others::Live));
    for &(name, doings) in POINTS {
        for &doing in doings {
            let mut deaths = 0;
            for &(writes, read) in BEFORE {
                for first in 0..STEPS.len() {
                    let kit = Kit::new(world, 16);
                    let before = kit.prepare(16, writes, read);
                    if name.ends_with(".wake") {
                        lock_word::announce(&kit.pair.pipe.wlock.word);
                        lock_word::announce(&kit.pair.pipe.rlock.word);
                    }
                    let pos = before.written;
                    if !Victim::kill_at(&world, name, move |me| act(&kit, me, doing, pos)) {
                        break; // nothing to do for it in this state
                    }
                    deaths += 1;
                    if name == "pipe.resize.intent" {
                        finish_partly(&kit, first % 4);
                    }
                    match doing {
                        Demote => survive_demotion(&kit, first, &before),
                        _ => survive(&kit, first, left_over(name, doing, &before)),
                    }
                    kit.pair
                        .pipe
                        .mode
                        .store(ringer_kernel::pipe::mode::KERNEL, SeqCst);
                    world.free(&kit.me, &kit.pair);
                    kit.me.die();
                }
            }
            assert!(deaths > 0, "{doing:?} never reaches {name}");
        }
    }
}
