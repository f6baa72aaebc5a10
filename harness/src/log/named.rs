//! Shared memory and semaphores by name: from a record to an entry, and from there to a line.

use std::fmt::{self, Write};

use ringer_kernel::log::{Kind, Record};

use super::entry::{Entry, ErrorNumber, Op};
use crate::ui::human;

/// What takes longer was asleep.
pub const BLOCKED_NS: u64 = 20_000;

fn op(kind: Kind) -> Option<Op> {
    Some(match kind {
        Kind::ShmOpen => Op::ShmOpen,
        Kind::ShmUnlink => Op::ShmUnlink,
        Kind::SemOpen => Op::SemOpen,
        Kind::SemUnlink => Op::SemUnlink,
        Kind::MemfdCreate => Op::MemfdCreate,
        Kind::SemPost => Op::SemPost,
        Kind::SemWait => Op::SemWait,
        _ => return None,
    })
}

pub fn is_named(kind: Kind) -> bool {
    op(kind).is_some()
}

pub fn decode(e: &mut Entry, r: &Record, kind: Kind, ns: impl Fn(u64) -> u64) {
    e.op = op(kind).unwrap_or_default();
    if (-4095..0).contains(&r.a) {
        e.ret = Some(-1);
        e.errno = Some(ErrorNumber(-r.a as i32));
    } else {
        e.ret = Some(r.a);
    }
    match kind {
        Kind::SemPost => {
            e.address = Some(r.b);
            e.count = Some(r.c);
            return;
        }
        Kind::SemWait => {
            e.address = Some(r.b);
            e.slept_ns = Some(ns(r.c)).filter(|&ns| ns > BLOCKED_NS);
            return;
        }
        _ => {}
    }
    e.name = Some(text_of(r));
}

/// The sixteen bytes of a name, or of a part of one, that a record has.
pub fn text_of(r: &Record) -> String {
    let bytes = (u128::from(r.b) | u128::from(r.c) << 64).to_le_bytes();
    let len = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(bytes.get(..len).unwrap_or(&[]));
    let more = if len == bytes.len() { "..." } else { "" };
    format!("{text}{more}")
}

pub fn is_call(op: Op) -> bool {
    matches!(
        op,
        Op::ShmOpen
            | Op::ShmUnlink
            | Op::SemOpen
            | Op::SemUnlink
            | Op::MemfdCreate
            | Op::SemPost
            | Op::SemWait
    )
}

/// The call, without its result.
pub fn text(out: &mut String, e: &Entry) -> fmt::Result {
    if let Some(address) = e.address {
        write!(out, "{}({address:#x})", e.op.name().replace('-', "_"))?;
        return Ok(());
    }
    let name = e.name.as_deref().unwrap_or("");
    write!(out, "{}({name:?})", e.op.name().replace('-', "_"))
}

/// What follows the call.
pub fn detail(words: &mut Vec<String>, e: &Entry) {
    if let (Op::SemPost, Some(value)) = (e.op, e.count) {
        words.push(format!("value {value}"));
    }
    if let (Op::SemWait, Some(ns)) = (e.op, e.slept_ns) {
        words.push(format!("blocked for {}", human::duration(ns)));
    }
}

/// An address is shown as one; else as `otherwise` does.
pub fn ret(
    out: &mut String,
    e: &Entry,
    otherwise: impl Fn(&mut String, &Entry) -> fmt::Result,
) -> fmt::Result {
    match (e.op, e.errno, e.ret) {
        (Op::SemOpen, None, Some(address)) => write!(out, " = {address:#x}"),
        _ => otherwise(out, e),
    }
}
