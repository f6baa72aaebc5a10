//! The command `ringer`, as its user sees it: sub-commands, statuses, terminal, formats.
//!
//! With `RINGER_WORLDS=native`, `ringer run -- COMMAND` is replaced by COMMAND, which shows that a
//! test asks of ringer only what is true without it; tests of ringer's own output do nothing then.

mod badinput;
mod bench;
mod connection;
mod containers;
mod fifos;
#[allow(dead_code)] // shared with the tests of real programs, which use more of it
#[path = "../programs/fixture.rs"]
mod fixture;
#[allow(dead_code)]
#[path = "../programs/guard.rs"]
mod guard;
mod inspect;
mod jobs;
mod limits;
mod options;
mod rights;
mod ringer;
mod run;
mod scribble;
mod session;
mod sessions;
mod signals;
mod sysv;
mod taken;
mod terminal;
mod trace;
mod trace_json;
mod trace_perfetto;
mod tty;
mod unseen;
