//! `ringer`: runs programs on the user-space kernel, and tells what it saw.
//!
//! ```text
//! cmd/      a file for each command: options in, exit status out
//! launch/   starting a program under the shim, and staying with it
//! session/  arena files
//! log/      from records to lines
//! arena/    looking at an arena, live or dead
//! bench/    the kernel against ringer, in one run
//! diff/     one program in both worlds: what differs
//! check/    all programs up to a length in both worlds
//! conform/  the rules, their tests, and what these say
//! fuzz/     invented programs in both worlds: what differs
//! sys/      Linux calls; ui/ words and tables
//! ```

#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code))] // nobody calls main

mod arena;
mod bench;
mod check;
mod cli;
mod cmd;
mod conform;
mod diff;
mod error;
mod fuzz;
mod launch;
mod log;
mod session;
mod sys;
mod ui;

/// C's `main`, not std's: std would ignore SIGPIPE and open closed standard descriptors before we
/// could see what we inherited, and the command shall inherit the same.
#[cfg(not(test))]
#[no_mangle]
pub extern "C" fn main(_argc: libc::c_int, _argv: *const *const libc::c_char) -> libc::c_int {
    launch::inherited::take();
    libc::c_int::from(cli::main())
}
