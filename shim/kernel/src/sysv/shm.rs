//! Segments of shared memory: shmget(2), and who has them attached. See Linux v6.18 ipc/shm.c.
//!
//! The memory is real: a file beside the arena, which is mapped by shmat(2). What is here is its name, its
//! rights, and the count of attachments, each of which has a place in a table: so that fork, exec and
//! the end of a process, however it comes, count as in Linux. All of it is under the root's lock.

use super::debtor::Debtor;
use super::ids::{self, Named};
use super::log::Logged;
use super::perm::{Perm, Who, EXECUTE, IPC_PRIVATE, READ, WRITE};
use super::root::Root;
use crate::abi::errno::{SysError, SysResult};
use crate::abi::limits::PAGE_SIZE;
use crate::abi::Errno;
use crate::arena::{Arena, ArenaSafe};
use crate::host::{crash_point, Host};
use crate::log::{object, Kind};
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::task;

pub const SHM_DEST: u32 = 0o1000;
pub const SHM_LOCKED: u32 = 0o2000;
pub const SHM_HUGETLB: i32 = 0o4000;
pub const SHM_RDONLY: i32 = 0o10000;
pub const SHM_RND: i32 = 0o20000;
pub const SHM_REMAP: i32 = 0o40000;
pub const SHM_EXEC: i32 = 0o100000;

/// `shmid_kernel`. Each is what its slot of [`Root::segments`] is as long as its id says so.
#[repr(C, align(64))]
pub struct ShmSeg {
    pub perm: Perm,
    pub logged: Logged,
    pub size: AtomicU64,
    pub atime: AtomicU64,
    pub dtime: AtomicU64,
    pub ctime: AtomicU64,
    pub cpid: AtomicU32,
    pub lpid: AtomicU32,
    /// Number of its file.
    pub file: AtomicU32,
    _pad0: AtomicU32,
    pub created_tsc: AtomicU64,
    _pad: [AtomicU64; 20],
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for ShmSeg {}

impl Named for ShmSeg {
    fn perm(&self) -> &Perm {
        &self.perm
    }

    fn logged(&self) -> &Logged {
        &self.logged
    }
}

const _: () = assert!(core::mem::size_of::<ShmSeg>() == 256);

mod state {
    pub const FREE: u32 = 0;
    pub const LIVE: u32 = 1;
}

/// One attachment of a process.
#[repr(C, align(64))]
pub struct Attach {
    state: AtomicU32,
    pub debtor: Debtor,
    /// Id of the segment plus one.
    id: AtomicU32,
    /// Where it is; 0 while it is being mapped.
    pub addr: AtomicU64,
    pub len: AtomicU64,
    pub flags: AtomicU32,
    _pad: [AtomicU32; 5],
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Attach {}

const _: () = assert!(core::mem::size_of::<Attach>() == 64);

impl Attach {
    fn is_of(&self, id: i32) -> bool {
        self.state.load(Acquire) == state::LIVE
            && self.id.load(Relaxed) == (id as u32).wrapping_add(1)
    }

    fn is_mine(&self, slot: u32, generation: u32) -> bool {
        self.state.load(Acquire) == state::LIVE && self.debtor.is(slot, generation)
    }

    pub fn id(&self) -> i32 {
        self.id.load(Relaxed).wrapping_sub(1) as i32
    }
}

/// All attachments there are, with their indices.
pub fn attaches<'a>(
    arena: &'a Arena,
    root: &'static Root,
) -> impl Iterator<Item = (u32, &'static Attach)> + 'a {
    root.attach_slots()
        .filter_map(|i| Some((i, root.attaches.get(arena, i)?)))
        .filter(|(_, a)| a.state.load(Acquire) == state::LIVE)
}

/// How many have a segment attached.
pub fn nattch(arena: &Arena, root: &'static Root, id: i32) -> u64 {
    attaches(arena, root).filter(|(_, a)| a.is_of(id)).count() as u64
}

/// The segment that an id names.
pub fn by_id<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    id: i32,
) -> Result<&'static ShmSeg, Errno> {
    let seg = root.segments.get(k.arena, ids::index_of(id));
    seg.filter(|s| id >= 0 && s.perm.is(id))
        .ok_or(Errno::EINVAL)
}

