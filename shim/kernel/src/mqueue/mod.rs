//! POSIX message queues. See mq_overview(7); Linux v6.18 ipc/mqueue.c.
//!
//! A queue is a set of message slots and an order over them. What is true of a slot is said by one
//! word of it, its key ([`store`]); the order is made anew from the keys when its maker died.
//! Who waits is in a list, and has a record of its own ([`wait`]): a message goes straight into
//! the hands of the receiver that is first in line, so nobody can come between.
//!
//! # Lock order
//!
//! ```text
//! header.mq_names      names, making and freeing
//!   queue.lock         everything else of a queue
//!     header.lock
//! ```
//!
//! # Crash points
//!
//! - C1. Sender killed before the key is stored: nothing was sent, the slot is free.
//! - C2. Sender killed after: the message is in the queue; the next owner of the lock makes the
//!   order anew ([`repair`]).
//! - C3. Killed between making somebody's record DONE and waking him: every sleep has a deadline.
//! - C4. Receiver killed before the key is cleared: the message is still there. After: it is gone,
//!   as when the process dies at the end of mq_receive(3).
//! - C5. A receiver that was handed a message is killed: the message is lost, as in Linux. Its slot
//!   is found again by [`repair`], when slots are short.
//! - C6. Killed between taking a message out and letting the first waiting sender in: [`repair`]
//!   does that.

pub mod limits;
pub mod name;
pub mod notify;
mod repair;
pub mod store;
pub mod wait;

pub use repair::repair;

use crate::arena::{layout, Arena, ArenaSafe};
use crate::host::Host;
use crate::log::{object, Kind, Logged};
use crate::pipe::Ctx;
use crate::planted::{planted, Bug};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::lock_word::Progress;
use crate::sync::robust::{Found, RobustLock};

/// What a slot of the table is. (The numbers of `pipe::mode`; a queue never goes to the kernel.)
pub mod state {
    pub const FREE: u32 = 0;
    pub const LIVE: u32 = 1;
}

/// In the arena. Each group of fields has a cache line of its own.
#[repr(C, align(64))]
pub struct Queue {
    // Line 0: hardly ever written.
    pub state: AtomicU32,
    /// Bumped when the slot of the table is freed: old descriptions notice.
    pub generation: AtomicU32,
    /// mq#N.
    pub id: AtomicU32,
    pub maxmsg: AtomicU32,
    pub msgsize: AtomicU32,
    /// Message slots: `maxmsg`, and some for messages on their way.
    pub slots: AtomicU32,
    /// Bytes of a slot.
    pub stride: AtomicU32,
    /// Block with the slots' words: see `store`.
    pub index_at: AtomicU32,
    /// Block with the messages; a block of blocks if they need more than one.
    pub data_at: AtomicU32,
    pub segments: AtomicU32,
    pub mode: AtomicU32,
    pub uid: AtomicU32,
    pub gid: AtomicU32,
    /// Descriptions that name it. A hint that is never too low.
    pub opens: AtomicU32,
    /// Bits of `pipe::watch::watched`: polled, so readiness is mirrored into the twin.
    pub watched: AtomicU32,
    /// A hint for spinning: processor of the latest waker, plus one.
    pub waker_cpu: AtomicU32,

    // Line 1: under `lock`.
    pub lock: RobustLock,
    /// Messages in the queue.
    pub count: AtomicU32,
    /// Slots that are nobody's.
    pub free: AtomicU32,
    /// First in line of those who wait for a message, and for room. 0: nobody.
    pub receivers: AtomicU32,
    pub senders: AtomicU32,
    /// See `notify::kind`.
    pub notify_kind: AtomicU32,
    /// Tokens in the twin. A hint: they are counted before they are moved.
    pub tokens: AtomicU32,
    pub log_seq: AtomicU32,
    /// Number of the next message.
    pub seq: AtomicU64,
    /// Bytes in all messages.
    pub bytes: AtomicU64,
    /// Threads inside a call that waits: whoever leaves last may free the queue.
    pub busy: AtomicU32,
    /// Hints for spinning: see `wait`.
    pub recv_spin: AtomicU32,
    pub send_spin: AtomicU32,
    /// 0: mq_unlink(3) took the name; the queue lives until the last descriptor is closed.
    pub named: AtomicU32,

