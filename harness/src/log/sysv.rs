//! Entries about System V IPC: from records, and as text.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use ringer_kernel::log::{Kind, Record};
use ringer_kernel::sysv::sem_step::SEM_UNDO;

use super::entry::{Entry, ErrorNumber, Op};
use super::story::Story;

/// What only these entries have; in JSON the member `sysv`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sysv {
    /// The object's id, as the calls have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<u32>,
    /// Semaphores, bytes of a queue or of a segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Number of the semaphore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num: Option<u64>,
    /// What was added to it, or is to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<i64>,
    /// Its value afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub undo: bool,
    /// Of a message.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub mtype: Option<i64>,
    /// Messages in the queue afterwards; messages, or attachments, that a removed object had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// Whose call it was, if another carried it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u64>,
    /// The call, of one that failed or that the kernel served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
}

fn call_name(nr: u64) -> &'static str {
    match nr as i64 {
        libc::SYS_semget => "semget",
        libc::SYS_semop => "semop",
        libc::SYS_semtimedop => "semtimedop",
        libc::SYS_semctl => "semctl",
        libc::SYS_msgget => "msgget",
        libc::SYS_msgsnd => "msgsnd",
        libc::SYS_msgrcv => "msgrcv",
        libc::SYS_msgctl => "msgctl",
        libc::SYS_shmget => "shmget",
        libc::SYS_shmat => "shmat",
        libc::SYS_shmdt => "shmdt",
        libc::SYS_shmctl => "shmctl",
        _ => "?",
    }
}

/// `true`: it was one of these records.
pub fn decode(e: &mut Entry, r: &Record, kind: Kind, ns: impl Fn(u64) -> u64) -> bool {
    let mut s = Sysv::default();
    let pid = |raw: u64| Some((raw >> 32) as u32).filter(|p| *p != 0 && *p != e.pid);
    match kind {
        Kind::SysvCreate | Kind::SysvGet => {
            let made = kind == Kind::SysvCreate;
            e.op = if made { Op::SysvCreate } else { Op::SysvGet };
            e.ret = Some(r.a);
            s.key = Some(r.b as u32);
            s.size = made.then_some(r.c);
        }
        Kind::SysvRemove => {
            e.op = Op::SysvRemove;
            e.ret = Some(0);
            s.left = Some(r.b).filter(|n| *n != 0);
        }
        Kind::SysvSet => {
            e.op = Op::SysvSet;
            e.ret = Some(0);
            s.mode = Some(r.b);
        }
        Kind::SysvFailed | Kind::SysvByKernel => {
            e.op = Op::SysvCall;
            e.kernel = kind == Kind::SysvByKernel;
            let failed = !e.kernel || (-4095..0).contains(&r.a);
            e.ret = Some(if failed { -1 } else { r.a });
            e.errno = failed.then_some(ErrorNumber(r.a.unsigned_abs() as i32));
            s.call = Some(call_name(r.b).to_owned());
        }
        Kind::SemOp => {
            e.op = Op::Semop;
            e.ret = Some(0);
            s.num = Some(r.b & 0xffff);
            s.undo = (r.b >> 32) as u16 & SEM_UNDO as u16 != 0;
            s.change = Some(r.a);
            s.value = Some(r.c as u32 as i64);
            s.of = pid(r.c);
        }
        Kind::SemSet => {
            e.op = Op::SemSet;
            e.ret = Some(0);
            s.num = (r.a >= 0).then_some(r.b);
            s.value = (r.a >= 0).then_some(r.a);
        }
        Kind::SemUndo => {
            e.op = Op::SemUndo;
            s.num = Some(r.b & 0xffff_ffff);
            s.change = Some(r.a);
            s.value = Some(r.c as i64);
            s.of = Some((r.b >> 32) as u32);
        }
        Kind::MsgSend => {
            e.op = Op::MsgSend;
            e.ret = Some(0);
            e.bytes = Some(r.a as u64);
            s.mtype = Some(r.b as i64);
            s.left = Some(r.c & 0xffff_ffff);
            s.of = pid(r.c);
        }
        Kind::MsgReceive | Kind::MsgCopy => {
            let copies = kind == Kind::MsgCopy;
            e.op = if copies { Op::MsgCopy } else { Op::MsgReceive };
            e.ret = Some(r.a);
            e.bytes = Some(r.a as u64);
            s.mtype = Some(r.b as i64);
            s.left = (!copies).then_some(r.c);
        }
        Kind::ShmAttach | Kind::ShmDetach => {
            let attaches = kind == Kind::ShmAttach;
            e.op = if attaches {
                Op::ShmAttach
            } else {
                Op::ShmDetach
            };
            e.ret = Some(if attaches { r.a } else { 0 });
            s.addr = Some(r.a as u64);
            s.left = Some(r.b);
            s.of = pid(r.c << 32).filter(|_| !attaches);
        }
        Kind::ShmLock => {
            e.op = Op::ShmLock;
            e.ret = Some(0);
            e.yes = Some(r.a == 1);
        }
        Kind::SysvBlock => {
            e.op = Op::Block;
            if r.a == 0 {
                s.num = Some(r.b);
                s.change = Some(r.c as i64);
            } else {
                s.mtype = Some(r.b as i64);
                s.call = Some(if r.a == 1 { "msgsnd" } else { "msgrcv" }.to_owned());
            }
        }
        Kind::SysvWake => {
            e.op = Op::Wake;
            e.slept_ns = Some(ns(r.a as u64));
            return true;
        }
        Kind::SysvInterrupted => {
            e.op = Op::Interrupted;
            e.yes = Some(false);
            return true;
        }
        Kind::SysvOrphaned => {
            e.op = Op::Orphaned;
            return true;
        }
        _ => return false,
    }
    e.sysv = Some(Box::new(s));
    true
}

