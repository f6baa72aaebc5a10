//! A set of semaphores: semget(2), and what lies in the arena. See Linux v6.18 ipc/sem.c.
//!
//! # Invariants
//!
//! - A1. A semaphore's word, its value and the pid of who changed it last, is changed by one store, under
//!   the set's lock. What must change together goes through the journal.
//! - A2. A value is 0..=SEMVMX; no pending operation could be carried out.
//!
//! # The journal
//!
//! `state` says what is being done; then it is done; then `state` is NONE again. The next owner of the
//! lock, if this one is killed, does it once more.

use super::ids::{self, Named};
use super::log::Logged;
use super::perm::{Perm, Who};
use super::queue::Queue;
use super::root::Root;
use super::table::element;
use super::waiter::Wakes;
use super::{sem_wait, Limits};
use crate::abi::errno::SysResult;
use crate::abi::Errno;
use crate::arena::{alloc, Arena, ArenaSafe, Off};
use crate::host::{crash_point, Host};
use crate::log::{object, Kind};
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::lock_word::Progress;
use crate::sync::robust::{Found as Lock, RobustLock};

/// Largest value. (include/uapi/linux/sem.h)
pub const SEMVMX: i32 = 32767;
/// Largest undo value.
pub const SEMAEM: i32 = SEMVMX;

pub mod journal {
    pub const NONE: u32 = 0;
    /// One semaphore and one undo value: `j_*`.
    pub const ONE: u32 = 1;
    /// The steps of waiter `j_who`.
    pub const STEPS: u32 = 2;
    /// The same, and that waiter sleeps on the result.
    pub const SLEEPER: u32 = 3;
    /// SETALL, from the block `j_who`, by the process `j_sem`.
    pub const ALL: u32 = 4;
}

/// In the arena; each is what its slot of [`Root::sets`] is as long as its id says so.
#[repr(C, align(64))]
pub struct SemSet {
    pub lock: RobustLock,
    pub nsems: AtomicU32,
    /// Block of as many words: value, and in the upper half the pid.
    pub sems_at: AtomicU32,
    /// First of the undo values: see `sem_undo`.
    pub undos: AtomicU32,
    pub perm: Perm,
    pub logged: Logged,

    /// Those who sleep to change something, and those who wait for zeros only.
    pub alter: Queue,
    pub zero: Queue,
    /// Of the former, how many have several operations.
    pub complex: AtomicU32,
    pub spin: AtomicU32,
    pub tickets: AtomicU64,
    pub otime: AtomicU64,
    pub ctime: AtomicU64,

    pub j_state: AtomicU32,
    pub j_sem: AtomicU32,
    pub j_value: AtomicU64,
    pub j_undo: AtomicU32,
    pub j_adj: AtomicU32,
    pub j_who: AtomicU32,
    pub asleep: AtomicU32,
    pub created_tsc: AtomicU64,
    _pad: [AtomicU64; 9],
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for SemSet {}

impl Named for SemSet {
    fn perm(&self) -> &Perm {
        &self.perm
    }

    fn logged(&self) -> &Logged {
        &self.logged
    }
}

const _: () = assert!(core::mem::size_of::<SemSet>() == 256);

pub fn word(value: i32, pid: u32) -> u64 {
    u64::from(value as u32) | u64::from(pid) << 32
}

pub fn value_of(word: u64) -> i32 {
    word as u32 as i32
}

pub fn pid_of(word: u64) -> u32 {
    (word >> 32) as u32
}

/// More do not fit into a block of the heap.
pub const MOST: u32 = 1 << 19;

impl SemSet {
    /// How many semaphores it has.
    #[inline(always)]
    pub fn len(&self) -> u32 {
        self.nsems.load(Relaxed).min(MOST)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Semaphore number `i`, under the lock.
    #[inline(always)]
    pub fn sem(&self, arena: &Arena, i: u32) -> Option<&'static AtomicU64> {
        if i >= self.nsems.load(Relaxed) {
            return None;
        }
        element(arena, self.sems_at.load(Relaxed), i as usize)
    }

    #[inline(always)]
    pub fn anybody_waits(&self) -> bool {
        self.alter.head.load(Relaxed) | self.zero.head.load(Relaxed) != 0
    }

    /// Takes the lock, and puts in order what a dead owner left.
    #[inline(always)]
    pub fn lock<H: Host>(&'static self, k: &Ctx<'_, H>, root: &'static Root, index: u32) {
        let found = self.lock.lock(k.me, k.host, k);
        if let Lock::Orphaned { dead } = found {
            k.arena.header().orphaned.fetch_add(1, Relaxed);
            let dead = i64::from(dead.raw());
            self.logged.put(k, Kind::SysvOrphaned, 0, (dead, 0, 0));
            sem_wait::repair(k, root, self, index);
        }
    }

