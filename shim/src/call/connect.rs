//! connect(2) of a Unix socket to a name, from before the real call to after it: see ringer-kernel's
//! `unix::pending`. The kernel names, permits and queues; the arena only gets to know of it.

use core::sync::atomic::Ordering::*;

use ringer_kernel::arena::header::flag;
use ringer_kernel::file::{self, fd_table, role, FileRef, SocketFile};
use ringer_kernel::log::{Cause, Kind};
use ringer_kernel::pipe::{mode, Ctx};
use ringer_kernel::task::{self, reap::forget_descriptor};
use ringer_kernel::unix::{self, cost, name, pending, New, Pair, Side, Type};

use crate::entry::Entry;
use crate::gate::sys;
use crate::host::{self, Shim};
use crate::user::Iovec;
use crate::{adopt, arm, attach, demotion, fresh, peer};

use super::socket::note_sndbuf;

/// sa_family, before the name.
const FAMILY: usize = 2;

/// What an address names: a path without its zero, or a zero and an abstract name.
pub struct Address {
    bytes: [u8; FAMILY + name::LONGEST],
    len: usize,
}

impl Address {
    /// Of so many bytes that a call has been given, or has given. `None`: it is no name.
    fn of(bytes: [u8; FAMILY + name::LONGEST], len: usize) -> Option<Address> {
        let mut a = Address { bytes, len };
        let name = a.bytes.get(FAMILY..len)?;
        let path = name.first().is_some_and(|&b| b != 0);
        if path {
            a.len = FAMILY + name.iter().take_while(|&&b| b != 0).count();
        }
        let family = i32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        (family == libc::AF_UNIX && a.len > FAMILY).then_some(a)
    }

    /// From the program's memory, of which nobody knows yet whether it is there.
    fn fetch(at: usize, len: usize) -> Option<Address> {
        let mut bytes = [0; FAMILY + name::LONGEST];
        let part = |base, len| Iovec { base, len };
        let (from, to) = (
            part(at, len),
            part(bytes.as_mut_ptr() as usize, bytes.len()),
        );
        let (from, to, pid) = (&raw const from, &raw const to, host::getpid());
        let n = sys!(libc::SYS_process_vm_readv, pid, to, 1, from, 1, 0);
        Address::of(bytes, usize::try_from(n).ok().filter(|&n| n == len)?)
    }

    /// What a socket of ours is bound to.
    fn own(fd: i32) -> Option<Address> {
        let mut bytes = [0; FAMILY + name::LONGEST];
        let mut len = bytes.len() as u32;
        let ret = sys!(libc::SYS_getsockname, fd, bytes.as_mut_ptr(), &raw mut len);
        if ret < 0 {
            return None;
        }
        Address::of(bytes, (len as usize).min(bytes.len()))
    }

    fn name(&self) -> &[u8] {
        self.bytes.get(FAMILY..self.len).unwrap_or(&[])
    }
}

/// listen(2) has been called: others may connect to this name.
pub fn listens(fd: i32) {
    let Some(a) = Address::own(fd) else { return };
    if attach::ensure_process() && is_possible() {
        if let Some(arena) = attach::arena() {
            name::listens(arena, a.name());
        }
    }
}

fn int_option(fd: i32, name: i32) -> Option<i32> {
    let (mut value, mut len) = (0i32, 4u32);
    let (level, at) = (libc::SOL_SOCKET, &raw mut value);
    let ret = sys!(libc::SYS_getsockopt, fd, level, name, at, &raw mut len);
    (ret == 0 && len == 4).then_some(value)
}

/// SO_SNDBUF.
pub fn sndbuf(fd: i32) -> Option<u32> {
    int_option(fd, libc::SO_SNDBUF).map(|n| n as u32)
}

/// What a socket must have, or not have at all, for the arena to serve it. (asm-generic/socket.h)
const PLAIN: [(i32, i32); 10] = [
    (libc::SO_PASSCRED, 0),
    (libc::SO_PASSSEC, 0),
    (libc::SO_RCVLOWAT, 1),
    (libc::SO_PEEK_OFF, -1),
    (libc::SO_TIMESTAMP, 0),
    (libc::SO_TIMESTAMPNS, 0),
    (libc::SO_TIMESTAMPING, 0),
    (libc::SO_RXQ_OVFL, 0),
    (76, 0), // SO_PASSPIDFD
    (84, 0), // SO_INQ
];

/// Whether nothing is set that the arena does not serve.
pub fn is_plain(fd: i32) -> bool {
    let flags = sys!(libc::SYS_fcntl, fd, libc::F_GETFL);
    let mut filter = 0u32; // instructions of one
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    sys!(libc::SYS_getsockopt, fd, level, name, 0, &raw mut filter);
    flags >= 0
        && flags as i32 & libc::O_ASYNC == 0
        && filter == 0
        && sndbuf(fd).is_some_and(|n| n <= cost::MAX_SNDBUF)
        && PLAIN
            .iter()
            .all(|&(name, value)| int_option(fd, name).is_none_or(|v| v == value))
}

/// struct ucred of the other end: who has called connect(2), or listen(2).
pub fn peer_credentials(fd: i32) -> Option<(u32, u32)> {
    let (mut cred, mut len) = ([0u32; 3], 12u32);
    let (level, name, at) = (libc::SOL_SOCKET, libc::SO_PEERCRED, cred.as_mut_ptr());
    let ret = sys!(libc::SYS_getsockopt, fd, level, name, at, &raw mut len);
    let [pid, uid, _] = cred;
    (ret == 0).then_some((pid, uid))
}

