//! An entry as a line, in the manner of strace(1).
//!
//! ```text
//!     412 sort         read(0, ...) = 4096                  pipe#3.r [8192..12288) queued 0 <= 410:seq write
//!     412 sort         --- blocked on pipe#3.r ---
//!     412 sort         +++ woken after 1.2 ms +++ <= 410:seq write [8192..12288)
//! ```
//!
//! The dots stand for what the log does not hold: where the bytes are, and how many were wanted.

mod signal;

use std::fmt::Write;

use ringer_kernel::log::object;

use super::entry::{End, Entry, Layer, Op};
use super::mq;
use super::named;
use super::story::{Seen, Story};
use super::sysv;
use crate::sys;
use crate::ui::human;

/// Column at which the object begins, counted from the call.
const CALL_WIDTH: usize = 36;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Color {
    Yes,
    No,
}

/// Appends the line for `e`, with its newline.
pub fn line(out: &mut String, e: &Entry, story: &Story, color: Color) {
    let begin = out.len();
    if e.pid == 0 {
        let _ = write!(out, "{:>7} {:<15} ", "-", "ringer");
    } else if e.tid == e.pid {
        let _ = write!(out, "{:>7} {:<15} ", e.pid, e.comm);
    } else {
        let _ = write!(out, "{:>7} {:<15} ", format!("{}/{}", e.pid, e.tid), e.comm);
    }
    let call = out.len();
    if let Some((open, close)) = paint(e, color) {
        out.push_str(open);
        what(out, e, story);
        out.push_str(close);
    } else {
        what(out, e, story);
    }
    if is_call(e) {
        let width = out.get(call..).map_or(0, |s| s.chars().count());
        detail(out, e, story, CALL_WIDTH.saturating_sub(width));
    }
    let trimmed = out.get(begin..).map_or(0, |s| s.trim_end().len());
    out.truncate(begin + trimmed);
    out.push('\n');
}

/// Failures red, ringer's own remarks dim.
fn paint(e: &Entry, color: Color) -> Option<(&'static str, &'static str)> {
    if color == Color::No {
        return None;
    }
    match e.op {
        _ if e.errno.is_some() => Some(("\x1b[31m", "\x1b[39m")),
        Op::Lost | Op::Demote | Op::Orphaned | Op::Reaped | Op::Killed => {
            Some(("\x1b[33m", "\x1b[39m"))
        }
        _ if !is_call(e) => Some(("\x1b[2m", "\x1b[22m")),
        _ => None,
    }
}

/// Whether the entry is a call that the program made, rather than something that happened.
fn is_call(e: &Entry) -> bool {
    match e.op {
        Op::Pipe2
        | Op::Eventfd2
        | Op::Socketpair
        | Op::Connect
        | Op::Accept
        | Op::Shutdown
        | Op::SetOption
        | Op::Dup
        | Op::Close
        | Op::SetFlags
        | Op::Write
        | Op::Read
        | Op::Resize
        | Op::FifoOpen
        | Op::Fork => true,
        op if mq::is_call(op) || named::is_call(op) => true,
        Op::Exec => e.ret.is_some(),
        op => signal::is_call(op) || sysv::is_call(op),
    }
}

