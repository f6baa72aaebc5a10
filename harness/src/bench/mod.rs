//! Benchmarks: the same machine code in two worlds, turn by turn in one run.
//!
//! A worker (`ringer bench-worker`) is run natively and with the shim, A B A B. It calls
//! `libc::read` and the like through the PLT, as every program does.

mod crowd;
pub mod pair;
pub mod queue;
pub mod report;
pub mod row;
mod signal;
pub mod stats;
pub mod workload;
mod workload_sysv;
