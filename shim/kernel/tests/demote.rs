//! Moving a pipe to the kernel, and its twin's tokens.

mod support;

use std::sync::atomic::Ordering::*;
use std::thread;

use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::file::End;
use ringer_kernel::pipe::mode;
use ringer_kernel::pipe::watch::{self, watched, Side};
use ringer_kernel::sys::Blocking;
use support::kit::Kit;
use support::{Others, Sleeps, TestHost, Watchdog, World};

fn kit(slots: u32) -> Kit {
    Kit::new(
        World::new(TestHost::new(Sleeps::ForEver, Others::Live)),
        slots,
    )
}

fn mode_of(kit: &Kit) -> u32 {
    kit.pair.pipe.mode.load(SeqCst)
}

#[test]
fn every_byte_and_every_packets_bounds_go_over() {
    let kit = kit(16);
    let model = kit.prepare(16, &[-10, -4096, 5000, 300], 0);
    assert_eq!(kit.demote(&kit.me), Ok(10 + 4096 + 5300));
    assert_eq!(mode_of(&kit), mode::KERNEL);
    let slots = kit.kernel.slots();
    assert_eq!(
        slots.iter().map(|s| (s.0.len(), s.1)).collect::<Vec<_>>(),
        [(10, true), (4096, true), (4096, false), (1204, false)]
    );
    assert!(kit.kernel.bytes() == model.contents());
    assert_eq!(kit.demote(&kit.me), Err(SysError::Demoted), "once");
    assert_eq!(
        kit.write(&kit.me, b"x", Blocking::No),
        Err(SysError::Demoted)
    );
    assert_eq!(kit.read(&kit.me, 1, Blocking::No), Err(SysError::Demoted));
    assert_eq!(kit.queued(&kit.me), Err(SysError::Demoted));
    assert_eq!(kit.resize(&kit.me, 4), Err(SysError::Demoted));
    assert!(kit.pair.pipe.looks_empty());
    assert_eq!(kit.world.arena.header().demotions.load(SeqCst), 1);
}

#[test]
fn what_was_half_read_goes_over_from_there() {
    let kit = kit(16);
    let model = kit.prepare(16, &[4000, 4000], 3000);
    assert_eq!(kit.demote(&kit.me), Ok(5000));
    assert!(kit.kernel.bytes() == model.contents());
    assert_eq!(
        kit.kernel.dropped(),
        3000,
        "the page is as full as it was: what was read keeps its place"
    );
}

#[test]
fn a_twin_that_takes_nothing_leaves_the_pipe_a_ring() {
    let kit = kit(16);
    let model = kit.prepare(16, &[5000], 0);
    watch::watch(&kit.world.ctx(&kit.me), kit.pair.pipe, kit.kernel, 0);
    assert_eq!(kit.kernel.tokens(), 1);
    kit.kernel.refuse_from(Some(0));
    assert_eq!(kit.demote(&kit.me), Err(SysError::Errno(Errno::EIO)));
    assert_eq!(mode_of(&kit), mode::RING);
    assert_eq!(kit.kernel.tokens(), 1, "pollers still see what is there");
    assert!(kit.drain(&kit.me) == model.contents());
}

#[test]
fn a_twin_that_takes_a_part_gets_the_rest_later() {
    let kit = kit(16);
    let model = kit.prepare(16, &[20_000], 10);
    kit.kernel.refuse_from(Some(2));
    assert_eq!(kit.demote(&kit.me), Err(SysError::Errno(Errno::EIO)));
    assert_eq!(mode_of(&kit), mode::DEMOTING);
    assert_eq!(kit.read(&kit.me, 1, Blocking::No), Err(SysError::Demoted));
    kit.kernel.refuse_from(None);
    assert!(kit.demote(&kit.me).is_ok());
    assert_eq!(mode_of(&kit), mode::KERNEL);
    assert!(kit.kernel.bytes() == model.contents());
}

