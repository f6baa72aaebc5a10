//! A process of the session: its name, its descriptor table, what became of it.

use crate::arena::ArenaSafe;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::robust::RobustLock;

pub mod proc_state {
    pub const FREE: u32 = 0;
    /// Made by a parent that is about to fork; `pid` is not known yet.
    pub const ANNOUNCED: u32 = 1;
    pub const LIVE: u32 = 2;
    /// Has called exec; the new image takes the slot over.
    pub const EXECING: u32 = 3;
    /// Runs a program that ringer can not reach, or has left the session; its objects were demoted.
    pub const UNSHIMMED: u32 = 4;
    pub const DEAD: u32 = 5;
    /// Somebody has claimed the slot and fills it in.
    pub const CLAIMED: u32 = 6;
}

/// # Lock
///
/// `fd_lock` guards the descriptor table's shape (`fd_dir` and what it points to) against a
/// second thread and against whoever cleans up after a death; the entries are atomics.
#[repr(C, align(64))]
pub struct Process {
    pub state: AtomicU32,
    pub pid: AtomicU32,
    pub ppid: AtomicU32,
    pub generation: AtomicU32,
    /// Slot of the parent, for `ANNOUNCED`.
    pub parent: AtomicU32,
    /// Block of 1024 offsets of blocks of 1024 entries. 0: no emulated descriptor ever.
    pub fd_dir: AtomicU32,
    /// All emulated descriptors are below this.
    pub fd_high: AtomicU32,
    /// Emulated descriptors in the table.
    pub fd_count: AtomicU32,
    pub fd_lock: RobustLock,
    pub exit_status: AtomicU32,
    /// Start of the process, clock ticks after boot (proc(5) stat, field 22).
    pub start: AtomicU64,
    /// First 15 bytes of the command's name, as in /proc/PID/comm.
    pub comm: [AtomicU64; 2],

    /// Totals of threads that are gone, and calls that escaped: see Task.
    pub by_hook: AtomicU64,
    pub by_trap: AtomicU64,
    pub passed: AtomicU64,
    pub sleeps: AtomicU64,
    pub slept_tsc: AtomicU64,
    /// Objects of this process that were demoted.
    pub demoted: AtomicU64,
    pub started_tsc: AtomicU64,
    pub ended_tsc: AtomicU64,
    /// What waits for it: see `signal`.
    pub signals: crate::signal::State,
    /// Connections that it listens for are polled: they are the kernel's from the start.
    pub polls: AtomicU32,
    /// Of which PID namespace `pid` is a number: see `alive`. 0: not known.
    pub namespace: AtomicU32,
    /// Stop signals that it was sent by processes of the session.
    pub stops: super::stops::Stops,
    _pad: [AtomicU64; 3],
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Process {}

impl Process {
    /// The process says its number. (Its parent has said one of its own namespace, maybe: who reads the
    /// number first finds the namespace that goes with it, or a later one, to which the number is foreign.)
    pub fn settle(&self, namespace: u32, pid: u32) {
        self.namespace.store(namespace, Relaxed);
        self.pid.store(pid, Release); // pairs with `alive::process_is_gone`
    }

    pub fn set_comm(&self, name: &[u8]) {
        let mut bytes = [0u8; 16];
        for (to, from) in bytes.iter_mut().zip(name.iter().take(15)) {
            *to = *from;
        }
        let word = u128::from_le_bytes(bytes);
        let [low, high] = &self.comm;
        low.store(word as u64, Relaxed);
        high.store((word >> 64) as u64, Relaxed);
    }

    /// The command's name, NUL-padded.
    pub fn comm(&self) -> [u8; 16] {
        let [low, high] = &self.comm;
        let word = u128::from(low.load(Relaxed)) | u128::from(high.load(Relaxed)) << 64;
        word.to_le_bytes()
    }
}
