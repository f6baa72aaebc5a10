//! Cleaning up after a process: its descriptors are closed in the arena, those who waited for it
//! are woken, its slot is free again. By itself at exit, or by whoever finds it dead.
//!
//! # Crash points
//!
//! - C1. Killed half way: the next reaper takes the table's lock over. Each entry is taken out by
//!   one swap, so it goes on with the rest; at worst one reference is counted too high, which costs memory only.

use super::alive;
use super::process::{proc_state, Process};
use super::table;
use crate::arena::Arena;
use crate::eventfd;
use crate::file::{self, fd_table, End, EventfdFile, FileRef, SocketFile};
use crate::host::Host;
use crate::log::{Kind, Log};
use crate::mqueue;
use crate::pipe::{self, fifo, Ctx};
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::OwnerId;
use crate::unix;

/// A descriptor's entry is taken out of its table, and the real one is about to be closed. From here
/// on nobody vouches for its end: who polls sees the hang-up as soon as the real one is closed,
/// and must then find the end of file, too.
pub fn about_to_close(arena: &Arena, file_slot: u32) {
    match FileRef::of(arena, file_slot) {
        Some(FileRef::Pipe(e)) => e.pipe.forget_witness(e.end),
        Some(FileRef::Socket(s)) => s.pair.forget_witness(s.side()),
        _ => {}
    }
}

/// One descriptor of a process is gone (the real one was closed before: see [`about_to_close`]). Whoever waits for the
/// other end is woken, and a pipe that nobody holds is freed if `unused` agrees: it is asked only
/// when the counts say that nobody is left.
pub fn forget_descriptor<H: Host>(k: &Ctx<'_, H>, file_slot: u32, unused: impl Fn(u32) -> bool) {
    let e = match FileRef::of(k.arena, file_slot) {
        Some(FileRef::Pipe(e)) => e,
        Some(FileRef::Eventfd(e)) => return forget_eventfd(k, &e),
        Some(FileRef::Mq(e)) => {
            if file::close_ref(k.arena, k.me, k.host, file_slot) {
                mqueue::name::close(k, &e.handle());
            }
            return;
        }
        Some(FileRef::Socket(s)) => return forget_socket(k, &s, unused),
        Some(FileRef::Signalfd(_)) | None => {
            file::close_ref(k.arena, k.me, k.host, file_slot);
            return;
        }
    };
    e.pipe.forget_witness(e.end);
    let generation = e.pipe.generation.load(Relaxed); // ours as long as we hold the reference
    let last = file::close_ref(k.arena, k.me, k.host, file_slot);
    let left = e.pipe.holders(e.end).load(Relaxed);
    let end = u64::from(e.end == End::Write);
    let record = k
        .log
        .pipe(e.pipe, Kind::Close, 0, (end as i64, u64::from(left), 0));
    if !last {
        return;
    }
    if left == 0 {
        match e.end {
            End::Read => e.pipe.wr_wait.wake_all(k.host, record),
            End::Write => e.pipe.rd_wait.wake_all(k.host, record),
        }
    }
    let held = e.pipe.readers.load(Acquire) != 0 || e.pipe.writers.load(Acquire) != 0;
    if !held && fifo::is_fifo(e.pipe) {
        fifo::forget_if_unused(k, e.pipe_slot());
    } else if !held && unused(e.pipe_slot()) {
        pipe::release_if(k, e.pipe_slot(), generation);
    }
}

/// As [`forget_descriptor`]. There is no other end that could wait for this; who waits on the
/// eventfd itself holds it.
fn forget_eventfd<H: Host>(k: &Ctx<'_, H>, e: &EventfdFile) {
    let generation = e.eventfd.generation.load(Relaxed); // ours as long as we hold the reference
    let last = file::close_ref(k.arena, k.me, k.host, e.file_slot());
    let left = e.eventfd.files.load(Acquire);
    let abc = (0, u64::from(left), 0);
    k.log.about(e.eventfd, Kind::Close, 0, abc);
    if last && left == 0 {
        eventfd::release_if(k, e.slot(), generation);
    }
}

/// The process in slot `process` closes a descriptor, whichever: it is not to be told of messages any
/// more. (Linux v6.18 ipc/mqueue.c `mqueue_flush_file`)
pub fn flush<H: Host>(k: &Ctx<'_, H>, process: u32, file_slot: u32) {
    if let Some(FileRef::Mq(e)) = FileRef::of(k.arena, file_slot) {
        mqueue::notify::remove(k, &e.handle(), process);
    }
}

