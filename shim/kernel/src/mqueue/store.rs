//! The messages of a queue, and their order: the highest priority first, of these the oldest.
//!
//! ```text
//! keys  [u64; slots]   0: not in the queue. Else 1 | priority (15 bits) | age (48 bits): the largest
//!                      key is the next message
//! meta  [u32; slots]   length of the message; bit 31: the slot has memory
//! perm  [u32; slots]   every slot that nobody holds, once:
//!                      [0, count)              in the queue, a heap by their keys
//!                      [count, count + free)   free ones, the latest used first
//! ```
//!
//! Pure transitions on memory of the arena, under the queue's lock.
//!
//! Invariants, while nobody is inside:
//!
//! - M1. A slot's key is not 0 exactly if the slot is in `perm[..count]`.
//! - M2. A slot that is not in `perm[..count + free]` is held by one waiting record (`wait`).

use super::Queue;
use crate::abi::limits::PAGE_SIZE;
use crate::abi::Errno;
use crate::arena::off::UNIT;
use crate::arena::{alloc, Arena, ArenaSafe, Off};
use crate::host::{crash_point, Host, UserRead, UserWrite};
use crate::pipe::Ctx;
use crate::planted::{planted, Bug};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

const USED: u64 = 1 << 63;
const PRIO_SHIFT: u32 = 48;
const AGE: u64 = (1 << PRIO_SHIFT) - 1;

/// In `meta`: the slot's memory was made.
const MADE: u32 = 1 << 31;

/// Slots besides `maxmsg`, for messages that are handed over or wait for room.
pub const EXTRA: u32 = 32;

/// The longest piece of memory that the messages lie in.
pub const SEGMENT: usize = 1 << alloc::MAX_SHIFT;

/// The words of a queue's slots.
pub struct Store {
    pub q: &'static Queue,
    keys: &'static [AtomicU64],
    meta: &'static [AtomicU32],
    perm: &'static [AtomicU32],
}

/// Bytes of the block that `slots` slots' words need.
pub fn index_bytes(slots: u32) -> usize {
    slots as usize * 16
}

fn words<T: ArenaSafe>(arena: &Arena, byte: usize, n: usize) -> Option<&'static [T]> {
    let p = arena.bytes_at(byte, n * core::mem::size_of::<T>())?;
    if !byte.is_multiple_of(core::mem::align_of::<T>()) {
        return None;
    }
    // SAFETY: in bounds and aligned, as just checked; any bits are a `T`, and the mapping lives as
    // long as the process.
    Some(unsafe { core::slice::from_raw_parts(p.cast::<T>(), n) })
}

impl Store {
    /// `None`: somebody scribbled over the queue.
    #[inline(always)]
    pub fn of(arena: &Arena, q: &'static Queue) -> Option<Store> {
        let n = q.slots.load(Relaxed) as usize;
        let at = Off::<u8>::from_raw(q.index_at.load(Relaxed))?;
        let at = at.raw() as usize * UNIT;
        Some(Store {
            q,
            keys: words(arena, at, n)?,
            meta: words(arena, at + n * 8, n)?,
            perm: words(arena, at + n * 12, n)?,
        })
    }

    /// All slots are free, and none has memory.
    pub fn clear(&self) {
        self.keys.iter().for_each(|k| k.store(0, Relaxed));
        self.meta.iter().for_each(|m| m.store(0, Relaxed));
        for (i, p) in self.perm.iter().enumerate() {
            p.store(i as u32, Relaxed);
        }
        self.q.count.store(0, Relaxed);
        self.q.free.store(self.perm.len() as u32, Relaxed);
        self.q.bytes.store(0, Relaxed);
    }

    pub fn slots(&self) -> u32 {
        self.perm.len() as u32
    }

    #[inline(always)]
    fn at(&self, i: u32) -> u32 {
        self.perm.get(i as usize).map_or(0, |p| p.load(Relaxed))
    }

    #[inline(always)]
    fn put(&self, i: u32, slot: u32) {
        if let Some(p) = self.perm.get(i as usize) {
            p.store(slot, Relaxed);
        }
    }

    #[inline(always)]
    pub fn key(&self, slot: u32) -> u64 {
        self.keys.get(slot as usize).map_or(0, |k| k.load(Relaxed))
    }

    #[inline(always)]
    fn set_key(&self, slot: u32, key: u64) {
        if let Some(k) = self.keys.get(slot as usize) {
            k.store(key, Release);
        }
    }

    #[inline(always)]
    pub fn len(&self, slot: u32) -> usize {
        let meta = self.meta.get(slot as usize).map_or(0, |m| m.load(Relaxed));
        ((meta & !MADE) as usize).min(self.q.msgsize.load(Relaxed) as usize)
    }

    #[inline(always)]
    pub fn prio(&self, slot: u32) -> u32 {
        ((self.key(slot) & !USED) >> PRIO_SHIFT) as u32
    }

    /// The free slot that the next message goes to. `None`: there is none.
    #[inline(always)]
    pub fn spare(&self) -> Option<u32> {
        (self.q.free.load(Relaxed) != 0).then(|| self.at(self.q.count.load(Relaxed)))
    }

