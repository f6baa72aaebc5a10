//! A log as lanes: what each thread did, in its order.
//!
//! Linux promises no order between threads. So an object that several threads use gets a lane for each
//! thread and direction, and there only what does not depend on who was faster is compared: how many bytes in
//! all, that the end of the file came, which errors. What a handler does that interrupts a thread anywhere is a
//! lane of its own, too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use crate::error::Result;
use crate::log::entry::{Entry, Op};
use crate::log::saved;
use crate::log::signals::Number;

use super::names::Names;
use super::step::{self, Step};

/// Longer logs are not compared: they would not fit in memory.
const MOST: usize = 2_000_000;

/// Who does what with an object, over all runs.
#[derive(Clone, Default, Debug)]
pub struct Use {
    users: BTreeSet<String>,
    readers: BTreeSet<String>,
    writers: BTreeSet<String>,
    packets: bool,
    /// In some run not all that was written was read.
    cut: bool,
}

pub type Uses = BTreeMap<String, Use>;

/// One run's log.
pub struct Story {
    /// In order: the lane it belongs to, and the step.
    steps: Vec<(String, Step)>,
    names: Names,
    /// Somebody did not live to read or write all.
    killed: bool,
    /// Records are missing.
    pub lost: bool,
}

pub type Lanes = BTreeMap<String, Vec<Step>>;

impl Story {
    pub fn read(path: &Path) -> Result<Story> {
        let mut entries = Vec::new();
        let mut lost = false;
        saved::each(path, |e| {
            lost |= e.op == Op::Lost || e.late || entries.len() == MOST;
            if entries.len() < MOST {
                entries.push(e);
            }
        })?;
        Ok(Story::of(&entries, lost))
    }

    pub fn of(entries: &[Entry], lost: bool) -> Story {
        let names = Names::of(entries);
        let mut teller = Teller::default();
        for (at, e) in entries.iter().enumerate() {
            teller.tell(at, e, &names);
        }
        teller.forget_last_words();
        Story {
            steps: teller.steps,
            names,
            killed: entries
                .iter()
                .any(|e| matches!(e.op, Op::Killed | Op::Reaped)),
            lost,
        }
    }

    /// Adds what this run does with its objects.
    pub fn uses(&self, uses: &mut Uses) {
        let mut flow: BTreeMap<&str, (u64, u64, bool)> = BTreeMap::new();
        let mut broken = self.killed;
        for (lane, step) in &self.steps {
            broken |= step.errno.as_deref() == Some("EPIPE");
            let Some(object) = step.object().filter(|_| is_use(step)) else {
                continue;
            };
            let u = uses.entry(object.to_owned()).or_default();
            u.packets |= self.names.is_packets(object);
            u.users.insert(lane.clone());
            let (written, read, ended) = flow.entry(object).or_default();
            match (step.is_data(), step.takes()) {
                (true, true) => {
                    u.readers.insert(lane.clone());
                    *read += step.bytes.unwrap_or_default();
                    *ended |= step.is_end_of_file();
                }
                (true, false) => {
                    u.writers.insert(lane.clone());
                    *written += step.bytes.unwrap_or_default();
                }
                _ => {}
            }
        }
        for (object, (written, read, ended)) in flow {
            if let Some(u) = uses.get_mut(object) {
                // Whoever has seen the end has seen all.
                u.cut |= !ended && (written != read || broken);
            }
        }
    }

