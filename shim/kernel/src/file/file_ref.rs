//! What an open file description names: decoded once from [`OpenFile::role`], and the only `match`
//! on it for each operation that all objects have.

use super::open_file::{file, End, OpenFile, PipeEnd};
use crate::arena::Arena;
use crate::eventfd::{self, Eventfd};
use crate::log::Log;
use crate::mqueue::{self, Queue};
use crate::pipe::{self, mode};
use crate::sync::atomic::{AtomicU32, Ordering::*};
use crate::unix::{self, Pair, Side};

/// Values of [`OpenFile::role`].
pub mod role {
    pub const READ_END: u32 = 0;
    pub const WRITE_END: u32 = 1;
    pub const EVENTFD: u32 = 2;
    pub const SOCKET: u32 = 3;
    pub const MQ: u32 = 4;
    pub const SIGNALFD: u32 = 5;
}

/// How every object that a description can name begins.
#[repr(C)]
pub struct Head {
    /// See [`mode`]: the same numbers for all.
    pub mode: AtomicU32,
    /// Bumped when the slot of the table is freed: old descriptions notice.
    pub generation: AtomicU32,
}

/// A descriptor of an eventfd, looked up.
#[derive(Clone, Copy)]
pub struct EventfdFile {
    pub file: &'static OpenFile,
    pub eventfd: &'static Eventfd,
    /// Slots of both in their tables; the eventfd's in the upper half.
    slots: u64,
}

impl EventfdFile {
    #[inline(always)]
    pub fn new(
        file_slot: u32,
        file: &'static OpenFile,
        slot: u32,
        eventfd: &'static Eventfd,
    ) -> EventfdFile {
        let slots = u64::from(slot) << 32 | u64::from(file_slot);
        EventfdFile {
            file,
            eventfd,
            slots,
        }
    }

    #[inline(always)]
    pub fn file_slot(&self) -> u32 {
        self.slots as u32
    }

    #[inline(always)]
    pub fn slot(&self) -> u32 {
        (self.slots >> 32) as u32
    }
}

/// A descriptor of a signalfd, looked up. It is no object of its own: what can be read from it is
/// pending for the process that reads. Its mask is in the description, half where others name their
/// object, half where they have its generation.
#[derive(Clone, Copy)]
pub struct SignalfdFile {
    pub file: &'static OpenFile,
    pub file_slot: u32,
}

impl SignalfdFile {
    /// What may be read from it.
    pub fn mask(&self) -> u64 {
        let low = self.file.object.load(Relaxed);
        u64::from(low) | u64::from(self.file.generation.load(Relaxed)) << 32
    }

    /// signalfd(2) on a descriptor that is there.
    pub fn set_mask(&self, mask: u64) {
        self.file.object.store(mask as u32, Relaxed);
        self.file.generation.store((mask >> 32) as u32, Relaxed);
    }
}

/// Served from the arena, as far as it goes.
static SIGNALFDS: AtomicU32 = AtomicU32::new(mode::RING);

/// A descriptor of a message queue, looked up.
#[derive(Clone, Copy)]
pub struct MqFile {
    pub file: &'static OpenFile,
    pub queue: &'static Queue,
    /// Slots of both in their tables; the queue's in the upper half.
    slots: u64,
}

impl MqFile {
    #[inline(always)]
    pub fn new(
        file_slot: u32,
        file: &'static OpenFile,
        slot: u32,
        queue: &'static Queue,
    ) -> MqFile {
        let slots = u64::from(slot) << 32 | u64::from(file_slot);
        MqFile { file, queue, slots }
    }

    #[inline(always)]
    pub fn file_slot(&self) -> u32 {
        self.slots as u32
    }

    #[inline(always)]
    pub fn slot(&self) -> u32 {
        (self.slots >> 32) as u32
    }

    /// The queue that was opened, whatever has become of its slot.
    #[inline(always)]
    pub fn handle(&self) -> mqueue::Handle {
        mqueue::Handle {
            q: self.queue,
            slot: self.slot(),
            generation: self.file.generation.load(Relaxed),
        }
    }
}

