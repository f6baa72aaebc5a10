//! System V IPC that the kernel serves.

use ringer_kernel::log::observed::{self, Observed};
use ringer_kernel::log::{object, Kind};
use ringer_kernel::pipe::Ctx;

use crate::gate::sys;
use crate::host::{self, Shim};
use crate::user;

use super::{begin, put, with_log};

const MSG_COPY: usize = 0o40000;
/// (include/linux/sem.h) What a call may have of them.
const SEMOPM: usize = 512;

/// A call, with what was true before it.
#[derive(Clone, Copy)]
pub struct Call {
    nr: i64,
    args: [usize; 6],
    /// Of a get: the object was there. Of shmdt: which segment it is.
    before: Option<i32>,
}

/// Before the call. `None`: it is not told.
#[cold]
pub fn before(nr: i64, args: [usize; 6]) -> Option<Call> {
    let [a, b, ..] = args;
    if !begin() {
        return None;
    }
    let before = match nr {
        // An IPC_PRIVATE object is always a new one.
        libc::SYS_semget if a as i32 != 0 => found(sys!(nr, a, 0, 0)),
        libc::SYS_msgget if a as i32 != 0 => found(sys!(nr, a, 0)),
        libc::SYS_shmget if a as i32 != 0 => found(sys!(nr, a, 0, 0)),
        libc::SYS_shmdt => attached::at(a),
        libc::SYS_msgctl if b as i32 & 0xff == libc::IPC_RMID => Some(msg_left(a) as i32),
        libc::SYS_shmctl if b as i32 & 0xff == libc::IPC_RMID => Some(segment(a).nattch as i32),
        _ => None,
    };
    Some(Call { nr, args, before })
}

fn found(ret: isize) -> Option<i32> {
    i32::try_from(ret).ok().filter(|id| *id >= 0)
}

/// After it; `ret` by the kernel's convention.
#[cold]
pub fn after(call: Call, ret: isize) {
    with_log(-1, |k| match ret {
        -4095..=-1 => {
            let [a, ..] = call.args;
            let abc = (-(ret as i64), call.nr as u64, a as u32 as u64);
            put(k, None::<&Observed>, Kind::SysvFailed, abc);
        }
        _ => succeeded(k, call, ret),
    });
}

fn succeeded(k: &Ctx<'_, Shim>, call: Call, ret: isize) {
    let [a, b, c, ..] = call.args;
    match call.nr {
        libc::SYS_semget => got(k, object::SYSV_SEM, call, ret, b),
        libc::SYS_msgget => got(k, object::SYSV_MSG, call, ret, msg_limit(ret as usize)),
        libc::SYS_shmget => got(k, object::SYSV_SHM, call, ret, b),
        libc::SYS_semop | libc::SYS_semtimedop => semop(k, a, b, c),
        libc::SYS_semctl => control(k, object::SYSV_SEM, call, c),
        libc::SYS_msgctl => control(k, object::SYSV_MSG, call, b),
        libc::SYS_shmctl => control(k, object::SYSV_SHM, call, b),
        libc::SYS_msgsnd => {
            let mtype = user::fetch::<u64>(b).unwrap_or(0);
            let o = observed::find(k, object::SYSV_MSG, a as u32);
            put(k, o, Kind::MsgSend, (c as i64, mtype, msg_left(a)));
        }
        libc::SYS_msgrcv => {
            let [.., e, _] = call.args;
            let kind = match e & MSG_COPY {
                0 => Kind::MsgReceive,
                _ => Kind::MsgCopy,
            };
            let mtype = user::fetch::<u64>(b).unwrap_or(0);
            let o = observed::find(k, object::SYSV_MSG, a as u32);
            put(k, o, kind, (ret as i64, mtype, msg_left(a)));
        }
        libc::SYS_shmat => {
            attached::note(ret as usize, a as i32);
            let o = observed::find(k, object::SYSV_SHM, a as u32);
            let abc = (ret as i64, segment(a).nattch, c as u64);
            put(k, o, Kind::ShmAttach, abc);
        }
        libc::SYS_shmdt => detached(k, call),
        _ => {}
    }
}

fn got(k: &Ctx<'_, Shim>, class: u32, call: Call, ret: isize, size: usize) {
    let [key, ..] = call.args;
    let o = observed::find(k, class, ret as u32);
    let (kind, size) = match call.before {
        Some(_) => (Kind::SysvGet, 0),
        None => (Kind::SysvCreate, size as u64),
    };
    put(k, o, kind, (ret as i64, key as u32 as u64, size));
}

/// struct sembuf
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Sembuf {
    num: u16,
    op: i16,
    flags: i16,
}

fn semop(k: &Ctx<'_, Shim>, id: usize, at: usize, n: usize) {
    let o = observed::find(k, object::SYSV_SEM, id as u32);
    for i in 0..n.min(SEMOPM) {
        let Some(sop) = user::fetch::<Sembuf>(at + i * size_of::<Sembuf>()) else {
            return;
        };
        let value = sys!(libc::SYS_semctl, id, sop.num, libc::GETVAL, 0).max(0);
        let pid = u64::from(host::getpid());
        let b = u64::from(sop.num) | u64::from(sop.flags as u16) << 32;
        let abc = (i64::from(sop.op), b, value as u64 | pid << 32);
        put(k, o, Kind::SemOp, abc);
    }
}

