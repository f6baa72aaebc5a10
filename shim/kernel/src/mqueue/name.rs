//! The session's queues by name: mq_open(3), mq_unlink(3), and the end of a queue that nobody can
//! reach any more. Linux v6.18 ipc/mqueue.c `do_mq_open`, `mqueue_create_attr`, `mqueue_evict_inode`.
//!
//! All under `header.mq_names`. A queue is there by one store of its state, and gone by another.
//!
//! # Crash points
//!
//! - C1. Killed while it makes a queue: what it had taken of the arena is lost.
//! - C2. Killed between the state FREE and giving memory back: that is lost.

use super::limits::{self, Attr, Cred, Limits};
use super::store::{self, Store};
use super::{get, handle, state, Handle, Queue};
use crate::abi::limits::PAGE_SIZE;
use crate::abi::Errno;
use crate::arena::{alloc, layout, pages, Off};
use crate::host::{crash_point, Host};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::Progress;

/// What mq_open(3) was asked for.
pub struct Wish<'a> {
    /// Without the slash.
    pub name: &'a [u8],
    /// O_CREAT, O_EXCL, and the access mode.
    pub create: bool,
    pub exclusive: bool,
    pub access: u32,
    /// mq_maxmsg and mq_msgsize.
    pub attr: Option<(i64, i64)>,
    pub limits: &'a dyn Fn() -> Limits,
    /// RLIMIT_MSGQUEUE.
    pub bytes_max: u64,
}

/// A new queue's twin, and its mode after the umask.
#[derive(Clone, Copy)]
pub struct Made {
    pub dev: u64,
    pub ino: u64,
    pub mode: u32,
}

fn with_names<H: Host, R>(k: &Ctx<'_, H>, f: impl FnOnce() -> R) -> R {
    let lock = &k.arena.header().mq_names;
    // No repair: see "Crash points".
    let _ = lock.lock(k.me, k.host, k);
    let result = f();
    let _ = lock.unlock(k.me, Progress::None, k.host);
    result
}

fn used<H: Host>(k: &Ctx<'_, H>) -> u32 {
    let used = k.arena.header().queues_used.load(Relaxed);
    used.min(layout::MAX_QUEUES)
}

/// The queue of that name.
fn find<H: Host>(k: &Ctx<'_, H>, name: &[u8]) -> Option<Handle> {
    (1..used(k)).filter_map(|i| handle(k.arena, i)).find(|h| {
        let (bytes, len) = h.q.name();
        h.q.is_live() && h.q.named.load(Acquire) != 0 && bytes.get(..len) == Some(name)
    })
}

/// Opens or makes a queue; its count of descriptions goes up. `true`: it was made.
///
/// Errors, in Linux's order: of the name; EEXIST, EINVAL, EACCES for one that is there; ENOENT,
/// ENOSPC, EINVAL, EMFILE, ENOMEM for one that is not.
pub fn open<H: Host>(
    k: &Ctx<'_, H>,
    wish: &Wish<'_>,
    who: &Cred<'_>,
    twin: impl FnOnce(u32) -> Result<Made, Errno>,
) -> Result<(Handle, bool), Errno> {
    limits::name(wish.name)?;
    with_names(k, || {
        let found = match find(k, wish.name) {
            Some(h) => {
                admit(wish, who, h.q)?;
                (h, false)
            }
            None if !wish.create => return Err(Errno::ENOENT),
            None => (make(k, wish, who, twin)?, true),
        };
        found.0.q.opens.fetch_add(1, AcqRel);
        Ok(found)
    })
}

fn admit(wish: &Wish<'_>, who: &Cred<'_>, q: &Queue) -> Result<(), Errno> {
    if wish.create && wish.exclusive {
        return Err(Errno::EEXIST);
    }
    let wanted = match wish.access {
        0 => limits::MAY_READ,
        1 => limits::MAY_WRITE,
        2 => limits::MAY_READ | limits::MAY_WRITE,
        _ => return Err(Errno::EINVAL),
    };
    let [mode, uid, gid] = [&q.mode, &q.uid, &q.gid].map(|w| w.load(Relaxed));
    match who.may(mode, uid, gid, wanted) {
        true => Ok(()),
        false => Err(Errno::EACCES),
    }
}

