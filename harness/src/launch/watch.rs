//! The processes of a session, watched by pidfds, so that a death without farewell is noticed.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering::*;
use std::time::{Duration, Instant};

use ringer_kernel::arena::{layout, Arena};
use ringer_kernel::host::Host;
use ringer_kernel::log::{Kind, Log};
use ringer_kernel::pipe::Ctx;
use ringer_kernel::task::{self, proc_state, reap, Process};

use crate::arena::processes;
use crate::sys;
use crate::sys::namespace;
use crate::sys::process::{self, End};

/// An announced child whose parent died gets this long to say who it is.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(1);

/// Without a pidfd (no descriptors left), /proc is asked this often.
const PROC_INTERVAL: Duration = Duration::from_millis(100);

struct Watched {
    generation: u32,
    /// Its number in this PID namespace.
    here: Option<u32>,
    /// `None`: there was none to be had.
    pidfd: Option<OwnedFd>,
    /// When /proc was asked last.
    asked: Instant,
}

#[derive(Default)]
pub struct Watch {
    by_slot: HashMap<u32, Watched>,
    /// Announced children without a living parent, and since when.
    orphans: HashMap<u32, (u32, Instant)>,
    /// Descriptors for poll(2), and the slots they stand for.
    polled: Vec<libc::pollfd>,
    slots: Vec<u32>,
}

impl Watch {
    /// The pidfds, to be polled.
    pub fn poll_set(&mut self, first: i32) -> &mut Vec<libc::pollfd> {
        self.polled.clear();
        self.slots.clear();
        self.polled.push(sys::pollfd(first));
        for (slot, watched) in &self.by_slot {
            if let Some(fd) = &watched.pidfd {
                self.polled.push(sys::pollfd(fd.as_raw_fd()));
                self.slots.push(*slot);
            }
        }
        &mut self.polled
    }

    /// After the poll: looks for newcomers, and cleans up after the dead.
    pub fn attend<H: Host>(&mut self, k: &Ctx<'_, H>) {
        let ended: Vec<u32> = self
            .polled
            .iter()
            .skip(1)
            .zip(&self.slots)
            .filter(|(fd, _)| fd.revents != 0)
            .map(|(_, slot)| *slot)
            .collect();
        for slot in ended {
            self.reap_if(k, slot, |_| true);
        }
        self.polled.clear();
        self.look_for_newcomers(k);
    }

    fn look_for_newcomers<H: Host>(&mut self, k: &Ctx<'_, H>) {
        let used = k
            .arena
            .header()
            .procs_used
            .load(Acquire)
            .min(layout::MAX_PROCS);
        for slot in 1..used {
            let Some(p) = task::process(k.arena, slot) else {
                return;
            };
            match p.state.load(Acquire) {
                proc_state::LIVE | proc_state::EXECING | proc_state::UNSHIMMED => {
                    self.orphans.remove(&slot);
                    self.look_at(k, slot, p);
                }
                proc_state::ANNOUNCED => self.look_at_announced(k, slot, p),
                _ => {
                    self.by_slot.remove(&slot);
                    self.orphans.remove(&slot);
                }
            }
        }
    }

    fn look_at<H: Host>(&mut self, k: &Ctx<'_, H>, slot: u32, p: &Process) {
        let generation = p.generation.load(Relaxed);
        let pid = p.pid.load(Acquire);
        let known = self
            .by_slot
            .get_mut(&slot)
            .filter(|w| w.generation == generation);
        match known {
            Some(Watched { pidfd: Some(_), .. }) => {}
            Some(watched) if watched.asked.elapsed() < PROC_INTERVAL => {}
            // The slot is filled in bit by bit: no number yet.
            _ if pid == 0 => {}
            _ => {
                // A process of an inner PID namespace has another number here. Of one that can not be
                // seen the arena alone tells that it is dead.
                let here = namespace::number_here(p);
                let pidfd = here.and_then(|n| process::pidfd(n).ok());
                self.by_slot.insert(
                    slot,
                    Watched {
                        generation,
                        here,
                        pidfd,
                        asked: Instant::now(),
                    },
                );
                // The number may be another process's by now: the start time tells.
                self.reap_if(k, slot, |p| task::process_is_gone(k.arena, k.host, slot, p));
            }
        }
    }

