//! Readiness of a polled pipe, mirrored into its twin, so that the kernel's own poll, select and
//! epoll tell it.
//!
//! A token is one slot of the twin (one byte, never merged). The twin has as many slots as the
//! ring, so its kernel readiness is exactly: no token = writable, some = both, all = readable.
//!
//! Writers only add tokens (they hold the write end), readers only take them. Each side brings
//! the twin into line *after* its own change, under `token_lock`, by the ring as it is then; so
//! a side that may not move the tokens the right way can rely on the other, whose change made
//! that necessary, to come.
//!
//! For EPOLLET every write into a pipe that is polled makes an edge, even one that fails (fs/pipe.c
//! `poll_usage`), and O_ASYNC sends a signal for every read and write: where no token moves, the
//! twin is poked, which makes the kernel tell, and changes nothing.
//!
//! # Crash points
//!
//! - C1. Killed between moving a token and counting it: the next owner of `token_lock` finds it
//!   orphaned and counts anew in the twin.

use super::slot::{self, Tail};
use super::{Ctx, Pipe};
use crate::file::End;
use crate::host::Host;
use crate::log::Kind;
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::Progress;
use crate::sync::robust::Found;

/// The twin's end (or both) at hand.
pub trait Tokens {
    /// Adds up to `n`; how many went in.
    fn add(&self, n: u32) -> u32;
    /// As [`Tokens::add`], while there are none.
    fn add_first(&self, n: u32) -> u32 {
        self.add(n)
    }
    /// Takes up to `n`; how many came out.
    fn take(&self, n: u32) -> u32;
    /// As `take(1)`, of a token that is there: both ends are this thread's, and what it has counted is true.
    fn take_own(&self) -> u32 {
        self.take(1)
    }
    /// How many there are.
    fn count(&self) -> Option<u32>;
    /// Has the kernel tell the other end that something happened, without a token.
    fn poke(&self);
    /// Has the kernel tell the write end that there is room, without a token.
    fn tell_room(&self) {}
}

/// Bits of `Pipe::watched`.
pub mod watched {
    /// Polled: levels are mirrored.
    pub const LEVEL: u32 = 1;
    /// In an epoll set, or O_ASYNC on the read end: every write is told.
    pub const WRITES: u32 = 2;
    /// O_ASYNC on the write end: every read is told.
    pub const READS: u32 = 4;
}

/// What the caller may move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Writer,
    /// A writer that found the ring full before it was done.
    WriterStopped,
    Reader,
    Both,
}

impl Side {
    pub fn after(end: End) -> Side {
        match end {
            End::Read => Side::Reader,
            End::Write => Side::Writer,
        }
    }
}

/// Tokens that the ring's state calls for: at least, and at most.
fn wanted(p: &Pipe) -> (u32, u32) {
    let slots = p.capacity().max(2);
    let tail = Tail::from_raw(p.tail.load(Acquire));
    let head = p.head.load(Acquire);
    if head == tail.seq {
        (0, 0)
    } else if slot::is_full(head, tail.seq, slots) {
        (slots, slots)
    } else {
        (1, 1)
    }
}

/// A pipe, and the generation of which the caller knows. Another thread may have closed it since, and the slot be another's:
/// its tokens are in another twin.
pub type Known<'a> = (&'a Pipe, u32);

/// As it is now.
pub fn known(p: &Pipe) -> Known<'_> {
    (p, p.generation.load(Acquire))
}

/// Brings the twin into line with the ring, as far as this side can.
pub fn reconcile<H: Host>(
    k: &Ctx<'_, H>,
    (p, generation): Known<'_>,
    twin: &impl Tokens,
    side: Side,
) {
    let found = p.token_lock.lock(k.me, k.host, k);
    if found != Found::InOrder {
        if let Some(n) = twin.count() {
            p.tokens.store(n, Relaxed); // C1
        }
    }
    let same = p.generation.load(Acquire) == generation;
    let moved = if same && p.is_ring() {
        let own = found == Found::InOrder && p.is_used_by(k.me);
        move_tokens(p, twin, side, own)
    } else {
        0
    };
    let _ = p.token_lock.unlock(k.me, Progress::None, k.host);
    if !same {
        return;
    }
    // It will wait for an edge. If a reader has made room since, and nobody had mirrored that the
    // ring was full, none would come.
    if side == Side::WriterStopped && !p.looks_full() {
        twin.tell_room();
    }
    let told = match side {
        Side::Writer | Side::WriterStopped => watched::WRITES,
        Side::Reader => watched::READS,
        Side::Both => 0,
    };
    if moved == 0 && p.watched.load(Relaxed) & told != 0 {
        twin.poke();
    }
}

/// How many went in or came out. `token_lock` is held.
fn move_tokens(p: &Pipe, twin: &impl Tokens, side: Side, own: bool) -> u32 {
    let have = p.tokens.load(Relaxed);
    let (least, most) = wanted(p);
    let (asked, moved, now) = if have < least && side != Side::Reader {
        let moved = match have {
            0 => twin.add_first(least),
            _ => twin.add(least - have),
        };
        (least - have, moved, have.wrapping_add(moved))
    } else if have > most && matches!(side, Side::Reader | Side::Both) {
        let moved = match have - most {
            1 if own => twin.take_own(),
            more => twin.take(more),
        };
        (have - most, moved, have - moved.min(have))
    } else {
        return 0;
    };
    // Fewer than it should be: what was counted may be wrong.
    let short = moved < asked;
    let counted = if short { twin.count() } else { None };
    p.tokens.store(counted.unwrap_or(now), Relaxed);
    moved
}

/// From now on every change of readiness is mirrored, and what `how` (bits of [`watched`]) says
/// is told. `twin` must have both ends.
pub fn watch<H: Host>(k: &Ctx<'_, H>, p: &Pipe, twin: &impl Tokens, how: u32) {
    // SeqCst, and a locked instruction on the other side between its publication and its look at
    // `watched`: either it sees the mark, or `reconcile` sees what it published.
    if p.watched.fetch_or(how | watched::LEVEL, SeqCst) == 0 {
        k.log.pipe(p, Kind::Watch, 0, (0, 0, 0));
    }
    reconcile(k, known(p), twin, Side::Both);
}

/// Takes all tokens out, for demotion. `token_lock` is held by the caller's caller, in effect:
/// both sides of the ring are locked, and nobody reconciles a pipe that is no ring.
pub(super) fn clear<H: Host>(k: &Ctx<'_, H>, p: &Pipe, twin: &impl Tokens, before: u32) {
    let _ = p.token_lock.lock(k.me, k.host, k);
    // In a pipe that was left DEMOTING the twin holds data already, and no tokens.
    if before == super::mode::RING {
        if let Some(n) = twin.count().filter(|&n| n > 0) {
            twin.take(n);
        }
    }
    p.tokens.store(0, Relaxed);
}

/// The pipe is being freed, and has its next generation: who is still moving its tokens is waited for, and who comes later
/// finds another one.
pub(super) fn forget<H: Host>(k: &Ctx<'_, H>, p: &Pipe) {
    let _ = p.token_lock.lock(k.me, k.host, k);
    p.tokens.store(0, Relaxed);
    p.watched.store(0, Relaxed);
    let _ = p.token_lock.unlock(k.me, Progress::None, k.host);
}

pub(super) fn cleared<H: Host>(k: &Ctx<'_, H>, p: &Pipe) {
    let _ = p.token_lock.unlock(k.me, Progress::None, k.host);
}
