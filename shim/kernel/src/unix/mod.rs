//! A pair of connected Unix sockets: two queues in the arena, one for each direction. See unix(7);
//! Linux v6.18 net/unix/af_unix.c.
//!
//! A [`queue`] has a lock for each side, as a pipe has. What a message costs its sender is in
//! [`cost`]. Under the pair lies a real one, its twin, which carries no data as long as `mode` is RING.
//!
//! # Invariants
//!
//! - Only the owner of a queue's `wlock` stores `head`, `sent`, `written` and bytes at or behind `head`;
//!   only the owner of its `rlock` stores `tail`, `freed` and `read`; `geometry` changes under both.
//! - `tail <= head <= tail + bytes`. What lies between is a row of whole records.
//! - Once `mode` is KERNEL it stays so until the slot is freed, and both queues stay empty.
//!
//! # Crash points
//!
//! - C1. Writer killed before `head` is stored: nothing was sent. After: it was, as after a kill at
//!   the end of send(2).
//! - C2. Reader killed before `tail` is stored: the bytes are still there for the next reader, and
//!   so is what they cost (`find_freed`).

pub mod cost;
pub mod demote;
pub mod flight;
pub mod name;
pub mod pending;
mod queue;
mod recv;
mod send;
mod table;

pub use queue::Queue;
pub use recv::{try_recv, Taken, Want};
pub use send::{check_length, try_send, Append, Sent};
pub use table::{create, find, get, release_if, wake_pending, New};

use crate::abi::SysError;
use crate::arena::{Arena, ArenaSafe};
use crate::host::Host;
use crate::log::{object, Logged};
use crate::pipe::{mode, Ctx};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::lock_word::{OwnerId, Progress};
use crate::task;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::A, Side::B];

    #[inline(always)]
    pub fn of(bit: u32) -> Side {
        match bit & 1 {
            0 => Side::A,
            _ => Side::B,
        }
    }

    #[inline(always)]
    pub fn bit(self) -> u32 {
        self as u32
    }

    #[inline(always)]
    pub fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }
}

/// SOCK_STREAM and its kin, as `Pair::kind` has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    Stream,
    Datagram,
    SeqPacket,
}

impl Type {
    /// (include/linux/net.h)
    pub fn from_raw(raw: u32) -> Option<Type> {
        match raw {
            1 => Some(Type::Stream),
            2 => Some(Type::Datagram),
            5 => Some(Type::SeqPacket),
            _ => None,
        }
    }

    #[inline(always)]
    pub fn is_connected(self) -> bool {
        self != Type::Datagram
    }
}

/// Bits of `Pair::shut`, for side A; side B's are two higher.
pub mod shut {
    pub const RECV: u32 = 1;
    pub const SEND: u32 = 2;

    #[inline(always)]
    pub fn of(side: super::Side, bits: u32) -> u32 {
        bits << (2 * side.bit())
    }
}

/// One of the two sockets.
#[repr(C, align(64))]
pub struct Socket {
    /// The twin's st_dev and st_ino.
    pub dev: AtomicU64,
    pub ino: AtomicU64,
    /// SO_RCVTIMEO and SO_SNDTIMEO, nanoseconds; 0: none.
    pub recv_timeout: AtomicU64,
    pub send_timeout: AtomicU64,
    /// SO_SNDBUF.
    pub sndbuf: AtomicU32,
    /// A thread that used it lately: see `pipe::Pipe::reader_witness`.
    pub witness: AtomicU32,
    /// Open file descriptions. A hint: a wrong count costs memory only.
    pub files: AtomicU32,
    /// That the peer went without reading everything was told.
    pub reset_told: AtomicU32,
    /// Of a datagram socket: it has found its peer dead, and is connected no more.
    pub disconnected: AtomicU32,
    _pad: [AtomicU32; 3],
}

