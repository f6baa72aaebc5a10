//! Benchmarks: the same machine code in two worlds, turn by turn in one run.
//!
//! A worker (`ringer bench-worker`) is run natively and with the shim, A B A B. It calls
//! `libc::read` and the like through the PLT, as every program does.

pub mod pair;
pub mod report;
pub mod row;
pub mod stats;
pub mod workload;
