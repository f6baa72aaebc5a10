//! Whose turn it is, who waits, who is dead.

use std::sync::atomic::Ordering::*;
use std::time::{Duration, Instant};

use super::exec::{futex_wait, futex_wake, END};
use super::page::Page;
use super::program::{Call, Program, ACTORS, MOST_STEPS};
use crate::sys::{process, procfs, signal};

/// What neither ends nor sleeps for so long hangs.
const LIMIT: Duration = Duration::from_secs(4);
/// In the number of a turn in which all settle once more.
const AGAIN: u32 = 1 << 31;
/// Between two looks at one who seems to sleep.
const PAUSE: Duration = Duration::from_micros(200);
/// So many looks in a row have to find it asleep.
const LOOKS: u32 = 3;
/// So long after a death everybody has noticed: a call that waits for the dead looks every 20 ms whether it lives.
const NOTICED: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, PartialEq)]
pub enum Life {
    Free,
    /// In the call of a step, since a turn.
    Waits {
        step: usize,
        turn: u32,
    },
    Gone,
}

/// What came of a turn.
#[derive(PartialEq)]
enum Turn {
    Done,
    Died,
    Sleeps,
    Hangs,
}

pub struct Referee {
    pub page: &'static Page,
    pub actors: [Life; ACTORS],
}

impl Referee {
    pub fn play(&mut self, program: &Program) {
        for (at, step) in program.steps.iter().take(MOST_STEPS).enumerate() {
            let who = usize::from(step.who) % ACTORS;
            if !self.is_free(who) {
                continue;
            }
            let settles = self.one(at, who, &step.call);
            if settles {
                self.settle(at as u32 * 2 + 3);
                if self.are_threads() {
                    // One may have left to another what that one passed by.
                    self.settle((at as u32 * 2 + 3) | AGAIN);
                }
            }
            self.look_at_who_waits(at);
            if self.page.hangs.load(Acquire) != 0 || self.is_left_to_chance(program) {
                break;
            }
        }
        self.end();
    }

    /// Several wait, not all of them in line: what comes next is nobody's business.
    fn is_left_to_chance(&self, program: &Program) -> bool {
        let waits = |life: &Life| match life {
            Life::Waits { step, .. } => Some(program.steps[*step].call.waits_in_line()),
            _ => None,
        };
        let waiting: Vec<bool> = self.actors.iter().filter_map(waits).collect();
        waiting.len() > 1 && waiting.contains(&false)
    }

    fn is_free(&self, who: usize) -> bool {
        self.actors[who] == Life::Free && self.pid(who) != 0
    }

    /// A step of an actor that is free. Whether all have to settle.
    fn one(&mut self, at: usize, who: usize, call: &Call) -> bool {
        self.page.step.store(at as u32, Release);
        let turn = at as u32 * 2 + 2;
        self.call(who, turn);
        let reaches_others = call.reaches_others();
        let is_exec = *call == Call::Exec;
        // The new image may sleep in its beginning.
        let looks = if is_exec { u32::MAX } else { LOOKS };
        match self.wait(who, turn, looks) {
            Turn::Done => {
                if is_exec && self.page.succeeded(at) {
                    self.only_thread(at, who);
                }
                return reaches_others;
            }
            Turn::Sleeps => {
                self.page.waits(at);
                self.actors[who] = Life::Waits { step: at, turn };
                // It may have done a part of it, and so ended another's wait.
                return reaches_others;
            }
            Turn::Died => {
                self.page.died(at);
                self.gone(who);
            }
            Turn::Hangs => self.hangs(at),
        }
        true
    }

    /// Whether two actors are of one process.
    fn are_threads(&self) -> bool {
        let pids = (0..ACTORS).map(|who| self.pid(who)).filter(|pid| *pid != 0);
        let mut pids: Vec<i32> = pids.collect();
        pids.sort_unstable();
        pids.windows(2).any(|two| two[0] == two[1])
    }

    /// An execve ends its process's other threads.
    fn only_thread(&mut self, at: usize, who: usize) {
        for other in 0..ACTORS {
            if other == who || self.pid(other) != self.pid(who) {
                continue;
            }
            if let Life::Waits { step, .. } = self.actors[other] {
                self.page.woken(step, at);
                self.page.died(step);
            }
            self.actors[other] = Life::Gone;
        }
    }

    fn gone(&mut self, who: usize) {
        self.actors[who] = Life::Gone;
        std::thread::sleep(NOTICED);
    }

    /// Who is free passes the kernel once.
    fn settle(&mut self, turn: u32) {
        let all: Vec<usize> = (0..ACTORS).filter(|a| self.is_free(*a)).collect();
        all.iter().for_each(|a| self.call(*a, turn));
        for who in all {
            match self.wait(who, turn, u32::MAX) {
                Turn::Done => {}
                Turn::Died => self.gone(who),
                Turn::Sleeps | Turn::Hangs => self.hangs((turn & !AGAIN) as usize / 2 - 1),
            }
        }
    }

