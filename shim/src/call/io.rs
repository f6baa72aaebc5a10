//! read, write and their vector forms on an emulated pipe.

use core::sync::atomic::Ordering::*;

use ringer_kernel::abi::limits::MAX_RW_COUNT;
use ringer_kernel::abi::SysError;
use ringer_kernel::file::{End, FileRef, PipeEnd};
use ringer_kernel::host::{UserRead, UserWrite};
use ringer_kernel::pipe::{slot, Ctx};
use ringer_kernel::sys::{pipe_read, pipe_write, Blocking};

use crate::demotion;
use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::host::Shim;
use crate::linger;
use crate::observe::{self, io::Moved};
use crate::user::{access_ok, Flat, Vectored};

use super::signalfd;
use super::{by_kernel, count_hook, eventfd, lookup, mq, socket, twin, verdict, Found};

const RWF_HIPRI: i32 = 1;
const RWF_DSYNC: i32 = 2;
const RWF_SYNC: i32 = 4;
const RWF_NOWAIT: i32 = 8;

fn blocking(e: &PipeEnd, nowait: bool) -> Blocking {
    if nowait || e.file.has(libc::O_NONBLOCK as u32) {
        Blocking::No
    } else {
        Blocking::Yes
    }
}

fn kind(e: &PipeEnd) -> slot::Kind {
    if e.file.has(libc::O_DIRECT as u32) {
        slot::Kind::Packet
    } else {
        slot::Kind::Stream
    }
}

/// read(2).
pub fn read(entry: &Entry, fd: i32, buf: usize, len: usize) -> Verdict {
    let Some(found) = lookup(entry, fd) else {
        return Verdict::Pass;
    };
    read_from(entry, &found, fd, buf, len)
}

/// read(2) on what `fd` was found to be.
#[inline(always)]
pub fn read_from(entry: &Entry, found: &Found, fd: i32, buf: usize, len: usize) -> Verdict {
    let e = match &found.1 {
        FileRef::Pipe(e) => e,
        FileRef::Eventfd(e) => return eventfd::read(entry, (found.0, *e), fd, buf, len),
        FileRef::Signalfd(e) => return signalfd::read(entry, e, buf, len),
        FileRef::Mq(e) => return mq::read(e, buf, len),
        FileRef::Socket(_) if len == 0 => return Verdict::Done(0), // "Match SYS5 behaviour"
        FileRef::Socket(s) => {
            let note = &mut socket::Note::default();
            return socket::recv(entry, (found.0, *s), fd, (buf, len), 0, note);
        }
    };
    if e.end == End::Read && !access_ok(buf, len) {
        return Verdict::errno(libc::EFAULT);
    }
    read_into(
        entry,
        fd,
        e,
        &mut Flat::new(buf),
        len.min(MAX_RW_COUNT),
        false,
    )
}

#[inline(always)]
fn read_into<U: UserWrite>(
    entry: &Entry,
    fd: i32,
    e: &PipeEnd,
    dst: &mut U,
    len: usize,
    nowait: bool,
) -> Verdict {
    let (Some(p), Some(k)) = (entry.process(), entry.ctx(fd)) else {
        return Verdict::Pass;
    };
    if !e.pipe.is_ring() {
        return by_kernel(&k, fd, &FileRef::Pipe(*e));
    }
    count_hook(entry);
    let result = pipe_read(&k, e, &twin(p, e, fd), blocking(e, nowait), dst, len);
    if result == Err(SysError::Demoted) {
        return by_kernel(&k, fd, &FileRef::Pipe(*e)); // and what was kept for the call is still of use
    }
    settle(entry, &k);
    verdict(result)
}

/// The descriptor may have been closed while the call waited.
#[inline(always)]
pub fn settle(entry: &Entry, k: &Ctx<'_, Shim>) {
    if let Some(task) = entry.task().filter(|t| t.linger.load(Relaxed) != 0) {
        linger::done(k, task);
    }
}

