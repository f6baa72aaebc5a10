//! semctl(2). See Linux v6.18 ipc/sem.c `ksys_semctl`.

use super::perm::{Ipc64Perm, Who, READ, WRITE};
use super::root::Root;
use super::sem::{journal, lock_id, pid_of, value_of, word, SemSet, SEMAEM, SEMVMX};
use super::waiter::Wakes;
use super::{ids, sem, sem_undo, sem_wait};
use crate::abi::errno::{SysError, SysResult};
use crate::abi::Errno;
use crate::arena::alloc;
use crate::host::{crash_point, Host, UserRead, UserWrite};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::sync::atomic::Ordering::*;

pub const IPC_RMID: i32 = 0;
pub const IPC_SET: i32 = 1;
pub const IPC_STAT: i32 = 2;
pub const IPC_INFO: i32 = 3;
pub const GETPID: i32 = 11;
pub const GETVAL: i32 = 12;
pub const GETALL: i32 = 13;
pub const GETNCNT: i32 = 14;
pub const GETZCNT: i32 = 15;
pub const SETVAL: i32 = 16;
pub const SETALL: i32 = 17;
pub const SEM_STAT: i32 = 18;
pub const SEM_INFO: i32 = 19;
pub const SEM_STAT_ANY: i32 = 20;

/// struct seminfo.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Seminfo {
    pub semmap: i32,
    pub semmni: i32,
    pub semmns: i32,
    pub semmnu: i32,
    pub semmsl: i32,
    pub semopm: i32,
    pub semume: i32,
    pub semusz: i32,
    pub semvmx: i32,
    pub semaem: i32,
}

/// struct semid64_ds of x86-64. (arch/x86/include/uapi/asm/sembuf.h)
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Semid64 {
    pub perm: Ipc64Perm,
    pub otime: u64,
    pub unused1: u64,
    pub ctime: u64,
    pub unused2: u64,
    pub nsems: u64,
    pub unused3: [u64; 2],
}

const _: () = assert!(core::mem::size_of::<Semid64>() == 104);

// include/uapi/linux/sem.h
const SEMMNS: i32 = 32000 * 32000;
const SEMUSZ: i32 = 20;

