//! What an entry refers to: the entries that it names as its causes, looked up again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::entry::{Entry, Object, Op};

/// So many entries can be referred to; older ones are forgotten.
const REMEMBERED: usize = 128 * 1024;

/// What is remembered of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub pid: u32,
    pub tid: u32,
    pub comm: Arc<str>,
    pub op: Op,
    pub obj: Option<Object>,
    pub pos: Option<[u64; 2]>,
    pub t_ns: u64,
}

#[derive(Default)]
pub struct Story {
    seen: HashMap<u64, Seen>,
    order: VecDeque<u64>,
}

impl Story {
    pub fn get(&self, id: u64) -> Option<&Seen> {
        self.seen.get(&id)
    }

    /// Remembers an entry if others may name it.
    pub fn remember(&mut self, e: &Entry) {
        let can_cause = match e.op {
            Op::Write | Op::Read => e.pos.is_some(),
            Op::Kill | Op::Sigprocmask | Op::Handler => true,
            Op::SignalWait | Op::Interrupted | Op::FifoOpening => true,
            Op::Close | Op::Demote | Op::Resize | Op::Reaped => true,
            Op::Connect | Op::Accept => true,
            Op::MqSend | Op::MqReceive => e.errno.is_none(),
            op => super::sysv::can_cause(op),
        };
        if !can_cause || e.id == 0 {
            return;
        }
        if self.order.len() == REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.seen.remove(&oldest);
            }
        }
        let seen = Seen {
            pid: e.pid,
            tid: e.tid,
            comm: e.comm.clone(),
            op: e.op,
            obj: e.obj,
            pos: e.pos,
            t_ns: e.t_ns,
        };
        if self.seen.insert(e.id, seen).is_none() {
            self.order.push_back(e.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut story = Story::default();
        for id in 1..=REMEMBERED as u64 + 2 {
            story.remember(&Entry {
                id,
                op: Op::Close,
                ..Entry::default()
            });
        }
        assert!(story.get(2).is_none());
        assert!(story.get(3).is_some());
        assert!(story.get(REMEMBERED as u64 + 2).is_some());
    }
}