fn make<H: Host>(
    k: &Ctx<'_, H>,
    wish: &Wish<'_>,
    who: &Cred<'_>,
    twin: impl FnOnce(u32) -> Result<Made, Errno>,
) -> Result<Handle, Errno> {
    let live = || {
        (1..used(k))
            .filter_map(|i| get(k.arena, i))
            .filter(|q| q.is_live())
    };
    let limits = (wish.limits)();
    if live().count() >= limits.queues_max as usize && !who.may_exceed {
        return Err(Errno::ENOSPC);
    }
    let attr = limits::attr(wish.attr, &limits, who.may_exceed)?;
    let mine = live().filter(|q| q.uid.load(Relaxed) == who.uid);
    let charged = mine.fold(0u64, |n, q| n.saturating_add(q.charged.load(Relaxed)));
    if charged.saturating_add(attr.charge) > wish.bytes_max {
        return Err(Errno::EMFILE);
    }
    let (slot, q) = take_slot(k)?;
    let filled = fill(k, q, &attr).and_then(|()| twin(q.id.load(Relaxed)));
    let made = match filled {
        Ok(made) => made,
        Err(e) => {
            forget(k, slot, q);
            return Err(e);
        }
    };
    for (chunk, word) in q.name.iter().enumerate() {
        let bytes: [u8; 8] =
            core::array::from_fn(|i| wish.name.get(chunk * 8 + i).copied().unwrap_or(0));
        word.store(u64::from_le_bytes(bytes), Relaxed);
    }
    q.uid.store(who.uid, Relaxed);
    q.gid.store(who.gid, Relaxed);
    q.mode.store(made.mode & 0o7777, Relaxed);
    q.dev.store(made.dev, Relaxed);
    q.ino.store(made.ino, Relaxed);
    q.named.store(1, Relaxed);
    crash_point("mq.make.publish");
    q.state.store(state::LIVE, Release);
    handle(k.arena, slot).ok_or(Errno::ENOMEM)
}

fn take_slot<H: Host>(k: &Ctx<'_, H>) -> Result<(u32, &'static Queue), Errno> {
    alloc::locked(k.arena, k.me, k.host, |h| {
        let slot = alloc::take_slot(
            &h.queues_used,
            &h.queues_free,
            layout::MAX_QUEUES,
            |s| get(k.arena, s).map(|q| q.next_free.load(Relaxed)),
            |s| pages::make::<Queue>(k.arena, k.host, layout::QUEUES, &h.queues_made, s),
        )?;
        let q = get(k.arena, slot)?;
        q.id.store(h.object_ids.fetch_add(1, Relaxed).wrapping_add(1), Relaxed);
        Some((slot, q))
    })
    .ok_or(Errno::ENOSPC)
}

/// An empty queue of these attributes.
fn fill<H: Host>(k: &Ctx<'_, H>, q: &'static Queue, attr: &Attr) -> Result<(), Errno> {
    let slots = attr.maxmsg + store::EXTRA;
    let stride = (attr.msgsize as usize).next_multiple_of(64);
    let whole = slots as usize * stride;
    let segments = whole.div_ceil(store::SEGMENT);
    q.index_at.store(0, Relaxed);
    q.data_at.store(0, Relaxed);
    q.slots.store(slots, Relaxed);
    q.segments.store(segments as u32, Relaxed);
    q.stride.store(stride as u32, Relaxed);
    let index = alloc::alloc_made(k.arena, k.me, k.host, store::index_bytes(slots))?;
    q.index_at.store(index.raw(), Relaxed);
    let data = if segments > 1 {
        let blocks = alloc::alloc_made(k.arena, k.me, k.host, segments * 4)?;
        let at = k.arena.bytes(blocks, segments * 4).ok_or(Errno::ENOMEM)?;
        // SAFETY: a block of that many bytes, which nobody else knows of yet.
        unsafe { at.write_bytes(0, segments * 4) };
        blocks
    } else {
        let block = alloc::alloc(k.arena, k.me, k.host, whole)?;
        let first = whole.min(PAGE_SIZE);
        let there = k.arena.bytes(block, first);
        if !there.is_some_and(|p| k.host.populate(p, first)) {
            alloc::undo(k.arena, k.me, k.host, block, whole);
            return Err(Errno::ENOMEM);
        }
        block
    };
    q.data_at.store(data.raw(), Relaxed);
    q.maxmsg.store(attr.maxmsg, Relaxed);
    q.msgsize.store(attr.msgsize, Relaxed);
    q.charged.store(attr.charge, Relaxed);
    Store::of(k.arena, q).ok_or(Errno::ENOMEM)?.clear();
    for word in [
        &q.opens,
        &q.watched,
        &q.receivers,
        &q.senders,
        &q.notify_kind,
        &q.tokens,
        &q.log_seq,
        &q.busy,
        &q.recv_spin,
        &q.send_spin,
    ] {
        word.store(0, Relaxed);
    }
    q.seq.store(0, Relaxed);
    Ok(())
}

