//! send(2) and its kin. Linux v6.18 net/unix/af_unix.c `unix_stream_sendmsg`, `unix_dgram_sendmsg`.

use super::{asleep, no_restart, testify, Common, How};
use crate::abi::errno::{Errno, SysError};
use crate::file::SocketFile;
use crate::host::{Host, Twin, UserRead, UserWrite};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::sync::atomic::Ordering::*;
use crate::sync::wait_queue::Waitable;
use crate::sys::Blocking;
use crate::unix::{self, cost, shut, Append, Pair, Side, Type, Want};

/// What sending came to. `bytes` were sent in any case.
#[must_use]
pub struct SendEnd {
    pub bytes: usize,
    /// Why it ended before all was sent; `Ok` if all was.
    pub end: Result<(), SysError>,
    /// A stream that was broken from the start: SIGPIPE, unless MSG_NOSIGNAL.
    pub sigpipe: bool,
}

const EPIPE: SysError = SysError::Errno(Errno::EPIPE);

/// send(2): on a stream as much as there is room for, again and again; a packet whole.
#[inline(always)]
pub fn socket_send<H: Host, T: Twin, U: UserRead>(
    k: &Ctx<'_, H>,
    s: &SocketFile,
    twin: &T,
    how: How,
    src: &mut U,
    len: usize,
) -> SendEnd {
    let (p, side) = (s.pair, s.side());
    let kind = p.type_of();
    testify(k, s, twin);
    if let Err(e) = may_send(k, p, twin, side, kind, len, src) {
        let sigpipe = kind == Type::Stream && e == EPIPE;
        return send_ends(k, s, 0, Err(e), sigpipe);
    }
    if len == 0 && kind == Type::Stream {
        return SendEnd {
            bytes: 0,
            end: Ok(()),
            sigpipe: false,
        };
    }
    let what = Append { side, kind, len };
    match unix::try_send(k, p, what, src) {
        Ok(sent) if sent.done => SendEnd {
            bytes: sent.bytes,
            end: Ok(()),
            sigpipe: false,
        },
        Ok(sent) if sent.fault => send_ends(k, s, sent.bytes, Err(Errno::EFAULT.into()), false),
        Ok(sent) if how.blocking == Blocking::No => {
            send_ends(k, s, sent.bytes, Err(Errno::EAGAIN.into()), false)
        }
        Ok(sent) => wait_to_send(k, s, twin, src, (what, how), sent.bytes),
        Err(e) => send_ends(k, s, 0, Err(e), false),
    }
}

/// What is looked at before anything is sent.
#[inline(always)]
fn may_send<H: Host, T: Twin, U: UserRead>(
    k: &Ctx<'_, H>,
    p: &'static Pair,
    twin: &T,
    side: Side,
    kind: Type,
    len: usize,
    src: &mut U,
) -> Result<(), SysError> {
    let peer_held = p.surely_held(k.arena, side.other());
    if kind == Type::Stream {
        if p.is_shut(side, shut::SEND) || (!peer_held && twin.peer_gone()) {
            return Err(EPIPE);
        }
        return Ok(());
    }
    let gone = !peer_held && twin.peer_gone();
    if kind == Type::SeqPacket && gone && p.take_reset(k.arena, side) {
        return Err(Errno::ECONNRESET.into());
    }
    unix::check_length(p, side, len)?;
    if p.is_shut(side, shut::SEND) || (kind == Type::SeqPacket && gone) {
        return Err(EPIPE);
    }
    if kind == Type::Datagram {
        let disconnected = p.socket(side).disconnected.load(Acquire) != 0;
        if gone || disconnected || is_refused(p, side) {
            return Err(to_nobody(
                k,
                p,
                twin,
                side,
                (gone, disconnected),
                (len, src),
            ));
        }
    }
    Ok(())
}

/// Whether the peer has shut its receiving side, and it would come to that: an own buffer that is full
/// comes first.
#[inline(always)]
fn is_refused(p: &Pair, side: Side) -> bool {
    p.is_shut(side.other(), shut::RECV) && {
        let sndbuf = p.socket(side).sndbuf.load(Relaxed);
        cost::has_room(p.from(side).charged(), sndbuf)
    }
}

/// A datagram that nobody will get. (unix_dgram_sendmsg: the message is made before its receiver is
/// looked for.)
#[cold]
fn to_nobody<H: Host, T: Twin, U: UserRead>(
    k: &Ctx<'_, H>,
    p: &Pair,
    twin: &T,
    side: Side,
    (gone, disconnected): (bool, bool),
    (len, src): (usize, &mut U),
) -> SysError {
    let mut bytes = [0u8; 256];
    let start = src.position();
    let mut left = len;
    while left > 0 {
        let n = left.min(bytes.len());
        if !src.copy_in(bytes.as_mut_ptr(), n) {
            src.rewind(start);
            return Errno::EFAULT.into();
        }
        left -= n;
    }
    src.rewind(start);
    match (disconnected, gone) {
        (true, _) => Errno::ENOTCONN.into(),
        (_, true) => to_the_dead(k, p, twin, side),
        _ => EPIPE,
    }
}