/// Whether this is one of the calls that a program makes.
pub fn is_call(op: Op) -> bool {
    matches!(
        op,
        Op::SysvCreate
            | Op::SysvGet
            | Op::SysvRemove
            | Op::SysvSet
            | Op::SysvCall
            | Op::Semop
            | Op::SemSet
            | Op::MsgSend
            | Op::MsgReceive
            | Op::MsgCopy
            | Op::ShmAttach
            | Op::ShmDetach
            | Op::ShmLock
    )
}

/// What of it can be the cause of something.
pub fn can_cause(op: Op) -> bool {
    matches!(
        op,
        Op::Semop | Op::SemSet | Op::SemUndo | Op::MsgSend | Op::MsgReceive | Op::SysvRemove
    ) || op == Op::SysvSet
}

/// The beginning of a call's name: `sem`, `msg`, `shm`.
fn family(e: &Entry) -> &'static str {
    use ringer_kernel::log::object;
    match e.obj.map(|o| object::name(o.0).0) {
        Some("semset") => "sem",
        Some("shmseg") => "shm",
        _ => "msg",
    }
}

/// The call, or what happened; without its result. `false`: it is none of these.
pub fn what(out: &mut String, e: &Entry) -> bool {
    let none = Sysv::default();
    let s = e.sysv.as_deref().unwrap_or(&none);
    let object = e.obj.map_or_else(|| "?".to_owned(), |o| o.to_string());
    let key = match s.key.unwrap_or(0) {
        0 => "IPC_PRIVATE".to_owned(),
        key => format!("{key:#x}"),
    };
    let (num, value) = (s.num.unwrap_or(0), s.value.unwrap_or(0));
    let change = s.change.unwrap_or(0);
    let name = family(e);
    let written: std::fmt::Result = match e.op {
        Op::SysvCreate => match s.size {
            Some(size) if name != "msg" => write!(out, "{name}get({key}, {size}, IPC_CREAT)"),
            _ => write!(out, "{name}get({key}, IPC_CREAT)"),
        },
        Op::SysvGet => write!(out, "{name}get({key})"),
        Op::SysvRemove => write!(out, "{name}ctl(IPC_RMID)"),
        Op::SysvSet => write!(out, "{name}ctl(IPC_SET, {:#o})", s.mode.unwrap_or(0)),
        Op::SysvCall => write!(out, "{}(...)", s.call.as_deref().unwrap_or("?")),
        Op::Semop if s.undo => write!(out, "semop({num}, {change:+}, SEM_UNDO)"),
        Op::Semop => write!(out, "semop({num}, {change:+})"),
        Op::SemSet if s.value.is_none() => write!(out, "semctl(SETALL, ...)"),
        Op::SemSet => write!(out, "semctl({num}, SETVAL, {value})"),
        Op::SemUndo => {
            let of = s.of.unwrap_or(0);
            write!(
                out,
                "--- {of} has ended: {object}[{num}] {change:+} is undone, {value} now ---"
            )
        }
        Op::MsgSend => write!(
            out,
            "msgsnd(type {}, {})",
            s.mtype.unwrap_or(0),
            e.bytes.unwrap_or(0)
        ),
        Op::MsgReceive => write!(out, "msgrcv(type {})", s.mtype.unwrap_or(0)),
        Op::MsgCopy => write!(out, "msgrcv(type {}, MSG_COPY)", s.mtype.unwrap_or(0)),
        Op::ShmAttach => {
            let _ = write!(out, "shmat(...) = {:#x}", s.addr.unwrap_or(0));
            return true;
        }
        Op::ShmDetach => write!(out, "shmdt({:#x})", s.addr.unwrap_or(0)),
        Op::ShmLock => {
            let word = if e.yes == Some(true) {
                "SHM_LOCK"
            } else {
                "SHM_UNLOCK"
            };
            write!(out, "shmctl({word})")
        }
        Op::Block if e.sysv.is_some() => match &s.call {
            Some(call) => write!(out, "--- blocked in {call} on {object} ---"),
            None => write!(out, "--- blocked on {object}[{num}] ({change:+}) ---"),
        },
        _ => return false,
    };
    let _ = written; // a String takes everything
    if is_call(e.op) {
        let _ = super::text::ret(out, e);
    }
    true
}

