//! Real programs: each test runs a command natively, with `LD_PRELOAD` only and by `ringer run`,
//! and compares what it wrote and how it ended. See [`case`].

mod awk;
mod case;
mod compile;
mod debug;
mod emulated;
mod examples;
mod fifos;
mod fixture;
mod git;
mod golang;
mod guard;
mod ipc_stress;
mod make;
mod outside;
mod perl;
mod pipelines;
mod python;
mod python_async;
mod python_shared;
mod python_tests;
mod services;
mod shell;
mod signals_perl;
mod signals_python;
mod signals_shell;
mod signals_stress;
mod sysv;
mod text;
mod tools;
mod user;