    fn look_at_announced<H: Host>(&mut self, k: &Ctx<'_, H>, slot: u32, p: &Process) {
        let generation = p.generation.load(Relaxed);
        if parent_lives(k.arena, k.host, p) {
            self.orphans.remove(&slot);
            return;
        }
        let (seen, since) = *self
            .orphans
            .entry(slot)
            .or_insert((generation, Instant::now()));
        if seen != generation {
            self.orphans.remove(&slot);
        } else if since.elapsed() > ORPHAN_PATIENCE {
            self.orphans.remove(&slot);
            reap::reap_if(k, slot, generation);
        }
    }

    /// Reaps if the slot still is the one that was watched, and `dead` agrees.
    fn reap_if<H: Host>(&mut self, k: &Ctx<'_, H>, slot: u32, dead: impl Fn(&Process) -> bool) {
        let Some(p) = task::process(k.arena, slot) else {
            return;
        };
        let generation = p.generation.load(Relaxed);
        let same = |w: &Watched| w.generation == generation;
        if self.by_slot.get(&slot).is_some_and(same) {
            if dead(p) {
                let watched = self.by_slot.remove(&slot);
                let pidfd = watched.as_ref().and_then(|w| w.pidfd.as_ref());
                log_death(k, p, watched.as_ref().and_then(|w| w.here), pidfd);
                log_layers(k, slot, p);
                reap::reap_if(k, slot, generation);
            }
        } else {
            self.by_slot.remove(&slot);
        }
    }
}

/// By default nobody dies of these.
const SURVIVED: [i32; 8] = [
    libc::SIGCHLD,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGCONT,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// The signal that the process died of, with the record of its sender, if that was one of the session.
fn log_death<H: Host>(k: &Ctx<'_, H>, p: &Process, here: Option<u32>, pidfd: Option<&OwnedFd>) {
    let state = p.state.load(Acquire);
    if !k.log.is_on() || matches!(state, proc_state::FREE | proc_state::DEAD) {
        return;
    }
    let pid = p.pid.load(Relaxed);
    let (key, record) = (
        p.signals.sent_key.load(Acquire),
        p.signals.sent_record.load(Relaxed),
    );
    let sent = i64::from(key >> 24);
    let (signal, cause) = match process::end_of(here, pidfd) {
        End::Killed { signal, core } => {
            let cause = if i64::from(signal) == sent { record } else { 0 };
            (i64::from(signal) | if core { 0x80 } else { 0 }, cause)
        }
        // Nobody can say any more; but it went without a word, and no handler took this one.
        End::Unknown if sent != 0 && !SURVIVED.contains(&(sent as i32)) => (sent | 0x100, record),
        End::Exited | End::Unknown => return,
    };
    k.log
        .event(Kind::SigKilled, cause, (signal, u64::from(pid), 0));
}

/// The counts that the process could not log itself.
fn log_layers<H: Host>(k: &Ctx<'_, H>, slot: u32, p: &Process) {
    let state = p.state.load(Acquire);
    if !k.log.is_on() || matches!(state, proc_state::FREE | proc_state::DEAD) {
        return;
    }
    let calls = processes::calls(k.arena, slot, p);
    // Whose they are is told where a call tells its descriptor.
    let log = Log {
        fd: p.pid.load(Relaxed) as i32,
        ..k.log
    };
    log.event(
        Kind::Layers,
        0,
        (calls.hook as i64, calls.trap, calls.passed),
    );
}

fn parent_lives(arena: &Arena, host: &impl Host, p: &Process) -> bool {
    let slot = p.parent.load(Relaxed);
    task::process(arena, slot).is_some_and(|parent| {
        let state = parent.state.load(Acquire);
        !matches!(state, proc_state::FREE | proc_state::DEAD)
            && !task::process_is_gone(arena, host, slot, parent)
    })
}