    /// The message that is next. `None`: the queue is empty.
    #[inline(always)]
    pub fn first(&self) -> Option<u32> {
        (self.q.count.load(Relaxed) != 0).then(|| self.at(0))
    }

    /// The spare slot's message is in the queue from here on.
    #[inline(always)]
    pub fn push(&self, slot: u32, prio: u32) {
        self.q
            .free
            .store(self.q.free.load(Relaxed).wrapping_sub(1), Relaxed);
        self.admit(slot, prio);
    }

    /// A slot that was held by a waiting record is in the queue from here on.
    pub fn admit(&self, slot: u32, prio: u32) {
        let mut seq = self.q.seq.load(Relaxed);
        self.q.seq.store(seq.wrapping_add(1), Relaxed);
        if planted(Bug::MqLastFirst) {
            seq = AGE - (seq & AGE);
        }
        let prio = if planted(Bug::MqNoPriorities) {
            0
        } else {
            prio
        };
        crash_point("mq.send.commit");
        self.set_key(
            slot,
            USED | u64::from(prio) << PRIO_SHIFT | (AGE - (seq & AGE)),
        ); // C2
        crash_point("mq.send.committed");
        let bytes = self
            .q
            .bytes
            .load(Relaxed)
            .wrapping_add(self.len(slot) as u64);
        self.q.bytes.store(bytes, Relaxed);
        self.enter(slot);
    }

    /// Puts a slot whose key is set in order. The first free one makes way, if it is another.
    fn enter(&self, slot: u32) {
        let count = self.q.count.load(Relaxed);
        let last = count.wrapping_add(self.q.free.load(Relaxed));
        let first_free = self.at(count);
        if first_free != slot {
            self.put(last, first_free);
        }
        self.put(count, slot);
        self.q.count.store(count.wrapping_add(1), Relaxed);
        self.rise(count, slot);
    }

    /// Takes the next message out: its slot is free from here on. The bytes stay until it is used.
    #[inline(always)]
    pub fn pop(&self, slot: u32) {
        crash_point("mq.receive.commit");
        let bytes = self
            .q
            .bytes
            .load(Relaxed)
            .wrapping_sub(self.len(slot) as u64);
        self.set_key(slot, 0); // C4
        crash_point("mq.receive.committed");
        self.q.bytes.store(bytes, Relaxed);
        let count = self.q.count.load(Relaxed).wrapping_sub(1);
        let last = self.at(count);
        self.put(count, slot);
        self.q.count.store(count, Relaxed);
        self.q
            .free
            .store(self.q.free.load(Relaxed).wrapping_add(1), Relaxed);
        if count > 0 && last != slot {
            self.sink(last, count);
        }
    }

    /// The spare slot belongs to a waiting record from here on.
    pub fn hold(&self, slot: u32) {
        let count = self.q.count.load(Relaxed);
        let free = self.q.free.load(Relaxed).wrapping_sub(1);
        if self.at(count) == slot {
            self.put(count, self.at(count.wrapping_add(free)));
        }
        self.q.free.store(free, Relaxed);
    }

    /// And is free again.
    pub fn give_back(&self, slot: u32) {
        let count = self.q.count.load(Relaxed);
        let free = self.q.free.load(Relaxed);
        self.put(count.wrapping_add(free), self.at(count));
        self.put(count, slot);
        self.q.free.store(free.wrapping_add(1), Relaxed);
    }

    /// A slot moves up from place `i` as long as it is larger than what is above it.
    #[inline(always)]
    fn rise(&self, mut i: u32, slot: u32) {
        let key = self.key(slot);
        while i > 0 {
            let up = (i - 1) / 2;
            let above = self.at(up);
            if self.key(above) > key {
                break;
            }
            self.put(i, above);
            i = up;
        }
        self.put(i, slot);
    }

    /// A slot moves down from the top of `count` as long as something below it is larger.
    fn sink(&self, slot: u32, count: u32) {
        let key = self.key(slot);
        let mut i = 0;
        loop {
            let mut down = 2 * i + 1;
            if down >= count {
                break;
            }
            if down + 1 < count && self.key(self.at(down + 1)) > self.key(self.at(down)) {
                down += 1;
            }
            let below = self.at(down);
            if self.key(below) < key {
                break;
            }
            self.put(i, below);
            i = down;
        }
        self.put(i, slot);
    }

    /// The order, from nothing but the keys. `held` says of a slot without a key whether a waiting
    /// record has it.
    pub fn rebuild(&self, held: impl Fn(u32) -> bool) {
        self.q.count.store(0, Relaxed);
        self.q.free.store(0, Relaxed);
        let (mut free, mut bytes) = (0, 0u64);
        for slot in 0..self.slots() {
            if self.key(slot) != 0 {
                bytes = bytes.wrapping_add(self.len(slot) as u64);
                self.enter(slot);
            }
        }
        let count = self.q.count.load(Relaxed);
        for slot in 0..self.slots() {
            if self.key(slot) == 0 && !held(slot) {
                self.put(count + free, slot);
                free += 1;
            }
        }
        self.q.free.store(free, Relaxed);
        self.q.bytes.store(bytes, Relaxed);
    }

