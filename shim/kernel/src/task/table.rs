//! Finding, claiming and giving back the slots of processes and threads.
//!
//! # Crash points
//!
//! - C1. Killed after a process's slot is CLAIMED and before it is filled in: the slot leaks.
//! - C2. Killed between CLAIMING and the new generation: the thread's slot leaks.

use super::alive;
use super::process::{proc_state, Process};
use super::thread::{task_state, Task};
use crate::arena::{layout, pages, Arena};
use crate::host::Host;
use crate::sync::atomic::{fence, Ordering::*};
use crate::sync::lock_word::OwnerId;

/// Bits of an [`OwnerId`] that number the slot; the rest is its generation.
pub(super) const SLOT_BITS: u32 = 15;
pub(super) const GENERATIONS: u32 = 1 << (30 - SLOT_BITS);
/// In a thread's `generation`: somebody is filling the slot in, so it is nobody else's to claim.
const CLAIMING: u32 = 1 << 31;

const _: () = assert!(layout::MAX_TASKS <= 1 << SLOT_BITS);

#[inline]
pub fn process(arena: &Arena, slot: u32) -> Option<&'static Process> {
    arena.slot(layout::PROCS, layout::MAX_PROCS, slot)
}

#[inline]
pub fn task(arena: &Arena, slot: u32) -> Option<&'static Task> {
    arena.slot(layout::TASKS, layout::MAX_TASKS, slot)
}

/// The slot of the thread that a lock word names.
#[inline(always)]
pub fn slot_of(owner: OwnerId) -> u32 {
    owner.raw() & ((1 << SLOT_BITS) - 1)
}

/// The thread that a lock word or a witness names. `None`: it is gone, its slot is another's.
#[inline(always)]
pub fn task_of(arena: &Arena, owner: OwnerId) -> Option<&'static Task> {
    let task = task(arena, slot_of(owner))?;
    let generation = task.generation.load(Relaxed) % GENERATIONS;
    (generation == owner.raw() >> SLOT_BITS).then_some(task)
}

/// A slot for a new thread of process `process`. `None`: the table is full, or /dev/shm.
///
/// The caller has no identity yet, so the table is claimed by compare-and-swap, not by a lock.
pub fn claim_task(
    arena: &Arena,
    host: &impl Host,
    process: u32,
    pid: u32,
    tid: u32,
    start: u64,
) -> Option<(u32, OwnerId)> {
    let h = arena.header();
    let who = (process, pid, tid, start);
    // Twice: first only what is free or marked dead by the kernel, then what must be asked for.
    for thorough in [false, true] {
        let mut slot = 1;
        while slot < layout::MAX_TASKS
            && pages::make::<Task>(arena, host, layout::TASKS, &h.tasks_made, slot)
        {
            if let Some(owner) = claim_slot(arena, host, slot, thorough, who) {
                h.tasks_used.fetch_max(slot + 1, Relaxed);
                return Some((slot, owner));
            }
            slot += 1;
        }
    }
    None
}

/// Slot 0, which is no thread's: for one that got none, as long as it takes to hand its process's
/// pipes to the kernel. Then it must be given back ([`release_task`]). `None`: another one has it.
pub fn claim_spare(arena: &Arena, host: &impl Host, pid: u32, tid: u32) -> Option<OwnerId> {
    let made = &arena.header().tasks_made;
    if !pages::make::<Task>(arena, host, layout::TASKS, made, 0) {
        return None;
    }
    claim_slot(arena, host, 0, true, (0, pid, tid, 0))
}

/// Claims this slot, if it is free or its thread is dead.
fn claim_slot(
    arena: &Arena,
    host: &impl Host,
    slot: u32,
    thorough: bool,
    (process, pid, tid, start): (u32, u32, u32, u64),
) -> Option<OwnerId> {
    let task = task(arena, slot)?;
    // Before the look at `state` and `life`: if the slot is claimed after that look, the
    // exchange below fails. (Pairs with the Release at the end of a claim.)
    let generation = task.generation.load(Acquire);
    let state = task.state.load(Acquire);
    let reusable = match state {
        task_state::FREE => true,
        _ if task.kernel_says_dead() => true,
        _ => thorough && task.life.load(Relaxed) == 0 && alive::thread_is_gone(host, task),
    };
    if !reusable || generation & CLAIMING != 0 {
        return None;
    }
    let mut next = (generation % GENERATIONS + 1) % GENERATIONS;
    if next == 0 {
        next = 1;
    }
    // The generation is what makes the slot ours, and every old name of it stale.
    task.generation
        .compare_exchange(generation, next | CLAIMING, AcqRel, Relaxed)
        .ok()?;
    fold_counters(arena, task);
    task.pid.store(pid, Relaxed);
    task.tid.store(tid, Relaxed);
    task.process.store(process, Relaxed);
    let of = self::process(arena, process).map_or(0, |p| p.generation.load(Relaxed));
    task.process_generation.store(of, Relaxed);
    task.namespace.store(host.namespace(), Relaxed);
    task.start.store(start, Relaxed);
    task.ring.store(0, Relaxed);
    task.waits_for.store(0, Relaxed);
    task.linger.store(0, Relaxed);
    task.holds.store(0, Relaxed);
    task.life.store(0, Relaxed);
    task.state.store(task_state::LIVE, Relaxed);
    task.generation.store(next, Release); // C2; whole from here on
    OwnerId::from_raw(next << SLOT_BITS | slot)
}

