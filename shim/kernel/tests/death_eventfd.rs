//! Owners that die at a crash point of an eventfd: the survivors neither hang nor see a counter that
//! is half changed, and what is demoted is demoted once.

#![cfg(feature = "crash-points")]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::eventfd::Mode;
use ringer_kernel::sync::lock_word;
use ringer_kernel::sys::Blocking;
use support::counter::Counter;
use support::victim::{names_in_the_sources, Victim};
use support::{ignore, Me, Others, Sleeps, TestHost, Watchdog, World};

/// What the victim was doing, and the counter after its death if it was 5.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    /// Adds 2.
    Write,
    Read,
    /// Finds nothing: the counter is 0.
    ReadNothing,
    /// Finds no room.
    WriteTooMuch,
    Demote,
}

use Doing::*;

/// Every crash point, in what it is passed, and whether the change has happened there.
const POINTS: &[(&str, &[Doing], bool)] = &[
    ("eventfd.read.locked", &[ReadNothing], false),
    ("eventfd.write.locked", &[WriteTooMuch], false),
    ("eventfd.read.store", &[Read], false),
    ("eventfd.write.store", &[Write], false),
    ("eventfd.changed", &[Read, Write], true),
    ("eventfd.unlock", &[ReadNothing, WriteTooMuch], false),
    ("eventfd.unlock", &[Demote], true),
    ("eventfd.wake", &[Read, Write], true),
    ("eventfd.demote.intent", &[Demote], false),
    ("eventfd.demote.closed", &[Demote], false),
    ("eventfd.demote.mode", &[Demote], true),
];

#[test]
fn every_crash_point_of_eventfds_is_covered() {
    let covered: BTreeSet<_> = POINTS.iter().map(|(name, ..)| name.to_string()).collect();
    assert_eq!(covered, names_in_the_sources("eventfd."));
}

fn world() -> World {
    World::new(TestHost::new(Sleeps::Bounded, Others::Live))
}

fn act(c: &Counter, me: &Me, doing: Doing) {
    match doing {
        Write => ignore(c.write(me, 2, Blocking::No)),
        Read | ReadNothing => ignore(c.read(me, Blocking::No)),
        WriteTooMuch => ignore(c.write(me, u64::MAX - 1, Blocking::No)),
        Demote => ignore(c.demote(me)),
    }
}

#[test]
fn the_survivors_of_every_death_go_on() {
    let _watchdog = Watchdog::step("the_survivors_of_every_death_go_on");
    let world = world();
    for &(name, doings, done) in POINTS {
        for &doing in doings {
            let before = if doing == ReadNothing { 0 } else { 5 };
            let c = Counter::new(world, before, Mode::Counter);
            if name == "eventfd.wake" {
                lock_word::announce(&c.file.eventfd.lock.word);
            }
            assert!(
                Victim::kill_at(&world, name, move |me| act(&c, me, doing)),
                "{doing:?} never reaches {name}"
            );
            let now = match doing {
                Write if done => 7,
                Read if done => 0,
                _ => before,
            };
            survive(&c, doing, now, &format!("{doing:?} at {name}"));
        }
    }
}

fn survive(c: &Counter, doing: Doing, now: u64, when: &str) {
    let me = c.world.enter();
    if doing == Demote {
        // Told so, and if the dead one did not come to the end, it is brought there.
        if !when.ends_with(".intent") {
            assert_eq!(c.read(&me, Blocking::No), Err(SysError::Demoted), "{when}");
        }
        if let Err(e) = c.demote(&me) {
            assert_eq!(e, SysError::Demoted, "{when}");
        }
        assert_eq!(c.real.count.load(SeqCst), now, "{when}");
        let written = c.write(&me, 1, Blocking::No);
        return assert_eq!(written, Err(SysError::Demoted), "{when}");
    }
    assert_eq!(c.write(&me, 10, Blocking::No), Ok(8), "{when}");
    assert_eq!(c.read(&me, Blocking::No), Ok(now + 10), "{when}");
    let empty = Err(SysError::Errno(Errno::EAGAIN));
    assert_eq!(c.read(&me, Blocking::No), empty, "{when}");
    assert_eq!(c.write(&me, 3, Blocking::No), Ok(8), "{when}");
    assert_eq!(c.demote(&me), Ok(3), "{when}");
    assert_eq!(c.file.eventfd.lock.holder(), None, "{when}");
}

#[test]
fn a_sleeper_gets_what_the_dead_one_changed_and_could_not_tell_of() {
    let world = world();
    for name in ["eventfd.changed", "eventfd.unlock", "eventfd.wake"] {
        let _watchdog = Watchdog::step(name);
        let c = Counter::new(world, 0, Mode::Counter);
        let reader = thread::spawn(move || c.read(&world.enter(), Blocking::Yes));
        while c.file.eventfd.rd_wait.sleepers.load(SeqCst) == 0 {
            thread::yield_now();
        }
        // Nobody comes to help: the sleeper looks again by itself.
        assert!(Victim::kill_at(&world, name, move |me| {
            ignore(c.write(me, 9, Blocking::No));
        }));
        assert_eq!(reader.join().unwrap(), Ok(9), "{name}");

        let full = Counter::new(world, u64::MAX - 1, Mode::Counter);
        let writer = thread::spawn(move || full.write(&world.enter(), 4, Blocking::Yes));
        while full.file.eventfd.wr_wait.sleepers.load(SeqCst) == 0 {
            thread::yield_now();
        }
        assert!(Victim::kill_at(&world, name, move |me| {
            ignore(full.read(me, Blocking::No));
        }));
        assert_eq!(writer.join().unwrap(), Ok(8), "{name}");
        assert_eq!(full.read(&full.me, Blocking::No), Ok(4), "{name}");
    }
}

/// The dead one had taken them off the list, and woken nobody yet, or only the first.
#[test]
fn sleepers_whom_the_dead_one_had_chosen_wake_by_themselves() {
    let world = world();
    for woken in [0, 1] {
        let _watchdog = Watchdog::step("chosen");
        let c = Counter::new(world, u64::MAX - 1, Mode::Counter);
        let writers = [4, 5].map(|n| {
            let writer = thread::spawn(move || c.write(&world.enter(), n, Blocking::Yes));
            while c.file.eventfd.wr_wait.sleepers.load(SeqCst) < n as u32 - 3 {
                thread::yield_now();
            }
            writer
        });
        let victim = Victim::start_at(&world, ("wait.chosen", woken), move |me| {
            ignore(c.read(me, Blocking::No));
        });
        victim.unwrap().kill();
        for writer in writers {
            assert_eq!(writer.join().unwrap(), Ok(8));
        }
        assert_eq!(c.read(&c.me, Blocking::No), Ok(9));
    }
}