/// The queue's memory and its slot of the table are free.
fn forget<H: Host>(k: &Ctx<'_, H>, slot: u32, q: &'static Queue) {
    q.generation.fetch_add(1, AcqRel);
    if let Some(store) = Store::of(k.arena, q) {
        store.release(k);
    }
    let words = store::index_bytes(q.slots.load(Relaxed));
    if let Some(block) = Off::<u8>::from_raw(q.index_at.swap(0, Relaxed)) {
        alloc::free(k.arena, k.me, k.host, block, words);
    }
    alloc::locked(k.arena, k.me, k.host, |h| {
        q.next_free.store(h.queues_free.load(Relaxed), Relaxed);
        h.queues_free.store(slot, Relaxed);
    });
}

/// mq_unlink(3). The name is free at once.
///
/// Errors: of the name; ENOENT; EACCES, when it is another's (the directory is sticky).
pub fn unlink<H: Host>(k: &Ctx<'_, H>, name: &[u8], who: &Cred<'_>) -> Result<(), Errno> {
    limits::name(name)?;
    with_names(k, || {
        let h = find(k, name).ok_or(Errno::ENOENT)?;
        if !who.may_own && who.uid != h.q.uid.load(Relaxed) {
            return Err(Errno::EACCES);
        }
        h.log(k, Kind::MqUnlink, 0, (0, 0, 0));
        h.q.named.store(0, Release);
        free_if_unused(k, &h);
        Ok(())
    })
}

/// One description fewer. A queue without a name goes with the last.
pub fn close<H: Host>(k: &Ctx<'_, H>, h: &Handle) {
    with_names(k, || {
        if h.is_stale() {
            return;
        }
        let left =
            h.q.opens
                .fetch_update(AcqRel, Relaxed, |n| n.checked_sub(1));
        let left = left.unwrap_or(1).saturating_sub(1);
        h.log(k, Kind::MqClose, 0, (i64::from(left), 0, 0));
        free_if_unused(k, h);
    });
}

/// A call that waited in the queue is over, and may have been all that kept it.
pub fn left<H: Host>(k: &Ctx<'_, H>, h: &Handle) {
    if h.q.named.load(Relaxed) == 0 && h.q.opens.load(Relaxed) == 0 {
        with_names(k, || {
            if !h.is_stale() {
                free_if_unused(k, h);
            }
        });
    }
}

fn free_if_unused<H: Host>(k: &Ctx<'_, H>, h: &Handle) {
    let q = h.q;
    if !q.is_live() || q.named.load(Acquire) != 0 || q.opens.load(Acquire) != 0 {
        return;
    }
    h.lock(k);
    if q.busy.load(Relaxed) != 0 {
        super::repair(k, h); // some may be dead
    }
    if q.busy.load(Relaxed) != 0 {
        return h.unlock(k);
    }
    let lost = q.count.load(Relaxed);
    h.log(k, Kind::Free, 0, (i64::from(lost), 0, 0));
    q.state.store(state::FREE, Release);
    crash_point("mq.free");
    let id = q.id.load(Relaxed);
    forget(k, h.slot, q);
    h.unlock(k); // for those who wait with an old name of it
    k.host.queue_is_gone(id);
}
