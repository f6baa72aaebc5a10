//! The commands: options in, exit status out.

pub mod bench;
pub mod check;
pub mod conform;
pub mod diff;
pub mod fuzz;
pub mod inspect;
pub mod ipcrm;
mod ipcrm_names;
pub mod ipcs;
mod ipcs_sysv;
pub mod ps;
pub mod run;
pub mod sessions;
pub mod trace;