/// In the arena.
#[repr(C, align(64))]
pub struct Pair {
    // It begins with a `file::Head`.
    pub mode: AtomicU32,
    pub generation: AtomicU32,
    /// N of socket#N.
    pub id: AtomicU32,
    pub next_free: AtomicU32,
    /// See [`Type`].
    pub kind: AtomicU32,
    pub demote_cause: AtomicU32,
    pub log_seq: AtomicU32,
    /// See [`shut`].
    pub shut: AtomicU32,
    pub created_tsc: AtomicU64,
    /// Who connected: its pid. 0 of a pair that socketpair(2) made.
    pub connector: AtomicU32,
    /// So many records that were sent before accept are in the real socket as well: see `pending`. 0: none.
    pub early: AtomicU32,
    /// What was sent along with messages.
    pub flights: flight::Flights,
    /// What side A had sent when side B began to receive: its queue's `sent`.
    pub early_sent: AtomicU64,
    _pad: [AtomicU64; 5],
    pub sockets: [Socket; 2],
    /// What each of them sends.
    pub queues: [Queue; 2],
    /// To what side A has connected.
    pub name: name::Name,
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Pair {}

impl Logged for Pair {
    fn object(&self) -> u32 {
        object::SOCKET | self.id.load(Relaxed)
    }

    fn order(&self) -> &AtomicU32 {
        &self.log_seq
    }
}

impl Pair {
    #[inline(always)]
    pub fn is_served(&self) -> bool {
        self.mode.load(Acquire) == mode::RING
    }

    /// Not accepted yet, as far as is known.
    #[inline(always)]
    pub fn is_pending(&self) -> bool {
        self.mode.load(Acquire) == mode::PENDING
    }

    /// Served, or the kernel carries what ringer keeps account of.
    #[inline(always)]
    pub fn is_ringers(&self) -> bool {
        matches!(self.mode.load(Acquire), mode::RING | mode::PENDING)
    }

    /// Whether what was sent before accept is in the real socket, too.
    #[inline(always)]
    pub fn has_early(&self) -> bool {
        self.early.load(Acquire) != 0
    }

    /// Whether it is, though all of that was received.
    #[inline(always)]
    pub fn has_late(&self) -> bool {
        let received = || self.from(Side::A).freed.load(Acquire);
        self.has_early() && received() >= self.early_sent.load(Relaxed)
    }

    /// Whether it was made by connect(2): side A is who connected, side B who accepted.
    pub fn is_connection(&self) -> bool {
        self.connector.load(Relaxed) != 0
    }

    /// Whether `side` may be received from by a program without ringer: also if nobody of the
    /// session is known to have accepted the connection.
    pub fn is_exposed(&self, side: Side) -> bool {
        self.flights.is_exposed(side) || self.socket(side).ino.load(Acquire) == 0
    }

    pub fn type_of(&self) -> Type {
        Type::from_raw(self.kind.load(Relaxed)).unwrap_or(Type::Stream)
    }

    #[inline(always)]
    pub fn socket(&self, side: Side) -> &Socket {
        let [a, b] = &self.sockets;
        match side {
            Side::A => a,
            Side::B => b,
        }
    }

    /// What `side` sends.
    #[inline(always)]
    pub fn from(&self, side: Side) -> &Queue {
        let [a, b] = &self.queues;
        match side {
            Side::A => a,
            Side::B => b,
        }
    }

    #[inline(always)]
    pub fn is_shut(&self, side: Side, bits: u32) -> bool {
        self.shut.load(Acquire) & shut::of(side, bits) != 0
    }

    /// shutdown(2), in one step for both sides, of which one's end is the other's beginning.
    pub fn shut_down<H: Host>(&self, k: &Ctx<'_, H>, side: Side, bits: u32) {
        let mut all = shut::of(side, bits);
        if self.type_of().is_connected() {
            let crossed = (bits & shut::RECV) << 1 | (bits & shut::SEND) >> 1;
            all |= shut::of(side.other(), crossed);
        }
        self.shut.fetch_or(all, AcqRel);
        self.wake_everybody(k.host, 0);
    }