fn what(out: &mut String, e: &Entry, story: &Story) {
    if sysv::what(out, e) {
        return;
    }
    let fd = e.fd.map_or_else(|| "?".to_owned(), |fd| fd.to_string());
    let object = object_name(e);
    let result: std::fmt::Result = (|| match e.op {
        Op::Start if e.yes == Some(true) => write!(out, "--- runs a new program ---"),
        Op::Start => write!(out, "--- started by {} ---", e.who.unwrap_or(0)),
        Op::Exit => write!(out, "+++ exited with {} +++", e.status.unwrap_or(0)),
        Op::Fork => {
            let flags = e.flags.as_deref().unwrap_or("");
            write!(out, "fork({flags})")?;
            ret(out, e)
        }
        Op::Exec if e.ret.is_some() => {
            out.push_str("execve(...)");
            ret(out, e)
        }
        Op::Exec if e.yes == Some(true) => write!(out, "--- execve ---"),
        Op::Exec => {
            let why = e.why.as_deref().unwrap_or("unknown");
            write!(out, "--- execve; ringer stays outside: {why} ---")
        }
        Op::Layers => {
            let calls = e.calls.unwrap_or_default();
            let whose = e.who.map(|pid| format!("{pid}: ")).unwrap_or_default();
            write!(
                out,
                "--- {whose}{} by hook, {} by trap; {} traps passed on ---",
                human::plural(calls.hook, "call"),
                calls.trap,
                calls.passed
            )
        }
        Op::Reaped => {
            write!(
                out,
                "--- {} was killed: its descriptors are closed",
                e.who.unwrap_or(0)
            )?;
            for (semaphore, times) in &e.taken {
                let times = human::plural(*times, "time");
                write!(out, "; it took {semaphore} {times} more than it posted it")?;
            }
            out.write_str(" ---")
        }
        Op::Pipe2 => {
            let [r, w] = e.fds.unwrap_or([-1, -1]);
            write!(
                out,
                "pipe2([{r}, {w}], {})",
                e.flags.as_deref().unwrap_or("0")
            )?;
            ret(out, e)
        }
        Op::Socketpair => {
            let [a, b] = e.fds.unwrap_or([-1, -1]);
            let flags = e.flags.as_deref().unwrap_or("?");
            write!(out, "socketpair(AF_UNIX, {flags}, 0, [{a}, {b}])")?;
            ret(out, e)
        }
        Op::Connect | Op::Accept => {
            let call = e.op.name();
            let name = e.name.as_deref().unwrap_or("");
            write!(out, "{call}({fd}, {name:?})")
        }
        Op::FifoOpening => {
            let (name, flags) = (e.name.as_deref(), e.flags.as_deref());
            let (name, flags) = (name.unwrap_or("?"), flags.unwrap_or("0"));
            write!(out, "--- opens {object}: ...{name}, {flags} ---")
        }
        Op::FifoOpen => {
            write!(out, "open(..., {})", e.flags.as_deref().unwrap_or("0"))?;
            ret(out, e)
        }
        Op::Shutdown => {
            let how = e.flags.as_deref().unwrap_or("?");
            write!(out, "shutdown({fd}, {how})")?;
            ret(out, e)
        }
        Op::SetOption => {
            let (name, value) = e.option.unwrap_or_default();
            write!(out, "setsockopt({fd}, SOL_SOCKET, {name}, {value})")?;
            ret(out, e)
        }
        Op::Eventfd2 => {
            let flags = e.flags.as_deref().unwrap_or("0");
            write!(out, "eventfd2({}, {flags})", e.count.unwrap_or(0))?;
            ret(out, e)
        }
        Op::Adopt => write!(out, "--- has {object} as descriptor {fd} ---"),
        Op::Dup => {
            write!(out, "dup({fd})")?;
            ret(out, e)
        }
        Op::Close => {
            write!(out, "close({fd})")?;
            ret(out, e)
        }
        Op::Free if e.messages.is_some_and(|n| n > 0) => {
            let n = human::plural(e.messages.unwrap_or(0), "message");
            write!(out, "--- {object} is gone, {n} unread in it ---")
        }
        Op::Free => match e.bytes.unwrap_or(0) {
            n if n != 0 && is_counter(e) => {
                write!(out, "--- {object} is gone, its counter was {n} ---")
            }
            0 => write!(out, "--- {object} is gone ---"),
            n => write!(
                out,
                "--- {object} is gone, {} unread in it ---",
                human::bytes_exactly(n)
            ),
        },
        Op::Demote => {
            let why = e.why.as_deref().unwrap_or("unknown");
            let what = match e.bytes.unwrap_or(0) {
                n if is_counter(e) => format!("its counter was {n}"),
                n => format!("{} moved", human::bytes_exactly(n)),
            };
            write!(out, "--- {object} goes to the kernel: {why}; {what} ---")
        }
        Op::Resize => {
            let bytes = u64::from(e.slots.unwrap_or(0)) * 4096;
            write!(out, "fcntl({fd}, F_SETPIPE_SZ, {bytes}) = {bytes}")
        }
        Op::Watch => write!(out, "--- {object} is polled from now on ---"),
        Op::SetFlags => {
            write!(
                out,
                "fcntl({fd}, F_SETFL, {})",
                e.flags.as_deref().unwrap_or("0")
            )?;
            ret(out, e)
        }
        Op::Write | Op::Read => {
            match e.count {
                None if e.side.is_some() => {
                    let name = if e.op == Op::Write { "send" } else { "recv" };
                    write!(out, "{name}({fd}, ...)")?;
                }
                Some(n) => write!(out, "{}({fd}, [{n}], 8)", e.op.name())?,
                None => write!(out, "{}({fd}, ...)", e.op.name())?,
            }
            ret(out, e)
        }
        Op::Block => {
            let state = if e.end == Some(End::Write) {
                "full"
            } else {
                "empty"
            };
            write!(out, "--- blocked on {object} ({state}) ---")
        }
        Op::Wake => {
            let slept = human::duration(e.slept_ns.unwrap_or(0));
            write!(out, "+++ woken after {slept}")?;
            if let Some(cause) = e.cause {
                out.push_str(" <= ");
                one_cause(out, cause, story.get(cause));
            }
            write!(out, " +++")
        }
        Op::Interrupted if e.yes == Some(true) => {
            write!(out, "--- interrupted by a signal on {object}, goes on ---")
        }
        Op::Interrupted => write!(out, "--- interrupted by a signal on {object} ---"),
        Op::Orphaned => write!(
            out,
            "--- the lock of {object} is taken from a dead owner ---"
        ),
        Op::Lost => {
            let lost = human::plural(e.count.unwrap_or(0), "record");
            match e.obj {
                Some(obj) => write!(out, "--- {lost} of {obj} missing here ---"),
                None => write!(out, "--- {lost} lost here ---"),
            }
        }
        op if op.is_signal() => signal::what(out, e, story),
        Op::MqAdmit | Op::MqNotified => mq::text(out, e, &fd, &object),
        Op::MqOpen | Op::MqUnlink | Op::MqSend | Op::MqReceive | Op::MqNotify => {
            mq::text(out, e, &fd, &object)?;
            ret(out, e)
        }
        op if named::is_call(op) => {
            named::text(out, e)?;
            named::ret(out, e, ret)
        }
        // (Those of System V are told by `sysv::what`.)
        _ => match e.raw {
            Some((kind, a, b, c)) => write!(out, "--- record {kind} ({a}, {b}, {c}) ---"),
            None => write!(out, "--- a record of another version ---"),
        },
    })();
    let _ = result; // a String takes everything
}

