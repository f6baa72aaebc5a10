//! A process that leaves waits for nobody for long.
//!
//! Locks of the arena are held for microseconds. One that is still held after [`PATIENCE_NS`] has an
//! owner that is stopped, or its word was damaged. The process ends then, as by SIGKILL: what it
//! leaves undone is done by whoever finds it dead.

use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::*};

use crate::attach::now_ns;
use crate::gate::sys;
use crate::host;

/// From the beginning of the exit on.
const PATIENCE_NS: u64 = 1_000_000_000;

/// Which process leaves, 0: none. A number, for vfork(2)'s children write to their parent's memory.
static PID: AtomicU32 = AtomicU32::new(0);
/// When it has waited long enough, in ns of CLOCK_MONOTONIC.
static UNTIL: AtomicU64 = AtomicU64::new(0);
/// What it leaves with: exit_group(2)'s argument.
static STATUS: AtomicI32 = AtomicI32::new(0);

/// The calling process begins to leave, by _exit(2) or exit_group(2). (Not by exit(3), which has
/// output to write yet.)
pub fn begin(status: i32) {
    STATUS.store(status, Relaxed);
    UNTIL.store(now_ns() + PATIENCE_NS, Relaxed);
    PID.store(host::getpid(), Relaxed);
}

/// After a wait for a lock that was in vain: does not return if this process has waited enough.
#[cold]
pub fn look() {
    if PID.load(Relaxed) == host::getpid() && now_ns() > UNTIL.load(Relaxed) {
        sys!(libc::SYS_exit_group, STATUS.load(Relaxed));
    }
}
