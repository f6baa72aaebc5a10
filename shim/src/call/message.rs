//! sendto, sendmsg, recvfrom, recvmsg and their kin; socket options and shutdown.

use core::sync::atomic::Ordering::*;

use ringer_kernel::abi::limits::IOV_MAX;
use ringer_kernel::file::{FileRef, SocketFile};
use ringer_kernel::log::{Cause, Kind};
use ringer_kernel::sys::socket_error;
use ringer_kernel::unix::{cost, flight, shut, Type};

use crate::demotion;
use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::user::{self, Vectored};

use super::socket::{self, note_sndbuf, of, to_kernel, Found, Note};
use super::{by_kernel, count_hook, rights};

const MSG_CMSG_CLOEXEC: i32 = libc::MSG_CMSG_CLOEXEC;
/// struct sockaddr_storage.
const LONGEST_ADDRESS: i32 = 128;
/// struct mmsghdr.
pub const MMSGHDR: usize = 64;
const MMSG_LEN: usize = 56;
/// struct msghdr: msg_namelen.
const NAME_LEN: usize = 8;

/// struct msghdr.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Msghdr {
    name: usize,
    name_len: i32,
    _pad: i32,
    iov: usize,
    iov_len: usize,
    pub(super) control: usize,
    pub(super) control_len: usize,
    flags: i32,
    _pad2: i32,
}

/// A message to an address. A stream's is an error that the twin knows; a packet's address is passed
/// over; a datagram goes elsewhere. `None`: to the peer.
fn addressed(entry: &Entry, fd: i32, s: &SocketFile, name: usize, len: i32) -> Option<Verdict> {
    if name == 0 || len == 0 {
        return None;
    }
    match s.pair.type_of() {
        Type::Stream => Some(Verdict::Pass),
        Type::Datagram => Some(to_kernel(entry, fd, s, Cause::Addressed)),
        Type::SeqPacket if !(0..=LONGEST_ADDRESS).contains(&len) => {
            Some(Verdict::errno(libc::EINVAL))
        }
        Type::SeqPacket => {
            let readable = (0..len as usize).all(|i| user::fetch::<u8>(name + i).is_some());
            (!readable).then_some(Verdict::errno(libc::EFAULT))
        }
    }
}

/// send(2), sendto(2).
pub fn sendto(
    entry: &Entry,
    fd: i32,
    message: (usize, usize),
    flags: i32,
    to: (usize, i32),
) -> Verdict {
    let Some(found) = of(entry, fd) else {
        return Verdict::Pass;
    };
    if let Some(verdict) = addressed(entry, fd, &found.1, to.0, to.1) {
        return verdict;
    }
    socket::send(entry, found, fd, message.0, message.1, flags)
}

/// recv(2), recvfrom(2).
pub fn recvfrom(
    entry: &Entry,
    fd: i32,
    room: (usize, usize),
    flags: i32,
    from: (usize, usize),
) -> Verdict {
    let Some(found) = of(entry, fd) else {
        return Verdict::Pass;
    };
    let mut note = Note::default();
    let verdict = socket::recv(entry, found, fd, room, flags, &mut note);
    match verdict {
        Verdict::Done(n) if n >= 0 && from.0 != 0 => {
            let sender = Sender::of(&found.1, fd, note.any);
            sender.put(from.0, from.1).unwrap_or(verdict)
        }
        _ => verdict,
    }
}

/// The address of who has sent a message: of a pair nobody's, of a connection the peer's, if it is bound.
struct Sender {
    bytes: [u8; LONGEST_ADDRESS as usize],
    len: usize,
}

impl Sender {
    /// Of what was received, if `any`thing: at the end there is no sender.
    fn of(s: &SocketFile, fd: i32, any: bool) -> Sender {
        let mut sender = Sender {
            bytes: [0; LONGEST_ADDRESS as usize],
            len: 0,
        };
        if s.pair.is_connection() && any {
            let mut len = LONGEST_ADDRESS;
            let (at, len_at) = (sender.bytes.as_mut_ptr(), &raw mut len);
            let ret = sys!(libc::SYS_getpeername, fd, at, len_at);
            if ret == 0 && len > FAMILY {
                sender.len = len as usize;
            }
        }
        sender
    }

