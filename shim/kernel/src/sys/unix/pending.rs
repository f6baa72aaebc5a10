//! send(2) and recv(2) on a connection that nobody is known to have accepted. See `unix::pending`.

use super::send::send_ends;
use super::{asleep, no_restart, testify, Common, How, SendEnd};
use crate::abi::errno::{Errno, SysError};
use crate::file::SocketFile;
use crate::host::{Host, Twin, UserRead};
use crate::log::Cause;
use crate::pipe::Ctx;
use crate::sync::atomic::Ordering::*;
use crate::sync::wait_queue::Waitable;
use crate::sys::Blocking;
use crate::unix::{self, pending, Append, Pair, Type};

/// The real socket of who connected.
pub trait RealSocket {
    /// Sends one record, of two pieces, without waiting. EAGAIN: there is no room.
    fn send_now(&self, pieces: [(*mut u8, usize); 2]) -> Result<(), Errno>;
    /// What is charged to it (SIOCOUTQ). `None`: it can not be asked.
    fn charged(&self) -> Option<u64>;
    /// Whether something can be received, or nothing will ever be.
    fn is_readable(&self) -> bool;
}

/// send(2). `Demoted`: the connection is pending no more; so much was sent before.
pub fn pending_send<H: Host, T: Twin + RealSocket, U: UserRead>(
    k: &Ctx<'_, H>,
    s: &SocketFile,
    twin: &T,
    how: How,
    src: &mut U,
    len: usize,
) -> SendEnd {
    let (side, kind) = (s.side(), s.pair.type_of());
    testify(k, s, twin);
    if let Err(e) = unix::check_length(s.pair, side, len) {
        if kind != Type::Stream {
            let end = unless_over(k, s.pair, twin, e);
            return send_ends(k, s, 0, Err(end), false);
        }
    }
    let timeout = s.pair.socket(side).send_timeout.load(Relaxed);
    let mut w = Sending {
        common: Common::new(k, s, timeout, true),
        twin,
        src,
        what: Append { side, kind, len },
        sent: 0,
    };
    let q = s.pair.from(side);
    let end = match w.attempt() {
        Ok(None) if how.blocking == Blocking::No => Err(Errno::EAGAIN.into()),
        Ok(None) => asleep(twin, || {
            q.wr_wait
                .wait_interruptible(&q.rlock.word, k, k.host.processors(), &mut w)
        }),
        Ok(Some(())) => Ok(()),
        Err(e) => Err(e),
    };
    let (bytes, end) = (w.sent, no_restart(end, timeout));
    let broken = end == Err(Errno::EPIPE.into()) && kind == Type::Stream;
    send_ends(k, s, bytes, end, broken && bytes == 0)
}

/// Nobody will accept it any more, perhaps: what that comes to goes before `e`, and the kernel knows it.
#[cold]
fn unless_over<H: Host>(k: &Ctx<'_, H>, p: &Pair, twin: &impl RealSocket, e: Errno) -> SysError {
    match twin.is_readable() && pending::leave(k, p, Cause::Stranger) {
        true => SysError::Demoted,
        false => e.into(),
    }
}

struct Sending<'a, H: Host, T, U> {
    common: Common<'a, H>,
    twin: &'a T,
    src: &'a mut U,
    what: Append,
    sent: usize,
}

impl<H: Host, T: RealSocket, U: UserRead> Sending<'_, H, T, U> {
    /// Somebody takes out of the real socket what nobody of ours does.
    fn is_taken_from(&self) -> bool {
        let ours = self.common.p.from(self.what.side).charged();
        self.twin.charged().is_none_or(|there| there < ours)
    }
}

impl<H: Host, T: RealSocket, U: UserRead> Waitable for Sending<'_, H, T, U> {
    type Done = ();

    fn attempt(&mut self) -> Result<Option<()>, SysError> {
        let (k, p) = (self.common.k, self.common.p);
        self.common.same_pair()?;
        let left = Append {
            len: self.what.len - self.sent,
            ..self.what
        };
        let real = |pieces| self.twin.send_now(pieces);
        let step = pending::try_send(k, p, left, self.src, real)?;
        self.sent += step.bytes;
        if step.fault {
            return Err(unless_over(k, p, self.twin, Errno::EFAULT));
        }
        if step.done {
            return Ok(Some(()));
        }
        if self.is_taken_from() && pending::leave(k, p, Cause::Stranger) {
            return Err(SysError::Demoted);
        }
        match self.common.is_late() {
            true => Err(Errno::EAGAIN.into()),
            false => Ok(None),
        }
    }

    fn looks_ready(&self) -> bool {
        !self.common.p.is_pending()
    }

    fn patience(&self) -> u64 {
        self.common.patience()
    }

    fn is_over(&mut self) -> bool {
        !self.common.p.is_pending() || self.common.is_late() || self.is_taken_from()
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

/// recv(2): waits until the connection is pending no more. Nothing is received here.
pub fn pending_recv<H: Host, T: Twin + RealSocket>(
    k: &Ctx<'_, H>,
    s: &SocketFile,
    twin: &T,
    how: How,
) -> Result<(), SysError> {
    testify(k, s, twin);
    let q = s.pair.from(s.side().other());
    let timeout = s.pair.socket(s.side()).recv_timeout.load(Relaxed);
    let mut w = Receiving {
        common: Common::new(k, s, timeout, false),
        twin,
    };
    let end = match w.attempt()? {
        Some(()) => Ok(()),
        None if how.blocking == Blocking::No => Err(Errno::EAGAIN.into()),
        None => asleep(twin, || {
            q.rd_wait
                .wait_interruptible(&q.wlock.word, k, k.host.processors(), &mut w)
        }),
    };
    no_restart(end, timeout)
}

struct Receiving<'a, H: Host, T> {
    common: Common<'a, H>,
    twin: &'a T,
}

impl<H: Host, T: RealSocket> Waitable for Receiving<'_, H, T> {
    type Done = ();

    fn attempt(&mut self) -> Result<Option<()>, SysError> {
        let (k, p) = (self.common.k, self.common.p);
        self.common.same_pair()?;
        if self.twin.is_readable() {
            pending::leave(k, p, Cause::Stranger);
        }
        if !p.is_pending() {
            return Ok(Some(()));
        }
        match self.common.is_late() {
            true => Err(Errno::EAGAIN.into()),
            false => Ok(None),
        }
    }

    fn looks_ready(&self) -> bool {
        !self.common.p.is_pending()
    }

    fn patience(&self) -> u64 {
        self.common.patience()
    }

    fn is_over(&mut self) -> bool {
        !self.common.p.is_pending() || self.common.is_late() || self.twin.is_readable()
    }

    fn was_stopped(&mut self) -> bool {
        self.common.was_stopped(0)
    }

    fn blocked(&mut self) {
        self.common.blocked();
    }

    fn woken(&mut self, cause: u64) {
        self.common.woken(cause);
    }
}
