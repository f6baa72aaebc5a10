//! The log, from the rings in the arena to a line that a person reads.
//!
//! ```text
//! rings ── drain ──> merge ──> decode ──> story ──> filter ──> text or JSON
//!          (thread)  (thread: time over all, seq per object)   file or stderr
//! ```
//!
//! The format of the JSON lines is described in docs/log.md.

mod decode;
mod drain;
pub mod entry;
pub mod filter;
pub mod flags;
mod flow;
pub mod json;
mod merge;
mod mq;
mod named;
pub mod op;
mod perfetto;
pub mod recorder;
pub mod saved;
pub mod signals;
mod sigstory;
mod story;
pub mod summary;
mod syscalls;
pub mod sysv;
mod taken;
mod text;

pub use filter::Filter;
pub use recorder::{discard, Format, Recorder, Settings, Target};

#[cfg(test)]
pub fn drainer_for_tests(arena: ringer_kernel::arena::Arena) -> drain::Drainer {
    drain::Drainer::new(arena, 0)
}
