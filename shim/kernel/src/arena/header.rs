//! The first page: who may attach, what is switched on, and the heads of the free lists.

use core::array;

use super::layout::{LAYOUT_VERSION, MAGIC};
use super::safe::ArenaSafe;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::robust::RobustLock;

/// Free lists of the heap and the tables: see `alloc`.
pub const CLASSES: usize = super::alloc::CLASSES;

/// Bits of [`Header::flags`].
pub mod flag {
    /// Transitions are logged.
    pub const LOG: u32 = 1;
    /// The real kernel serves; ringer only watches.
    pub const OBSERVE: u32 = 2;
    /// The session has a name: it outlives its processes.
    pub const NAMED: u32 = 4;
    /// What is emulated (`--emulate`), a bit for each mechanism.
    pub const EMULATE_PIPE: u32 = 8;
    pub const EMULATE_SIGNAL: u32 = 16;
    pub const EMULATE_EVENTFD: u32 = 32;
    pub const EMULATE_UNIX: u32 = 64;
    pub const EMULATE_MQ: u32 = 128;
    pub const EMULATE_SEM: u32 = 256;
    pub const EMULATE_SYSV: u32 = 512;
    pub const EMULATE_SHM: u32 = 1024;
    /// `--emulate=all`, and what a session has that was made with nothing but LD_PRELOAD.
    pub const EMULATE_ALL: u32 = EMULATE_PIPE
        | EMULATE_SIGNAL
        | EMULATE_EVENTFD
        | EMULATE_SYSV
        | EMULATE_MQ
        | EMULATE_UNIX
        | EMULATE_SEM
        | EMULATE_SHM;
}

/// Bits of [`Header::shortage`].
pub mod shortage {
    /// A process got no slot, so it runs on the kernel.
    pub const PROCESS: u32 = 1;
    /// A thread got none, so its process's pipes are the kernel's.
    pub const THREAD: u32 = 2;
}

/// # Lock
///
/// `lock` guards `bump`, `free`, and the tables' free lists and high-water marks. Everything
/// else is immutable after creation, or an atomic counter.
#[repr(C, align(64))]
pub struct Header {
    /// Written last by the creator: no magic, no arena.
    pub magic: AtomicU64,
    pub layout_version: AtomicU32,
    pub flags: AtomicU32,
    /// Build of the shim: only the same build may attach.
    pub build: AtomicU64,
    /// Length of the file, bytes.
    pub len: AtomicU64,
    /// CLOCK_MONOTONIC and the time-stamp counter at creation: `ringer` converts by them.
    pub created_ns: AtomicU64,
    pub created_tsc: AtomicU64,
    /// Process that made the session, and the supervisor's pid (0: none).
    pub creator: AtomicU32,
    pub supervisor: AtomicU32,

    pub lock: RobustLock,
    /// Most slots of each table that were ever in use.
    pub procs_used: AtomicU32,
    pub tasks_used: AtomicU32,
    pub files_used: AtomicU32,
    pub pipes_used: AtomicU32,
    pub rings_used: AtomicU32,
    /// Slots of each table for which memory exists: see `pages`.
    pub procs_made: AtomicU32,
    pub tasks_made: AtomicU32,
    pub files_made: AtomicU32,
    pub pipes_made: AtomicU32,
    pub rings_made: AtomicU32,
    pub files_free: AtomicU32,
    pub pipes_free: AtomicU32,
    /// Next unused unit of the heap.
    pub bump: AtomicU32,
    /// Next unused unit of the chunk that small blocks come from, and that chunk's end.
    pub small_at: AtomicU32,
    pub populated: AtomicU32,
    pub free: [AtomicU32; CLASSES],

    /// The N of pipe#N, of whatever class: names for people, never reused. See `log::object`.
    pub object_ids: AtomicU32,
    pub pipes_live: AtomicU32,
    /// Bumped whenever a process comes or goes: the supervisor sleeps on it.
    pub proc_events: AtomicU32,
    /// Demotions, by cause: see `log::Cause`.
    pub demotions: AtomicU32,
    /// Times that a lock was taken over from a dead owner.
    pub orphaned: AtomicU32,
    /// Process slot where the next look for dead processes begins.
    pub sweep_at: AtomicU32,
    /// Bits of `shortage`: what was said to be short, so that it is said once.
    pub shortage: AtomicU32,
    /// Threads for whose log ring there was no memory.
    pub unlogged: AtomicU32,

    pub eventfds_used: AtomicU32,
    pub eventfds_made: AtomicU32,
    pub eventfds_free: AtomicU32,
    pub eventfds_live: AtomicU32,
    /// Where the root of System V objects is, 0 for none: see `sysv`.
    pub sysv: AtomicU32,
    /// Names of message queues: see `mqueue::name`.
    pub mq_names: RobustLock,
    pub queues_used: AtomicU32,
    pub queues_made: AtomicU32,
    pub queues_free: AtomicU32,
    /// Records of waiting threads, by their slots: see `mqueue::wait`.
    pub waiters_made: AtomicU32,

    pub pairs_used: AtomicU32,
    pub pairs_made: AtomicU32,
    pub pairs_free: AtomicU32,
    pub pairs_live: AtomicU32,

    /// Processes that began to look here for signals, and blocks of memory for what is pending: `ringer
    /// bench` sees by them that its workers were served.
    pub signals_opened: AtomicU32,
    pub signals_queued: AtomicU32,

