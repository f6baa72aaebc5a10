//! A pipe: Linux's ring of page-sized slots in the arena. See pipe(7); Linux v6.18 fs/pipe.c.
//!
//! Linux has one mutex for both sides. Here writers share one lock and readers another, so that
//! a writer and a reader on two processors do not fight for a cache line. What they share is
//! published by single stores: `head` by the writer, `tail` by the reader, and each slot's word
//! (see [`slot`]).
//!
//! # Invariants
//!
//! - P1. `tail.seq <= head <= tail.seq + slots`.
//! - P2. Slots in `tail.seq..head` are filled; their bytes below END do not change.
//! - P3. Only the owner of `wlock` stores `head`, and words of slots at or after `head`; it
//!   appends to slot `head - 1` by CAS only.
//! - P4. Only the owner of `rlock` stores `tail`.
//! - P5. `slots`, `slots_at` and `data_at` change only under both locks (rlock first).
//! - P6. Once `mode` is KERNEL it stays so until the slot is freed, and the ring stays empty.
//!
//! # Crash points
//!
//! - C1. Writer killed before `head` is stored: nothing was written; slots from `head` on are junk
//!   that the next writer overwrites.
//! - C2. Writer killed after, before it returns: the bytes are in the pipe, as after a kill at
//!   the end of write(2).
//! - C3. Reader killed before `tail` is stored: the bytes are still there for the next reader.

pub mod demote;
pub mod fifo;
mod read;
mod resize;
pub mod slot;
mod table;
pub mod watch;
mod write;

pub use read::{try_read, ReadStep};
pub use resize::{queued_bytes, set_size};
pub use table::{create, get, release, release_if};
pub use write::{try_write, WriteStep};

use crate::arena::{Arena, ArenaSafe};
use crate::file::End;
use crate::host::Host;
use crate::log::Log;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::futex::{Futex, Signals, Slept};
use crate::sync::lock_word::{OwnerId, Progress};
use crate::sync::robust::{Found, Owners, RobustLock};
use crate::sync::wait_queue::{Caller, WaitQueue};
use crate::task;

pub mod mode {
    pub const FREE: u32 = 0;
    /// Served from the ring.
    pub const RING: u32 = 1;
    /// Served by the kernel, on the twin: demoted, or only watched.
    pub const KERNEL: u32 = 2;
    /// On its way to the kernel: whoever finds this outside the locks carries on. See `demote`.
    pub const DEMOTING: u32 = 3;
    /// A connection that nobody is known to have accepted: the kernel carries it. See `unix::pending`.
    pub const PENDING: u32 = 4;
}

/// The longest ring: its bytes are one block of the heap.
pub const MAX_SLOTS: u32 = 1 << (crate::arena::alloc::MAX_SHIFT - PAGE_SIZE.trailing_zeros());

/// Who makes a call, and with what.
pub struct Ctx<'a, H: Host> {
    pub arena: &'a Arena,
    pub host: &'a H,
    pub me: OwnerId,
    pub log: Log<'a>,
}

impl<H: Host> Ctx<'_, H> {
    pub fn is_dead(&self, owner: OwnerId) -> bool {
        task::is_dead(self.arena, self.host, owner)
    }
}

impl<H: Host> Futex for Ctx<'_, H> {
    fn wait(&self, word: &AtomicU32, value: u32, timeout_ns: u64, signals: Signals) -> Slept {
        self.host.wait(word, value, timeout_ns, signals)
    }

    fn wake(&self, word: &AtomicU32, n: u32) -> u32 {
        self.host.wake(word, n)
    }

    fn cpu(&self) -> u32 {
        self.host.cpu()
    }

    fn ticks(&self) -> u64 {
        self.host.ticks()
    }
}

impl<H: Host> Caller for Ctx<'_, H> {
    fn me(&self) -> OwnerId {
        self.me
    }

    fn was_killed(&self, owner: OwnerId) -> bool {
        task::task_of(self.arena, owner).is_none_or(|t| t.kernel_says_dead())
    }
}

