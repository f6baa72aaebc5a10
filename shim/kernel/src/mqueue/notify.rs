//! mq_notify(3): who is told when a message comes into the empty queue and nobody waits for it.
//! Once, one process. Linux v6.18 ipc/mqueue.c `__do_notify`, `do_mq_notify`.
//!
//! A signal is the caller's to send. For SIGEV_THREAD the process has a box in the arena, and a
//! thread that sleeps on it: a note, made when it registers, is put in.
//!
//! # Crash points
//!
//! - C1. Killed between taking the registration off and telling: nobody is told, as when the sender
//!   dies just before its message.

use super::{get, handle, Handle, Queue};
use crate::abi::Errno;
use crate::arena::{alloc, Arena, ArenaSafe, Off};
use crate::host::{crash_point, Host};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::planted::{planted, Bug};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::task::{self, proc_state};

pub mod kind {
    pub const NOBODY: u32 = 0;
    /// SIGEV_NONE: registered, and not told.
    pub const SILENT: u32 = 1;
    pub const SIGNAL: u32 = 2;
    pub const THREAD: u32 = 3;
    /// SIGNAL and THREAD of a program that has executed another: registered, and not told.
    pub const SIGNAL_BEFORE_EXEC: u32 = 4;
    pub const THREAD_BEFORE_EXEC: u32 = 5;

    pub(super) fn after_exec(kind: u32) -> Option<u32> {
        match kind {
            SIGNAL => Some(SIGNAL_BEFORE_EXEC),
            THREAD => Some(THREAD_BEFORE_EXEC),
            _ => None,
        }
    }
}

/// What became of a registration, in its note.
pub mod fate {
    pub const FIRED: u32 = 1;
    pub const REMOVED: u32 = 2;
}

/// How a process wants to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    Silent,
    /// A number of 0 is none, as in Linux.
    Signal {
        signo: u32,
        value: u64,
    },
    Thread {
        note: u32,
        of: u32,
    },
}

/// A signal that is to be sent, with SI_MESGQ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notice {
    pub pid: u32,
    pub signo: u32,
    pub value: u64,
}

/// A process's box: the notes that have come, the latest first. A futex.
#[repr(C, align(64))]
pub struct NoteBox {
    pub head: AtomicU32,
    _pad: [AtomicU32; 15],
}

/// One registration with SIGEV_THREAD.
#[repr(C, align(64))]
pub struct Note {
    pub next: AtomicU32,
    /// See `fate`.
    pub fate: AtomicU32,
    /// Whatever the process wants to find again.
    pub cookie: AtomicU64,
    _pad: [AtomicU64; 6],
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for NoteBox {}
// SAFETY: as above.
unsafe impl ArenaSafe for Note {}

const NOTE_BYTES: usize = core::mem::size_of::<Note>();

/// A box for a process: its block.
pub fn new_box<H: Host>(k: &Ctx<'_, H>) -> Result<u32, Errno> {
    let at = alloc::alloc(k.arena, k.me, k.host, core::mem::size_of::<NoteBox>())?;
    box_at(k.arena, at.raw())
        .ok_or(Errno::ENOMEM)?
        .head
        .store(0, Release);
    Ok(at.raw())
}

pub fn box_at(arena: &Arena, raw: u32) -> Option<&'static NoteBox> {
    arena.get(Off::from_raw(raw)?)
}

fn note_at(arena: &Arena, raw: u32) -> Option<&'static Note> {
    arena.get(Off::from_raw(raw)?)
}

/// A note for a registration that is to come.
pub fn new_note<H: Host>(k: &Ctx<'_, H>, cookie: u64) -> Result<u32, Errno> {
    let at = alloc::alloc(k.arena, k.me, k.host, NOTE_BYTES)?.raw();
    let note = note_at(k.arena, at).ok_or(Errno::ENOMEM)?;
    note.next.store(0, Relaxed);
    note.fate.store(0, Relaxed);
    note.cookie.store(cookie, Relaxed);
    Ok(at)
}

pub fn free_note<H: Host>(k: &Ctx<'_, H>, note: u32) {
    if let Some(at) = Off::from_raw(note) {
        alloc::free(k.arena, k.me, k.host, at, NOTE_BYTES);
    }
}

/// Puts a note into a box, and wakes who sleeps on it.
fn post<H: Host>(k: &Ctx<'_, H>, of: u32, note_raw: u32, how: u32) {
    let (Some(to), Some(note)) = (box_at(k.arena, of), note_at(k.arena, note_raw)) else {
        return;
    };
    note.fate.store(how, Relaxed);
    let mut head = to.head.load(Relaxed);
    loop {
        note.next.store(head, Relaxed);
        match to
            .head
            .compare_exchange_weak(head, note_raw, AcqRel, Relaxed)
        {
            Ok(_) => break,
            Err(now) => head = now,
        }
    }
    k.host.wake(&to.head, 1);
}

/// Shows `f` the fate and cookie of every note in a box, the oldest first. `false`: there is none.
/// By one thread only.
pub fn collect<H: Host>(k: &Ctx<'_, H>, of: u32, mut f: impl FnMut(u32, u64)) -> bool {
    let Some(from) = box_at(k.arena, of) else {
        return false;
    };
    let mut at = from.head.swap(0, AcqRel);
    let mut oldest_first = 0;
    let mut left = k
        .arena
        .header()
        .queues_used
        .load(Relaxed)
        .saturating_mul(64);
    while let Some(note) = note_at(k.arena, at).filter(|_| left > 0) {
        left -= 1;
        let next = note.next.load(Relaxed);
        note.next.store(oldest_first, Relaxed);
        oldest_first = at;
        at = next;
    }
    let any = oldest_first != 0;
    while let Some(note) = note_at(k.arena, oldest_first) {
        let next = note.next.load(Relaxed);
        f(note.fate.load(Relaxed), note.cookie.load(Relaxed));
        free_note(k, oldest_first);
        oldest_first = next;
    }
    any
}

