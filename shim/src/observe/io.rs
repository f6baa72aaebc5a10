//! What the kernel moved through an object that ringer knows: observed, or demoted.

use core::sync::atomic::{AtomicU32, Ordering::*};

use ringer_kernel::file::{End, FileRef, PipeEnd, SocketFile};
use ringer_kernel::log::{layer, Cause, Kind, Log, Record};
use ringer_kernel::unix::{Side, Type};

use crate::call::find;
use crate::gate::sys;
use crate::{procfs, siglog, user};

/// A call that read or wrote.
#[derive(Clone, Copy)]
pub struct Moved {
    /// `Kind::KernelRead` or `Kind::KernelWrite`.
    pub kind: Kind,
    /// The kernel's convention.
    pub ret: isize,
    /// Where the bytes are; 0: in several places.
    pub buf: usize,
    /// How many were asked for; of several places, 1.
    pub len: usize,
    /// How long it took.
    pub ticks: u64,
}

impl Moved {
    pub fn of(kind: Kind, (buf, len): (usize, usize), ret: isize, ticks: u64) -> Moved {
        Moved {
            kind,
            ret,
            buf,
            len,
            ticks,
        }
    }

    fn reads(&self) -> bool {
        self.kind == Kind::KernelRead
    }
}

/// The record. Nothing was done if nothing was asked for.
pub fn tell(log: &Log<'_>, fd: i32, f: &FileRef, m: Moved) {
    if m.len == 0 && m.ret == 0 || m.ret == 0 && !m.reads() && matches!(f, FileRef::Pipe(_)) {
        return;
    }
    let log = log.by_kernel();
    match f {
        FileRef::Pipe(e) if is_observed(&e.pipe.demote_cause) => pipe(&log, fd, e, m),
        FileRef::Eventfd(e) if m.ret != 8 || m.buf != 0 => {
            let kind = match (m.ret, m.reads()) {
                (8, true) => Kind::EventfdRead,
                (8, false) => Kind::EventfdWrite,
                (_, true) => Kind::ReadFailed,
                (_, false) => Kind::WriteFailed,
            };
            log.about(e.eventfd, kind, 0, counter(fd, m));
        }
        FileRef::Socket(s) if is_observed(&s.pair.demote_cause) => socket(&log, s, m),
        FileRef::Signalfd(_) if m.ret > 0 && m.buf != 0 => signals(m),
        _ => {
            f.log(&log, m.kind, (m.ret as i64, m.ticks, 0));
        }
    }
}

/// From the start: what is counted is all that was moved.
fn is_observed(demote_cause: &AtomicU32) -> bool {
    demote_cause.load(Relaxed) == Cause::Observed.raw()
}

fn is_stream(s: &SocketFile) -> bool {
    Type::from_raw(s.pair.kind.load(Relaxed)) == Some(Type::Stream)
}

/// FIONREAD: what is in it.
fn queued(fd: i32) -> u64 {
    let mut n = 0i32;
    sys!(libc::SYS_ioctl, fd, libc::FIONREAD, &raw mut n);
    u64::try_from(n).unwrap_or(0)
}

fn pipe(log: &Log<'_>, fd: i32, e: &PipeEnd, m: Moved) {
    let reads = e.end == End::Read;
    let moved = if reads { &e.pipe.read } else { &e.pipe.written };
    let (kind, abc) = match (m.ret, reads) {
        (n @ 1.., _) => {
            let pos = moved.fetch_add(n as u64, Relaxed);
            let kind = if reads { Kind::Read } else { Kind::Write };
            // What is neither read nor queued was the rest of a packet. (Looked at in this order, it is
            // not too much.)
            let written = e.pipe.written.load(Relaxed);
            let queued = queued(fd);
            e.pipe
                .read
                .fetch_max(written.saturating_sub(queued), Relaxed);
            (kind, (n as i64, pos, queued))
        }
        (0, _) => (Kind::Eof, (0, moved.load(Relaxed), 0)),
        (n, true) => (Kind::ReadFailed, (-(n as i64), 0, 0)),
        (n, false) => (Kind::WriteFailed, (-(n as i64), 0, 0)),
    };
    let took = (m.ticks >> layer::TICKS_SHIFT).min(u64::from(u32::MAX));
    let (a, b, queued) = abc;
    log.pipe(e.pipe, kind, 0, (a, b, took << 32 | queued));
}

/// What was added or taken, and the counter before and after; or why not.
fn counter(fd: i32, m: Moved) -> (i64, u64, u64) {
    if m.ret != 8 {
        return (-(m.ret as i64), 0, 0);
    }
    let moved = user::fetch::<u64>(m.buf).unwrap_or(0);
    let after = procfs::eventfd_count(fd).unwrap_or(0);
    let before = match m.reads() {
        true => after.wrapping_add(moved),
        false => after.wrapping_sub(moved),
    };
    (moved as i64, before, after)
}

/// One of a pair of sockets. What is queued follows from what was moved, by both, if no rest of a packet is
/// thrown away.
fn socket(log: &Log<'_>, s: &SocketFile, m: Moved) {
    let who = u64::from(s.side().bit());
    let failed = -(m.ret as i64);
    let empty = m.ret == 0 && is_stream(s);
    let (kind, abc) = match (m.ret, m.reads()) {
        (..0, true) => (Kind::RecvFailed, (failed, 0, who)),
        (..0, false) => (Kind::SendFailed, (failed, 0, who)),
        (_, true) if empty => (Kind::RecvFailed, (0, 0, who)),
        (n, true) => {
            let (pos, after) = counted(s, s.side().other(), n as u64, true);
            (Kind::SocketRecv, (n as i64, pos, after << 1 | who))
        }
        (n, false) => {
            let (pos, after) = counted(s, s.side(), n as u64, false);
            (Kind::SocketSend, (n as i64, pos, after << 1 | who))
        }
    };
    log.about(s.pair, kind, 0, abc);
}

/// Position in the stream, and what is queued after. Of packets nobody knows.
fn counted(s: &SocketFile, from: Side, n: u64, reads: bool) -> (u64, u64) {
    if !is_stream(s) {
        return (Record::UNKNOWN, 0);
    }
    let queue = s.pair.from(from);
    if reads {
        let pos = queue.read.fetch_add(n, Relaxed);
        (pos, queue.written.load(Relaxed).saturating_sub(pos + n))
    } else {
        let pos = queue.written.fetch_add(n, Relaxed);
        (pos, (pos + n).saturating_sub(queue.read.load(Relaxed)))
    }
}

/// shutdown(2) of one of a pair that is only observed.
pub fn shut_down(fd: i32, what: i32) {
    super::with_log(fd, |k| {
        if let Some((_, FileRef::Socket(s))) = find(fd) {
            let abc = (i64::from(what), u64::from(s.side().bit()), 0);
            k.log.about(s.pair, Kind::Shutdown, 0, abc);
        }
    });
}

/// A signalfd's: each record is a signal that was taken. (struct signalfd_siginfo, signalfd(2))
fn signals(m: Moved) {
    const RECORD: usize = 128;
    for i in 0..m.ret as usize / RECORD {
        let Some([signo, _, code, pid]) = user::fetch::<[u32; 4]>(m.buf + i * RECORD) else {
            return;
        };
        let mut info = [0u64; 16];
        let [to_signo, to_code, to_pid, ..] = &mut info;
        *to_signo = u64::from(signo);
        *to_code = u64::from(code);
        *to_pid = u64::from(pid);
        siglog::accepted_from_kernel(signo as i32, &info);
    }
}
