//! Position-independent references into the arena.

use core::marker::PhantomData;
use core::mem::{align_of, size_of};
use core::num::NonZeroU32;

use super::header::Header;
use super::layout;
use super::safe::ArenaSafe;

/// Bytes that one step of an offset stands for: a cache line. 32 bits reach 256 GiB.
pub const UNIT: usize = 64;

/// Offset of a `T` from the arena's base, in units of 64 bytes. Never a pointer: every process
/// maps the arena elsewhere.
#[repr(transparent)]
pub struct Off<T>(NonZeroU32, PhantomData<fn() -> T>);

impl<T> Clone for Off<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Off<T> {}

impl<T> Off<T> {
    /// `None` for 0, which is "nothing" wherever an offset is stored.
    pub fn from_raw(units: u32) -> Option<Off<T>> {
        NonZeroU32::new(units).map(|u| Off(u, PhantomData))
    }

    pub fn raw(self) -> u32 {
        self.0.get()
    }
}

/// One process's mapping of the arena.
#[derive(Clone, Copy)]
pub struct Arena {
    base: *const u8,
    len: usize,
}

// SAFETY: the mapping is shared memory that is only reached through `ArenaSafe` types (4).
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// # Safety
    ///
    /// `base..base + len` stays mapped, readable and writable, for the life of the process, is
    /// page-aligned, at least [`layout::HEAP`] long, and its pages are a shared file's.
    pub unsafe fn from_mapping(base: *const u8, len: usize) -> Self {
        Arena { base, len }
    }

    pub fn base(&self) -> *const u8 {
        self.base
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A block of the heap, as what it holds. Validates bounds, then borrows: a wild offset is
    /// `None`, never UB, and never leads into the tables.
    #[inline(always)]
    pub fn get<T: ArenaSafe>(&self, off: Off<T>) -> Option<&'static T> {
        let start = off.raw() as usize * UNIT;
        if start < layout::HEAP {
            return None;
        }
        self.at(start)
    }

    /// The `T` at a byte offset, which must be aligned for it and in bounds.
    #[inline(always)]
    pub fn at<T: ArenaSafe>(&self, byte: usize) -> Option<&'static T> {
        let end = byte.checked_add(size_of::<T>())?;
        if end > self.len || !byte.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: in bounds of the mapping (checked above; `from_mapping` guarantees the rest).
        let p = unsafe { self.base.add(byte) };
        // SAFETY: aligned and in bounds; `ArenaSafe` makes any bits a valid `T` and makes
        // sharing with other processes sound (2, 4); the mapping lives as long as the process.
        Some(unsafe { &*p.cast::<T>() })
    }

    /// Where in the arena something is that was borrowed from it. `None`: it is not at a unit.
    pub fn offset_of<T: ArenaSafe>(&self, what: &T) -> Option<Off<T>> {
        let byte = (core::ptr::from_ref(what) as usize).checked_sub(self.base as usize)?;
        let units = u32::try_from(byte / UNIT).ok()?;
        (byte % UNIT == 0).then_some(units).and_then(Off::from_raw)
    }

    /// Element `index` of the table that starts at byte `table` and has `count` elements.
    #[inline(always)]
    pub fn slot<T: ArenaSafe>(&self, table: usize, count: u32, index: u32) -> Option<&'static T> {
        if index >= count {
            return None;
        }
        self.at(table + index as usize * size_of::<T>())
    }

    /// `len` bytes at `off`, as an address. `None` when they are not all in the arena's heap.
    #[inline(always)]
    pub fn bytes(&self, off: Off<u8>, len: usize) -> Option<*mut u8> {
        self.bytes_at(off.raw() as usize * UNIT, len)
    }

    /// As [`Arena::bytes`], at a byte offset.
    #[inline(always)]
    pub fn bytes_at(&self, start: usize, len: usize) -> Option<*mut u8> {
        if start < layout::HEAP || start.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: in bounds of the mapping, as just checked.
        Some(unsafe { self.base.add(start) }.cast_mut())
    }

    pub fn header(&self) -> &'static Header {
        match self.at(layout::HEADER) {
            Some(h) => h,
            // `from_mapping` demands a mapping that holds the header and all tables.
            None => &header_of_nothing::EMPTY,
        }
    }
}

/// What `header` answers for a mapping shorter than its own contract: a header full of zeros,
/// which no check accepts.
mod header_of_nothing {
    pub static EMPTY: super::Header = super::Header::zeroed();
}
