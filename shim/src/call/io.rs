//! read, write and their vector forms on an emulated pipe.

use core::sync::atomic::Ordering::*;

use ringer_kernel::abi::limits::MAX_RW_COUNT;
use ringer_kernel::abi::SysError;
use ringer_kernel::file::{End, PipeEnd};
use ringer_kernel::host::{UserRead, UserWrite};
use ringer_kernel::log::Kind;
use ringer_kernel::pipe::{slot, Ctx};
use ringer_kernel::sys::{pipe_read, pipe_write, Blocking};
use ringer_kernel::task::Process;

use crate::demotion;
use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::host::Shim;
use crate::linger;
use crate::signal;
use crate::user::{access_ok, Flat, Vectored};

use super::{by_kernel, count_hook, lookup, twin, verdict};

/// A descriptor, looked up.
pub type Found = (&'static Process, PipeEnd);

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
    let e = &found.1;
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
        return by_kernel(&k, fd, e);
    }
    count_hook(entry);
    let result = pipe_read(&k, e, &twin(p, e, fd), blocking(e, nowait), dst, len);
    if result == Err(SysError::Demoted) {
        return by_kernel(&k, fd, e); // and what was kept for the call is still of use
    }
    settle(entry, &k);
    verdict(result)
}

/// The descriptor may have been closed while the call waited.
#[inline(always)]
fn settle(entry: &Entry, k: &Ctx<'_, Shim>) {
    if let Some(task) = entry.task().filter(|t| t.linger.load(Relaxed) != 0) {
        linger::done(k, task);
    }
}

/// readv(2), and preadv2(2) with offset -1.
pub fn readv(entry: &Entry, fd: i32, iov: usize, count: usize, flags: i32) -> Verdict {
    let Some((_, e)) = lookup(entry, fd) else {
        return Verdict::Pass;
    };
    if e.end != End::Read {
        return Verdict::errno(libc::EBADF);
    }
    if !e.pipe.is_ring() || !flags_known(flags) {
        return Verdict::Pass;
    }
    let mut parts = match Vectored::import(iov, count) {
        Ok(parts) => parts,
        Err(errno) => return Verdict::Done(errno),
    };
    let total = parts.total;
    read_into(entry, fd, &e, &mut parts, total, flags & RWF_NOWAIT != 0)
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
    let e = &found.1;
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
    let Some((_, e)) = lookup(entry, fd) else {
        return Verdict::Pass;
    };
    if e.end != End::Write {
        return Verdict::errno(libc::EBADF);
    }
    if !e.pipe.is_ring() || !flags_known(flags) {
        return Verdict::Pass;
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
        return Wrote::Verdict(by_kernel(&k, fd, e));
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
        signal::send_sigpipe();
    }
    if written.end == Err(SysError::Demoted) {
        let verdict = by_kernel(k, fd, e);
        return match written.bytes {
            0 => Wrote::Verdict(verdict),
            n => Wrote::Rest(n),
        };
    }
    if let (Err(SysError::Errno(errno)), true) = (written.end, e.pipe.data_at.load(Relaxed) == 0) {
        // No memory for the buffer: the kernel has some.
        if errno == ringer_kernel::abi::Errno::ENOMEM {
            demotion::demote(k, fd, e, ringer_kernel::log::Cause::NoMemory);
            return Wrote::Verdict(Verdict::Pass);
        }
    }
    Wrote::Verdict(verdict(written.result()))
}

/// The rest of a write whose pipe was demoted half way. It may block, and a signal then gives
/// the count so far.
fn finish_in_kernel(
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
pub fn log_kernel_io(fd: i32, kind: Kind, ret: isize) {
    let entry = Entry::enter();
    if let (Some((_, e)), Some(k)) = (lookup(&entry, fd), entry.ctx(fd)) {
        k.log.pipe(e.pipe, kind, 0, (ret as i64, 0, 0));
    }
    let _ = entry.leave();
}
