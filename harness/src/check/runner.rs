//! Runs sequences, in whatever world this process is.
//!
//! Each sequence begins with objects of its own, and ends with their removal, in the same process: a fork for each
//! would cost more than all its calls. A second actor is a thread that takes turns with the first. Where calls may wait,
//! each has actors of its own all the same, and a referee: those of `ringer fuzz`.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::*};
use std::time::Duration;

use super::small::Small;
use super::{Part, Sum};
use crate::fuzz::calls::{self, Actor};
use crate::fuzz::exec::{futex_wait, futex_wake, new_buffer, Stage};
use crate::fuzz::page::Page;
use crate::fuzz::program::{Call, Step, REGISTERS};
use crate::fuzz::signals;
use crate::fuzz::{calls_fd, calls_sem};

/// One of the two actors.
struct Player {
    actor: Actor,
    out: Vec<u8>,
}

pub struct Runner {
    page: &'static Page,
    first: Player,
    second: Option<&'static Second>,
    /// For sequences whose calls may wait.
    stage: Option<Stage>,
    hash: u64,
}

impl Runner {
    pub fn new() -> Option<Runner> {
        let page = Page::new()?;
        signals::write_to(page);
        page.pids[0].store(std::process::id() as i32, Release);
        // SAFETY: no arguments.
        page.tids[0].store(unsafe { libc::gettid() }, Release);
        let actor = Actor::new(page, new_buffer()?);
        // SAFETY: nothing from 3 on is used here.
        unsafe { libc::close_range(3, u32::MAX, 0) };
        Some(Runner {
            page,
            first: Player::new(actor),
            second: None,
            stage: None,
            hash: 0,
        })
    }

    pub fn run(&mut self, part: &Part) -> Sum {
        let small = Small::of(part.object);
        let mut sequence = part.prefix.clone();
        sequence.resize(part.prefix.len() + part.more, 0);
        let mut sum = Sum {
            hash: 0,
            sequences: 0,
        };
        self.hash = 0;
        loop {
            match small.waits {
                true => self.staged(&small, &sequence),
                false => self.sequence(&small, &sequence),
            }
            sum.sequences += 1;
            if !next(&mut sequence[part.prefix.len()..], small.letters.len()) {
                break;
            }
        }
        sum.hash = self.hash;
        sum
    }

    /// All that the referee saw counts. Without memory for a stage nothing is seen: that differs.
    fn staged(&mut self, small: &Small, sequence: &[u8]) {
        if self.stage.is_none() {
            self.stage = Stage::new();
        }
        let Some(stage) = &self.stage else { return };
        let outcome = stage.run(&small.program(sequence));
        let seen = format!("{outcome:?}");
        self.mix(hash_of(seen.as_bytes()));
    }

    fn sequence(&mut self, small: &Small, sequence: &[u8]) {
        for (at, step) in small.before.iter().enumerate() {
            self.step(at, step);
        }
        let letters = sequence
            .iter()
            .filter_map(|at| small.letters.get(usize::from(*at)));
        for (at, step) in letters.chain(&small.after).enumerate() {
            self.step(small.before.len() + at, step);
        }
        self.clean();
    }

    fn step(&mut self, at: usize, step: &Step) {
        if let Call::Thread { .. } = step.call {
            if self.second.is_none() {
                self.second = Second::start(&self.first.actor);
            }
            return;
        }
        self.page.step.store(at as u32, Release);
        let gave = match (step.who, self.second) {
            (1, Some(second)) => {
                let gave = second.step(at, &step.call);
                pass_the_kernel();
                gave
            }
            _ => self.first.step(at, &step.call),
        };
        if let (0, Some(second)) = (step.who, self.second) {
            second.settle();
        }
        self.mix(gave);
        for ran in self.page.take_handlers() {
            let who = u64::from(ran.who) << 8 | u64::from(ran.from);
            let what = (ran.signal as u64) << 32 | u64::from(ran.code as u32);
            self.hash = [who, what, ran.value as u64, ran.blocked]
                .iter()
                .fold(self.hash, |hash, word| mixed(hash, *word));
        }
    }

    fn mix(&mut self, gave: u64) {
        self.hash = mixed(self.hash, gave);
    }

