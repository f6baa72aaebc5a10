//! Running a program: a referee and up to three actors, who take turns.
//!
//! ```text
//! worker ── fork ── referee ── fork ── actor 0 ── fork ── actor 1 ...
//!                      │  turn[n]: do step s, settle, end       ▲
//!                      └────────── shared page ─────────────────┘  done[n]
//! ```
//!
//! One actor acts at a time. After a fork, and after a signal was sent, all settle: they pass
//! the kernel once, so that what is to run in them has run before the next step.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::time::{Duration, Instant};

use super::calls::{Actor, BUFFER, NAMES};
use super::page::Page;
use super::program::{Outcome, Program, ACTORS, MOST_STEPS, REGISTERS};
use super::{calls_fd, signals};
use crate::sys::{process, procfs, signal};

/// Nothing here blocks; what takes this long hangs.
const LIMIT: Duration = Duration::from_secs(20);
const END: u32 = u32::MAX;

/// A fork has just made this process.
pub static IS_NEW: AtomicBool = AtomicBool::new(false);

/// Runs programs, in whatever world this process is.
pub struct Stage {
    page: &'static Page,
    buffer: *mut u8,
}

impl Stage {
    pub fn new() -> Option<Stage> {
        let page = Page::new()?;
        signals::write_to(page);
        let hole = 1 << 16;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, wherever there is room.
        let buffer = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BUFFER + hole,
                libc::PROT_NONE,
                flags,
                -1,
                0,
            )
        };
        if buffer == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: the first part of that mapping.
        let ret = unsafe { libc::mprotect(buffer, BUFFER, libc::PROT_READ | libc::PROT_WRITE) };
        (ret == 0).then_some(Stage {
            page,
            buffer: buffer.cast(),
        })
    }

    pub fn run(&self, program: &Program) -> Outcome {
        let steps = program.steps.len().min(MOST_STEPS);
        self.page.clear();
        // SAFETY: this process has one thread, so its memory is whole in the child.
        let referee = unsafe { process::fork(|| self.referee(program)) };
        if let Ok(pid) = referee {
            let _ = process::wait_for_end(pid);
        }
        self.page
            .ids()
            .for_each(|(kind, id)| calls_fd::remove(kind, id));
        let actor = self.actor();
        for name in 0..NAMES {
            // SAFETY: a C string.
            unsafe { libc::mq_unlink(actor.queue_name(name).as_ptr()) };
        }
        self.page.outcome(steps)
    }

    fn actor(&self) -> Actor {
        Actor {
            page: self.page,
            me: 0,
            registers: [-1; REGISTERS],
            ids: [[-1; REGISTERS]; 2],
            buffer: self.buffer,
            // SAFETY: cannot fail.
            prefix: unsafe { libc::getpgrp() },
        }
    }

    fn referee(&self, program: &Program) -> i32 {
        // SAFETY: numbers; orphans become ours.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
        // SAFETY: nothing from 3 on is used here.
        unsafe { libc::close_range(3, u32::MAX, 0) };
        // SAFETY: this process has one thread.
        let first = unsafe { process::fork(|| act(self.actor(), program)) };
        let Ok(pid) = first else { return 1 };
        self.page.pids[0].store(pid, Release);
        let mut gone = [false; ACTORS];
        for (at, step) in program.steps.iter().take(MOST_STEPS).enumerate() {
            let who = usize::from(step.who) % ACTORS;
            if gone[who] || self.pid(who) == 0 {
                continue;
            }
            self.page.step.store(at as u32, Release);
            let turn = at as u32 * 2 + 2;
            self.call(who, turn);
            let Some(lives) = self.wait(who, turn) else {
                self.page.hangs.store(at as u32 + 1, Release);
                break;
            };
            if !lives {
                self.page.died(at);
                gone[who] = true;
            }
            if lives && !step.call.reaches_others() {
                continue;
            }
            let others: Vec<usize> = (0..ACTORS)
                .filter(|a| !gone[*a] && self.pid(*a) != 0)
                .collect();
            others.iter().for_each(|a| self.call(*a, turn + 1));
            for a in others {
                match self.wait(a, turn + 1) {
                    Some(lives) => gone[a] = !lives,
                    None => self.page.hangs.store(at as u32 + 1, Release),
                }
            }
        }
        self.end();
        0
    }

    fn pid(&self, who: usize) -> i32 {
        self.page.pids[who].load(Acquire)
    }

    fn call(&self, who: usize, turn: u32) {
        self.page.turn[who].store(turn, Release);
        futex_wake(&self.page.turn[who]);
    }

    /// Until it has done its turn, or is dead. `None`: neither comes.
    fn wait(&self, who: usize, turn: u32) -> Option<bool> {
        let since = Instant::now();
        let done = &self.page.done[who];
        loop {
            let now = done.load(Acquire);
            if now == turn {
                return Some(true);
            }
            if !futex_wait(done, now, 5) && is_dead(self.pid(who)) {
                return Some(done.load(Acquire) == turn);
            }
            if since.elapsed() > LIMIT {
                return None;
            }
        }
    }

    fn end(&self) {
        let hangs = self.page.hangs.load(Acquire) != 0;
        let since = Instant::now();
        let actors = || (0..ACTORS).filter(|a| self.pid(*a) != 0);
        actors().for_each(|a| self.call(a, END));
        for a in actors() {
            while !is_dead(self.pid(a)) {
                if hangs || since.elapsed() > LIMIT {
                    signal::kill(self.pid(a), libc::SIGKILL);
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

/// An actor's life. Never comes back into the worker.
fn act(mut actor: Actor, program: &Program) -> i32 {
    let mut last = 0;
    loop {
        let page = actor.page;
        let me = usize::from(actor.me);
        let turn = loop {
            let turn = page.turn[me].load(Acquire);
            if turn != last {
                break turn;
            }
            futex_wait(&page.turn[me], last, 1000);
        };
        if turn == END {
            return 0;
        }
        if turn % 2 == 0 {
            let step = turn as usize / 2 - 1;
            actor.step(step, &program.steps[step].call);
        } else {
            // SAFETY: no arguments. Whatever is to run here runs now.
            unsafe { libc::sched_yield() };
        }
        if IS_NEW.swap(false, AcqRel) {
            last = 0;
            continue;
        }
        last = turn;
        page.done[me].store(turn, Release);
        futex_wake(&page.done[me]);
    }
}

/// Whether somebody has woken us, as far as the kernel knows.
fn futex_wait(word: &AtomicU32, value: u32, ms: i64) -> bool {
    let most = libc::timespec {
        tv_sec: ms / 1000,
        tv_nsec: ms % 1000 * 1_000_000,
    };
    // SAFETY: a word and a time that live as long as the call.
    unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, value, &most) == 0 }
}

fn futex_wake(word: &AtomicU32) {
    // SAFETY: a word that lives as long as the call.
    unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, i32::MAX) };
}