    #[inline(always)]
    pub fn unlock<H: Host>(&self, k: &Ctx<'_, H>) {
        let _ = self.lock.unlock(k.me, Progress::Made, k.host);
    }
}

/// The set that an id names, locked. EINVAL: there is none.
#[inline(always)]
pub fn lock_id<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    id: i32,
) -> Result<(u32, &'static SemSet), Errno> {
    let index = ids::index_of(id);
    let set = root.sets.get(k.arena, index).filter(|_| id >= 0);
    let Some(set) = set.filter(|s| s.perm.is(id)) else {
        return Err(Errno::EINVAL);
    };
    set.lock(k, root, index);
    if !set.perm.is(id) {
        set.unlock(k);
        return Err(Errno::EIDRM);
    }
    Ok((index, set))
}

/// semget(2).
pub fn semget<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    key: i32,
    nsems: i32,
    flags: i32,
) -> SysResult {
    let limits = root.limits();
    let Some(nsems) = u32::try_from(nsems).ok().filter(|&n| n <= limits.semmsl) else {
        return Err(Errno::EINVAL.into());
    };
    let id = root.locked(k, || {
        let all = (&root.sem_ids, &root.sets);
        let big_enough = |s: &SemSet| nsems <= s.nsems.load(Relaxed);
        let make = || make(k, root, who, key, nsems, flags, &limits);
        ids::get(k, all, who, (key, flags), big_enough, make)
    })?;
    Ok(id as usize)
}

/// `newary`, under the root's lock.
fn make<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    key: i32,
    nsems: u32,
    flags: i32,
    limits: &Limits,
) -> Result<i32, Errno> {
    if nsems == 0 {
        return Err(Errno::EINVAL);
    }
    let sems = root.sems.load(Relaxed) + u64::from(nsems);
    if sems > u64::from(limits.semmns) {
        return Err(Errno::ENOSPC);
    }
    let is_free = |i| root.sets.in_use(k.arena, i).is_none();
    let (index, seq) = root.sem_ids.choose(limits.semmni, is_free)?;
    let set = root.sets.make(k, index)?;
    let len = bytes(nsems);
    let block = alloc::alloc_made(k.arena, k.me, k.host, len)?;
    super::table::clear(k.arena, block.raw(), len);
    set.lock(k, root, index); // a late caller with an old id may hold it
    for word in [
        &set.undos,
        &set.alter.head,
        &set.alter.tail,
        &set.zero.head,
        &set.zero.tail,
        &set.complex,
        &set.spin,
        &set.j_state,
        &set.asleep,
    ] {
        word.store(0, Relaxed);
    }
    set.otime.store(0, Relaxed);
    set.ctime.store(k.host.wall_secs(), Relaxed);
    set.created_tsc.store(k.host.tsc(), Relaxed);
    set.sems_at.store(block.raw(), Relaxed);
    set.nsems.store(nsems, Relaxed);
    set.perm.begin(key, flags as u32, who);
    set.logged.begin(k, object::SYSV_SEM);
    crash_point("sysv.made");
    let id = root.sem_ids.publish(&set.perm, index, seq);
    root.sems.store(sems, Relaxed);
    let abc = (i64::from(id), key as u32 as u64, u64::from(nsems));
    set.logged.put(k, Kind::SysvCreate, 0, abc);
    set.unlock(k);
    Ok(id)
}

fn bytes(nsems: u32) -> usize {
    nsems as usize * core::mem::size_of::<AtomicU64>()
}

/// `freeary`: IPC_RMID. `allowed` is asked before anything is done.
pub fn remove<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    id: i32,
    allowed: impl FnOnce(&Perm) -> Result<(), Errno>,
) -> SysResult {
    root.locked(k, || {
        let (_, set) = lock_id(k, root, id)?;
        if let Err(e) = allowed(&set.perm) {
            set.unlock(k);
            return Err(e.into());
        }
        root.sem_ids.withdraw(&set.perm);
        crash_point("sysv.made");
        let nsems = set.nsems.swap(0, Relaxed);
        let block = Off::<u8>::from_raw(set.sems_at.swap(0, Relaxed));
        let before = root.sems.load(Relaxed);
        root.sems
            .store(before.saturating_sub(u64::from(nsems)), Relaxed);
        super::sem_undo::forget_set(k, root, set);
        let record = set
            .logged
            .put(k, Kind::SysvRemove, 0, (i64::from(id), 0, 0));
        let mut wakes = Wakes::none();
        sem_wait::dismiss(k, root, set, Errno::EIDRM, record, &mut wakes);
        set.unlock(k);
        wakes.wake(k, root);
        if let Some(block) = block {
            alloc::free(k.arena, k.me, k.host, block, bytes(nsems));
        }
        Ok(0)
    })
}