/// The segments that there are.
pub fn segments<'a>(
    arena: &'a Arena,
    root: &'static Root,
) -> impl Iterator<Item = (u32, &'static ShmSeg)> + 'a {
    root.shm_ids
        .indices()
        .filter_map(|i| Some((i, root.segments.in_use(arena, i)?)))
}

pub fn pages(size: u64) -> u64 {
    size.div_ceil(PAGE_SIZE as u64)
}

/// shmget(2).
pub fn shmget<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    key: i32,
    size: u64,
    flags: i32,
) -> SysResult {
    let id = root.locked(k, || {
        let all = (&root.shm_ids, &root.segments);
        let big_enough = |s: &ShmSeg| size <= s.size.load(Relaxed);
        let make = || make(k, root, who, key, size, flags);
        ids::get(k, all, who, (key, flags), big_enough, make)
    })?;
    Ok(id as usize)
}

/// `newseg`, under the root's lock.
fn make<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    key: i32,
    size: u64,
    flags: i32,
) -> Result<i32, Errno> {
    let limits = root.limits();
    if size < 1 || size > limits.shmmax {
        return Err(Errno::EINVAL);
    }
    let total: u64 = segments(k.arena, root)
        .map(|(_, s)| pages(s.size.load(Relaxed)))
        .sum();
    if total.saturating_add(pages(size)) > limits.shmall {
        return Err(Errno::ENOSPC);
    }
    if flags & SHM_HUGETLB != 0 {
        return Err(Errno::ENOMEM); // as where no huge pages are reserved
    }
    let is_free = |i| root.segments.in_use(k.arena, i).is_none();
    let (index, seq) = root.shm_ids.choose(limits.shmmni, is_free)?;
    let seg = root.segments.make(k, index)?;
    seg.logged.begin(k, object::SYSV_SHM);
    let number = seg.logged.object.load(Relaxed) & !object::SYSV_SHM;
    let path = root.segment_path(number).ok_or(Errno::ENOMEM)?;
    k.host.make_file(&path, pages(size) * PAGE_SIZE as u64)?;
    seg.perm.begin(key, flags as u32, who);
    share(k, &path, seg);
    seg.file.store(number, Relaxed);
    seg.size.store(size, Relaxed);
    for word in [&seg.atime, &seg.dtime] {
        word.store(0, Relaxed);
    }
    seg.ctime.store(k.host.wall_secs(), Relaxed);
    seg.created_tsc.store(k.host.tsc(), Relaxed);
    seg.cpid.store(who.pid, Relaxed);
    seg.lpid.store(0, Relaxed);
    crash_point("sysv.made");
    let id = root.shm_ids.publish(&seg.perm, index, seq);
    let abc = (i64::from(id), key as u32 as u64, size);
    seg.logged.put(k, Kind::SysvCreate, 0, abc);
    Ok(id)
}

/// Its file may be opened by whom the segment may be attached by.
pub fn share<H: Host>(k: &Ctx<'_, H>, path: &[u8], seg: &ShmSeg) {
    let mode = seg.perm.mode.load(Relaxed) & 0o666 | 0o600;
    let (uid, gid) = (seg.perm.uid.load(Relaxed), seg.perm.gid.load(Relaxed));
    k.host.share_file(path, uid, gid, mode);
}

/// What shmat(2) is to map.
#[derive(Clone, Copy)]
pub struct Attaching {
    pub index: u32,
    pub file: u32,
    pub len: u64,
}

/// The first half of shmat(2): `who` may, and is counted.
pub fn begin_attach<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    flags: i32,
) -> Result<Attaching, Errno> {
    root.locked(k, || {
        let seg = by_id(k, root, id)?;
        let mut asked = READ;
        if flags & SHM_RDONLY == 0 {
            asked |= WRITE;
        }
        if flags & SHM_EXEC != 0 {
            asked |= EXECUTE;
        }
        if !seg.perm.allows(asked, who) {
            return Err(Errno::EACCES);
        }
        let (index, a) = take(k, root)?;
        let len = pages(seg.size.load(Relaxed)) * PAGE_SIZE as u64;
        a.debtor
            .begin(who.slot, who.generation, who.pid, k.me.raw());
        a.id.store((id as u32).wrapping_add(1), Relaxed);
        a.addr.store(0, Relaxed);
        a.len.store(len, Relaxed);
        a.flags.store(flags as u32, Relaxed);
        add(root, a);
        let file = seg.file.load(Relaxed);
        Ok(Attaching { index, file, len })
    })
}

