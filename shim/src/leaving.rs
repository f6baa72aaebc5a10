//! A process that leaves waits for nobody for long.
//!
//! Locks of the arena are held for microseconds. One that is still held after [`PATIENCE_NS`] has an
//! owner that is stopped, or its word was damaged. The process ends then, as by SIGKILL: what it
//! leaves undone is done by whoever finds it dead.

use core::sync::atomic::{AtomicI32, AtomicU64, Ordering::*};

use crate::attach::now_ns;
use crate::gate::sys;
use crate::host;

/// From the beginning of the exit on.
const PATIENCE_NS: u64 = 1_000_000_000;

/// Which process leaves, and by which thread (pid << 32 | tid), 0: none. A number, for vfork(2)'s children
/// write to their parent's memory.
static WHO: AtomicU64 = AtomicU64::new(0);
/// When it has waited long enough, in ns of CLOCK_MONOTONIC.
static UNTIL: AtomicU64 = AtomicU64::new(0);
/// What it leaves with: exit_group(2)'s argument.
static STATUS: AtomicI32 = AtomicI32::new(0);

/// The calling process begins to leave, by _exit(2) or exit_group(2). (Not by exit(3), which has
/// output to write yet.) Does not return if another thread of it was faster.
pub fn begin(status: i32) {
    let me = u64::from(host::getpid()) << 32 | u64::from(host::gettid());
    let first = WHO.fetch_update(AcqRel, Acquire, |who| {
        (who >> 32 != me >> 32 || who == me).then_some(me)
    });
    if first.is_err() {
        crate::siblings::park();
    }
    STATUS.store(status, Relaxed);
    UNTIL.store(now_ns() + PATIENCE_NS, Relaxed);
}

/// Whether another thread of the calling process has begun to leave.
pub fn by_another() -> bool {
    let who = WHO.load(Acquire);
    who >> 32 == u64::from(host::getpid()) && who as u32 != host::gettid()
}

/// After a wait for a lock that was in vain: does not return if this process has waited enough.
#[cold]
pub fn look() {
    let leaves = WHO.load(Relaxed) >> 32 == u64::from(host::getpid());
    if leaves && now_ns() > UNTIL.load(Relaxed) {
        sys!(libc::SYS_exit_group, STATUS.load(Relaxed));
    }
}
