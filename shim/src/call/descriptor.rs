//! Descriptor numbers: close, dup, fcntl, ioctl. The twin has the numbers; the table follows.

use core::sync::atomic::Ordering::*;

use ringer_kernel::file::{self, fd_table, FileRef, PipeEnd};
use ringer_kernel::log::Kind;
use ringer_kernel::pipe::watch::watched;
use ringer_kernel::pipe::{fifo, Ctx};
use ringer_kernel::sys::socket_charged;
use ringer_kernel::task::reap::{about_to_close, flush, forget_descriptor};
use ringer_kernel::task::Process;
use ringer_kernel::unix;

use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::host::Shim;
use crate::{attach, demotion, fresh, linger, twin, user};

use super::{count_hook, lookup, mq, pipe, ready};

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
    flush(&k, attach::process_slot(entry.tls), slot);
    if slot == 0 {
        return match linger::is_hidden(entry, fd) {
            true => Verdict::errno(libc::EBADF),
            false => Verdict::Pass,
        };
    }
    count_hook(entry);
    linger::keep(&k, entry, slot, fd);
    last_words(&k, fd, slot);
    about_to_close(k.arena, slot);
    let ret = sys!(libc::SYS_close, fd);
    forget_descriptor(&k, slot, |_| unused);
    Verdict::Done(ret)
}

fn last_words(k: &Ctx<'_, Shim>, fd: i32, file_slot: u32) {
    if let Some(f) = FileRef::of(k.arena, file_slot) {
        demotion::before_close(k, fd, &f);
    }
}

/// Asked before the last close of a pipe, while its twin can still be asked: whether nobody else
/// holds the other end. A holder that the counts do not know keeps the pipe.
fn unused_after_close(k: &Ctx<'_, Shim>, p: &Process, fd: i32) -> bool {
    let e = match fd_table::lookup(k.arena, p, fd) {
        Some(FileRef::Pipe(e)) => e,
        // The kernel has what was sent, for whoever accepts it.
        Some(FileRef::Socket(s)) if s.pair.is_pending() => return true,
        Some(FileRef::Socket(s)) => {
            let [a, b] = &s.pair.sockets;
            let holders = a.files.load(Acquire) + b.files.load(Acquire);
            let last = holders <= 1 && s.file.refs.load(Acquire) <= 1;
            return !last || crate::peer::is_gone(k, fd, &s.id());
        }
        _ => return true,
    };
    if fifo::is_fifo(e.pipe) {
        return true; // as far as the session is concerned
    }
    let holders = e.pipe.readers.load(Acquire) + e.pipe.writers.load(Acquire);
    if holders > 1 || e.file.refs.load(Acquire) > 1 {
        return true; // not the last; whoever is asks
    }
    twin::hung_up(fd)
}

