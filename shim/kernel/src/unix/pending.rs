//! A connection that nobody is known to have accepted. connect(2) of a process of the session makes a pair
//! of which there is only side A; who accepts it may be anybody, and need not be there yet. So the
//! *kernel* carries what side A sends, and its ring keeps a copy.
//!
//! ```text
//!   connect          PENDING     what A sends is in the real socket, and in A's queue, record for record;
//!                                nobody of the session reads from the real one
//!   accept by ours   PENDING     as before, if A has sent something: only the kernel knows by whom (what is sent before accept
//!                                has its sender's credentials: net/unix/af_unix.c unix_maybe_add_creds), should B ask
//!   B sends, or receives without having asked; or accepts, and nothing was sent
//!                    RING        the queue is the truth; the real socket has a copy of what was sent before (`Pair::early`), in case
//!                                that B asks after all. It is emptied when all of that was received
//!   anything else    KERNEL      the queue is emptied: the real socket has the same
//! ```
//!
//! # Invariants
//!
//! - A record goes into the real socket first and is published then, both under `wlock`: the queue is
//!   a beginning of what the real socket has, which has one record more at the most, of a writer that
//!   was killed in the middle of its call.
//! - Nobody waits in the kernel: who waits for something waits in the arena, and looks at the real socket
//!   now and then. What comes through that was not sent by ours.
//! - Side B's queue is empty.
//!
//! # Crash points
//!
//! - C1. Connector killed between sending and publishing: that record is dropped with what is in the
//!   real socket, as if it had been killed before. Who accepts it and is not ours gets it.
//!   (Then the real socket has more than the queue, and is emptied at once.)
//! - C2. Acceptor killed before `mode` says RING: the real socket goes with it, and the connector finds
//!   that. After: it is a pair whose peer is dead, its queue the truth.
//! - C3. Killed before the copy is forgotten: nobody looks at it any more.

use super::send::{send_with, Elsewhere};
use super::{table, Append, Pair, Queue, Sent, Side};
use crate::abi::{Errno, SysError};
use crate::file::{self, role, SocketFile};
use crate::host::{crash_point, Host, UserRead};
use crate::log::{Cause, Kind};
use crate::pipe::{mode, Ctx};
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::Progress;

/// One step of sending, into both. `real` sends one record, whose bytes are in two pieces.
///
/// Errors: `Demoted`: it is pending no more. Else what `real` says.
pub fn try_send<H: Host, U: UserRead>(
    k: &Ctx<'_, H>,
    p: &Pair,
    what: Append,
    src: &mut U,
    real: impl FnMut([(*mut u8, usize); 2]) -> Result<(), Errno>,
) -> Result<Sent, SysError> {
    send_with(k, p, what, src, &mut Elsewhere(real))
}

/// It stays the kernel's. `false`: it is not pending.
pub fn leave<H: Host>(k: &Ctx<'_, H>, p: &Pair, cause: Cause) -> bool {
    if !p.is_pending() {
        return false;
    }
    table::lock(k, p);
    let pending = p.is_pending();
    if pending {
        p.demote_cause.store(cause.raw(), Relaxed);
        crash_point("unix.pending.leave");
        p.mode.store(mode::KERNEL, Release);
        table::count_pending_out(k);
        crash_point("unix.pending.left"); // C3
        p.queues.iter().for_each(Queue::forget); // a copy
    }
    table::unlock(k, p, Progress::None);
    if pending {
        k.arena.header().demotions.fetch_add(1, Relaxed);
        let abc = (i64::from(cause.raw()), 0, 0);
        let record = k.log.about(p, Kind::Demote, 0, abc);
        p.wake_everybody(k.host, record);
    }
    pending
}

/// Who has accepted a connection, and which.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// The descriptor, for the log.
    pub fd: i32,
    /// st_dev and st_ino of the accepted socket, and of the one at its other end.
    pub twin: (u64, u64),
    pub peer: (u64, u64),
    /// SO_PEERCRED.
    pub connector: u32,
    /// SO_SNDBUF.
    pub sndbuf: u32,
    /// O_NONBLOCK.
    pub flags: u32,
}

