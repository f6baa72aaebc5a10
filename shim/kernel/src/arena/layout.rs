//! Where things are in the arena. A change here is a new [`LAYOUT_VERSION`].
//!
//! ```text
//! 0          header           one page
//! PROCS      process table    MAX_PROCS * 256 B
//! TASKS      thread table     MAX_TASKS * 128 B
//! FILES      open file descriptions
//! PIPES      pipes
//! RINGS      log ring heads
//! EVENTFDS   eventfds
//! QUEUES     message queues
//! WAITERS    who waits in one, by the thread's slot
//! PAIRS      pairs of Unix sockets
//! HEAP       power-of-two blocks: descriptor tables, pipe buffers, log rings
//! ```
//!
//! The file is sparse: a table costs the pages of its used slots only.

use core::mem::size_of;

use crate::eventfd::Eventfd;
use crate::file::OpenFile;
use crate::log::ring::RingHead;
use crate::mqueue::{wait::Waiter, Queue};
use crate::pipe::Pipe;
use crate::task::{Process, Task};
use crate::unix::Pair;

/// "ringer" and a NUL or two.
pub const MAGIC: u64 = u64::from_le_bytes(*b"ringer\0\x01");
pub const LAYOUT_VERSION: u32 = 15;

/// Bytes of address space that a session's arena takes: 4 GiB, sparse.
pub const ARENA_BYTES: usize = 4 << 30;

pub const MAX_PROCS: u32 = 16 * 1024;
pub const MAX_TASKS: u32 = 32 * 1024;
pub const MAX_FILES: u32 = 256 * 1024;
pub const MAX_PIPES: u32 = 64 * 1024;
pub const MAX_RINGS: u32 = 16 * 1024;
pub const MAX_EVENTFDS: u32 = 64 * 1024;
pub const MAX_QUEUES: u32 = 8 * 1024;
pub const MAX_PAIRS: u32 = 64 * 1024;

const PAGE: usize = 4096;

pub const HEADER: usize = 0;
pub const PROCS: usize = PAGE;
pub const TASKS: usize = after::<Process>(PROCS, MAX_PROCS);
pub const FILES: usize = after::<Task>(TASKS, MAX_TASKS);
pub const PIPES: usize = after::<OpenFile>(FILES, MAX_FILES);
pub const RINGS: usize = after::<Pipe>(PIPES, MAX_PIPES);
pub const EVENTFDS: usize = after::<RingHead>(RINGS, MAX_RINGS);
pub const QUEUES: usize = after::<Eventfd>(EVENTFDS, MAX_EVENTFDS);
pub const WAITERS: usize = after::<Queue>(QUEUES, MAX_QUEUES);
pub const PAIRS: usize = after::<Waiter>(WAITERS, MAX_TASKS);
/// First byte of the heap, aligned to its largest block.
pub const HEAP: usize =
    after::<Pair>(PAIRS, MAX_PAIRS).next_multiple_of(1 << super::alloc::MAX_SHIFT);

const fn after<T>(start: usize, count: u32) -> usize {
    (start + count as usize * size_of::<T>()).next_multiple_of(PAGE)
}

const _: () = assert!(size_of::<super::Header>() <= PAGE);
const _: () = assert!(size_of::<Process>() == 256);
const _: () = assert!(size_of::<Task>() == 128);
const _: () = assert!(HEAP < ARENA_BYTES / 2);
