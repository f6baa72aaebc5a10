//! Processes of several PID namespaces in one session: what each may believe of the others.

mod support;

use std::sync::atomic::Ordering::*;

use ringer_kernel::host::Host;
use ringer_kernel::sync::lock_word::OwnerId;
use ringer_kernel::sync::robust::Owners;
use ringer_kernel::task::{self, alive, proc_state, reap, Process, Task};
use support::{Others, Sleeps, TestHost, World};

const HERE: u32 = 100;
const THERE: u32 = 200;
const OWNER_DIED: u32 = 0x4000_0000;

/// By number everybody is dead: whoever is asked for by number is found out.
fn world() -> World {
    World::new(TestHost::new(Sleeps::ForEver, Others::Gone))
}

struct Foreigner {
    slot: u32,
    p: &'static Process,
}

impl Foreigner {
    /// A process of the other namespace, number 7 there.
    fn new(world: &World) -> Foreigner {
        world.host.namespace.store(THERE, SeqCst);
        let claimed = task::claim_process(world.arena, world.host, proc_state::LIVE, 7, 0, 0);
        world.host.namespace.store(HERE, SeqCst);
        let (slot, p) = claimed.unwrap();
        Foreigner { slot, p }
    }

    fn thread(&self, world: &World, tid: u32) -> (&'static Task, OwnerId) {
        world.host.namespace.store(THERE, SeqCst);
        let claimed = task::claim_task(world.arena, world.host, self.slot, 7, tid, 0);
        world.host.namespace.store(HERE, SeqCst);
        let (slot, owner) = claimed.unwrap();
        (task::task(world.arena, slot).unwrap(), owner)
    }

    fn is_gone(&self, world: &World) -> bool {
        task::process_is_gone(world.arena, world.host, self.slot, self.p)
    }
}

fn live(task: &Task) {
    task.life.store(task.tid.load(SeqCst), SeqCst);
}

/// As the kernel does.
fn die(task: &Task) {
    task.life.fetch_or(OWNER_DIED, SeqCst);
}

#[test]
fn a_number_is_that_of_ones_own_namespace() {
    let world = world();
    let other = Foreigner::new(&world);
    let find = || task::find_process(world.arena, world.host, 7).map(|found| found.0);
    assert_eq!(find(), None);
    world.host.namespace.store(THERE, SeqCst);
    assert_eq!(find(), Some(other.slot));
}

#[test]
fn a_foreign_process_is_dead_when_the_kernel_has_marked_its_threads() {
    let world = world();
    let other = Foreigner::new(&world);
    assert!(!other.is_gone(&world), "nothing is known of it");
    let (main, _) = other.thread(&world, 7);
    assert!(!other.is_gone(&world), "not registered yet");
    live(main);
    let (second, _) = other.thread(&world, 8);
    live(second);
    assert!(!other.is_gone(&world));
    die(main);
    assert!(!other.is_gone(&world), "a thread of it lives");
    die(second);
    assert!(other.is_gone(&world));
}

#[test]
fn a_thread_that_has_left_says_nothing_of_its_process() {
    let world = world();
    let other = Foreigner::new(&world);
    let (second, _) = other.thread(&world, 8);
    live(second);
    die(second);
    assert!(!other.is_gone(&world), "its main thread was never met");
}

#[test]
fn exec_ends_threads_and_no_process() {
    let world = world();
    let other = Foreigner::new(&world);
    let (main, _) = other.thread(&world, 7);
    live(main);
    other.p.state.store(proc_state::EXECING, SeqCst);
    die(main);
    assert!(!other.is_gone(&world));
    alive::goes_on_without_threads(world.arena, other.slot, other.p);
    other.p.state.store(proc_state::LIVE, SeqCst);
    assert!(!other.is_gone(&world), "the new image has met nobody yet");
}

#[test]
fn deaths_of_an_earlier_process_of_the_slot_do_not_count() {
    let world = world();
    let other = Foreigner::new(&world);
    let (main, _) = other.thread(&world, 7);
    live(main);
    die(main);
    let me = world.enter();
    reap::reap_process(world.arena, me.owner, world.host, other.slot);
    let next = Foreigner::new(&world);
    assert_eq!(next.slot, other.slot);
    assert!(!next.is_gone(&world));
}

#[test]
fn who_looks_for_the_dead_leaves_foreigners_alone() {
    let world = world();
    let other = Foreigner::new(&world);
    let me = world.enter();
    let k = world.ctx(&me);
    for _ in 0..10 {
        reap::sweep(&k, 1);
    }
    assert_eq!(other.p.state.load(SeqCst), proc_state::LIVE);
}

#[test]
fn a_foreign_owner_of_a_lock_is_dead_when_the_kernel_says_so() {
    let world = world();
    let other = Foreigner::new(&world);
    let (main, owner) = other.thread(&world, 7);
    let is_dead = || task::is_dead(world.arena, world.host, owner);
    assert!(!is_dead());
    live(main);
    assert!(!is_dead());
    die(main);
    assert!(is_dead());
}

#[test]
fn an_owner_whose_slot_is_damaged_is_not_waited_for() {
    let world = world();
    let other = Foreigner::new(&world);
    let (main, owner) = other.thread(&world, 7);
    live(main);
    let owners = task::Threads(world.arena, world.host);
    assert!(!owners.is_elsewhere(owner, || true));
    main.life.store(1, SeqCst);
    assert!(owners.is_elsewhere(owner, || true));
    assert!(
        !owners.is_elsewhere(owner, || false),
        "it is not named any more"
    );
    main.namespace.store(world.host.namespace(), SeqCst);
    assert!(owners.is_elsewhere(owner, || true));
}
