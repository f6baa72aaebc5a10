//! Descriptor numbers: close, dup, fcntl, ioctl. The twin has the numbers; the table follows.

use core::sync::atomic::Ordering::*;

use ringer_kernel::file::{self, fd_table, PipeEnd};
use ringer_kernel::log::Kind;
use ringer_kernel::pipe::watch::watched;
use ringer_kernel::pipe::Ctx;
use ringer_kernel::task::reap::{about_to_close, forget_descriptor};
use ringer_kernel::task::Process;

use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::host::Shim;
use crate::{linger, twin, user};

use super::{count_hook, lookup, pipe, ready};

const CLOSE_RANGE_CLOEXEC: u32 = 4;
const CLOSE_RANGE_UNSHARE: u32 = 2;
/// Status flags that the table keeps itself.
const KEPT: i32 = libc::O_NONBLOCK | libc::O_DIRECT | libc::O_ASYNC;

/// close(2). The entry goes first, so that nobody finds a number that is somebody else's; then the
/// real descriptor; then those who wait are told, when the twin says what is true.
pub fn close(entry: &Entry, fd: i32) -> Verdict {
    let (Some(p), Some(k)) = (entry.process(), entry.ctx(fd)) else {
        return Verdict::Pass;
    };
    let unused = unused_after_close(&k, p, fd);
    let slot = fd_table::take(k.arena, p, fd);
    if slot == 0 {
        return match linger::is_hidden(entry, fd) {
            true => Verdict::errno(libc::EBADF),
            false => Verdict::Pass,
        };
    }
    count_hook(entry);
    linger::keep(&k, entry, slot, fd);
    about_to_close(k.arena, slot);
    let ret = sys!(libc::SYS_close, fd);
    forget_descriptor(&k, slot, |_| unused);
    Verdict::Done(ret)
}

/// Asked before the last close of a pipe, while its twin can still be asked: whether nobody else
/// holds the other end. A holder that the counts do not know keeps the pipe.
fn unused_after_close(k: &Ctx<'_, Shim>, p: &Process, fd: i32) -> bool {
    let Some(e) = fd_table::lookup(k.arena, p, fd) else {
        return true;
    };
    let holders = e.pipe.readers.load(Acquire) + e.pipe.writers.load(Acquire);
    if holders > 1 || e.file.refs.load(Acquire) > 1 {
        return true; // not the last; whoever is asks
    }
    twin::hung_up(fd)
}

/// dup(2) and F_DUPFD: the real call, then one more reference.
pub fn dup(entry: &Entry, fd: i32, real: impl FnOnce() -> isize) -> Verdict {
    let Some((p, e)) = lookup(entry, fd) else {
        return Verdict::Pass;
    };
    let Some(k) = entry.ctx(fd) else {
        return Verdict::Pass;
    };
    count_hook(entry);
    let ret = real();
    if ret >= 0 {
        name_too(&k, p, &e, ret as i32);
    }
    Verdict::Done(ret)
}

/// `new` names `e`'s description as well.
fn name_too(k: &Ctx<'_, Shim>, p: &Process, e: &PipeEnd, new: i32) {
    if !file::get_ref(k.arena, e.file_slot()) {
        return; // closed meanwhile by another thread: the new number is the kernel's alone
    }
    match fd_table::install(k.arena, k.me, k.host, p, new, e.file_slot()) {
        Ok(0) => {}
        Ok(old) => forget_descriptor(k, old, |_| false),
        Err(_) => {
            // A number that the table can not hold: the pipe is the kernel's.
            file::close_ref(k.arena, k.me, k.host, e.file_slot());
            crate::demotion::demote(k, new, e, ringer_kernel::log::Cause::NoMemory);
        }
    }
    let end = u64::from(e.end == file::End::Write);
    k.log.pipe(e.pipe, Kind::Dup, 0, (i64::from(new), end, 0));
}

/// dup2(2) and dup3(2). `new` may be one of ringer's, or `old`, or both, or neither.
pub fn dup2(entry: &Entry, old: i32, new: i32, real: impl FnOnce() -> isize) -> Verdict {
    let (Some(p), Some(k)) = (entry.process(), entry.ctx(old)) else {
        return Verdict::Pass;
    };
    let source = fd_table::slot_of(k.arena, p, old);
    let target = fd_table::slot_of(k.arena, p, new);
    if (source == 0 && target == 0) || old == new {
        return Verdict::Pass;
    }
    count_hook(entry);
    let unused = unused_after_close(&k, p, new);
    linger::keep(&k, entry, target, new);
    about_to_close(k.arena, target);
    let ret = real();
    if ret < 0 {
        return Verdict::Done(ret);
    }
    // What `new` named before was closed by the real call.
    let replaced = fd_table::take(k.arena, p, new);
    if let Some(e) = fd_table::pipe_end(k.arena, source) {
        name_too(&k, p, &e, new);
    }
    if replaced != 0 {
        forget_descriptor(&k, replaced, |_| unused);
    }
    Verdict::Done(ret)
}