/// Whether the registered process is there still.
fn registrant_lives<H: Host>(k: &Ctx<'_, H>, q: &Queue) -> bool {
    let slot = q.notify_process.load(Relaxed);
    task::process(k.arena, slot).is_some_and(|p| {
        p.generation.load(Acquire) == q.notify_generation.load(Relaxed)
            && p.state.load(Acquire) != proc_state::DEAD
            && !task::process_is_gone(k.arena, k.host, slot, p)
    })
}

/// Registers the process in slot `process`. Under the queue's lock.
///
/// Errors: EBUSY, somebody is registered.
pub fn register<H: Host>(
    k: &Ctx<'_, H>,
    h: &Handle,
    process: u32,
    pid: u32,
    wish: Wish,
) -> Result<(), Errno> {
    let q = h.q;
    if q.notify_kind.load(Relaxed) != kind::NOBODY && registrant_lives(k, q) {
        return Err(Errno::EBUSY);
    }
    let generation = task::process(k.arena, process).map_or(0, |p| p.generation.load(Acquire));
    let (how, signo, value, note, of) = match wish {
        Wish::Silent => (kind::SILENT, 0, 0, 0, 0),
        Wish::Signal { signo, value } => (kind::SIGNAL, signo, value, 0, 0),
        Wish::Thread { note, of } => (kind::THREAD, 0, 0, note, of),
    };
    q.notify_process.store(process, Relaxed);
    q.notify_generation.store(generation, Relaxed);
    q.notify_pid.store(pid, Relaxed);
    q.notify_signo.store(signo, Relaxed);
    q.notify_value.store(value, Relaxed);
    q.notify_note.store(note, Relaxed);
    q.notify_box.store(of, Relaxed);
    q.notify_kind.store(how, Release);
    h.log(
        k,
        Kind::MqNotify,
        0,
        (i64::from(how), u64::from(signo), u64::from(pid)),
    );
    Ok(())
}

/// A message came into the empty queue and nobody waits for it: who is registered is told, and is
/// not registered any more. Under the queue's lock. A signal is the caller's to send.
#[cold]
pub fn fire<H: Host>(k: &Ctx<'_, H>, h: &Handle, cause: u64) -> Option<Notice> {
    let q = h.q;
    let mut how = q.notify_kind.load(Acquire);
    if !planted(Bug::MqNotifiesAgain) {
        how = q.notify_kind.swap(kind::NOBODY, AcqRel);
    }
    crash_point("mq.notify.fire");
    let pid = q.notify_pid.load(Relaxed);
    h.log(
        k,
        Kind::MqNotified,
        cause,
        (i64::from(pid), u64::from(how), 0),
    );
    let signo = q.notify_signo.load(Relaxed);
    let p = task::process(k.arena, q.notify_process.load(Relaxed));
    let same = p.is_some_and(|p| p.generation.load(Acquire) == q.notify_generation.load(Relaxed));
    // By its number somebody else would be told.
    let foreign = p.is_some_and(|p| task::alive::is_foreign(k.host, &p.namespace));
    match how {
        _ if !same => None, // dead
        kind::SIGNAL if signo != 0 && !foreign => Some(Notice {
            pid,
            signo,
            value: q.notify_value.load(Relaxed),
        }),
        kind::THREAD => {
            let note = q.notify_note.swap(0, Relaxed);
            post(k, q.notify_box.load(Relaxed), note, fate::FIRED);
            None
        }
        _ => None,
    }
}

/// The process in slot `process` is not registered any more: mq_notify(3) with a null pointer, or
/// it has closed a descriptor of the queue (`mqueue_flush_file`).
pub fn remove<H: Host>(k: &Ctx<'_, H>, h: &Handle, process: u32) {
    let q = h.q;
    let mine = || {
        q.notify_kind.load(Acquire) != kind::NOBODY
            && q.notify_process.load(Relaxed) == process
            && task::process(k.arena, process)
                .is_some_and(|p| p.generation.load(Acquire) == q.notify_generation.load(Relaxed))
    };
    if !mine() {
        return;
    }
    h.lock(k);
    if mine() && !h.is_stale() {
        let how = q.notify_kind.swap(kind::NOBODY, AcqRel);
        h.log(k, Kind::MqNotifyOff, 0, (i64::from(how), 0, 0));
        if how == kind::THREAD {
            let note = q.notify_note.swap(0, Relaxed);
            post(k, q.notify_box.load(Relaxed), note, fate::REMOVED);
        }
    }
    h.unlock(k);
}

/// exec(2): what the process registered stays, but nobody is told (`notify_self_exec_id`).
pub fn silence<H: Host>(k: &Ctx<'_, H>, process: u32) {
    let used = k.arena.header().queues_used.load(Relaxed);
    for slot in 1..used {
        let silent = |q: &Queue| {
            let mine = q.notify_process.load(Relaxed) == process;
            kind::after_exec(q.notify_kind.load(Relaxed)).filter(|_| mine)
        };
        if get(k.arena, slot).and_then(silent).is_none() {
            continue;
        }
        if let Some(h) = handle(k.arena, slot) {
            h.lock(k);
            if let Some(how) = silent(h.q) {
                h.q.notify_kind.store(how, Release);
            }
            h.unlock(k);
        }
    }
}
