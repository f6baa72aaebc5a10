//! One of a pair of Unix sockets: making a pair, sending, receiving.

use core::sync::atomic::Ordering::*;

use ringer_kernel::abi::limits::MAX_RW_COUNT;
use ringer_kernel::abi::SysError;
use ringer_kernel::arena::header::flag;
use ringer_kernel::file::{self, fd_table, role, FileRef, SocketFile};
use ringer_kernel::host::{Host, UserRead, UserWrite};
use ringer_kernel::log::{Cause, Kind};
use ringer_kernel::pipe::{mode, Ctx};
use ringer_kernel::sys::{
    pending_recv, pending_send, socket_recv, socket_send, Blocking, How, Received,
};
use ringer_kernel::task::reap::forget_descriptor;
use ringer_kernel::task::Process;
use ringer_kernel::unix::{self, New, Side, Type};

use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::host::Shim;
use crate::twin::SocketTwin;
use crate::user::{access_ok, Flat, Vectored};
use crate::{adopt, arm, attach, demotion, peer, user};

use super::{accept, by_kernel, count_hook, io, lookup, verdict};

const SOCK_TYPE_MASK: i32 = 0xf;

/// socketpair(2). The real pair is made first: the kernel judges families, flags, limits and numbers.
pub fn socketpair(entry: &Entry, domain: i32, kind: i32, protocol: i32, to: usize) -> Verdict {
    if domain != libc::AF_UNIX || Type::from_raw((kind & SOCK_TYPE_MASK) as u32).is_none() {
        return Verdict::Pass;
    }
    let mut fds = [-1i32; 2];
    let ret = sys!(
        libc::SYS_socketpair,
        domain,
        kind,
        protocol,
        fds.as_mut_ptr()
    );
    if ret < 0 {
        return Verdict::Done(ret);
    }
    emulate(entry, fds, kind);
    if !user::put(to, &fds) {
        for fd in fds {
            let _ = super::descriptor::close(entry, fd);
            sys!(libc::SYS_close, fd); // if it was the kernel's alone
        }
        return Verdict::errno(libc::EFAULT);
    }
    Verdict::Done(0)
}

/// Puts two queues on a new pair. Where that fails, the kernel's serve.
fn emulate(entry: &Entry, fds: [i32; 2], kind: i32) -> Option<()> {
    if demotion::is_apart() || !peer::can_be_reached() || !attach::ensure_process() {
        return None;
    }
    if !arm::arm(entry) {
        return None;
    }
    let k = entry.ctx(-1)?;
    let p = entry.process()?;
    let [a, b] = fds.map(adopt::identity);
    let (a, b) = (a?, b?);
    let serves = attach::emulates(flag::EMULATE_UNIX);
    let new = New {
        kind: (kind & SOCK_TYPE_MASK) as u32,
        twins: [(a.0, a.1), (b.0, b.1)],
        mode: if serves { mode::RING } else { mode::KERNEL },
        connector: 0,
    };
    let slot = unix::create(&k, new).ok()?;
    let pair = unix::get(k.arena, slot)?;
    if !serves {
        pair.demote_cause.store(Cause::Observed.raw(), Relaxed);
    }
    for (fd, side) in fds.into_iter().zip(Side::BOTH) {
        note_sndbuf(pair, side, fd);
    }
    let keep = (kind & libc::SOCK_NONBLOCK) as u32;
    let files = Side::BOTH.map(|side| {
        let names = (role::SOCKET, SocketFile::object(slot, side));
        file::new_file_of(k.arena, k.me, k.host, names, keep).ok()
    });
    if !install(&k, p, fds, files) {
        for f in files.into_iter().flatten() {
            file::close_ref(k.arena, k.me, k.host, f);
        }
        unix::release_if(&k, slot, pair.generation.load(Acquire));
        return None;
    }
    let [first, second] = fds;
    let made = (i64::from(first), second as u64, kind as u64);
    k.log.about(pair, Kind::SocketPair, 0, made);
    Some(())
}