/// dup(2) and F_DUPFD: the real call, then one more reference.
pub fn dup(entry: &Entry, fd: i32, real: impl FnOnce() -> isize) -> Verdict {
    fresh::forget(fd);
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

/// `new` names `f`'s description as well.
fn name_too(k: &Ctx<'_, Shim>, p: &Process, f: &FileRef, new: i32) {
    if !file::get_ref(k.arena, f.file_slot()) {
        return; // closed meanwhile by another thread: the new number is the kernel's alone
    }
    match fd_table::install(k.arena, k.me, k.host, p, new, f.file_slot()) {
        Ok(0) => {}
        Ok(old) => forget_descriptor(k, old, |_| false),
        Err(_) => {
            // A number that the table can not hold: the object is the kernel's.
            file::close_ref(k.arena, k.me, k.host, f.file_slot());
            demotion::give_away(k, new, f, ringer_kernel::log::Cause::NoMemory);
        }
    }
    f.log(&k.log, Kind::Dup, (i64::from(new), f.end_number(), 0));
}

/// dup2(2) and dup3(2). `new` may be one of ringer's, or `old`, or both, or neither.
pub fn dup2(entry: &Entry, old: i32, new: i32, real: impl FnOnce() -> isize) -> Verdict {
    fresh::forget(old);
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
    last_words(&k, new, target);
    about_to_close(k.arena, target);
    let ret = real();
    if ret < 0 {
        return Verdict::Done(ret);
    }
    // What `new` named before was closed by the real call.
    let replaced = fd_table::take(k.arena, p, new);
    flush(&k, attach::process_slot(entry.tls), replaced);
    if let Some(f) = FileRef::of(k.arena, source) {
        name_too(&k, p, &f, new);
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
        demotion::leave_to_kernel(entry, ringer_kernel::log::Cause::TableSplit);
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
    if matches!(cmd, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) {
        fresh::forget(fd);
    }
    let Some((_, e)) = lookup(entry, fd) else {
        return Verdict::Pass;
    };
    let real = || sys!(libc::SYS_fcntl, fd, cmd, arg);
    match cmd {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => return dup(entry, fd, real),
        libc::F_GETFL => {
            return match &e {
                FileRef::Mq(e) => mq::status_flags(e),
                _ => Verdict::Pass,
            };
        }
        libc::F_SETFL => return set_flags(entry, fd, &e, arg as i32, real),
        _ => {}
    }
    let Some(k) = entry.ctx(fd) else {
        return Verdict::Pass;
    };
    let e = match e {
        FileRef::Pipe(e) => e,
        // Its twin is a pipe, a queue is none. (fs/pipe.c pipe_fcntl)
        FileRef::Mq(_) if matches!(cmd, pipe::F_GETPIPE_SZ | pipe::F_SETPIPE_SZ) => {
            return Verdict::errno(libc::EBADF);
        }
        _ => return Verdict::Pass,
    };
    if !e.pipe.is_ring() {
        return super::by_kernel(&k, fd, &FileRef::Pipe(e));
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
    f: &FileRef,
    flags: i32,
    real: impl FnOnce() -> isize,
) -> Verdict {
    if let FileRef::Mq(e) = f {
        return mq::set_flags(entry, fd, e, flags, KEPT | libc::O_APPEND);
    }
    let ret = real();
    if ret < 0 {
        return Verdict::Done(ret);
    }
    let both = f.file().flags.load(Acquire) & libc::O_RDWR as u32; // of a FIFO, for good
    f.file().flags.store((flags & KEPT) as u32 | both, Release);
    if let Some(k) = entry.ctx(fd) {
        if flags & libc::O_ASYNC != 0 {
            tell_async(&k, fd, f);
        }
        let end = match f {
            FileRef::Pipe(_) => f.end_number(),
            _ => libc::O_RDWR as u64,
        };
        f.log(&k.log, Kind::SetFlags, (i64::from(flags), end, 0));
    }
    Verdict::Done(ret)
}

/// SIGIO comes from the twin.
fn tell_async(k: &Ctx<'_, Shim>, fd: i32, f: &FileRef) {
    match f {
        FileRef::Pipe(e) => ready::watch_pipe(k, fd, e, told(e)),
        // They have none (fs/eventfd.c, fs/signalfd.c, ipc/mqueue.c: no fasync).
        FileRef::Eventfd(_) | FileRef::Signalfd(_) | FileRef::Mq(_) => {}
        FileRef::Socket(_) => {
            demotion::demote(k, fd, f, ringer_kernel::log::Cause::Polled);
        }
    }
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
    let Some((p, f)) = lookup(entry, fd) else {
        return Verdict::Pass;
    };
    let Some(k) = entry.ctx(fd) else {
        return Verdict::Pass;
    };
    match request & 0xffff_ffff {
        libc::FIONREAD => match f {
            FileRef::Pipe(e) if e.pipe.is_ring() => pipe::queued(&k, &e, arg),
            FileRef::Mq(e) => put_count(arg, mq::rest_of_status(&e)),
            FileRef::Socket(s) if s.pair.is_served() => {
                put_count(arg, unix::readable(&k, s.pair, s.side()))
            }
            _ => super::by_kernel(&k, fd, &f),
        },
        libc::TIOCOUTQ => match f {
            FileRef::Socket(s) if s.pair.is_served() => {
                let twin = super::socket::twin(&k, &(p, s), fd);
                put_count(arg, socket_charged(&k, &s, &twin))
            }
            _ => super::by_kernel(&k, fd, &f),
        },
        SIOCATMARK if matches!(f, FileRef::Socket(_)) => {
            demotion::demote(&k, fd, &f, ringer_kernel::log::Cause::OutOfBand);
            Verdict::Pass
        }
        request @ (libc::FIONBIO | FIOASYNC) => {
            let flag = if request == libc::FIONBIO {
                libc::O_NONBLOCK
            } else {
                libc::O_ASYNC
            };
            if let FileRef::Mq(e) = &f {
                return match user::fetch::<i32>(arg) {
                    Some(0) => mq::set_flags(entry, fd, e, 0, flag),
                    Some(_) => mq::set_flags(entry, fd, e, flag, flag),
                    None => Verdict::errno(libc::EFAULT),
                };
            }
            let ret = sys!(libc::SYS_ioctl, fd, request, arg);
            if let (0, Some(on)) = (ret, user::fetch::<i32>(arg)) {
                if on != 0 {
                    f.file().flags.fetch_or(flag as u32, AcqRel);
                } else {
                    f.file().flags.fetch_and(!flag as u32, AcqRel);
                }
                if on != 0 && flag == libc::O_ASYNC {
                    tell_async(&k, fd, &f);
                }
            }
            Verdict::Done(ret)
        }
        _ => Verdict::Pass,
    }
}

/// An int, as FIONREAD and SIOCOUTQ give it.
fn put_count(to: usize, n: u64) -> Verdict {
    match user::put(to, &(n as i32)) {
        true => Verdict::Done(0),
        false => Verdict::errno(libc::EFAULT),
    }
}

/// (include/uapi/asm-generic/ioctls.h, sockios.h)
const FIOASYNC: u64 = 0x5452;
const SIOCATMARK: u64 = 0x8905;
