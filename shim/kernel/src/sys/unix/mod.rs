//! send(2), recv(2) and their kin on one of a pair of sockets. See unix(7); Linux v6.18
//! net/unix/af_unix.c.

mod pending;
mod recv;
mod send;

pub use pending::{pending_recv, pending_send, RealSocket};
pub use recv::{socket_recv, Received};
pub use send::{socket_send, SendEnd};

use super::wait::Wait;
use super::Blocking;
use crate::abi::errno::{Errno, Restart, SysError};
use crate::file::SocketFile;
use crate::host::{Host, Twin};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::sync::atomic::Ordering::*;
use crate::sync::wait_queue::RECHECK_NS;
use crate::task::{stops::Watch, waits};
use crate::unix::{Pair, Side};

/// How a call is made.
#[derive(Clone, Copy)]
pub struct How {
    pub blocking: Blocking,
    pub peek: bool,
    /// MSG_WAITALL.
    pub all: bool,
    /// So many nanoseconds of the socket's timeout are over.
    pub waited_ns: u64,
}

impl How {
    /// What is left of a timeout. 0: there is none.
    fn left_of(self, timeout: u64) -> u64 {
        match timeout {
            0 => 0,
            ns => ns.saturating_sub(self.waited_ns).max(1),
        }
    }
}

/// "I use this socket", and takes it back if the descriptor was closed meanwhile by another thread.
#[inline(always)]
fn testify<H: Host, T: Twin>(k: &Ctx<'_, H>, s: &SocketFile, twin: &T) {
    if s.pair.testify(s.side(), k.me) && !twin.is_open() {
        s.pair.forget_witness(s.side());
    }
}

/// socket(7): "If an input or output function blocks ... a timeout has been set", SA_RESTART has no
/// effect [signal(7)].
fn no_restart<T>(end: Result<T, SysError>, timeout: u64) -> Result<T, SysError> {
    match end {
        Err(SysError::Restart(Restart::Sys)) if timeout != 0 => Err(Errno::EINTR.into()),
        end => end,
    }
}

/// A wait holds the file.
fn asleep<T>(twin: &impl Twin, wait: impl FnOnce() -> Result<T, SysError>) -> Result<T, SysError> {
    let result = match twin.hold() {
        true => wait(),
        false => Err(Errno::EBADF.into()),
    };
    twin.let_go();
    result
}

/// What both kinds of waiting have.
struct Common<'a, H: Host> {
    k: &'a Ctx<'a, H>,
    p: &'static Pair,
    side: Side,
    /// The pair's, when the call began: its slot may be another one's by now.
    generation: u32,
    /// The witness of the other side is not believed: ask the twin.
    doubt: bool,
    /// CLOCK_MONOTONIC; 0: none.
    deadline: u64,
    writes: bool,
    wait: Wait<'a, H>,
    stops: Watch,
}

impl<'a, H: Host> Common<'a, H> {
    fn new(k: &'a Ctx<'a, H>, s: &SocketFile, timeout: u64, writes: bool) -> Self {
        Common {
            k,
            p: s.pair,
            side: s.side(),
            generation: s.pair.generation.load(Acquire),
            doubt: false,
            deadline: match timeout {
                0 => 0,
                ns => k.host.now_ns().saturating_add(ns),
            },
            writes,
            wait: Wait::new(k, waits::SOCKET | s.slot()),
            stops: Watch::begin(k),
        }
    }

    fn same_pair(&self) -> Result<(), SysError> {
        match self.p.generation.load(Acquire) == self.generation {
            true => Ok(()),
            false => Err(SysError::Demoted), // the kernel knows what the descriptor is
        }
    }

    fn peer_gone(&self, twin: &impl Twin) -> bool {
        let held = !self.doubt && self.p.surely_held(self.k.arena, self.side.other());
        !held && twin.peer_gone()
    }

    fn is_late(&self) -> bool {
        self.deadline != 0 && self.k.host.now_ns() >= self.deadline
    }

    /// A stop ends a call with a timeout, and one that has something to return. [signal(7)]
    fn was_stopped(&self, moved: usize) -> bool {
        (self.deadline != 0 || moved > 0) && self.stops.is_over(self.k)
    }

    fn patience(&self) -> u64 {
        match self.deadline {
            0 => RECHECK_NS,
            at => at.saturating_sub(self.k.host.now_ns()).clamp(1, RECHECK_NS),
        }
    }

    fn is_over(&self, twin: &impl Twin) -> bool {
        !self.p.is_served() || self.same_pair().is_err() || self.is_late() || twin.peer_gone()
    }

    fn blocked(&mut self) {
        self.wait.begin(self.writes);
        let who = u64::from(self.side.bit());
        let abc = (i64::from(self.writes), 0, who);
        self.k.log.about(self.p, Kind::Block, 0, abc);
    }

    fn woken(&mut self, cause: u64) {
        let ticks = self.wait.finish();
        let abc = (ticks as i64, 0, 0);
        self.k.log.about(self.p, Kind::Wake, cause, abc);
    }
}

#[inline(always)]
fn no_reset<H: Host, T: Twin>(
    k: &Ctx<'_, H>,
    p: &'static Pair,
    twin: &T,
    side: Side,
) -> Result<(), SysError> {
    let gone = !p.surely_held(k.arena, side.other()) && twin.peer_gone();
    if !gone || !p.take_reset(k.arena, side) {
        return Ok(());
    }
    if p.has_early() {
        twin.reset_told();
    }
    Err(Errno::ECONNRESET.into())
}

/// getsockopt(SO_ERROR): an error that is told, and so is no more.
pub fn socket_error<H: Host, T: Twin>(k: &Ctx<'_, H>, s: &SocketFile, twin: &T) -> i32 {
    match no_reset(k, s.pair, twin, s.side()) {
        Err(SysError::Errno(errno)) => errno.get(),
        _ => 0,
    }
}

/// SIOCOUTQ: what is charged to this socket. A peer that goes takes with it what it has not read.
pub fn socket_charged<H: Host, T: Twin>(k: &Ctx<'_, H>, s: &SocketFile, twin: &T) -> u64 {
    let (p, side) = (s.pair, s.side());
    let gone = !p.surely_held(k.arena, side.other()) && twin.peer_gone();
    match gone {
        true => 0,
        false => p.from(side).charged(),
    }
}