#[test]
fn tokens_are_taken_out_before_bytes_go_in() {
    let kit = kit(4);
    let twin = kit.kernel;
    twin.resize(4);
    watch::watch(&kit.world.ctx(&kit.me), kit.pair.pipe, twin, 0);
    kit.prepare(4, &[16_384], 0);
    watch::reconcile(
        &kit.world.ctx(&kit.me),
        watch::known(kit.pair.pipe),
        twin,
        Side::Writer,
    );
    assert_eq!((twin.tokens(), twin.readiness()), (4, (true, false)));
    assert_eq!(kit.demote(&kit.me), Ok(16_384));
    assert_eq!((twin.tokens(), kit.pair.pipe.tokens.load(SeqCst)), (0, 0));
    watch::reconcile(
        &kit.world.ctx(&kit.me),
        watch::known(kit.pair.pipe),
        twin,
        Side::Both,
    );
    assert_eq!(
        twin.tokens(),
        0,
        "nobody mirrors a pipe that is the kernel's"
    );
}

#[test]
fn sleepers_on_both_sides_are_sent_to_the_kernel() {
    let _watchdog = Watchdog::step("sleepers_on_both_sides_are_sent_to_the_kernel");
    for end in [End::Read, End::Write] {
        let kit = kit(1);
        if end == End::Write {
            kit.prepare(1, &[4096], 0);
        }
        let sleepers: Vec<_> = (0..3)
            .map(|_| {
                thread::spawn(move || match end {
                    End::Read => kit
                        .read(&kit.world.enter(), 10, Blocking::Yes)
                        .map(|b| b.len()),
                    End::Write => kit.write(&kit.world.enter(), b"x", Blocking::Yes),
                })
            })
            .collect();
        let p = kit.pair.pipe;
        let queue = if end == End::Read {
            &p.rd_wait
        } else {
            &p.wr_wait
        };
        while queue.sleepers.load(SeqCst) < 3 {
            thread::yield_now();
        }
        kit.demote(&kit.me).unwrap();
        for thread in sleepers {
            assert_eq!(thread.join().unwrap(), Err(SysError::Demoted));
        }
    }
}

/// C1 of `watch`: the count is made anew when its keeper died.
#[test]
fn tokens_of_a_dead_keeper_are_counted_anew() {
    let kit = kit(16);
    let k = kit.world.ctx(&kit.me);
    let (p, twin) = (kit.pair.pipe, kit.kernel);
    watch::watch(&k, p, twin, 0);
    kit.prepare(16, &[10], 0);
    watch::reconcile(&k, watch::known(p), twin, Side::Writer);
    assert_eq!((twin.tokens(), p.tokens.load(SeqCst)), (1, 1));
    let dead = kit.world.enter();
    dead.die();
    p.token_lock.word.store(dead.owner.raw(), SeqCst);
    p.tokens.store(0, SeqCst); // it had put the token in, and had not counted it
    watch::reconcile(&k, watch::known(p), twin, Side::Writer);
    assert_eq!((twin.tokens(), p.tokens.load(SeqCst)), (1, 1));
}

#[test]
fn pokes_are_made_where_they_are_wanted() {
    let kit = kit(16);
    let k = kit.world.ctx(&kit.me);
    let (p, twin) = (kit.pair.pipe, kit.kernel);
    watch::watch(&k, p, twin, watched::WRITES);
    let step = |side| {
        let before = twin.pokes();
        watch::reconcile(&k, watch::known(p), twin, side);
        twin.pokes() - before
    };
    kit.prepare(16, &[10], 0);
    assert_eq!(step(Side::Writer), 0, "a token moved: the kernel told it");
    assert_eq!(step(Side::Writer), 1, "none moved");
    assert_eq!(step(Side::Reader), 0, "nobody wants to know of reads");
    watch::watch(&k, p, twin, watched::READS);
    assert_eq!(step(Side::Reader), 1);
}
