//! Layer I: the functions of libc that programs call by name. Thin: is it about something of
//! ringer's? Then the call's own code; else libc's function.
//!
//! In an armed process libc's own system calls come back by layer III; so what has no hook here
//! is still caught.

mod exec;
mod fd;
mod io;
mod poll;
mod process;
pub use process::{cancelling, has_threads, make_key, test_cancel};
mod signal;