/// readv(2), and preadv2(2) with offset -1.
pub fn readv(entry: &Entry, fd: i32, iov: usize, count: usize, flags: i32) -> Verdict {
    let e = match lookup(entry, fd) {
        Some((_, FileRef::Pipe(e))) => e,
        Some((p, FileRef::Socket(s))) => {
            return read_pieces(entry, (p, s), fd, (iov, count), flags)
        }
        Some((_, FileRef::Mq(e))) => return mq::readv(&e, iov, count),
        Some((_, other)) => return in_pieces(entry, fd, &other),
        None => return Verdict::Pass,
    };
    if !e.pipe.is_ring() || !flags_known(flags) {
        return Verdict::Pass;
    }
    if e.end != End::Read {
        return Verdict::errno(libc::EBADF);
    }
    let mut parts = match Vectored::import(iov, count) {
        Ok(parts) => parts,
        Err(errno) => return Verdict::Done(errno),
    };
    let total = parts.total;
    read_into(entry, fd, &e, &mut parts, total, flags & RWF_NOWAIT != 0)
}

/// As messages, without waiting if that is asked for.
fn message_flags(flags: i32) -> i32 {
    match flags & RWF_NOWAIT {
        0 => 0,
        _ => libc::MSG_DONTWAIT,
    }
}

fn read_pieces(
    entry: &Entry,
    found: socket::Found,
    fd: i32,
    (iov, count): (usize, usize),
    flags: i32,
) -> Verdict {
    if !flags_known(flags) {
        return Verdict::Pass;
    }
    match Vectored::import(iov, count) {
        Ok(parts) if parts.total == 0 => Verdict::Done(0),
        Ok(parts) => {
            let mut note = socket::Note::default();
            socket::recv_pieces(entry, found, fd, parts, message_flags(flags), &mut note)
        }
        Err(errno) => Verdict::Done(errno),
    }
}

fn write_pieces(
    entry: &Entry,
    found: socket::Found,
    fd: i32,
    (iov, count): (usize, usize),
    flags: i32,
) -> Verdict {
    if !flags_known(flags) {
        return Verdict::Pass;
    }
    match Vectored::import(iov, count) {
        // No message, not an empty one. (fs/read_write.c do_iter_readv_writev)
        Ok(parts) if parts.total == 0 => Verdict::Done(0),
        Ok(parts) => socket::send_pieces(entry, found, fd, parts, message_flags(flags)),
        Err(errno) => Verdict::Done(errno),
    }
}

/// A vector on something that takes its 8 bytes in one go: the kernel knows how.
#[cold]
fn in_pieces(entry: &Entry, fd: i32, f: &FileRef) -> Verdict {
    if let FileRef::Mq(e) = f {
        return mq::write(e);
    }
    if let Some(k) = entry.ctx(fd) {
        demotion::demote(&k, fd, f, ringer_kernel::log::Cause::Vectored);
    }
    Verdict::Pass
}

fn flags_known(flags: i32) -> bool {
    flags & !(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT) == 0
}

/// write(2).
pub fn write(entry: &Entry, fd: i32, buf: usize, len: usize) -> Verdict {
    let Some(found) = lookup(entry, fd) else {
        return Verdict::Pass;
    };
    write_to(entry, &found, fd, buf, len)
}

/// write(2) on what `fd` was found to be.
#[inline(always)]
pub fn write_to(entry: &Entry, found: &Found, fd: i32, buf: usize, len: usize) -> Verdict {
    let e = match &found.1 {
        FileRef::Pipe(e) => e,
        FileRef::Eventfd(e) => return eventfd::write(entry, (found.0, *e), fd, buf, len),
        FileRef::Signalfd(_) => return Verdict::Pass, // the kernel says EINVAL
        FileRef::Mq(e) => return mq::write(e),
        FileRef::Socket(s) => return socket::send(entry, (found.0, *s), fd, buf, len, 0),
    };
    if e.end == End::Write && !access_ok(buf, len) {
        return Verdict::errno(libc::EFAULT);
    }
    let mut src = Flat::new(buf);
    let len = len.min(MAX_RW_COUNT);
    match write_from(entry, fd, e, &mut src, len, false) {
        Wrote::Verdict(v) => v,
        Wrote::Rest(done) => finish_in_kernel(entry, fd, done, |fd| {
            sys!(libc::SYS_write, fd, buf + done, len - done)
        }),
    }
}

