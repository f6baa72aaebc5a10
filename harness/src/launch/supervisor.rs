//! Stays with the command until it ends: passes signals on, stops and continues with it, and
//! cleans up after processes of the session that were killed.
//!
//! Signals, as a terminal and others send them:
//!
//! ```text
//! Ctrl-C, Ctrl-\, Ctrl-Z, hang-up   the kernel sends them to the whole foreground group, so the
//!                                   command has got them already: not passed on
//! hang-up, and ringer leads the     the kernel tells the leader alone: passed on
//!   terminal's session
//! kill(2) of ringer                 meant for the command: passed on, with its value
//! the command stops                 ringer stops likewise, so that the shell notices
//! ```

use std::sync::atomic::Ordering::*;

use ringer_kernel::arena::Arena;
use ringer_kernel::log::{ring, Log};
use ringer_kernel::pipe::Ctx;
use ringer_kernel::sync::lock_word::OwnerId;
use ringer_kernel::task;

use super::watch::Watch;
use super::Child;
use crate::error::{Error, Result};
use crate::session::Session;
use crate::sys::namespace;
use crate::sys::process::{self, State};
use crate::sys::signal::{self, Received, Set, SignalFd};
use crate::sys::{self, clock, host, procfs, Here};

/// The longest that a newcomer goes unwatched, or an orphan unreaped.
const TICK_MS: i32 = 25;

/// Signals that are not passed on: who faults, faults himself; the rest cannot be caught.
const NOT_PASSED: [i32; 9] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGPIPE,
];

/// What the supervisor sleeps on: every signal that it takes. Made before the command starts, so
/// that none comes too early.
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks them in this thread, and so in all that it starts.
    pub fn take() -> Result<Signals> {
        super::inherited::take();
        let mut taken = Set::empty();
        // 32 and 33 are glibc's own.
        for signal in (1..=64).filter(|s| !NOT_PASSED.contains(s) && !matches!(s, 32 | 33)) {
            taken.add(signal);
        }
        taken.install();
        SignalFd::new(&taken)
            .map(Signals)
            .map_err(|why| Error::System {
                call: "signalfd",
                why,
            })
    }
}

pub struct Supervisor<'s> {
    session: &'s Session,
    me: OwnerId,
    slot: u32,
    watch: Watch,
    /// For what is logged of the dead.
    log: Option<ring::Writer>,
}

impl<'s> Supervisor<'s> {
    /// Takes a place in the session's table of threads: that is who holds its locks.
    pub fn new(session: &'s Session, logs: bool) -> Result<Supervisor<'s>> {
        let pid = std::process::id();
        let start = procfs::start_of(pid);
        let Some((slot, me)) = task::claim_task(&session.arena, &Here, 0, pid, pid, start) else {
            return Err(Error::NoPlace {
                path: session.path.clone(),
            });
        };
        if let Some(task) = task::task(&session.arena, slot) {
            process::mark_at_death(task);
        }
        let log = if logs {
            claim_ring(&session.arena, me, pid)
        } else {
            None
        };
        let supervisor = Supervisor {
            session,
            me,
            slot,
            watch: Watch::default(),
            log,
        };
        supervisor.take_office();
        Ok(supervisor)
    }

    /// One supervisor a session: the first one, until it is gone. The others only look on; but one of another
    /// PID namespace than the first looks after those whom that one can not see.
    fn take_office(&self) -> bool {
        let header = self.session.header();
        let (office, its_namespace) = (&header.supervisor, &header.supervisor_namespace);
        let me = std::process::id();
        let now = office.load(Acquire);
        if now != 0 && its_namespace.load(Relaxed) != namespace::own() {
            return true;
        }
        let vacant = now == 0 || !procfs::is_alive(now);
        let taken = vacant && office.compare_exchange(now, me, AcqRel, Relaxed).is_ok();
        if taken {
            its_namespace.store(namespace::own(), Relaxed);
        }
        taken || now == me
    }

    /// Until the command has ended. How it ended.
    pub fn stay_with(&mut self, child: Child, signals: &Signals) -> Result<State> {
        loop {
            self.sleep(&signals.0)?;
            while let Some(signal) = signals.0.next() {
                pass_on(child, signal);
            }
            match child.look()? {
                State::Running => {}
                State::Stopped { signal } => {
                    signal::stop_self(signal);
                    child.proceed();
                }
                end => {
                    self.last_look();
                    return Ok(end);
                }
            }
        }
    }

    /// Watches a session that others run, until a signal says "enough".
    pub fn look_on(&mut self, signals: &Signals) -> Result<()> {
        const ENOUGH: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
        loop {
            self.sleep(&signals.0)?;
            while let Some(signal) = signals.0.next() {
                match signal.number {
                    n if ENOUGH.contains(&n) => return Ok(()),
                    n @ (libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) => signal::stop_self(n),
                    _ => {}
                }
            }
        }
    }

    fn sleep(&mut self, signals: &SignalFd) -> Result<()> {
        let fds = self.watch.poll_set(signals.fd());
        sys::poll(fds, TICK_MS).map_err(|why| Error::System { call: "poll", why })?;
        self.attend();
        Ok(())
    }

    fn attend(&mut self) {
        if self.take_office() {
            let log = Log {
                ring: self.log.as_ref(),
                fd: -1,
                layer: ringer_kernel::log::layer::OWN,
            };
            let k = Ctx {
                arena: &self.session.arena,
                host: &Here,
                me: self.me,
                log,
            };
            self.watch.attend(&k);
        }
    }

    /// Who was killed with the command must not stay in the arena.
    fn last_look(&mut self) {
        let fds = self.watch.poll_set(-1);
        let _ = sys::poll(fds, 0);
        self.attend();
    }
}

impl Drop for Supervisor<'_> {
    fn drop(&mut self) {
        if let Some(ring) = &self.log {
            ring.retire();
        }
        let office = &self.session.header().supervisor;
        let _ = office.compare_exchange(std::process::id(), 0, AcqRel, Relaxed);
        if let Some(task) = task::task(&self.session.arena, self.slot) {
            task::release_task(&self.session.arena, task);
        }
    }
}

fn claim_ring(arena: &Arena, me: OwnerId, pid: u32) -> Option<ring::Writer> {
    let mut comm = [0; 16];
    comm[..6].copy_from_slice(b"ringer");
    ring::claim(arena, me, &Here, pid, pid, comm, host::populate, clock::tsc)
}

fn pass_on(child: Child, signal: Received) {
    let from_the_kernel = signal.code > 0;
    match signal.number {
        // Whoever continues ringer continues the command: see `Child::proceed`.
        libc::SIGCHLD | libc::SIGCONT => {}
        libc::SIGHUP if from_the_kernel && process::is_session_leader() => child.send(signal),
        _ if from_the_kernel => {}
        _ => child.send(signal),
    }
}