/// What a ...ctl(2) changed. (The others only look.)
fn control(k: &Ctx<'_, Shim>, class: u32, call: Call, command: usize) {
    const SHM_LOCK: i32 = 11;
    const SHM_UNLOCK: i32 = 12;
    let [id, num, _, value, ..] = call.args;
    let o = observed::find(k, class, id as u32);
    let id = i64::from(id as i32);
    match command as i32 & 0xff {
        libc::IPC_RMID => {
            let left = call.before.unwrap_or(0).max(0) as u64;
            put(k, o, Kind::SysvRemove, (id, left, 0));
        }
        libc::IPC_SET => put(k, o, Kind::SysvSet, (id, mode(class, call), 0)),
        libc::SETVAL if class == object::SYSV_SEM => {
            put(k, o, Kind::SemSet, (i64::from(value as i32), num as u64, 0));
        }
        libc::SETALL if class == object::SYSV_SEM => put(k, o, Kind::SemSet, (-1, 0, 0)),
        command @ (SHM_LOCK | SHM_UNLOCK) if class == object::SYSV_SHM => {
            put(k, o, Kind::ShmLock, (i64::from(command == SHM_LOCK), 0, 0));
        }
        _ => {}
    }
}

/// The mode that IPC_SET was given. All three structures begin with a struct ipc64_perm, whose mode is
/// its sixth word.
fn mode(class: u32, call: Call) -> u64 {
    let [_, _, third, fourth, ..] = call.args;
    let at = if class == object::SYSV_SEM {
        fourth
    } else {
        third
    };
    let [.., mode] = user::fetch::<[u32; 6]>(at).unwrap_or_default();
    u64::from(mode & 0o777)
}

fn detached(k: &Ctx<'_, Shim>, call: Call) {
    let [at, ..] = call.args;
    let Some(id) = call.before else { return };
    attached::forget(at);
    let after = segment(id as usize);
    let o = observed::find(k, object::SYSV_SHM, id as u32);
    let pid = u64::from(host::getpid());
    put(k, o, Kind::ShmDetach, (at as i64, after.nattch, pid));
    if !after.is_there {
        put(k, o, Kind::SysvRemove, (i64::from(id), 0, 0));
    }
}

/// IPC_STAT of a queue: messages in it; 0 if it may not be looked at.
fn msg_left(id: usize) -> u64 {
    queue(id).map_or(0, |q| q.msg_qnum)
}

fn msg_limit(id: usize) -> usize {
    queue(id).map_or(0, |q| q.msg_qbytes as usize)
}

fn queue(id: usize) -> Option<libc::msqid_ds> {
    let mut ds = core::mem::MaybeUninit::<libc::msqid_ds>::zeroed();
    let ret = sys!(libc::SYS_msgctl, id, libc::IPC_STAT, ds.as_mut_ptr());
    // SAFETY: the kernel has filled it in; and zeroes are a value of it, too.
    (ret == 0).then(|| unsafe { ds.assume_init() })
}

struct Segment {
    nattch: u64,
    is_there: bool,
}

/// IPC_STAT of a segment.
fn segment(id: usize) -> Segment {
    let mut ds = core::mem::MaybeUninit::<libc::shmid_ds>::zeroed();
    let ret = sys!(libc::SYS_shmctl, id, libc::IPC_STAT, ds.as_mut_ptr());
    // SAFETY: the kernel has filled it in; and zeroes are a value of it, too.
    let ds = unsafe { ds.assume_init() };
    Segment {
        nattch: ds.shm_nattch,
        is_there: !matches!(-ret as i32, libc::EINVAL | libc::EIDRM),
    }
}

/// Which segment is attached where, in this process and those that it forks.
mod attached {
    use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

    struct Place {
        at: AtomicUsize,
        id: AtomicU64,
    }

    const MOST: usize = 256;
    static PLACES: [Place; MOST] = [const {
        Place {
            at: AtomicUsize::new(0),
            id: AtomicU64::new(0),
        }
    }; MOST];

    pub fn note(at: usize, id: i32) {
        let free = |p: &&Place| p.at.compare_exchange(0, at, AcqRel, Acquire).is_ok();
        if let Some(place) = PLACES.iter().find(free) {
            place.id.store(id as u32 as u64, Release);
        }
    }

    pub fn at(at: usize) -> Option<i32> {
        let place = PLACES.iter().find(|p| at != 0 && p.at.load(Acquire) == at);
        place.map(|p| p.id.load(Acquire) as i32)
    }

    pub fn forget(at: usize) {
        if let Some(place) = PLACES.iter().find(|p| p.at.load(Acquire) == at) {
            place.at.store(0, Release);
        }
    }
}
