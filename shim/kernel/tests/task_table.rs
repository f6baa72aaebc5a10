//! Slots of threads and processes: claims, deaths, names that went stale.

mod support;

use std::sync::atomic::Ordering::*;
use std::sync::Barrier;
use std::thread;

use ringer_kernel::arena::layout;
use ringer_kernel::file::{self, fd_table, End};
use ringer_kernel::sync::lock_word::OwnerId;
use ringer_kernel::task::{self, proc_state, reap, task_state};
use support::{Me, Others, Sleeps, TestHost, World};

fn world(others: Others) -> World {
    World::new(TestHost::new(Sleeps::ForEver, others))
}

fn claim(world: &World, tid: u32) -> (u32, OwnerId) {
    task::claim_task(world.arena, world.host, 1, 1, tid, 0).unwrap()
}

fn is_dead(world: &World, owner: OwnerId) -> bool {
    task::is_dead(world.arena, world.host, owner)
}

#[test]
fn a_slot_is_used_again_under_another_name() {
    let world = world(Others::Live);
    let first = world.enter();
    assert!(!is_dead(&world, first.owner));
    first.die();
    assert!(is_dead(&world, first.owner), "the kernel has marked it");
    let second = world.enter();
    assert!(std::ptr::eq(first.task, second.task));
    assert_ne!(first.owner, second.owner);
    assert!(is_dead(&world, first.owner) && !is_dead(&world, second.owner));
    assert!(task::task_of(world.arena, first.owner).is_none());
    assert!(task::task_of(world.arena, second.owner).is_some());
}

#[test]
fn a_slot_that_was_given_back_is_used_again() {
    let world = world(Others::Live);
    let first = world.enter();
    task::release_task(world.arena, first.task);
    let second = world.enter();
    assert!(std::ptr::eq(first.task, second.task));
    assert!(is_dead(&world, first.owner));
}

#[test]
fn a_thread_without_a_life_word_is_asked_of_the_kernel() {
    let world = world(Others::Live);
    let (slot, owner) = claim(&world, 77);
    assert!(!is_dead(&world, owner));
    world.host.bury(77);
    assert!(is_dead(&world, owner));
    // It is the last resort of a claim: free slots come first.
    let (other, _) = claim(&world, 78);
    assert_ne!(other, slot);
    fill_up(&world);
    let (again, new) = claim(&world, 79);
    assert_eq!(again, slot);
    assert_ne!(new, owner);
}

/// Every slot is a living thread's, but those that are marked otherwise already.
fn fill_up(world: &World) {
    for slot in 1..layout::MAX_TASKS {
        let task = task::task(world.arena, slot).unwrap();
        if task.state.load(SeqCst) == task_state::FREE {
            task.state.store(task_state::LIVE, SeqCst);
            task.life.store(1, SeqCst);
        }
    }
}

#[test]
fn a_full_table_is_said_so() {
    let world = world(Others::Live);
    let me = world.enter();
    fill_up(&world);
    assert!(task::claim_task(world.arena, world.host, 1, 1, 5, 0).is_none());
    me.die();
    assert!(task::claim_task(world.arena, world.host, 1, 1, 5, 0).is_some());
}

#[test]
fn generations_go_round_and_never_give_the_name_0() {
    let world = world(Others::Live);
    let mut names = Vec::new();
    for _ in 0..40_000 {
        let me = world.enter();
        assert_ne!(me.owner.raw() >> 15, 0);
        names.push(me.owner.raw());
        me.die();
    }
    assert!(names.windows(2).all(|w| w[0] != w[1]));
    assert_eq!(names[0], names[32_767], "15 bits of generation, without 0");
}

#[test]
fn a_claim_that_was_never_finished_blocks_its_slot_only() {
    let world = world(Others::Gone);
    let task = task::task(world.arena, 1).unwrap();
    task.generation.store(1 << 31 | 5, SeqCst); // C2
    assert_eq!(claim(&world, 1).0, 2);
    assert!(is_dead(&world, OwnerId::from_raw(4 << 15 | 1).unwrap()));
}

