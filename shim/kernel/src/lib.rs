//! ringer's user-space kernel: what lives in shared memory and what happens to it.
//!
//! It knows nothing of hooks, twins or libc; it makes no system call but through [`host`].
//!
//! # Lock order
//!
//! ```text
//! process.fd_lock
//! process.signals.lock
//! pipe.rlock
//!   pipe.wlock
//!     pipe.token_lock
//! eventfd.lock
//! header.mq_names
//!   queue.lock
//! pair.queues[0].rlock
//!   pair.queues[0].wlock
//!     pair.queues[1].rlock
//!       pair.queues[1].wlock
//! pair.flights.lock
//! sysv root.lock
//!   a set's, a queue's lock  (of segments and of what is owed the root's is all)
//! header.lock            (innermost: nothing is taken while it is held)
//! ```
//!
//! # Crash points
//!
//! Each module lists its own under "Crash points"; `tests/crash` kills a process at each
//! [`host::crash_point`] of the source.

#![cfg_attr(not(test), no_std)]
#![cfg_attr(loom, allow(dead_code))]
#![deny(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block
)]
// Nothing stops a guest.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::indexing_slicing
    )
)]

pub mod abi;
#[cfg(not(loom))]
pub mod arena;
#[cfg(not(loom))]
pub mod eventfd;
#[cfg(not(loom))]
pub mod file;
#[cfg(not(loom))]
pub mod host;
#[cfg(not(loom))]
pub mod log;
#[cfg(not(loom))]
pub mod mqueue;
#[cfg(not(loom))]
pub mod pipe;
pub mod planted;
/// The two words alone, for their model.
#[cfg(all(test, loom))]
#[path = "signal/published.rs"]
mod published;
#[cfg(not(loom))]
pub mod seccomp;
#[cfg(not(loom))]
pub mod signal;
/// The slot word alone, for its model: loom has no arena.
#[cfg(all(test, loom))]
#[path = "pipe/slot.rs"]
mod slot;
pub mod sync;
#[cfg(not(loom))]
pub mod sys;
#[cfg(not(loom))]
pub mod sysv;
#[cfg(not(loom))]
pub mod task;
#[cfg(not(loom))]
pub mod unix;
