//! Who holds what: the descriptor tables of all processes.

use std::collections::HashMap;
use std::sync::atomic::Ordering::*;

use serde::Serialize;

use ringer_kernel::arena::{layout, Arena, Off};
use ringer_kernel::file::{fd_table, End, FileRef};
use ringer_kernel::pipe::fifo;
use ringer_kernel::sync::atomic::AtomicU32;
use ringer_kernel::task::{self, proc_state};
use ringer_kernel::unix::Side;

use crate::sys::namespace;

/// A corrupted arena could make us look through 16 thousand tables of a million descriptors each.
pub const MAX_DESCRIPTORS: u64 = 32 << 20;

/// A descriptor of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Holder {
    /// In its own PID namespace.
    pub pid: u32,
    pub fd: i32,
    /// In ours, if it can be seen from here.
    #[serde(skip)]
    pub here: Option<u32>,
}

/// Who holds which end of which pipe, and which eventfd.
#[derive(Default)]
pub struct Holders {
    pub by_pipe: HashMap<u32, (Vec<Holder>, Vec<Holder>)>,
    pub by_eventfd: HashMap<u32, Vec<Holder>>,
    pub by_queue: HashMap<u32, Vec<Holder>>,
    /// Of each pair of sockets: who holds the first, and the second.
    pub by_pair: HashMap<u32, (Vec<Holder>, Vec<Holder>)>,
    /// The arena has more descriptors than can be true.
    pub cut_off: bool,
}

/// Walks the descriptor tables of all processes that are not dead.
pub fn holders(arena: &Arena) -> Holders {
    let mut holders = Holders::default();
    let mut budget = MAX_DESCRIPTORS;
    for_each_table(arena, |_, p| {
        let pid = p.pid.load(Relaxed);
        let here = namespace::number_here(p);
        let whole = for_each_descriptor(arena, p, &mut budget, |fd, file_slot| {
            let holder = Holder { pid, fd, here };
            match FileRef::of(arena, file_slot) {
                Some(FileRef::Pipe(e)) => {
                    let (readers, writers) = holders.by_pipe.entry(e.pipe_slot()).or_default();
                    let both = e.file.has(fifo::RDWR);
                    if both || e.end == End::Read {
                        readers.push(holder);
                    }
                    if both || e.end == End::Write {
                        writers.push(holder);
                    }
                }
                Some(FileRef::Eventfd(e)) => {
                    let all = holders.by_eventfd.entry(e.slot()).or_default();
                    all.push(holder);
                }
                Some(FileRef::Mq(e)) => {
                    let all = holders.by_queue.entry(e.slot()).or_default();
                    all.push(holder);
                }
                Some(FileRef::Signalfd(_)) | None => {}
                Some(FileRef::Socket(s)) => {
                    let (first, second) = holders.by_pair.entry(s.slot()).or_default();
                    match s.side() {
                        Side::A => first.push(holder),
                        Side::B => second.push(holder),
                    }
                }
            }
        });
        holders.cut_off |= !whole;
    });
    holders
}

/// A block of a descriptor table: links to blocks, or entries. See `fd_table`.
pub type FdBlock = [AtomicU32; FAN];
pub const FAN: usize = 1024;

pub fn fd_block(arena: &Arena, raw: u32) -> Option<&'static FdBlock> {
    arena.get(Off::<FdBlock>::from_raw(raw)?)
}

/// As `fd_table::for_each`, but by blocks, and `budget` entries at the most: `false` if that was
/// not enough.
pub fn for_each_descriptor(
    arena: &Arena,
    p: &task::Process,
    budget: &mut u64,
    mut f: impl FnMut(i32, u32),
) -> bool {
    let high = p.fd_high.load(Acquire).min(fd_table::MAX_FDS) as usize;
    let Some(links) = fd_block(arena, p.fd_dir.load(Acquire)) else {
        return true;
    };
    for (i, link) in links.iter().enumerate().take(high.div_ceil(FAN)) {
        let Some(entries) = fd_block(arena, link.load(Acquire)) else {
            continue;
        };
        match budget.checked_sub(FAN as u64) {
            Some(rest) => *budget = rest,
            None => return false,
        }
        for (j, entry) in entries.iter().enumerate().take(high - i * FAN) {
            let file_slot = entry.load(Acquire);
            if file_slot != 0 {
                f((i * FAN + j) as i32, file_slot);
            }
        }
    }
    true
}

/// Every slot whose process may have descriptors.
pub fn for_each_table(arena: &Arena, mut f: impl FnMut(u32, &'static task::Process)) {
    let used = arena
        .header()
        .procs_used
        .load(Acquire)
        .min(layout::MAX_PROCS);
    for slot in 1..used {
        let Some(p) = task::process(arena, slot) else {
            return;
        };
        let state = p.state.load(Acquire);
        if !matches!(state, proc_state::FREE | proc_state::DEAD) {
            f(slot, p);
        }
    }
}