/// A descriptor of one of a pair of sockets, looked up.
#[derive(Clone, Copy)]
pub struct SocketFile {
    pub file: &'static OpenFile,
    pub pair: &'static Pair,
    /// The description's slot, and [`OpenFile::object`]: the pair's slot and the side.
    slots: u64,
}

/// Which socket it is.
#[derive(Clone, Copy)]
pub struct SocketId {
    pub slot: u32,
    pub side: Side,
    pub pair: &'static Pair,
}

impl SocketFile {
    pub fn id(&self) -> SocketId {
        SocketId {
            slot: self.slot(),
            side: self.side(),
            pair: self.pair,
        }
    }

    #[inline(always)]
    pub fn new(
        file_slot: u32,
        file: &'static OpenFile,
        object: u32,
        pair: &'static Pair,
    ) -> SocketFile {
        let slots = u64::from(object) << 32 | u64::from(file_slot);
        SocketFile { file, pair, slots }
    }

    /// What a description of this socket has as its object.
    pub fn object(slot: u32, side: Side) -> u32 {
        slot << 1 | side.bit()
    }

    #[inline(always)]
    pub fn file_slot(&self) -> u32 {
        self.slots as u32
    }

    #[inline(always)]
    pub fn slot(&self) -> u32 {
        (self.slots >> 33) as u32
    }

    #[inline(always)]
    pub fn side(&self) -> Side {
        Side::of((self.slots >> 32) as u32)
    }
}

/// A descriptor, looked up.
#[derive(Clone, Copy)]
pub enum FileRef {
    Pipe(PipeEnd),
    Eventfd(EventfdFile),
    Signalfd(SignalfdFile),
    Mq(MqFile),
    Socket(SocketFile),
}

impl FileRef {
    /// Follows a description to its object. `None`: free, or its object is another one now.
    #[inline(always)]
    pub fn of(arena: &Arena, file_slot: u32) -> Option<FileRef> {
        if file_slot == 0 {
            return None;
        }
        let f: &'static OpenFile = file(arena, file_slot)?;
        let slot = f.object.load(Relaxed);
        match f.role.load(Relaxed) {
            role::READ_END | role::WRITE_END => {
                let pipe = pipe::get(arena, slot)?;
                f.is_of(&pipe.generation)
                    .then(|| FileRef::Pipe(PipeEnd::new(file_slot, f, slot, pipe, f.end())))
            }
            role::EVENTFD => {
                let e = eventfd::get(arena, slot)?;
                f.is_of(&e.generation)
                    .then(|| FileRef::Eventfd(EventfdFile::new(file_slot, f, slot, e)))
            }
            role::SIGNALFD => Some(FileRef::Signalfd(SignalfdFile { file: f, file_slot })),
            role::SOCKET => {
                let p = unix::get(arena, slot >> 1)?;
                f.is_of(&p.generation)
                    .then(|| FileRef::Socket(SocketFile::new(file_slot, f, slot, p)))
            }
            role::MQ => {
                let q = mqueue::get(arena, slot)?;
                f.is_of(&q.generation)
                    .then(|| FileRef::Mq(MqFile::new(file_slot, f, slot, q)))
            }
            _ => None,
        }
    }