    // Line 2: who is to be told. Under `lock`.
    pub notify_process: AtomicU32,
    pub notify_generation: AtomicU32,
    pub notify_pid: AtomicU32,
    pub notify_signo: AtomicU32,
    pub notify_value: AtomicU64,
    /// For SIGEV_THREAD: the note that is put into the process's box, and the box.
    pub notify_note: AtomicU32,
    pub notify_box: AtomicU32,
    /// The twin: a FIFO that all its descriptors are opened on.
    pub dev: AtomicU64,
    pub ino: AtomicU64,
    /// What counts against RLIMIT_MSGQUEUE of `uid`.
    pub charged: AtomicU64,
    pub next_free: AtomicU32,
    _pad: AtomicU32,

    /// NUL-padded; NAME_MAX bytes at most.
    pub name: [AtomicU64; 32],
}

// SAFETY: atomics only, no implicit padding that anybody reads; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Queue {}

/// A queue, looked up.
#[derive(Clone, Copy)]
pub struct Handle {
    pub q: &'static Queue,
    pub slot: u32,
    /// The queue's, when it was looked up.
    pub generation: u32,
}

/// Queue number `slot` of the table; free ones too.
#[inline(always)]
pub fn get(arena: &Arena, slot: u32) -> Option<&'static Queue> {
    arena.slot(layout::QUEUES, layout::MAX_QUEUES, slot)
}

#[inline(always)]
pub fn handle(arena: &Arena, slot: u32) -> Option<Handle> {
    let q = get(arena, slot)?;
    let generation = q.generation.load(Acquire);
    Some(Handle {
        q,
        slot,
        generation,
    })
}

impl Logged for Queue {
    fn object(&self) -> u32 {
        object::MQ | self.id.load(Relaxed)
    }

    fn order(&self) -> &AtomicU32 {
        &self.log_seq
    }
}

impl Queue {
    /// The name, without the slash. Its length is at most 255.
    pub fn name(&self) -> ([u8; 256], usize) {
        let mut bytes = [0u8; 256];
        for (to, from) in bytes.chunks_exact_mut(8).zip(&self.name) {
            to.copy_from_slice(&from.load(Relaxed).to_le_bytes());
        }
        let len = bytes.iter().position(|&b| b == 0).unwrap_or(255);
        (bytes, len)
    }

    pub fn is_live(&self) -> bool {
        self.state.load(Acquire) == state::LIVE
    }

    pub fn is_full(&self) -> bool {
        let more = u32::from(planted(Bug::MqOneMore));
        self.count.load(Relaxed) >= self.maxmsg.load(Relaxed) + more
    }
}

impl Handle {
    /// Takes the queue's lock, and puts in order what a dead owner left.
    #[inline(always)]
    pub fn lock<H: Host>(&self, k: &Ctx<'_, H>) {
        let found = self.q.lock.lock(k.me, k.host, k);
        if found != Found::InOrder {
            self.orphaned(k, found);
        }
    }

    #[cold]
    fn orphaned<H: Host>(&self, k: &Ctx<'_, H>, found: Found) {
        k.arena.header().orphaned.fetch_add(1, Relaxed);
        if let Found::Orphaned { dead } = found {
            let dead = i64::from(dead.raw());
            self.log(k, Kind::Orphaned, 0, (dead, 0, 0));
        }
        repair(k, self);
    }

    #[inline(always)]
    pub fn unlock<H: Host>(&self, k: &Ctx<'_, H>) {
        let _ = self.q.lock.unlock(k.me, Progress::None, k.host);
    }

    #[inline(always)]
    pub fn log<H: Host>(
        &self,
        k: &Ctx<'_, H>,
        kind: Kind,
        cause: u64,
        abc: (i64, u64, u64),
    ) -> u64 {
        k.log.about(self.q, kind, cause, abc)
    }

    /// Whether the slot of the table is another queue's by now.
    pub fn is_stale(&self) -> bool {
        self.q.generation.load(Acquire) != self.generation
    }
}
