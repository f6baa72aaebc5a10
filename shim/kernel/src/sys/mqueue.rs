//! mq_send(3), mq_receive(3) and their timed forms. Linux v6.18 ipc/mqueue.c `do_mq_timedsend`,
//! `do_mq_timedreceive`, `wq_sleep`.

use crate::abi::errno::{Errno, Restart, SysError, SysResult};
use crate::host::{Host, UserRead, UserWrite};
use crate::log::Kind;
use crate::mqueue::notify::{self, kind, Notice};
use crate::mqueue::store::Store;
use crate::mqueue::wait::{self, stage, Side, Waiter};
use crate::mqueue::{name, repair, Handle};
use crate::pipe::watch::Tokens;
use crate::pipe::Ctx;
use crate::planted::{planted, Bug};
use crate::sync::atomic::Ordering::*;
use crate::sys::Blocking;

mod mirror;
mod sleep;

use mirror::mirror;
pub use mirror::watch;
use sleep::{prepare, sleep, Ended, Ready};

/// What the calling thread is asked, when it comes to waiting.
pub trait Caller {
    /// Nanoseconds until the call's deadline, 0 when it is over. `u64::MAX`: it has none.
    fn left(&self) -> u64;
    /// The kernel's `task->prio`: who has less is served first.
    fn rank(&self) -> u32;
}

/// What a send came to: somebody may have to be sent a signal.
pub type Sent = Result<Option<Notice>, SysError>;

/// mq_timedsend(2), after the checks of its arguments: `len` is at most the queue's mq_msgsize, and
/// `prio` below MQ_PRIO_MAX.
///
/// EFAULT comes before EAGAIN and before any wait: the message is taken first (`load_msg`).
#[inline(always)]
pub fn mq_send<H: Host, T: Tokens>(
    k: &Ctx<'_, H>,
    h: &Handle,
    twin: &T,
    blocking: Blocking,
    src: &mut impl UserRead,
    (len, prio): (usize, u32),
    caller: &impl Caller,
) -> Sent {
    let start = src.position();
    let mut ready: Option<Ready> = None;
    loop {
        if let Some(ready) = &ready {
            ready.begin(k);
        }
        h.lock(k);
        let slot = match send_locked(k, h, twin, src, (len, prio)) {
            Ok(Step::Done(notice)) => return Ok(notice),
            Ok(Step::Wait(slot)) => slot,
            Err(e) => {
                h.unlock(k);
                return failed(k, h, Kind::MqSendFailed, e.into());
            }
        };
        let ended = match (blocking, &ready) {
            (Blocking::No, _) => {
                h.unlock(k);
                Err(Errno::EAGAIN.into())
            }
            (_, None) => {
                h.unlock(k);
                prepare(k, h, Side::Send, caller).map(|p| {
                    ready = Some(p);
                    Ended::Again
                })
            }
            (_, Some(ready)) => wait_for_room(k, h, (slot, prio), ready, caller),
        };
        match ended {
            Ok(Ended::Served(..)) => return Ok(None),
            Ok(Ended::Again) => src.rewind(start),
            Err(e) => return failed(k, h, Kind::MqSendFailed, e),
        }
    }
}

enum Step<T, W> {
    Done(T),
    /// The lock is held still.
    Wait(W),
}

#[inline(always)]
fn send_locked<H: Host, T: Tokens>(
    k: &Ctx<'_, H>,
    h: &Handle,
    twin: &T,
    src: &mut impl UserRead,
    (len, prio): (usize, u32),
) -> Result<Step<Option<Notice>, Option<u32>>, Errno> {
    let store = store_of(k, h)?;
    let slot = match store.spare() {
        Some(slot) => slot,
        None => {
            repair(k, h); // what the dead hold
            match store.spare() {
                Some(slot) => slot,
                None => return Ok(Step::Wait(None)),
            }
        }
    };
    if !store.fill(k, slot, src, len)? {
        return Err(Errno::EFAULT);
    }
    if h.q.is_full() {
        return Ok(Step::Wait(Some(slot)));
    }
    if let Some((number, w)) = wait::first(k, h, Side::Receive) {
        hand_over(k, h, &store, (slot, prio), (number, w));
        return Ok(Step::Done(None));
    }
    store.push(slot, prio);
    let count = h.q.count.load(Relaxed);
    let record = match k.log.is_on() {
        false => 0,
        true => {
            let now = (len as i64, u64::from(prio), u64::from(count));
            h.log(k, Kind::MqSend, 0, now)
        }
    };
    let was_empty = count == 1 || planted(Bug::MqNotifiesWhenNotEmpty);
    let notice = if was_empty && h.q.notify_kind.load(Relaxed) != kind::NOBODY {
        notify::fire(k, h, record)
    } else {
        None
    };
    mirror(k, h, twin, true);
    h.unlock(k);
    Ok(Step::Done(notice))
}