/// A free place, under the root's lock.
fn take<H: Host>(k: &Ctx<'_, H>, root: &'static Root) -> Result<(u32, &'static Attach), Errno> {
    let used = root.attaches_used.load(Relaxed);
    let free = (0..used)
        .filter_map(|i| Some((i, root.attaches.get(k.arena, i)?)))
        .find(|(_, a)| a.state.load(Relaxed) == state::FREE);
    if let Some(found) = free {
        return Ok(found);
    }
    let a = root.attaches.make(k, used).map_err(|_| Errno::ENOMEM)?;
    root.attaches_used.store(used + 1, Release);
    Ok((used, a))
}

fn add(root: &Root, a: &Attach) {
    a.state.store(state::LIVE, Release);
    root.attaches_live.fetch_add(1, Relaxed);
}

/// The second half: it is at `addr` now. What was there before was mapped over.
pub fn end_attach<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    index: u32,
    addr: u64,
) {
    root.locked(k, || {
        let Some(a) = root.attaches.get(k.arena, index) else {
            return;
        };
        let len = a.len.load(Relaxed);
        drop_range(k, root, who, addr, len, Some(index));
        a.addr.store(addr, Release);
        let id = a.id();
        let Ok(seg) = by_id(k, root, id) else { return };
        seg.atime.store(k.host.wall_secs(), Relaxed);
        seg.lpid.store(who.pid, Relaxed);
        if k.log.is_on() {
            let n = nattch(k.arena, root, id);
            let abc = (addr as i64, n, u64::from(a.flags.load(Relaxed)));
            seg.logged.put(k, Kind::ShmAttach, 0, abc);
        }
    });
}

/// It could not be mapped.
pub fn forget_attach<H: Host>(k: &Ctx<'_, H>, root: &'static Root, index: u32, pid: u32) {
    root.locked(k, || {
        if let Some(a) = root.attaches.get(k.arena, index) {
            detach(k, root, a, pid, Counts::No);
        }
    });
}

/// Whether a detaching is one of the segment's history.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    Yes,
    No,
}

/// Takes an attachment out, and with the last one a segment that was removed. Under the root's lock.
fn detach<H: Host>(k: &Ctx<'_, H>, root: &'static Root, a: &Attach, pid: u32, counts: Counts) {
    let id = a.id();
    let addr = a.addr.load(Relaxed);
    a.state.store(state::FREE, Release);
    crash_point("sysv.made");
    let less = |n: u32| n.checked_sub(1);
    let _ = root.attaches_live.fetch_update(Relaxed, Relaxed, less);
    let Ok(seg) = by_id(k, root, id) else { return };
    let left = nattch(k.arena, root, id);
    if counts == Counts::Yes {
        seg.dtime.store(k.host.wall_secs(), Relaxed);
        seg.lpid.store(pid, Relaxed);
        let abc = (addr as i64, left, u64::from(pid));
        seg.logged.put(k, Kind::ShmDetach, 0, abc);
    }
    if left == 0 && seg.perm.mode.load(Relaxed) & SHM_DEST != 0 {
        destroy(k, root, seg);
    }
}

/// `shm_destroy`.
fn destroy<H: Host>(k: &Ctx<'_, H>, root: &'static Root, seg: &ShmSeg) {
    let id = seg.perm.id();
    root.shm_ids.withdraw(&seg.perm);
    crash_point("sysv.made");
    if let Some(path) = root.segment_path(seg.file.load(Relaxed)) {
        k.host.remove_file(&path);
    }
    let abc = (i64::from(id), 0, 0);
    seg.logged.put(k, Kind::SysvRemove, 0, abc);
}

/// The caller's attachment that begins at `addr`: its index and length.
pub fn find<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    addr: u64,
) -> Option<(u32, u64)> {
    let here = |a: &Attach| {
        a.is_mine(who.slot, who.generation) && a.addr.load(Relaxed) == addr && addr != 0
    };
    attaches(k.arena, root)
        .find(|(_, a)| here(a))
        .map(|(i, a)| (i, a.len.load(Relaxed)))
}

