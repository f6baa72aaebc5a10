//! SCM_RIGHTS. What one process of the session sends to another one stays ringer's:
//! ringer-kernel's `unix/flight.rs` says how. What may be received by anybody is demoted first.

use core::mem::size_of;
use core::sync::atomic::AtomicU32;

use ringer_kernel::file::{fd_table, FileRef, SocketFile};
use ringer_kernel::host::Twin;
use ringer_kernel::log::{layer, Cause, Kind};
use ringer_kernel::pipe::Ctx;
use ringer_kernel::task::reap::forget_descriptor;
use ringer_kernel::unix::flight::{self, Held};
use ringer_kernel::unix::Type;

use crate::adopt::{self, Identity};
use crate::demotion;
use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::host::Shim;
use crate::linger;
use crate::user::{self, Vectored};

use super::message::{Msghdr, MMSGHDR};
use super::socket::{self, Found};
use super::{io, is_ours, lookup, signalfd};

/// struct cmsghdr.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Cmsghdr {
    len: usize,
    level: i32,
    kind: i32,
}

/// Descriptors that one message can carry. (include/net/scm.h SCM_MAX_FD)
pub const MOST: usize = 253;

/// Calls `f` with each descriptor in the SCM_RIGHTS of a message.
pub fn each_right(message: usize, mut f: impl FnMut(i32)) {
    let Some(header) = user::fetch::<Msghdr>(message) else {
        return;
    };
    let mut at = header.control;
    let end = header
        .control
        .saturating_add(header.control_len.min(1 << 16));
    while at != 0 && at + size_of::<Cmsghdr>() <= end {
        let Some(c) = user::fetch::<Cmsghdr>(at) else {
            return;
        };
        if c.len < size_of::<Cmsghdr>() || c.len > end - at {
            return;
        }
        if c.level == libc::SOL_SOCKET && c.kind == libc::SCM_RIGHTS {
            let first = at + size_of::<Cmsghdr>();
            for fd_at in (first..at + c.len).step_by(4) {
                if let Some(fd) = user::fetch::<i32>(fd_at) {
                    f(fd);
                }
            }
        }
        at += c.len.next_multiple_of(8);
    }
}

/// What is sent along with a message.
#[derive(Default)]
struct Carried {
    descriptors: usize,
    ours: usize,
    sockets: bool,
    /// The description that the last one of ours names.
    file_slot: u32,
    several: bool,
}

impl Carried {
    fn by(entry: &Entry, message: usize) -> Carried {
        let mut c = Carried::default();
        each_right(message, |fd| {
            c.descriptors += 1;
            let Some((_, file)) = lookup(entry, fd) else {
                return;
            };
            c.several |= c.ours > 0 && file.file_slot() != c.file_slot;
            c.file_slot = file.file_slot();
            c.sockets |= matches!(file, FileRef::Socket(_));
            c.ours += 1;
        });
        c
    }

    /// The one description that all of them name. Another thread could change what they name until
    /// the kernel looks.
    fn only(&self, entry: &Entry) -> Option<u32> {
        let one = !self.several && self.ours == self.descriptors && !self.sockets;
        (one && is_alone(entry)).then_some(self.file_slot)
    }
}

/// Whether no other thread can change this one's descriptors during a call. One that makes its system calls
/// past libc may have others that nobody knows of.
fn is_alone(entry: &Entry) -> bool {
    entry.tls.layer.get() == u32::from(layer::HOOK) && !crate::hooks::has_threads()
}

/// Calls `f` with each descriptor of ringer's that is sent along.
fn each_of_ours(entry: &Entry, message: usize, mut f: impl FnMut(i32, &FileRef)) {
    each_right(message, |fd| {
        if let Some((_, file)) = lookup(entry, fd) {
            f(fd, &file);
        }
    });
}

/// The receiver may be anybody: what is sent along is the kernel's from here on.
pub fn give_away(entry: &Entry, message: usize) {
    each_of_ours(entry, message, |fd, file| {
        if let Some(k) = entry.ctx(fd) {
            demotion::give_away(&k, fd, file, Cause::ScmRights);
        }
    });
}

/// sendmsg(2) with ancillary data on one of a pair that the kernel serves.
pub fn send(
    entry: &Entry,
    found: &Found,
    fd: i32,
    (message, parts): (usize, Vectored),
    flags: i32,
) -> Verdict {
    let carrier = &found.1;
    let carried = Carried::by(entry, message);
    if carried.ours == 0 {
        if carried.descriptors > 0 {
            carrier.pair.flights.mix(carrier.side().other());
        }
        return Verdict::Pass;
    }
    let Some(k) = entry
        .ctx(fd)
        .filter(|_| FileRef::Socket(*carrier).is_kernels())
    else {
        return by_kernel(entry, carrier, message);
    };
    // Only through both of a pair's sockets could it go to the kernel later on.
    if carried.sockets {
        each_of_ours(entry, message, |fd, file| {
            if matches!(file, FileRef::Socket(_)) {
                demotion::demote(&k, fd, file, Cause::ScmRights);
            }
        });
    }
    let sent = send_noted(entry, &k, carrier, fd, (message, &carried), flags);
    let sent = match sent {
        Some(e) if e == NO_ROOM && waits(fd, flags) => {
            match send_when_there_is_room(entry, &k, found, fd, (message, &carried), flags) {
                Ok(sent) => sent,
                Err(verdict) => return verdict,
            }
        }
        sent => sent,
    };
    let Some(n) = sent else {
        return by_kernel(entry, carrier, message);
    };
    if k.log.is_on() {
        FileRef::Socket(*carrier).log(&k.log, Kind::KernelWrite, (n as i64, 0, 0));
    }
    rest(entry, &k, carrier, (fd, n), parts, flags)
}

