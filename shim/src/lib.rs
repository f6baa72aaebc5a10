//! libringer.so: between a program and the kernel. Hooks, traps and machine code; what happens to
//! pipes, sockets, queues, signals and their like is in ringer-kernel.
//!
//! The life of one call:
//!
//! ```text
//! write(1, ..) ──► hooks/io.rs ──── not ours ───► libc
//!                      │ ours (call::is_ours: a bounds check and a load)
//! `syscall` ──SIGSYS──►│ trap.rs → dispatch.rs
//!                      ▼
//!                 Entry::enter           signals are noted from here on
//!                 call/io.rs             look up, copy, lock, fill, publish, wake  (ringer-kernel)
//!                 Entry::leave           a noted signal is delivered, the call restarted or ended
//!                      │ demoted meanwhile
//!                      └──────────────► the same call on the twin
//! ```

#![deny(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block
)]
// Nothing stops a guest.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::indexing_slicing
    )
)]

mod adopt;
mod arm;
mod attach;
mod blocked;
mod blockers;
mod borrow;
mod call;
mod carrier;
mod chosen;
#[cfg(feature = "crash-points")]
mod crash;
mod demotion;
mod dispatch;
mod edge;
mod entry;
mod env;
mod exposure;
mod frame;
mod fresh;
mod gate;
mod halt;
mod held;
mod hooks;
mod host;
mod inbox;
mod leaving;
mod linger;
mod namespace;
mod next;
mod observe;
mod pass;
mod peer;
mod pending;
#[cfg(feature = "planted-bugs")]
mod planted;
mod probe;
mod procfs;
mod quit;
mod rescue;
mod robust;
mod sanitizer;
mod session;
mod siblings;
mod siglog;
mod signal;
mod simulated;
mod sockdiag;
mod stacked;
mod stubs;
mod tls;
mod tracer;
mod trap;
mod twin;
mod user;

/// Before main: the session is joined, and what came through exec is adopted.
#[ctor::ctor(unsafe)]
fn start() {
    #[cfg(feature = "crash-points")]
    crash::install();
    #[cfg(feature = "planted-bugs")]
    planted::wake();
    hooks::make_key();
    attach::attach();
    call::process::watch_exit_status();
}

/// Run by exit(3) in a process that is not armed. (An armed one leaves by exit_group, after stdio
/// has been flushed.)
#[used]
#[link_section = ".fini_array"]
static FINISH: extern "C" fn() = finish;

extern "C" fn finish() {
    if !arm::is_armed() && attach::process(tls::tls()).is_some() {
        let entry = entry::Entry::enter();
        call::process::exit(&entry, call::process::exit_status());
        let _ = entry.leave();
    }
}
