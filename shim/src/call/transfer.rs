//! splice, tee, vmsplice, sendfile, and descriptors that are sent away: the pipe goes to the
//! kernel first. Pages that are moved by reference are the kernel's business (docs/limits.md).

use ringer_kernel::file::FileRef;
use ringer_kernel::log::Cause;

use crate::demotion;
use crate::entry::{Entry, Verdict};
use crate::user;

use super::lookup;

fn to_kernel(entry: &Entry, fd: i32, cause: Cause) {
    if let (Some((_, e)), Some(k)) = (lookup(entry, fd), entry.ctx(fd)) {
        demotion::demote(&k, fd, &e, cause);
    }
}

fn is_queue(entry: &Entry, fd: i32) -> bool {
    matches!(lookup(entry, fd), Some((_, FileRef::Mq(_))))
}

/// splice(2).
pub fn splice(entry: &Entry, from: i32, to: i32) -> Verdict {
    if is_queue(entry, from) || is_queue(entry, to) {
        return Verdict::errno(libc::EINVAL);
    }
    to_kernel(entry, from, Cause::Transfer);
    to_kernel(entry, to, Cause::Transfer);
    Verdict::Pass
}

/// tee(2).
pub fn tee(entry: &Entry, from: i32, to: i32) -> Verdict {
    splice(entry, from, to)
}

/// vmsplice(2).
pub fn vmsplice(entry: &Entry, fd: i32) -> Verdict {
    if is_queue(entry, fd) {
        return Verdict::errno(libc::EBADF);
    }
    to_kernel(entry, fd, Cause::Transfer);
    Verdict::Pass
}

/// sendfile(2).
pub fn sendfile(entry: &Entry, to: i32, from: i32) -> Verdict {
    splice(entry, from, to)
}

/// io_submit(2): the kernel reads, writes and signals behind our back. `list` holds addresses of
/// struct iocb, whose words of interest are at 20 (aio_fildes) and, with IOCB_FLAG_RESFD, 60 (aio_resfd).
pub fn io_submit(entry: &Entry, count: usize, list: usize) {
    const IOCB_FLAG_RESFD: u32 = 1;
    for i in 0..count.min(1 << 16) {
        let Some(iocb) = user::fetch::<usize>(list.wrapping_add(i * 8)) else {
            return;
        };
        if let Some(fd) = user::fetch::<i32>(iocb.wrapping_add(20)) {
            to_kernel(entry, fd, Cause::Aio);
        }
        let flags = user::fetch::<u32>(iocb.wrapping_add(56)).unwrap_or(0);
        if let (true, Some(fd)) = (
            flags & IOCB_FLAG_RESFD != 0,
            user::fetch::<i32>(iocb.wrapping_add(60)),
        ) {
            to_kernel(entry, fd, Cause::Aio);
        }
    }
}

/// struct msghdr, as far as it concerns ancillary data.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Msghdr {
    name: usize,
    name_len: u64,
    iov: usize,
    iov_len: usize,
    control: usize,
    control_len: usize,
    flags: u64,
}

/// struct cmsghdr.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Cmsghdr {
    len: usize,
    level: i32,
    kind: i32,
}

/// sendmsg(2) with SCM_RIGHTS: the receiver may be anybody, so what is sent is demoted.
pub fn demote_rights(entry: &Entry, message: usize) {
    each_right(message, |fd| to_kernel(entry, fd, Cause::ScmRights));
}

/// Calls `f` with each descriptor in the SCM_RIGHTS of a message.
pub fn each_right(message: usize, mut f: impl FnMut(i32)) {
    let Some(header) = user::fetch::<Msghdr>(message) else {
        return;
    };
    let mut at = header.control;
    let end = header
        .control
        .saturating_add(header.control_len.min(1 << 16));
    while at != 0 && at + core::mem::size_of::<Cmsghdr>() <= end {
        let Some(c) = user::fetch::<Cmsghdr>(at) else {
            return;
        };
        if c.len < core::mem::size_of::<Cmsghdr>() || c.len > end - at {
            return;
        }
        if c.level == libc::SOL_SOCKET && c.kind == libc::SCM_RIGHTS {
            let first = at + core::mem::size_of::<Cmsghdr>();
            for fd_at in (first..at + c.len).step_by(4) {
                if let Some(fd) = user::fetch::<i32>(fd_at) {
                    f(fd);
                }
            }
        }
        at += c.len.next_multiple_of(8);
    }
}
