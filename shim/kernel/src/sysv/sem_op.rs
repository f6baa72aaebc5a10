//! semop(2), semtimedop(2). See Linux v6.18 ipc/sem.c
//! `do_semtimedop`.

use super::perm::{Who, READ, WRITE};
use super::root::Root;
use super::sem::{journal, lock_id, value_of, word, SemSet};
use super::sem_step::{log_op, log_steps, perform, step, Sembuf, Tried};
use super::sem_undo;
use super::waiter::{self, how, Waiter, Wakes};
use super::{sem_wait, sem_wait::Sleep};
use crate::abi::errno::{SysError, SysResult};
use crate::abi::Errno;
use crate::host::{crash_point, Host, UserRead};
use crate::pipe::Ctx;
use crate::sync::atomic::Ordering::*;

/// semtimedop(2). `patience` is what its last argument says, looked at in its turn.
#[inline(always)]
pub fn semtimedop<H: Host, U: UserRead>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    user: &mut U,
    nsops: usize,
    patience: impl FnOnce() -> Result<Option<u64>, Errno>,
) -> SysResult {
    if nsops > root.semopm() as usize {
        return Err(Errno::E2BIG.into());
    }
    if nsops != 1 {
        return several(k, root, who, id, user, nsops, patience);
    }
    let sop = fetch(user)?;
    let patience = patience()?;
    one(k, root, who, id, sop, patience)
}

#[inline(always)]
fn fetch<U: UserRead>(user: &mut U) -> Result<Sembuf, Errno> {
    let mut sop = Sembuf::default();
    if user.copy_in((&raw mut sop).cast(), core::mem::size_of::<Sembuf>()) {
        Ok(sop)
    } else {
        Err(Errno::EFAULT)
    }
}

/// One operation: most calls have no more.
#[inline(always)]
fn one<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    sop: Sembuf,
    patience: Option<u64>,
) -> SysResult {
    let asked = if sop.op != 0 { WRITE } else { READ };
    let (index, set, undo) = open(k, root, who, id, u32::from(sop.num), asked, sop.undoes())?;
    let tried = try_one(k, root, set, who.pid, sop, undo);
    match tried {
        Tried::Done => {
            let cause = log_op(k, set, sop, who.pid, 0);
            after(k, root, set, sop.op != 0, cause);
            Ok(0)
        }
        // Not before all have been looked at.
        Tried::Failed(Errno::EAGAIN) if sem_undo::many(k.arena, root, set) => {
            set.unlock(k);
            sleep_one(k, root, who, id, index, sop, patience)
        }
        Tried::Failed(e) => {
            set.unlock(k);
            Err(e.into())
        }
        Tried::Waits => {
            set.unlock(k);
            sleep_one(k, root, who, id, index, sop, patience)
        }
    }
}

/// An operation has been carried out: others may go on now. Gives the lock up.
#[inline(always)]
fn after<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    set: &'static SemSet,
    alters: bool,
    cause: u64,
) {
    set.otime.store(k.host.wall_secs(), Relaxed);
    if alters && set.anybody_waits() {
        let mut wakes = Wakes::none();
        sem_wait::update(k, root, set, cause, &mut wakes);
        set.unlock(k);
        wakes.wake(k, root);
    } else {
        set.unlock(k);
    }
}

#[inline(always)]
fn try_one<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    set: &'static SemSet,
    pid: u32,
    sop: Sembuf,
    undo: u32,
) -> Tried {
    let Some(sem) = set.sem(k.arena, u32::from(sop.num)) else {
        return Tried::Failed(Errno::EFBIG);
    };
    let value = value_of(sem.load(Relaxed));
    if !sop.undoes() {
        return match step(value, None, sop) {
            Ok((value, _)) => {
                sem.store(word(value, pid), Relaxed); // A1
                Tried::Done
            }
            Err(tried) => tried,
        };
    }
    let Some(adj) = sem_undo::adj(k.arena, root, undo, u32::from(sop.num)) else {
        return Tried::Failed(Errno::ENOMEM);
    };
    match step(value, Some(adj.load(Relaxed) as i32), sop) {
        Ok((value, undo_value)) => {
            set.j_sem.store(u32::from(sop.num), Relaxed);
            set.j_value.store(word(value, pid), Relaxed);
            set.j_undo.store(undo, Relaxed);
            set.j_adj.store(undo_value as u32, Relaxed);
            set.j_state.store(journal::ONE, Release);
            crash_point("sysv.committed");
            adj.store(undo_value as u32, Release);
            crash_point("sysv.committed");
            sem.store(word(value, pid), Release);
            set.j_state.store(journal::NONE, Release);
            Tried::Done
        }
        Err(tried) => tried,
    }
}

