//! Invented programs in both worlds.
//!
//! ```text
//! program    a program as data, and what its calls gave
//! generate   seed -> program
//! exec       referee and actors: runs a program (calls, calls_fd, signals: one call of it; page)
//! world      the worker in each world, fed with programs
//! shrink     the smallest part of a program that still differs
//! emit_c     a program as C, for a person
//! ```

mod calls;
mod calls_fd;
pub mod emit_c;
pub mod exec;
pub mod generate;
mod page;
pub mod program;
pub mod shrink;
mod signals;
pub mod world;
