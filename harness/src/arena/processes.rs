//! The processes and threads of an arena, as plain data.

use std::collections::HashMap;
use std::sync::atomic::Ordering::*;

use serde::Serialize;

use ringer_kernel::arena::{layout, Arena};
use ringer_kernel::mqueue;
use ringer_kernel::task::{self, proc_state, task_state, waits};
use ringer_kernel::{eventfd, pipe, unix};

use ringer_kernel::log::Logged;

use super::signals::{self, SignalView};
use super::sysv;
use crate::log::entry::{Calls, Object};
use crate::sys::clock::Clock;
use crate::sys::{comm_text, namespace, procfs, Here};

#[derive(Clone, Debug, Serialize)]
pub struct Wait {
    pub tid: u32,
    /// `pipe#3`
    pub object: String,
    /// `read`, `write`; of a FIFO also `open for reading` and `open for writing`
    #[serde(rename = "for")]
    pub purpose: &'static str,
    pub since_ns: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct ProcessView {
    pub pid: u32,
    /// Its number in our PID namespace, if it is of another one and can be seen from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_here: Option<u32>,
    #[serde(skip)]
    pub foreign: bool,
    /// It lives in a PID namespace that can not be looked into from here.
    #[serde(skip)]
    pub unseen: bool,
    pub ppid: u32,
    /// As the arena has it: `live`, `execing`, `unshimmed`, `announced`, `dead`.
    pub state: &'static str,
    /// proc(5)'s letter; absent when there is no such process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_state: Option<char>,
    pub comm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    pub threads: usize,
    pub descriptors: u32,
    pub calls: Calls,
    pub slept_ns: u64,
    pub waits: Vec<Wait>,
    /// Of each thread, if it lives.
    pub signals: Vec<SignalView>,
}

fn state_name(state: u32) -> &'static str {
    match state {
        proc_state::ANNOUNCED => "announced",
        proc_state::LIVE => "live",
        proc_state::EXECING => "execing",
        proc_state::UNSHIMMED => "unshimmed",
        proc_state::DEAD => "dead",
        _ => "?",
    }
}

/// What the threads of one process say.
#[derive(Default)]
struct Threads {
    count: usize,
    calls: Calls,
    slept: u64,
    waits: Vec<Wait>,
}

/// Calls of a process, those of its gone threads and of its present ones.
pub fn calls(arena: &Arena, slot: u32, p: &task::Process) -> Calls {
    let mut calls = counted(&p.by_hook, &p.by_trap, &p.passed);
    let used = arena
        .header()
        .tasks_used
        .load(Acquire)
        .min(layout::MAX_TASKS);
    for t in (1..used).filter_map(|i| task::task(arena, i)) {
        if t.state.load(Acquire) == task_state::LIVE && t.process.load(Relaxed) == slot {
            calls += counted(&t.by_hook, &t.by_trap, &t.passed);
        }
    }
    calls
}

type Counter = std::sync::atomic::AtomicU64;

fn counted(hook: &Counter, trap: &Counter, passed: &Counter) -> Calls {
    Calls {
        hook: hook.load(Relaxed),
        trap: trap.load(Relaxed),
        passed: passed.load(Relaxed),
    }
}

fn threads(arena: &Arena, clock: &Clock, now: u64) -> HashMap<u32, Threads> {
    let mut by_process: HashMap<u32, Threads> = HashMap::new();
    let used = arena
        .header()
        .tasks_used
        .load(Acquire)
        .min(layout::MAX_TASKS);
    for (i, t) in (1..used).filter_map(|i| Some((i, task::task(arena, i)?))) {
        if t.state.load(Acquire) != task_state::LIVE {
            continue;
        }
        let threads = by_process.entry(t.process.load(Relaxed)).or_default();
        threads.calls += counted(&t.by_hook, &t.by_trap, &t.passed);
        threads.slept = threads.slept.saturating_add(t.slept_tsc.load(Relaxed));
        if t.kernel_says_dead() {
            continue;
        }
        threads.count += 1;
        let since_ns = clock.ns(now.saturating_sub(t.waits_since.load(Relaxed)));
        if let Some((object, purpose)) = sysv::waits_for(arena, i) {
            threads.waits.push(Wait {
                tid: t.tid.load(Relaxed),
                object,
                purpose,
                since_ns,
            });
        }
        let waits_for = t.waits_for.load(Relaxed);
        if waits_for != 0 {
            threads.waits.push(Wait {
                tid: t.tid.load(Relaxed),
                object: object_name(arena, waits_for),
                purpose: purpose(waits_for),
                since_ns,
            });
        }
    }
    by_process
}

fn purpose(waits_for: u32) -> &'static str {
    let opens = waits_for & waits::CLASS == waits::FIFO_OPEN;
    match (opens, waits_for & waits::TO_WRITE != 0) {
        (false, false) => "read",
        (false, true) => "write",
        (true, false) => "open for reading",
        (true, true) => "open for writing",
    }
}

fn object_name(arena: &Arena, waits_for: u32) -> String {
    let slot = waits_for & waits::SLOT;
    let object = match waits_for & waits::CLASS {
        waits::PIPE | waits::FIFO_OPEN => pipe::get(arena, slot).map(|p| p.id.load(Relaxed)),
        waits::EVENTFD => eventfd::get(arena, slot).map(Logged::object),
        waits::MQ => mqueue::get(arena, slot).map(Logged::object),
        waits::SOCKET => unix::get(arena, slot).map(Logged::object),
        _ => None,
    };
    object.map_or_else(|| "?".to_owned(), |o| Object(o).to_string())
}

/// Processes that the arena knows, dead ones too, in the order of their slots.
pub fn processes(arena: &Arena, clock: &Clock, now: u64) -> Vec<ProcessView> {
    let mut threads = threads(arena, clock, now);
    let used = arena
        .header()
        .procs_used
        .load(Acquire)
        .min(layout::MAX_PROCS);
    let mut found = Vec::new();
    for slot in 1..used {
        let Some(p) = task::process(arena, slot) else {
            break;
        };
        let state = p.state.load(Acquire);
        if state == proc_state::FREE {
            continue;
        }
        let pid = p.pid.load(Relaxed);
        let live = state != proc_state::DEAD && !task::process_is_gone(arena, &Here, slot, p);
        let here = if live {
            namespace::number_here(p)
        } else {
            None
        };
        let foreign = task::alive::is_foreign(&Here, &p.namespace);
        let stat = here.and_then(procfs::process);
        let of_threads = threads.remove(&slot).unwrap_or_default();
        let mut calls = counted(&p.by_hook, &p.by_trap, &p.passed);
        calls += of_threads.calls;
        found.push(ProcessView {
            pid,
            pid_here: here.filter(|_| foreign),
            foreign,
            unseen: live && here.is_none(),
            ppid: p.ppid.load(Relaxed),
            state: state_name(state),
            kernel_state: stat.as_ref().map(|s| s.state),
            comm: stat.map_or_else(|| comm_text(p.comm()), |s| s.comm),
            command: here.and_then(procfs::command_line),
            threads: here.map_or(of_threads.count, procfs::threads),
            descriptors: p.fd_count.load(Relaxed),
            calls,
            slept_ns: clock.ns(p.slept_tsc.load(Relaxed).saturating_add(of_threads.slept)),
            waits: of_threads.waits,
            signals: here.map_or_else(Vec::new, |n| signals::of_process(arena, n, &p.signals)),
        });
    }
    found
}