/// As [`forget_descriptor`]: whoever waits for the other socket is woken.
fn forget_socket<H: Host>(k: &Ctx<'_, H>, s: &SocketFile, unused: impl Fn(u32) -> bool) {
    let (p, side) = (s.pair, s.side());
    p.forget_witness(side);
    let generation = p.generation.load(Relaxed); // ours as long as we hold the reference
    let last = file::close_ref(k.arena, k.me, k.host, s.file_slot());
    let left = p.socket(side).files.load(Acquire);
    let abc = (i64::from(side.bit()), u64::from(left), 0);
    let record = k.log.about(p, Kind::Close, 0, abc);
    if !last || left != 0 {
        return;
    }
    p.wake_everybody(k.host, record);
    let held = p.socket(side.other()).files.load(Acquire) != 0;
    // Of datagram sockets the twin does not tell.
    if !held && (!p.type_of().is_connected() || unused(s.slot())) {
        unix::release_if(k, s.slot(), generation);
    }
}

/// Cleans up after the process in `slot`, which must be dead. Several may try: each entry is
/// taken once.
pub fn reap_process(arena: &Arena, me: OwnerId, host: &impl Host, slot: u32) {
    let k = Ctx {
        arena,
        host,
        me,
        log: Log::OFF,
    };
    reap(&k, slot);
}

/// What threads of the process in `slot` held on to while they waited is gone with them.
pub fn forget_lingering<H: Host>(k: &Ctx<'_, H>, slot: u32) {
    let used = k.arena.header().tasks_used.load(Relaxed);
    for task in (1..used).map_while(|i| table::task(k.arena, i)) {
        if task.process.load(Relaxed) != slot {
            continue;
        }
        if let Some(opens) = fifo::opens(task) {
            task.waits_for.store(0, Relaxed);
            fifo::forget_if_unused(k, opens);
        }
        if task.linger.load(Relaxed) != 0 {
            let file_slot = task.linger.swap(0, AcqRel) as u32;
            if file_slot != 0 {
                forget_descriptor(k, file_slot, |_| true);
            }
        }
    }
}

/// As [`reap_process`], with a log.
pub fn reap<H: Host>(k: &Ctx<'_, H>, slot: u32) {
    if let Some(p) = table::process(k.arena, slot) {
        reap_if(k, slot, p.generation.load(Acquire));
    }
}

/// As [`reap`], if the slot still has that generation: the process may have left in order since
/// it was looked at, and the slot may be a living one's.
pub fn reap_if<H: Host>(k: &Ctx<'_, H>, slot: u32, generation: u32) {
    let Some(p) = table::process(k.arena, slot) else {
        return;
    };
    // Nobody claims the slot before it is DEAD, and only one reaper at a time gets it there.
    fd_table::with_lock(k.arena, k.me, k.host, p, || {
        let state = p.state.load(Acquire); // before the generation: see `retire_process`
        let same = p.generation.load(Acquire) == generation;
        let used = matches!(state, proc_state::ANNOUNCED..=proc_state::UNSHIMMED);
        if same && used {
            reap_locked(k, slot, p);
        }
    });
}

fn reap_locked<H: Host>(k: &Ctx<'_, H>, slot: u32, p: &Process) {
    k.log
        .event(Kind::Reaped, 0, (i64::from(p.pid.load(Relaxed)), 0, 0));
    fd_table::for_each(k.arena, p, 0, fd_table::MAX_FDS, |fd, _| {
        let file_slot = fd_table::take(k.arena, p, fd);
        if file_slot != 0 {
            flush(k, slot, file_slot);
            // Nobody's process: the kernel has closed the twin, and the counts are all there is.
            forget_descriptor(k, file_slot, |_| true);
        }
    });
    forget_lingering(k, slot);
    crate::sysv::leave(k, slot, p.generation.load(Acquire));
    table::retire_process(k.arena, k.me, k.host, p);
}

/// Slots that one sweep looks at, and how often it asks the real kernel.
const SWEEP_SLOTS: u32 = 8;
const SWEEP_ASKS: u32 = 4;

/// Cleans up after processes that died unseen (SIGKILL, or a program that ringer can not reach),
/// a few at a time: where there is no supervisor, whoever forks does this.
pub fn sweep<H: Host>(k: &Ctx<'_, H>, mine: u32) {
    let header = k.arena.header();
    let used = header
        .procs_used
        .load(Relaxed)
        .min(crate::arena::layout::MAX_PROCS);
    let first = header.sweep_at.load(Relaxed);
    let mut asked = 0;
    let mut looked = 0;
    while looked < SWEEP_SLOTS.min(used) && asked < SWEEP_ASKS {
        let slot = (first.wrapping_add(looked)) % used.max(1);
        looked += 1;
        let Some(p) = table::process(k.arena, slot).filter(|_| slot != 0 && slot != mine) else {
            continue;
        };
        let generation = p.generation.load(Acquire);
        let state = p.state.load(Acquire);
        let settled = matches!(state, proc_state::LIVE..=proc_state::UNSHIMMED);
        if !settled || alive::living_thread(k.arena, slot).is_some() {
            continue;
        }
        asked += 1;
        if alive::process_is_gone(k.arena, k.host, slot, p) {
            reap_if(k, slot, generation);
        }
    }
    header.sweep_at.store(first.wrapping_add(looked), Relaxed);
}