    /// Pairs whose mode is PENDING. A hint: too high costs time only.
    pub pairs_pending: AtomicU32,
    /// Names on which a process of the session listens, or has: see `unix::name`.
    pub listeners: [AtomicU32; 16],
    /// Not 0: a process of the session has made or opened a FIFO, so whoever opens a file looks first
    /// whether it is one.
    pub fifos: AtomicU32,
    /// Where the table of objects that are only observed is, 0 for none: see `log::observed`.
    pub observed: AtomicU32,
    /// PID namespace that the session was made in. 0: not known.
    pub namespace: AtomicU32,
    /// The one that the supervisor's number is of.
    pub supervisor_namespace: AtomicU32,
}

// SAFETY: atomics only, no implicit padding that anybody reads; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Header {}

/// Why an arena can not be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unusable {
    NotAnArena,
    OtherLayout { found: u32 },
    OtherBuild,
    Truncated,
}

impl Header {
    pub const fn zeroed() -> Header {
        // A const initialiser, not a shared constant.
        #[allow(clippy::declare_interior_mutable_const)]
        const ZERO: AtomicU32 = AtomicU32::new(0);
        const fn z64() -> AtomicU64 {
            AtomicU64::new(0)
        }
        const fn z() -> AtomicU32 {
            AtomicU32::new(0)
        }
        Header {
            magic: z64(),
            layout_version: z(),
            flags: z(),
            build: z64(),
            len: z64(),
            created_ns: z64(),
            created_tsc: z64(),
            creator: z(),
            supervisor: z(),
            lock: RobustLock { word: z() },
            procs_used: z(),
            tasks_used: z(),
            files_used: z(),
            pipes_used: z(),
            rings_used: z(),
            procs_made: z(),
            tasks_made: z(),
            files_made: z(),
            pipes_made: z(),
            rings_made: z(),
            files_free: z(),
            pipes_free: z(),
            bump: z(),
            small_at: z(),
            populated: z(),
            free: [ZERO; CLASSES],
            object_ids: z(),
            pipes_live: z(),
            proc_events: z(),
            demotions: z(),
            orphaned: z(),
            sweep_at: z(),
            shortage: z(),
            unlogged: z(),
            eventfds_used: z(),
            eventfds_made: z(),
            eventfds_free: z(),
            eventfds_live: z(),
            sysv: z(),
            mq_names: RobustLock { word: z() },
            queues_used: z(),
            queues_made: z(),
            queues_free: z(),
            waiters_made: z(),
            pairs_used: z(),
            pairs_made: z(),
            pairs_free: z(),
            pairs_live: z(),
            signals_opened: z(),
            signals_queued: z(),
            pairs_pending: z(),
            listeners: [ZERO; 16],
            fifos: z(),
            observed: z(),
            namespace: z(),
            supervisor_namespace: z(),
        }
    }

    /// Fills in a fresh, all-zero arena. The magic goes in last: a half-made arena is none.
    pub fn initialise(&self, len: u64, build: u64, flags: u32, creator: u32, ns: u64, tsc: u64) {
        self.layout_version.store(LAYOUT_VERSION, Relaxed);
        self.flags.store(flags, Relaxed);
        self.build.store(build, Relaxed);
        self.len.store(len, Relaxed);
        self.created_ns.store(ns, Relaxed);
        self.created_tsc.store(tsc, Relaxed);
        self.creator.store(creator, Relaxed);
        // Index 0 of every table is "none".
        for used in [
            &self.procs_used,
            &self.tasks_used,
            &self.files_used,
            &self.pipes_used,
            &self.rings_used,
            &self.eventfds_used,
            &self.queues_used,
            &self.pairs_used,
        ] {
            used.store(1, Relaxed);
        }
        self.magic.store(MAGIC, Release); // pairs with `check`
    }

    /// Whether a process of build `build`, which mapped `mapped` bytes, may use this arena.
    pub fn check(&self, build: u64, mapped: u64) -> Result<(), Unusable> {
        if self.magic.load(Acquire) != MAGIC {
            return Err(Unusable::NotAnArena);
        }
        let found = self.layout_version.load(Relaxed);
        if found != LAYOUT_VERSION {
            return Err(Unusable::OtherLayout { found });
        }
        if self.build.load(Relaxed) != build {
            return Err(Unusable::OtherBuild);
        }
        if self.len.load(Relaxed) != mapped {
            return Err(Unusable::Truncated);
        }
        Ok(())
    }

    /// "This is short." `true`: nobody in the session has said so before.
    pub fn note_shortage(&self, what: u32) -> bool {
        self.shortage.fetch_or(what, Relaxed) & what == 0
    }

    /// Whether the session has any object that a descriptor could name.
    pub fn anything_lives(&self) -> bool {
        let live = [&self.pipes_live, &self.eventfds_live, &self.pairs_live];
        live.iter().any(|n| n.load(Relaxed) != 0)
    }

    pub fn has(&self, bit: u32) -> bool {
        self.flags.load(Relaxed) & bit != 0
    }

    /// The free lists as they are now, for `ringer ipcs` and tests.
    pub fn free_lists(&self) -> [u32; CLASSES] {
        array::from_fn(|i| self.free.get(i).map_or(0, |f| f.load(Relaxed)))
    }
}