    /// Copies a message in. `Ok(false)`: bad memory of the program's.
    #[inline(always)]
    pub fn fill<H: Host>(
        &self,
        k: &Ctx<'_, H>,
        slot: u32,
        src: &mut impl UserRead,
        len: usize,
    ) -> Result<bool, Errno> {
        let meta = self.meta.get(slot as usize).ok_or(Errno::ENOMEM)?;
        if meta.load(Relaxed) & MADE == 0 {
            self.make(k, slot)?;
        }
        let copied = self.pieces(k.arena, slot, len, |p, n| src.copy_in(p, n));
        meta.store(MADE | len as u32, Relaxed);
        copied.ok_or(Errno::ENOMEM)
    }

    /// Copies a message out. `false`: bad memory of the program's.
    #[inline(always)]
    pub fn read_out(&self, arena: &Arena, slot: u32, dst: &mut impl UserWrite) -> bool {
        let len = self.len(slot);
        self.pieces(arena, slot, len, |p, n| dst.copy_out(p, n))
            .unwrap_or(false)
    }

    /// Calls `f` for each piece of a slot's first `len` bytes, until one fails. `None`: no memory.
    #[inline(always)]
    fn pieces(
        &self,
        arena: &Arena,
        slot: u32,
        len: usize,
        mut f: impl FnMut(*mut u8, usize) -> bool,
    ) -> Option<bool> {
        let start = slot as usize * self.q.stride.load(Relaxed) as usize;
        if self.q.segments.load(Relaxed) <= 1 {
            let block = Off::<u8>::from_raw(self.q.data_at.load(Relaxed))?;
            let at = block.raw() as usize * UNIT + start;
            let p = arena.bytes_at(at, len)?;
            return Some(len == 0 || f(p, len));
        }
        let mut done = 0;
        while done < len {
            let at = start + done;
            let n = (SEGMENT - at % SEGMENT).min(len - done);
            let block = self.segment(arena, at / SEGMENT)?.load(Acquire);
            let block = Off::<u8>::from_raw(block)?.raw() as usize;
            let p = arena.bytes_at(block * UNIT + at % SEGMENT, n)?;
            if !f(p, n) {
                return Some(false);
            }
            done += n;
        }
        Some(true)
    }

    fn segment(&self, arena: &Arena, i: usize) -> Option<&'static AtomicU32> {
        let n = self.q.segments.load(Relaxed) as usize;
        let at = Off::<u8>::from_raw(self.q.data_at.load(Relaxed))?.raw() as usize;
        words::<AtomicU32>(arena, at * UNIT, n)?.get(i)
    }

    /// The slot gets memory.
    #[cold]
    fn make<H: Host>(&self, k: &Ctx<'_, H>, slot: u32) -> Result<(), Errno> {
        let no_memory = Errno::ENOMEM;
        let stride = self.q.stride.load(Relaxed) as usize;
        let segments = self.q.segments.load(Relaxed) as usize;
        if segments > 1 {
            let start = slot as usize * stride;
            for i in start / SEGMENT..=(start + stride - 1) / SEGMENT {
                let at = self.segment(k.arena, i).ok_or(no_memory)?;
                if at.load(Relaxed) == 0 {
                    let block = alloc::alloc(k.arena, k.me, k.host, SEGMENT)?;
                    at.store(block.raw(), Release);
                }
            }
        }
        let made = self.pieces(k.arena, slot, stride, |p, n| k.host.populate(p, n));
        (made == Some(true)).then_some(()).ok_or(no_memory)
    }

    /// Gives the messages' memory back.
    pub fn release<H: Host>(&self, k: &Ctx<'_, H>) {
        let segments = self.q.segments.load(Relaxed) as usize;
        let whole = (self.slots() as usize).saturating_mul(self.q.stride.load(Relaxed) as usize);
        let data = self.q.data_at.load(Relaxed);
        if segments > 1 {
            for i in 0..segments {
                let at = self.segment(k.arena, i);
                give_segment(k, at.map_or(0, |s| s.swap(0, Relaxed)));
            }
        }
        let len = if segments > 1 { segments * 4 } else { whole };
        if let Some(block) = Off::from_raw(data) {
            alloc::free(k.arena, k.me, k.host, block, len);
        }
        self.q.data_at.store(0, Relaxed);
    }
}

/// A block whose first page may not exist: if it can not be had now, the block is lost.
fn give_segment<H: Host>(k: &Ctx<'_, H>, raw: u32) {
    let Some(block) = Off::<u8>::from_raw(raw) else {
        return;
    };
    let first = k.arena.bytes(block, PAGE_SIZE);
    if first.is_some_and(|p| k.host.populate(p, PAGE_SIZE)) {
        alloc::free(k.arena, k.me, k.host, block, SEGMENT);
    }
}
