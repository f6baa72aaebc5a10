//! The commands: options in, exit status out.

pub mod bench;
pub mod inspect;
pub mod ipcs;
pub mod ps;
pub mod run;
pub mod trace;