/// close_range(2). With CLOSE_RANGE_CLOEXEC nothing is closed now.
pub fn close_range(entry: &Entry, first: u32, last: u32, flags: u32) -> Verdict {
    let (Some(p), Some(k)) = (entry.process(), entry.ctx(-1)) else {
        return Verdict::Pass;
    };
    if first > last || flags & CLOSE_RANGE_CLOEXEC != 0 {
        return Verdict::Pass;
    }
    if flags & !CLOSE_RANGE_UNSHARE != 0 {
        return Verdict::Pass; // the kernel says EINVAL
    }
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        crate::demotion::leave_to_kernel(entry);
        return Verdict::Pass;
    }
    let mut ret = 0;
    // Ours one by one, in order, so that everybody is woken; the kernel does the rest.
    fd_table::for_each(k.arena, p, first, last, |fd, _| {
        let _ = close(entry, fd);
    });
    // The kernel closes the rest, but for what is kept for calls that wait.
    let mut from = first;
    while ret == 0 && from <= last {
        let hidden = i32::try_from(from)
            .ok()
            .and_then(|from| linger::next_hidden(entry, from))
            .map(|n| n as u32)
            .filter(|&n| n <= last);
        let to = hidden.map_or(last, |n| n.wrapping_sub(1));
        if hidden != Some(from) {
            ret = sys!(libc::SYS_close_range, from, to, flags);
        }
        match hidden {
            Some(n) => from = n + 1,
            None => break,
        }
    }
    Verdict::Done(ret)
}

/// fcntl(2) on a descriptor of ringer's.
pub fn fcntl(entry: &Entry, fd: i32, cmd: i32, arg: usize) -> Verdict {
    let Some((_, e)) = lookup(entry, fd) else {
        return Verdict::Pass;
    };
    let real = || sys!(libc::SYS_fcntl, fd, cmd, arg);
    match cmd {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => return dup(entry, fd, real),
        libc::F_SETFL => return set_flags(entry, fd, &e, arg as i32, real),
        _ => {}
    }
    let Some(k) = entry.ctx(fd) else {
        return Verdict::Pass;
    };
    if !e.pipe.is_ring() {
        return super::by_kernel(&k, fd, &e);
    }
    match cmd {
        pipe::F_GETPIPE_SZ => pipe::size(&e),
        pipe::F_SETPIPE_SZ => pipe::set_size(&k, fd, &e, arg),
        _ => Verdict::Pass,
    }
}

fn set_flags(
    entry: &Entry,
    fd: i32,
    e: &PipeEnd,
    flags: i32,
    real: impl FnOnce() -> isize,
) -> Verdict {
    let ret = real();
    if ret < 0 {
        return Verdict::Done(ret);
    }
    e.file.flags.store((flags & KEPT) as u32, Release);
    if let Some(k) = entry.ctx(fd) {
        if flags & libc::O_ASYNC != 0 {
            ready::watch_pipe(&k, fd, e, told(e)); // SIGIO comes from the twin
        }
        let end = u64::from(e.end == file::End::Write);
        k.log
            .pipe(e.pipe, Kind::SetFlags, 0, (i64::from(flags), end, 0));
    }
    Verdict::Done(ret)
}

/// What O_ASYNC on this end is to be told.
fn told(e: &PipeEnd) -> u32 {
    match e.end {
        file::End::Read => watched::WRITES,
        file::End::Write => watched::READS,
    }
}

/// ioctl(2) on a descriptor of ringer's: FIONREAD, FIONBIO, FIOASYNC; the rest is the twin's.
pub fn ioctl(entry: &Entry, fd: i32, request: u64, arg: usize) -> Verdict {
    let Some((_, e)) = lookup(entry, fd) else {
        return Verdict::Pass;
    };
    let Some(k) = entry.ctx(fd) else {
        return Verdict::Pass;
    };
    match request & 0xffff_ffff {
        libc::FIONREAD if e.pipe.is_ring() => pipe::queued(&k, &e, arg),
        request @ (libc::FIONBIO | FIOASYNC) => {
            let flag = if request == libc::FIONBIO {
                libc::O_NONBLOCK
            } else {
                libc::O_ASYNC
            };
            let ret = sys!(libc::SYS_ioctl, fd, request, arg);
            if let (0, Some(on)) = (ret, user::fetch::<i32>(arg)) {
                if on != 0 {
                    e.file.flags.fetch_or(flag as u32, AcqRel);
                } else {
                    e.file.flags.fetch_and(!flag as u32, AcqRel);
                }
                if on != 0 && flag == libc::O_ASYNC {
                    ready::watch_pipe(&k, fd, &e, told(&e));
                }
            }
            Verdict::Done(ret)
        }
        libc::FIONREAD => super::by_kernel(&k, fd, &e),
        _ => Verdict::Pass,
    }
}

/// (include/uapi/asm-generic/ioctls.h)
const FIOASYNC: u64 = 0x5452;