/// The first receiver in line gets the message, and the lock is given up.
#[cold]
fn hand_over<H: Host>(
    k: &Ctx<'_, H>,
    h: &Handle,
    store: &Store,
    (slot, prio): (u32, u32),
    (number, w): (u32, &Waiter),
) {
    store.hold(slot);
    w.slot.store(slot + 1, Relaxed);
    w.prio.store(prio, Relaxed);
    let what = (store.len(slot) as i64, u64::from(prio), u64::from(number));
    let record = h.log(k, Kind::MqHandOver, 0, what);
    let asleep = wait::serve(h.q, Side::Receive, w, stage::DONE, record);
    h.q.waker_cpu.store(k.host.cpu() + 1, Relaxed);
    h.unlock(k);
    if asleep {
        k.host.wake(&w.state, 1);
    }
}

/// The queue is full, its lock is held, and the message is in `slot`, if there was one to spare.
#[cold]
fn wait_for_room<H: Host>(
    k: &Ctx<'_, H>,
    h: &Handle,
    (slot, prio): (Option<u32>, u32),
    ready: &Ready,
    caller: &impl Caller,
) -> Result<Ended, SysError> {
    if let (Some(slot), Some(store)) = (slot, Store::of(k.arena, h.q)) {
        store.hold(slot);
    }
    let ended = sleep(k, h, Side::Send, slot.map(|s| (s, prio)), ready, caller);
    name::left(k, h);
    ended
}

/// mq_timedreceive(2), after the checks of its arguments: there is room for mq_msgsize bytes.
///
/// The message is taken before it is copied: with bad memory it is lost (EFAULT).
#[inline(always)]
pub fn mq_receive<H: Host, T: Tokens>(
    k: &Ctx<'_, H>,
    h: &Handle,
    twin: &T,
    blocking: Blocking,
    dst: &mut impl UserWrite,
    prio_to: &mut impl UserWrite,
    caller: &impl Caller,
) -> SysResult {
    let mut ready: Option<Ready> = None;
    loop {
        if let Some(ready) = &ready {
            ready.begin(k);
        }
        h.lock(k);
        match receive_locked(k, h, twin, dst, prio_to) {
            Ok(Step::Done(len)) => return Ok(len),
            Ok(Step::Wait(())) => {}
            Err(e) => {
                if e != Errno::EFAULT {
                    h.unlock(k);
                }
                return failed(k, h, Kind::MqReceiveFailed, e.into());
            }
        }
        let ended = match (blocking, &ready) {
            (Blocking::No, _) => {
                h.unlock(k);
                Err(Errno::EAGAIN.into())
            }
            (_, None) => {
                h.unlock(k);
                prepare(k, h, Side::Receive, caller).map(|p| {
                    ready = Some(p);
                    Ended::Again
                })
            }
            (_, Some(ready)) => sleep(k, h, Side::Receive, None, ready, caller),
        };
        match ended {
            Ok(Ended::Served(slot, prio)) => return accept(k, h, (slot, prio), dst, prio_to),
            Ok(Ended::Again) => {}
            Err(e) => {
                name::left(k, h);
                return failed(k, h, Kind::MqReceiveFailed, e);
            }
        }
    }
}

