//! Two logs of one program: the kernel's (`--mode observe`) and ringer's.
//!
//! ```text
//! names   processes, threads and objects by what they are, not by their numbers
//! step    an entry without what differs from run to run
//! story   a log as lanes: each thread's steps, each flow of data
//! known   what all runs on the kernel have in common, and what lies outside
//! rules   what the manual says about a step
//! ```

mod known;
mod names;
mod rules;
mod step;
mod story;

#[cfg(test)]
mod tests;

pub use known::{Found, Known};
pub use rules::rule;
pub use step::Step;
pub use story::Story;