/// Adds what a dead thread counted to its process.
fn fold_counters(arena: &Arena, task: &Task) {
    let process = process(arena, task.process.load(Relaxed));
    for (from, to) in [
        (&task.by_hook, process.map(|p| &p.by_hook)),
        (&task.by_trap, process.map(|p| &p.by_trap)),
        (&task.passed, process.map(|p| &p.passed)),
        (&task.sleeps, process.map(|p| &p.sleeps)),
        (&task.slept_tsc, process.map(|p| &p.slept_tsc)),
    ] {
        let n = from.swap(0, Relaxed);
        if let Some(to) = to {
            to.fetch_add(n, Relaxed);
        }
    }
}

/// Gives a thread's slot back, by itself or by whoever found it dead.
pub fn release_task(arena: &Arena, task: &Task) {
    fold_counters(arena, task);
    task.state.store(task_state::FREE, Release);
}

/// The live slot of process `pid` of the caller's PID namespace, if it has one.
pub fn find_process(arena: &Arena, host: &impl Host, pid: u32) -> Option<(u32, &'static Process)> {
    let used = arena
        .header()
        .procs_used
        .load(Relaxed)
        .min(layout::MAX_PROCS);
    (1..used).find_map(|slot| {
        let p = process(arena, slot)?;
        let state = p.state.load(Acquire);
        let live = matches!(state, proc_state::LIVE | proc_state::EXECING);
        let is_it = live && p.pid.load(Acquire) == pid;
        (is_it && !alive::is_foreign(host, &p.namespace)).then_some((slot, p))
    })
}

/// The process of thread `tid` of the caller's PID namespace, if it has a slot.
pub fn process_of_thread(arena: &Arena, host: &impl Host, tid: u32) -> Option<&'static Process> {
    let used = arena.header().tasks_used.load(Relaxed);
    let found = (1..used.min(layout::MAX_TASKS))
        .filter_map(|slot| task(arena, slot))
        .find(|t| {
            let lives = t.state.load(Acquire) == task_state::LIVE && !t.kernel_says_dead();
            lives && t.tid.load(Relaxed) == tid && !alive::is_foreign(host, &t.namespace)
        });
    process(arena, found?.process.load(Relaxed))
}

/// Whether process `pid` of the caller's PID namespace is of the session, whatever program it runs.
pub fn has_place(arena: &Arena, host: &impl Host, pid: u32) -> bool {
    let used = arena.header().procs_used.load(Relaxed);
    (1..used.min(layout::MAX_PROCS))
        .filter_map(|slot| process(arena, slot))
        .any(|p| {
            let state = p.state.load(Acquire);
            let lives = matches!(state, proc_state::LIVE..=proc_state::UNSHIMMED);
            lives && p.pid.load(Acquire) == pid && !alive::is_foreign(host, &p.namespace)
        })
}

/// All processes that run a program.
pub fn live_processes(arena: &Arena) -> impl Iterator<Item = &'static Process> + '_ {
    let used = arena.header().procs_used.load(Relaxed);
    (1..used.min(layout::MAX_PROCS))
        .filter_map(move |slot| process(arena, slot))
        .filter(|p| p.state.load(Acquire) == proc_state::LIVE)
}

/// All processes that are between two programs, and have their numbers from this namespace.
pub fn execing_processes<'a>(
    arena: &'a Arena,
    host: &'a impl Host,
) -> impl Iterator<Item = &'static Process> + 'a {
    let used = arena.header().procs_used.load(Relaxed);
    (1..used.min(layout::MAX_PROCS))
        .filter_map(move |slot| process(arena, slot))
        .filter(move |p| p.state.load(Acquire) == proc_state::EXECING)
        .filter(move |p| !alive::is_foreign(host, &p.namespace))
}