    /// As much as there is room for; its length in any case. (net/socket.c `move_addr_to_user`)
    fn put(&self, to: usize, len_at: usize) -> Option<Verdict> {
        let room = match user::fetch::<i32>(len_at) {
            None => return Some(Verdict::errno(libc::EFAULT)),
            Some(len) if len < 0 => return Some(Verdict::errno(libc::EINVAL)),
            Some(len) => len as usize,
        };
        let whole = (self.bytes.iter().take(self.len.min(room)).enumerate())
            .all(|(i, byte)| user::put(to + i, byte));
        match whole && user::put(len_at, &(self.len as i32)) {
            true => None,
            false => Some(Verdict::errno(libc::EFAULT)),
        }
    }
}

/// sa_family: an address with nothing behind it is no name.
const FAMILY: i32 = 2;

/// (net/socket.c `copy_msghdr_from_user`)
fn fetch(message: usize) -> Result<(Msghdr, Vectored), Verdict> {
    let Some(m) = user::fetch::<Msghdr>(message) else {
        return Err(Verdict::errno(libc::EFAULT));
    };
    if m.name_len < 0 {
        return Err(Verdict::errno(libc::EINVAL));
    }
    if m.iov_len > IOV_MAX {
        return Err(Verdict::errno(libc::EMSGSIZE));
    }
    match Vectored::import(m.iov, m.iov_len) {
        Ok(parts) => Ok((m, parts)),
        Err(errno) => Err(Verdict::Done(errno)),
    }
}

/// sendmsg(2). With ancillary data it is the kernel's, what it carries need not be.
pub fn sendmsg(entry: &Entry, fd: i32, message: usize, flags: i32) -> Verdict {
    let Some(found) = of(entry, fd) else {
        rights::give_away(entry, message);
        return Verdict::Pass;
    };
    let (m, parts) = match fetch(message) {
        Ok(got) => got,
        Err(verdict) => return verdict,
    };
    let len = m.name_len.min(LONGEST_ADDRESS);
    if m.control_len != 0 {
        let _ = to_kernel(entry, fd, &found.1, Cause::Ancillary);
        if m.name != 0 && len != 0 {
            rights::give_away(entry, message); // to whoever has that address
            found.1.pair.flights.mix(found.1.side().other());
            return Verdict::Pass;
        }
        return rights::send(entry, &found, fd, (message, parts), flags);
    }
    if let Some(verdict) = addressed(entry, fd, &found.1, m.name, len) {
        return verdict;
    }
    socket::send_pieces(entry, found, fd, parts, flags)
}

/// recvmsg(2).
pub fn recvmsg(entry: &Entry, fd: i32, message: usize, flags: i32) -> Verdict {
    let Some(found) = of(entry, fd) else {
        return Verdict::Pass;
    };
    if FileRef::Socket(found.1).is_kernels() {
        count_hook(entry);
        return Verdict::Pass;
    }
    let (m, parts) = match fetch(message) {
        Ok(got) => got,
        Err(verdict) => return verdict,
    };
    let mut note = Note::default();
    let verdict = socket::recv_pieces(entry, found, fd, parts, flags, &mut note);
    let Verdict::Done(0..) = verdict else {
        return verdict;
    };
    let mut out = m;
    if m.name != 0 {
        let sender = Sender::of(&found.1, fd, note.any);
        if let Some(error) = sender.put(m.name, message + NAME_LEN) {
            return error;
        }
        out.name_len = sender.len as i32;
    }
    out.control_len = 0;
    out.flags = flags & MSG_CMSG_CLOEXEC;
    if note.truncated {
        out.flags |= libc::MSG_TRUNC;
    }
    match user::put(message, &out) {
        true => verdict,
        false => Verdict::errno(libc::EFAULT),
    }
}

/// sendmmsg(2).
pub fn sendmmsg(entry: &Entry, fd: i32, list: usize, count: usize, flags: i32) -> Verdict {
    let count = count.min(IOV_MAX);
    let give_away = |from: usize| {
        let all = (0..count).map(|i| list + i * MMSGHDR);
        all.filter(|at| *at >= from)
            .for_each(|at| rights::give_away(entry, at));
    };
    // What the kernel takes over, it sends to the end.
    many(
        list,
        count,
        |at, _| {
            let verdict = sendmsg(entry, fd, at, flags);
            if verdict == Verdict::Pass {
                give_away(at);
                if let Some((_, s)) = of(entry, fd) {
                    s.pair.flights.mix(s.side().other());
                }
            }
            verdict
        },
        |at, rest| sys!(libc::SYS_sendmmsg, fd, at, rest, flags),
    )
}

