//! Directories of pages: a slot is made when it is first needed, and never moves or goes away.

use core::marker::PhantomData;
use core::mem::size_of;

use super::ids::Named;
use crate::abi::Errno;
use crate::arena::off::UNIT;
use crate::arena::{alloc, layout, Arena, ArenaSafe};
use crate::host::Host;
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

/// Bytes that are made at once.
const CHUNK: usize = 4096;

/// `N` chunks of `T`s. A new slot is all zero.
#[repr(transparent)]
pub struct Table<T, const N: usize>([AtomicU32; N], PhantomData<fn() -> T>);

// SAFETY: an array of atomics.
unsafe impl<T, const N: usize> ArenaSafe for Table<T, N> {}

impl<T: ArenaSafe + 'static, const N: usize> Table<T, N> {
    pub const PER_CHUNK: usize = CHUNK / size_of::<T>();
    /// Slots that there can be.
    pub const CAPACITY: u32 = (N * Self::PER_CHUNK) as u32;

    /// A slot. `None`: it was never made.
    #[inline(always)]
    pub fn get(&self, arena: &Arena, index: u32) -> Option<&'static T> {
        let index = index as usize;
        let chunk = self.0.get(index / Self::PER_CHUNK)?.load(Acquire); // pairs with `make`
        let start = chunk as usize * UNIT;
        if start < layout::HEAP {
            return None;
        }
        arena.at(start + index % Self::PER_CHUNK * size_of::<T>())
    }

    /// A slot that is made if need be. Under the root's lock.
    pub fn make<H: Host>(&self, k: &Ctx<'_, H>, index: u32) -> Result<&'static T, Errno> {
        if let Some(slot) = self.get(k.arena, index) {
            return Ok(slot);
        }
        let entry = self
            .0
            .get(index as usize / Self::PER_CHUNK)
            .ok_or(Errno::ENOSPC)?;
        let block = alloc::alloc_made(k.arena, k.me, k.host, CHUNK)?;
        clear(k.arena, block.raw(), CHUNK);
        entry.store(block.raw(), Release);
        self.get(k.arena, index).ok_or(Errno::ENOMEM)
    }
}

impl<T: Named, const N: usize> Table<T, N> {
    /// The object at this index. `None`: there is none.
    pub fn in_use(&self, arena: &Arena, index: u32) -> Option<&'static T> {
        self.get(arena, index).filter(|o| !o.perm().is_free())
    }
}

/// All zero: a reused block may hold anything.
pub fn clear(arena: &Arena, block: u32, len: usize) {
    let start = block as usize * UNIT;
    for at in (start..start + len).step_by(size_of::<AtomicU64>()) {
        if let Some(word) = word_at(arena, at) {
            word.store(0, Relaxed);
        }
    }
}

/// The word at a byte of the heap.
#[inline(always)]
pub fn word_at(arena: &Arena, byte: usize) -> Option<&'static AtomicU64> {
    if byte < layout::HEAP {
        return None;
    }
    arena.at(byte)
}

/// Element `index` of an array in a block of the heap.
#[inline(always)]
pub fn element<T: ArenaSafe + 'static>(
    arena: &Arena,
    block: u32,
    index: usize,
) -> Option<&'static T> {
    let start = block as usize * UNIT;
    if start < layout::HEAP {
        return None;
    }
    arena.at(start + index * size_of::<T>())
}
