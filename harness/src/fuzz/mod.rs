//! Invented programs in both worlds.
//!
//! ```text
//! program    a program as data
//! outcome    what its calls gave, and where that differs
//! generate   seed -> program
//! exec       runs a program by actors (calls, calls_*, signals: one call of it; page), and a referee
//! image      an actor's execve
//! world      the worker in each world, fed with programs
//! shrink     the smallest part of a program that still differs
//! emit_c     a program as C, for a person
//! ```

pub mod calls;
pub mod calls_fd;
pub mod calls_named;
pub mod calls_sem;
pub mod emit_c;
pub mod exec;
pub mod generate;
pub mod image;
pub mod outcome;
pub mod page;
pub mod program;
pub mod referee;
pub mod shrink;
pub mod signals;
pub mod world;
