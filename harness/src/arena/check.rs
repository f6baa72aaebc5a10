//! Whether an arena is in order: the invariants of ringer-kernel, over an arena that stands still.
//!
//! Crash tests kill a process at each crash point and then ask this. What a crash may leave
//! behind by design (a lock of a dead owner, a count too high, a block that leaked) is no finding.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::Ordering::*;

use serde::Serialize;

use ringer_kernel::arena::alloc::MIN_SHIFT;
use ringer_kernel::arena::{layout, Arena};
use ringer_kernel::eventfd::{Eventfd, CLOSED};
use ringer_kernel::file::{self, fd_table};
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::slot::{SlotWord, Tail};
use ringer_kernel::pipe::{self, mode, Pipe, SlotCell};
use ringer_kernel::sync::robust::RobustLock;
use ringer_kernel::task::{self, proc_state};
use ringer_kernel::unix::Pair;

use super::blocks::Blocks;
use super::{descriptors, eventfds, pipes, sockets};
use crate::log::entry::Object;

/// One invariant that does not hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// As the source calls it: P1, F1 ...
    pub rule: &'static str,
    /// What it was found in: `pipe#3`, `process 412`, `free list 6`.
    pub place: String,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.rule, self.place, self.what)
    }
}

/// More than this many are not worth listing.
const MAX_FINDINGS: usize = 1000;

#[derive(Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    pub fn add(&mut self, rule: &'static str, place: impl fmt::Display, what: impl fmt::Display) {
        if self.0.len() < MAX_FINDINGS {
            let (place, what) = (place.to_string(), what.to_string());
            self.0.push(Finding { rule, place, what });
        }
    }
}

/// Everything that is wrong.
pub fn check(arena: &Arena) -> Vec<Finding> {
    let mut found = Findings::default();
    let mut blocks = Blocks::new(arena);
    for (_, p) in pipes::pipe_slots(arena) {
        pipe(arena, p, &mut blocks, &mut found);
    }
    for (_, e) in eventfds::slots(arena) {
        eventfd(arena, e, &mut found);
    }
    for (_, p) in sockets::slots(arena) {
        pair(arena, p, &mut blocks, &mut found);
    }
    let mut named = tables(arena, &mut blocks, &mut found);
    for (_, p) in sockets::slots(arena) {
        p.flights
            .for_each(arena, |slot| *named.entry(slot).or_default() += 1);
    }
    files(arena, &named, &mut found);
    free_lists(arena, &mut blocks, &mut found);
    let header = arena.header();
    lock(arena, &header.lock, "the arena's lock", &mut found);
    blocks.overlaps(&mut found);
    found.0
}

fn pipe(arena: &Arena, p: &Pipe, blocks: &mut Blocks, found: &mut Findings) {
    let id = p.id.load(Relaxed);
    let name = Object(id).to_string();
    for (what, l) in [
        ("rlock", &p.rlock),
        ("wlock", &p.wlock),
        ("token_lock", &p.token_lock),
    ] {
        lock(arena, l, &format!("{name}, {what}"), found);
    }
    let mode = p.mode.load(Acquire);
    if !matches!(mode, mode::RING | mode::KERNEL | mode::DEMOTING) {
        found.add("P6", &name, format_args!("mode {mode} does not exist"));
    }
    let slots = p.slots.load(Relaxed);
    if !slots.is_power_of_two() || slots > pipes::MAX_SLOTS {
        found.add("P5", &name, format_args!("{slots} slots"));
        return;
    }
    blocks.used(
        &name,
        p.slots_at.load(Relaxed),
        slots as usize * size_of::<SlotCell>(),
        found,
    );
    let data = p.data_at.load(Relaxed);
    if data != 0 {
        blocks.used(&name, data, slots as usize * 4096, found);
    }
    // A resize whose maker died is finished by whoever takes its lock over.
    let locked = p.rlock.holder().is_some() || p.wlock.holder().is_some();
    if p.resizing.load(Relaxed) != 0 && !locked {
        found.add(
            "P5",
            &name,
            "a resize is half done, and nobody holds a lock",
        );
    }
    ring(arena, p, slots, &name, found);
    if mode == mode::KERNEL && !p.looks_empty() {
        found.add(
            "P6",
            &name,
            "it is the kernel's, and there are bytes in its ring",
        );
    }
    // (What is only observed is counted after the fact, by whoever comes first.)
    let observed = p.demote_cause.load(Relaxed) == Cause::Observed.raw();
    let (read, written) = (p.read.load(Relaxed), p.written.load(Relaxed));
    if !observed && read > written {
        let what = format_args!("{read} bytes read of {written} written");
        found.add("P2", &name, what);
    }
}