/// What follows a call, besides its object.
pub fn detail(words: &mut Vec<String>, e: &Entry, story: &Story) {
    let Some(s) = e.sysv.as_deref() else { return };
    if let (Op::Semop, Some(value)) = (e.op, s.value) {
        words.push(format!("now {value}"));
    }
    match (e.op, s.left) {
        (Op::MsgSend | Op::MsgReceive, Some(n)) => words.push(format!("queued {n}")),
        (Op::ShmAttach | Op::ShmDetach, Some(n)) => words.push(format!("attached {n}")),
        (Op::SysvRemove, Some(n)) if family(e) == "shm" => words.push(format!("attached {n}")),
        (Op::SysvRemove, Some(n)) => words.push(format!("{n} unread in it")),
        _ => {}
    }
    if let Some(of) = s.of {
        words.push(format!("for {of}"));
    }
    if let (Op::MsgReceive, Some(cause)) = (e.op, e.cause) {
        words.push(match story.get(cause) {
            Some(seen) => format!("<= {}:{} {}", seen.pid, seen.comm, seen.op.name()),
            None => "<= an earlier msg-send".to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Object;
    use super::super::text::{line, Color};
    use super::*;
    use ringer_kernel::log::object;

    fn told(kind: Kind, class: u32, abc: (i64, u64, u64)) -> String {
        let mut e = Entry {
            pid: 412,
            tid: 412,
            comm: "a".into(),
            obj: Some(Object(class | 3)),
            ..Entry::default()
        };
        let record = Record {
            a: abc.0,
            b: abc.1,
            c: abc.2,
            ..Record::default()
        };
        assert!(decode(&mut e, &record, kind, |ticks| ticks));
        let json = serde_json::to_string(&e).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), e);
        let mut out = String::new();
        line(&mut out, &e, &Story::default(), Color::No);
        let text = out.trim().trim_start_matches("412 a").trim();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_record_has_its_line() {
        let (sem, msg, shm) = (object::SYSV_SEM, object::SYSV_MSG, object::SYSV_SHM);
        let cases = [
            (
                Kind::SysvCreate,
                sem,
                (5, 0, 2),
                "semget(IPC_PRIVATE, 2, IPC_CREAT) = 5 semset#3",
            ),
            (
                Kind::SysvCreate,
                msg,
                (5, 0x10, 2),
                "msgget(0x10, IPC_CREAT) = 5 msg#3",
            ),
            (
                Kind::SysvGet,
                shm,
                (5, 0x10, 0),
                "shmget(0x10) = 5 shmseg#3",
            ),
            (
                Kind::SysvRemove,
                msg,
                (5, 2, 0),
                "msgctl(IPC_RMID) = 0 msg#3 2 unread in it",
            ),
            (
                Kind::SemOp,
                sem,
                (-1, 0x1000 << 32 | 1, 412 << 32 | 4),
                "semop(1, -1, SEM_UNDO) = 0 semset#3 now 4",
            ),
            (
                Kind::SemOp,
                sem,
                (2, 0, 99 << 32 | 4),
                "semop(0, +2) = 0 semset#3 now 4 for 99",
            ),
            (
                Kind::SemSet,
                sem,
                (7, 1, 0),
                "semctl(1, SETVAL, 7) = 0 semset#3",
            ),
            (
                Kind::SemSet,
                sem,
                (-1, 0, 0),
                "semctl(SETALL, ...) = 0 semset#3",
            ),
            (
                Kind::SemUndo,
                sem,
                (1, 99 << 32, 1),
                "--- 99 has ended: semset#3[0] +1 is undone, 1 now ---",
            ),
            (
                Kind::MsgSend,
                msg,
                (64, 2, 1),
                "msgsnd(type 2, 64) = 0 msg#3 queued 1",
            ),
            (
                Kind::MsgReceive,
                msg,
                (64, 2, 0),
                "msgrcv(type 2) = 64 msg#3 queued 0",
            ),
            (
                Kind::ShmAttach,
                shm,
                (0x7000, 1, 0),
                "shmat(...) = 0x7000 shmseg#3 attached 1",
            ),
            (
                Kind::ShmDetach,
                shm,
                (0x7000, 0, 7),
                "shmdt(0x7000) = 0 shmseg#3 attached 0 for 7",
            ),
            (
                Kind::SysvBlock,
                sem,
                (0, 1, -1i64 as u64),
                "--- blocked on semset#3[1] (-1) ---",
            ),
            (
                Kind::SysvBlock,
                msg,
                (2, 1, 0),
                "--- blocked in msgrcv on msg#3 ---",
            ),
            (
                Kind::SysvFailed,
                sem,
                (11, libc::SYS_semop as u64, 0),
                "semop(...) = -1 EAGAIN (Resource temporarily unavailable) semset#3",
            ),
            (
                Kind::SysvByKernel,
                sem,
                (5, libc::SYS_semget as u64, 0),
                "semget(...) = 5 semset#3 by the kernel",
            ),
        ];
        for (kind, class, abc, text) in cases {
            assert_eq!(told(kind, class, abc), text);
        }
    }
}