    /// The lanes, by what is known of the objects over all runs.
    pub fn lanes(&self, uses: &Uses) -> Lanes {
        let mut lanes = Lanes::new();
        for (lane, step) in &self.steps {
            let u = step.object().and_then(|object| uses.get(object));
            let shared = u.filter(|u| u.users.len() > 1);
            let mut step = step.clone();
            let lane = match shared {
                None => {
                    step.settle_bytes(true);
                    lane.clone()
                }
                Some(_) if !step.is_data() => {
                    step.forget_state();
                    lane.clone()
                }
                Some(_) if is_timing(&step) => continue,
                Some(_) => format!(
                    "{lane}: {}({})",
                    step.op.name(),
                    step.on.as_deref().unwrap_or("")
                ),
            };
            let to = lanes.entry(lane).or_default();
            match shared.filter(|_| step.is_data()) {
                Some(u) => flow_on(to, step, u),
                None => to.push(step),
            }
        }
        for (name, lane) in &mut lanes {
            finish(name, lane, uses);
        }
        lanes
    }

    /// The program that ran in a lane.
    pub fn comm(&self, lane: &str) -> &str {
        let process = lane.split([' ', '/', ':']).next().unwrap_or_default();
        self.names.comm(process)
    }
}

fn is_use(step: &Step) -> bool {
    step.is_data()
        || matches!(
            step.op,
            Op::Semop | Op::SemSet | Op::MsgCopy | Op::ShmAttach | Op::ShmDetach
        )
}

/// Whether there was something just then.
fn is_timing(step: &Step) -> bool {
    matches!(step.errno.as_deref(), Some("EAGAIN" | "EINTR" | "ENOMSG"))
}

/// Data on a shared object: pieces of a stream are one.
fn flow_on(lane: &mut Vec<Step>, mut step: Step, u: &Use) {
    step.forget_state();
    let one_each = u.readers.len() <= 1 && u.writers.len() <= 1;
    if u.packets && one_each {
        step.settle_bytes(!u.cut);
        lane.push(step);
        return;
    }
    if !one_each && u.packets {
        step.fields.retain(|name, _| *name == "ret");
    }
    match lane.last_mut() {
        Some(last)
            if last.key() == step.key() && last.is_end_of_file() == step.is_end_of_file() =>
        {
            last.bytes = last.bytes.zip(step.bytes).map(|(a, b)| a + b);
        }
        _ => lane.push(step),
    }
}

/// What the bytes of a flow come to is known if all were read, by one reader.
fn finish(name: &str, lane: &mut Vec<Step>, uses: &Uses) {
    for step in lane.iter_mut() {
        let Some(u) = step.object().and_then(|object| uses.get(object)) else {
            continue;
        };
        if u.users.len() > 1 && step.is_data() && !step.fields.contains_key("bytes") {
            let alone = !step.takes() || u.readers.len() == 1;
            step.settle_bytes(alone && !u.cut);
        }
    }
    // Whose end it tells of, if several children have ended, is chance; and that it comes at all, if its
    // process ends then, too.
    if name.ends_with(" SIGCHLD") {
        lane.clear();
    }
    // A standard signal that comes while one is pending is no second one.
    if name.contains(" SIG") && !name.contains(" SIGRT") {
        let mut seen: Vec<Step> = Vec::new();
        for step in lane.drain(..) {
            if !seen.iter().any(|known| known.admits(&step)) {
                seen.push(step);
            }
        }
        *lane = seen;
    }
}

#[derive(Default)]
struct Teller {
    steps: Vec<(String, Step)>,
    /// Handlers that have interrupted a thread.
    handlers: HashMap<String, Vec<Number>>,
    /// What a thread waits for.
    waits: HashMap<String, Step>,
}

impl Teller {
    fn tell(&mut self, at: usize, e: &Entry, names: &Names) {
        let thread = self.whose(e, names);
        if thread.starts_with('?') {
            return;
        }
        if let Some(came) = self.interrupts(e) {
            self.handlers.entry(thread.clone()).or_default().push(came);
        }
        let lane = match self.handlers.get(&thread).and_then(|h| h.last()) {
            Some(signal) => format!("{thread} {signal}"),
            None => thread.clone(),
        };
        self.leave(&thread, e);
        if let Some(step) = self.ended_wait(&thread, e, names) {
            self.steps.push((lane, Step { at, ..step }));
            return;
        }
        let Some(step) = step::of(e, names) else {
            return;
        };
        if e.op == Op::Exit {
            self.forget_detaching(&lane);
        }
        if e.op == Op::Kill && step.errno.is_some() {
            self.forget_sending(&lane, &step);
        }
        self.steps.push((lane, Step { at, ..step }));
    }

