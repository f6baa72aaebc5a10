//! What others are told of a wait: the thread's slot, for `ringer ps`.

use crate::host::Host;
use crate::pipe::Ctx;
use crate::sync::atomic::Ordering::*;
use crate::task::{self, waits, Task};

pub(super) struct Wait<'a, H: Host> {
    k: &'a Ctx<'a, H>,
    /// As `Task::waits_for` has it.
    what: u32,
    since: u64,
}

impl<'a, H: Host> Wait<'a, H> {
    pub fn new(k: &'a Ctx<'a, H>, what: u32) -> Self {
        Wait { k, what, since: 0 }
    }

    fn task(&self) -> Option<&'static Task> {
        task::task_of(self.k.arena, self.k.me)
    }

    pub fn begin(&mut self, writes: bool) {
        self.since = self.k.host.tsc();
        if let Some(task) = self.task() {
            let mark = if writes { waits::TO_WRITE } else { 0 };
            task.waits_since.store(self.since, Relaxed);
            task.waits_for.store(self.what | mark, Relaxed);
            Task::count(&task.sleeps);
        }
    }

    /// Ticks asleep.
    pub fn finish(&mut self) -> u64 {
        let ticks = self.k.host.tsc().saturating_sub(self.since);
        if let Some(task) = self.task() {
            task.waits_for.store(0, Relaxed);
            let slept = task.slept_tsc.load(Relaxed).wrapping_add(ticks);
            task.slept_tsc.store(slept, Relaxed);
        }
        ticks
    }
}
