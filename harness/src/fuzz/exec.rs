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
//!
//! An actor that sleeps in its call waits: the others go on without it. Whoever ends such a wait has made the
//! sleeper ready before its own call returns, in either world. So after each step those that wait either
//! end their calls, or are seen asleep again. (But for the dead: that somebody was killed, others may learn a little later.)

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::time::Duration;

use super::calls::{Actor, BUFFER, NAMES};
use super::image;
use super::page::{Gave, Page};
use super::program::{Call, Outcome, Program, ACTORS, MOST_STEPS};
use super::referee::{Life, Referee};
use super::{calls_fd, calls_named, calls_sem, signals};
use crate::sys::process;

pub const END: u32 = u32::MAX;

/// A fork has just made this process.
pub static IS_NEW: AtomicBool = AtomicBool::new(false);

/// Runs programs, in whatever world this process is.
pub struct Stage {
    page: &'static Page,
    buffer: *mut u8,
}

/// Memory with none behind it.
pub fn new_buffer() -> Option<*mut u8> {
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
    (ret == 0).then_some(buffer.cast())
}

impl Stage {
    pub fn new() -> Option<Stage> {
        let page = Page::new()?;
        signals::write_to(page);
        let buffer = new_buffer()?;
        Some(Stage { page, buffer })
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
        calls_named::unlink(actor.prefix);
        calls_sem::unlink(actor.prefix);
        self.page.outcome(steps)
    }

    fn actor(&self) -> Actor {
        Actor::new(self.page, self.buffer)
    }

    fn referee(&self, program: &Program) -> i32 {
        // SAFETY: numbers; orphans become ours.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
        // SAFETY: nothing from 3 on is used here.
        unsafe { libc::close_range(3, u32::MAX, 0) };
        // SAFETY: this process has one thread.
        let first = unsafe { process::fork(|| act(self.actor(), program, 0)) };
        let Ok(pid) = first else { return 1 };
        self.page.tids[0].store(pid, Release);
        self.page.pids[0].store(pid, Release);
        Referee {
            page: self.page,
            actors: [Life::Free; ACTORS],
        }
        .play(program);
        0
    }
}

/// An actor's life after this turn. Never comes back into the worker.
pub fn act(mut actor: Actor, program: &Program, mut last: u32) -> i32 {
    loop {
        let page = actor.page;
        let me = usize::from(actor.me);
        let turn = loop {
            let turn = page.turn[me].load(Acquire);
            if turn != last {
                break turn;
            }
            futex_wait(&page.turn[me], last, Duration::from_secs(1));
        };
        if turn == END {
            return 0;
        }
        page.began[me].store(turn, Release);
        if turn % 2 == 0 {
            let step = turn as usize / 2 - 1;
            match program.steps[step].call {
                Call::Thread { child } => thread(&actor, program, step, child),
                Call::Exec => image::replace(&actor, program, step),
                ref call => actor.step(step, call),
            }
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

/// A thread that is an actor. It is there when this returns.
fn thread(actor: &Actor, program: &Program, step: usize, child: u8) {
    let at = usize::from(child) % ACTORS;
    let page = actor.page;
    let gave = |value, errno| {
        page.gave(
            step,
            Gave {
                value,
                errno,
                data: &[],
            },
        );
    };
    if page.pids[at].load(Acquire) != 0 {
        return gave(0, 0);
    }
    let Some(new) = actor.for_thread(at as u8) else {
        return gave(-1, libc::ENOMEM);
    };
    let program = program.clone();
    let begin = move || {
        signals::i_am(new.me);
        // SAFETY: no arguments.
        page.tids[at].store(unsafe { libc::gettid() }, Release);
        act(new, &program, 0);
    };
    if std::thread::Builder::new().spawn(begin).is_err() {
        return gave(-1, libc::EAGAIN);
    }
    // Not asleep: that would be a call that waits.
    while page.tids[at].load(Acquire) == 0 {
        std::thread::yield_now();
    }
    page.pids[at].store(std::process::id() as i32, Release);
    gave(0, 0);
}

/// Whether somebody has woken us, as far as the kernel knows.
pub fn futex_wait(word: &AtomicU32, value: u32, most: Duration) -> bool {
    let most = libc::timespec {
        tv_sec: most.as_secs() as i64,
        tv_nsec: most.subsec_nanos().into(),
    };
    // SAFETY: a word and a time that live as long as the call.
    unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, value, &most) == 0 }
}

pub fn futex_wake(word: &AtomicU32) {
    // SAFETY: a word that lives as long as the call.
    unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, i32::MAX) };
}
