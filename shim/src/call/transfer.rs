//! splice, tee, vmsplice, sendfile: the pipe goes to the kernel first. Pages that are moved by reference are the kernel's business (docs/limits.md).

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
