//! Who lives, and who is dead.
//!
//! What the kernel writes into a thread's life word it writes by itself, whoever looks. Everything else is
//! asked by number, and numbers are those of a PID namespace: process 7 of a container is not
//! process 7 of another one that shares the session. So each number in the arena comes with its namespace, and who
//! is of a *foreign* one is never asked for by number, nor signalled, nor borrowed from.
//!
//! ```text
//! a foreign ...              is dead
//! owner of a lock            if the kernel has marked it; if it never could, or its slot is damaged, after a second
//! process                    if the kernel has marked its main thread, and all others that are known
//! process that execs, or     never: who is of its namespace finds out
//!   that ringer does not reach
//! ```
//!
//! A process whose namespace is not the one that the session was made in registers its main thread at
//! once, so that the kernel has something to mark. Numbers of namespaces are used again, too: a process of a namespace
//! that is gone is then looked for by its number and its start, and not found.

use super::process::{proc_state, Process};
use super::table::{task, task_of, GENERATIONS, SLOT_BITS};
use super::thread::{task_state, Task};
use crate::arena::{layout, Arena};
use crate::host::Host;
use crate::sync::atomic::{AtomicU32, Ordering::*};
use crate::sync::lock_word::OwnerId;
use crate::sync::robust::Owners;

/// Whether numbers of that namespace mean nothing to the caller.
pub fn is_foreign(host: &impl Host, namespace: &AtomicU32) -> bool {
    namespace.load(Acquire) != host.namespace()
}

/// The threads of the process in this slot that were there at any time, with their slots.
fn threads(arena: &Arena, process: u32) -> impl Iterator<Item = (u32, &'static Task)> + '_ {
    let used = arena.header().tasks_used.load(Relaxed);
    (1..used.min(layout::MAX_TASKS))
        .filter_map(move |slot| Some((slot, task(arena, slot)?)))
        .filter(move |(_, t)| t.process.load(Relaxed) == process)
}

/// A thread of the process in this slot that lives for sure.
pub fn living_thread(arena: &Arena, process: u32) -> Option<OwnerId> {
    threads(arena, process).find_map(|(slot, t)| {
        let generation = t.generation.load(Relaxed) % GENERATIONS;
        OwnerId::from_raw(generation << SLOT_BITS | slot).filter(|_| t.surely_alive())
    })
}

/// Whether a lock's owner is dead. Cheap when the kernel has marked it; otherwise the real
/// kernel is asked.
#[inline]
pub fn is_dead(arena: &Arena, host: &impl Host, owner: OwnerId) -> bool {
    let Some(task) = task_of(arena, owner) else {
        return true;
    };
    if task.surely_alive() {
        return false;
    }
    task.kernel_says_dead() || thread_is_gone(host, task) || is_nobodys(arena, host, task)
}

/// Whether the thread is said to be foreign, and is of no process that is: damage, or long gone.
fn is_nobodys(arena: &Arena, host: &impl Host, task: &Task) -> bool {
    let namespace = task.namespace.load(Relaxed);
    let has_process = || {
        super::process(arena, task.process.load(Relaxed)).is_some_and(|p| {
            let state = p.state.load(Acquire);
            let used = matches!(state, proc_state::ANNOUNCED..=proc_state::UNSHIMMED);
            used && p.namespace.load(Relaxed) == namespace
        })
    };
    is_foreign(host, &task.namespace) && !has_process()
}

/// Whether the kernel knows the thread no more. No, if it is foreign.
pub fn thread_is_gone(host: &impl Host, task: &Task) -> bool {
    let (pid, tid) = (task.pid.load(Relaxed), task.tid.load(Relaxed));
    !is_foreign(host, &task.namespace) && host.thread_is_gone(pid, tid, task.start.load(Relaxed))
}

/// Whether the thread is stopped by a signal. No, if it is foreign.
pub fn is_stopped(arena: &Arena, host: &impl Host, owner: OwnerId) -> bool {
    let task = task_of(arena, owner).filter(|t| !is_foreign(host, &t.namespace));
    task.is_some_and(|t| host.is_stopped(t.pid.load(Relaxed), t.tid.load(Relaxed)))
}

/// Whether the process in this slot no longer exists.
pub fn process_is_gone(arena: &Arena, host: &impl Host, slot: u32, p: &Process) -> bool {
    let pid = p.pid.load(Acquire); // before the namespace: see `Process::settle`
    if pid == 0 {
        return true;
    }
    if is_foreign(host, &p.namespace) {
        return foreigner_is_gone(arena, slot, p, pid);
    }
    host.thread_is_gone(pid, pid, p.start.load(Relaxed))
}

/// By what the kernel has marked alone.
fn foreigner_is_gone(arena: &Arena, slot: u32, p: &Process, pid: u32) -> bool {
    let generation = p.generation.load(Acquire);
    if p.state.load(Acquire) != proc_state::LIVE {
        return false;
    }
    let mut main_is_dead = false;
    for (_, t) in threads(arena, slot) {
        let ours = t.process_generation.load(Relaxed) == generation
            && t.state.load(Relaxed) == task_state::LIVE;
        if t.surely_alive() || (ours && !t.kernel_says_dead()) {
            return false;
        }
        main_is_dead |= ours && t.tid.load(Relaxed) == pid;
    }
    main_is_dead
}

/// exec(2) has ended the threads of the process in this slot, and it lives on: their deaths say nothing of
/// it any more.
pub fn goes_on_without_threads(arena: &Arena, slot: u32, p: &Process) {
    let generation = p.generation.load(Relaxed);
    for (_, t) in threads(arena, slot).filter(|(_, t)| t.kernel_says_dead()) {
        let _ = t
            .process_generation
            .compare_exchange(generation, 0, AcqRel, Relaxed);
    }
}

/// All threads of the session, as owners of locks.
pub struct Threads<'a, H: Host>(pub &'a Arena, pub &'a H);

impl<H: Host> Owners for Threads<'_, H> {
    fn is_dead(&self, owner: OwnerId) -> bool {
        is_dead(self.0, self.1, owner)
    }

    fn is_elsewhere(&self, owner: OwnerId, named: impl Fn() -> bool) -> bool {
        let Some(task) = task_of(self.0, owner) else {
            return false;
        };
        if task.is_damaged() {
            return named();
        }
        if is_foreign(self.1, &task.namespace) {
            // Nobody can ask what it does; but who was never registered may be dead long since.
            return !task.surely_alive() && named();
        }
        let (pid, tid) = (task.pid.load(Relaxed), task.tid.load(Relaxed));
        let Some(before) = self.1.sleeps_elsewhere(pid, tid) else {
            return false;
        };
        named() && self.1.sleeps_elsewhere(pid, tid) == Some(before)
    }
}