fn eventfd(arena: &Arena, e: &Eventfd, found: &mut Findings) {
    let name = format!("eventfd#{}", e.id.load(Relaxed));
    lock(arena, &e.lock, &name, found);
    let mode = e.mode.load(Acquire);
    if !matches!(mode, mode::RING | mode::KERNEL | mode::DEMOTING) {
        found.add("P6", &name, format_args!("mode {mode} does not exist"));
    }
    let count = e.count.load(Relaxed);
    if mode == mode::KERNEL && count != CLOSED {
        let what = format_args!("it is the kernel's, and its counter here is {count}");
        found.add("P6", &name, what);
    }
    if mode == mode::RING && count == CLOSED {
        found.add(
            "P6",
            &name,
            "it is served from here, and its counter is closed",
        );
    }
}

fn pair(arena: &Arena, p: &Pair, blocks: &mut Blocks, found: &mut Findings) {
    let name = format!("socket#{}", p.id.load(Relaxed));
    let mode = p.mode.load(Acquire);
    if !matches!(
        mode,
        mode::RING | mode::KERNEL | mode::DEMOTING | mode::PENDING
    ) {
        found.add("P6", &name, format_args!("mode {mode} does not exist"));
    }
    for q in &p.queues {
        lock(arena, &q.rlock, &name, found);
        lock(arena, &q.wlock, &name, found);
        if let Some((at, bytes)) = q.ring() {
            blocks.used(&name, at, bytes as usize, found);
        }
        // (A copy of what the kernel has may be left of a connection: see `unix::pending`, C3.)
        if mode == mode::KERNEL && !q.is_empty() && !p.is_connection() {
            let what = "it is the kernel's, and there are messages in its ring";
            found.add("P6", &name, what);
        }
        if !q.is_whole(arena) {
            found.add("P2", &name, "what is in its ring are no messages");
        }
    }
    lock(arena, &p.flights.lock, &name, found);
    if let Some((at, bytes)) = p.flights.block() {
        blocks.used(&name, at, bytes, found);
    }
}

fn ring(arena: &Arena, p: &Pipe, slots: u32, name: &str, found: &mut Findings) {
    let tail = Tail::from_raw(p.tail.load(Acquire));
    let head = p.head.load(Acquire);
    let filled = head.wrapping_sub(tail.seq);
    if filled > u64::from(slots) {
        found.add(
            "P1",
            name,
            format_args!("tail {}, head {head}, {slots} slots", tail.seq),
        );
        return;
    }
    if filled > 0 && p.data_at.load(Relaxed) == 0 {
        found.add("P2", name, "slots are filled, and there is no buffer");
    }
    for seq in tail.seq..head {
        let Some(cell) = pipes::cell(arena, p, seq) else {
            found.add("P5", name, format_args!("slot {seq} is outside the arena"));
            return;
        };
        let word = SlotWord(cell.word.load(Acquire));
        if !word.is_of(seq) {
            found.add(
                "P2",
                name,
                format_args!("slot {seq} holds the word {:#x}", word.0),
            );
        } else if seq == tail.seq && tail.off > word.end() {
            let end = word.end();
            found.add(
                "P2",
                name,
                format_args!("slot {seq} is read up to {} of {end}", tail.off),
            );
        } else if word.end() == 0 && !word.is_packet() {
            found.add("P2", name, format_args!("slot {seq} is empty"));
        }
    }
}

/// A lock's owner, if any, must at least have a number that a thread could have.
fn lock(arena: &Arena, l: &RobustLock, place: &str, found: &mut Findings) {
    if let Some(owner) = l.holder() {
        let slot = owner.raw() & (layout::MAX_TASKS - 1);
        if slot == 0 || slot >= arena.header().tasks_used.load(Relaxed) {
            found.add(
                "L1",
                place,
                format_args!("owner {:#x} never was a thread", owner.raw()),
            );
        }
    }
}