const NO_ROOM: isize = -(libc::EAGAIN as isize);
/// A waiting call looks for signals at least that often.
const LOOK_MS: i32 = 20;

/// As [`send_noted`], again and again. `Err`: a signal ends the wait, or the file is gone.
fn send_when_there_is_room(
    entry: &Entry,
    k: &Ctx<'_, Shim>,
    found: &Found,
    fd: i32,
    (message, carried): (usize, &Carried),
    flags: i32,
) -> Result<Option<isize>, Verdict> {
    if option(fd, libc::SO_SNDTIMEO) != [0; 2] {
        return Ok(None);
    }
    let twin = socket::twin(k, found, fd);
    let held = twin.hold();
    let result = loop {
        let fd = linger::stand_in().unwrap_or(fd);
        if !held {
            break Err(Verdict::errno(libc::EBADF));
        }
        if entry.tls.noted() != 0 || crate::hooks::cancelling() {
            break Err(Verdict::Restart);
        }
        let mut p = libc::pollfd {
            fd,
            events: libc::POLLOUT,
            revents: 0,
        };
        sys!(libc::SYS_poll, &raw mut p, 1, LOOK_MS);
        if p.revents & libc::POLLERR != 0 {
            match option(fd, libc::SO_ERROR) {
                [0, _] => {}
                [error, _] => break Err(Verdict::errno(error as i32)),
            }
        }
        // A waiting call gets no SIGPIPE. (net/core/sock.c sock_alloc_send_pskb)
        let flags = flags | libc::MSG_NOSIGNAL;
        match send_noted(entry, k, &found.1, fd, (message, carried), flags) {
            Some(NO_ROOM) => {}
            sent => break Ok(sent),
        }
    };
    twin.let_go();
    if result.is_err() {
        io::settle(entry, k);
    }
    result // the kernel goes on with what is kept, or `rest` does
}

/// getsockopt(2), SOL_SOCKET.
fn option(fd: i32, name: i32) -> [u64; 2] {
    let (mut value, mut len) = ([0; 2], 16u32);
    let (at, len_at) = (value.as_mut_ptr(), &raw mut len);
    sys!(libc::SYS_getsockopt, fd, libc::SOL_SOCKET, name, at, len_at);
    value
}

fn by_kernel(entry: &Entry, carrier: &SocketFile, message: usize) -> Verdict {
    carrier.pair.flights.mix(carrier.side().other());
    give_away(entry, message);
    Verdict::Pass
}

/// Of a stream a part may have found room.
fn rest(
    entry: &Entry,
    k: &Ctx<'_, Shim>,
    carrier: &SocketFile,
    (fd, sent): (i32, isize),
    mut parts: Vectored,
    flags: i32,
) -> Verdict {
    let done = usize::try_from(sent).unwrap_or(0);
    let whole = done == parts.total || carrier.pair.type_of() != Type::Stream;
    if done == 0 || whole || !waits(fd, flags) {
        io::settle(entry, k);
        return Verdict::Done(sent);
    }
    io::finish_in_kernel(entry, fd, done, |fd| parts.send_rest(fd, done, flags))
}

fn waits(fd: i32, flags: i32) -> bool {
    let status = sys!(libc::SYS_fcntl, fd, libc::F_GETFL) as i32;
    flags & libc::MSG_DONTWAIT == 0 && status & libc::O_NONBLOCK == 0
}

/// The descriptions that were noted for one message.
struct Noted {
    slots: [u32; MOST],
    len: usize,
}

impl Noted {
    fn push(&mut self, slot: u32) {
        if let Some(free) = self.slots.get_mut(self.len) {
            *free = slot;
            self.len += 1;
        }
    }
}