#[test]
fn threads_that_come_at_once_get_different_slots() {
    let world = world(Others::Live);
    let barrier = Barrier::new(4);
    for _ in 0..3000 {
        let mine: Vec<Me> = thread::scope(|s| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    s.spawn(|| {
                        barrier.wait();
                        world.enter()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        for me in &mine {
            assert!(!is_dead(&world, me.owner), "two were given one slot");
            assert_eq!(me.task.tid.load(SeqCst), me.tid);
        }
        mine.iter().for_each(Me::die);
    }
}

#[test]
fn what_a_thread_counted_is_added_to_its_process() {
    let world = world(Others::Live);
    let process = task::process(world.arena, 1).unwrap();
    let (first, second) = (world.enter(), world.enter());
    first.task.by_hook.store(5, SeqCst);
    second.task.by_hook.store(7, SeqCst);
    second.task.slept_tsc.store(u64::MAX, SeqCst);
    task::release_task(world.arena, first.task);
    assert_eq!(process.by_hook.load(SeqCst), 5);
    second.die();
    world.enter();
    world.enter(); // takes the dead one's slot
    assert_eq!(process.by_hook.load(SeqCst), 12);
}

#[test]
fn a_process_is_found_while_it_lives() {
    let world = world(Others::Live);
    let (arena, host) = (world.arena, world.host);
    let me = world.enter();
    let claim = |state, pid| task::claim_process(arena, host, state, pid, 1, 0).unwrap();
    let (slot, p) = claim(proc_state::LIVE, 4711);
    let (announced, _) = claim(proc_state::ANNOUNCED, 0);
    assert_ne!(slot, announced);
    assert_eq!(
        task::find_process(arena, host, 4711).map(|f| f.0),
        Some(slot)
    );
    p.state.store(proc_state::EXECING, SeqCst);
    assert_eq!(
        task::find_process(arena, host, 4711).map(|f| f.0),
        Some(slot)
    );
    assert!(!task::process_is_gone(arena, host, slot, p));
    host.bury(4711);
    assert!(task::process_is_gone(arena, host, slot, p));
    task::retire_process(arena, me.owner, host, p);
    assert!(task::find_process(arena, host, 4711).is_none());
    assert_eq!(claim(proc_state::LIVE, 4712).0, slot);
    p.set_comm(b"a-name-of-more-than-fifteen-bytes");
    assert_eq!(&p.comm(), b"a-name-of-more-\0");
}

#[test]
fn a_dead_process_with_descriptors_is_not_claimed_before_it_is_reaped() {
    let world = world(Others::Live);
    let (slot, p) =
        task::claim_process(world.arena, world.host, proc_state::LIVE, 1, 0, 0).unwrap();
    p.fd_count.store(1, SeqCst);
    p.state.store(proc_state::DEAD, SeqCst);
    let next = task::claim_process(world.arena, world.host, proc_state::LIVE, 2, 0, 0).unwrap();
    assert_ne!(next.0, slot);
}

/// The supervisor looks at a dead process, which has left in order, and whose slot is a new one's
/// before the supervisor gets any further.
#[test]
fn a_late_reaper_spares_the_slots_next_process() {
    let world = world(Others::Live);
    let (arena, host, me) = (world.arena, world.host, world.enter());
    let k = world.ctx(&me);
    let pair = world.pipe(&me, 16);
    let claim = || task::claim_process(arena, host, proc_state::LIVE, 5, 0, 0).unwrap();
    let (slot, p) = claim();
    let generation = p.generation.load(SeqCst);
    task::retire_process(arena, me.owner, host, p);
    assert_eq!(claim().0, slot);
    fd_table::install(arena, me.owner, host, p, 3, pair.read_file).unwrap();
    reap::reap_if(&k, slot, generation);
    assert_eq!(p.state.load(SeqCst), proc_state::LIVE);
    assert_eq!(fd_table::slot_of(arena, p, 3), pair.read_file);
    reap::reap_if(&k, slot, p.generation.load(SeqCst));
    assert_eq!(p.state.load(SeqCst), proc_state::DEAD);
}

/// Several reap a process at once, one of them dies at it, and the slot is claimed again at once.
#[test]
fn reapers_do_not_get_into_each_others_way() {
    let world = world(Others::Live);
    let (arena, host, me) = (world.arena, world.host, world.enter());
    let pair = world.pipe(&me, 16);
    for _ in 0..300 {
        let (slot, p) = task::claim_process(arena, host, proc_state::LIVE, 5, 0, 0).unwrap();
        for fd in 0..20 {
            let file = file::new_file(arena, me.owner, host, pair.slot, End::Read, 0).unwrap();
            fd_table::install(arena, me.owner, host, p, fd, file).unwrap();
        }
        let dead = world.enter();
        dead.die();
        p.fd_lock.word.store(dead.owner.raw(), SeqCst);
        let generation = p.generation.load(SeqCst);
        thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    let me = world.enter();
                    reap::reap_if(&world.ctx(&me), slot, generation);
                    let next = task::claim_process(arena, host, proc_state::LIVE, 6, 0, 0).unwrap();
                    thread::yield_now();
                    assert_eq!(next.1.state.load(SeqCst), proc_state::LIVE);
                    task::retire_process(arena, me.owner, host, next.1);
                    me.die();
                });
            }
        });
        assert_eq!(pair.pipe.readers.load(SeqCst), 1);
        assert_eq!(p.fd_lock.word.load(SeqCst), 0);
    }
}
