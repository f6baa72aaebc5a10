//! Threads in a call that the kernel serves, as their slots say: who reads, writes or opens what.

use std::collections::HashMap;
use std::sync::atomic::Ordering::*;

use ringer_kernel::arena::{layout, Arena};
use ringer_kernel::task::{self, waits};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Waiting {
    pub reading: u32,
    pub writing: u32,
    pub opening_to_read: u32,
    pub opening_to_write: u32,
}

/// By the object's class (one of [`waits`]; of a FIFO that of pipes) and slot.
pub struct AllWaiting(HashMap<(u32, u32), Waiting>);

impl AllWaiting {
    pub fn of(&self, class: u32, slot: u32) -> Waiting {
        self.0.get(&(class, slot)).copied().unwrap_or_default()
    }
}

pub fn all(arena: &Arena) -> AllWaiting {
    let mut all: HashMap<(u32, u32), Waiting> = HashMap::new();
    let used = arena.header().tasks_used.load(Acquire);
    for t in (1..used.min(layout::MAX_TASKS)).filter_map(|i| task::task(arena, i)) {
        let what = t.waits_for.load(Relaxed);
        if what == 0 || t.kernel_says_dead() {
            continue;
        }
        let opens = what & waits::CLASS == waits::FIFO_OPEN;
        let class = if opens {
            waits::PIPE
        } else {
            what & waits::CLASS
        };
        let waiting = all.entry((class, what & waits::SLOT)).or_default();
        *match (opens, what & waits::TO_WRITE != 0) {
            (false, false) => &mut waiting.reading,
            (false, true) => &mut waiting.writing,
            (true, false) => &mut waiting.opening_to_read,
            (true, true) => &mut waiting.opening_to_write,
        } += 1;
    }
    AllWaiting(all)
}
