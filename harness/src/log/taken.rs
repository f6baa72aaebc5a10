//! Semaphores of processes that were killed: what each took and did not post. libc's semaphores have no owner; who
//! took one in order to post it is seen by its calls alone.

use std::collections::{BTreeMap, HashMap};

use super::entry::{Entry, Op};

#[derive(Default)]
pub struct Taken {
    /// What is mapped where, in which process.
    names: HashMap<(u32, u64), String>,
    /// By process and semaphore.
    balance: BTreeMap<(u32, String), u64>,
}

impl Taken {
    /// Learns from the entry; that of a death is told what there is to tell.
    pub fn follow(&mut self, e: &mut Entry) {
        match (e.op, e.ret) {
            (Op::Start, _) if e.yes != Some(true) => self.inherit(e.pid, e.who),
            (Op::SemOpen, Some(address)) if e.errno.is_none() => {
                let name = e.name.clone().unwrap_or_default();
                self.names.insert((e.pid, address as u64), name);
            }
            (Op::SemWait, Some(0)) => {
                if let Some(what) = self.what(e) {
                    *self.balance.entry((e.pid, what)).or_default() += 1;
                }
            }
            (Op::SemPost, Some(0)) => {
                let key = self.what(e).map(|what| (e.pid, what));
                if let Some(taken) = key.and_then(|key| self.balance.get_mut(&key)) {
                    *taken = taken.saturating_sub(1);
                }
            }
            (Op::Exit, _) => drop(self.forget(e.pid)),
            (Op::Reaped, _) => e.taken = e.who.map(|dead| self.forget(dead)).unwrap_or_default(),
            _ => {}
        }
    }

    /// A fork has what its parent has open, and has taken nothing.
    fn inherit(&mut self, child: u32, parent: Option<u32>) {
        let of = |pid: u32| Some(pid) == parent;
        let names = self.names.iter().filter(|((pid, _), _)| of(*pid));
        let names: Vec<_> = names
            .map(|((_, at), name)| ((child, *at), name.clone()))
            .collect();
        self.names.extend(names);
    }

    /// By its name, or by its address.
    fn what(&self, e: &Entry) -> Option<String> {
        let address = e.address?;
        let name = self.names.get(&(e.pid, address)).cloned();
        Some(name.unwrap_or_else(|| format!("semaphore {address:#x}")))
    }

    fn forget(&mut self, dead: u32) -> Vec<(String, u64)> {
        self.names.retain(|(pid, _), _| *pid != dead);
        let of_dead = |(pid, _): &(u32, String)| *pid == dead;
        let keys: Vec<_> = self
            .balance
            .keys()
            .filter(|k| of_dead(k))
            .cloned()
            .collect();
        let taken = keys.into_iter().filter_map(|key| {
            let times = self.balance.remove(&key)?;
            (times > 0).then_some((key.1, times))
        });
        taken.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pid: u32, op: Op) -> Entry {
        Entry {
            pid,
            op,
            ret: Some(0),
            address: Some(64),
            ..Entry::default()
        }
    }

    fn death(taken: &mut Taken, who: u32) -> Vec<(String, u64)> {
        let mut e = Entry {
            who: Some(who),
            ..entry(1, Op::Reaped)
        };
        taken.follow(&mut e);
        e.taken
    }

    fn opened() -> Taken {
        let mut taken = Taken::default();
        taken.follow(&mut Entry {
            ret: Some(64),
            name: Some("/held".into()),
            ..entry(1, Op::SemOpen)
        });
        taken.follow(&mut Entry {
            who: Some(1),
            ..entry(2, Op::Start)
        });
        taken
    }

    #[test]
    fn what_the_dead_took_and_did_not_post_is_told() {
        let mut taken = opened();
        for op in [Op::SemWait, Op::SemWait, Op::SemWait, Op::SemPost] {
            taken.follow(&mut entry(2, op));
        }
        assert_eq!(death(&mut taken, 2), [("/held".to_owned(), 2)]);
        assert_eq!(death(&mut taken, 2), []);
    }

    #[test]
    fn who_posted_what_it_took_or_only_tried_holds_nothing() {
        let mut taken = opened();
        taken.follow(&mut entry(2, Op::SemWait));
        taken.follow(&mut entry(2, Op::SemPost));
        taken.follow(&mut Entry {
            ret: Some(-1),
            ..entry(2, Op::SemWait)
        });
        assert_eq!(death(&mut taken, 2), []);
    }

    #[test]
    fn one_without_a_name_goes_by_its_address() {
        let mut taken = Taken::default();
        taken.follow(&mut entry(3, Op::SemWait));
        assert_eq!(death(&mut taken, 3), [("semaphore 0x40".to_owned(), 1)]);
    }
}
