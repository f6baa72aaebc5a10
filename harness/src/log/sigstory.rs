//! What entries about signals have to do with each other: whose signal a handler was called for and
//! how long that was pending, what blocks one, which handlers never return.
//!
//! Follows the log as it is written. A log that was saved knows already.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::entry::{Entry, Layer, Object, Op};
use super::signals::{Became, Mask, Number, Signal};

/// So many sent signals are remembered; older ones have no past.
const REMEMBERED: usize = 64 * 1024;
/// So many that the kernel carries to a process, and that nobody was seen to take.
const CARRIED: usize = 1024;
/// The first real-time signal, as the kernel counts.
const RTMIN: i32 = 32;
/// Handlers inside handlers; more are not told apart.
const DEEPEST: usize = 256;
/// What lies further apart is not on one stack, in units of a frame's address.
const STACK: i32 = (64 << 20) / 16;

struct SentSignal {
    obj: Option<Object>,
    /// `None`: it never was pending.
    since: Option<u64>,
}

struct Running {
    /// Of its entry.
    id: u64,
    obj: Option<Object>,
    name: Option<Number>,
    frame: Option<i32>,
    mask: Option<Mask>,
}

#[derive(Default)]
struct Thread {
    mask: Option<Mask>,
    handlers: Vec<Running>,
    /// The wait that the next handler ends, if that is what comes next.
    wait: Option<u64>,
}

struct Pending {
    name: Number,
    obj: Option<Object>,
    /// Of its entry.
    id: u64,
    /// By whom, and for which thread alone.
    from: u32,
    thread: Option<u32>,
}

#[derive(Default)]
struct Process {
    /// What was left for it, and is there yet.
    pending: Vec<Pending>,
    /// What the kernel carries to it, and nobody has taken yet.
    carried: VecDeque<Pending>,
    /// By signal, the entry that blocks it.
    blocked_by: HashMap<i32, u64>,
    ignored: HashSet<i32>,
}

#[derive(Default)]
pub struct SigStory {
    sent: HashMap<u64, SentSignal>,
    order: VecDeque<u64>,
    threads: HashMap<u32, Thread>,
    processes: HashMap<u32, Process>,
}

impl SigStory {
    /// Takes an entry in, in order, and completes it. `tell`: handlers that it proves to be over.
    pub fn follow(&mut self, e: &mut Entry, mut tell: impl FnMut(Entry)) {
        match e.op {
            Op::Fork => self.fork(e),
            Op::Start if e.yes == Some(true) => {
                self.leave(e, "exec", |_| true, &mut tell);
                // Its mask it keeps; what was pending is the kernel's by now.
                if let Some(p) = self.processes.get_mut(&e.pid) {
                    p.pending.clear();
                }
            }
            Op::Exit => {
                self.leave(e, "exit", |_| true, &mut tell);
                self.forget(e.pid);
            }
            Op::Reaped | Op::Killed => {
                if let Some(pid) = e.who {
                    self.forget(pid);
                }
            }
            Op::Interrupted => {
                self.threads.entry(e.tid).or_default().wait = Some(e.id);
                return;
            }
            _ => {}
        }
        if e.op.is_signal() {
            self.signal(e, &mut tell);
        }
        if e.op != Op::SignalWait {
            if let Some(thread) = self.threads.get_mut(&e.tid) {
                thread.wait = None;
            }
        }
    }

    fn signal(&mut self, e: &mut Entry, tell: &mut impl FnMut(Entry)) {
        let Some(mut s) = e.signal.take() else { return };
        match e.op {
            Op::Kill => self.kill(e, &mut s),
            Op::Handler => self.handler(e, &mut s, tell),
            Op::HandlerReturn => self.returned(e, &mut s, tell),
            Op::Sigprocmask => self.mask(e, &mut s),
            Op::Sigtimedwait => self.take(e, &mut s),
            Op::Sigaction => self.action(e, &mut s),
            Op::SignalWait => self.threads.entry(e.tid).or_default().wait = Some(e.id),
            Op::Killed => self.past(e, &mut s),
            _ => {}
        }
        e.signal = Some(s);
    }

