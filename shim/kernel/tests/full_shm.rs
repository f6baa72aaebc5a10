//! No memory for the tables' pages: no slot is touched that has none.

mod support;

use std::sync::atomic::Ordering::*;

use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::arena::{layout, pages};
use ringer_kernel::eventfd::{Eventfd, Mode};
use ringer_kernel::file::{self, End};
use ringer_kernel::log::ring::{self, ring_state};
use ringer_kernel::pipe::{self, mode, Pipe};
use ringer_kernel::task::{self, proc_state};
use support::counter::Counter;
use support::host::tsc;
use support::{Me, Others, Sleeps, TestHost, World};

fn world() -> World {
    World::new(TestHost::new(Sleeps::ForEver, Others::Live))
}

/// As many pages as that, and no more.
fn leave(world: World, pages: u64) {
    world.host.memory.store(pages * 4096, SeqCst);
}

/// How often `claim` succeeds until there is no memory; a lot is too much.
fn count(mut claim: impl FnMut() -> bool) -> u32 {
    (0..100_000).take_while(|_| claim()).count() as u32
}

#[test]
fn a_new_arena_has_places_for_the_first_processes_and_threads() {
    let world = world();
    world.wipe();
    for pages in 0..3 {
        leave(world, pages);
        assert!(!pages::make_first(world.arena, world.host), "{pages}");
        world.wipe();
    }
    leave(world, 3);
    assert!(pages::make_first(world.arena, world.host));
    world.initialise(); // claims a process
    assert_eq!(world.host.memory.load(SeqCst), 0);
    let _: Me = world.enter();
    let h = world.arena.header();
    assert_eq!(h.procs_made.load(SeqCst), 16);
    assert_eq!(h.tasks_made.load(SeqCst), 32);
}

#[test]
fn threads_get_slots_as_long_as_there_are_pages() {
    let world = world();
    let claim = || task::claim_task(world.arena, world.host, 1, 1, 7, 0).is_some();
    leave(world, 2);
    assert_eq!(count(claim), 63, "two pages of 32, and slot 0 is nobody's");
    assert_eq!(world.arena.header().tasks_used.load(SeqCst), 64);
    leave(world, 1);
    assert_eq!(count(claim), 32);
}

#[test]
fn without_memory_the_slots_of_the_dead_are_found() {
    let world = world();
    leave(world, 1);
    let claim = |tid| task::claim_task(world.arena, world.host, 1, 1, tid, 0);
    assert_eq!(count(|| claim(7).is_some()), 31);
    let slot = task::task(world.arena, 9).unwrap();
    slot.tid.store(8, SeqCst);
    world.host.bury(8); // not marked by the kernel: it is asked
    assert_eq!(claim(10).map(|c| c.0), Some(9));
    assert!(claim(11).is_none());
}

#[test]
fn processes_get_slots_as_long_as_there_are_pages() {
    let world = world();
    let claim =
        || task::claim_process(world.arena, world.host, proc_state::LIVE, 1, 0, 0).is_some();
    leave(world, 1);
    assert_eq!(count(claim), 14 + 16, "one has been there, and slot 0");
    assert_eq!(world.arena.header().procs_used.load(SeqCst), 32);
}

#[test]
fn the_spare_identity_is_one_threads_at_a_time() {
    let world = world();
    let spare = |tid| task::claim_spare(world.arena, world.host, 1, tid);
    let first = spare(5).unwrap();
    assert!(!task::is_dead(world.arena, world.host, first));
    assert!(spare(6).is_none());
    task::release_task(world.arena, task::task(world.arena, 0).unwrap());
    let second = spare(6).unwrap();
    assert_ne!(first.raw(), second.raw());
    assert!(task::is_dead(world.arena, world.host, first));
    world.host.bury(6);
    assert!(spare(7).is_some(), "its holder was killed");
    assert_eq!(world.arena.header().tasks_used.load(SeqCst), 1);
}

