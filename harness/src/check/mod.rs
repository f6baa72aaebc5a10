//! All programs up to a length, over a small world, in both worlds.
//!
//! ```text
//! small      the small worlds: what is there in the beginning, and the calls that are tried
//! waits      those in which calls wait
//! sems       POSIX semaphores, both ways
//! runner     in a worker: runs each sequence on fresh objects, and gives a hash of what it saw
//! world      the worker in each world
//! search     all parts of the tree, in both worlds; where hashes differ, down to the first sequence
//! ```
//!
//! Lengths are tried one after the other, so the first difference is a shortest one.

mod runner;
pub mod search;
mod sems;
pub mod small;
mod waits;
pub mod world;

use serde::{Deserialize, Serialize};

pub use runner::Runner;
use small::Object;

/// A part of the tree: all sequences that begin with `prefix` and are `more` letters longer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Part {
    pub object: Object,
    pub prefix: Vec<u8>,
    pub more: usize,
}

/// What the sequences of a part gave.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sum {
    pub hash: u64,
    pub sequences: u64,
}
