//! System V IPC: what its calls have in common.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};

use ringer_kernel::abi::errno::{SysError, SysResult};
use ringer_kernel::arena::header::flag;
use ringer_kernel::log::Kind;
use ringer_kernel::pipe::Ctx;
use ringer_kernel::sysv::{self, Limits, Rights, Root, Who};
use ringer_kernel::task::Process;

use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::host::Shim;
use crate::procfs::{self, Path};
use crate::tls::Tls;
use crate::{arm, attach};

use super::{sysv_msg, sysv_sem, sysv_shm, verdict};

/// Whether these calls are the session's.
#[inline(always)]
pub fn serves() -> bool {
    attach::emulates(flag::EMULATE_SYSV)
}

/// Whether this process, or one that it was forked from, has made such a call.
static USED: AtomicBool = AtomicBool::new(false);

pub fn is_used() -> bool {
    USED.load(Relaxed)
}

/// One call: who makes it, and on what.
pub struct Call {
    pub k: Ctx<'static, Shim>,
    pub root: &'static Root,
    pub who: Who<'static>,
}

/// `None`: the kernel serves.
#[inline(always)]
pub fn begin(entry: &Entry) -> Option<Call> {
    let tls = entry.tls;
    if !serves() || !arm::is_armed() || !tls.is_armed() {
        prepare(entry)?;
    }
    let p = match entry.process() {
        Some(p) => p,
        None => prepare(entry)?,
    };
    let k = entry.ctx(-1)?;
    let root = match sysv::root(k.arena) {
        Some(root) => root,
        None => sysv::ensure(&k, &limits()).ok()?,
    };
    super::count_hook(entry);
    USED.store(true, Relaxed);
    let (euid, egid) = credentials(tls);
    let who = Who {
        pid: p.pid.load(Relaxed),
        tid: tls.tid.get(),
        slot: attach::process_slot(tls),
        generation: p.generation.load(Relaxed),
        euid,
        egid,
        rights: &KERNEL,
    };
    Some(Call { k, root, who })
}

/// The process is attached, and no handler of its runs inside a lock.
#[cold]
fn prepare(entry: &Entry) -> Option<&'static Process> {
    if !attach::ensure_process() || !serves() || !arm::arm(entry) {
        return None;
    }
    entry.process()
}

/// What a call came to. These are never restarted: a handler ends them, whatever its SA_RESTART
/// [signal(7)].
#[inline(always)]
pub fn settle(entry: &Entry, (nr, id): (i64, i32), result: SysResult) -> Verdict {
    match result {
        Ok(n) => Verdict::Done(n as isize),
        Err(SysError::Restart(_)) if entry.tls.noted() != 0 => Verdict::errno(libc::EINTR),
        Err(e) => {
            if let SysError::Errno(errno) = e {
                let abc = (i64::from(errno.get()), nr as u64, id as u32 as u64);
                attach::log_event(entry, Kind::SysvFailed, abc);
            }
            verdict(Err(e))
        }
    }
}

/// Bumped when the process changes its user or groups.
static CHANGES: AtomicU32 = AtomicU32::new(1);

pub fn credentials_change() {
    CHANGES.fetch_add(1, AcqRel);
}

/// Effective user and group; asked for once, until they change.
#[inline(always)]
fn credentials(tls: &Tls) -> (u32, u32) {
    let now = CHANGES.load(Acquire);
    let (euid, egid, when) = tls.credentials.get();
    if when == now {
        return (euid, egid);
    }
    ask_credentials(tls, now)
}

#[cold]
fn ask_credentials(tls: &Tls, now: u32) -> (u32, u32) {
    let euid = sys!(libc::SYS_geteuid) as u32;
    let egid = sys!(libc::SYS_getegid) as u32;
    tls.credentials.set((euid, egid, now));
    (euid, egid)
}

struct Kernel;

static KERNEL: Kernel = Kernel;

impl Rights for Kernel {
    fn in_group(&self, gid: u32) -> bool {
        let mut groups = [0u32; 512];
        let n = sys!(libc::SYS_getgroups, groups.len(), groups.as_mut_ptr());
        groups.iter().take(n.max(0) as usize).any(|&g| g == gid)
    }

    /// capget(2). The second structure is for capabilities from 32 on, of which none is asked for.
    fn capable(&self, capability: u32) -> bool {
        const VERSION_3: u32 = 0x2008_0522;
        let header = [VERSION_3, 0];
        let mut data = [0u32; 6];
        let ret = sys!(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr());
        ret == 0
            && data
                .first()
                .is_some_and(|&effective| effective >> capability & 1 != 0)
    }
}

