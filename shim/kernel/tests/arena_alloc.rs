//! Blocks of the heap: sizes, reuse, exhaustion, deaths.

mod support;

use std::collections::HashMap;
use std::sync::atomic::Ordering::*;
use std::thread;

use proptest::prelude::*;
use ringer_kernel::abi::Errno;
use ringer_kernel::arena::header::Unusable;
use ringer_kernel::arena::{alloc, layout, Off};
use ringer_kernel::sync::atomic::AtomicU32;
use support::pattern::Rng;
use support::{Me, Others, Sleeps, TestHost, World};

fn world() -> (World, Me) {
    let world = World::new(TestHost::new(Sleeps::ForEver, Others::Live));
    (world, world.enter())
}

fn get(world: &World, me: &Me, len: usize) -> Result<Off<u8>, Errno> {
    alloc::alloc(world.arena, me.owner, world.host, len)
}

fn give(world: &World, me: &Me, block: Off<u8>, len: usize) {
    alloc::free(world.arena, me.owner, world.host, block, len);
}

#[test]
fn a_block_is_the_next_power_of_two_and_at_least_a_cache_line() {
    assert_eq!(alloc::shift_for(0), Some(6));
    assert_eq!(alloc::shift_for(64), Some(6));
    assert_eq!(alloc::shift_for(65), Some(7));
    assert_eq!(alloc::shift_for(4 << 20), Some(22));
    assert_eq!(alloc::shift_for((4 << 20) + 1), None);
    assert_eq!(alloc::shift_for(usize::MAX), None);
}

#[test]
fn a_freed_block_is_used_again_for_its_own_size() {
    let (world, me) = world();
    let first = get(&world, &me, 4096).unwrap();
    let other = get(&world, &me, 4096).unwrap();
    assert_ne!(first.raw(), other.raw());
    give(&world, &me, first, 4096);
    assert_ne!(get(&world, &me, 8192).unwrap().raw(), first.raw());
    assert_eq!(get(&world, &me, 3000).unwrap().raw(), first.raw());
}

#[test]
fn too_long_is_enomem() {
    let (world, me) = world();
    assert_eq!(
        get(&world, &me, (4 << 20) + 1).map(Off::raw),
        Err(Errno::ENOMEM)
    );
    assert_eq!(
        get(&world, &me, usize::MAX).map(Off::raw),
        Err(Errno::ENOMEM)
    );
}

#[test]
fn a_full_arena_is_enomem_until_something_is_freed() {
    let (world, me) = world();
    let mut blocks = Vec::new();
    let error = loop {
        match get(&world, &me, 4 << 20) {
            Ok(block) => blocks.push(block),
            Err(e) => break e,
        }
    };
    assert_eq!(error, Errno::ENOMEM);
    assert_eq!(blocks.len(), (layout::ARENA_BYTES - layout::HEAP) >> 22);
    assert_eq!(get(&world, &me, 64).map(Off::raw), Err(Errno::ENOMEM));
    let last = blocks.pop().unwrap();
    give(&world, &me, last, 4 << 20);
    assert_eq!(get(&world, &me, 4 << 20).unwrap().raw(), last.raw());
}

#[test]
fn a_full_file_system_is_enomem_and_costs_nothing() {
    let (world, me) = world();
    world.host.memory.store(64 * 1024, SeqCst);
    let mut got = 0;
    while get(&world, &me, 4096).is_ok() {
        got += 1;
    }
    assert_eq!(got, 16, "the heap's pages are made in steps of 64 KiB");
    let before = world.arena.header().bump.load(SeqCst);
    assert_eq!(get(&world, &me, 64).map(Off::raw), Err(Errno::ENOMEM));
    assert_eq!(world.arena.header().bump.load(SeqCst), before);
    world.host.memory.store(u64::MAX, SeqCst);
    assert!(get(&world, &me, 4096).is_ok());
}

/// The list's link must not be written to a page that does not exist.
#[test]
fn a_block_whose_pages_can_not_be_made_is_not_linked() {
    let (world, me) = world();
    let header = world.arena.header();
    let make = || alloc::alloc_made(world.arena, me.owner, world.host, 1 << 20).map(Off::raw);
    // Not even one page: as if nothing had been asked for.
    world.host.memory.store(0, SeqCst);
    let (bump, lists) = (header.bump.load(SeqCst), header.free_lists());
    assert_eq!(make(), Err(Errno::ENOMEM));
    let start = header.bump.load(SeqCst);
    assert!(start < bump.max((layout::HEAP / 64) as u32) + (1 << 20) / 64);
    assert_eq!(header.free_lists(), lists);
    assert_eq!(make(), Err(Errno::ENOMEM));
    assert_eq!(header.bump.load(SeqCst), start, "no addresses are lost");
    // The first page can be had: the block is on its list, for the next one who tries.
    world.host.memory.store(8192, SeqCst);
    assert_eq!(make(), Err(Errno::ENOMEM));
    assert_eq!(world.host.memory.load(SeqCst), 4096);
    world.host.memory.store(u64::MAX, SeqCst);
    assert_eq!(make(), Ok(start));
}