/// Finds the set and the caller's undo values, and looks whether he may. The set is locked.
#[inline(always)]
fn open<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    max: u32,
    asked: u32,
    undoes: bool,
) -> Result<(u32, &'static SemSet, u32), SysError> {
    let (index, set) = lock_id(k, root, id)?;
    let mut undo = 0;
    if undoes {
        undo = sem_undo::find(k.arena, root, set, who);
        if undo == 0 {
            set.unlock(k);
            undo = sem_undo::make(k, root, who, id)?;
            set.lock(k, root, index);
            if !set.perm.is(id) {
                set.unlock(k);
                return Err(Errno::EIDRM.into());
            }
        }
    }
    if sem_undo::doubtful(k.arena, root, set, who.slot, sem_undo::FEW) {
        settle(k, root, who, id, index, set)?;
    }
    if max >= set.nsems.load(Relaxed) {
        set.unlock(k);
        return Err(Errno::EFBIG.into());
    }
    if !set.perm.allows(asked, who) {
        set.unlock(k);
        return Err(Errno::EACCES.into());
    }
    Ok((index, set, undo))
}

/// Some other process that has something to undo may be dead. The set is locked again afterwards.
#[cold]
fn settle<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    index: u32,
    set: &'static SemSet,
) -> Result<(), SysError> {
    set.unlock(k);
    sem_undo::settle(k, root, index, who.slot);
    set.lock(k, root, index);
    if set.perm.is(id) {
        return Ok(());
    }
    set.unlock(k);
    Err(Errno::EIDRM.into())
}

/// The general case: the operations are written into this thread's waiter.
#[cold]
fn several<H: Host, U: UserRead>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    user: &mut U,
    nsops: usize,
    patience: impl FnOnce() -> Result<Option<u64>, Errno>,
) -> SysResult {
    if nsops < 1 {
        return Err(Errno::EINVAL.into());
    }
    let (mine, w) = waiter::own(k, root, who)?;
    w.reserve(k, nsops)?;
    let (mut max, mut seen, mut flags, mut undoes) = (0, 0u64, 0, false);
    for i in 0..nsops {
        let sop = fetch(user)?;
        let step = w.step(k.arena, i).ok_or(Errno::ENOMEM)?;
        step.sop.store(sop.pack(), Relaxed);
        let bit = 1 << (sop.num % 64);
        if seen & bit != 0 {
            flags |= how::DUP;
        }
        if sop.op != 0 {
            flags |= how::ALTERS;
            seen |= bit;
        }
        max = max.max(u32::from(sop.num));
        undoes |= sop.undoes();
    }
    let patience = patience()?;
    let asked = if flags & how::ALTERS != 0 {
        WRITE
    } else {
        READ
    };
    let (index, set, undo) = open(k, root, who, id, max, asked, undoes)?;
    try_or_sleep(
        k,
        root,
        (index, set),
        (mine, w),
        (flags, undo),
        patience,
        who,
    )
}

/// As `one`, when it has to wait. (It is tried once more, under the lock that it waits under.)
#[cold]
fn sleep_one<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    index: u32,
    sop: Sembuf,
    patience: Option<u64>,
) -> SysResult {
    sem_undo::settle(k, root, index, who.slot);
    let (mine, w) = waiter::own(k, root, who)?;
    w.reserve(k, 1)?;
    let only = w.step(k.arena, 0).ok_or(Errno::ENOMEM)?;
    only.sop.store(sop.pack(), Relaxed);
    let asked = if sop.op != 0 { WRITE } else { READ };
    // By now it may be gone: as if it had been under our sleep.
    let opened = open(k, root, who, id, u32::from(sop.num), asked, sop.undoes());
    let (index, set, undo) = opened.map_err(|e| match e {
        SysError::Errno(Errno::EINVAL) => Errno::EIDRM.into(),
        e => e,
    })?;
    let flags = if sop.op != 0 { how::ALTERS } else { 0 };
    try_or_sleep(
        k,
        root,
        (index, set),
        (mine, w),
        (flags, undo),
        patience,
        who,
    )
}

/// What the waiter says is done, now or later. The set is locked.
fn try_or_sleep<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    (index, set): (u32, &'static SemSet),
    (mine, w): (u32, &'static Waiter),
    (flags, undo): (u32, u32),
    patience: Option<u64>,
    who: &Who<'_>,
) -> SysResult {
    w.how.store(flags, Relaxed);
    w.undo.store(undo, Relaxed);
    sem_wait::enter(w, index);
    match perform(k, root, set, mine, w, false) {
        Tried::Done => {
            w.object.store(0, Release);
            let cause = log_steps(k, set, w);
            after(k, root, set, flags & how::ALTERS != 0, cause);
            Ok(0)
        }
        Tried::Failed(e) => {
            w.object.store(0, Release);
            set.unlock(k);
            Err(e.into())
        }
        Tried::Waits => {
            let (slot, patience) = (who.slot, patience);
            let s = Sleep {
                index,
                set,
                mine,
                w,
                patience,
                slot,
            };
            sem_wait::sleep(k, root, &s)
        }
    }
}