impl<H: Host> Owners for Ctx<'_, H> {
    fn is_dead(&self, owner: OwnerId) -> bool {
        task::is_dead(self.arena, self.host, owner)
    }

    fn is_elsewhere(&self, owner: OwnerId, named: impl Fn() -> bool) -> bool {
        task::Threads(self.arena, self.host).is_elsewhere(owner, named)
    }
}

/// What ended a step before all was done, besides an empty or full ring. (A whole word: a byte
/// that is stored and then loaded with its neighbours stalls the processor.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Ended {
    No,
    /// The guest's memory could not be read or written; `bytes` were moved before.
    Fault,
    /// A packet was taken: the call is over, also with no bytes.
    Packet,
}

impl Ended {
    fn from_fault(fault: bool) -> Ended {
        if fault {
            Ended::Fault
        } else {
            Ended::No
        }
    }
}

/// One slot as it is in the arena. `base` is the stream position of its first byte.
#[repr(C)]
pub struct SlotCell {
    pub word: AtomicU64,
    pub base: AtomicU64,
}

// SAFETY: atomics only, no padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for SlotCell {}

/// In the arena. Each group of fields has a cache line of its own.
#[repr(C, align(64))]
pub struct Pipe {
    // Line 0: hardly ever written.
    pub mode: AtomicU32,
    /// Bumped when the slot of the table is freed: old descriptions notice.
    pub generation: AtomicU32,
    pub slots: AtomicU32,
    pub slots_at: AtomicU32,
    /// 0 until the first write.
    pub data_at: AtomicU32,
    /// Somebody polls it: readiness is mirrored into the twin.
    pub watched: AtomicU32,
    /// pipe#N.
    pub id: AtomicU32,
    pub next_free: AtomicU32,
    /// The twin's st_dev and st_ino.
    pub dev: AtomicU64,
    pub ino: AtomicU64,
    /// Threads that used an end lately, and so hold it as long as they live. A hint with one
    /// guarantee: whoever closes an end takes its witness away. 0: none, ask the twin.
    pub reader_witness: AtomicU32,
    pub writer_witness: AtomicU32,
    /// Open file descriptions of each end. Hints: a wrong count costs memory only.
    pub readers: AtomicU32,
    pub writers: AtomicU32,

    // Line 1: what the writer publishes.
    pub head: AtomicU64,
    /// Of a FIFO: the record of the latest opening of each end. See `fifo`.
    pub opened: [AtomicU64; 2],
    _line1: [AtomicU64; 5],
    // Line 2: the writers' own.
    pub wlock: RobustLock,
    _pad2: AtomicU32,
    /// The tail as the writers saw it last; at most the real one.
    pub seen_tail: AtomicU64,
    /// Stream position of the next byte to be written.
    pub written: AtomicU64,
    pub writes: AtomicU64,
    _line2: [AtomicU64; 4],
    // Line 3: what the reader publishes.
    pub tail: AtomicU64,
    _line3: [AtomicU64; 7],
    // Line 4: the readers' own.
    pub rlock: RobustLock,
    _pad4: AtomicU32,
    /// The head as the readers saw it last.
    pub seen_head: AtomicU64,
    /// Stream position of the next byte to be read.
    pub read: AtomicU64,
    pub reads: AtomicU64,
    /// The word of slot `tail.seq` as the readers saw it last, 0 for not at all. What lies below its
    /// END is read without another look at the slot, whose line the writer may be appending to.
    pub seen_word: AtomicU64,
    _line4: [AtomicU64; 3],
    // Line 5: readiness tokens and the log.
    pub token_lock: RobustLock,
    /// Tokens in the twin.
    pub tokens: AtomicU32,
    /// Order of this pipe's log records.
    pub log_seq: AtomicU32,
    /// Pokes since the last read: see `watch`.
    pub pokes: AtomicU32,
    pub created_tsc: AtomicU64,
    pub demote_cause: AtomicU32,
    /// F_SETPIPE_SZ under way: the next three words are the new geometry. See `resize`.
    pub resizing: AtomicU32,
    pub next_slots: AtomicU32,
    pub next_slots_at: AtomicU32,
    pub next_data_at: AtomicU32,
    _pad5: AtomicU32,
    /// Stream position where a demotion under way began: see `demote`.
    pub demote_from: AtomicU64,
    /// `ino` once more: an identity with a wrong bit would part a pipe's two ends.
    pub ino_copy: AtomicU64,
    // Lines 6 to 15: sleepers.
    pub rd_wait: WaitQueue,
    pub wr_wait: WaitQueue,
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Pipe {}

impl Pipe {
    /// The count of open file descriptions of an end.
    pub fn holders(&self, end: End) -> &AtomicU32 {
        match end {
            End::Read => &self.readers,
            End::Write => &self.writers,
        }
    }

