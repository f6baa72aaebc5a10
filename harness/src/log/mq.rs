//! Message queues: from a record to an entry, and from there to a line.

use std::fmt::{self, Write};

use ringer_kernel::log::{Kind, Record};

use super::entry::{Entry, ErrorNumber, Op};
use super::flags;

/// Whether the record is about a queue only.
pub fn is_mq(kind: Kind) -> bool {
    (Kind::MqCreate.raw()..=Kind::MqNotifyOff.raw()).contains(&kind.raw())
}

pub fn decode(e: &mut Entry, r: &Record, kind: Kind) {
    match kind {
        Kind::MqCreate | Kind::MqOpen => {
            e.op = Op::MqOpen;
            e.ret = Some(r.a);
            e.fd = None;
            if kind == Kind::MqCreate {
                e.flags = Some(flags::mq_open(r.b >> 32 | 0o100));
                e.size = Some([r.c >> 32, r.c & 0xffff_ffff]);
            } else {
                e.flags = Some(flags::mq_open(r.b));
            }
        }
        Kind::MqClose => {
            e.op = Op::Close;
            e.ret = Some(0);
            e.left = Some(r.a as u64);
        }
        Kind::MqUnlink => {
            e.op = Op::MqUnlink;
            e.ret = Some(0);
        }
        Kind::MqSend | Kind::MqReceive | Kind::MqHandOver | Kind::MqAdmit => {
            e.op = match kind {
                Kind::MqReceive => Op::MqReceive,
                Kind::MqAdmit => Op::MqAdmit,
                _ => Op::MqSend,
            };
            e.bytes = Some(r.a as u64);
            e.prio = Some(r.b as u32);
            e.ret = match kind {
                Kind::MqReceive => Some(r.a),
                Kind::MqAdmit => None,
                _ => Some(0),
            };
            // Straight to a receiver: it never was in the queue.
            e.yes = Some(kind == Kind::MqHandOver).filter(|yes| *yes);
            e.messages = (kind != Kind::MqHandOver).then_some(r.c);
        }
        Kind::MqSendFailed | Kind::MqReceiveFailed => {
            e.op = match kind {
                Kind::MqSendFailed => Op::MqSend,
                _ => Op::MqReceive,
            };
            e.ret = Some(-1);
            e.errno = Some(ErrorNumber(r.a as i32));
        }
        Kind::MqNotify => {
            e.op = Op::MqNotify;
            e.ret = Some(0);
            e.why = Some(way(r.a as u64, r.b).into());
        }
        Kind::MqNotifyOff => {
            e.op = Op::MqNotify;
            e.ret = Some(0);
        }
        Kind::MqNotified => {
            e.op = Op::MqNotified;
            e.who = Some(r.a as u32);
            e.why = Some(way(r.b, 0).into());
        }
        _ => {}
    }
}

/// How a process is told.
fn way(how: u64, signal: u64) -> String {
    match (how, signal) {
        (2, 0) => "SIGEV_SIGNAL".to_owned(),
        (2, n) => format!("SIGEV_SIGNAL, signal {n}"),
        (3, _) => "SIGEV_THREAD".to_owned(),
        _ => "SIGEV_NONE".to_owned(),
    }
}

/// Whether the entry is a call.
pub fn is_call(op: Op) -> bool {
    matches!(
        op,
        Op::MqOpen | Op::MqUnlink | Op::MqSend | Op::MqReceive | Op::MqNotify
    )
}

/// The call, or what happened; without the result.
pub fn text(out: &mut String, e: &Entry, fd: &str, object: &str) -> fmt::Result {
    let prio = e.prio.unwrap_or(0);
    match e.op {
        Op::MqOpen => {
            write!(out, "mq_open(..., {}", e.flags.as_deref().unwrap_or("0"))?;
            if let Some([maxmsg, msgsize]) = e.size {
                write!(out, ", {{{maxmsg}, {msgsize}}}")?;
            }
            out.push(')');
        }
        Op::MqUnlink => write!(out, "mq_unlink(...)")?,
        Op::MqSend if e.errno.is_some() => write!(out, "mq_send({fd}, ...)")?,
        Op::MqSend => write!(out, "mq_send({fd}, ..., {}, {prio})", e.bytes.unwrap_or(0))?,
        Op::MqReceive if e.errno.is_some() => write!(out, "mq_receive({fd}, ...)")?,
        Op::MqReceive => write!(out, "mq_receive({fd}, ..., [{prio}])")?,
        Op::MqAdmit => write!(
            out,
            "--- a waiting message of priority {prio} gets its room in {object} ---"
        )?,
        Op::MqNotify => {
            let how = e.why.as_deref().unwrap_or("NULL");
            write!(out, "mq_notify({fd}, {how})")?;
        }
        Op::MqNotified => {
            let how = e.why.as_deref().unwrap_or("?");
            let who = e.who.unwrap_or(0);
            write!(out, "--- {who} is told of a message in {object}: {how} ---")?;
        }
        _ => {}
    }
    Ok(())
}

/// What follows the call.
pub fn detail(words: &mut Vec<String>, e: &Entry) {
    if e.op == Op::MqSend && e.yes == Some(true) {
        words.push("straight to a receiver".to_owned());
    }
    if let Some(n) = e.messages {
        words.push(format!("queued {n}"));
    }
}