/// Notes what is sent along, and sends the message without waiting, in one step for whoever exposes the
/// receiver. `None`: it was not sent, and can not be like this.
fn send_noted(
    entry: &Entry,
    k: &Ctx<'_, Shim>,
    carrier: &SocketFile,
    fd: i32,
    (message, carried): (usize, &Carried),
    flags: i32,
) -> Option<isize> {
    let to = carrier.side().other();
    let held = Held::take(k, carrier.pair);
    if held.is_exposed(to) {
        return None;
    }
    let only = carried.only(entry).filter(|slot| held.is_only(to, *slot));
    if let Some(slot) = only {
        return send_only(k, carrier, held, fd, message, (slot, carried.ours), flags);
    }
    carrier.pair.flights.mix(to);
    let mut noted = Noted {
        slots: [0; MOST],
        len: 0,
    };
    let mut all = true;
    each_of_ours(entry, message, |_, file| {
        let own = matches!(file, FileRef::Socket(s) if s.slot() == carrier.slot());
        if !all || own {
            return; // who can receive it holds the pair
        }
        all = noted.len < MOST && held.add(file.file_slot(), to).is_ok();
        if all {
            noted.push(file.file_slot());
        }
    });
    let ret = match all {
        true => sys!(libc::SYS_sendmsg, fd, message, flags | libc::MSG_DONTWAIT),
        false => -1,
    };
    let nothing = carries_nothing(carrier, ret);
    let undone = noted.slots.iter().take(if nothing { noted.len } else { 0 });
    for slot in undone.clone() {
        let _ = flight::remove(k, carrier.pair, to, |f| f.file_slot() == *slot);
    }
    drop(held);
    for slot in undone {
        forget_descriptor(k, *slot, |_| false);
    }
    all.then_some(ret)
}

/// A stream that is sent no byte carries nothing.
fn carries_nothing(carrier: &SocketFile, ret: isize) -> bool {
    ret < 0 || (ret == 0 && carrier.pair.type_of() == Type::Stream)
}

/// As [`send_noted`], of `count` descriptors of the only description.
fn send_only(
    k: &Ctx<'_, Shim>,
    carrier: &SocketFile,
    held: Held<'_, Shim>,
    fd: i32,
    message: usize,
    (slot, count): (u32, usize),
    flags: i32,
) -> Option<isize> {
    let to = carrier.side().other();
    let noted = (0..count)
        .take_while(|_| held.add(slot, to).is_ok())
        .count();
    let all = noted == count;
    let ret = match all {
        true => sys!(libc::SYS_sendmsg, fd, message, flags | libc::MSG_DONTWAIT),
        false => -1,
    };
    let nothing = carries_nothing(carrier, ret);
    let undone = 0..if nothing { noted } else { 0 };
    for _ in undone.clone() {
        let _ = flight::remove(k, carrier.pair, to, |f| f.file_slot() == slot);
    }
    drop(held);
    for _ in undone {
        forget_descriptor(k, slot, |_| false);
    }
    all.then_some(ret)
}

/// recvmsg(2) on `socket` has filled in `message`: what came with it is taken up.
pub fn received(socket: i32, message: usize, ret: isize, flags: i32) {
    if ret < 0 {
        return;
    }
    if is_ours(socket) {
        let entry = Entry::enter();
        if let (Some((_, s)), Some(k)) = (socket::of(&entry, socket), entry.ctx(socket)) {
            let flights = &s.pair.flights;
            // A process that restricts its system calls may not even ask what it got.
            if !(flights.is_exposed(s.side()) && flights.is_empty(k.arena)) {
                each_right(message, |fd| take_up(&entry, &k, &s, fd, flags));
            }
        }
        let _ = entry.leave();
    }
    signalfd::received(message);
}

/// As [`received`], of the first `count` messages of recvmmsg(2).
pub fn received_many(socket: i32, list: usize, count: isize, flags: i32) {
    for i in 0..usize::try_from(count).unwrap_or(0) {
        received(socket, list + i * MMSGHDR, 0, flags);
    }
}

/// Where the last one was found: a hint.
static NEAR: AtomicU32 = AtomicU32::new(0);

fn take_up(entry: &Entry, k: &Ctx<'_, Shim>, carrier: &SocketFile, fd: i32, flags: i32) {
    if flags & libc::MSG_PEEK == 0 {
        // Another thread could have put another socket in this one's place.
        if is_alone(entry) {
            if let Some(slot) = flight::take_only(k, carrier.pair, carrier.side(), &NEAR) {
                return install(entry, k, fd, slot);
            }
        }
        // For a moment `remove` may take out what it was not to.
        carrier.pair.flights.mix(carrier.side());
    }
    let Some(it) = Identity::of(fd).filter(Identity::may_be_ours) else {
        return;
    };
    let found = match flags & libc::MSG_PEEK {
        0 => flight::remove(k, carrier.pair, carrier.side(), |f| it.is(f)),
        _ => flight::copy(k, carrier.pair, carrier.side(), |f| it.is(f)),
    };
    match found {
        Some(slot) => install(entry, k, fd, slot),
        None if carrier.pair.is_exposed(carrier.side()) => {}
        None => adopt::adopt(entry, k, fd),
    }
}

/// `fd` names that description; its reference is the table's now.
fn install(entry: &Entry, k: &Ctx<'_, Shim>, fd: i32, slot: u32) {
    let Some(p) = entry.process() else { return };
    match fd_table::install(k.arena, k.me, k.host, p, fd, slot) {
        Ok(0) => {}
        // Closed behind our back, and its number used again.
        Ok(stale) => forget_descriptor(k, stale, |_| false),
        Err(_) => {
            // A number that the table can not hold, or no memory: the object is the kernel's.
            if let Some(f) = FileRef::of(k.arena, slot) {
                demotion::give_away(k, fd, &f, Cause::NoMemory);
            }
            return forget_descriptor(k, slot, |_| false);
        }
    }
    adopt::log_adoption(k, fd, slot);
}
