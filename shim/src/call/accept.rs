//! accept(2) of a connection that a process of the session has made: from here on the arena has it. See
//! ringer-kernel's `unix::pending`.

use core::sync::atomic::{AtomicU32, Ordering::*};

use ringer_kernel::abi::SysError;
use ringer_kernel::file::{fd_table, SocketFile};
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::Ctx;
use ringer_kernel::task::{self, reap::forget_descriptor};
use ringer_kernel::unix::{self, pending, Pair, Side, Type};

use crate::entry::Entry;
use crate::gate::sys;
use crate::host::Shim;
use crate::{adopt, arm, attach, demotion, peer, sockdiag, twin};

use super::connect::{is_own_user, is_plain, is_possible, peer_credentials};

/// Connections that were polled as the first thing, one after the other.
static POLLED: AtomicU32 = AtomicU32::new(0);
/// After so many no more are taken.
const ENOUGH: u32 = 4;

/// Whether anybody of the session may wait to be accepted.
#[inline(always)]
pub fn is_awaited() -> bool {
    attach::arena().is_some_and(|a| a.header().pairs_pending.load(Acquire) != 0)
}

/// A descriptor that is none of ringer's was closed. If it listened, nobody will accept those who wait for that; by
/// themselves they look now and then only.
#[inline(always)]
pub fn closed() {
    if is_awaited() {
        if let Some(arena) = attach::arena() {
            unix::wake_pending(arena, &Shim);
        }
    }
}

/// accept(2) has given `fd`.
pub fn accepted(entry: &Entry, fd: i32) {
    let wanted = POLLED.load(Relaxed) < ENOUGH && is_possible() && is_unix(fd);
    // In this order: a process that has restricted its calls may make no unusual ones.
    if !wanted || !peer::can_be_reached() {
        return;
    }
    let _ = take(entry, fd);
}

fn is_unix(fd: i32) -> bool {
    let (mut domain, mut len) = (0i32, 4u32);
    let (level, name, at) = (libc::SOL_SOCKET, libc::SO_DOMAIN, &raw mut domain);
    let ret = sys!(libc::SYS_getsockopt, fd, level, name, at, &raw mut len);
    ret == 0 && domain == libc::AF_UNIX
}

fn take(entry: &Entry, fd: i32) -> Option<()> {
    let (dev, ino, _) = adopt::identity(fd)?;
    let peer = sockdiag::peer_of(ino)?;
    let (slot, side) = unix::find(attach::arena()?, dev, peer)?;
    let pair = unix::get(attach::arena()?, slot).filter(|p| p.is_pending() && side == Side::A)?;
    let k = entry.ctx(fd)?;
    let (connector, uid) = peer_credentials(fd)?;
    // What is over already has nothing to gain.
    if !is_own_user(uid) || !is_plain(fd) || twin::hung_up(fd) || !arm::arm(entry) {
        pending::leave(&k, pair, Cause::Stranger);
        return None;
    }
    let a = pending::Accepted {
        fd,
        twin: (dev, ino),
        peer: (dev, peer),
        connector,
        sndbuf: super::connect::sndbuf(fd)?,
        flags: sys!(libc::SYS_fcntl, fd, libc::F_GETFL) as u32 & libc::O_NONBLOCK as u32,
    };
    let file = match pending::accept(&k, slot, pair, &a, |most| empty(fd, pair.type_of(), most)) {
        Ok(file) => file,
        Err(e) => {
            let cause = match e {
                SysError::Demoted => Cause::Stranger,
                _ => Cause::NoMemory,
            };
            pending::leave(&k, pair, cause);
            return None;
        }
    };
    install(entry, &k, fd, pair, (slot, file))
}

fn install(
    entry: &Entry,
    k: &Ctx<'_, Shim>,
    fd: i32,
    pair: &'static Pair,
    (slot, file): (u32, u32),
) -> Option<()> {
    let p = entry.process()?;
    match fd_table::install(k.arena, k.me, k.host, p, fd, file) {
        Ok(0) => {}
        Ok(stale) => forget_descriptor(k, stale, |_| false),
        Err(_) => {
            let s = ringer_kernel::file::SocketId {
                slot,
                side: Side::B,
                pair,
            };
            demotion::demote_pair(k, fd, &s, Cause::NoMemory);
            crate::exposure::expose(k, fd, &s);
            ringer_kernel::file::close_ref(k.arena, k.me, k.host, file);
        }
    }
    Some(())
}

/// The accepted one is about to send or to receive: the arena has the connection from here on, or the kernel for good.
#[cold]
pub fn take_over(k: &Ctx<'_, Shim>, s: &SocketFile, fd: i32) {
    let it = adopt::identity(fd).and_then(|(dev, ino, _)| s.pair.side_of(dev, ino));
    // What is over already has nothing to gain.
    if it != Some(Side::B) || twin::hung_up(fd) {
        pending::leave(k, s.pair, Cause::Stranger);
        return;
    }
    let readable = || peer::readable(fd);
    pending::take_over(k, s.pair, readable, |most| {
        empty(fd, s.pair.type_of(), most)
    });
}

/// All that was sent before accept was received: its copy in the real socket is of no more use.
#[cold]
pub fn end_early(k: &Ctx<'_, Shim>, s: &SocketFile, fd: i32) {
    let fd = crate::linger::stand_in().unwrap_or(fd);
    let it = adopt::identity(fd).and_then(|(dev, ino, _)| s.pair.side_of(dev, ino));
    if it == Some(Side::B) {
        pending::end_early(k, s.pair, |most| empty(fd, s.pair.type_of(), most));
    }
}

/// Takes out of the real socket what the arena has as well: so many records at the most.
fn empty(fd: i32, kind: Type, most: u64) {
    if kind == Type::Stream {
        // They come together: what is there now, and no more, whoever may be writing.
        peer::drop_stream(fd, peer::readable(fd).unwrap_or(0));
        return;
    }
    for _ in 0..most {
        if peer::drop_bytes(fd, u64::MAX).is_none() {
            break;
        }
    }
}

/// This one of a pair is about to be polled, so that it goes to the kernel. Who polls all that it accepts
/// is spared the trouble.
pub fn note_polled(k: &Ctx<'_, Shim>, pair: &Pair, side: Side) {
    let first_thing = pair.is_ringers()
        && pair.from(Side::A).reads.load(Relaxed) == 0
        && pair.from(Side::B).writes.load(Relaxed) == 0;
    if !pair.is_connection() || side != Side::B {
        return;
    }
    if !first_thing {
        return POLLED.store(0, Relaxed);
    }
    if POLLED.fetch_add(1, Relaxed) + 1 >= ENOUGH {
        // Who connects is told by who listens: this process, or the one that it was forked from.
        let mine = attach::process_slot(crate::tls::tls());
        let mine = task::process(k.arena, mine);
        let parent = task::find_process(k.arena, k.host, crate::host::getppid());
        for p in mine.into_iter().chain(parent.map(|(_, p)| p)) {
            p.polls.store(1, Relaxed);
        }
    }
}