    /// "I use this socket." `true`: it is news, so the caller checks that its descriptor is still open,
    /// and else calls [`Pair::forget_witness`].
    #[inline(always)]
    pub fn testify(&self, side: Side, me: OwnerId) -> bool {
        let witness = &self.socket(side).witness;
        if witness.load(Relaxed) == me.raw() {
            return false;
        }
        witness.store(me.raw(), SeqCst); // before the caller's look at its table
        true
    }

    /// A descriptor of it was closed, so nobody vouches for it any more.
    pub fn forget_witness(&self, side: Side) {
        self.socket(side).witness.store(0, SeqCst);
    }

    /// Whether it surely has a holder: somebody who used it and is alive, by the kernel's own mark.
    /// `false` says nothing: ask the twin.
    #[inline(always)]
    pub fn surely_held(&self, arena: &Arena, side: Side) -> bool {
        let witness = self.socket(side).witness.load(Acquire);
        match OwnerId::from_raw(witness).and_then(|o| task::task_of(arena, o)) {
            Some(task) => task.surely_alive(),
            None => false,
        }
    }

    /// `side`'s peer is gone: whether it left something unread, and that was not told yet.
    /// (unix_release_sock: `skpair->sk_err = ECONNRESET`)
    pub fn has_reset(&self, arena: &Arena, side: Side) -> bool {
        self.type_of().is_connected()
            && self.socket(side).reset_told.load(Acquire) == 0
            && self.from(side).has_more_than_nothing(arena)
    }

    /// As [`Pair::has_reset`]; from now on it is told.
    pub fn take_reset(&self, arena: &Arena, side: Side) -> bool {
        self.has_reset(arena, side) && self.socket(side).reset_told.swap(1, AcqRel) == 0
    }

    /// Everybody who sleeps looks again: a peer left, a side was shut down, or it was demoted.
    pub fn wake_everybody(&self, host: &impl Host, cause: u64) {
        for queue in &self.queues {
            queue.rd_wait.wake_all(host, cause);
            queue.wr_wait.wake_all(host, cause);
        }
    }

    /// Whose twin this is.
    pub fn side_of(&self, dev: u64, ino: u64) -> Option<Side> {
        Side::BOTH.into_iter().find(|&side| {
            let socket = self.socket(side);
            socket.dev.load(Relaxed) == dev && socket.ino.load(Relaxed) == ino
        })
    }
}

/// FIONREAD: what `side` can read, of datagrams in the first one.
pub fn readable<H: Host>(k: &Ctx<'_, H>, p: &Pair, side: Side) -> u64 {
    let q = p.from(side.other());
    q.lock_readers(k, p);
    let bytes = q.queued(k.arena, p.type_of() == Type::Datagram);
    q.unlock_readers(k, Progress::None, 0);
    bytes
}

/// Calls `f` for each message that `side` could receive, with its bytes in two pieces. `false`: `f` has
/// said so.
pub fn for_each_queued<H: Host>(
    k: &Ctx<'_, H>,
    p: &Pair,
    side: Side,
    mut f: impl FnMut([(*mut u8, usize); 2]) -> bool,
) -> bool {
    let q = p.from(side.other());
    q.lock_readers(k, p);
    let whole = q.for_each(k.arena, |_, pieces| f(pieces));
    q.unlock_readers(k, Progress::None, 0);
    whole
}

/// A pair that is being served, or `Demoted`.
#[inline(always)]
fn served(p: &Pair) -> Result<(), SysError> {
    is_in(p, mode::RING)
}

/// A pair in this mode, or `Demoted`.
#[inline(always)]
fn is_in(p: &Pair, mode: u32) -> Result<(), SysError> {
    match p.mode.load(Acquire) == mode {
        true => Ok(()),
        false => Err(SysError::Demoted),
    }
}

const _: () = assert!(core::mem::size_of::<Socket>() == 64);
const _: () = assert!(core::mem::size_of::<Pair>() == 36 * 64);