    /// Until nobody who waits does anything any more.
    fn look_at_who_waits(&mut self, at: usize) {
        loop {
            let mut changed = false;
            for who in 0..ACTORS {
                let Life::Waits { step, turn } = self.actors[who] else {
                    continue;
                };
                match self.wait(who, turn, LOOKS - 1) {
                    Turn::Sleeps => continue,
                    Turn::Done if step == at => self.actors[who] = Life::Free,
                    Turn::Done => {
                        self.page.woken(step, at);
                        self.actors[who] = Life::Free;
                    }
                    Turn::Died => {
                        self.page.woken(step, at);
                        self.page.died(step);
                        self.gone(who);
                    }
                    Turn::Hangs => return self.hangs(step),
                }
                changed = true;
            }
            if !changed {
                return;
            }
        }
    }

    fn hangs(&self, at: usize) {
        self.page.hangs.store(at as u32 + 1, Release);
    }

    fn pid(&self, who: usize) -> i32 {
        self.page.pids[who].load(Acquire)
    }

    fn call(&self, who: usize, turn: u32) {
        self.page.turn[who].store(turn, Release);
        futex_wake(&self.page.turn[who]);
    }

    /// Until it has done its turn, is dead, or was seen asleep in it so many times in a row.
    fn wait(&self, who: usize, turn: u32, looks: u32) -> Turn {
        let since = Instant::now();
        let done = &self.page.done[who];
        let mut asleep = 0;
        loop {
            let now = done.load(Acquire);
            if now == turn {
                return Turn::Done;
            }
            if asleep == 0 && since.elapsed() < PAUSE && futex_wait(done, now, PAUSE) {
                continue;
            }
            match self.state(who) {
                None | Some('Z' | 'X') if done.load(Acquire) != turn => {
                    // Its other threads hold what it held.
                    while self.is_there(who) && since.elapsed() < LIMIT {
                        // The first thread of one that executes another program ends, too.
                        if done.load(Acquire) == turn {
                            return Turn::Done;
                        }
                        std::thread::sleep(PAUSE);
                    }
                    return Turn::Died;
                }
                Some('S') if self.page.began[who].load(Acquire) == turn && self.all_sleep() => {
                    asleep += 1;
                }
                _ => asleep = 0,
            }
            if done.load(Acquire) == turn {
                return Turn::Done;
            }
            if asleep >= looks {
                return Turn::Sleeps;
            }
            if since.elapsed() > LIMIT {
                return Turn::Hangs;
            }
            futex_wait(done, now, PAUSE);
        }
    }

    /// Whoever waits, and is awake just now, may hold a lock that another sleeps for.
    fn all_sleep(&self) -> bool {
        let awake = |who: &usize| {
            matches!(self.actors[*who], Life::Waits { .. })
                && !matches!(self.state(*who), Some('S') | None)
        };
        !(0..ACTORS).any(|who| awake(&who))
    }

    /// Whether any thread of its process is left.
    fn is_there(&self, who: usize) -> bool {
        let pid = self.pid(who) as u32;
        // While one takes the place of the first, neither may be seen.
        (0..3).any(|_| procfs::is_alive(pid) || procfs::threads(pid) > 1)
    }

    fn state(&self, who: usize) -> Option<char> {
        let (pid, tid) = (self.pid(who), self.page.tids[who].load(Acquire));
        Some(procfs::thread(pid as u32, tid as u32)?.state)
    }

    fn end(&self) {
        let hangs = self.page.hangs.load(Acquire) != 0;
        let since = Instant::now();
        self.page.over.store(1, Release);
        // An exit would end the waits of its process's other threads.
        for who in 0..ACTORS {
            if matches!(self.actors[who], Life::Waits { .. }) {
                signal::kill(self.pid(who), libc::SIGKILL);
            }
        }
        let there = (0..ACTORS).filter(|a| self.pid(*a) != 0);
        there.for_each(|who| self.call(who, END));
        for who in (0..ACTORS).filter(|a| self.pid(*a) != 0) {
            while !is_dead(self.pid(who)) {
                if hangs || since.elapsed() > LIMIT {
                    signal::kill(self.pid(who), libc::SIGKILL);
                }
                std::thread::sleep(Duration::from_micros(200));
                while process::look_at_child(-1).is_ok_and(|s| s != process::State::Running) {}
            }
        }
        while process::wait_for_end(-1).is_ok() {}
    }
}

fn is_dead(pid: i32) -> bool {
    procfs::process(pid as u32).is_none_or(|stat| matches!(stat.state, 'Z' | 'X'))
}
