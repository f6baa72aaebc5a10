//! Looking at an arena, live or dead, without trusting a word of it: plain data comes out. Nothing
//! is locked, nothing is changed; of a live session this is a glance at moving things.

mod blocks;
pub mod check;
pub mod descriptors;
pub mod pipes;
pub mod processes;
#[cfg(test)]
mod tests;
