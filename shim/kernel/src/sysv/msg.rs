//! A queue of messages: msgget(2), and what lies in the arena. See Linux v6.18
//! ipc/msg.c.
//!
//! # Invariants
//!
//! - M1. A message gets into the queue, and out of it, by one store of a link; the counts follow, and the
//!   next owner of the lock counts anew if they could not.
//! - M2. A message that sleeping senders hold is in their waiter; one that was handed to a sleeping
//!   receiver is in his.

use super::ids::{self, Named};
use super::log::Logged;
use super::msg_text::{self, message, Message};
use super::msg_wait;
use super::perm::{Perm, Who};
use super::queue::{Queue, MANY};
use super::root::Root;
use super::waiter::Wakes;
use crate::abi::errno::SysResult;
use crate::abi::Errno;
use crate::arena::ArenaSafe;
use crate::host::{crash_point, Host};
use crate::log::{object, Kind};
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::lock_word::Progress;
use crate::sync::robust::{Found as Lock, RobustLock};

/// In the arena; see `sem::SemSet` about slots and ids.
#[repr(C, align(64))]
pub struct MsgQueue {
    pub lock: RobustLock,
    pub head: AtomicU32,
    pub tail: AtomicU32,
    pub qnum: AtomicU32,
    pub perm: Perm,
    pub logged: Logged,
    pub kept: AtomicU32,
    pub kept_n: AtomicU32,

    pub receivers: Queue,
    pub senders: Queue,
    pub cbytes: AtomicU64,
    pub qbytes: AtomicU64,
    pub stime: AtomicU64,
    pub rtime: AtomicU64,
    pub ctime: AtomicU64,
    pub lspid: AtomicU32,
    pub lrpid: AtomicU32,

    pub tickets: AtomicU64,
    pub spin: AtomicU32,
    pub sending: AtomicU32,
    pub receiving: AtomicU32,
    _pad0: AtomicU32,
    pub created_tsc: AtomicU64,
    _pad: [AtomicU64; 12],
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for MsgQueue {}

impl Named for MsgQueue {
    fn perm(&self) -> &Perm {
        &self.perm
    }

    fn logged(&self) -> &Logged {
        &self.logged
    }
}

const _: () = assert!(core::mem::size_of::<MsgQueue>() == 256);

impl MsgQueue {
    /// Takes the lock, and puts in order what a dead owner left.
    #[inline(always)]
    pub fn lock<H: Host>(&'static self, k: &Ctx<'_, H>, root: &'static Root, index: u32) {
        let found = self.lock.lock(k.me, k.host, k);
        if let Lock::Orphaned { dead } = found {
            k.arena.header().orphaned.fetch_add(1, Relaxed);
            let dead = i64::from(dead.raw());
            self.logged.put(k, Kind::SysvOrphaned, 0, (dead, 0, 0));
            msg_wait::repair(k, root, self, index);
        }
    }

    #[inline(always)]
    pub fn unlock<H: Host>(&self, k: &Ctx<'_, H>) {
        let _ = self.lock.unlock(k.me, Progress::Made, k.host);
    }

    /// `msg_fits_inqueue`.
    #[inline(always)]
    pub fn fits(&self, len: u64) -> bool {
        let qbytes = self.qbytes.load(Relaxed);
        len.saturating_add(self.cbytes.load(Relaxed)) <= qbytes
            && u64::from(self.qnum.load(Relaxed)) < qbytes
    }