/// Side B is known from here on, and if nothing was sent before, the arena has the connection. `empty` takes out of the
/// accepted socket what is there, so many records at the most. The accepted socket's description, with one reference.
///
/// Errors: `Demoted`: it is not pending, or another one. ENFILE.
pub fn accept<H: Host>(
    k: &Ctx<'_, H>,
    slot: u32,
    p: &Pair,
    a: &Accepted,
    empty: impl FnOnce(u64),
) -> Result<u32, SysError> {
    table::lock(k, p);
    let result = accept_locked(k, slot, p, a, empty);
    table::unlock(k, p, Progress::None);
    let file = result?;
    let [b, c] = p.name.start();
    let record = k
        .log
        .about(p, Kind::SocketAccept, 0, (i64::from(a.fd), b, c));
    p.wake_everybody(k.host, record);
    Ok(file)
}

fn accept_locked<H: Host>(
    k: &Ctx<'_, H>,
    slot: u32,
    p: &Pair,
    a: &Accepted,
    empty: impl FnOnce(u64),
) -> Result<u32, SysError> {
    let same =
        p.side_of(a.peer.0, a.peer.1) == Some(Side::A) && p.connector.load(Relaxed) == a.connector;
    if !same || !p.is_pending() {
        return Err(SysError::Demoted);
    }
    let names = (role::SOCKET, SocketFile::object(slot, Side::B));
    let file = file::new_file_of(k.arena, k.me, k.host, names, a.flags)?;
    let socket = p.socket(Side::B);
    socket.dev.store(a.twin.0, Relaxed);
    socket.ino.store(a.twin.1, Relaxed);
    socket.sndbuf.store(a.sndbuf, Relaxed);
    crash_point("unix.accept.known"); // C2
    if p.from(Side::A).is_empty() {
        take_over_locked(k, p, empty);
    }
    Ok(file)
}

/// Side B sends or receives: the arena has the connection from here on. `readable` says how many bytes the real socket
/// has; `empty` as in [`accept`].
pub fn take_over<H: Host>(
    k: &Ctx<'_, H>,
    p: &Pair,
    readable: impl FnOnce() -> Option<u64>,
    empty: impl FnOnce(u64),
) {
    table::lock(k, p);
    let pending = p.is_pending() && p.socket(Side::B).ino.load(Relaxed) != 0;
    if pending {
        let q = p.from(Side::A);
        let records = u32::try_from(q.writes.load(Relaxed)).unwrap_or(0);
        if !q.is_empty() && readable() == Some(q.queued(k.arena, false)) {
            p.early_sent.store(q.sent.load(Relaxed), Relaxed);
            p.early.store(records, Release);
        }
        take_over_locked(k, p, |most| match p.has_early() {
            true => {}
            false => empty(most),
        });
    }
    table::unlock(k, p, Progress::None);
    if pending {
        p.wake_everybody(k.host, 0);
    }
}

fn take_over_locked<H: Host>(k: &Ctx<'_, H>, p: &Pair, empty: impl FnOnce(u64)) {
    p.mode.store(mode::RING, Release);
    table::count_pending_out(k);
    crash_point("unix.accept.moved");
    empty(p.from(Side::A).writes.load(Relaxed) + 1);
    crash_point("unix.accept.emptied");
}

/// All that was sent before accept was received: its copy in the real socket goes. `empty` as in [`accept`].
pub fn end_early<H: Host>(k: &Ctx<'_, H>, p: &Pair, empty: impl FnOnce(u64)) {
    table::lock(k, p);
    if p.is_served() && p.has_late() {
        empty(u64::from(p.early.load(Relaxed)) + 1);
        p.early.store(0, Release);
    }
    table::unlock(k, p, Progress::None);
}
