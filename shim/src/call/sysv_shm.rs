//! shmget(2), shmat(2), shmdt(2), shmctl(2).

use core::sync::atomic::Ordering::*;

use ringer_kernel::sysv::sem_ctl::IPC_INFO;
use ringer_kernel::sysv::{self, shm, shm_ctl};
use ringer_kernel::task::Process;

use crate::entry::{Entry, Verdict};
use crate::env;
use crate::gate::sys;
use crate::user::Flat;

use super::sysv::{begin, limits, refresh, settle, Call};

const PAGE: usize = 4096;

pub fn shmget(entry: &Entry, key: i32, size: usize, flags: i32) -> Verdict {
    let Some(c) = begin(entry) else {
        return Verdict::Pass;
    };
    refresh(c.root);
    if let Some(path) = env::session_path() {
        c.root.set_path(path);
    }
    settle(
        entry,
        (libc::SYS_shmget, key),
        shm::shmget(&c.k, c.root, &c.who, key, size as u64, flags),
    )
}

/// shmat(2). Linux v6.18 ipc/shm.c `do_shmat`.
pub fn shmat(entry: &Entry, id: i32, addr: usize, flags: i32) -> Verdict {
    let Some(c) = begin(entry) else {
        return Verdict::Pass;
    };
    let remap = flags & shm::SHM_REMAP != 0;
    let mut at = addr;
    if !at.is_multiple_of(PAGE) && flags & shm::SHM_RND != 0 {
        at -= at % PAGE;
    }
    if id < 0 || !at.is_multiple_of(PAGE) || (at == 0 && remap) {
        return Verdict::errno(libc::EINVAL);
    }
    // (An address that was rounded down to 0 is one all the same.)
    let fixed = addr != 0;
    match shm::begin_attach(&c.k, c.root, &c.who, id, flags) {
        Err(e) => settle(entry, (libc::SYS_shmat, id), Err(e.into())),
        Ok(what) => {
            let ret = map(&c, &what, at, fixed, flags);
            if ret < 0 {
                shm::forget_attach(&c.k, c.root, what.index, c.who.pid);
            } else {
                shm::end_attach(&c.k, c.root, &c.who, what.index, ret as u64);
            }
            Verdict::Done(ret)
        }
    }
}

fn map(c: &Call, what: &shm::Attaching, at: usize, fixed: bool, flags: i32) -> isize {
    let Some(path) = c.root.segment_path(what.file) else {
        return -(libc::ENOMEM as isize);
    };
    let read_only = flags & shm::SHM_RDONLY != 0;
    let (mode, mut prot) = if read_only {
        (libc::O_RDONLY, libc::PROT_READ)
    } else {
        (libc::O_RDWR, libc::PROT_READ | libc::PROT_WRITE)
    };
    if flags & shm::SHM_EXEC != 0 {
        prot |= libc::PROT_EXEC;
    }
    let how = match (fixed, flags & shm::SHM_REMAP != 0) {
        (false, _) => 0,
        (true, true) => libc::MAP_FIXED,
        (true, false) => libc::MAP_FIXED_NOREPLACE,
    };
    let open = mode | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    let fd = sys!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), open, 0);
    if fd < 0 {
        return fd;
    }
    let shared = libc::MAP_SHARED | how;
    let ret = sys!(libc::SYS_mmap, at, what.len, prot, shared, fd, 0);
    sys!(libc::SYS_close, fd);
    match ret {
        // "attach segment at a non-free address"
        r if r == -(libc::EEXIST as isize) => -(libc::EINVAL as isize),
        r => r,
    }
}

/// shmdt(2). What was not attached by us is the kernel's to know.
pub fn shmdt(entry: &Entry, addr: usize) -> Verdict {
    let Some(c) = begin(entry) else {
        return Verdict::Pass;
    };
    let Some((_, len)) = shm::find(&c.k, c.root, &c.who, addr as u64) else {
        return Verdict::Pass;
    };
    let ret = sys!(libc::SYS_munmap, addr, len);
    if ret == 0 {
        shm::unmapped(&c.k, c.root, &c.who, addr as u64, len);
    }
    Verdict::Done(ret)
}

/// munmap(2), by trap: it may be an attachment.
pub fn munmap(entry: &Entry, addr: usize, len: usize) -> Verdict {
    let any = || {
        let root = sysv::root(crate::attach::arena()?)?;
        (root.attaches_live.load(Acquire) != 0).then_some(())
    };
    if any().is_none() {
        return Verdict::Pass;
    }
    let ret = sys!(libc::SYS_munmap, addr, len);
    if ret == 0 {
        if let Some(c) = begin(entry) {
            let len = len.next_multiple_of(PAGE) as u64;
            shm::unmapped(&c.k, c.root, &c.who, addr as u64, len);
        }
    }
    Verdict::Done(ret)
}

pub fn shmctl(entry: &Entry, id: i32, cmd: i32, arg: usize) -> Verdict {
    let Some(c) = begin(entry) else {
        return Verdict::Pass;
    };
    if matches!(cmd, IPC_INFO | shm_ctl::SHM_INFO) {
        c.root.set_limits(&limits());
    }
    let mut user = Flat::new(arg);
    let done = shm_ctl::shmctl(&c.k, c.root, &c.who, id, cmd, &mut user, may_lock);
    if done.is_ok() && matches!(cmd, shm_ctl::SHM_LOCK | shm_ctl::SHM_UNLOCK) {
        pin(&c, id, cmd == shm_ctl::SHM_LOCK);
    }
    settle(entry, (libc::SYS_shmctl, id), done)
}

fn may_lock() -> bool {
    let mut limit = [0u64; 2];
    let which = libc::RLIMIT_MEMLOCK;
    sys!(libc::SYS_prlimit64, 0, which, 0, limit.as_mut_ptr());
    limit.first().is_some_and(|&soft| soft != 0)
}

/// The pages that this process has attached stay in memory, as far as it may ask for that.
fn pin(c: &Call, id: i32, locks: bool) {
    for (_, a) in shm::attaches(c.k.arena, c.root) {
        if a.id() == id && a.debtor.is(c.who.slot, c.who.generation) {
            let (addr, len) = (a.addr.load(Relaxed), a.len.load(Relaxed));
            if locks {
                sys!(libc::SYS_mlock, addr, len);
            } else {
                sys!(libc::SYS_munlock, addr, len);
            }
        }
    }
}

/// fork(2): the child has attached what we have.
pub fn inherit(entry: &Entry, slot: u32, child: &Process) {
    let (Some(p), Some(k)) = (entry.process(), entry.ctx(-1)) else {
        return;
    };
    if let Some(root) = sysv::root(k.arena) {
        let mine = (
            crate::attach::process_slot(entry.tls),
            p.generation.load(Relaxed),
        );
        let its = (slot, child.generation.load(Relaxed));
        // No memory for the count: the child's attachments are not counted.
        let _ = shm::inherit(&k, root, mine, its);
    }
}
