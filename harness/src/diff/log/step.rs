//! An entry of a log, without what differs from run to run: process ids, descriptors, addresses,
//! times. What only one side knows is not compared.

use std::collections::BTreeMap;

use crate::log::entry::{Entry, Op};
use crate::log::signals::{Became, Signal};

use super::names::Names;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    Is(String),
    /// It varies on the kernel.
    Any,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    pub op: Op,
    /// The object, with its end or side: `pipe#1@1:w`.
    pub on: Option<String>,
    pub fields: BTreeMap<&'static str, Value>,
    /// Of data: how much.
    pub bytes: Option<u64>,
    pub errno: Option<String>,
    /// Which entry of its log it is.
    pub at: usize,
}

/// What others may change between two calls of a thread.
const STATE: [&str; 7] = [
    "pos", "queued", "counter", "count", "messages", "value", "left",
];

impl Step {
    pub fn new(op: Op) -> Step {
        Step {
            at: 0,
            op,
            on: None,
            fields: BTreeMap::new(),
            bytes: None,
            errno: None,
        }
    }

    fn set(&mut self, name: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.fields.insert(name, Value::Is(value.to_string()));
        }
    }

    /// Its object, without the end.
    pub fn object(&self) -> Option<&str> {
        self.on.as_deref()?.split(':').next()
    }

    /// Moves bytes or messages.
    pub fn is_data(&self) -> bool {
        matches!(
            self.op,
            Op::Read | Op::Write | Op::MqSend | Op::MqReceive | Op::MsgSend | Op::MsgReceive
        )
    }

    pub fn takes(&self) -> bool {
        matches!(self.op, Op::Read | Op::MqReceive | Op::MsgReceive)
    }

    pub fn is_end_of_file(&self) -> bool {
        self.op == Op::Read && self.fields.contains_key("ret")
    }

    /// Only what the call itself decides.
    pub fn forget_state(&mut self) {
        self.fields.retain(|name, _| !STATE.contains(name));
    }

    /// The call and how it ended; the rest may vary.
    pub fn key(&self) -> (Op, Option<&str>, Option<&str>) {
        (self.op, self.on.as_deref(), self.errno.as_deref())
    }

    /// What both know is the same.
    pub fn admits(&self, other: &Step) -> bool {
        let both = |name: &&'static str, value: &Value| match (value, other.fields.get(name)) {
            (Value::Is(one), Some(Value::Is(two))) => one == two,
            _ => true,
        };
        self.key() == other.key() && self.fields.iter().all(|(name, value)| both(name, value))
    }

    /// What differs between two runs on the kernel may be anything. `false`: they are not the same call.
    pub fn unify(&mut self, other: &Step) -> bool {
        if self.key() != other.key() {
            return false;
        }
        for (name, value) in &mut self.fields {
            if other.fields.get(name) != Some(value) {
                *value = Value::Any;
            }
        }
        true
    }

    /// A number of bytes, as a field.
    pub fn settle_bytes(&mut self, known: bool) {
        if let Some(n) = self.bytes {
            let value = if known {
                Value::Is(n.to_string())
            } else {
                Value::Any
            };
            self.fields.insert("bytes", value);
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!("{}({})", self.op.name(), self.on.as_deref().unwrap_or(""));
        if let Some(errno) = &self.errno {
            text += &format!(" = -1 {errno}");
        }
        for (name, value) in &self.fields {
            match value {
                Value::Is(value) => text += &format!(" {name} {value}"),
                Value::Any => text += &format!(" {name} (varies)"),
            }
        }
        text + "\n"
    }
}

