//! The root of a session's System V objects: one block of the heap, made by the first call.

use super::ids::{Ids, IPCMNI};
use super::msg::MsgQueue;
use super::sem::SemSet;
use super::sem_undo::Undo;
use super::shm::{Attach, ShmSeg};
use super::table::{self, Table};
use super::waiter::Waiter;
use crate::abi::Errno;
use crate::arena::{alloc, Arena, ArenaSafe, Off};
use crate::host::Host;
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::lock_word::Progress;
use crate::sync::robust::{Found, RobustLock};

/// /proc/sys/kernel/{sem,msg*,shm*}.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub semmsl: u32,
    pub semmns: u32,
    pub semopm: u32,
    pub semmni: u32,
    pub msgmax: u32,
    pub msgmnb: u32,
    pub msgmni: u32,
    pub shmmni: u32,
    pub shmmax: u64,
    pub shmall: u64,
}

/// Linux's own. (include/uapi/linux/{sem,msg,shm}.h)
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            semmsl: 32000,
            semmns: 1_024_000_000,
            semopm: 500,
            semmni: 32000,
            msgmax: 8192,
            msgmnb: 16384,
            msgmni: 32000,
            shmmni: 4096,
            shmmax: u64::MAX - (1 << 24),
            shmall: u64::MAX - (1 << 24),
        }
    }
}

/// [`Limits`] as the session has them.
#[repr(C)]
struct Stored {
    semmsl: AtomicU32,
    semmns: AtomicU32,
    semopm: AtomicU32,
    semmni: AtomicU32,
    msgmax: AtomicU32,
    msgmnb: AtomicU32,
    msgmni: AtomicU32,
    shmmni: AtomicU32,
    shmmax: AtomicU64,
    shmall: AtomicU64,
}

/// Longest path, in words.
const PATH_WORDS: usize = 64;
const SLOTS_OF_256: usize = IPCMNI as usize * 256 / 4096;
pub const MORE: usize = 1024;

/// What a segment's file is called: the arena's name, this, and a number.
pub const SEGMENT: &[u8] = b".sysv-";
/// Room for that.
const SUFFIX: usize = 24;

/// # Lock
///
/// `lock` guards the making and the going of objects and slots, and the counts.
#[repr(C, align(64))]
pub struct Root {
    pub lock: RobustLock,
    _pad: AtomicU32,
    /// Semaphores of all sets.
    pub sems: AtomicU64,
    pub undos_used: AtomicU32,
    pub undos_free: AtomicU32,
    pub undos_live: AtomicU32,
    _pad2: AtomicU32,
    limits: Stored,
    pub sem_ids: Ids,
    _pad3: AtomicU32,
    pub msg_ids: Ids,
    _pad4: AtomicU32,
    pub shm_ids: Ids,
    pub attaches_used: AtomicU32,
    pub attaches_live: AtomicU32,
    _pad5: AtomicU32,
    /// Path of the arena, ended by a NUL: the files of segments are beside it.
    path: [AtomicU64; PATH_WORDS],
    pub sets: Table<SemSet, SLOTS_OF_256>,
    pub waiters: Table<Waiter, SLOTS_OF_256>,
    pub undos: Table<Undo, MORE>,
    pub queues: Table<MsgQueue, SLOTS_OF_256>,
    pub segments: Table<ShmSeg, SLOTS_OF_256>,
    pub attaches: Table<Attach, MORE>,
}

// SAFETY: atomics and tables only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Root {}

/// The session's root, if it has one.
#[inline(always)]
pub fn root(arena: &Arena) -> Option<&'static Root> {
    arena.get(Off::from_raw(arena.header().sysv.load(Acquire))?)
}

