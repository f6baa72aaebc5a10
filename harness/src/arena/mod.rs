//! Looking at an arena, live or dead, without trusting a word of it: plain data comes out. Nothing
//! is locked, nothing is changed; of a live session this is a glance at moving things.

mod blocks;
pub mod check;
pub mod descriptors;
pub mod eventfds;
pub mod pipes;
pub mod processes;
pub mod queues;
pub mod signals;
pub mod sockets;
pub mod sysv;
#[cfg(test)]
mod tests;
pub mod waiting;