/// Brings the session's limits up to date, once a second at the most.
pub fn refresh(root: &Root) {
    use ringer_kernel::host::Host;
    static READ: AtomicU64 = AtomicU64::new(0);
    let now = Shim.wall_secs();
    if READ.swap(now, Relaxed) != now {
        root.set_limits(&limits());
    }
}

/// /proc/sys/kernel: what is not to be read there is Linux's default.
pub fn limits() -> Limits {
    let mut l = Limits::default();
    let mut four = [0u64; 4];
    if numbers("sem", &mut four) == 4 {
        [l.semmsl, l.semmns, l.semopm, l.semmni] = four.map(|n| n as u32);
    }
    let mut one = [0u64; 1];
    for (name, to) in [
        ("msgmax", &mut l.msgmax),
        ("msgmnb", &mut l.msgmnb),
        ("msgmni", &mut l.msgmni),
        ("shmmni", &mut l.shmmni),
    ] {
        if numbers(name, &mut one) == 1 {
            [*to] = one.map(|n| n as u32);
        }
    }
    for (name, to) in [("shmmax", &mut l.shmmax), ("shmall", &mut l.shmall)] {
        if numbers(name, &mut one) == 1 {
            [*to] = one;
        }
    }
    l
}

/// The numbers in /proc/sys/kernel/NAME. How many there are.
fn numbers(name: &str, into: &mut [u64]) -> usize {
    let mut text = [0u8; 128];
    let path = Path::new().text("/proc/sys/kernel/").text(name);
    let n = procfs::slurp(&path, &mut text);
    let text = text.get(..n.max(0) as usize).unwrap_or(&[]);
    let words = text
        .split(|b| !b.is_ascii_digit())
        .filter(|word| !word.is_empty());
    let mut count = 0;
    for (to, word) in into.iter_mut().zip(words) {
        *to = procfs::number(word);
        count += 1;
    }
    count
}

/// The process ends: what it has to give back is given back.
pub fn leave(entry: &Entry, p: &Process, slot: u32) {
    let Some(arena) = attach::arena() else { return };
    if !sysv::owes(arena) {
        return;
    }
    if let Some(k) = entry.ctx(-1) {
        sysv::leave(&k, slot, p.generation.load(Relaxed));
    }
}

/// A new program image has the place of the old one: nothing is attached any more.
pub fn after_exec(entry: &Entry) {
    let Some(arena) = attach::arena() else { return };
    if !sysv::owes(arena) {
        return;
    }
    let (Some(k), Some(p)) = (entry.ctx(-1), entry.process()) else {
        return;
    };
    if let Some(root) = sysv::root(arena) {
        let slot = attach::process_slot(entry.tls);
        sysv::shm::leave(&k, root, slot, p.generation.load(Relaxed));
    }
}

/// By number: whether it is one of these calls.
pub fn is_one(nr: i64) -> bool {
    serves()
        && matches!(
            nr,
            libc::SYS_semget
                | libc::SYS_semop
                | libc::SYS_semtimedop
                | libc::SYS_semctl
                | libc::SYS_msgget
                | libc::SYS_msgsnd
                | libc::SYS_msgrcv
                | libc::SYS_msgctl
                | libc::SYS_shmget
                | libc::SYS_shmat
                | libc::SYS_shmdt
                | libc::SYS_shmctl
        )
}

/// By trap or by syscall(2).
pub fn call(entry: &Entry, nr: i64, [a, b, c, d, e, _]: [usize; 6]) -> Verdict {
    match nr {
        libc::SYS_semget => sysv_sem::semget(entry, a as i32, b as i32, c as i32),
        libc::SYS_semop => sysv_sem::semtimedop(entry, a as i32, b, c, 0),
        libc::SYS_semtimedop => sysv_sem::semtimedop(entry, a as i32, b, c, d),
        libc::SYS_semctl => sysv_sem::semctl(entry, a as i32, b as i32, c as i32, d),
        libc::SYS_msgget => sysv_msg::msgget(entry, a as i32, b as i32),
        libc::SYS_msgsnd => sysv_msg::msgsnd(entry, a as i32, b, c, d as i32),
        libc::SYS_msgrcv => sysv_msg::msgrcv(entry, a as i32, b, c, d as i64, e as i32),
        libc::SYS_msgctl => sysv_msg::msgctl(entry, a as i32, b as i32, c),
        libc::SYS_shmget => sysv_shm::shmget(entry, a as i32, b, c as i32),
        libc::SYS_shmat => sysv_shm::shmat(entry, a as i32, b, c as i32),
        libc::SYS_shmdt => sysv_shm::shmdt(entry, a),
        libc::SYS_shmctl => sysv_shm::shmctl(entry, a as i32, b as i32, c),
        libc::SYS_munmap => sysv_shm::munmap(entry, a, b),
        _ => Verdict::Pass,
    }
}
