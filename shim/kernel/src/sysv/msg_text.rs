//! A message in the arena: a block with a head and the text.
//!
//! A queue keeps the blocks of small messages for the next ones, so that sending and receiving take
//! no lock but the queue's own.

use super::msg::MsgQueue;
use super::table::element;
use crate::abi::Errno;
use crate::arena::off::UNIT;
use crate::arena::{alloc, Arena, ArenaSafe, Off};
use crate::host::Host;
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

/// `msg_msg`.
#[repr(C)]
pub struct Message {
    /// The next one in the queue, 0 for the last.
    pub next: AtomicU32,
    pub len: AtomicU32,
    pub mtype: AtomicU64,
    /// Record of its sending.
    pub record: AtomicU64,
    /// Bytes that the block was asked for with.
    room: AtomicU32,
    _pad: AtomicU32,
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Message {}

const HEAD: usize = core::mem::size_of::<Message>();
/// Blocks of this length are kept.
const SMALL: usize = 256;
/// So many of them, of each queue.
const KEPT: u32 = 64;

/// The message in a block.
#[inline(always)]
pub fn message(arena: &Arena, block: u32) -> Option<&'static Message> {
    if block == 0 {
        return None;
    }
    element(arena, block, 0)
}

/// Where its text is.
#[inline(always)]
pub fn text(arena: &Arena, block: u32, len: usize) -> Option<*mut u8> {
    arena.bytes_at(block as usize * UNIT + HEAD, len)
}

/// A block for a message of `len` bytes. Under the queue's lock.
#[inline(always)]
pub fn take<H: Host>(k: &Ctx<'_, H>, q: &MsgQueue, len: usize) -> Result<u32, Errno> {
    let small = HEAD + len <= SMALL;
    let kept = q.kept.load(Relaxed);
    if let Some(m) = message(k.arena, kept).filter(|_| small) {
        q.kept.store(m.next.load(Relaxed), Relaxed);
        q.kept_n
            .store(q.kept_n.load(Relaxed).wrapping_sub(1), Relaxed);
        return Ok(kept);
    }
    make(k, if small { SMALL } else { HEAD + len })
}

#[cold]
fn make<H: Host>(k: &Ctx<'_, H>, room: usize) -> Result<u32, Errno> {
    let block = alloc::alloc_made(k.arena, k.me, k.host, room)?;
    let m = message(k.arena, block.raw()).ok_or(Errno::ENOMEM)?;
    m.room.store(room as u32, Relaxed);
    Ok(block.raw())
}

/// Gives a block back to its queue, under the lock.
#[inline(always)]
pub fn keep<H: Host>(k: &Ctx<'_, H>, q: &MsgQueue, block: u32) {
    let Some(m) = message(k.arena, block) else {
        return;
    };
    let n = q.kept_n.load(Relaxed);
    if m.room.load(Relaxed) as usize == SMALL && n < KEPT {
        m.next.store(q.kept.load(Relaxed), Relaxed);
        q.kept.store(block, Relaxed);
        q.kept_n.store(n + 1, Relaxed);
        return;
    }
    free(k, block);
}

/// Gives a block back to the heap.
pub fn free<H: Host>(k: &Ctx<'_, H>, block: u32) {
    let room = message(k.arena, block).map(|m| m.room.load(Relaxed) as usize);
    if let (Some(room), Some(at)) = (room, Off::from_raw(block)) {
        alloc::free(k.arena, k.me, k.host, at, room);
    }
}