/// The session's root, made if need be.
pub fn ensure<H: Host>(k: &Ctx<'_, H>, limits: &Limits) -> Result<&'static Root, Errno> {
    if let Some(root) = root(k.arena) {
        return Ok(root);
    }
    const LEN: usize = core::mem::size_of::<Root>();
    let block = alloc::alloc_made(k.arena, k.me, k.host, LEN)?;
    table::clear(k.arena, block.raw(), LEN);
    let made: &'static Root = Off::from_raw(block.raw())
        .and_then(|at| k.arena.get(at))
        .ok_or(Errno::ENOMEM)?;
    made.set_limits(limits);
    made.undos_used.store(1, Relaxed); // 0 is "none"
    let published = k
        .arena
        .header()
        .sysv
        .compare_exchange(0, block.raw(), AcqRel, Acquire);
    if published.is_err() {
        alloc::free(k.arena, k.me, k.host, block, LEN);
    }
    root(k.arena).ok_or(Errno::ENOMEM)
}

impl Root {
    pub fn limits(&self) -> Limits {
        let l = &self.limits;
        Limits {
            semmsl: l.semmsl.load(Relaxed),
            semmns: l.semmns.load(Relaxed),
            semopm: l.semopm.load(Relaxed),
            semmni: l.semmni.load(Relaxed),
            msgmax: l.msgmax.load(Relaxed),
            msgmnb: l.msgmnb.load(Relaxed),
            msgmni: l.msgmni.load(Relaxed),
            shmmni: l.shmmni.load(Relaxed),
            shmmax: l.shmmax.load(Relaxed),
            shmall: l.shmall.load(Relaxed),
        }
    }

    pub fn set_limits(&self, new: &Limits) {
        let l = &self.limits;
        for (to, from) in [
            (&l.semmsl, new.semmsl),
            (&l.semmns, new.semmns),
            (&l.semopm, new.semopm),
            (&l.semmni, new.semmni),
            (&l.msgmax, new.msgmax),
            (&l.msgmnb, new.msgmnb),
            (&l.msgmni, new.msgmni),
            (&l.shmmni, new.shmmni),
        ] {
            to.store(from, Relaxed);
        }
        l.shmmax.store(new.shmmax, Relaxed);
        l.shmall.store(new.shmall, Relaxed);
    }

    /// Slots of undo values that were ever in use.
    pub fn undo_slots(&self) -> core::ops::Range<u32> {
        1..self
            .undos_used
            .load(Acquire)
            .min(Table::<Undo, MORE>::CAPACITY)
    }

    /// Slots of attachments that were ever in use.
    pub fn attach_slots(&self) -> core::ops::Range<u32> {
        let most = Table::<Attach, MORE>::CAPACITY;
        0..self.attaches_used.load(Acquire).min(most)
    }

    #[inline(always)]
    pub fn semopm(&self) -> u32 {
        self.limits.semopm.load(Relaxed)
    }

    #[inline(always)]
    pub fn msgmax(&self) -> u32 {
        self.limits.msgmax.load(Relaxed)
    }

    /// `path` is the arena's, without a NUL. Too long a one is none.
    pub fn set_path(&self, path: &[u8]) {
        if path.len() >= PATH_WORDS * 8 - SUFFIX {
            return;
        }
        for (word, bytes) in self.path.iter().zip(path.chunks(8)) {
            let mut eight = [0; 8];
            for (to, from) in eight.iter_mut().zip(bytes) {
                *to = *from;
            }
            word.store(u64::from_le_bytes(eight), Relaxed);
        }
    }

    /// Path of segment number `n`'s file, ended by a NUL. `None`: there is none.
    pub fn segment_path(&self, n: u32) -> Option<[u8; PATH_WORDS * 8]> {
        let mut path = [0; PATH_WORDS * 8];
        for (to, word) in path.chunks_mut(8).zip(&self.path) {
            to.copy_from_slice(&word.load(Relaxed).to_le_bytes());
        }
        let len = path.iter().position(|&b| b == 0).filter(|&len| len != 0)?;
        let (mut digits, mut rest, mut count) = ([0u8; 10], n, 0);
        for d in &mut digits {
            *d = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        let tail = digits.iter().take(count).rev();
        let name = SEGMENT.iter().chain(tail);
        for (to, from) in path.iter_mut().skip(len).zip(name) {
            *to = *from;
        }
        Some(path)
    }

    /// Runs `f` under the root's lock.
    pub fn locked<H: Host, R>(&self, k: &Ctx<'_, H>, f: impl FnOnce() -> R) -> R {
        let found = self.lock.lock(k.me, k.host, k);
        if found != Found::InOrder {
            k.arena.header().orphaned.fetch_add(1, Relaxed);
            self.repair(k.arena);
        }
        let result = f();
        let _ = self.lock.unlock(k.me, Progress::None, k.host);
        result
    }

    /// Free lists and tables change by one store each; the counts are taken anew.
    fn repair(&self, arena: &Arena) {
        let is_free = |i| self.sets.in_use(arena, i).is_none();
        self.sem_ids.recount(is_free);
        let is_free = |i| self.queues.in_use(arena, i).is_none();
        self.msg_ids.recount(is_free);
        let is_free = |i| self.segments.in_use(arena, i).is_none();
        self.shm_ids.recount(is_free);
        let sems = (0..IPCMNI).filter_map(|i| self.sets.in_use(arena, i));
        let sems = sems.map(|s| u64::from(s.nsems.load(Relaxed))).sum();
        self.sems.store(sems, Relaxed);
    }
}