/// Nothing of the caller's is mapped any more in `addr..addr + len`.
pub fn unmapped<H: Host>(k: &Ctx<'_, H>, root: &'static Root, who: &Who<'_>, addr: u64, len: u64) {
    root.locked(k, || drop_range(k, root, who, addr, len, None));
}

fn drop_range<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    addr: u64,
    len: u64,
    except: Option<u32>,
) {
    let end = addr.saturating_add(len);
    for (i, a) in attaches(k.arena, root) {
        let (from, size) = (a.addr.load(Relaxed), a.len.load(Relaxed));
        let inside = from >= addr && from.saturating_add(size) <= end && from != 0;
        if inside && Some(i) != except && a.is_mine(who.slot, who.generation) {
            detach(k, root, a, who.pid, Counts::Yes);
        }
    }
}

/// fork(2): the child has attached what its parent has. Before the real call.
pub fn inherit<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    from: (u32, u32),
    to: (u32, u32),
) -> Result<(), Errno> {
    if root.attaches_live.load(Acquire) == 0 {
        return Ok(());
    }
    root.locked(k, || {
        for index in root.attach_slots() {
            let old = root.attaches.get(k.arena, index);
            let Some(old) = old.filter(|a| a.is_mine(from.0, from.1)) else {
                continue;
            };
            let (_, new) = take(k, root)?;
            new.debtor.begin(to.0, to.1, 0, 0);
            new.id.store(old.id.load(Relaxed), Relaxed);
            new.addr.store(old.addr.load(Relaxed), Relaxed);
            new.len.store(old.len.load(Relaxed), Relaxed);
            new.flags.store(old.flags.load(Relaxed), Relaxed);
            add(root, new);
            if let Ok(seg) = by_id(k, root, old.id()) {
                seg.atime.store(k.host.wall_secs(), Relaxed);
                seg.lpid.store(old.debtor.pid.load(Relaxed), Relaxed);
            }
        }
        Ok(())
    })
}

/// The process in `slot` is gone, or has another program now: it has nothing attached.
pub fn leave<H: Host>(k: &Ctx<'_, H>, root: &'static Root, slot: u32, generation: u32) {
    if root.attaches_live.load(Acquire) == 0 {
        return;
    }
    let any = attaches(k.arena, root).any(|(_, a)| a.is_mine(slot, generation));
    if !any {
        return;
    }
    let pid = task::process(k.arena, slot).map_or(0, |p| p.pid.load(Relaxed));
    root.locked(k, || {
        for (_, a) in attaches(k.arena, root) {
            if a.is_mine(slot, generation) {
                detach(k, root, a, pid, Counts::Yes);
            }
        }
    });
}

/// Finds those out who are dead and have something attached. No lock is held.
pub fn settle<H: Host>(k: &Ctx<'_, H>, root: &'static Root, mine: u32) {
    if root.attaches_live.load(Acquire) == 0 {
        return;
    }
    for (_, a) in attaches(k.arena, root) {
        if a.debtor.is_doubtful(k.arena, mine) {
            a.debtor.resolve(k, a.debtor.name());
        }
    }
}

/// IPC_RMID: at once, or with the last attachment.
pub fn remove<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    id: i32,
    allowed: impl FnOnce(&Perm) -> Result<(), Errno>,
) -> SysResult {
    root.locked(k, || {
        let seg = by_id(k, root, id)?;
        allowed(&seg.perm)?;
        let n = nattch(k.arena, root, id);
        if n == 0 {
            destroy(k, root, seg);
        } else {
            // "Do not find it any more" [ipc/shm.c]
            seg.perm.key.store(IPC_PRIVATE as u32, Relaxed);
            seg.perm.mode.fetch_or(SHM_DEST, Relaxed);
            let abc = (i64::from(id), n, 0);
            seg.logged.put(k, Kind::SysvRemove, 0, abc);
        }
        Ok::<_, SysError>(0)
    })
}

/// The session ends: its files go.
pub fn remove_files(arena: &Arena, host: &impl Host) {
    let Some(root) = super::root(arena) else {
        return;
    };
    for (_, seg) in segments(arena, root) {
        if let Some(path) = root.segment_path(seg.file.load(Relaxed)) {
            host.remove_file(&path);
        }
    }
}
