//! Descriptors in flight: noted, found by the receiver, kept alive, given back with the pair.

mod support;

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;

use ringer_kernel::abi::Errno;
use ringer_kernel::eventfd::Mode;
use ringer_kernel::file::{self, FileRef};
use ringer_kernel::pipe::mode;
use ringer_kernel::task::reap::forget_descriptor;
use ringer_kernel::unix::flight::{self, Held};
use ringer_kernel::unix::Side;
use support::counter::Counter;
use support::sockets::{Sockets, DGRAM, SEQPACKET, STREAM};
use support::{Me, Others, Sleeps, TestHost, Watchdog, World};

fn world() -> World {
    World::new(TestHost::new(Sleeps::ForEver, Others::Live))
}

fn add(s: &Sockets, me: &Me, slot: u32) -> Result<(), Errno> {
    let k = s.world.ctx(me);
    let held = Held::take(&k, s.a.pair);
    held.add(slot, Side::B)
}

fn take(s: &Sockets, me: &Me, slot: u32) -> Option<u32> {
    let k = s.world.ctx(me);
    flight::remove(&k, s.a.pair, Side::B, |f: &FileRef| f.file_slot() == slot)
}

fn refs(world: World, slot: u32) -> u32 {
    file::file(world.arena, slot).unwrap().refs.load(SeqCst)
}

#[test]
fn what_is_noted_is_found_once_by_its_receiver() {
    let (world, kinds) = (world(), [STREAM, DGRAM, SEQPACKET]);
    for kind in kinds {
        let (s, c) = (
            Sockets::new(world, kind),
            Counter::new(world, 3, Mode::Counter),
        );
        let slot = c.file.file_slot();
        assert!(s.a.pair.flights.is_empty(world.arena));
        assert_eq!(add(&s, &s.me, slot), Ok(()));
        assert_eq!(refs(world, slot), 2);
        let k = world.ctx(&s.me);
        let any = |_: &FileRef| true;
        assert_eq!(flight::remove(&k, s.a.pair, Side::A, any), None);
        assert_eq!(flight::copy(&k, s.a.pair, Side::B, any), Some(slot));
        assert_eq!(refs(world, slot), 3);
        assert_eq!(take(&s, &s.me, slot), Some(slot));
        assert_eq!(take(&s, &s.me, slot), None);
        assert!(s.a.pair.flights.is_empty(world.arena));
        assert_eq!(
            refs(world, slot),
            3,
            "the receiver's, the copy's, and the first"
        );
    }
}

#[test]
fn it_is_alive_as_long_as_it_is_on_its_way() {
    let world = world();
    let (s, c) = (
        Sockets::new(world, STREAM),
        Counter::new(world, 7, Mode::Counter),
    );
    let (k, slot) = (world.ctx(&s.me), c.file.file_slot());
    add(&s, &s.me, slot).unwrap();
    forget_descriptor(&k, slot, |_| true); // the sender closes it
    assert_eq!(c.file.eventfd.mode.load(SeqCst), mode::RING);
    let got = take(&s, &s.me, slot).unwrap();
    assert!(matches!(
        FileRef::of(world.arena, got),
        Some(FileRef::Eventfd(_))
    ));
    forget_descriptor(&k, got, |_| true);
    assert_eq!(c.file.eventfd.mode.load(SeqCst), mode::FREE);
}

#[test]
fn it_goes_with_the_pair() {
    let world = world();
    let (outer, inner) = (Sockets::new(world, DGRAM), Sockets::new(world, DGRAM));
    let c = Counter::new(world, 7, Mode::Counter);
    let k = world.ctx(&outer.me);
    // An eventfd in a pair that is in another pair itself.
    add(&inner, &inner.me, c.file.file_slot()).unwrap();
    for side in [&inner.a, &inner.b] {
        add(&outer, &outer.me, side.file_slot()).unwrap();
        forget_descriptor(&k, side.file_slot(), |_| true);
    }
    forget_descriptor(&k, c.file.file_slot(), |_| true);
    assert_eq!(inner.a.pair.mode.load(SeqCst), mode::RING);
    assert_eq!(c.file.eventfd.mode.load(SeqCst), mode::RING);
    forget_descriptor(&k, outer.a.file_slot(), |_| true);
    forget_descriptor(&k, outer.b.file_slot(), |_| true);
    assert_eq!(outer.a.pair.mode.load(SeqCst), mode::FREE);
    assert_eq!(inner.a.pair.mode.load(SeqCst), mode::FREE);
    assert_eq!(c.file.eventfd.mode.load(SeqCst), mode::FREE);
}

#[test]
fn there_are_bounds() {
    let world = world();
    let (s, c) = (
        Sockets::new(world, STREAM),
        Counter::new(world, 0, Mode::Counter),
    );
    let slot = c.file.file_slot();
    let added = (0..).find(|_| add(&s, &s.me, slot).is_err());
    assert_eq!(added, Some(1024));
    assert_eq!(add(&s, &s.me, slot), Err(Errno::ENOMEM));
    for _ in 0..1024 {
        assert_eq!(take(&s, &s.me, slot), Some(slot));
    }
    assert_eq!(refs(world, slot), 1 + 1024, "which the receiver owns");
    assert!(s.a.pair.flights.is_empty(world.arena));
    let closed = Sockets::new(world, STREAM).a.file_slot();
    forget_descriptor(&world.ctx(&s.me), closed, |_| true);
    assert_eq!(add(&s, &s.me, closed), Err(Errno::EBADF));
}