    /// Everything that the sequence made is gone.
    fn clean(&mut self) {
        let actor = &mut self.first.actor;
        for fd in 3..=actor.highest {
            // SAFETY: a number: nothing but what sequences made is there.
            unsafe { libc::close(fd) };
        }
        actor.highest = 2;
        actor.registers = [-1; REGISTERS];
        actor.ids = [[-1; REGISTERS]; 2];
        self.page
            .ids()
            .for_each(|(kind, id)| calls_fd::remove(kind, id));
        self.page.forget_ids();
        calls_sem::forget(actor);
        if actor.has_named {
            // SAFETY: a C string.
            unsafe { libc::mq_unlink(actor.queue_name(0).as_ptr()) };
            actor.has_named = false;
        }
    }
}

/// The next sequence, as a number counts on. Whether there is one.
fn next(sequence: &mut [u8], letters: usize) -> bool {
    for letter in sequence.iter_mut().rev() {
        *letter += 1;
        if usize::from(*letter) < letters {
            return true;
        }
        *letter = 0;
    }
    false
}

/// What another thread has sent is delivered on the way back.
fn pass_the_kernel() {
    // SAFETY: no arguments.
    unsafe { libc::sched_yield() };
}

fn mixed(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn hash_of(bytes: &[u8]) -> u64 {
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    bytes
        .chunks(8)
        .fold(bytes.len() as u64, |hash, chunk| mixed(hash, word(chunk)))
}

impl Player {
    fn new(actor: Actor) -> Player {
        Player {
            actor,
            out: Vec::with_capacity(calls::BUFFER),
        }
    }

    /// A hash of all that the call gave.
    fn step(&mut self, at: usize, call: &Call) -> u64 {
        self.out.clear();
        signals::clear_errno();
        let value = self.actor.call(at, call, &mut self.out);
        let errno = if value == -1 { signals::errno() } else { 0 };
        mixed(mixed(value as u64, errno as u64), hash_of(&self.out))
    }
}

/// The other thread: it does what it is given, or passes the kernel once.
struct Second {
    turn: AtomicU32,
    done: AtomicU32,
    call: AtomicUsize,
    at: AtomicUsize,
    gave: std::sync::atomic::AtomicU64,
}

impl Second {
    fn start(first: &Actor) -> Option<&'static Second> {
        let second: &'static Second = Box::leak(Box::new(Second {
            turn: AtomicU32::new(0),
            done: AtomicU32::new(0),
            call: AtomicUsize::new(0),
            at: AtomicUsize::new(0),
            gave: std::sync::atomic::AtomicU64::new(0),
        }));
        let player = Player::new(first.for_thread(1)?);
        let begin = move || second.play(player);
        std::thread::Builder::new().spawn(begin).ok()?;
        second.settle();
        Some(second)
    }

    fn play(&self, mut player: Player) {
        signals::i_am(1);
        let page = player.actor.page;
        // SAFETY: no arguments.
        page.tids[1].store(unsafe { libc::gettid() }, Release);
        page.pids[1].store(std::process::id() as i32, Release);
        let mut last = 0;
        loop {
            let turn = self.turn.load(Acquire);
            if turn == last {
                futex_wait(&self.turn, last, Duration::from_secs(1));
                continue;
            }
            let call = self.call.load(Acquire) as *const Call;
            // SAFETY: null, or a call that lives until this turn is done.
            match unsafe { call.as_ref() } {
                Some(call) => {
                    let gave = player.step(self.at.load(Acquire), call);
                    self.gave.store(gave, Release);
                }
                None => pass_the_kernel(),
            }
            last = turn;
            self.done.store(turn, Release);
            futex_wake(&self.done);
        }
    }

    fn turn(&self, at: usize, call: *const Call) {
        self.call.store(call as usize, Release);
        self.at.store(at, Release);
        let turn = self.turn.load(Acquire).wrapping_add(1);
        self.turn.store(turn, Release);
        futex_wake(&self.turn);
        loop {
            let done = self.done.load(Acquire);
            if done == turn {
                return;
            }
            futex_wait(&self.done, done, Duration::from_secs(1));
        }
    }

    fn step(&self, at: usize, call: &Call) -> u64 {
        self.turn(at, call);
        self.gave.load(Acquire)
    }

    fn settle(&self) {
        self.turn(0, std::ptr::null());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sequences_come_once_in_order() {
        let mut sequence = [0, 0];
        let mut seen = vec![sequence];
        while next(&mut sequence, 3) {
            seen.push(sequence);
        }
        assert_eq!(seen.len(), 9);
        assert!(seen.is_sorted() && seen.windows(2).all(|two| two[0] != two[1]));
    }

    #[test]
    fn every_byte_counts() {
        let hashes = [&b""[..], b"\0", b"\0\0", b"a", b"abcdefgh", b"abcdefgh\0"].map(hash_of);
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[at + 1..].contains(hash));
        }
    }
}
