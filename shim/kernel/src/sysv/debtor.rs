//! A process that has something to give back when it ends, by itself or by whoever finds it dead.
//!
//! # Whether it lives
//!
//! It names a thread of its own. As long as the kernel has not marked that one dead, nobody asks
//! further; else another living thread is looked for; else /proc is asked.

use crate::arena::Arena;
use crate::host::Host;
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, Ordering::*};
use crate::sync::lock_word::OwnerId;
use crate::task::{self, proc_state, reap};

#[repr(C)]
pub struct Debtor {
    /// Slot and generation of the process.
    slot: AtomicU32,
    generation: AtomicU32,
    pub pid: AtomicU32,
    /// A thread of it that lived lately.
    thread: AtomicU32,
}

impl Debtor {
    pub fn begin(&self, slot: u32, generation: u32, pid: u32, thread: u32) {
        self.slot.store(slot, Relaxed);
        self.generation.store(generation, Relaxed);
        self.pid.store(pid, Relaxed);
        self.thread.store(thread, Relaxed);
    }

    #[inline(always)]
    pub fn is(&self, slot: u32, generation: u32) -> bool {
        (slot, generation) == self.name()
    }

    /// Slot and generation.
    #[inline(always)]
    pub fn name(&self) -> (u32, u32) {
        (self.slot.load(Relaxed), self.generation.load(Relaxed))
    }

    /// Whether it is not `mine`, and may be dead. One load, mostly.
    #[inline(always)]
    pub fn is_doubtful(&self, arena: &Arena, mine: u32) -> bool {
        self.slot.load(Relaxed) != mine && !self.surely_lives(arena)
    }

    fn surely_lives(&self, arena: &Arena) -> bool {
        OwnerId::from_raw(self.thread.load(Relaxed))
            .and_then(|o| task::task_of(arena, o))
            .is_some_and(|t| t.surely_alive())
    }

    /// Finds out about the process that was in it; a dead one is cleaned up after. `true`: it is no
    /// longer in doubt.
    pub fn resolve<H: Host>(&self, k: &Ctx<'_, H>, (slot, generation): (u32, u32)) -> bool {
        let Some(p) = task::process(k.arena, slot) else {
            return false;
        };
        let state = p.state.load(Acquire);
        if p.generation.load(Acquire) != generation || state == proc_state::DEAD {
            super::leave(k, slot, generation);
            return true;
        }
        if let Some(thread) = task::living_thread(k.arena, slot) {
            self.thread.store(thread.raw(), Relaxed);
            return true;
        }
        if state != proc_state::ANNOUNCED && task::process_is_gone(k.arena, k.host, slot, p) {
            reap::reap_if(k, slot, generation);
            return true;
        }
        false
    }
}