    fn kill(&mut self, e: &Entry, s: &mut Signal) {
        let (Some(to), Some(name)) = (s.to, s.name) else {
            return;
        };
        if e.errno.is_some() {
            return;
        }
        let target = u32::try_from(to).unwrap_or(0);
        match s.became {
            Some(Became::Pending) => {
                s.blocked_by = self.blocker(target, name);
                let pending = &mut self.processes.entry(target).or_default().pending;
                if pending.len() < REMEMBERED {
                    pending.push(pending_of(e, s, name));
                }
            }
            Some(Became::Kernel) => self.carry(e, s, (target, name)),
            Some(Became::Coalesced) => {
                s.blocked_by = self.blocker(target, name);
                let pending = self.processes.get(&target).map(|p| &p.pending);
                s.with = pending
                    .and_then(|all| all.iter().find(|p| p.name == name))
                    .and_then(|first| first.obj);
                return;
            }
            Some(Became::Full) => return,
            _ => {}
        }
        if self.order.len() == REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.sent.remove(&oldest);
            }
        }
        let sent = SentSignal {
            obj: e.obj,
            since: (s.became != Some(Became::AtOnce)).then_some(e.t_ns),
        };
        if self.sent.insert(e.id, sent).is_none() {
            self.order.push_back(e.id);
        }
    }

    /// The kernel has it. If its target is known to ignore it, and not to block it, that is its end.
    fn carry(&mut self, e: &Entry, s: &mut Signal, (target, name): (u32, Number)) {
        let blocks = |t: &Thread| t.mask.is_some_and(|mask| mask.has(name));
        let is_blocked = self.threads.get(&target).is_some_and(blocks);
        let process = self.processes.entry(target).or_default();
        if process.ignored.contains(&name.0) && !is_blocked {
            s.became = Some(Became::Ignored);
            return;
        }
        if process.carried.len() == CARRIED {
            process.carried.pop_front();
        }
        process.carried.push_back(pending_of(e, s, name));
    }

    /// A sigprocmask, or a handler that runs there.
    fn blocker(&self, pid: u32, name: Number) -> Option<u64> {
        let process = self.processes.get(&pid);
        if let Some(call) = process.and_then(|p| p.blocked_by.get(&name.0)) {
            return Some(*call);
        }
        let thread = self.threads.get(&pid)?;
        let own = |h: &&Running| h.name == Some(name);
        let by_mask = thread.mask.is_some_and(|m| !m.has(name));
        let handler = thread.handlers.iter().rev().find(own);
        handler
            .or_else(|| thread.handlers.last().filter(|_| by_mask))
            .map(|h| h.id)
    }

    /// The signal's number and how long it was pending, from the entry that caused `e`.
    fn past(&self, e: &mut Entry, s: &mut Signal) {
        let Some(sent) = e.cause.and_then(|id| self.sent.get(&id)) else {
            return;
        };
        e.obj = e.obj.or(sent.obj);
        s.pending_ns = sent.since.map(|since| e.t_ns.saturating_sub(since));
    }

    /// It is pending no more.
    fn take(&mut self, e: &mut Entry, s: &mut Signal) {
        let tid = e.tid;
        if let Some(p) = self.processes.get_mut(&e.pid) {
            let is_it = |sent: &Pending| match e.cause {
                Some(id) => sent.id == id,
                // Its siginfo says who has sent it; how it came here nobody has noted.
                None => {
                    let for_this = sent.thread.is_none_or(|thread| thread == tid);
                    let from = s.from.is_none_or(|from| from == sent.from);
                    let unseen = s.from.is_none() && s.code.is_some(); // not sent by a process
                    Some(sent.name) == s.name && from && for_this && !unseen
                }
            };
            let left = p
                .pending
                .iter()
                .position(is_it)
                .map(|at| p.pending.remove(at));
            let carried = || {
                let at = p.carried.iter().position(is_it)?;
                p.carried.remove(at)
            };
            if let Some(sent) = left.or_else(carried) {
                e.cause = e.cause.or(Some(sent.id));
                // One is enough: of those before it nothing came.
                let gone =
                    |one: &Pending| one.name == sent.name && one.name.0 < RTMIN && one.id < sent.id;
                p.carried.retain(|one| !gone(one));
            }
        }
        self.past(e, s);
    }

    /// The threads that would have come before this one for a signal of the process.
    fn passed_over(&self, e: &Entry, s: &Signal) -> Vec<u32> {
        let for_process = matches!(
            s.code.as_deref(),
            Some("SI_USER" | "SI_QUEUE" | "SI_TIMER" | "SI_KERNEL")
        );
        let (Some(name), true, true) = (s.name, for_process, e.tid != e.pid) else {
            return Vec::new();
        };
        // The main thread is asked first. (Linux kernel/signal.c complete_signal)
        let main = self.threads.get(&e.pid).and_then(|t| t.mask);
        main.filter(|mask| mask.has(name))
            .map(|_| e.pid)
            .into_iter()
            .collect()
    }

    fn handler(&mut self, e: &mut Entry, s: &mut Signal, tell: &mut impl FnMut(Entry)) {
        self.take(e, s);
        s.passed_over = self.passed_over(e, s);
        // No frame is put where another one lives, nor above it.
        self.leave(e, "longjmp", |h| is_below(s.frame, h.frame), tell);
        let thread = self.threads.entry(e.tid).or_default();
        s.interrupts = thread.wait.take();
        if thread.handlers.len() < DEEPEST {
            thread.handlers.push(Running {
                id: e.id,
                obj: e.obj,
                name: s.name,
                frame: s.frame,
                mask: thread.mask,
            });
        }
    }

    fn returned(&mut self, e: &mut Entry, s: &mut Signal, tell: &mut impl FnMut(Entry)) {
        let id = e.cause;
        let handlers = self.threads.entry(e.tid).or_default();
        let Some(at) = handlers.handlers.iter().rposition(|h| Some(h.id) == id) else {
            handlers.mask = s.mask;
            return;
        };
        let inner: Vec<u64> = handlers
            .handlers
            .iter()
            .skip(at + 1)
            .map(|h| h.id)
            .collect();
        self.leave(e, "longjmp", |h| inner.contains(&h.id), tell);
        let thread = self.threads.entry(e.tid).or_default();
        if let Some(over) = thread.handlers.pop() {
            e.obj = over.obj;
            s.restored = over.mask.map(|before| Some(before) == s.mask);
        }
        thread.mask = s.mask;
    }

    fn mask(&mut self, e: &Entry, s: &mut Signal) {
        let Some(after) = s.mask else { return };
        let thread = self.threads.entry(e.tid).or_default();
        thread.mask = Some(after);
        if e.tid != e.pid {
            return; // its process is served by the kernel
        }
        let p = self.processes.entry(e.pid).or_default();
        p.blocked_by.retain(|n, _| after.has(Number(*n)));
        for n in after.signals() {
            // What was blocked before, by whomever, is not this call's doing.
            if s.how.as_deref() != Some("SIG_BLOCK") || s.set.is_some_and(|set| set.has(n)) {
                p.blocked_by.entry(n.0).or_insert(e.id);
            }
        }
        let through = p.pending.iter().filter(|p| !after.has(p.name));
        s.frees = through.filter_map(|p| p.obj).collect();
    }

    fn action(&mut self, e: &Entry, s: &mut Signal) {
        let ignored = s.handler.as_deref() == Some("SIG_IGN");
        let number = s.name.unwrap_or_default().0;
        let set = &mut self.processes.entry(e.pid).or_default().ignored;
        if !ignored {
            set.remove(&number);
            return;
        }
        set.insert(number);
        if let Some(p) = self.processes.get_mut(&e.pid) {
            let gone = p.pending.iter().filter(|p| Some(p.name) == s.name);
            s.frees = gone.filter_map(|p| p.obj).collect();
            p.pending.retain(|p| Some(p.name) != s.name);
        }
    }

    fn fork(&mut self, e: &Entry) {
        let (Some(child), None) = (e.who, e.errno) else {
            return;
        };
        if child == 0 {
            return;
        }
        let mask = self.threads.get(&e.tid).and_then(|t| t.mask);
        self.threads.entry(child).or_insert(Thread {
            mask,
            ..Thread::default()
        });
        let inherited = self
            .processes
            .get(&e.pid)
            .map(|p| (p.blocked_by.clone(), p.ignored.clone()));
        if let Some((blocked_by, ignored)) = inherited {
            self.processes.entry(child).or_insert(Process {
                blocked_by,
                ignored,
                ..Process::default()
            });
        }
    }

    fn forget(&mut self, pid: u32) {
        self.threads.remove(&pid);
        self.processes.remove(&pid);
    }

    /// Tells of the handlers of this thread that are over without having returned.
    fn leave(
        &mut self,
        e: &Entry,
        how: &'static str,
        over: impl Fn(&Running) -> bool,
        tell: &mut impl FnMut(Entry),
    ) {
        let Some(thread) = self.threads.get_mut(&e.tid) else {
            return;
        };
        thread.handlers.retain(|h| {
            let over = over(h);
            if over {
                tell(Entry {
                    t_ns: e.t_ns,
                    pid: e.pid,
                    tid: e.tid,
                    comm: Arc::clone(&e.comm),
                    layer: Some(Layer::Own),
                    op: Op::HandlerLeft,
                    obj: h.obj,
                    cause: Some(h.id),
                    why: Some(how.into()),
                    signal: Some(Box::new(Signal {
                        name: h.name,
                        ..Signal::default()
                    })),
                    ..Entry::default()
                });
            }
            !over
        });
    }
}

fn pending_of(e: &Entry, s: &Signal, name: Number) -> Pending {
    Pending {
        name,
        obj: e.obj,
        id: e.id,
        from: e.pid,
        thread: s.thread,
    }
}

/// Whether a frame that is at `old` can not be alive any more when one is put at `new`. Stacks grow
/// downwards.
fn is_below(new: Option<i32>, old: Option<i32>) -> bool {
    match (new, old) {
        (Some(new), Some(old)) => (0..STACK).contains(&new.wrapping_sub(old)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
