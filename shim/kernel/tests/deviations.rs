//! Where the split locks show: what Linux's one mutex would not allow. Known, and not mended: each
//! test here says what Linux does, and fails, as it must: one that does not is no deviation any more.

#![cfg(feature = "crash-points")]

mod support;

use ringer_kernel::sys::Blocking;
use support::kit::Kit;
use support::victim::Victim;
use support::{ignore, Others, Sleeps, TestHost, World};

fn kit(slots: u32) -> Kit {
    Kit::new(
        World::new(TestHost::new(Sleeps::Bounded, Others::Live)),
        slots,
    )
}

/// A reader has emptied the whole ring, closed the last slot, and not yet published that. A writer
/// may neither append nor take a slot, so it says EAGAIN: before the read there was room in the
/// last buffer, and after it there is room everywhere.
#[test]
#[should_panic(expected = "left: Err(")] // EAGAIN while a reader is between CLOSED and the new tail
fn a_ring_that_is_being_emptied_is_not_full() {
    let kit = kit(1);
    kit.prepare(1, &[100], 0);
    let reader = Victim::start(&kit.world, "pipe.read.publish", move |me| {
        ignore(kit.read(me, 4096, Blocking::No));
    })
    .unwrap();
    let got = kit.write(&kit.world.enter(), b"fits in any case", Blocking::No);
    reader.resume();
    assert_eq!(got, Ok(16));
}

/// A write of more than a page merges its odd bytes into the last buffer first: a reader that
/// comes between that and the new head sees them alone. (Longer than PIPE_BUF, so POSIX allows it.)
#[test]
#[should_panic(expected = "read of")] // the merged part of a long write, before the rest
fn a_write_is_seen_all_at_once() {
    let kit = kit(16);
    kit.prepare(16, &[100], 0);
    let writer = Victim::start(&kit.world, "pipe.write.publish", move |me| {
        ignore(kit.write(me, &[7; 5000], Blocking::No));
    })
    .unwrap();
    let got = kit
        .read(&kit.world.enter(), 10_000, Blocking::No)
        .unwrap()
        .len();
    writer.resume();
    assert!(got == 100 || got == 5100, "read of {got} bytes");
}
