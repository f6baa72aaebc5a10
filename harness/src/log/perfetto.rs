//! The trace event format of Chrome, which <https://ui.perfetto.dev> opens: a track for each thread, a
//! slice for each call and each sleep, an arrow from what caused an entry, a counter for what is queued
//! in each object.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{json, Value};

use super::entry::{Entry, Op};
use super::story::{Seen, Story};

/// The process of the counters: objects belong to nobody.
const NOBODY: u32 = 0;
/// A call's length, in microseconds: what it took is not known, and a slice has to have one.
const CALL: f64 = 0.001;

/// What was said already.
#[derive(Default)]
pub struct Perfetto {
    names: HashMap<u32, Arc<str>>,
    any: bool,
}

impl Perfetto {
    /// The array begins. (A reader does without its end, if the trace was cut off.)
    pub fn begin(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"[\n")?;
        self.event(out, &named(NOBODY, "objects"))
    }

    pub fn end(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"\n]\n")
    }

    /// What an entry is in such a trace.
    pub fn entry(&mut self, out: &mut impl Write, e: &Entry, story: &Story) -> io::Result<()> {
        if !e.comm.is_empty() && self.names.get(&e.pid) != Some(&e.comm) {
            self.names.insert(e.pid, e.comm.clone());
            self.event(out, &named(e.pid, &e.comm))?;
        }
        self.event(out, &slice(e)?)?;
        for id in e.cause.iter().chain(&e.from) {
            if let Some(cause) = story.get(*id) {
                for half in arrow(*id, cause, e) {
                    self.event(out, &half)?;
                }
            }
        }
        match queued(e) {
            Some(counter) => self.event(out, &counter),
            None => Ok(()),
        }
    }

    fn event(&mut self, out: &mut impl Write, event: &Value) -> io::Result<()> {
        if std::mem::replace(&mut self.any, true) {
            out.write_all(b",\n")?;
        }
        serde_json::to_writer(out, event).map_err(io::Error::from)
    }
}

fn named(pid: u32, name: &str) -> Value {
    json!({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}})
}

fn microseconds(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

/// The entry itself. A sleep is told when it is over; where one begins there is a mark only, in case that
/// it never ends.
fn slice(e: &Entry) -> io::Result<Value> {
    let object = e.obj.map(|o| format!(" {o}")).unwrap_or_default();
    let end = e.end.map(|end| format!(".{}", end.letter()));
    let name = format!("{}{object}{}", e.op.name(), end.unwrap_or_default());
    let slept = e.slept_ns.unwrap_or(0).min(e.t_ns);
    let args = serde_json::to_value(e).map_err(io::Error::from)?;
    let mut event = json!({
        "ph": "X", "name": name, "cat": e.op.name(), "pid": e.pid, "tid": e.tid,
        "ts": microseconds(e.t_ns - slept), "dur": microseconds(slept).max(CALL), "args": args,
    });
    if e.op == Op::Block {
        event["ph"] = "i".into();
        event["s"] = "t".into();
    }
    Ok(event)
}

/// From the cause to the entry.
fn arrow(id: u64, cause: &Seen, e: &Entry) -> [Value; 2] {
    let number = format!("{id}-{}", e.id);
    let half = |ph, pid, tid, t_ns| {
        json!({
            "ph": ph, "bp": "e", "name": "makes possible", "cat": "cause", "id": number,
            "pid": pid, "tid": tid, "ts": microseconds(t_ns),
        })
    };
    [
        half("s", cause.pid, cause.tid, cause.t_ns),
        half("f", e.pid, e.tid, e.t_ns),
    ]
}

/// How much is in the object now: bytes, or an eventfd's counter, or messages.
fn queued(e: &Entry) -> Option<Value> {
    let now = e.queued.or(e.counter.map(|[_, now]| now)).or(e.messages)?;
    let object = e.obj?;
    let name = match (e.side, e.op) {
        (Some(side), Op::Read) => format!("{object} from {}", 1 - side.min(1)),
        (Some(side), _) => format!("{object} from {side}"),
        (None, _) => object.to_string(),
    };
    let at = microseconds(e.t_ns);
    Some(json!({"ph": "C", "name": name, "pid": NOBODY, "ts": at, "args": {"queued": now}}))
}