#[test]
fn an_exposed_side_says_so() {
    let world = world();
    let (s, c) = (
        Sockets::new(world, STREAM),
        Counter::new(world, 0, Mode::Counter),
    );
    let k = world.ctx(&s.me);
    let pair = s.a.pair;
    assert!(!flight::expose(&k, pair, Side::A), "nothing is there");
    assert!(pair.flights.is_exposed(Side::A) && !pair.flights.is_exposed(Side::B));
    add(&s, &s.me, c.file.file_slot()).unwrap();
    // Whoever died in the midst of it: the next one looks again.
    assert!(flight::expose(&k, pair, Side::B));
    assert!(flight::expose(&k, pair, Side::B));
    flight::exposed(pair, Side::B);
    assert!(!flight::expose(&k, pair, Side::B));
    flight::lead_elsewhere(&k, pair, Side::B);
    assert!(pair.flights.is_exposed(Side::B));
}

#[test]
fn many_threads_note_and_take() {
    let _watchdog = Watchdog::step("many_threads_note_and_take");
    let world = world();
    let s = Sockets::new(world, SEQPACKET);
    let counters: Vec<Counter> = (0..4)
        .map(|_| Counter::new(world, 0, Mode::Counter))
        .collect();
    thread::scope(|scope| {
        for c in &counters {
            scope.spawn(|| {
                let me = world.enter();
                let slot = c.file.file_slot();
                for _ in 0..300 {
                    add(&s, &me, slot).unwrap();
                    add(&s, &me, slot).unwrap();
                    for _ in 0..2 {
                        let got = take(&s, &me, slot);
                        assert_eq!(got, Some(slot));
                        forget_descriptor(&world.ctx(&me), slot, |_| false);
                    }
                }
            });
        }
    });
    assert!(s.a.pair.flights.is_empty(world.arena));
    assert!(counters
        .iter()
        .all(|c| refs(world, c.file.file_slot()) == 1));
}

fn only(s: &Sockets, slot: u32) -> bool {
    let k = s.world.ctx(&s.me);
    let held = Held::take(&k, s.a.pair);
    held.is_only(Side::B, slot) && held.add(slot, Side::B).is_ok()
}

fn take_only(s: &Sockets) -> Option<u32> {
    let near = AtomicU32::new(0);
    flight::take_only(&s.world.ctx(&s.me), s.a.pair, Side::B, &near)
}

#[test]
fn the_only_description_on_its_way_is_known_without_a_look() {
    let world = world();
    let s = Sockets::new(world, STREAM);
    let [first, second] = [0, 1].map(|n| Counter::new(world, n, Mode::Counter).file.file_slot());
    assert_eq!(take_only(&s), None, "nobody has sent anything");
    for _ in 0..3 {
        assert!((0..700).all(|_| only(&s, first)));
        assert!((0..700).all(|_| take_only(&s) == Some(first)));
        assert_eq!(take_only(&s), None);
    }
    assert_eq!(refs(world, first), 1 + 3 * 700);
    // All was taken up: another one may be the only one.
    assert!(only(&s, second));
    assert_eq!(take_only(&s), Some(second));
    // One is on its way still.
    assert!(only(&s, second) && !only(&s, first));
    assert_eq!(take_only(&s), None);
    assert_eq!(take(&s, &s.me, second), Some(second));
    assert!(!only(&s, second), "for good");
}

#[test]
fn what_others_send_is_looked_at() {
    let world = world();
    let slot = Counter::new(world, 0, Mode::Counter).file.file_slot();
    let s = Sockets::new(world, SEQPACKET);
    assert!(only(&s, slot));
    // A program without ringer may receive at A, and so send to B.
    let _ = flight::expose(&world.ctx(&s.me), s.a.pair, Side::A);
    assert_eq!(take_only(&s), None);
    assert!(!only(&s, slot));
    let s = Sockets::new(world, STREAM);
    assert!(only(&s, slot));
    s.a.pair.flights.mix(Side::B);
    assert_eq!(take_only(&s), None);
    assert!(!only(&Sockets::new(world, DGRAM), slot));
}

#[test]
fn the_only_one_finds_room_among_what_goes_the_other_way() {
    let world = world();
    let (s, c) = (
        Sockets::new(world, STREAM),
        Counter::new(world, 0, Mode::Counter),
    );
    let (k, slot) = (world.ctx(&s.me), c.file.file_slot());
    for _ in 0..10 {
        let held = Held::take(&k, s.a.pair);
        assert_eq!(held.add(slot, Side::A), Ok(()));
        drop(held);
        assert!(only(&s, slot));
    }
    assert!((0..1004).all(|_| only(&s, slot)));
    assert!(!only(&s, slot), "there are bounds");
    assert!((0..1014).all(|_| take_only(&s) == Some(slot)));
    assert_eq!(take_only(&s), None);
    assert!(only(&s, slot));
}
