//! pipe(2) and pipe2(2), and the fcntl and ioctl requests that are about the ring.

use core::sync::atomic::Ordering::*;

use ringer_kernel::abi::limits::PAGE_SIZE;
use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::arena::header::flag;
use ringer_kernel::file::{self, fd_table, End, PipeEnd};
use ringer_kernel::log::{Cause, Kind};
use ringer_kernel::pipe::{self, mode, Ctx};
use ringer_kernel::task::Process;

use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::host::Shim;
use crate::{adopt, arm, attach, demotion, user};

use super::{errno_verdict, verdict};

/// F_GETPIPE_SZ and F_SETPIPE_SZ. (include/uapi/linux/fcntl.h)
pub const F_SETPIPE_SZ: i32 = 1031;
pub const F_GETPIPE_SZ: i32 = 1032;

/// pipe2(2). The real pipe is made first: the kernel judges flags, limits and numbers.
///
/// - R1 unknown flags: EINVAL; no two free descriptors: EMFILE, ENFILE. [the kernel]
/// - R2 bad `pipefd`: EFAULT, and no descriptor stays open. [fs/pipe.c do_pipe2]
pub fn pipe2(entry: &Entry, pipefd: usize, flags: i32) -> Verdict {
    let mut fds = [-1i32; 2];
    let ret = sys!(libc::SYS_pipe2, fds.as_mut_ptr(), flags);
    if ret < 0 {
        return Verdict::Done(ret); // R1
    }
    if flags & libc::O_EXCL == 0 {
        // (O_EXCL is O_NOTIFICATION_PIPE: the kernel writes into it.)
        emulate(entry, fds, flags);
    }
    if !user::put(pipefd, &fds) {
        let [read, write] = fds;
        for fd in [read, write] {
            let _ = super::descriptor::close(entry, fd);
        }
        return Verdict::errno(libc::EFAULT); // R2
    }
    Verdict::Done(0)
}

/// Puts a ring on a new pipe. Where that fails, the kernel's pipe serves, and the log says so.
fn emulate(entry: &Entry, fds: [i32; 2], flags: i32) -> Option<()> {
    if demotion::is_apart() || !attach::ensure_process() || !arm::arm(entry) {
        return None;
    }
    let k = entry.ctx(-1)?;
    let p = entry.process()?;
    let [read_fd, write_fd] = fds;
    let (dev, ino, _) = adopt::identity(read_fd)?;
    let size = sys!(libc::SYS_fcntl, read_fd, F_GETPIPE_SZ);
    let slots = u32::try_from(size).ok()? / PAGE_SIZE as u32;
    let how = if attach::emulates(flag::EMULATE_PIPE) {
        mode::RING
    } else {
        mode::KERNEL
    };
    let slot = pipe::create(&k, dev, ino, slots.max(1), how).ok()?;
    if how == mode::KERNEL {
        let observed = Cause::Observed.raw();
        pipe::get(k.arena, slot)?
            .demote_cause
            .store(observed, Relaxed);
    }
    let keep = (flags & (libc::O_NONBLOCK | libc::O_DIRECT)) as u32;
    let reader = file::new_file(k.arena, k.me, k.host, slot, End::Read, keep).ok();
    let writer = file::new_file(k.arena, k.me, k.host, slot, End::Write, keep).ok();
    let installed = match (reader, writer) {
        (Some(r), Some(w)) => install(&k, p, [(read_fd, r), (write_fd, w)]),
        _ => false,
    };
    if !installed {
        for f in [reader, writer].into_iter().flatten() {
            file::close_ref(k.arena, k.me, k.host, f);
        }
        pipe::release(&k, slot);
        return None;
    }
    let made = pipe::get(k.arena, slot)?;
    let fds = (i64::from(read_fd), write_fd as u64);
    k.log.pipe(
        made,
        Kind::Create,
        0,
        (
            fds.0,
            fds.1,
            u64::from(flags as u32) << 32 | u64::from(slots),
        ),
    );
    Some(())
}

fn install(k: &Ctx<'_, Shim>, p: &Process, files: [(i32, u32); 2]) -> bool {
    for (i, (fd, slot)) in files.into_iter().enumerate() {
        match fd_table::install(k.arena, k.me, k.host, p, fd, slot) {
            Ok(0) => {}
            Ok(stale) => {
                // Closed behind our back, and its number used again.
                ringer_kernel::task::reap::forget_descriptor(k, stale, |_| false);
            }
            Err(_) => {
                for (fd, _) in files.into_iter().take(i) {
                    fd_table::take(k.arena, p, fd);
                }
                return false;
            }
        }
    }
    true
}

/// F_GETPIPE_SZ: bytes.
pub fn size(e: &PipeEnd) -> Verdict {
    Verdict::Done(e.pipe.slots.load(Relaxed) as isize * PAGE_SIZE as isize)
}

/// F_SETPIPE_SZ. The kernel judges the size by the twin: rounding, EINVAL, EPERM, the user's
/// limits; then the ring follows. More than 4 MiB (root only) is the kernel's.
pub fn set_size(k: &Ctx<'_, Shim>, fd: i32, e: &PipeEnd, want: usize) -> Verdict {
    let before = e.pipe.slots.load(Relaxed);
    let ret = sys!(libc::SYS_fcntl, fd, F_SETPIPE_SZ, want);
    if ret < 0 {
        return Verdict::Done(ret);
    }
    let slots = ret as usize / PAGE_SIZE;
    if slots * PAGE_SIZE > 4 << 20 {
        return match demotion::demote_pipe(k, fd, e, Cause::TooLarge) {
            true => Verdict::Done(ret),
            false => Verdict::errno(libc::ENOMEM),
        };
    }
    match pipe::set_size(k, e.pipe, slots as u32) {
        Ok(()) => {
            k.log.pipe(e.pipe, Kind::Resize, 0, (slots as i64, 0, 0));
            if e.pipe.watched.load(Acquire) != 0 {
                super::ready::watch_pipe(k, fd, e, 0);
            }
            Verdict::Done(ret)
        }
        Err(SysError::Demoted) => Verdict::Done(ret),
        // No memory for the new ring: the kernel has some, and its pipe has that size already.
        Err(SysError::Errno(Errno::ENOMEM)) if demotion::demote_pipe(k, fd, e, Cause::NoMemory) => {
            Verdict::Done(ret)
        }
        Err(err) => {
            sys!(
                libc::SYS_fcntl,
                fd,
                F_SETPIPE_SZ,
                before as usize * PAGE_SIZE
            );
            verdict(Err(err))
        }
    }
}

/// FIONREAD: bytes queued, as an int.
pub fn queued(k: &Ctx<'_, Shim>, e: &PipeEnd, to: usize) -> Verdict {
    match pipe::queued_bytes(k, e.pipe) {
        Ok(n) if user::put(to, &(n as i32)) => Verdict::Done(0),
        Ok(_) => Verdict::errno(libc::EFAULT),
        Err(SysError::Errno(errno)) => errno_verdict(errno),
        Err(_) => Verdict::Pass,
    }
}