/// writev(2), and pwritev2(2) with offset -1.
pub fn writev(entry: &Entry, fd: i32, iov: usize, count: usize, flags: i32) -> Verdict {
    let e = match lookup(entry, fd) {
        Some((_, FileRef::Pipe(e))) => e,
        Some((p, FileRef::Socket(s))) => {
            return write_pieces(entry, (p, s), fd, (iov, count), flags)
        }
        Some((_, other)) => return in_pieces(entry, fd, &other),
        None => return Verdict::Pass,
    };
    if !e.pipe.is_ring() || !flags_known(flags) {
        return Verdict::Pass;
    }
    if e.end != End::Write {
        return Verdict::errno(libc::EBADF);
    }
    let mut parts = match Vectored::import(iov, count) {
        Ok(parts) => parts,
        Err(errno) => return Verdict::Done(errno),
    };
    let total = parts.total;
    match write_from(entry, fd, &e, &mut parts, total, flags & RWF_NOWAIT != 0) {
        Wrote::Verdict(v) => v,
        Wrote::Rest(done) => finish_in_kernel(entry, fd, done, |fd| parts.write_rest(fd)),
    }
}

enum Wrote {
    Verdict(Verdict),
    /// So much is in the ring's successor already; the kernel takes the rest.
    Rest(usize),
}

#[inline(always)]
fn write_from<U: UserRead>(
    entry: &Entry,
    fd: i32,
    e: &PipeEnd,
    src: &mut U,
    len: usize,
    nowait: bool,
) -> Wrote {
    let (Some(p), Some(k)) = (entry.process(), entry.ctx(fd)) else {
        return Wrote::Verdict(Verdict::Pass);
    };
    if !e.pipe.is_ring() {
        return Wrote::Verdict(by_kernel(&k, fd, &FileRef::Pipe(*e)));
    }
    count_hook(entry);
    let written = pipe_write(
        &k,
        e,
        &twin(p, e, fd),
        blocking(e, nowait),
        kind(e),
        src,
        len,
    );
    if written.end != Err(SysError::Demoted) {
        settle(entry, &k);
    }
    if written.end.is_ok() {
        return Wrote::Verdict(Verdict::Done(written.bytes as isize));
    }
    rest_of_write(&k, fd, e, written)
}

#[cold]
fn rest_of_write(
    k: &Ctx<'_, Shim>,
    fd: i32,
    e: &PipeEnd,
    written: ringer_kernel::sys::Written,
) -> Wrote {
    if written.raises_sigpipe() {
        super::kill::sigpipe();
    }
    if written.end == Err(SysError::Demoted) {
        let verdict = by_kernel(k, fd, &FileRef::Pipe(*e));
        return match written.bytes {
            0 => Wrote::Verdict(verdict),
            n => Wrote::Rest(n),
        };
    }
    if let (Err(SysError::Errno(errno)), true) = (written.end, e.pipe.data_at.load(Relaxed) == 0) {
        // No memory for the buffer: the kernel has some.
        if errno == ringer_kernel::abi::Errno::ENOMEM {
            demotion::demote_pipe(k, fd, e, ringer_kernel::log::Cause::NoMemory);
            return Wrote::Verdict(Verdict::Pass);
        }
    }
    Wrote::Verdict(verdict(written.result()))
}

/// The rest of a write whose pipe was demoted half way. It may block, and a signal then gives
/// the count so far.
pub fn finish_in_kernel(
    entry: &Entry,
    fd: i32,
    done: usize,
    rest: impl FnOnce(i32) -> isize,
) -> Verdict {
    let more = rest(linger::stand_in().unwrap_or(fd));
    if let Some(k) = entry.ctx(fd) {
        settle(entry, &k);
    }
    Verdict::Done(done as isize + more.max(0))
}

/// A call that the kernel served, on an object that ringer knows: for the log.
pub fn log_kernel_io(fd: i32, moved: Moved) {
    let entry = Entry::enter();
    if let (Some((_, f)), Some(k)) = (lookup(&entry, fd), entry.ctx(fd)) {
        observe::io::tell(&k.log, fd, &f, moved);
    }
    let _ = entry.leave();
}