/// recvmmsg(2). With a timeout it is the kernel's.
pub fn recvmmsg(
    entry: &Entry,
    fd: i32,
    (list, count): (usize, usize),
    flags: i32,
    timeout: usize,
) -> Verdict {
    const MSG_WAITFORONE: i32 = 0x10000;
    let Some(found @ (_, s)) = of(entry, fd) else {
        return Verdict::Pass;
    };
    if timeout != 0 {
        return to_kernel(entry, fd, &s, Cause::Transfer);
    }
    if let Some(verdict) = pending_error(entry, fd, &found) {
        return verdict;
    }
    let each = flags & !MSG_WAITFORONE;
    let later = match flags & MSG_WAITFORONE {
        0 => each,
        _ => each | libc::MSG_DONTWAIT,
    };
    many(
        list,
        count.min(IOV_MAX),
        |at, i| recvmsg(entry, fd, at, if i == 0 { each } else { later }),
        |at, rest| sys!(libc::SYS_recvmmsg, fd, at, rest, later, 0),
    )
}

/// An error that waits to be told comes before anything is received. (net/socket.c `do_recvmmsg`)
fn pending_error(entry: &Entry, fd: i32, found: &Found) -> Option<Verdict> {
    let k = entry.ctx(fd).filter(|_| found.1.pair.is_served())?;
    match socket_error(&k, &found.1, &socket::twin(&k, found, fd)) {
        0 => None,
        errno => Some(Verdict::errno(errno)),
    }
}

/// One message after the other, until one fails. What comes after the pair has gone to the kernel,
/// `rest` does.
fn many(
    list: usize,
    count: usize,
    one: impl Fn(usize, usize) -> Verdict,
    rest: impl Fn(usize, usize) -> isize,
) -> Verdict {
    for i in 0..count {
        let at = list + i * MMSGHDR;
        match one(at, i) {
            Verdict::Done(n) if n >= 0 => {
                if !user::put(at + MMSG_LEN, &(n as u32)) {
                    return match i {
                        0 => Verdict::errno(libc::EFAULT),
                        i => Verdict::Done(i as isize),
                    };
                }
            }
            verdict if i == 0 => return verdict,
            Verdict::Pass => return Verdict::Done(i as isize + rest(at, count - i).max(0)),
            _ => return Verdict::Done(i as isize),
        }
    }
    Verdict::Done(count as isize)
}

/// shutdown(2).
pub fn shutdown(entry: &Entry, fd: i32, what: i32) -> Verdict {
    let (Some((_, s)), Some(k)) = (of(entry, fd), entry.ctx(fd)) else {
        return Verdict::Pass;
    };
    let bits = match what {
        libc::SHUT_RD => shut::RECV,
        libc::SHUT_WR => shut::SEND,
        libc::SHUT_RDWR => shut::RECV | shut::SEND,
        _ => return Verdict::Pass, // the kernel says EINVAL
    };
    if s.pair.is_pending() {
        return to_kernel(entry, fd, &s, Cause::Transfer);
    }
    if !s.pair.is_served() {
        return by_kernel(&k, fd, &FileRef::Socket(s));
    }
    count_hook(entry);
    let abc = (i64::from(what), u64::from(s.side().bit()), 0);
    k.log.about(s.pair, Kind::Shutdown, 0, abc);
    s.pair.shut_down(&k, s.side(), bits);
    match s.pair.is_served() {
        true => Verdict::Done(0),
        false => by_kernel(&k, fd, &FileRef::Socket(s)), // on its way meanwhile
    }
}

/// connect(2): of what is connected for good it is an error, which the kernel knows.
pub fn connect(entry: &Entry, fd: i32) -> Verdict {
    match of(entry, fd) {
        Some((_, s)) if s.pair.type_of().is_connected() => Verdict::Pass,
        _ => address(entry, fd),
    }
}

/// bind(2), connect(2): from here on there may be others than the peer.
pub fn address(entry: &Entry, fd: i32) -> Verdict {
    let Some((_, s)) = of(entry, fd) else {
        return Verdict::Pass;
    };
    if let Some(k) = entry.ctx(fd) {
        // What it sends may go to somebody else.
        flight::lead_elsewhere(&k, s.pair, s.side().other());
    }
    to_kernel(entry, fd, &s, Cause::Addressed)
}