    fn witness(&self, end: End) -> &AtomicU32 {
        match end {
            End::Read => &self.reader_witness,
            End::Write => &self.writer_witness,
        }
    }

    /// "I use this end." One compare in the usual case. `true`: it is news, so the caller checks
    /// that its descriptor is still open, and else calls [`Pipe::forget_witness`].
    #[inline(always)]
    pub fn testify(&self, end: End, me: OwnerId) -> bool {
        let witness = self.witness(end);
        if witness.load(Relaxed) == me.raw() {
            return false;
        }
        witness.store(me.raw(), SeqCst); // before the caller's look at its table
        true
    }

    /// A descriptor of this end was closed, so nobody vouches for the end any more.
    pub fn forget_witness(&self, end: End) {
        self.witness(end).store(0, SeqCst);
    }

    /// Whether the end surely has a holder: somebody who used it and is alive, by the kernel's
    /// own mark. `false` says nothing: ask the twin.
    #[inline(always)]
    pub fn surely_held(&self, arena: &Arena, end: End) -> bool {
        let witness = self.witness(end).load(Acquire);
        match OwnerId::from_raw(witness).and_then(|o| task::task_of(arena, o)) {
            Some(task) => task.surely_alive(),
            None => false,
        }
    }

    /// Whether `dev`, `ino` are the twin's. One damaged word of three is put up with.
    pub fn is_twin(&self, dev: u64, ino: u64) -> bool {
        let agree = [
            self.dev.load(Relaxed) == dev,
            self.ino.load(Relaxed) == ino,
            self.ino_copy.load(Relaxed) == ino,
        ];
        matches!(agree, [_, true, true] | [true, true, _] | [true, _, true])
    }

    #[inline(always)]
    pub fn is_ring(&self) -> bool {
        self.mode.load(Acquire) == mode::RING
    }

    /// Slots in the ring: never more than there can be, whatever the word says.
    #[inline(always)]
    pub fn capacity(&self) -> u32 {
        self.slots.load(Relaxed).min(MAX_SLOTS)
    }

    /// `slots` is a power of two; with any other number the index is still below it.
    #[inline(always)]
    fn index_of(&self, seq: u64) -> usize {
        (seq & u64::from(self.slots.load(Relaxed).saturating_sub(1))) as usize
    }

    #[inline(always)]
    pub(crate) fn cell(&self, arena: &Arena, seq: u64) -> Option<&'static SlotCell> {
        let index = self.index_of(seq);
        let table = self.slots_at.load(Relaxed) as usize * crate::arena::off::UNIT;
        if table < crate::arena::layout::HEAP {
            return None;
        }
        arena.at(table + index * core::mem::size_of::<SlotCell>())
    }

    /// Address of the page that a slot's word names. `None` before the first write.
    #[inline(always)]
    pub(crate) fn page(&self, arena: &Arena, word: slot::SlotWord) -> Option<*mut u8> {
        let index = self.index_of(word.page() as u64);
        let data = self.data_at.load(Relaxed) as usize * crate::arena::off::UNIT;
        arena.bytes_at(data + index * PAGE_SIZE, PAGE_SIZE)
    }

