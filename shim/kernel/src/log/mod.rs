//! The log: every transition as a fixed-size record in a ring of the thread that made it.
//!
//! Records are written inside the object's critical section, with the object's own sequence
//! number: per object, the log's order is the order in which things happened.

pub mod object;
pub mod observed;
pub mod record;
pub mod ring;

pub use record::{layer, sent, Cause, Kind, Record};
pub use ring::RingHead;

use crate::pipe::Pipe;
use crate::sync::atomic::{AtomicU32, Ordering::*};
use crate::sync::lock_word::OwnerId;

/// An object that has records of its own.
pub trait Logged {
    /// See [`object`].
    fn object(&self) -> u32;
    /// Order of its records.
    fn order(&self) -> &AtomicU32;
}

/// Where the records of one call go; nowhere when the log is off.
#[derive(Clone, Copy)]
pub struct Log<'a> {
    pub ring: Option<&'a ring::Writer>,
    /// Descriptor that the call names, -1 for none.
    pub fd: i32,
    /// By which layer the call came: see [`layer`].
    pub layer: u16,
}

impl Log<'_> {
    pub const OFF: Log<'static> = Log {
        ring: None,
        fd: -1,
        layer: 0,
    };

    /// For what the real kernel served.
    pub fn by_kernel(self) -> Self {
        Log {
            layer: self.layer | layer::BY_KERNEL,
            ..self
        }
    }

    #[inline(always)]
    pub fn is_on(&self) -> bool {
        self.ring.is_some()
    }

    /// One record about a pipe, in its order. Its id, 0 when the log is off.
    #[inline(always)]
    pub fn pipe(&self, p: &Pipe, kind: Kind, cause: u64, abc: (i64, u64, u64)) -> u64 {
        match self.ring {
            None => 0,
            Some(ring) => self.put(ring, p, kind, None, cause, abc),
        }
    }

    /// One record about an object, in its order. Its id, 0 when the log is off.
    #[inline(always)]
    pub fn about(&self, o: &impl Logged, kind: Kind, cause: u64, abc: (i64, u64, u64)) -> u64 {
        match self.ring {
            None => 0,
            Some(ring) => self.put_about(ring, o.object(), o.order(), kind, cause, abc),
        }
    }

    #[inline(never)]
    fn put_about(
        &self,
        ring: &ring::Writer,
        object: u32,
        order: &AtomicU32,
        kind: Kind,
        cause: u64,
        abc: (i64, u64, u64),
    ) -> u64 {
        ring.put(Record {
            kind: kind.raw(),
            aux: self.layer,
            object,
            seq: order.fetch_add(1, Relaxed),
            fd: self.fd,
            cause,
            a: abc.0,
            b: abc.1,
            c: abc.2,
            ..Record::default()
        })
    }

    /// A place in the pipe's order for a record that is to come. `None`: the log is off.
    pub(crate) fn reserve(&self, p: &Pipe) -> Option<u32> {
        self.ring.map(|_| p.log_seq.fetch_add(1, Relaxed))
    }

    #[inline(never)]
    fn put(
        &self,
        ring: &ring::Writer,
        p: &Pipe,
        kind: Kind,
        place: Option<u32>,
        cause: u64,
        abc: (i64, u64, u64),
    ) -> u64 {
        ring.put(Record {
            kind: kind.raw(),
            aux: self.layer,
            object: p.id.load(Relaxed),
            seq: place.unwrap_or_else(|| p.log_seq.fetch_add(1, Relaxed)),
            fd: self.fd,
            cause,
            a: abc.0,
            b: abc.1,
            c: abc.2,
            ..Record::default()
        })
    }

    /// One record about no object.
    pub fn event(&self, kind: Kind, cause: u64, abc: (i64, u64, u64)) -> u64 {
        let Some(ring) = self.ring else { return 0 };
        ring.put(Record {
            kind: kind.raw(),
            aux: self.layer,
            fd: self.fd,
            cause,
            a: abc.0,
            b: abc.1,
            c: abc.2,
            ..Record::default()
        })
    }

    #[inline(always)]
    pub(crate) fn wrote(&self, p: &Pipe, bytes: usize, pos: u64, place: Option<u32>) -> u64 {
        let Some(ring) = self.ring else { return 0 };
        let after = pos
            .wrapping_add(bytes as u64)
            .saturating_sub(p.read.load(Relaxed));
        self.put(ring, p, Kind::Write, place, 0, (bytes as i64, pos, after))
    }

    #[inline(always)]
    pub(crate) fn read(&self, p: &Pipe, bytes: usize, pos: u64) -> u64 {
        if self.ring.is_none() {
            return 0;
        }
        // (What of a packet did not fit is gone as well.)
        let after = p.written.load(Relaxed).saturating_sub(p.read.load(Relaxed));
        self.pipe(p, Kind::Read, 0, (bytes as i64, pos, after))
    }

    pub(crate) fn orphaned(&self, p: &Pipe, dead: OwnerId) {
        self.pipe(p, Kind::Orphaned, 0, (i64::from(dead.raw()), 0, 0));
    }
}