/// `= 8`, `= -1 EAGAIN (Resource temporarily unavailable)`
pub fn ret(out: &mut String, e: &Entry) -> std::fmt::Result {
    match e.errno {
        Some(errno) => write!(out, " = -1 {} ({})", errno.name(), sys::strerror(errno.0)),
        None => write!(out, " = {}", e.ret.unwrap_or(0)),
    }
}

fn is_counter(e: &Entry) -> bool {
    e.obj.is_some_and(|o| o.class() == object::EVENTFD)
}

/// `pipe#3.r`
fn object_name(e: &Entry) -> String {
    match (e.obj, e.end) {
        (Some(obj), Some(end)) if obj.is_pipe() => format!("{obj}.{}", end.letter()),
        (Some(obj), _) => match e.side {
            Some(side) => format!("{obj}.{side}"),
            None => obj.to_string(),
        },
        (None, _) => "?".to_owned(),
    }
}

/// What follows a call: its object, the bytes, where they came from.
fn detail(out: &mut String, e: &Entry, story: &Story, pad: usize) {
    let mut words: Vec<String> = Vec::new();
    if e.obj.is_some() && e.op != Op::Sigtimedwait {
        words.push(object_name(e));
    }
    signal::detail(&mut words, e, story);
    if let Some([from, to]) = e.pos.filter(|[from, to]| from != to) {
        words.push(format!("[{from}..{to})"));
    }
    if let Some([before, after]) = e.counter {
        words.push(format!("{before} -> {after}"));
    }
    if let Some(queued) = e.queued {
        words.push(format!("queued {queued}"));
    }
    if e.errno.is_some() {
        if let Some(bytes) = e.bytes.filter(|b| *b > 0) {
            words.push(format!("after {}", human::bytes_exactly(bytes)));
        }
    }
    if e.op == Op::Read && e.ret == Some(0) {
        words.push("end of file".to_owned());
    }
    mq::detail(&mut words, e);
    named::detail(&mut words, e);
    if e.left == Some(0) {
        words.push("the last one".to_owned());
    }
    sysv::detail(&mut words, e, story);
    if e.kernel {
        words.push("by the kernel".to_owned());
    }
    if let Some(ns) = e.slept_ns.filter(|_| e.kernel || e.op == Op::FifoOpen) {
        words.push(format!("blocked for {}", human::duration(ns)));
    }
    if let (Op::FifoOpen, Some(cause)) = (e.op, e.cause) {
        let mut text = "<= ".to_owned();
        one_cause(&mut text, cause, story.get(cause));
        words.push(text);
    }
    if e.layer == Some(Layer::Trap) {
        words.push("trapped".to_owned());
    }
    if !e.from.is_empty() {
        words.push(format!("<= {}", writers(&e.from, story)));
    }
    if !words.is_empty() {
        let _ = write!(out, "{:pad$}  {}", "", words.join(" "));
    }
}

/// Who wrote what was read: each writer once, two at the most by name.
fn writers(ids: &[u64], story: &Story) -> String {
    let mut names: Vec<String> = Vec::new();
    for seen in ids.iter().filter_map(|id| story.get(*id)) {
        let name = format!("{}:{}", seen.pid, seen.comm);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match names.as_slice() {
        [] => "an earlier write".to_owned(),
        [a] => format!("{a} write"),
        [a, b] => format!("{a}, {b} write"),
        [a, b, rest @ ..] => format!("{a}, {b} and {} more write", rest.len()),
    }
}

/// `410:seq write [0..8)`
fn one_cause(out: &mut String, id: u64, seen: Option<&Seen>) {
    let Some(seen) = seen else {
        let _ = write!(out, "record {id}");
        return;
    };
    let _ = write!(out, "{}:{} {}", seen.pid, seen.comm, seen.op.name());
    if let Some([from, to]) = seen.pos {
        let _ = write!(out, " [{from}..{to})");
    }
}

#[cfg(test)]
mod tests;