#[test]
fn a_dead_owner_of_the_lock_is_replaced() {
    let (world, me) = world();
    let dead = world.enter();
    dead.die();
    let header = world.arena.header();
    header.lock.word.store(dead.owner.raw(), SeqCst);
    assert!(get(&world, &me, 100).is_ok());
    assert_eq!(header.lock.word.load(SeqCst), 0);
    assert_eq!(header.orphaned.load(SeqCst), 1);
}

/// C1 and C2: the lists are whole whichever of the two stores was the last.
#[test]
fn a_death_between_the_two_stores_costs_one_block() {
    let (world, me) = world();
    let (arena, lists) = (world.arena, &world.arena.header().free);
    let class = (alloc::shift_for(4096).unwrap() - alloc::MIN_SHIFT) as usize;
    let blocks: Vec<_> = (0..4).map(|_| get(&world, &me, 4096).unwrap()).collect();
    give(&world, &me, blocks[0], 4096);
    give(&world, &me, blocks[1], 4096);
    // C2: blocks[2] has its link, and the list does not know of it.
    let link: &AtomicU32 = arena.get(Off::from_raw(blocks[2].raw()).unwrap()).unwrap();
    link.store(lists[class].load(SeqCst), SeqCst);
    // C1: blocks[1] is off the list, and nobody has it.
    lists[class].store(blocks[0].raw(), SeqCst);
    assert_eq!(get(&world, &me, 4096).unwrap().raw(), blocks[0].raw());
    let next = get(&world, &me, 4096).unwrap().raw();
    assert!(blocks.iter().all(|b| b.raw() != next));
}

#[test]
fn what_is_no_block_is_neither_taken_nor_given() {
    let (world, me) = world();
    let header = world.arena.header();
    let heap = (layout::HEAP / 64) as u32;
    let end = (layout::ARENA_BYTES / 64) as u32;
    for wild in [
        1,
        (layout::PIPES / 64) as u32,
        heap - 1,
        heap + 1,
        end,
        end - 1,
        u32::MAX,
    ] {
        let block = Off::from_raw(wild).unwrap();
        give(&world, &me, block, 4096);
        assert!(
            header.free_lists().iter().all(|&b| b == 0),
            "{wild:#x} was given"
        );
        header.free[6].store(wild, SeqCst);
        assert_eq!(
            get(&world, &me, 4096).map(Off::raw),
            Err(Errno::ENOMEM),
            "{wild:#x} was taken"
        );
        header.free[6].store(0, SeqCst);
    }
}

#[test]
fn only_the_same_build_and_layout_may_attach() {
    let (world, _) = world();
    let (header, len) = (world.arena.header(), layout::ARENA_BYTES as u64);
    assert_eq!(header.check(1, len), Ok(()));
    assert_eq!(header.check(2, len), Err(Unusable::OtherBuild));
    assert_eq!(header.check(1, len - 1), Err(Unusable::Truncated));
    header.layout_version.store(99, SeqCst);
    assert_eq!(
        header.check(1, len),
        Err(Unusable::OtherLayout { found: 99 })
    );
    header.magic.store(0, SeqCst);
    assert_eq!(header.check(1, len), Err(Unusable::NotAnArena));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn blocks_never_overlap(seed in any::<u64>()) {
        let (world, me) = world();
        let mut rng = Rng::new(seed);
        let mut held: Vec<(usize, usize)> = Vec::new();
        for _ in 0..300 {
            if rng.below(3) == 0 && !held.is_empty() {
                let (start, len) = held.swap_remove(rng.below(held.len() as u64) as usize);
                give(&world, &me, Off::from_raw((start / 64) as u32).unwrap(), len);
                continue;
            }
            let most = 1 << rng.below(20);
            let len = 1 + rng.below(most) as usize;
            let start = get(&world, &me, len).unwrap().raw() as usize * 64;
            let whole = 1usize << alloc::shift_for(len).unwrap();
            prop_assert!(start.is_multiple_of(whole) && start >= layout::HEAP);
            prop_assert!(held.iter().all(|&(s, l)| start + len <= s || s + l <= start));
            held.push((start, len));
        }
    }
}

#[test]
fn threads_never_get_the_same_block() {
    let (world, _) = world();
    let taken: Vec<u32> = thread::scope(|s| {
        let threads: Vec<_> = (0..4)
            .map(|n| {
                s.spawn(move || {
                    let (me, mut rng, mut held) = (world.enter(), Rng::new(n), HashMap::new());
                    for round in 0..4000u32 {
                        let block = get(&world, &me, 100).unwrap();
                        let word: &AtomicU32 = world
                            .arena
                            .get(Off::from_raw(block.raw()).unwrap())
                            .unwrap();
                        word.store(round << 2 | n as u32, SeqCst);
                        held.insert(block.raw(), round);
                        if rng.below(2) == 0 {
                            let (&raw, &round) = held.iter().next().unwrap();
                            held.remove(&raw);
                            let word: &AtomicU32 =
                                world.arena.get(Off::from_raw(raw).unwrap()).unwrap();
                            assert_eq!(
                                word.load(SeqCst),
                                round << 2 | n as u32,
                                "somebody else has it"
                            );
                            give(&world, &me, Off::from_raw(raw).unwrap(), 100);
                        }
                    }
                    held.into_keys().collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect()
    });
    let mut unique = taken.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), taken.len());
}
