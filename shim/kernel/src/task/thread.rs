//! A thread, as others see it: the slot that its lock words name.

use crate::arena::ArenaSafe;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

/// FUTEX_OWNER_DIED: the kernel sets it in `life` when the thread dies. (uapi/linux/futex.h)
pub const OWNER_DIED: u32 = 0x4000_0000;
/// FUTEX_TID_MASK.
const TID_MASK: u32 = 0x3fff_ffff;

/// How [`Task::waits_for`] is put together: a slot of the table of the object's class, the class,
/// and what for.
pub mod waits {
    pub const SLOT: u32 = (1 << 24) - 1;
    pub const CLASS: u32 = 0x7f << 24;
    pub const PIPE: u32 = 0;
    pub const EVENTFD: u32 = 1 << 24;
    pub const SOCKET: u32 = 2 << 24;
    pub const MQ: u32 = 3 << 24;
    /// To open a FIFO: for the other end to be opened.
    pub const FIFO_OPEN: u32 = 9 << 24;
    pub const TO_WRITE: u32 = 1 << 31;
}

pub mod task_state {
    pub const FREE: u32 = 0;
    pub const LIVE: u32 = 1;
}

/// # The life word
///
/// The first 40 bytes have the shape of the robust futex that the thread registers with the
/// kernel (set_robust_list(2)): so the kernel itself marks the thread dead, at any death, SIGKILL
/// and exec included, and everybody can see that with one load.
///
/// ```text
/// life            | meaning
/// 0               | not registered (yet): ask the kernel
/// tid             | alive
/// tid | OWNER_DIED| dead
/// ```
///
/// `prev` and `next` are addresses in the owner's address space, for glibc and the kernel only;
/// nobody else reads them.
#[repr(C, align(64))]
pub struct Task {
    pub life: AtomicU32,
    pub state: AtomicU32,
    pub generation: AtomicU32,
    pub tid: AtomicU32,
    /// Slot of the process.
    pub process: AtomicU32,
    /// Log ring, 0 for none.
    pub ring: AtomicU32,
    pub prev: AtomicU64,
    pub next: AtomicU64,
    /// pid, kept here so that a dead process's slot need not be read.
    pub pid: AtomicU32,
    /// What it waits for: see [`waits`]. 0: nothing.
    pub waits_for: AtomicU32,
    /// Start of the thread, clock ticks after boot (proc(5) stat, field 22). 0: not known.
    pub start: AtomicU64,

    /// Time-stamp counter when the wait began.
    pub waits_since: AtomicU64,
    /// Calls on emulated objects that came by each layer. Written by the owner only.
    pub by_hook: AtomicU64,
    pub by_trap: AtomicU64,
    /// Traps that concerned nothing of ringer's.
    pub passed: AtomicU64,
    pub sleeps: AtomicU64,
    /// Time asleep in the shim, in time-stamp counter ticks.
    pub slept_tsc: AtomicU64,
    /// A descriptor that was closed while this thread waited on it: its description's slot, and,
    /// in the upper half, the number plus one under which the twin is kept open. 0: none.
    pub linger: AtomicU64,
    /// While it waits: the slot of the description that it waits on in the upper half, and the
    /// descriptor plus one. 0: it does not wait.
    pub holds: AtomicU64,
    /// Of which PID namespace `pid` and `tid` are numbers: see `alive`. 0: not known.
    pub namespace: AtomicU32,
    /// Generation of the process's slot. 0: the process has gone on without this thread (exec).
    pub process_generation: AtomicU32,
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Task {}

impl Task {
    /// What the kernel has said of the thread, without asking it.
    #[inline(always)]
    pub fn kernel_says_dead(&self) -> bool {
        self.life.load(Relaxed) & OWNER_DIED != 0
    }

    /// Alive for sure: registered, and not marked dead.
    #[inline(always)]
    pub fn surely_alive(&self) -> bool {
        let life = self.life.load(Acquire); // pairs with the kernel's store at exit
        life != 0 && life & OWNER_DIED == 0
    }

    /// The life word names another thread than the slot does: somebody has scribbled over one of them.
    pub fn is_damaged(&self) -> bool {
        let life = self.life.load(Relaxed);
        life != 0 && life & TID_MASK != self.tid.load(Relaxed)
    }

    /// One more on a counter that only the owner writes.
    #[inline(always)]
    pub fn count(counter: &AtomicU64) {
        counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
    }
}
