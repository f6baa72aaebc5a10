//! What a run came to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use ringer_kernel::log::object;

use super::entry::{Calls, Entry, Object, Op};
use super::flow::Share;
use super::json::Header;
use super::signals::Became;
use crate::ui::human;

/// `{"summary": ...}`, the last line of a log.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Entries before the filter.
    pub entries: u64,
    pub processes: u64,
    pub objects: u64,
    /// Bytes that were written into pipes, and read from them.
    pub bytes: u64,
    pub bytes_read: u64,
    /// Time that threads slept on pipes, all together.
    pub blocked_ns: u64,
    pub layers: Calls,
    pub pipes: Pipes,
    pub signals: Signals,
    pub demotions: Vec<Demotion>,
    /// Programs that ringer could not get into.
    pub escaped: Vec<Escape>,
    /// Who talked to whom.
    pub talk: Vec<Talk>,
    /// Processes that were killed, and cleaned up after.
    pub reaped: u64,
    /// Records that did not fit into a ring, or were torn.
    pub lost: u64,
    /// Gaps in the objects' own numbering: these records are among the lost ones, or came late.
    pub missing: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pipes {
    /// Made as emulated ones.
    pub emulated: u64,
    /// Those of them that went to the kernel.
    pub demoted: u64,
    /// The kernel's from the beginning (observe mode).
    pub kernel: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Signals {
    /// By processes of the session.
    pub sent: u64,
    /// Those of them that the kernel carried.
    pub kernel: u64,
    /// Handlers that were called.
    pub handled: u64,
    /// Taken by sigwait and its like.
    pub taken: u64,
    /// Processes that died of one.
    pub killed: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Demotion {
    pub obj: Object,
    pub cause: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Escape {
    pub pid: u32,
    pub comm: String,
    pub why: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Talk {
    pub from: String,
    pub to: String,
    pub pipes: u64,
    pub bytes: u64,
}

/// More than this of a kind are not listed one by one.
const MAX_LISTED: usize = 1000;
/// Pipes are told apart up to this many for each pair.
const MAX_PIPES: usize = 100_000;

const OBSERVED: &str = "only observed";

/// Collects a [`Summary`], entry by entry.
#[derive(Default)]
pub struct Accounts {
    /// `--mode observe`, or pipes are not in `--emulate`.
    all_observed: bool,
    sum: Summary,
    processes: HashSet<u32>,
    objects: HashSet<Object>,
    observed: HashSet<Object>,
    demoted: HashSet<Object>,
    layers: HashMap<u32, Calls>,
    /// By the names of writer and reader.
    talk: HashMap<(Arc<str>, Arc<str>), Traffic>,
}

#[derive(Default)]
struct Traffic {
    pipes: BTreeSet<Object>,
    bytes: u64,
}

impl Accounts {
    /// By the log's header.
    pub fn new(header: &Header) -> Accounts {
        let emulated = header.emulate.iter().any(|m| m == "pipe");
        Accounts {
            all_observed: !emulated,
            ..Accounts::default()
        }
    }

    /// `shares`: whose bytes it read, from `Flow::follow`.
    pub fn count(&mut self, e: &Entry, shares: &[Share]) {
        let sum = &mut self.sum;
        sum.entries += 1;
        if e.pid != 0 && &*e.comm != "ringer" {
            self.processes.insert(e.pid);
        }
        if let Some(object) = e.obj.filter(|_| !e.op.is_signal()) {
            self.objects.insert(object);
        }
        match e.op {
            Op::Write if is_stream(e) => sum.bytes += moved(e),
            Op::Read if is_stream(e) => {
                sum.bytes_read += moved(e);
                self.talk(e, shares);
            }
            Op::Wake => sum.blocked_ns += e.slept_ns.unwrap_or(0),
            // A process may say it more than once (exec, then exit): the last word counts.
            Op::Layers => {
                self.layers
                    .insert(e.who.unwrap_or(e.pid), e.calls.unwrap_or_default());
            }
            // A new process by an old number.
            Op::Start if e.yes != Some(true) => {
                sum.layers += self.layers.remove(&e.pid).unwrap_or_default();
            }
            Op::Pipe2 if e.errno.is_none() => {
                sum.pipes.emulated += 1;
                if let Some(object) = e.obj.filter(|_| self.all_observed) {
                    self.observed.insert(object);
                }
            }
            Op::Demote => self.demotion(e),
            Op::Exec if e.yes == Some(false) && sum.escaped.len() < MAX_LISTED => {
                sum.escaped.push(Escape {
                    pid: e.pid,
                    comm: e.comm.to_string(),
                    why: e.why.as_deref().unwrap_or("unknown").to_owned(),
                });
            }
            Op::Kill if e.obj.is_some() => {
                let became = e.signal.as_ref().and_then(|s| s.became);
                sum.signals.sent += u64::from(became != Some(Became::Full));
                sum.signals.kernel += u64::from(became == Some(Became::Kernel));
            }
            Op::Handler => sum.signals.handled += 1,
            Op::Sigtimedwait => sum.signals.taken += 1,
            Op::Killed => sum.signals.killed += 1,
            Op::Reaped => sum.reaped += 1,
            Op::Lost if e.obj.is_some() => sum.missing += e.count.unwrap_or(0),
            Op::Lost => sum.lost += e.count.unwrap_or(0),
            _ => {}
        }
    }

    fn demotion(&mut self, e: &Entry) {
        let Some(obj) = e.obj else { return };
        let cause = e.why.as_deref().unwrap_or("unknown").to_owned();
        if cause == OBSERVED {
            self.observed.insert(obj);
        } else if self.demoted.insert(obj) && self.sum.demotions.len() < MAX_LISTED {
            self.sum.demotions.push(Demotion { obj, cause });
        }
    }

    fn talk(&mut self, e: &Entry, shares: &[Share]) {
        let Some(object) = e.obj else { return };
        for share in shares {
            let pair = (share.writer.clone(), e.comm.clone());
            let traffic = self.talk.entry(pair).or_default();
            traffic.bytes += share.bytes;
            if traffic.pipes.len() < MAX_PIPES {
                traffic.pipes.insert(object);
            }
        }
    }

    pub fn sum(&self) -> Summary {
        let mut sum = self.sum.clone();
        sum.processes = self.processes.len() as u64;
        sum.objects = self.objects.len() as u64;
        self.layers.values().for_each(|calls| sum.layers += *calls);
        sum.pipes.kernel = self
            .observed
            .iter()
            .filter(|o| o.class() == object::PIPE)
            .count() as u64;
        sum.pipes.emulated = sum.pipes.emulated.saturating_sub(sum.pipes.kernel);
        sum.pipes.demoted = self
            .demoted
            .iter()
            .filter(|o| o.class() == object::PIPE)
            .count() as u64;
        sum.talk = self
            .talk
            .iter()
            .map(|((from, to), traffic)| Talk {
                from: from.to_string(),
                to: to.to_string(),
                pipes: traffic.pipes.len() as u64,
                bytes: traffic.bytes,
            })
            .collect();
        sum.talk
            .sort_by(|a, b| (b.bytes, &a.from, &a.to).cmp(&(a.bytes, &b.from, &b.to)));
        sum
    }
}

impl Summary {
    fn write_signals(&self, out: &mut String) -> std::fmt::Result {
        let s = self.signals;
        writeln!(
            out,
            "{} sent ({} by the kernel), {} handled, {} taken; killed: {}",
            human::plural(s.sent, "signal"),
            s.kernel,
            s.handled,
            s.taken,
            human::plural_es(s.killed, "process"),
        )
    }
}

/// Bytes of an eventfd are a number, not data.
fn is_stream(e: &Entry) -> bool {
    e.obj
        .is_none_or(|o| o.class() != ringer_kernel::log::object::EVENTFD)
}

fn moved(e: &Entry) -> u64 {
    e.ret.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

impl Summary {
    /// For a person.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let _ = self.write(&mut out); // a String takes everything
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "{}, {}, {} written, {} read, {} asleep on pipes",
            human::plural_es(self.processes, "process"),
            human::plural(self.pipes.emulated + self.pipes.kernel, "pipe"),
            human::bytes(self.bytes),
            human::bytes(self.bytes_read),
            human::duration(self.blocked_ns),
        )?;
        for talk in self.talk.iter().take(10) {
            let pipes = human::plural(talk.pipes, "pipe");
            writeln!(
                out,
                "  {} -> {}: {} by {pipes}",
                talk.from,
                talk.to,
                human::bytes(talk.bytes)
            )?;
        }
        if self.talk.len() > 10 {
            writeln!(out, "  and {} pairs more", self.talk.len() - 10)?;
        }
        if self.signals != Signals::default() {
            self.write_signals(out)?;
        }
        let Calls { hook, trap, passed } = self.layers;
        writeln!(
            out,
            "calls: {hook} by hook, {trap} by trap; {passed} traps were the kernel's business"
        )?;
        if self.pipes.kernel > 0 {
            writeln!(
                out,
                "{} only observed",
                human::plural(self.pipes.kernel, "pipe")
            )?;
        }
        let mut causes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for d in &self.demotions {
            causes.entry(&d.cause).or_default().push(d.obj.to_string());
        }
        for (cause, pipes) in causes {
            writeln!(out, "to the kernel: {} ({cause})", human::list(&pipes, 5))?;
        }
        for escape in self.escaped.iter().take(5) {
            writeln!(
                out,
                "out of reach: {} in process {} ({})",
                escape.why, escape.pid, escape.comm
            )?;
        }
        if self.reaped > 0 {
            writeln!(
                out,
                "cleaned up after {}",
                human::plural_es(self.reaped, "process")
            )?;
        }
        if self.lost > 0 || self.missing > 0 {
            let lost = human::plural(self.lost.max(self.missing), "record");
            writeln!(out, "lost: {lost}; the log is not complete")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
