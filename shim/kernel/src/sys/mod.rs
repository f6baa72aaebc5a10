//! System calls on ringer's objects, one file per family: rules in Linux's order, then the
//! transition, then the wake-up.

pub mod read_write;

pub use read_write::{pipe_read, pipe_write, Blocking, Written};