    /// The messages, oldest first, with the block before each.
    pub fn messages<'a, H: Host>(
        &self,
        k: &'a Ctx<'_, H>,
    ) -> impl Iterator<Item = (u32, u32, &'static Message)> + 'a {
        let (mut before, mut at) = (0, self.head.load(Relaxed));
        core::iter::from_fn(move || {
            let m = message(k.arena, at)?;
            let here = (before, at, m);
            (before, at) = (at, m.next.load(Relaxed));
            Some(here)
        })
        .take(MANY)
    }

    /// At the end of the queue.
    #[inline(always)]
    pub fn push<H: Host>(&self, k: &Ctx<'_, H>, block: u32, m: &Message) {
        m.next.store(0, Relaxed);
        let tail = self.tail.load(Relaxed);
        let link = match message(k.arena, tail) {
            Some(last) => &last.next,
            None => &self.head,
        };
        link.store(block, Release); // M1
        crash_point("sysv.queued");
        self.tail.store(block, Relaxed);
        self.count(1, i64::from(m.len.load(Relaxed)));
    }

    /// Out of the queue.
    #[inline(always)]
    pub fn pull<H: Host>(&self, k: &Ctx<'_, H>, before: u32, block: u32, m: &Message) {
        let next = m.next.load(Relaxed);
        let link = match message(k.arena, before) {
            Some(b) => &b.next,
            None => &self.head,
        };
        link.store(next, Release); // M1
        crash_point("sysv.queued");
        if self.tail.load(Relaxed) == block {
            self.tail.store(before, Relaxed);
        }
        self.count(-1, -i64::from(m.len.load(Relaxed)));
    }

    fn count(&self, messages: i32, bytes: i64) {
        let n = self.qnum.load(Relaxed).wrapping_add_signed(messages);
        self.qnum.store(n, Relaxed);
        let bytes = self.cbytes.load(Relaxed).wrapping_add_signed(bytes);
        self.cbytes.store(bytes, Relaxed);
    }
}

/// The queue that an id names, locked.
#[inline(always)]
pub fn lock_id<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    id: i32,
) -> Result<(u32, &'static MsgQueue), Errno> {
    let index = ids::index_of(id);
    let q = root.queues.get(k.arena, index).filter(|_| id >= 0);
    let Some(q) = q.filter(|q| q.perm.is(id)) else {
        return Err(Errno::EINVAL);
    };
    q.lock(k, root, index);
    if !q.perm.is(id) {
        q.unlock(k);
        return Err(Errno::EIDRM);
    }
    Ok((index, q))
}

/// msgget(2).
pub fn msgget<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    key: i32,
    flags: i32,
) -> SysResult {
    let id = root.locked(k, || {
        let all = (&root.msg_ids, &root.queues);
        let make = || make(k, root, who, key, flags);
        ids::get(k, all, who, (key, flags), |_| true, make)
    })?;
    Ok(id as usize)
}

/// `newque`, under the root's lock.
fn make<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    key: i32,
    flags: i32,
) -> Result<i32, Errno> {
    let limits = root.limits();
    let is_free = |i| root.queues.in_use(k.arena, i).is_none();
    let (index, seq) = root.msg_ids.choose(limits.msgmni, is_free)?;
    let q = root.queues.make(k, index)?;
    q.lock(k, root, index);
    for word in [
        &q.head,
        &q.tail,
        &q.qnum,
        &q.kept,
        &q.kept_n,
        &q.lspid,
        &q.lrpid,
        &q.spin,
        &q.sending,
        &q.receiving,
    ] {
        word.store(0, Relaxed);
    }
    q.receivers.clear();
    q.senders.clear();
    for word in [&q.cbytes, &q.stime, &q.rtime] {
        word.store(0, Relaxed);
    }
    q.qbytes.store(u64::from(limits.msgmnb), Relaxed);
    q.ctime.store(k.host.wall_secs(), Relaxed);
    q.created_tsc.store(k.host.tsc(), Relaxed);
    q.perm.begin(key, flags as u32, who);
    q.logged.begin(k, object::SYSV_MSG);
    crash_point("sysv.made");
    let id = root.msg_ids.publish(&q.perm, index, seq);
    let abc = (i64::from(id), key as u32 as u64, u64::from(limits.msgmnb));
    q.logged.put(k, Kind::SysvCreate, 0, abc);
    q.unlock(k);
    Ok(id)
}

/// `freeque`: IPC_RMID.
pub fn remove<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    id: i32,
    allowed: impl FnOnce(&Perm) -> Result<(), Errno>,
) -> SysResult {
    root.locked(k, || {
        let (_, q) = lock_id(k, root, id)?;
        if let Err(e) = allowed(&q.perm) {
            q.unlock(k);
            return Err(e.into());
        }
        root.msg_ids.withdraw(&q.perm);
        crash_point("sysv.made");
        let abc = (i64::from(id), u64::from(q.qnum.load(Relaxed)), 0);
        let record = q.logged.put(k, Kind::SysvRemove, 0, abc);
        let mut wakes = Wakes::none();
        msg_wait::dismiss(k, root, q, Errno::EIDRM.get(), record, &mut wakes);
        for list in [&q.head, &q.kept] {
            let mut at = list.swap(0, Relaxed);
            for _ in 0..MANY {
                let Some(m) = message(k.arena, at) else { break };
                let next = m.next.load(Relaxed);
                msg_text::free(k, at);
                at = next;
            }
        }
        q.tail.store(0, Relaxed);
        q.kept_n.store(0, Relaxed);
        q.unlock(k);
        wakes.wake(k, root);
        Ok(0)
    })
}