/// F1, the tables' side: how many entries name each description.
fn tables(arena: &Arena, blocks: &mut Blocks, found: &mut Findings) -> HashMap<u32, u32> {
    const BLOCK: usize = 4096;
    let mut named: HashMap<u32, u32> = HashMap::new();
    let mut budget = descriptors::MAX_DESCRIPTORS;
    let used = arena
        .header()
        .procs_used
        .load(Acquire)
        .min(layout::MAX_PROCS);
    for slot in 1..used {
        let Some(p) = task::process(arena, slot) else {
            break;
        };
        let place = format!("process {} (slot {slot})", p.pid.load(Relaxed));
        let state = p.state.load(Acquire);
        let dir = p.fd_dir.load(Acquire);
        lock(arena, &p.fd_lock, &place, found);
        match state {
            proc_state::FREE | proc_state::DEAD => {
                if dir != 0 && p.fd_count.load(Relaxed) != 0 {
                    found.add("F1", &place, "it is dead and has descriptors");
                }
                continue;
            }
            proc_state::ANNOUNCED..=proc_state::UNSHIMMED => {}
            _ => found.add("F1", &place, format_args!("state {state} does not exist")),
        }
        if dir == 0 {
            continue;
        }
        blocks.used(&place, dir, BLOCK, found);
        let high = p.fd_high.load(Relaxed);
        if high > fd_table::MAX_FDS {
            found.add("F1", &place, format_args!("descriptors up to {high}"));
        }
        for link in descriptors::fd_block(arena, dir).into_iter().flatten() {
            match link.load(Relaxed) {
                0 => {}
                block => blocks.used(&place, block, BLOCK, found),
            }
        }
        let whole = descriptors::for_each_descriptor(arena, p, &mut budget, |fd, file_slot| {
            *named.entry(file_slot).or_default() += 1;
            if file::file(arena, file_slot).is_none() {
                found.add(
                    "F1",
                    &place,
                    format_args!("descriptor {fd} names no description"),
                );
            }
        });
        if !whole {
            found.add("F1", &place, "more descriptors than can be");
            break;
        }
    }
    named
}

/// F1, the descriptions' side: none is named more often than it counts.
fn files(arena: &Arena, named: &HashMap<u32, u32>, found: &mut Findings) {
    for (slot, names) in named {
        let Some(f) = file::file(arena, *slot) else {
            continue;
        };
        let refs = f.refs.load(Relaxed);
        if refs < *names {
            let what = format!("{names} descriptors name it, it counts {refs}");
            found.add("F1", format_args!("description {slot}"), what);
        }
        let names = file::FileRef::of(arena, *slot);
        if refs > 0 && names.is_none_or(|f| f.mode().load(Relaxed) == mode::FREE) {
            found.add(
                "F1",
                format_args!("description {slot}"),
                "open, and its object is gone",
            );
        }
    }
}

