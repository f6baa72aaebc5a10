//! Names that are the same in every run: of processes by their place in the family, of threads and
//! objects by the order in which their process made them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::log::entry::{Entry, Object, Op};

#[derive(Default)]
pub struct Names {
    processes: HashMap<u32, String>,
    threads: HashMap<(u32, u32), usize>,
    objects: HashMap<Object, String>,
    /// Objects that keep what was written in pieces as it was written: packets, messages.
    packets: BTreeSet<String>,
    /// The last program that each process ran.
    comms: HashMap<String, String>,
}

impl Names {
    pub fn of(entries: &[Entry]) -> Names {
        let mut names = Names {
            processes: processes(entries),
            ..Names::default()
        };
        names.threads = threads(entries);
        names.name_objects(entries);
        for e in entries {
            let process = names.process(e.pid);
            names.comms.insert(process, e.comm.to_string());
        }
        names
    }

    /// `1` is the command, `1.2` its second child. `?`: not of this run.
    pub fn process(&self, pid: u32) -> String {
        self.processes.get(&pid).cloned().unwrap_or("?".to_owned())
    }

    /// `1.2` for its first thread, `1.2/3` for its third.
    pub fn thread(&self, pid: u32, tid: u32) -> String {
        match self.threads.get(&(pid, tid)) {
            Some(0) | None => self.process(pid),
            Some(n) => format!("{}/{}", self.process(pid), n + 1),
        }
    }

    /// `pipe#2@1.3`: the second pipe that process 1.3 made.
    pub fn object(&self, object: Object) -> String {
        let known = self.objects.get(&object).cloned();
        known.unwrap_or_else(|| format!("{}@?", class(object)))
    }

    pub fn is_packets(&self, object: &str) -> bool {
        self.packets.contains(object)
    }

    pub fn comm(&self, process: &str) -> &str {
        self.comms.get(process).map_or("", String::as_str)
    }

    fn name_objects(&mut self, entries: &[Entry]) {
        let mut made: HashMap<(String, String), u32> = HashMap::new();
        for e in entries {
            let Some(object) = e.obj.filter(|_| !e.op.is_signal()) else {
                continue;
            };
            if self.objects.contains_key(&object) {
                continue;
            }
            let maker = (class(object), self.thread(e.pid, e.tid));
            let n = made.entry(maker.clone()).or_default();
            *n += 1;
            let name = format!("{}#{n}@{}", maker.0, maker.1);
            if keeps_pieces(e) {
                self.packets.insert(name.clone());
            }
            self.objects.insert(object, name);
        }
    }
}

fn class(object: Object) -> String {
    let name = object.to_string();
    name.split('#').next().unwrap_or_default().to_owned()
}

fn keeps_pieces(e: &Entry) -> bool {
    let flags = e.flags.as_deref().unwrap_or_default();
    match e.op {
        Op::Write | Op::Read => e.count.is_some(),
        Op::Pipe2 => flags.contains("O_DIRECT"),
        Op::Socketpair => flags.contains("SOCK_DGRAM") || flags.contains("SOCK_SEQPACKET"),
        _ => true,
    }
}

/// Children are told apart by their numbers, which grow.
fn processes(entries: &[Entry]) -> HashMap<u32, String> {
    let mut parents: BTreeMap<u32, u32> = BTreeMap::new();
    let mut order: Vec<u32> = Vec::new();
    for e in entries {
        let child = match e.op {
            Op::Fork => e.who.map(|child| (child, e.pid)),
            Op::Start => e.who.map(|parent| (e.pid, parent)),
            _ => None,
        };
        if let Some((child, parent)) = child {
            parents.entry(child).or_insert(parent);
        }
        // (Who never started is the supervisor, with its word about others.)
        if e.op == Op::Start && !order.contains(&e.pid) {
            order.push(e.pid);
        }
    }
    let known: BTreeSet<u32> = order
        .iter()
        .copied()
        .chain(parents.keys().copied())
        .collect();
    let roots = order
        .iter()
        .filter(|pid| parents.get(pid).is_none_or(|p| !known.contains(p)));
    let mut names = HashMap::new();
    for (i, root) in roots.enumerate() {
        name_family(*root, (i + 1).to_string(), &parents, &mut names);
    }
    names
}

fn name_family(
    pid: u32,
    name: String,
    parents: &BTreeMap<u32, u32>,
    names: &mut HashMap<u32, String>,
) {
    if names.contains_key(&pid) {
        return; // a number that was used twice
    }
    names.insert(pid, name.clone());
    let children = parents.iter().filter(|(_, parent)| **parent == pid);
    for (i, (child, _)) in children.enumerate() {
        name_family(*child, format!("{name}.{}", i + 1), parents, names);
    }
}

fn threads(entries: &[Entry]) -> HashMap<(u32, u32), usize> {
    let all: BTreeSet<(u32, u32)> = entries.iter().map(|e| (e.pid, e.tid)).collect();
    let mut seen: HashMap<u32, usize> = HashMap::new();
    let mut number = |pid: u32| {
        let n = seen.entry(pid).or_default();
        *n += 1;
        *n
    };
    // The first thread has the process's number, and is 0 even if it says nothing.
    all.into_iter()
        .map(|(pid, tid)| ((pid, tid), if pid == tid { 0 } else { number(pid) }))
        .collect()
}
