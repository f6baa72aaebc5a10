//! Open file description: "a record of how a process or group of processes is accessing a file"
//! (POSIX.1-2017, XBD 3.258). Status flags live here, shared by dup(2) and fork(2).

use super::file_ref::{self, role, FileRef};
use crate::abi::Errno;
use crate::arena::{alloc, layout, pages, Arena, ArenaSafe};
use crate::host::Host;
use crate::pipe::{self, Pipe};
use crate::sync::atomic::{AtomicU32, Ordering::*};
use crate::sync::lock_word::OwnerId;

/// Which end of a pipe.
///
/// (A whole word, so that it is stored and loaded as one: a byte stored and eight loaded stalls.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum End {
    Read,
    Write,
}

impl End {
    fn raw(self) -> u32 {
        match self {
            End::Read => role::READ_END,
            End::Write => role::WRITE_END,
        }
    }
}

/// `object` is the object's slot, `generation` the object's when this was made: a description that
/// outlived its object (a wrong count) finds that out instead of another one.
#[repr(C, align(32))]
pub struct OpenFile {
    /// Table entries, in all processes, that name this. 0: the slot is free.
    pub refs: AtomicU32,
    pub object: AtomicU32,
    pub generation: AtomicU32,
    /// What it is, and of what: see [`role`](super::role).
    pub role: AtomicU32,
    /// O_NONBLOCK, O_DIRECT, O_ASYNC as the program set them (fcntl(2), F_SETFL).
    pub flags: AtomicU32,
    pub next_free: AtomicU32,
    /// The file position, of what has one: a message queue's read(2).
    pub position: AtomicU32,
    _pad: AtomicU32,
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for OpenFile {}

/// A descriptor, looked up: everything that a call on a pipe needs.
#[derive(Clone, Copy)]
pub struct PipeEnd {
    pub file: &'static OpenFile,
    pub pipe: &'static Pipe,
    pub end: End,
    /// Slots of both in their tables; the pipe's in the upper half. (One word: see [`End`].)
    slots: u64,
}

impl PipeEnd {
    #[inline(always)]
    pub fn new(
        file_slot: u32,
        file: &'static OpenFile,
        pipe_slot: u32,
        pipe: &'static Pipe,
        end: End,
    ) -> PipeEnd {
        let slots = u64::from(pipe_slot) << 32 | u64::from(file_slot);
        PipeEnd {
            file,
            pipe,
            end,
            slots,
        }
    }

    #[inline(always)]
    pub fn file_slot(&self) -> u32 {
        self.slots as u32
    }

    #[inline(always)]
    pub fn pipe_slot(&self) -> u32 {
        (self.slots >> 32) as u32
    }
}

impl OpenFile {
    #[inline(always)]
    pub fn has(&self, flag: u32) -> bool {
        self.flags.load(Relaxed) & flag != 0
    }

    /// Whether it names an object of this generation.
    #[inline(always)]
    pub fn is_of(&self, generation: &AtomicU32) -> bool {
        generation.load(Relaxed) == self.generation.load(Relaxed)
    }

    /// Of a description of a pipe.
    #[inline(always)]
    pub fn end(&self) -> End {
        if self.role.load(Relaxed) == role::READ_END {
            End::Read
        } else {
            End::Write
        }
    }
}

pub fn file(arena: &Arena, slot: u32) -> Option<&'static OpenFile> {
    arena.slot(layout::FILES, layout::MAX_FILES, slot)
}

/// A description of one end of a pipe, with one reference. The end's count goes up.
///
/// Errors: ENFILE when the table is full, or /dev/shm.
pub fn new_file(
    arena: &Arena,
    me: OwnerId,
    host: &impl Host,
    pipe_slot: u32,
    end: End,
    flags: u32,
) -> Result<u32, Errno> {
    if pipe::get(arena, pipe_slot).is_none() {
        return Err(Errno::ENFILE);
    }
    new_file_of(arena, me, host, (end.raw(), pipe_slot), flags)
}

/// A description of any object, in this [`role`], with one reference. The object counts it.
///
/// Errors: as [`new_file`].
pub fn new_file_of(
    arena: &Arena,
    me: OwnerId,
    host: &impl Host,
    (role, object): (u32, u32),
    flags: u32,
) -> Result<u32, Errno> {
    let slot = alloc::locked(arena, me, host, |h| {
        let slot = alloc::take_slot(
            &h.files_used,
            &h.files_free,
            layout::MAX_FILES,
            |s| file(arena, s).map(|f| f.next_free.load(Relaxed)),
            |s| pages::make::<OpenFile>(arena, host, layout::FILES, &h.files_made, s),
        )?;
        let f = file(arena, slot)?;
        f.object.store(object, Relaxed);
        f.role.store(role, Relaxed);
        let generation = FileRef::head_of(arena, f).map_or(0, |h| h.generation.load(Relaxed));
        f.generation.store(generation, Relaxed);
        f.flags.store(flags, Relaxed);
        f.position.store(0, Relaxed);
        f.refs.store(1, Release);
        Some(slot)
    })
    .ok_or(Errno::ENFILE)?;
    if let Some(holders) = file(arena, slot).and_then(|f| file_ref::holders(arena, f)) {
        holders.fetch_add(1, AcqRel);
    }
    Ok(slot)
}

/// One reference more, if there is one: a description that was closed meanwhile stays closed, and
/// its slot is not given away twice.
#[must_use]
pub fn get_ref(arena: &Arena, slot: u32) -> bool {
    file(arena, slot).is_some_and(|f| {
        f.refs
            .fetch_update(AcqRel, Relaxed, |n| {
                if n == 0 {
                    None
                } else {
                    n.checked_add(1)
                }
            })
            .is_ok()
    })
}

/// One reference fewer. `true`: it was the last, the description is gone, and so is one holder of
/// its object (of a pipe: of that end).
pub fn close_ref(arena: &Arena, me: OwnerId, host: &impl Host, slot: u32) -> bool {
    let Some(f) = file(arena, slot) else {
        return false;
    };
    if f.refs.fetch_update(AcqRel, Relaxed, |n| n.checked_sub(1)) != Ok(1) {
        return false;
    }
    let same = FileRef::head_of(arena, f).is_some_and(|h| f.is_of(&h.generation));
    if let Some(holders) = file_ref::holders(arena, f).filter(|_| same) {
        let _ = holders.fetch_update(AcqRel, Relaxed, |n| n.checked_sub(1));
    }
    alloc::locked(arena, me, host, |h| {
        f.next_free.store(h.files_free.load(Relaxed), Relaxed);
        h.files_free.store(slot, Relaxed);
    });
    true
}

/// Any live description of this end of the pipe: a process that finds the twin among its
/// descriptors, and knows nothing else, joins it.
pub fn find_file_of(arena: &Arena, pipe_slot: u32, end: End) -> Option<u32> {
    let used = arena
        .header()
        .files_used
        .load(Relaxed)
        .min(layout::MAX_FILES);
    let generation = &pipe::get(arena, pipe_slot)?.generation;
    (1..used).find(|&slot| {
        file(arena, slot).is_some_and(|f| {
            f.refs.load(Acquire) != 0
                && f.object.load(Relaxed) == pipe_slot
                && f.is_of(generation)
                && f.role.load(Relaxed) == end.raw()
        })
    })
}