/// The free lists end, and what is on them is free.
fn free_lists(arena: &Arena, blocks: &mut Blocks, found: &mut Findings) {
    let h = arena.header();
    let mut at = h.pipes_free.load(Relaxed);
    let mut seen = HashSet::new();
    while at != 0 {
        let Some(p) = pipe::get(arena, at).filter(|_| seen.insert(at)) else {
            found.add(
                "A1",
                "free list of pipes",
                format_args!("ends wrongly at {at}"),
            );
            break;
        };
        if p.mode.load(Relaxed) != mode::FREE {
            found.add(
                "A1",
                "free list of pipes",
                format_args!("slot {at} is in use"),
            );
        }
        at = p.next_free.load(Relaxed);
    }
    at = h.files_free.load(Relaxed);
    seen.clear();
    while at != 0 {
        let Some(f) = file::file(arena, at).filter(|_| seen.insert(at)) else {
            found.add(
                "A1",
                "free list of descriptions",
                format_args!("ends wrongly at {at}"),
            );
            break;
        };
        if f.refs.load(Relaxed) != 0 {
            found.add(
                "A1",
                "free list of descriptions",
                format_args!("slot {at} is in use"),
            );
        }
        at = f.next_free.load(Relaxed);
    }
    for (class, first) in h.free_lists().into_iter().enumerate() {
        blocks.free_list(class as u32 + MIN_SHIFT, first, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::Temporary;
    use crate::sys::{procfs, Here};
    use ringer_kernel::abi::limits::PIPE_DEF_BUFFERS;
    use ringer_kernel::file::End;
    use ringer_kernel::log::Log;
    use ringer_kernel::pipe::Ctx;
    use ringer_kernel::sync::lock_word::OwnerId;
    use ringer_kernel::task::reap;

    struct Zeros;

    impl ringer_kernel::host::UserRead for Zeros {
        fn copy_in(&mut self, _: *mut u8, _: usize) -> bool {
            true
        }
        fn rewind(&mut self, _: usize) {}
        fn position(&self) -> usize {
            0
        }
    }

    struct World {
        made: Temporary,
        me: OwnerId,
        process: u32,
        pipe: &'static Pipe,
    }

    impl World {
        /// A process with a pipe in which there are 5000 bytes.
        fn new() -> World {
            let made = Temporary::new(0);
            let arena = made.0.arena;
            let pid = std::process::id();
            let start = procfs::start_of(pid);
            let (process, p) =
                task::claim_process(&arena, &Here, proc_state::LIVE, pid, 0, start).unwrap();
            let (_, me) = task::claim_task(&arena, &Here, process, pid, pid, start).unwrap();
            let k = Ctx {
                arena: &arena,
                host: &Here,
                me,
                log: Log::OFF,
            };
            let slot = pipe::create(&k, 1, 2, PIPE_DEF_BUFFERS, mode::RING).unwrap();
            for (fd, end) in [(3, End::Read), (4, End::Write)] {
                let f = file::new_file(&arena, me, &Here, slot, end, 0).unwrap();
                fd_table::install(&arena, me, &Here, p, fd, f).unwrap();
            }
            let pipe = pipe::get(&arena, slot).unwrap();
            let kind = ringer_kernel::pipe::slot::Kind::Stream;
            let wrote = pipe::try_write(&k, pipe, &mut Zeros, 5000, true, kind).unwrap();
            assert_eq!(wrote.bytes, 5000);
            World {
                made,
                me,
                process,
                pipe,
            }
        }

        fn rules(&self) -> Vec<&'static str> {
            let mut rules: Vec<_> = check(&self.made.0.arena).iter().map(|f| f.rule).collect();
            rules.dedup();
            rules
        }
    }

    #[test]
    fn an_arena_in_use_and_one_cleaned_up_are_in_order() {
        let w = World::new();
        assert_eq!(check(&w.made.0.arena), []);
        reap::reap_process(&w.made.0.arena, w.me, &Here, w.process);
        assert_eq!(check(&w.made.0.arena), []);
        assert_eq!(pipes::pipe_slots(&w.made.0.arena).count(), 0);
    }

    #[test]
    fn each_broken_invariant_is_found() {
        type Break = fn(&World);
        let cases: [(Break, &str); 9] = [
            (|w| w.pipe.head.store(100, Relaxed), "P1"),
            (|w| w.pipe.head.store(3, Relaxed), "P2"),
            (|w| w.pipe.tail.store(1 << 16 | 1000, Relaxed), "P2"),
            (|w| w.pipe.slots.store(15, Relaxed), "P5"),
            (|w| w.pipe.mode.store(mode::KERNEL, Relaxed), "P6"),
            (|w| w.pipe.rlock.word.store(0x3fff_ffff, Relaxed), "L1"),
            (
                |w| w.pipe.data_at.store(w.pipe.slots_at.load(Relaxed), Relaxed),
                "A2",
            ),
            (|w| w.made.0.header().pipes_free.store(1, Relaxed), "A1"),
            (
                |w| {
                    let p = task::process(&w.made.0.arena, w.process).unwrap();
                    let slot = fd_table::slot_of(&w.made.0.arena, p, 3);
                    file::file(&w.made.0.arena, slot)
                        .unwrap()
                        .refs
                        .store(0, Relaxed);
                },
                "F1",
            ),
        ];
        for (break_it, rule) in cases {
            let w = World::new();
            break_it(&w);
            assert!(
                w.rules().contains(&rule),
                "{rule}: {:?}",
                check(&w.made.0.arena)
            );
        }
    }

    #[test]
    fn a_count_too_high_is_no_finding() {
        let w = World::new();
        w.pipe.readers.fetch_add(5, Relaxed);
        w.pipe.rlock.word.store(w.me.raw(), Relaxed);
        assert_eq!(check(&w.made.0.arena), []);
    }
}
