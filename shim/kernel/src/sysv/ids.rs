//! Ids and keys. See Linux v6.18 ipc/util.c: `ipc_addid`, `ipcget_public`, `ipc_idr_alloc`.

use super::log::Logged;
use super::perm::{Perm, Who, IPC_CREAT, IPC_EXCL, IPC_PRIVATE};
use super::table::Table;
use crate::abi::Errno;
use crate::arena::ArenaSafe;
use crate::host::Host;
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, Ordering::*};

/// Bits of an id that are the index. (IPCMNI_SHIFT)
pub const INDEX_BITS: u32 = 15;
pub const IPCMNI: u32 = 1 << INDEX_BITS;
/// The fewest indices that are gone through before one is used again. (`ipc_min_cycle`)
const MIN_CYCLE: u32 = 64;
const MAX_SEQ: u32 = i32::MAX as u32 >> INDEX_BITS;

pub fn index_of(id: i32) -> u32 {
    id as u32 & (IPCMNI - 1)
}

/// The namespace of one kind of objects. Under the root's lock.
#[repr(C)]
pub struct Ids {
    pub in_use: AtomicU32,
    /// Where the search for a free index goes on.
    next: AtomicU32,
    /// The latest index plus one.
    last: AtomicU32,
    seq: AtomicU32,
    /// All indices in use are below this.
    pub high: AtomicU32,
}

impl Ids {
    /// Where objects may be.
    pub fn indices(&self) -> core::ops::Range<u32> {
        0..self.high.load(Acquire).min(IPCMNI)
    }

    /// The largest index in use. `None`: no object. (`ipc_get_maxidx`)
    pub fn max_index(&self, is_free: impl Fn(u32) -> bool) -> Option<u32> {
        self.indices().rev().find(|&i| !is_free(i))
    }

    /// An index and a sequence number for a new object.
    pub fn choose(&self, limit: u32, is_free: impl Fn(u32) -> bool) -> Result<(u32, u32), Errno> {
        let in_use = self.in_use.load(Relaxed);
        if in_use >= limit.min(IPCMNI) {
            return Err(Errno::ENOSPC);
        }
        let end = (in_use / 2 * 3 + in_use % 2 * 3 / 2).clamp(MIN_CYCLE, IPCMNI);
        let next = self.next.load(Relaxed);
        let index = (next..end)
            .chain(0..end)
            .find(|&i| is_free(i))
            .ok_or(Errno::ENOSPC)?;
        Ok((index, self.seq_for(index)))
    }

    fn seq_for(&self, index: u32) -> u32 {
        let seq = self.seq.load(Relaxed);
        if index < self.last.load(Relaxed) {
            (seq + 1) % MAX_SEQ
        } else {
            seq
        }
    }

    /// The object is there: its id is stored, and with it everything about it becomes visible.
    pub fn publish(&self, perm: &Perm, index: u32, seq: u32) -> i32 {
        let id = seq << INDEX_BITS | index;
        perm.seq.store(seq, Relaxed);
        self.seq.store(seq, Relaxed);
        self.last.store(index + 1, Relaxed);
        self.next.store(index + 1, Relaxed);
        self.high.fetch_max(index + 1, Relaxed);
        self.in_use.fetch_add(1, Relaxed);
        perm.id.store(id + 1, Release);
        id as i32
    }

    /// The object is no more.
    pub fn withdraw(&self, perm: &Perm) {
        perm.id.store(0, Release);
        let _ = self
            .in_use
            .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
    }

    /// Counts again what somebody who was killed may have left half done.
    pub fn recount(&self, is_free: impl Fn(u32) -> bool) {
        let n = (0..IPCMNI).filter(|&i| !is_free(i)).count();
        self.in_use.store(n as u32, Relaxed);
    }
}

/// What has an id.
pub trait Named: ArenaSafe + 'static {
    fn perm(&self) -> &Perm;
    fn logged(&self) -> &Logged;
}

/// `ipcget`, under the root's lock: the id of the object with `key`, or of the one that `make` makes.
pub fn get<H: Host, T: Named, const N: usize>(
    k: &Ctx<'_, H>,
    (ids, table): (&Ids, &Table<T, N>),
    who: &Who<'_>,
    (key, flags): (i32, i32),
    big_enough: impl Fn(&T) -> bool,
    make: impl FnOnce() -> Result<i32, Errno>,
) -> Result<i32, Errno> {
    if key == IPC_PRIVATE {
        return make();
    }
    let mut all = ids.indices().filter_map(|i| table.in_use(k.arena, i));
    let Some(object) = all.find(|o| o.perm().key.load(Relaxed) == key as u32) else {
        return match flags & IPC_CREAT {
            0 => Err(Errno::ENOENT),
            _ => make(),
        };
    };
    if flags & IPC_CREAT != 0 && flags & IPC_EXCL != 0 {
        return Err(Errno::EEXIST);
    }
    if !big_enough(object) {
        return Err(Errno::EINVAL);
    }
    if !object.perm().allows(flags as u32, who) {
        return Err(Errno::EACCES);
    }
    let id = object.perm().id();
    let abc = (i64::from(id), key as u32 as u64, 0);
    object.logged().put(k, Kind::SysvGet, 0, abc);
    Ok(id)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn ids() -> Ids {
        let z = || AtomicU32::new(0);
        Ids {
            in_use: z(),
            next: z(),
            last: z(),
            seq: z(),
            high: z(),
        }
    }

    fn perm() -> Perm {
        let z = || AtomicU32::new(0);
        Perm {
            id: z(),
            key: z(),
            uid: z(),
            gid: z(),
            cuid: z(),
            cgid: z(),
            mode: z(),
            seq: z(),
        }
    }

    #[test]
    fn indices_go_round_before_one_comes_again_and_then_with_a_new_sequence_number() {
        let (ids, p) = (ids(), perm());
        for i in 0..64 {
            let (index, seq) = ids.choose(32000, |_| true).unwrap();
            assert_eq!((index, seq), (i, 0));
            assert_eq!(ids.publish(&p, index, seq), i as i32);
            ids.withdraw(&p);
        }
        assert_eq!(ids.choose(32000, |_| true), Ok((0, 1)));
        assert_eq!(ids.publish(&p, 0, 1), 32768);
    }

    #[test]
    fn the_limit_is_enospc_and_no_index_is_given_twice() {
        let (ids, p) = (ids(), perm());
        let mut used = HashSet::new();
        for _ in 0..500 {
            let (index, seq) = ids.choose(500, |i| !used.contains(&i)).unwrap();
            assert!(used.insert(index));
            ids.publish(&p, index, seq);
        }
        assert_eq!(ids.choose(500, |_| true), Err(Errno::ENOSPC));
        assert_eq!(ids.max_index(|i| !used.contains(&i)), Some(499));
    }
}
