//! What the tests of ringer-kernel run in: a host over real futexes, an arena, fake twins, guest
//! memory that faults where it is told to, and a watchdog.

#![allow(dead_code, unused_imports)] // each test file uses a part of it

pub mod counter;
pub mod early;
pub mod host;
pub mod kit;
pub mod model;
pub mod mq;
pub mod pattern;
pub mod real;
pub mod real_twin;
pub mod run;
pub mod shared;
pub mod sockets;
pub mod stream;
pub mod sysv;
pub mod trio;
pub mod twin;
pub mod user;
#[cfg(feature = "crash-points")]
pub mod victim;
pub mod watchdog;
pub mod world;

pub use host::{Others, Sleeps, TestHost};
pub use twin::{FakeKernel, FakeTwin};
pub use user::{Dst, Src};
pub use watchdog::Watchdog;
pub use world::{Me, PipePair, World};

/// For a result that nobody looks at.
pub fn ignore<T>(_: T) {}
