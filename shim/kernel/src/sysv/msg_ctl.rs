//! msgctl(2). See Linux v6.18 ipc/msg.c `ksys_msgctl`.

use super::msg::{self, lock_id, MsgQueue};
use super::msg_wait;
use super::perm::{Ipc64Perm, Who, CAP_SYS_RESOURCE, READ};
use super::root::Root;
use super::sem_ctl::{fetch, put, IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT};
use super::waiter::Wakes;
use crate::abi::errno::{SysError, SysResult};
use crate::abi::Errno;
use crate::host::{Host, UserRead, UserWrite};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::sync::atomic::Ordering::*;

pub const MSG_STAT: i32 = 11;
pub const MSG_INFO: i32 = 12;
pub const MSG_STAT_ANY: i32 = 13;

/// struct msginfo.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Msginfo {
    pub msgpool: i32,
    pub msgmap: i32,
    pub msgmax: i32,
    pub msgmnb: i32,
    pub msgmni: i32,
    pub msgssz: i32,
    pub msgtql: i32,
    /// 16 bits, and as many of padding.
    pub msgseg: u32,
}

/// struct msqid64_ds of x86-64. (include/uapi/asm-generic/msgbuf.h)
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Msqid64 {
    pub perm: Ipc64Perm,
    pub stime: u64,
    pub rtime: u64,
    pub ctime: u64,
    pub cbytes: u64,
    pub qnum: u64,
    pub qbytes: u64,
    pub lspid: u32,
    pub lrpid: u32,
    pub unused: [u64; 2],
}

const _: () = assert!(core::mem::size_of::<Msqid64>() == 120);

/// msgctl(2).
pub fn msgctl<H: Host, U: UserRead + UserWrite>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    cmd: i32,
    user: &mut U,
) -> SysResult {
    if id < 0 || cmd < 0 {
        return Err(Errno::EINVAL.into());
    }
    match cmd {
        IPC_INFO | MSG_INFO => info(k, root, cmd, user),
        IPC_STAT | MSG_STAT | MSG_STAT_ANY => stat(k, root, who, id, cmd, user),
        IPC_SET => {
            let new: Msqid64 = fetch(user)?;
            set(k, root, who, id, &new)
        }
        IPC_RMID => msg::remove(k, root, id, |perm| perm.may_control(who)),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn info<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    cmd: i32,
    user: &mut U,
) -> SysResult {
    let l = root.limits();
    // include/uapi/linux/msg.h
    let mut info = Msginfo {
        msgpool: 32000 * 16384 / 1024,
        msgmap: 16384,
        msgmax: l.msgmax as i32,
        msgmnb: l.msgmnb as i32,
        msgmni: l.msgmni as i32,
        msgssz: 16,
        msgtql: 16384,
        msgseg: 0xffff,
    };
    let queue = |i| root.queues.in_use(k.arena, i);
    let max = root.locked(k, || {
        let all = || root.msg_ids.indices().filter_map(queue);
        if cmd == MSG_INFO {
            info.msgpool = root.msg_ids.in_use.load(Relaxed) as i32;
            info.msgmap = all().map(|q| q.qnum.load(Relaxed)).sum::<u32>() as i32;
            info.msgtql = all().map(|q| q.cbytes.load(Relaxed)).sum::<u64>() as i32;
        }
        root.msg_ids.max_index(|i| queue(i).is_none())
    });
    put(user, &info)?;
    Ok(max.map_or(0, |i| i as usize))
}

fn stat<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    cmd: i32,
    user: &mut U,
) -> SysResult {
    let full = if cmd == IPC_STAT {
        id
    } else {
        let q = root.queues.in_use(k.arena, super::ids::index_of(id));
        q.ok_or(Errno::EINVAL)?.perm.id()
    };
    let (_, q) = lock_id(k, root, full)?;
    let allowed = cmd == MSG_STAT_ANY || q.perm.allows(READ, who);
    let all = as_user(q);
    q.unlock(k);
    if !allowed {
        return Err(Errno::EACCES.into());
    }
    put(user, &all)?;
    Ok(if cmd == IPC_STAT { 0 } else { full as usize })
}

pub fn as_user(q: &MsgQueue) -> Msqid64 {
    Msqid64 {
        perm: q.perm.as_user(),
        stime: q.stime.load(Relaxed),
        rtime: q.rtime.load(Relaxed),
        ctime: q.ctime.load(Relaxed),
        cbytes: q.cbytes.load(Relaxed),
        qnum: u64::from(q.qnum.load(Relaxed)),
        qbytes: q.qbytes.load(Relaxed),
        lspid: q.lspid.load(Relaxed),
        lrpid: q.lrpid.load(Relaxed),
        ..Msqid64::default()
    }
}

fn set<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    new: &Msqid64,
) -> SysResult {
    root.locked(k, || {
        let (_, q) = lock_id(k, root, id)?;
        let too_many = new.qbytes > u64::from(root.limits().msgmnb);
        let mut wakes = Wakes::none();
        let done = q.perm.may_control(who).and_then(|()| {
            if too_many && !who.rights.capable(CAP_SYS_RESOURCE) {
                return Err(Errno::EPERM);
            }
            q.perm.update(&new.perm)
        });
        if done.is_ok() {
            q.qbytes.store(new.qbytes, Relaxed);
            q.ctime.store(k.host.wall_secs(), Relaxed);
            let owner = u64::from(new.perm.gid) << 32 | u64::from(new.perm.uid);
            let abc = (i64::from(id), u64::from(new.perm.mode), owner);
            let record = q.logged.put(k, Kind::SysvSet, 0, abc);
            msg_wait::reconsider(k, root, q, record, &mut wakes);
        }
        q.unlock(k);
        wakes.wake(k, root);
        done.map(|()| 0).map_err(SysError::from)
    })
}