/// EFAULT: the message is gone, and so is the lock.
#[inline(always)]
fn receive_locked<H: Host, T: Tokens>(
    k: &Ctx<'_, H>,
    h: &Handle,
    twin: &T,
    dst: &mut impl UserWrite,
    prio_to: &mut impl UserWrite,
) -> Result<Step<usize, ()>, Errno> {
    let store = store_of(k, h)?;
    let slot = match store.first() {
        Some(slot) => slot,
        None => match from_line(k, h, &store) {
            Some(slot) => slot,
            None => return Ok(Step::Wait(())),
        },
    };
    let (len, prio) = (store.len(slot), store.prio(slot));
    let copied =
        prio_to.copy_out((&raw const prio).cast(), 4) && store.read_out(k.arena, slot, dst);
    store.pop(slot);
    let record = match k.log.is_on() {
        false => 0,
        true => {
            let count = u64::from(h.q.count.load(Relaxed));
            h.log(k, Kind::MqReceive, 0, (len as i64, u64::from(prio), count))
        }
    };
    let woken = match wait::first(k, h, Side::Send) {
        None => None,
        Some((_, w)) => admit(k, h, &store, w, record),
    };
    mirror(k, h, twin, false);
    h.unlock(k);
    if let Some(w) = woken {
        k.host.wake(&w.state, 1);
    }
    match copied {
        true => Ok(Step::Done(len)),
        false => Err(Errno::EFAULT),
    }
}

/// The queue is empty, and yet there may be senders in line: those that had no slot. One of them
/// tries again.
fn from_line<H: Host>(k: &Ctx<'_, H>, h: &Handle, store: &Store) -> Option<u32> {
    let (_, w) = wait::first(k, h, Side::Send)?;
    if let Some(w) = admit(k, h, store, w, 0) {
        k.host.wake(&w.state, 1);
    }
    store.first()
}

/// The first sender in line gets the room. `Some`: it is to be woken.
#[cold]
fn admit<'w, H: Host>(
    k: &Ctx<'_, H>,
    h: &Handle,
    store: &Store,
    w: &'w Waiter,
    cause: u64,
) -> Option<&'w Waiter> {
    let outcome = match w.slot.load(Relaxed).checked_sub(1) {
        Some(slot) => {
            let prio = w.prio.load(Relaxed);
            store.admit(slot, prio);
            crate::host::crash_point("mq.admit");
            let count = u64::from(h.q.count.load(Relaxed));
            let what = (store.len(slot) as i64, u64::from(prio), count);
            h.log(k, Kind::MqAdmit, cause, what);
            stage::DONE
        }
        None => stage::AGAIN,
    };
    h.q.waker_cpu.store(k.host.cpu() + 1, Relaxed);
    wait::serve(h.q, Side::Send, w, outcome, cause).then_some(w)
}

/// A message was put into the record: it is copied from its slot, which is free afterwards.
#[cold]
fn accept<H: Host>(
    k: &Ctx<'_, H>,
    h: &Handle,
    (slot, prio): (u32, u32),
    dst: &mut impl UserWrite,
    prio_to: &mut impl UserWrite,
) -> SysResult {
    let store = store_of(k, h)?;
    let len = store.len(slot);
    let copied =
        prio_to.copy_out((&raw const prio).cast(), 4) && store.read_out(k.arena, slot, dst);
    h.lock(k);
    if let Some(w) = wait::of_caller(k) {
        wait::free_slot(k, h, w);
        w.state.store(stage::IDLE, Release);
        wait::less_busy(h.q);
    }
    h.unlock(k);
    name::left(k, h);
    match copied {
        true => Ok(len),
        false => failed(k, h, Kind::MqReceiveFailed, Errno::EFAULT.into()),
    }
}

#[inline(always)]
fn store_of<H: Host>(k: &Ctx<'_, H>, h: &Handle) -> Result<Store, Errno> {
    if h.is_stale() {
        return Err(Errno::EBADF);
    }
    Store::of(k.arena, h.q).ok_or(Errno::EBADF)
}

#[cold]
fn failed<H: Host, R>(k: &Ctx<'_, H>, h: &Handle, kind: Kind, e: SysError) -> Result<R, SysError> {
    let errno = match e {
        SysError::Errno(errno) => errno.get(),
        SysError::Restart(Restart::Sys) => Errno::EINTR.get(),
        SysError::Demoted => 0,
    };
    h.log(k, kind, 0, (i64::from(errno), 0, 0));
    Err(e)
}