/// Copies a whole structure out.
pub fn put<T, U: UserWrite>(user: &mut U, value: &T) -> Result<(), Errno> {
    if user.copy_out(core::ptr::from_ref(value).cast(), core::mem::size_of::<T>()) {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

/// Copies a whole structure in.
pub fn fetch<T: Copy + Default, U: UserRead>(user: &mut U) -> Result<T, Errno> {
    let mut value = T::default();
    if user.copy_in((&raw mut value).cast(), core::mem::size_of::<T>()) {
        Ok(value)
    } else {
        Err(Errno::EFAULT)
    }
}

/// semctl(2). `arg` is the fourth argument as a number, `user` what it points to.
pub fn semctl<H: Host, U: UserRead + UserWrite>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    num: i32,
    cmd: i32,
    (arg, user): (usize, &mut U),
) -> SysResult {
    if id < 0 {
        return Err(Errno::EINVAL.into());
    }
    match cmd {
        IPC_INFO | SEM_INFO => info(k, root, cmd, user),
        IPC_STAT | SEM_STAT | SEM_STAT_ANY => stat(k, root, who, id, cmd, user),
        GETALL => get_all(k, root, who, id, user),
        SETALL => set_all(k, root, who, id, user),
        GETVAL | GETPID | GETNCNT | GETZCNT => get(k, root, who, id, num, cmd),
        SETVAL => set_value(k, root, who, id, num, arg as i32),
        IPC_SET => {
            let new: Semid64 = fetch(user)?;
            set(k, root, who, id, &new.perm)
        }
        IPC_RMID => sem::remove(k, root, id, |perm| perm.may_control(who)),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn max_index<H: Host>(k: &Ctx<'_, H>, root: &'static Root) -> usize {
    let free = |i| root.sets.in_use(k.arena, i).is_none();
    root.sem_ids.max_index(free).map_or(0, |i| i as usize)
}

fn info<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    cmd: i32,
    user: &mut U,
) -> SysResult {
    let l = root.limits();
    let mut info = Seminfo {
        semmap: SEMMNS,
        semmni: l.semmni as i32,
        semmns: l.semmns as i32,
        semmnu: SEMMNS,
        semmsl: l.semmsl as i32,
        semopm: l.semopm as i32,
        semume: 500,
        semusz: SEMUSZ,
        semvmx: SEMVMX,
        semaem: SEMAEM,
    };
    let max = root.locked(k, || {
        if cmd == SEM_INFO {
            info.semusz = root.sem_ids.in_use.load(Relaxed) as i32;
            info.semaem = root.sems.load(Relaxed) as i32;
        }
        max_index(k, root)
    });
    put(user, &info)?;
    Ok(max)
}

/// The set with this index, whatever its id: SEM_STAT.
fn by_index<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    index: i32,
) -> Result<(u32, &'static SemSet), Errno> {
    let set = root.sets.in_use(k.arena, ids::index_of(index));
    let set = set.ok_or(Errno::EINVAL)?;
    lock_id(k, root, set.perm.id())
}

fn stat<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    cmd: i32,
    user: &mut U,
) -> SysResult {
    let (_, set) = if cmd == IPC_STAT {
        lock_id(k, root, id)?
    } else {
        by_index(k, root, id)?
    };
    let allowed = cmd == SEM_STAT_ANY || set.perm.allows(READ, who);
    let all = Semid64 {
        perm: set.perm.as_user(),
        otime: set.otime.load(Relaxed),
        ctime: set.ctime.load(Relaxed),
        nsems: u64::from(set.nsems.load(Relaxed)),
        ..Semid64::default()
    };
    let full = set.perm.id();
    set.unlock(k);
    if !allowed {
        return Err(Errno::EACCES.into());
    }
    put(user, &all)?;
    Ok(if cmd == IPC_STAT { 0 } else { full as usize })
}

/// The set, locked, if `who` may have `asked`; and nobody dead has anything to give back.
fn open<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    asked: u32,
) -> Result<&'static SemSet, SysError> {
    let (index, set) = lock_id(k, root, id)?;
    if sem_undo::doubtful(k.arena, root, set, who.slot, sem_undo::ALL) {
        set.unlock(k);
        sem_undo::settle(k, root, index, who.slot);
        set.lock(k, root, index);
    }
    let why = if !set.perm.is(id) {
        Errno::EIDRM
    } else if !set.perm.allows(asked, who) {
        Errno::EACCES
    } else {
        return Ok(set);
    };
    set.unlock(k);
    Err(why.into())
}

fn get<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    num: i32,
    cmd: i32,
) -> SysResult {
    let set = open(k, root, who, id, READ)?;
    let sem = u32::try_from(num).ok().and_then(|n| set.sem(k.arena, n));
    let result = sem.map(|s| match cmd {
        GETVAL => value_of(s.load(Relaxed)) as usize,
        GETPID => pid_of(s.load(Relaxed)) as usize,
        _ => sem_wait::count(k, root, set, num as u32, cmd == GETZCNT),
    });
    set.unlock(k);
    result.ok_or(Errno::EINVAL.into())
}

/// Values are copied so many at a time.
const PIECE: usize = 64;

fn get_all<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    user: &mut U,
) -> SysResult {
    let set = open(k, root, who, id, READ)?;
    let nsems = set.len() as usize;
    let mut ok = true;
    for first in (0..nsems).step_by(PIECE) {
        let mut piece = [0u16; PIECE];
        let n = (nsems - first).min(PIECE);
        for (i, to) in piece.iter_mut().take(n).enumerate() {
            let sem = set.sem(k.arena, (first + i) as u32);
            *to = sem.map_or(0, |s| value_of(s.load(Relaxed)) as u16);
        }
        ok = ok && user.copy_out(piece.as_ptr().cast(), n * 2);
    }
    set.unlock(k);
    if ok {
        Ok(0)
    } else {
        Err(Errno::EFAULT.into())
    }
}