/// Whether processes of this user and group are ours to look into.
pub fn is_own_user(uid: u32) -> bool {
    sys!(libc::SYS_geteuid) == uid as isize
}

/// connect(2) is about to be called on a socket that only this process has. `true`: call [`settle`] after it.
pub fn prepare(entry: &Entry, fd: i32, at: usize, len: usize) -> bool {
    if !fresh::take(fd) {
        return false;
    }
    begin(entry, fd, at, len).is_some()
}

fn begin(entry: &Entry, fd: i32, at: usize, len: usize) -> Option<()> {
    // First of all: a process that has restricted its calls may make no unusual ones.
    if !peer::can_be_reached() {
        return None;
    }
    let address = Address::fetch(at, len.min(FAMILY + name::LONGEST))?;
    let known = name::may_be_listened_to(attach::arena()?, address.name());
    if !known || !is_plain(fd) || !arm::arm(entry) {
        return None;
    }
    let k = entry.ctx(fd)?;
    let p = entry.process()?;
    let (dev, ino, _) = adopt::identity(fd)?;
    let new = New {
        kind: int_option(fd, libc::SO_TYPE)? as u32,
        twins: [(dev, ino), (0, 0)],
        mode: mode::PENDING,
        connector: host::getpid(),
    };
    let slot = unix::create(&k, new).ok()?;
    let pair = unix::get(k.arena, slot)?;
    pair.name.set(address.name());
    note_sndbuf(pair, Side::A, fd);
    note_timeouts(pair, Side::A, fd);
    let names = (role::SOCKET, SocketFile::object(slot, Side::A));
    let flags = sys!(libc::SYS_fcntl, fd, libc::F_GETFL) as i32 & libc::O_NONBLOCK;
    let file = file::new_file_of(k.arena, k.me, k.host, names, flags as u32).ok();
    let installed = file.and_then(|file| {
        fd_table::install(k.arena, k.me, k.host, p, fd, file)
            .map_err(|_| file::close_ref(k.arena, k.me, k.host, file))
            .ok()
    });
    match installed {
        None => {
            unix::release_if(&k, slot, pair.generation.load(Acquire));
            return None;
        }
        Some(0) => {}
        Some(stale) => forget_descriptor(&k, stale, |_| false),
    }
    Some(())
}

/// SO_RCVTIMEO and SO_SNDTIMEO, as they are.
pub fn note_timeouts(pair: &Pair, side: Side, fd: i32) {
    let socket = pair.socket(side);
    let both = [
        (libc::SO_RCVTIMEO, &socket.recv_timeout),
        (libc::SO_SNDTIMEO, &socket.send_timeout),
    ];
    for (name, to) in both {
        let (mut value, mut len) = ([0u64; 2], 16u32);
        let (level, at) = (libc::SOL_SOCKET, value.as_mut_ptr());
        let ret = sys!(libc::SYS_getsockopt, fd, level, name, at, &raw mut len);
        let [sec, usec] = value;
        if ret == 0 {
            let ns = sec
                .saturating_mul(1_000_000_000)
                .saturating_add(usec * 1000);
            to.store(ns, Release);
        }
    }
}

/// connect(2) came to this.
pub fn settle(entry: &Entry, fd: i32, ret: i32) {
    let (Some(p), Some(k)) = (entry.process(), entry.ctx(fd)) else {
        return;
    };
    let Some(FileRef::Socket(s)) = fd_table::lookup(k.arena, p, fd) else {
        return;
    };
    if !s.pair.is_connection() || s.side() != Side::A {
        return; // closed meanwhile, and its number used again
    }
    if ret < 0 {
        return forget(&k, p, fd);
    }
    let [b, c] = s.pair.name.start();
    let fd_and_name = (i64::from(fd), b, c);
    k.log.about(s.pair, Kind::SocketConnect, 0, fd_and_name);
    if let Some(cause) = no_place_in_arena(&k, fd) {
        pending::leave(&k, s.pair, cause);
    }
}

/// It failed: the socket is as fresh as it was.
fn forget(k: &Ctx<'_, Shim>, p: &task::Process, fd: i32) {
    let file = fd_table::take(k.arena, p, fd);
    if file != 0 {
        forget_descriptor(k, file, |_| true);
        fresh::made(fd);
    }
}

/// Why nobody of ours will accept it, as far as can be seen: by who has called listen(2).
fn no_place_in_arena(k: &Ctx<'_, Shim>, fd: i32) -> Option<Cause> {
    let listener = peer_credentials(fd)
        .filter(|&(_, uid)| is_own_user(uid))
        .and_then(|(pid, _)| task::find_process(k.arena, k.host, pid));
    match listener {
        None => Some(Cause::Stranger),
        Some((_, p)) if p.polls.load(Relaxed) != 0 => Some(Cause::Polled),
        Some(_) => None,
    }
}

/// Whether connections may be served at all.
pub fn is_possible() -> bool {
    attach::emulates(flag::EMULATE_UNIX) && !demotion::is_apart()
}

/// Whether socket(2) has made one whose connection may be served.
pub fn is_candidate(domain: i32, kind: i32) -> bool {
    const SOCK_TYPE_MASK: i32 = 0xf;
    let kind = Type::from_raw((kind & SOCK_TYPE_MASK) as u32);
    domain == libc::AF_UNIX && kind.is_some_and(Type::is_connected)
}