/// A datagram for a peer that is gone. (unix_dgram_sendmsg: SOCK_DEAD)
#[cold]
fn to_the_dead<H: Host>(k: &Ctx<'_, H>, p: &Pair, twin: &impl Twin, side: Side) -> SysError {
    p.socket(side).disconnected.store(1, Release);
    twin.disconnect();
    // "drops our receive queue" (unix_dgram_disconnected)
    let mut nowhere = Nowhere;
    let want = Want {
        side,
        kind: Type::Datagram,
        len: 0,
        peek: false,
    };
    while unix::try_recv(k, p, want, &mut nowhere).is_ok_and(|t| t.any) {}
    Errno::ECONNREFUSED.into()
}

struct Nowhere;

impl UserWrite for Nowhere {
    fn copy_out(&mut self, _: *const u8, _: usize) -> bool {
        true
    }
}

#[cold]
fn wait_to_send<H: Host, T: Twin, U: UserRead>(
    k: &Ctx<'_, H>,
    s: &SocketFile,
    twin: &T,
    src: &mut U,
    (what, how): (Append, How),
    sent: usize,
) -> SendEnd {
    let q = s.pair.from(what.side);
    let timeout = s.pair.socket(what.side).send_timeout.load(Relaxed);
    let mut w = Sending {
        common: Common::new(k, s, how.left_of(timeout), true),
        twin,
        src,
        what,
        sent,
    };
    let end = asleep(twin, || {
        q.wr_wait
            .wait_interruptible(&q.rlock.word, k, k.host.processors(), &mut w)
    });
    let end = no_restart(end, timeout);
    let bytes = w.sent;
    send_ends(k, s, bytes, end, false)
}

pub(super) fn send_ends<H: Host>(
    k: &Ctx<'_, H>,
    s: &SocketFile,
    bytes: usize,
    end: Result<(), SysError>,
    sigpipe: bool,
) -> SendEnd {
    if let (true, Err(SysError::Errno(errno))) = (k.log.is_on(), end) {
        let who = u64::from(s.side().bit());
        let abc = (i64::from(errno.get()), bytes as u64, who);
        k.log.about(s.pair, Kind::SendFailed, 0, abc);
    }
    SendEnd {
        bytes,
        end,
        sigpipe,
    }
}

struct Sending<'a, H: Host, T, U> {
    common: Common<'a, H>,
    twin: &'a T,
    src: &'a mut U,
    what: Append,
    sent: usize,
}

impl<H: Host, T: Twin, U: UserRead> Waitable for Sending<'_, H, T, U> {
    type Done = ();

    fn attempt(&mut self) -> Result<Option<()>, SysError> {
        let (k, p, side) = (self.common.k, self.common.p, self.what.side);
        self.common.same_pair()?;
        if self.common.peer_gone(self.twin) {
            return Err(match self.what.kind {
                Type::Datagram if p.is_shut(side, shut::SEND) => EPIPE,
                Type::Datagram => to_the_dead(k, p, self.twin, side),
                _ if p.take_reset(k.arena, side) => Errno::ECONNRESET.into(),
                _ => EPIPE,
            });
        }
        let refused = self.what.kind == Type::Datagram && is_refused(p, side);
        if p.is_shut(side, shut::SEND) || refused {
            return Err(EPIPE);
        }
        let left = Append {
            len: self.what.len - self.sent,
            ..self.what
        };
        let step = unix::try_send(k, p, left, self.src)?;
        self.sent += step.bytes;
        if step.fault {
            return Err(Errno::EFAULT.into());
        }
        if !step.done && self.common.is_late() {
            return Err(Errno::EAGAIN.into());
        }
        Ok(step.done.then_some(()))
    }

    fn looks_ready(&self) -> bool {
        let p = self.common.p;
        let sndbuf = p.socket(self.what.side).sndbuf.load(Relaxed);
        cost::is_writable(p.from(self.what.side).charged(), sndbuf)
            || p.is_shut(self.what.side, shut::SEND)
            || !p.is_served()
    }

    fn mark(&self) -> u64 {
        self.common.p.from(self.what.side).tail.load(Relaxed)
    }

    fn patience(&self) -> u64 {
        self.common.patience()
    }

    fn doubt(&mut self) {
        self.common.doubt = true;
    }

    fn is_over(&mut self) -> bool {
        self.common.is_over(self.twin)
    }

    fn was_stopped(&mut self) -> bool {
        self.common.was_stopped(self.sent)
    }

    fn blocked(&mut self) {
        self.common.blocked();
    }

    fn woken(&mut self, cause: u64) {
        self.common.woken(cause);
    }
}