/// Options whose numbers libc does not have, or not in one kind only. (asm-generic/socket.h)
mod so {
    pub const SNDBUFFORCE: i32 = 32;
    pub const RCVTIMEO_NEW: i32 = 66;
    pub const SNDTIMEO_NEW: i32 = 67;
    pub const RCVBUFFORCE: i32 = 33;
}

/// setsockopt(2): the twin keeps all options; some are known here as well, some only the kernel can
/// serve.
pub fn setsockopt(
    entry: &Entry,
    fd: i32,
    (level, name): (i32, i32),
    value: usize,
    len: usize,
) -> Verdict {
    let Some(found @ (_, s)) = of(entry, fd) else {
        return Verdict::Pass;
    };
    if level != libc::SOL_SOCKET || !s.pair.is_ringers() {
        return Verdict::Pass;
    }
    match name {
        libc::SO_SNDBUF
        | so::SNDBUFFORCE
        | libc::SO_RCVTIMEO
        | so::RCVTIMEO_NEW
        | libc::SO_SNDTIMEO
        | so::SNDTIMEO_NEW => {}
        // Of no effect on what goes through a pair.
        libc::SO_DEBUG
        | libc::SO_REUSEADDR
        | libc::SO_DONTROUTE
        | libc::SO_BROADCAST
        | libc::SO_RCVBUF
        | so::RCVBUFFORCE
        | libc::SO_KEEPALIVE
        | libc::SO_OOBINLINE
        | libc::SO_NO_CHECK
        | libc::SO_PRIORITY
        | libc::SO_LINGER
        | libc::SO_REUSEPORT
        | libc::SO_MARK => return Verdict::Pass,
        _ => return to_kernel(entry, fd, &s, Cause::Option),
    }
    let ret = sys!(libc::SYS_setsockopt, fd, level, name, value, len);
    if ret == 0 {
        note_option(entry, fd, &found, name, value);
    }
    Verdict::Done(ret)
}

fn note_option(entry: &Entry, fd: i32, (_, s): &Found, name: i32, value: usize) {
    let Some(k) = entry.ctx(fd) else { return };
    let socket = s.pair.socket(s.side());
    let known = match name {
        libc::SO_SNDBUF | so::SNDBUFFORCE => {
            let bytes = note_sndbuf(s.pair, s.side(), fd);
            if bytes > cost::MAX_SNDBUF {
                demotion::demote(&k, fd, &FileRef::Socket(*s), Cause::Option);
            }
            s.pair.wake_everybody(k.host, 0); // there may be room
            u64::from(bytes)
        }
        _ => {
            let (sec, usec) = (
                user::fetch::<i64>(value).unwrap_or(0),
                user::fetch::<i64>(value + 8).unwrap_or(0),
            );
            let ns = match sec {
                ..0 => 1, // at once
                _ => (sec as u64)
                    .saturating_mul(1_000_000_000)
                    .saturating_add(usec as u64 * 1000),
            };
            match name {
                libc::SO_RCVTIMEO | so::RCVTIMEO_NEW => socket.recv_timeout.store(ns, Release),
                _ => socket.send_timeout.store(ns, Release),
            }
            ns
        }
    };
    let abc = (i64::from(name), known, u64::from(s.side().bit()));
    k.log.about(s.pair, Kind::SetOption, 0, abc);
}

/// getsockopt(2): the twin knows them all, but SO_ERROR.
pub fn getsockopt(
    entry: &Entry,
    fd: i32,
    (level, name): (i32, i32),
    value: usize,
    len: usize,
) -> Verdict {
    let Some(found) = of(entry, fd).filter(|(_, s)| s.pair.is_served()) else {
        return Verdict::Pass;
    };
    if level != libc::SOL_SOCKET || name != libc::SO_ERROR {
        return Verdict::Pass;
    }
    let Some(k) = entry.ctx(fd) else {
        return Verdict::Pass;
    };
    let ret = sys!(libc::SYS_getsockopt, fd, level, name, value, len);
    if ret < 0 {
        return Verdict::Done(ret);
    }
    let error = socket_error(&k, &found.1, &socket::twin(&k, &found, fd));
    let room = user::fetch::<u32>(len).unwrap_or(0) as usize;
    for (i, byte) in error.to_ne_bytes().into_iter().enumerate().take(room) {
        if !user::put(value + i, &byte) {
            return Verdict::errno(libc::EFAULT);
        }
    }
    Verdict::Done(0)
}