/// Other slots that process `pid` of the namespace has, or is about to have.
fn twins(
    arena: &Arena,
    namespace: u32,
    slot: u32,
    pid: u32,
) -> impl Iterator<Item = &'static Process> + '_ {
    let used = arena.header().procs_used.load(Relaxed);
    (1..used.min(layout::MAX_PROCS))
        .filter(move |&s| s != slot)
        .filter_map(move |s| process(arena, s))
        .filter(move |p| (p.pid.load(Relaxed), p.namespace.load(Relaxed)) == (pid, namespace))
}

/// A spawned process may get a place from its parent (`EXECING`) and from itself (`LIVE`) at the
/// same time. Each publishes its own, then looks for the other's: so at least one of them sees
/// both, and the parent's goes. This is the parent's look.
///
/// ```text
/// parent                          child
/// slot a = EXECING                slot b = LIVE
/// fence                           fence
/// b there? a = DEAD               a there? a = DEAD
/// ```
pub fn yield_to_twin(arena: &Arena, host: &impl Host, slot: u32, pid: u32) {
    fence(SeqCst); // pairs with `replace_twin`
    let Some(mine) = process(arena, slot) else {
        return;
    };
    let there = twins(arena, host.namespace(), slot, pid).any(|p| {
        let state = p.state.load(Acquire);
        matches!(state, proc_state::LIVE | proc_state::EXECING)
    });
    if there {
        withdraw(mine);
    }
}

/// The child's look: see [`yield_to_twin`].
pub fn replace_twin(arena: &Arena, host: &impl Host, slot: u32, pid: u32) {
    fence(SeqCst); // pairs with `yield_to_twin`
    twins(arena, host.namespace(), slot, pid).for_each(withdraw);
}

/// A place that nothing was ever done in is free again.
fn withdraw(p: &Process) {
    let (from, to) = (proc_state::EXECING, proc_state::DEAD);
    let _ = p.state.compare_exchange(from, to, AcqRel, Relaxed);
}

/// A slot for a process. `None`: the table is full, or /dev/shm.
///
/// (Claimed by compare-and-swap: the caller may have no identity yet.)
pub fn claim_process(
    arena: &Arena,
    host: &impl Host,
    state: u32,
    pid: u32,
    parent: u32,
    start: u64,
) -> Option<(u32, &'static Process)> {
    let h = arena.header();
    let mut slot = 1;
    while slot < layout::MAX_PROCS
        && pages::make::<Process>(arena, host, layout::PROCS, &h.procs_made, slot)
    {
        let p = process(arena, slot)?;
        let seen = p.state.load(Acquire);
        if matches!(seen, proc_state::FREE | proc_state::DEAD)
            && p.fd_count.load(Relaxed) == 0
            && p.state
                .compare_exchange(seen, proc_state::CLAIMED, AcqRel, Relaxed)
                .is_ok()
        {
            p.generation.fetch_add(1, Relaxed);
            p.pid.store(pid, Relaxed);
            p.namespace.store(host.namespace(), Relaxed);
            p.ppid.store(0, Relaxed);
            p.parent.store(parent, Relaxed);
            p.start.store(start, Relaxed);
            p.exit_status.store(0, Relaxed);
            p.polls.store(0, Relaxed);
            p.stops.reset();
            for counter in [
                &p.by_hook,
                &p.by_trap,
                &p.passed,
                &p.sleeps,
                &p.slept_tsc,
                &p.demoted,
            ] {
                counter.store(0, Relaxed);
            }
            crate::signal::state::close(&p.signals);
            p.started_tsc.store(host.tsc(), Relaxed);
            p.ended_tsc.store(0, Relaxed);
            p.state.store(state, Release); // whole from here on
            h.procs_used.fetch_max(slot + 1, Relaxed);
            h.proc_events.fetch_add(1, Release);
            return Some((slot, p));
        }
        slot += 1;
    }
    None
}

/// Marks a process dead. Its descriptors must have been closed before. The generation goes first:
/// a late reaper must not take the slot's next process for this one.
pub fn retire_process(arena: &Arena, me: OwnerId, host: &impl Host, p: &Process) {
    if let Some(dir) = crate::arena::Off::from_raw(p.fd_dir.swap(0, AcqRel)) {
        crate::file::fd_table::free_blocks(arena, me, host, dir);
    }
    p.fd_high.store(0, Relaxed);
    p.fd_count.store(0, Relaxed);
    if p.signals.has_memory() {
        crate::signal::state::free_all(arena, me, host, &p.signals);
    }
    p.signals.sent_key.store(0, Relaxed);
    p.ended_tsc.store(host.tsc(), Relaxed);
    p.generation.fetch_add(1, Release);
    p.state.store(proc_state::DEAD, Release); // pairs with `claim_process` and `reap_if`
    arena.header().proc_events.fetch_add(1, Release);
}
