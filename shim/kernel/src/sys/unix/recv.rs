//! recv(2) and its kin. Linux v6.18 net/unix/af_unix.c `unix_stream_read_generic`,
//! `__unix_dgram_recvmsg`; net/core/datagram.c.

use super::{asleep, no_reset, no_restart, testify, Common, How};
use crate::abi::errno::{Errno, SysError};
use crate::file::SocketFile;
use crate::host::{Host, Twin, UserWrite};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::sync::atomic::Ordering::*;
use crate::sync::wait_queue::Waitable;
use crate::sys::Blocking;
use crate::unix::{self, shut, Taken, Type, Want};

/// What receiving came to.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    pub bytes: usize,
    /// Of a packet: how long it was.
    pub packet: usize,
    /// There was something, if only of no length: it has a sender.
    pub any: bool,
    /// The kernel has what is still wanted (MSG_WAITALL).
    pub rest: bool,
}

/// recv(2).
#[inline(always)]
pub fn socket_recv<H: Host, T: Twin, U: UserWrite>(
    k: &Ctx<'_, H>,
    s: &SocketFile,
    twin: &T,
    how: How,
    dst: &mut U,
    len: usize,
) -> Result<Received, SysError> {
    let (p, side) = (s.pair, s.side());
    testify(k, s, twin);
    let kind = p.type_of();
    let want = Want {
        side,
        kind,
        len,
        peek: how.peek,
    };
    // "Sequenced packets": an error comes before what there is.
    if kind == Type::SeqPacket {
        if let Err(e) = no_reset(k, p, twin, side) {
            return recv_ends(k, s, Err(e));
        }
    }
    match unix::try_recv(k, p, want, dst) {
        Ok(t) if t.fault && t.bytes == 0 => recv_ends(k, s, Err(Errno::EFAULT.into())),
        Ok(t) if t.any && (t.bytes == len || !how.all || how.peek || kind != Type::Stream) => {
            Ok(received(&t))
        }
        Ok(t) if t.fault => Ok(received(&t)),
        Ok(t) => wait_to_recv(k, s, twin, dst, (want, how), t.bytes),
        Err(e) => Err(e),
    }
}

fn received(t: &Taken) -> Received {
    Received {
        bytes: t.bytes,
        packet: t.packet,
        any: t.any,
        rest: false,
    }
}

#[cold]
fn wait_to_recv<H: Host, T: Twin, U: UserWrite>(
    k: &Ctx<'_, H>,
    s: &SocketFile,
    twin: &T,
    dst: &mut U,
    (want, how): (Want, How),
    taken: usize,
) -> Result<Received, SysError> {
    let q = s.pair.from(want.side.other());
    let timeout = s.pair.socket(want.side).recv_timeout.load(Relaxed);
    let mut w = Receiving {
        common: Common::new(k, s, how.left_of(timeout), false),
        twin,
        dst,
        want,
        how,
        taken,
    };
    let end = match w.attempt() {
        Ok(Some(done)) => Ok(done),
        Ok(None) if how.blocking == Blocking::No => Err(Errno::EAGAIN.into()),
        Ok(None) => asleep(twin, || {
            q.rd_wait
                .wait_interruptible(&q.wlock.word, k, k.host.processors(), &mut w)
        }),
        Err(e) => Err(e),
    };
    match no_restart(end, timeout) {
        // What was there for MSG_WAITALL is not lost.
        Err(e) if w.taken > 0 => Ok(Received {
            bytes: w.taken,
            packet: 0,
            any: true,
            rest: e == SysError::Demoted,
        }),
        end => recv_ends(k, s, end),
    }
}

fn recv_ends<H: Host>(
    k: &Ctx<'_, H>,
    s: &SocketFile,
    end: Result<Received, SysError>,
) -> Result<Received, SysError> {
    if k.log.is_on() {
        let errno = match end {
            Err(SysError::Errno(errno)) => Some(errno.get()),
            Ok(Received { any: false, .. }) => Some(0),
            _ => None,
        };
        if let Some(errno) = errno {
            let who = u64::from(s.side().bit());
            k.log
                .about(s.pair, Kind::RecvFailed, 0, (i64::from(errno), 0, who));
        }
    }
    end
}

struct Receiving<'a, H: Host, T, U> {
    common: Common<'a, H>,
    twin: &'a T,
    dst: &'a mut U,
    want: Want,
    how: How,
    /// For MSG_WAITALL.
    taken: usize,
}

impl<H: Host, T: Twin, U: UserWrite> Receiving<'_, H, T, U> {
    fn take(&mut self) -> Result<Option<Received>, SysError> {
        let left = Want {
            len: self.want.len - self.taken,
            ..self.want
        };
        let t = unix::try_recv(self.common.k, self.common.p, left, self.dst)?;
        self.taken += t.bytes;
        if t.fault && self.taken == 0 {
            return Err(Errno::EFAULT.into());
        }
        let all = self.how.all && !self.how.peek && self.want.kind == Type::Stream;
        let enough = t.any && (!all || self.taken == self.want.len);
        Ok((enough || t.fault).then_some(Received {
            bytes: self.taken,
            packet: t.packet,
            any: t.any || self.taken > 0,
            rest: false,
        }))
    }

    /// Nothing more will come.
    fn end(&self) -> Result<Option<Received>, SysError> {
        let nothing = Received {
            bytes: self.taken,
            packet: 0,
            any: self.taken > 0,
            rest: false,
        };
        Ok(Some(nothing))
    }
}

impl<H: Host, T: Twin, U: UserWrite> Waitable for Receiving<'_, H, T, U> {
    type Done = Received;

    fn attempt(&mut self) -> Result<Option<Received>, SysError> {
        let (p, side, kind) = (self.common.p, self.want.side, self.want.kind);
        self.common.same_pair()?;
        if let Some(done) = self.take()? {
            return Ok(Some(done));
        }
        if kind.is_connected() && self.common.peer_gone(self.twin) {
            // The peer may have sent and closed since we looked.
            if let Some(done) = self.take()? {
                return Ok(Some(done));
            }
            if p.take_reset(self.common.k.arena, side) {
                return Err(Errno::ECONNRESET.into());
            }
            return self.end();
        }
        if p.is_shut(side, shut::RECV) {
            // What was sent before the other side was shut down.
            if let Some(done) = self.take()? {
                return Ok(Some(done));
            }
            let silent = kind == Type::Datagram && self.how.blocking == Blocking::No;
            return if silent { Ok(None) } else { self.end() };
        }
        if self.common.is_late() {
            return Err(Errno::EAGAIN.into());
        }
        Ok(None)
    }

    fn looks_ready(&self) -> bool {
        let p = self.common.p;
        !p.from(self.want.side.other()).is_empty()
            || p.is_shut(self.want.side, shut::RECV)
            || !p.is_served()
    }

    fn mark(&self) -> u64 {
        self.common
            .p
            .from(self.want.side.other())
            .head
            .load(Relaxed)
    }

    fn patience(&self) -> u64 {
        self.common.patience()
    }

    fn doubt(&mut self) {
        self.common.doubt = true;
    }

    fn is_over(&mut self) -> bool {
        let connected = self.want.kind.is_connected();
        match connected {
            true => self.common.is_over(self.twin),
            false => {
                !self.common.p.is_served()
                    || self.common.same_pair().is_err()
                    || self.common.is_late()
            }
        }
    }

    fn was_stopped(&mut self) -> bool {
        self.common.was_stopped(self.taken)
    }

    fn blocked(&mut self) {
        self.common.blocked();
    }

    fn woken(&mut self, cause: u64) {
        self.common.woken(cause);
    }
}
