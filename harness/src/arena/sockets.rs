//! The pairs of sockets of an arena, as plain data.

use std::sync::atomic::Ordering::*;

use serde::Serialize;

use ringer_kernel::arena::{layout, Arena};
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::mode;
use ringer_kernel::unix::{self, Pair, Side, Type};

use super::descriptors::{Holder, Holders};

/// One of the two.
#[derive(Clone, Debug, Serialize)]
pub struct SocketView {
    pub holders: Vec<Holder>,
    /// Bytes for it that it has not received; of a pair in the kernel, ringer does not know.
    pub queued: u64,
    /// What it has sent, and what is charged to its SO_SNDBUF.
    pub sent: u64,
    pub charged: u64,
    pub sndbuf: u32,
    pub sleeping_to_receive: u32,
    pub sleeping_to_send: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct PairView {
    /// N of socket#N.
    pub id: u32,
    /// `stream`, `dgram` or `seqpacket`
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `arena`, `kernel`, `demoting` or `pending`: not accepted yet, as far as is known
    pub mode: &'static str,
    /// Why the kernel serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// Of a connection: the listener's name. Its first socket is who connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub sockets: [SocketView; 2],
}

/// A socket's name; zeroes are `@`, as in /proc/net/unix.
pub fn printable(name: &[u8]) -> String {
    let shown: Vec<u8> = name
        .iter()
        .map(|&b| if b == 0 { b'@' } else { b })
        .collect();
    String::from_utf8_lossy(&shown).into_owned()
}

fn name_of(p: &Pair) -> Option<String> {
    let (bytes, len) = p.name.get();
    (p.is_connection()).then(|| printable(bytes.get(..len).unwrap_or(&[])))
}

/// The pairs that are in use, in the order of their numbers.
pub fn pairs(arena: &Arena, holders: &mut Holders) -> Vec<PairView> {
    let mut found: Vec<PairView> = slots(arena)
        .map(|(slot, p)| {
            let mode = p.mode.load(Acquire);
            let cause = p.demote_cause.load(Relaxed);
            let (first, second) = holders.by_pair.remove(&slot).unwrap_or_default();
            PairView {
                id: p.id.load(Relaxed),
                kind: match p.type_of() {
                    Type::Stream => "stream",
                    Type::Datagram => "dgram",
                    Type::SeqPacket => "seqpacket",
                },
                mode: match mode {
                    mode::RING => "arena",
                    mode::KERNEL => "kernel",
                    mode::DEMOTING => "demoting",
                    mode::PENDING => "pending",
                    _ => "?",
                },
                cause: (mode == mode::KERNEL).then(|| Cause::describe(cause)),
                name: name_of(p),
                sockets: [socket(p, Side::A, first), socket(p, Side::B, second)],
            }
        })
        .collect();
    found.sort_by_key(|p| p.id);
    found
}

fn socket(p: &Pair, side: Side, holders: Vec<Holder>) -> SocketView {
    let (out, into) = (p.from(side), p.from(side.other()));
    SocketView {
        holders,
        queued: into
            .written
            .load(Relaxed)
            .saturating_sub(into.read.load(Relaxed)),
        sent: out.written.load(Relaxed),
        charged: out.charged(),
        sndbuf: p.socket(side).sndbuf.load(Relaxed),
        sleeping_to_receive: into.rd_wait.sleepers.load(Relaxed),
        sleeping_to_send: out.wr_wait.sleepers.load(Relaxed),
    }
}

/// Slots of the table of pairs that are in use.
pub fn slots(arena: &Arena) -> impl Iterator<Item = (u32, &'static Pair)> {
    let arena = *arena;
    let used = arena
        .header()
        .pairs_used
        .load(Acquire)
        .min(layout::MAX_PAIRS);
    (1..used).filter_map(move |slot| {
        let p = unix::get(&arena, slot)?;
        (p.mode.load(Acquire) != mode::FREE).then_some((slot, p))
    })
}
