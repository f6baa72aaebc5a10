//! FIFOs: the same under ringer, which knows them, as natively.

use ringer_support::prelude::*;

mod ends;
mod names;
mod rendezvous;

pub const READ_NOW: c_int = O_RDONLY | O_NONBLOCK;
pub const WRITE_NOW: c_int = O_WRONLY | O_NONBLOCK;