    /// Whoever finds a call of a sleeper possible carries it out; it is the sleeper's.
    fn whose(&self, e: &Entry, names: &Names) -> String {
        let of = e.sysv.as_ref().and_then(|s| s.of);
        match of.map(|pid| names.process(pid)).filter(|name| name != "?") {
            Some(process) => process,
            None => names.thread(e.pid, e.tid),
        }
    }

    /// A handler that came from outside, at any point; or inside a write, of which the kernel tells when it
    /// has returned.
    fn interrupts(&self, e: &Entry) -> Option<Number> {
        let s = e.signal.as_ref().filter(|_| e.op == Op::Handler)?;
        let within = s.name == Some(Number(libc::SIGPIPE));
        (within || s.from != Some(e.pid)).then_some(s.name?)
    }

    fn leave(&mut self, thread: &str, e: &Entry) {
        if !matches!(e.op, Op::HandlerReturn | Op::HandlerLeft) {
            return;
        }
        let name = e.signal.as_ref().and_then(|s| s.name);
        if let Some(stack) = self.handlers.get_mut(thread) {
            if stack.last().copied() == name {
                stack.pop();
            }
        }
    }

    /// A signal ended a call that waited: EINTR, where it is not restarted.
    fn ended_wait(&mut self, thread: &str, e: &Entry, names: &Names) -> Option<Step> {
        use crate::log::entry::End;
        if e.op == Op::Block {
            let op = match (e.end, &e.sysv) {
                (_, Some(_)) => Op::SysvCall,
                (Some(End::Write), _) => Op::Write,
                _ => Op::Read,
            };
            let like = Entry {
                op,
                sysv: None,
                ..e.clone()
            };
            let mut step = step::of(&like, names).unwrap_or_else(|| Step::new(op));
            step.fields.clear();
            step.errno = Some("EINTR".to_owned());
            self.waits.insert(thread.to_owned(), step);
        }
        let ended = e.op == Op::Interrupted && e.yes == Some(false);
        self.waits.get(thread).filter(|_| ended).cloned()
    }

    /// Whom SIGPIPE kills has no word of the write: only ringer has.
    fn forget_last_words(&mut self) {
        let process = |lane: &str| lane.split(['/', ' ']).next().unwrap_or_default().to_owned();
        let left: BTreeSet<String> = self
            .steps
            .iter()
            .filter(|(_, step)| step.op == Op::Exit)
            .map(|(lane, _)| process(lane))
            .collect();
        self.steps.retain(|(lane, step)| {
            step.errno.as_deref() != Some("EPIPE") || left.contains(&process(lane))
        });
    }

    /// What a process leaves behind is detached by its end, which nobody sees from outside.
    fn forget_detaching(&mut self, lane: &str) {
        while let Some(at) = self.steps.iter().rposition(|(l, _)| l == lane) {
            match self.steps.get(at) {
                Some((_, step)) if step.op == Op::ShmDetach => self.steps.remove(at),
                _ => return,
            };
        }
    }

    /// It was told when it was about to be sent; now it is told that it was not.
    fn forget_sending(&mut self, lane: &str, failed: &Step) {
        let name = failed.fields.get("name");
        let last = self.steps.iter().rposition(|(l, _)| l == lane);
        let same = |(_, step): &&(String, Step)| {
            step.op == Op::Kill && step.errno.is_none() && step.fields.get("name") == name
        };
        if let Some(at) = last.filter(|at| self.steps.get(*at).as_ref().is_some_and(same)) {
            self.steps.remove(at);
        }
    }
}
