//! A program that ringer does not reach is about to get one of a pair of sockets: what is queued there and
//! carries something of ringer's (SCM_RIGHTS) goes to the kernel first. See ringer-kernel's `unix/flight.rs`.

use core::mem::size_of;

use ringer_kernel::file::{FileRef, SocketId};
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::Ctx;
use ringer_kernel::task::reap::forget_descriptor;
use ringer_kernel::unix::flight;
use ringer_kernel::unix::{Side, Type};

use crate::adopt::{self, Identity};
use crate::borrow::Borrowing;
use crate::call::rights::{each_right, MOST};
use crate::demotion;
use crate::gate::sys;
use crate::host::Shim;
use crate::user::Iovec;

/// Sockets that lie in each other's queues, from the outermost on.
struct Nest<'a> {
    pair: u32,
    side: Side,
    depth: u32,
    around: Option<&'a Nest<'a>>,
}

/// Each has a buffer on the stack.
const DEEPEST: u32 = 6;

impl Nest<'_> {
    fn is_in_itself(&self) -> bool {
        let mut next = self.around;
        while let Some(n) = next {
            if n.pair == self.pair && n.side == self.side {
                return true;
            }
            next = n.around;
        }
        false
    }
}

/// Whoever gets `fd` next may receive what is queued for that socket.
pub fn expose(k: &Ctx<'_, Shim>, fd: i32, s: &SocketId) {
    expose_in(k, fd, s, None);
}

fn expose_in(k: &Ctx<'_, Shim>, fd: i32, s: &SocketId, around: Option<&Nest<'_>>) {
    let nest = Nest {
        pair: s.slot,
        side: s.side,
        depth: around.map_or(0, |n| n.depth + 1),
        around,
    };
    if !flight::expose(k, s.pair, s.side) || nest.is_in_itself() {
        return;
    }
    let whole = nest.depth <= DEEPEST && {
        let _no_fork = Borrowing::begin();
        let _numbers = Numbers::raise();
        look_through(k, fd, s, &nest)
    };
    match whole {
        true => flight::exposed(s.pair, s.side),
        false => crate::session::complain(
            "descriptors that are queued in a socket could not all be handed to the kernel",
        ),
    }
}

/// As many descriptors as may be, for as long as this lives.
struct Numbers {
    before: Option<[u64; 2]>,
}

impl Numbers {
    fn raise() -> Numbers {
        let mut limit = [0u64; 2];
        let got = prlimit(core::ptr::null(), limit.as_mut_ptr());
        let [_, hard] = limit;
        if got {
            prlimit([hard, hard].as_ptr(), core::ptr::null_mut());
        }
        Numbers {
            before: got.then_some(limit),
        }
    }
}

/// RLIMIT_NOFILE of this process.
fn prlimit(new: *const u64, old: *mut u64) -> bool {
    sys!(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, new, old) == 0
}

impl Drop for Numbers {
    fn drop(&mut self) {
        if let Some(limit) = self.before {
            prlimit(limit.as_ptr(), core::ptr::null_mut());
        }
    }
}

/// A stream is looked through in steps of this many bytes.
const STEP: usize = 1024;
/// More packets without a byte in a row are none: a SOCK_SEQPACKET's end of file looks like one.
const EMPTY: u32 = 4096;

/// By SO_PEEK_OFF, see socket(7). `false`: not to the end.
fn look_through(k: &Ctx<'_, Shim>, fd: i32, s: &SocketId, nest: &Nest<'_>) -> bool {
    let Some(before) = peek_off(fd) else {
        return false;
    };
    set_peek_off(fd, 0);
    let mut empty = 0;
    let whole = loop {
        match peek(fd, |got| hand_over(k, got, s, nest)) {
            Peeked::Nothing => break true,
            Peeked::Bytes(0) if s.pair.type_of() == Type::Stream || empty > EMPTY => break true,
            Peeked::Bytes(0) => empty += 1,
            Peeked::Bytes(_) => empty = 0,
            Peeked::Again => {}
            Peeked::Failed => break false,
        }
    };
    set_peek_off(fd, before);
    whole
}

fn peek_off(fd: i32) -> Option<i32> {
    let (mut value, mut len) = (-1i32, 4u32);
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEEK_OFF);
    let (at, len_at) = (&raw mut value, &raw mut len);
    (sys!(libc::SYS_getsockopt, fd, level, name, at, len_at) == 0).then_some(value)
}

fn set_peek_off(fd: i32, value: i32) {
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEEK_OFF);
    sys!(libc::SYS_setsockopt, fd, level, name, &raw const value, 4);
}

enum Peeked {
    Nothing,
    Bytes(usize),
    Again,
    /// Also if there were not enough numbers for the descriptors.
    Failed,
}

/// struct cmsghdr, and the descriptors.
type Control = [u64; 2 + MOST.div_ceil(2)];

/// The next piece; `f` gets each descriptor in it, which is closed then.
fn peek(fd: i32, mut f: impl FnMut(i32)) -> Peeked {
    let mut bytes = [0u8; STEP];
    let part = Iovec {
        base: bytes.as_mut_ptr() as usize,
        len: STEP,
    };
    let mut control: Control = [0; 2 + MOST.div_ceil(2)];
    // SAFETY: all zero is a valid msghdr.
    let mut m: libc::msghdr = unsafe { core::mem::zeroed() };
    m.msg_iov = (&raw const part).cast_mut().cast();
    m.msg_iovlen = 1;
    m.msg_control = control.as_mut_ptr().cast();
    m.msg_controllen = size_of::<Control>();
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    let n = sys!(libc::SYS_recvmsg, fd, &raw mut m, flags);
    if n < 0 {
        return match -n as i32 {
            libc::EAGAIN => Peeked::Nothing,
            libc::EINTR => Peeked::Again,
            libc::ECONNRESET => Peeked::Again, // told once
            _ => Peeked::Failed,
        };
    }
    each_right(&raw const m as usize, |got| {
        f(got);
        sys!(libc::SYS_close, got);
    });
    match m.msg_flags & libc::MSG_CTRUNC {
        0 => Peeked::Bytes(n as usize),
        _ => Peeked::Failed,
    }
}

/// What `fd` is goes to the kernel.
fn hand_over(k: &Ctx<'_, Shim>, fd: i32, s: &SocketId, nest: &Nest<'_>) {
    let Some(it) = Identity::of(fd).filter(Identity::may_be_ours) else {
        return;
    };
    let found = flight::copy(k, s.pair, s.side, |f| it.is(f));
    let Some(slot) = found else {
        // One of the pair itself is not noted.
        if let Some(id) = adopt::socket_of(k.arena, fd) {
            expose_in(k, fd, &id, Some(nest));
        }
        return;
    };
    if let Some(f) = FileRef::of(k.arena, slot) {
        demotion::demote(k, fd, &f, Cause::ScmRights);
        if let FileRef::Socket(inner) = f {
            expose_in(k, fd, &inner.id(), Some(nest));
        }
    }
    forget_descriptor(k, slot, |_| false);
}