    /// As [`FileRef::of`], whatever generation the object has: for counts, and for `check`.
    pub fn head_of(arena: &Arena, f: &OpenFile) -> Option<&'static Head> {
        let slot = f.object.load(Relaxed);
        let head: *const Head = match f.role.load(Relaxed) {
            role::READ_END | role::WRITE_END => core::ptr::from_ref(pipe::get(arena, slot)?).cast(),
            role::EVENTFD => core::ptr::from_ref(eventfd::get(arena, slot)?).cast(),
            role::SOCKET => core::ptr::from_ref(unix::get(arena, slot >> 1)?).cast(),
            role::MQ => core::ptr::from_ref(mqueue::get(arena, slot)?).cast(),
            _ => return None,
        };
        // SAFETY: each of them begins with a `Head` (asserted below) and stays mapped.
        Some(unsafe { &*head })
    }

    #[inline(always)]
    pub fn file(&self) -> &'static OpenFile {
        match self {
            FileRef::Pipe(e) => e.file,
            FileRef::Eventfd(e) => e.file,
            FileRef::Signalfd(e) => e.file,
            FileRef::Mq(e) => e.file,
            FileRef::Socket(s) => s.file,
        }
    }

    #[inline(always)]
    pub fn file_slot(&self) -> u32 {
        match self {
            FileRef::Pipe(e) => e.file_slot(),
            FileRef::Eventfd(e) => e.file_slot(),
            FileRef::Signalfd(e) => e.file_slot,
            FileRef::Mq(e) => e.file_slot(),
            FileRef::Socket(s) => s.file_slot(),
        }
    }

    pub fn mode(&self) -> &'static AtomicU32 {
        match self {
            FileRef::Pipe(e) => &e.pipe.mode,
            FileRef::Eventfd(e) => &e.eventfd.mode,
            FileRef::Signalfd(_) => &SIGNALFDS,
            FileRef::Mq(e) => &e.queue.state,
            FileRef::Socket(s) => &s.pair.mode,
        }
    }

    /// The kernel has it, wholly.
    pub fn is_kernels(&self) -> bool {
        self.mode().load(Acquire) == mode::KERNEL
    }

    /// Served from the arena.
    pub fn is_served(&self) -> bool {
        self.mode().load(Acquire) == mode::RING
    }

    /// One record about the object, in its order.
    pub fn log(&self, log: &Log<'_>, kind: crate::log::Kind, abc: (i64, u64, u64)) -> u64 {
        match self {
            FileRef::Pipe(e) => log.pipe(e.pipe, kind, 0, abc),
            FileRef::Eventfd(e) => log.about(e.eventfd, kind, 0, abc),
            FileRef::Signalfd(_) => log.event(kind, 0, abc),
            FileRef::Mq(e) => log.about(e.queue, kind, 0, abc),
            FileRef::Socket(s) => log.about(s.pair, kind, 0, abc),
        }
    }

    /// Which end of a pipe, for records: 0 of everything that has only one.
    pub fn end_number(&self) -> u64 {
        match self {
            FileRef::Pipe(e) => u64::from(e.end == End::Write),
            FileRef::Socket(s) => u64::from(s.side().bit()),
            FileRef::Eventfd(_) | FileRef::Signalfd(_) | FileRef::Mq(_) => 0,
        }
    }

    pub fn pipe(self) -> Option<PipeEnd> {
        match self {
            FileRef::Pipe(e) => Some(e),
            _ => None,
        }
    }
}

/// The count of open descriptions that `f` is one of. (A queue's changes under the lock of the names.)
pub(super) fn holders(arena: &Arena, f: &OpenFile) -> Option<&'static AtomicU32> {
    let slot = f.object.load(Relaxed);
    match f.role.load(Relaxed) {
        role::READ_END | role::WRITE_END => Some(pipe::get(arena, slot)?.holders(f.end())),
        role::SOCKET => Some(&unix::get(arena, slot >> 1)?.socket(Side::of(slot)).files),
        role::EVENTFD => Some(&eventfd::get(arena, slot)?.files),
        _ => None,
    }
}

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Head, mode) == 0 && offset_of!(Head, generation) == 4);
    assert!(offset_of!(pipe::Pipe, mode) == 0 && offset_of!(pipe::Pipe, generation) == 4);
    assert!(offset_of!(Eventfd, mode) == 0 && offset_of!(Eventfd, generation) == 4);
    assert!(offset_of!(Pair, mode) == 0 && offset_of!(Pair, generation) == 4);
    assert!(offset_of!(Queue, state) == 0 && offset_of!(Queue, generation) == 4);
    assert!(mqueue::state::LIVE == mode::RING && mqueue::state::FREE == mode::FREE);
};