    /// Whether this thread has used both ends lately, and nobody else.
    pub fn is_used_by(&self, me: OwnerId) -> bool {
        let witnesses = [&self.reader_witness, &self.writer_witness];
        witnesses.iter().all(|w| w.load(Relaxed) == me.raw())
    }

    /// The buffer's first page. `None` before the first write.
    pub fn buffer(&self, arena: &Arena) -> Option<*const u8> {
        let data = self.data_at.load(Relaxed) as usize * crate::arena::off::UNIT;
        arena.bytes_at(data, PAGE_SIZE).map(<*mut u8>::cast_const)
    }

    #[inline(always)]
    pub(crate) fn lock_readers<H: Host>(&self, k: &Ctx<'_, H>) {
        let found = self.rlock.lock(k.me, k.host, k);
        self.note_orphan(k, found);
        if found != Found::InOrder {
            read::find_position(k.arena, self);
        }
    }

    #[inline(always)]
    pub(crate) fn lock_writers<H: Host>(&self, k: &Ctx<'_, H>) {
        let found = self.wlock.lock(k.me, k.host, k);
        self.note_orphan(k, found);
        if found != Found::InOrder {
            write::find_position(k.arena, self);
        }
    }

    /// Only a resize can leave something half done: see "Crash points". Counted and logged, so
    /// that a death is never silent.
    #[inline(always)]
    fn note_orphan<H: Host>(&self, k: &Ctx<'_, H>, found: Found) {
        if let Found::Orphaned { dead } = found {
            k.arena.header().orphaned.fetch_add(1, Relaxed);
            resize::finish(self);
            k.log.orphaned(self, dead);
        }
    }

    /// Gives the writers' lock up and wakes a reader if there was progress and one sleeps.
    #[inline(always)]
    pub(crate) fn unlock_writers<H: Host>(&self, k: &Ctx<'_, H>, progress: Progress, cause: u64) {
        crate::host::crash_point("pipe.write.unlock");
        if self.wlock.unlock(k.me, progress, k.host) {
            crate::host::crash_point("pipe.write.wake");
            self.rd_wait.wake_one(k, cause);
        }
    }

    /// Gives the readers' lock up and wakes a writer if a slot became free and one sleeps.
    #[inline(always)]
    pub(crate) fn unlock_readers<H: Host>(&self, k: &Ctx<'_, H>, progress: Progress, cause: u64) {
        crate::host::crash_point("pipe.read.unlock");
        if self.rlock.unlock(k.me, progress, k.host) {
            crate::host::crash_point("pipe.read.wake");
            self.wr_wait.wake_one(k, cause);
        }
    }

    /// Wakes everybody who sleeps on either side: the last peer left, or the pipe was demoted.
    pub fn wake_everybody(&self, host: &impl Host, cause: u64) {
        self.rd_wait.wake_all(host, cause);
        self.wr_wait.wake_all(host, cause);
    }

    /// No slot is filled. A look, without a lock.
    #[inline(always)]
    pub fn looks_empty(&self) -> bool {
        slot::Tail::from_raw(self.tail.load(Acquire)).seq == self.head.load(Acquire)
    }

    /// A number that changes with every byte written (for a reader), every slot freed (for a writer).
    pub fn mark(&self, arena: &Arena, end: End) -> u64 {
        match end {
            End::Write => self.tail.load(Acquire) >> 16,
            End::Read => {
                let head = self.head.load(Acquire);
                let last = self.cell(arena, head.wrapping_sub(1));
                head ^ last.map_or(0, |c| c.word.load(Relaxed))
            }
        }
    }

    #[inline(always)]
    pub fn looks_full(&self) -> bool {
        let tail = slot::Tail::from_raw(self.tail.load(Acquire));
        slot::is_full(self.head.load(Acquire), tail.seq, self.capacity())
    }
}

use crate::abi::limits::PAGE_SIZE;

const _: () = assert!(core::mem::size_of::<Pipe>() == 16 * 64);