/// `None`: ringer's own doing, or when a call had to wait, which is nobody's promise.
pub fn of(e: &Entry, names: &Names) -> Option<Step> {
    let mut step = Step::new(e.op);
    step.on = e.obj.filter(|_| !e.op.is_signal()).map(|object| {
        let name = names.object(object);
        match (e.end, e.side) {
            (Some(end), _) => format!("{name}:{}", end.letter()),
            (None, Some(side)) => format!("{name}:{side}"),
            (None, None) => name,
        }
    });
    step.errno = e.errno.map(|errno| errno.name().into_owned());
    match e.op {
        Op::Layers | Op::Watch | Op::Free | Op::Demote | Op::Block | Op::Wake => return None,
        Op::Orphaned | Op::Lost | Op::Reaped | Op::SignalWait | Op::Bounced => return None,
        Op::Adopt | Op::Start | Op::HandlerLeft | Op::Interrupted | Op::Unknown => return None,
        Op::MqAdmit | Op::MqNotified | Op::Fork | Op::SemUndo => return None,
        Op::Killed => return None, // that it did not exit is seen
        // A dead process's descriptors, closed by whoever found it.
        Op::Close if e.fd.is_none() => return None,
        // A queue is closed by exit, too, which nobody sees from outside.
        Op::Close if step.on.as_ref().is_some_and(|on| on.starts_with("mq#")) => return None,
        // It has moved something before, which is told.
        Op::Read | Op::Write if e.errno.is_some() && e.bytes.is_some_and(|n| n > 0) => return None,
        Op::Read | Op::Write => data(&mut step, e),
        Op::Exit => step.set("status", e.status),
        Op::Dup | Op::Close | Op::HandlerReturn => {}
        Op::Exec => {}
        Op::Kill | Op::Sigprocmask | Op::Sigaction | Op::Sigtimedwait | Op::Handler => {
            signal(&mut step, e.signal.as_deref()?, names);
            step.set("flags", e.flags.as_deref());
        }
        _ => other(&mut step, e)?,
    }
    if e.op == Op::HandlerReturn {
        step.set("name", e.signal.as_ref().and_then(|s| s.name));
    }
    Some(step)
}

fn data(step: &mut Step, e: &Entry) {
    match e.ret {
        Some(0) if e.op == Op::Read && e.errno.is_none() => step.set("ret", Some(0)),
        Some(n) if n > 0 => step.bytes = Some(n as u64),
        _ => {}
    }
    step.set("pos", e.pos.map(|[from, _]| from));
    step.set("queued", e.queued);
    step.set("count", e.count);
    step.set(
        "counter",
        e.counter.map(|[from, to]| format!("{from}->{to}")),
    );
}

fn signal(step: &mut Step, s: &Signal, names: &Names) {
    step.set("name", s.name);
    let process = |pid: u32| Some(names.process(pid)).filter(|name| name != "?");
    match step.op {
        Op::Kill => {
            step.set("code", s.code.as_deref());
            let named = s.to.and_then(|to| u32::try_from(to).ok()).and_then(process);
            step.set("to", named);
            step.set(
                "became",
                match s.became {
                    Some(Became::Pending) => Some("pending"),
                    Some(Became::Coalesced) => Some("coalesced"),
                    Some(Became::Full) => Some("full"),
                    _ => None,
                },
            );
        }
        Op::Sigprocmask => {
            step.set("how", s.how.as_deref());
            step.set("set", s.set);
            step.set("mask", s.mask);
        }
        Op::Sigaction => {
            let handler = s.handler.as_deref();
            step.set(
                "handler",
                handler.map(|h| if h.starts_with("0x") { "handler" } else { h }),
            );
        }
        _ => {
            step.set("code", s.code.as_deref());
            step.set("from", s.from.and_then(process));
        }
    }
}

/// Objects that are made or changed, messages, semaphores. `None`: a record without a state.
fn other(step: &mut Step, e: &Entry) -> Option<()> {
    if e.op == Op::SysvCall && e.errno.is_none() {
        return None;
    }
    step.set("flags", e.flags.as_deref());
    step.set("slots", e.slots);
    step.set("count", e.count.filter(|_| e.op == Op::Eventfd2));
    step.set(
        "option",
        e.option.map(|(name, value)| format!("{name}={value}")),
    );
    step.set("name", e.name.as_deref());
    step.set("prio", e.prio);
    step.set("messages", e.messages);
    step.set("size", e.size.map(|[n, bytes]| format!("{n}x{bytes}")));
    step.set("why", e.why.as_deref());
    step.bytes = e.bytes.filter(|_| e.errno.is_none());
    let Some(s) = e.sysv.as_deref() else {
        return Some(());
    };
    step.set("size", s.size);
    step.set("num", s.num);
    step.set("change", s.change);
    step.set("value", s.value);
    step.set("undo", s.undo.then_some("yes"));
    step.set("type", s.mtype);
    step.set("left", s.left);
    step.set("mode", s.mode.map(|m| format!("{m:o}")));
    step.set("call", s.call.as_deref());
    Some(())
}