fn install(k: &Ctx<'_, Shim>, p: &Process, fds: [i32; 2], files: [Option<u32>; 2]) -> bool {
    for (i, (fd, file)) in fds.into_iter().zip(files).enumerate() {
        let installed = file.map(|f| fd_table::install(k.arena, k.me, k.host, p, fd, f));
        match installed {
            Some(Ok(0)) => {}
            // Closed behind our back, and its number used again.
            Some(Ok(stale)) => forget_descriptor(k, stale, |_| false),
            Some(Err(_)) | None => {
                for fd in fds.into_iter().take(i) {
                    fd_table::take(k.arena, p, fd);
                }
                return false;
            }
        }
    }
    true
}

/// SO_SNDBUF as the kernel has it: it doubles, and has limits.
pub fn note_sndbuf(pair: &unix::Pair, side: Side, fd: i32) -> u32 {
    let mut value = 0u32;
    let mut len = 4u32;
    let ret = sys!(
        libc::SYS_getsockopt,
        fd,
        libc::SOL_SOCKET,
        libc::SO_SNDBUF,
        &raw mut value,
        &raw mut len
    );
    if ret == 0 {
        pair.socket(side).sndbuf.store(value, Release);
    }
    value
}

/// A descriptor of a socket, looked up.
pub type Found = (&'static Process, SocketFile);

/// `fd`, if it is a socket of ringer's.
#[inline(always)]
pub fn of(entry: &Entry, fd: i32) -> Option<Found> {
    match lookup(entry, fd) {
        Some((p, FileRef::Socket(s))) => Some((p, s)),
        _ => None,
    }
}

pub fn twin<'a>(k: &'a Ctx<'a, Shim>, (p, s): &Found, fd: i32) -> SocketTwin<'a> {
    SocketTwin {
        k,
        fd,
        process: p,
        socket: *s,
    }
}

fn how(s: &SocketFile, flags: i32) -> How {
    let now = flags & libc::MSG_DONTWAIT != 0 || s.file.has(libc::O_NONBLOCK as u32);
    How {
        blocking: if now { Blocking::No } else { Blocking::Yes },
        peek: flags & libc::MSG_PEEK != 0,
        all: flags & libc::MSG_WAITALL != 0,
        waited_ns: 0,
    }
}

/// The kernel serves this call and all later ones.
pub fn to_kernel(entry: &Entry, fd: i32, s: &SocketFile, cause: Cause) -> Verdict {
    if let Some(k) = entry.ctx(fd) {
        demotion::demote(&k, fd, &FileRef::Socket(*s), cause);
    }
    Verdict::Pass
}

/// send(2), and write(2) with no flags.
#[inline(always)]
pub fn send(entry: &Entry, found: Found, fd: i32, buf: usize, len: usize, flags: i32) -> Verdict {
    if !access_ok(buf, len) {
        return Verdict::errno(libc::EFAULT);
    }
    let len = len.min(MAX_RW_COUNT);
    let mut src = Flat::new(buf);
    match send_from(entry, &found, fd, &mut src, len, flags) {
        Ok(verdict) => verdict,
        Err(done) => io::finish_in_kernel(entry, fd, done, |fd| {
            sys!(libc::SYS_sendto, fd, buf + done, len - done, flags, 0, 0)
        }),
    }
}

/// As [`send`], of several pieces.
pub fn send_pieces(
    entry: &Entry,
    found: Found,
    fd: i32,
    mut parts: Vectored,
    flags: i32,
) -> Verdict {
    let total = parts.total;
    match send_from(entry, &found, fd, &mut parts, total, flags) {
        Ok(verdict) => verdict,
        Err(done) => io::finish_in_kernel(entry, fd, done, |fd| parts.write_rest(fd)),
    }
}

/// `Err`: so much was sent before the pair went to the kernel, which takes the rest.
#[inline(always)]
fn send_from<U: UserRead>(
    entry: &Entry,
    found: &Found,
    fd: i32,
    src: &mut U,
    len: usize,
    flags: i32,
) -> Result<Verdict, usize> {
    let s = &found.1;
    let Some(k) = entry.ctx(fd) else {
        return Ok(Verdict::Pass);
    };
    let mut before = 0;
    let mut how = how(s, flags);
    if !s.pair.is_served() {
        match send_before_accept(entry, &k, found, fd, src, (len, flags), &mut how)? {
            Early::Done(verdict) => return Ok(verdict),
            Early::Moved(bytes) => before = bytes,
        }
    }
    if flags & libc::MSG_OOB != 0 {
        return Ok(out_of_band(entry, fd, s));
    }
    count_hook(entry);
    let left = len - before;
    let sent = socket_send(&k, s, &twin(&k, found, fd), how, src, left);
    let bytes = before + sent.bytes;
    if sent.end.is_ok() {
        io::settle(entry, &k);
        return Ok(Verdict::Done(bytes as isize));
    }
    let sigpipe = sent.sigpipe && before == 0 && flags & libc::MSG_NOSIGNAL == 0;
    send_ended(entry, &k, fd, s, (bytes, sent.end), sigpipe)
}

/// What a call came to on a connection that is not served.
enum Early {
    Done(Verdict),
    /// It is served now, and so many bytes were sent before.
    Moved(usize),
}

/// Sending where nobody is known to have accepted the connection; what has gone to the kernel passes.
#[cold]
fn send_before_accept<U: UserRead>(
    entry: &Entry,
    k: &Ctx<'_, Shim>,
    found: &Found,
    fd: i32,
    src: &mut U,
    (len, flags): (usize, i32),
    how: &mut How,
) -> Result<Early, usize> {
    let s = &found.1;
    let is_empty = len == 0 && s.pair.type_of() == Type::Stream;
    if !s.pair.is_pending() || is_empty {
        return Ok(Early::Done(by_kernel(k, fd, &FileRef::Socket(*s))));
    }
    if flags & libc::MSG_OOB != 0 {
        return Ok(Early::Done(out_of_band(entry, fd, s)));
    }
    count_hook(entry);
    if s.side() == Side::B {
        accept::take_over(k, s, fd);
        return Ok(match s.pair.is_served() {
            true => Early::Moved(0),
            false => Early::Done(by_kernel(k, fd, &FileRef::Socket(*s))),
        });
    }
    let since = k.host.now_ns();
    let sent = pending_send(k, s, &twin(k, found, fd), *how, src, len);
    how.waited_ns = k.host.now_ns().saturating_sub(since);
    let end = (sent.bytes, sent.end);
    match sent.end {
        Ok(()) => {
            io::settle(entry, k);
            Ok(Early::Done(Verdict::Done(sent.bytes as isize)))
        }
        Err(SysError::Demoted) if s.pair.is_served() => Ok(Early::Moved(sent.bytes)),
        Err(_) => {
            let sigpipe = sent.sigpipe && flags & libc::MSG_NOSIGNAL == 0;
            send_ended(entry, k, fd, s, end, sigpipe).map(Early::Done)
        }
    }
}

#[cold]
fn send_ended(
    entry: &Entry,
    k: &Ctx<'_, Shim>,
    fd: i32,
    s: &SocketFile,
    (bytes, end): (usize, Result<(), SysError>),
    sigpipe: bool,
) -> Result<Verdict, usize> {
    use ringer_kernel::abi::Errno;
    match end {
        Err(SysError::Demoted) if bytes > 0 => {
            let _ = by_kernel(k, fd, &FileRef::Socket(*s));
            return Err(bytes);
        }
        Err(SysError::Demoted) => return Ok(by_kernel(k, fd, &FileRef::Socket(*s))),
        // No memory for the ring: the kernel has some.
        Err(SysError::Errno(Errno::ENOMEM)) => {
            demotion::demote(k, fd, &FileRef::Socket(*s), Cause::NoMemory);
            return match bytes {
                0 => Ok(Verdict::Pass),
                n => Err(n),
            };
        }
        _ => io::settle(entry, k),
    }
    if bytes > 0 {
        return Ok(Verdict::Done(bytes as isize));
    }
    if sigpipe {
        super::kill::sigpipe();
    }
    Ok(verdict(end.map(|()| 0)))
}

/// MSG_OOB: a stream's goes to the kernel; the others' is an error that the twin knows.
#[cold]
fn out_of_band(entry: &Entry, fd: i32, s: &SocketFile) -> Verdict {
    match s.pair.type_of() {
        Type::Stream => to_kernel(entry, fd, s, Cause::OutOfBand),
        _ => Verdict::Pass,
    }
}

/// Receiving where nobody is known to have accepted the connection; what has gone to the kernel passes.
/// `None`: it is served now.
#[cold]
fn recv_before_accept(
    entry: &Entry,
    k: &Ctx<'_, Shim>,
    found: &Found,
    fd: i32,
    flags: i32,
    how: &mut How,
) -> Option<Verdict> {
    let s = &found.1;
    if s.pair.is_pending() && flags & libc::MSG_OOB != 0 {
        return Some(out_of_band(entry, fd, s));
    }
    if s.pair.is_pending() && s.side() == Side::B {
        count_hook(entry);
        accept::take_over(k, s, fd);
    } else if s.pair.is_pending() {
        count_hook(entry);
        let since = k.host.now_ns();
        let end = pending_recv(k, s, &twin(k, found, fd), *how);
        how.waited_ns = k.host.now_ns().saturating_sub(since);
        match end {
            Ok(()) | Err(SysError::Demoted) => {}
            Err(e) => {
                io::settle(entry, k);
                return Some(verdict(Err(e)));
            }
        }
    }
    match s.pair.is_served() {
        true => None,
        false => Some(by_kernel(k, fd, &FileRef::Socket(*s))),
    }
}

/// What a receiving call gives besides its bytes.
#[derive(Clone, Copy, Default)]
pub struct Note {
    /// MSG_TRUNC, of what it was.
    pub truncated: bool,
    /// Something was received, if only a message of no length: it has a sender.
    pub any: bool,
}

/// recv(2), and read(2) with no flags.
#[inline(always)]
pub fn recv(
    entry: &Entry,
    found: Found,
    fd: i32,
    (buf, len): (usize, usize),
    flags: i32,
    note: &mut Note,
) -> Verdict {
    if !access_ok(buf, len) {
        return Verdict::errno(libc::EFAULT);
    }
    let len = len.min(MAX_RW_COUNT);
    match recv_into(entry, &found, fd, &mut Flat::new(buf), (len, flags), note) {
        Ok(verdict) => verdict,
        Err(done) => io::finish_in_kernel(entry, fd, done, |fd| {
            sys!(libc::SYS_recvfrom, fd, buf + done, len - done, flags, 0, 0)
        }),
    }
}

/// As [`recv`], into several pieces.
pub fn recv_pieces(
    entry: &Entry,
    found: Found,
    fd: i32,
    mut parts: Vectored,
    flags: i32,
    note: &mut Note,
) -> Verdict {
    let len = parts.total;
    match recv_into(entry, &found, fd, &mut parts, (len, flags), note) {
        Ok(verdict) => verdict,
        Err(done) => io::finish_in_kernel(entry, fd, done, |fd| parts.read_rest(fd)),
    }
}

/// `Err`: so much was received before the pair went to the kernel, which has the rest.
#[inline(always)]
fn recv_into<U: UserWrite>(
    entry: &Entry,
    found: &Found,
    fd: i32,
    dst: &mut U,
    (len, flags): (usize, i32),
    note: &mut Note,
) -> Result<Verdict, usize> {
    let s = &found.1;
    let Some(k) = entry.ctx(fd) else {
        return Ok(Verdict::Pass);
    };
    let mut how = how(s, flags);
    if !s.pair.is_served() {
        if let Some(verdict) = recv_before_accept(entry, &k, found, fd, flags, &mut how) {
            return Ok(verdict);
        }
    }
    if flags & libc::MSG_OOB != 0 {
        return Ok(out_of_band(entry, fd, s));
    }
    count_hook(entry);
    let result = socket_recv(&k, s, &twin(&k, found, fd), how, dst, len);
    let got: Received = match result {
        Ok(got) => got,
        Err(SysError::Demoted) => return Ok(by_kernel(&k, fd, &FileRef::Socket(*s))),
        Err(e) => {
            io::settle(entry, &k);
            return Ok(verdict(Err(e)));
        }
    };
    note.any = got.any;
    if s.pair.has_late() {
        accept::end_early(&k, s, fd);
    }
    if got.rest {
        let _ = by_kernel(&k, fd, &FileRef::Socket(*s));
        return Err(got.bytes);
    }
    io::settle(entry, &k);
    note.truncated = got.packet > got.bytes;
    let n = match flags & libc::MSG_TRUNC != 0 && got.packet > got.bytes {
        true => got.packet,
        false => got.bytes,
    };
    Ok(Verdict::Done(n as isize))
}
