//! shmctl(2). See Linux v6.18 ipc/shm.c `ksys_shmctl`.

use super::perm::{Ipc64Perm, Who, CAP_IPC_LOCK, READ};
use super::root::Root;
use super::sem_ctl::{fetch, put, IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT};
use super::shm::{self, by_id, nattch, pages, ShmSeg, SHM_LOCKED};
use crate::abi::errno::{SysError, SysResult};
use crate::abi::limits::PAGE_SIZE;
use crate::abi::Errno;
use crate::host::{Host, UserRead, UserWrite};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::sync::atomic::Ordering::*;

pub const SHM_LOCK: i32 = 11;
pub const SHM_UNLOCK: i32 = 12;
pub const SHM_STAT: i32 = 13;
pub const SHM_INFO: i32 = 14;
pub const SHM_STAT_ANY: i32 = 15;

/// struct shminfo64.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Shminfo64 {
    pub shmmax: u64,
    pub shmmin: u64,
    pub shmmni: u64,
    pub shmseg: u64,
    pub shmall: u64,
    pub unused: [u64; 4],
}

/// struct shm_info.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ShmInfo {
    /// An int, and padding.
    pub used_ids: u64,
    pub tot: u64,
    pub rss: u64,
    pub swp: u64,
    pub swap_attempts: u64,
    pub swap_successes: u64,
}

/// struct shmid64_ds of x86-64. (include/uapi/asm-generic/shmbuf.h)
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Shmid64 {
    pub perm: Ipc64Perm,
    pub segsz: u64,
    pub atime: u64,
    pub dtime: u64,
    pub ctime: u64,
    pub cpid: u32,
    pub lpid: u32,
    pub nattch: u64,
    pub unused: [u64; 2],
}

const _: () = assert!(core::mem::size_of::<Shmid64>() == 112);

/// shmctl(2). `may_lock`: RLIMIT_MEMLOCK is not 0.
pub fn shmctl<H: Host, U: UserRead + UserWrite>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    cmd: i32,
    user: &mut U,
    may_lock: impl Fn() -> bool,
) -> SysResult {
    if id < 0 || cmd < 0 {
        return Err(Errno::EINVAL.into());
    }
    shm::settle(k, root, who.slot);
    match cmd {
        IPC_INFO => limits(k, root, user),
        SHM_INFO => info(k, root, user),
        IPC_STAT | SHM_STAT | SHM_STAT_ANY => stat(k, root, who, id, cmd, user),
        IPC_SET => {
            let new: Shmid64 = fetch(user)?;
            set(k, root, who, id, &new.perm)
        }
        IPC_RMID => shm::remove(k, root, id, |perm| perm.may_control(who)),
        SHM_LOCK | SHM_UNLOCK => lock(k, root, who, id, cmd == SHM_LOCK, may_lock),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn max_index<H: Host>(k: &Ctx<'_, H>, root: &'static Root) -> usize {
    shm::segments(k.arena, root)
        .map(|(i, _)| i as usize)
        .max()
        .unwrap_or(0)
}

fn limits<H: Host, U: UserWrite>(k: &Ctx<'_, H>, root: &'static Root, user: &mut U) -> SysResult {
    let l = root.limits();
    let info = Shminfo64 {
        shmmax: l.shmmax,
        shmmin: 1,
        shmmni: u64::from(l.shmmni),
        shmseg: u64::from(l.shmmni),
        shmall: l.shmall,
        ..Shminfo64::default()
    };
    put(user, &info)?;
    Ok(max_index(k, root))
}

fn info<H: Host, U: UserWrite>(k: &Ctx<'_, H>, root: &'static Root, user: &mut U) -> SysResult {
    let mut info = ShmInfo::default();
    let max = root.locked(k, || {
        for (_, seg) in shm::segments(k.arena, root) {
            info.used_ids += 1;
            info.tot += pages(seg.size.load(Relaxed));
            let path = root.segment_path(seg.file.load(Relaxed));
            info.rss += path.map_or(0, |p| k.host.file_bytes(&p)) / PAGE_SIZE as u64;
        }
        max_index(k, root)
    });
    put(user, &info)?;
    Ok(max)
}

fn stat<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    cmd: i32,
    user: &mut U,
) -> SysResult {
    let (full, all) = root.locked(k, || {
        let seg = if cmd == IPC_STAT {
            by_id(k, root, id)?
        } else {
            let seg = root.segments.in_use(k.arena, super::ids::index_of(id));
            seg.ok_or(Errno::EINVAL)?
        };
        if cmd != SHM_STAT_ANY && !seg.perm.allows(READ, who) {
            return Err(Errno::EACCES);
        }
        let full = seg.perm.id();
        Ok((full, as_user(seg, nattch(k.arena, root, full))))
    })?;
    put(user, &all)?;
    Ok(if cmd == IPC_STAT { 0 } else { full as usize })
}

pub fn as_user(seg: &ShmSeg, nattch: u64) -> Shmid64 {
    Shmid64 {
        perm: seg.perm.as_user(),
        segsz: seg.size.load(Relaxed),
        atime: seg.atime.load(Relaxed),
        dtime: seg.dtime.load(Relaxed),
        ctime: seg.ctime.load(Relaxed),
        cpid: seg.cpid.load(Relaxed),
        lpid: seg.lpid.load(Relaxed),
        nattch,
        ..Shmid64::default()
    }
}

fn set<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    new: &Ipc64Perm,
) -> SysResult {
    root.locked(k, || {
        let seg = by_id(k, root, id)?;
        seg.perm.may_control(who)?;
        seg.perm.update(new)?;
        seg.ctime.store(k.host.wall_secs(), Relaxed);
        if let Some(path) = root.segment_path(seg.file.load(Relaxed)) {
            shm::share(k, &path, seg);
        }
        let owner = u64::from(new.gid) << 32 | u64::from(new.uid);
        let abc = (i64::from(id), u64::from(new.mode), owner);
        seg.logged.put(k, Kind::SysvSet, 0, abc);
        Ok::<_, SysError>(0)
    })
}

fn lock<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    locks: bool,
    may_lock: impl Fn() -> bool,
) -> SysResult {
    root.locked(k, || {
        let seg = by_id(k, root, id)?;
        if !who.rights.capable(CAP_IPC_LOCK) {
            let owners = [&seg.perm.uid, &seg.perm.cuid];
            let owns = owners.iter().any(|u| u.load(Relaxed) == who.euid);
            if !owns || (locks && !may_lock()) {
                return Err(Errno::EPERM.into());
            }
        }
        if locks {
            seg.perm.mode.fetch_or(SHM_LOCKED, Relaxed);
        } else {
            seg.perm.mode.fetch_and(!SHM_LOCKED, Relaxed);
        }
        let abc = (i64::from(locks), 0, 0);
        seg.logged.put(k, Kind::ShmLock, 0, abc);
        Ok::<_, SysError>(0)
    })
}
