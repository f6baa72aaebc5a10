//! Readiness of a polled queue, mirrored into its twin, so that the kernel's own poll, select and epoll
//! tell it. The twin is a FIFO of two slots on which every descriptor of the queue is opened:
//!
//! ```text
//! tokens | the queue is            | the kernel says
//! 0      | empty                   | writable
//! 1      | neither empty nor full  | both
//! 2      | full                    | readable
//! ```
//!
//! All under the queue's lock. In Linux every message that goes in or out wakes pollers (`__do_notify`,
//! `pipelined_receive`), which edge-triggered epoll shows: where no token moves, the twin is poked.
//!
//! # Crash points
//!
//! - C1. Killed while tokens are moved: `tokens` says that nobody knows, and they are counted.

use crate::host::{crash_point, Host};
use crate::log::Kind;
use crate::mqueue::Handle;
use crate::pipe::watch::{watched, Tokens};
use crate::pipe::Ctx;
use crate::sync::atomic::Ordering::*;

const UNKNOWN: u32 = u32::MAX;

/// After a message went in (`sent`) or out.
#[inline(always)]
pub fn mirror<H: Host>(k: &Ctx<'_, H>, h: &Handle, twin: &impl Tokens, sent: bool) {
    if h.q.watched.load(Relaxed) != 0 {
        reconcile(k, h, twin, Some(sent));
    }
}

fn wanted(h: &Handle) -> u32 {
    match h.q.count.load(Relaxed) {
        0 => 0,
        _ if h.q.is_full() => 2,
        _ => 1,
    }
}

#[cold]
fn reconcile<H: Host>(_: &Ctx<'_, H>, h: &Handle, twin: &impl Tokens, sent: Option<bool>) {
    let wanted = wanted(h);
    let moved = h.q.tokens.load(Relaxed) != wanted;
    if moved {
        h.q.tokens.store(UNKNOWN, Relaxed);
        crash_point("mq.mirror");
        let there = twin.count().unwrap_or(wanted);
        if there < wanted {
            twin.add(wanted - there);
        } else if there > wanted {
            twin.take(there - wanted);
        }
        crash_point("mq.mirrored");
        h.q.tokens.store(wanted, Relaxed);
    }
    if h.q.watched.load(Relaxed) & watched::WRITES != 0 {
        match sent {
            Some(true) => twin.poke(),
            Some(false) => {
                twin.poke();
                twin.tell_room();
            }
            None => {}
        }
    }
}

/// From now on readiness is mirrored: `how` is a bit of `watched`.
pub fn watch<H: Host>(k: &Ctx<'_, H>, h: &Handle, twin: &impl Tokens, how: u32) {
    h.lock(k);
    if h.q.watched.load(Relaxed) == 0 {
        h.q.tokens.store(UNKNOWN, Relaxed);
        h.log(k, Kind::Watch, 0, (0, 0, 0));
    }
    h.q.watched.fetch_or(how, AcqRel);
    reconcile(k, h, twin, None);
    h.unlock(k);
}
