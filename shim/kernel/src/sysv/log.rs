//! Records about System V objects.

use crate::host::Host;
use crate::log::{Kind, Record};
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, Ordering::*};

/// An object's name in the log, and the order of its records.
#[repr(C)]
pub struct Logged {
    pub object: AtomicU32,
    pub seq: AtomicU32,
}

impl Logged {
    /// A new object of this class.
    pub fn begin<H: Host>(&self, k: &Ctx<'_, H>, class: u32) {
        let ids = &k.arena.header().object_ids;
        let n = ids.fetch_add(1, Relaxed).wrapping_add(1);
        self.object.store(class | n, Relaxed);
        self.seq.store(0, Relaxed);
    }

    /// One record about it, under its lock. Its id; 0 when the log is off.
    #[inline(always)]
    pub fn put<H: Host>(
        &self,
        k: &Ctx<'_, H>,
        kind: Kind,
        cause: u64,
        abc: (i64, u64, u64),
    ) -> u64 {
        if k.log.is_on() {
            self.write(k, kind, cause, abc)
        } else {
            0
        }
    }

    #[inline(never)]
    fn write<H: Host>(
        &self,
        k: &Ctx<'_, H>,
        kind: Kind,
        cause: u64,
        (a, b, c): (i64, u64, u64),
    ) -> u64 {
        let Some(ring) = k.log.ring else { return 0 };
        ring.put(Record {
            kind: kind.raw(),
            aux: k.log.layer,
            object: self.object.load(Relaxed),
            seq: self.seq.fetch_add(1, Relaxed),
            fd: -1,
            cause,
            a,
            b,
            c,
            ..Record::default()
        })
    }
}
