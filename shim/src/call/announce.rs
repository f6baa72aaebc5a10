//! exec(3) and posix_spawn(3) in a process that is not armed: nothing traps, so the hooks see to it that
//! the new program has its place in the process table from before the old image, and with it the
//! mapping of the arena, is gone until the new one attaches. Whoever asks meanwhile whether the
//! session is deserted finds it there.

use core::sync::atomic::Ordering::*;

use ringer_kernel::task::{self, proc_state};

use crate::host::{self, Shim};
use crate::tls::tls;
use crate::{arm, attach, procfs};

/// A place in the process table for a program that is about to be.
#[must_use]
pub enum Announced {
    /// The process's own, or none: layer III does it, or there is no session.
    Own,
    /// Made for it.
    Made(u32),
}

impl Announced {
    /// This process is about to exec. (One that `vfork` made has its parent's memory, and a forked
    /// one that never made a call of ringer's has no place yet: each gets its own here.)
    pub fn exec() -> Announced {
        if arm::is_armed() || !attach::is_attached() {
            return Announced::Own;
        }
        let pid = host::getpid();
        if let Some(p) = attach::process(tls()).filter(|p| p.pid.load(Relaxed) == pid) {
            identify(p);
            p.state.store(proc_state::EXECING, Release);
            return Announced::Own;
        }
        Announced::claim(pid).map_or(Announced::Own, Announced::Made)
    }

    fn claim(pid: u32) -> Option<u32> {
        let parent = attach::process_slot(tls());
        let start = procfs::start_time(pid, pid);
        // A full table: then it is as if nobody had announced it.
        task::claim_process(
            attach::arena()?,
            &Shim,
            proc_state::EXECING,
            pid,
            parent,
            start,
        )
        .map(|(slot, _)| slot)
    }

    /// It did not come to be: this is still the old program.
    pub fn withdraw(self) {
        match self.place() {
            Some(p) => p.state.store(proc_state::DEAD, Release),
            None => {
                let pid = host::getpid();
                if let Some(p) = attach::process(tls()).filter(|p| p.pid.load(Relaxed) == pid) {
                    p.state.store(proc_state::LIVE, Release);
                }
            }
        }
    }

    fn place(&self) -> Option<&'static task::Process> {
        match *self {
            Announced::Own => None,
            Announced::Made(slot) => task::process(attach::arena()?, slot),
        }
    }
}

/// While it has nothing mapped, a process is known by its number; and numbers are used again, so its
/// start belongs to that.
pub fn identify(p: &task::Process) {
    if p.start.load(Relaxed) == 0 {
        let pid = p.pid.load(Relaxed);
        p.start.store(procfs::start_time(pid, pid), Relaxed);
    }
}

/// posix_spawn has made this child, whose program attaches any time now, or has done so.
pub fn spawned(pid: u32) {
    if arm::is_armed() || !attach::is_attached() {
        return;
    }
    if let (Some(arena), Some(slot)) = (attach::arena(), Announced::claim(pid)) {
        task::yield_to_twin(arena, &Shim, slot, pid);
    }
}