fn set_all<H: Host, U: UserRead>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    user: &mut U,
) -> SysResult {
    let set = open(k, root, who, id, WRITE)?;
    let nsems = set.len();
    set.unlock(k);
    // Into a block of the arena, from which the next owner of the lock could do it, too.
    let len = sem_wait::all_bytes(nsems);
    let block = alloc::alloc_made(k.arena, k.me, k.host, len)?;
    let give_back = |why: Errno| {
        alloc::free(k.arena, k.me, k.host, block, len);
        Err(why.into())
    };
    let Some(to) = k.arena.bytes(block, len) else {
        return give_back(Errno::ENOMEM);
    };
    if !user.copy_in(to, nsems as usize * 2) {
        return give_back(Errno::EFAULT);
    }
    let words = (0..nsems as usize).map(|i| {
        let four = super::table::element::<crate::sync::atomic::AtomicU64>;
        let four = four(k.arena, block.raw(), i / 4).map_or(0, |w| w.load(Relaxed));
        i32::from((four >> (i % 4 * 16)) as u16)
    });
    if words.into_iter().any(|v| v > SEMVMX) {
        return give_back(Errno::ERANGE);
    }
    let Ok(set) = open(k, root, who, id, WRITE) else {
        return give_back(Errno::EIDRM);
    };
    set.j_who.store(block.raw(), Relaxed);
    set.j_sem.store(who.pid, Relaxed);
    set.j_state.store(journal::ALL, Release);
    sem_wait::set_all(k, root, set);
    set.ctime.store(k.host.wall_secs(), Relaxed);
    let record = set.logged.put(k, Kind::SemSet, 0, (-1, 0, 0));
    let mut wakes = Wakes::none();
    sem_wait::update(k, root, set, record, &mut wakes);
    set.unlock(k);
    wakes.wake(k, root);
    Ok(0)
}

fn set_value<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    num: i32,
    value: i32,
) -> SysResult {
    if !(0..=SEMVMX).contains(&value) {
        return Err(Errno::ERANGE.into());
    }
    let (_, set) = lock_id(k, root, id)?;
    let index = u32::try_from(num).ok();
    let sem = index.and_then(|n| set.sem(k.arena, n));
    let why = match sem {
        None => Errno::EINVAL,
        Some(_) if !set.perm.allows(WRITE, who) => Errno::EACCES,
        Some(sem) => {
            sem_undo::forget_values(k.arena, root, set, index);
            crash_point("sysv.committed");
            sem.store(word(value, who.pid), Release);
            set.ctime.store(k.host.wall_secs(), Relaxed);
            let abc = (i64::from(value), num as u64, 0);
            let record = set.logged.put(k, Kind::SemSet, 0, abc);
            let mut wakes = Wakes::none();
            sem_wait::update(k, root, set, record, &mut wakes);
            set.unlock(k);
            wakes.wake(k, root);
            return Ok(0);
        }
    };
    set.unlock(k);
    Err(why.into())
}

fn set<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    new: &Ipc64Perm,
) -> SysResult {
    root.locked(k, || {
        let (_, set) = lock_id(k, root, id)?;
        let done = set
            .perm
            .may_control(who)
            .and_then(|()| set.perm.update(new));
        if done.is_ok() {
            set.ctime.store(k.host.wall_secs(), Relaxed);
            let owner = u64::from(new.gid) << 32 | u64::from(new.uid);
            let abc = (i64::from(id), u64::from(new.mode), owner);
            set.logged.put(k, Kind::SysvSet, 0, abc);
        }
        set.unlock(k);
        done.map(|()| 0).map_err(SysError::from)
    })
}