#[test]
fn pipes_and_descriptions_get_slots_as_long_as_there_are_pages() {
    let world = world();
    let me = world.enter();
    let pair = world.pipe(&me, 16);
    let (h, k) = (world.arena.header(), world.ctx(&me));
    let create = || pipe::create(&k, 1, 2, 16, mode::RING);
    // Blocks of the heap are there: 64 KiB hold 256 of 256 bytes.
    leave(world, 1);
    let lists = h.free_lists();
    let more = count(|| create().is_ok());
    assert_eq!(h.pipes_used.load(SeqCst), 1 + 1 + more);
    assert_eq!((1 + 1 + more) as usize, 2 * 4096 / size_of::<Pipe>());
    assert_eq!(create(), Err(Errno::ENFILE));
    assert_ne!(h.free_lists(), lists, "its slots were given back");
    let live = h.pipes_live.load(SeqCst);
    assert_eq!(live, 1 + more);

    leave(world, 1);
    let new = || file::new_file(world.arena, me.owner, world.host, pair.slot, End::Read, 0);
    let before = pair.pipe.readers.load(SeqCst);
    let more = count(|| new().is_ok());
    assert_eq!(h.files_used.load(SeqCst), 2 * 4096 / 32);
    assert_eq!(new(), Err(Errno::ENFILE));
    assert_eq!(pair.pipe.readers.load(SeqCst), before + more);
}

#[test]
fn an_eventfds_slot_that_crosses_a_page_has_both() {
    const BYTES: usize = size_of::<Eventfd>();
    const _: () = assert!(!4096usize.is_multiple_of(BYTES), "no slot crosses a page");
    let world = world();
    let made = &world.arena.header().eventfds_made;
    for _ in 0..40 {
        let counter = Counter::new(world, 0, Mode::Counter);
        let made = made.load(SeqCst);
        assert!(counter.file.slot() < made);
        let pages = (made as usize * BYTES).div_ceil(4096);
        assert_eq!(made as usize, pages * 4096 / BYTES);
    }
    assert!(layout::EVENTFDS.is_multiple_of(4096));
}

#[test]
fn no_memory_for_a_ring_is_counted() {
    let world = world();
    let me = world.enter();
    let yes = |_: *mut u8, _: usize| true;
    let claim = || ring::claim(world.arena, me.owner, world.host, 1, 1, [0; 16], yes, tsc);
    leave(world, 0);
    assert!(claim().is_none());
    let h = world.arena.header();
    assert_eq!(h.unlogged.load(SeqCst), 1);
    assert_eq!(h.rings_used.load(SeqCst), 1);
    leave(world, 1);
    assert!(claim().is_some());
    assert_eq!(h.unlogged.load(SeqCst), 1);
}

/// A reader looks one record further than the dead have counted.
#[test]
fn records_that_never_had_memory_are_not_looked_at() {
    let world = world();
    let me = world.enter();
    let yes = |_: *mut u8, _: usize| true;
    let claim = ring::claim(world.arena, me.owner, world.host, 1, 1, [0; 16], yes, tsc);
    let writer = claim.unwrap();
    let head = ring::head(world.arena, writer.index()).unwrap();
    assert_eq!(head.state.load(SeqCst), ring_state::IN_USE);
    assert!(ring::read(world.arena, head, 0).is_none());
    (0..512).for_each(|_| assert_ne!(writer.put(Default::default()), 0));
    assert_eq!(head.made.load(SeqCst), 512);
    assert!(ring::read(world.arena, head, 511).is_some());
    // As if the next one had been written all the same.
    head.made.store(511, SeqCst);
    assert!(ring::read(world.arena, head, 511).is_none());
}

#[test]
fn a_ring_that_can_not_be_resized_stays_as_it_is() {
    let world = world();
    let me = world.enter();
    let pair = world.pipe(&me, 16);
    let k = world.ctx(&me);
    leave(world, 0);
    let lists = world.arena.header().free_lists();
    let resized = pipe::set_size(&k, pair.pipe, 64);
    assert_eq!(resized, Err(SysError::Errno(Errno::ENOMEM)));
    assert_eq!(pair.pipe.slots.load(SeqCst), 16);
    let now = world.arena.header().free_lists();
    let given = lists.iter().zip(now).filter(|(a, b)| **a != *b).count();
    assert_eq!(given, 1, "its slots' words, and not its data");
}
