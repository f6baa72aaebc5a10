//! fork, vfork, clone, exit. See docs/architecture.md, "Process life".
//!
//! A child's slot and references are made *before* the real call, so that no count is ever too
//! low. Three kinds of children:
//!
//! - a copy of the process (fork, and vfork, which becomes a fork whose parent waits);
//! - a thread;
//! - posix_spawn's helper: in its parent's memory, on a stack of its own, until exec. It uses its
//!   parent's thread-local state, which the parent, asleep, gets back afterwards.

use core::sync::atomic::{AtomicI32, Ordering::*};

use ringer_kernel::file::{fd_table, FileRef, SocketId};
use ringer_kernel::log::{Cause, Kind};
use ringer_kernel::pipe::Ctx;
use ringer_kernel::task::reap::{about_to_close, forget_descriptor};
use ringer_kernel::task::{self, proc_state};

use super::mask;
use crate::attach;
use crate::borrow::{self, Borrowing};
use crate::dispatch::Frame;
use crate::entry::{Entry, Verdict};
use crate::gate::{self, sys};
use crate::hooks::has_threads;
use crate::host::{self, Shim};
use crate::tls::tls;
use crate::{arm, blocked, blockers, demotion, inbox, linger, pending, session, siblings, user};

const CLONE_VM: u64 = 0x100;
const CLONE_FILES: u64 = 0x400;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_SETTLS: u64 = libc::CLONE_SETTLS as u64;
const CLONE_THREAD: u64 = 0x10000;
const CLONE_NEWPID: u64 = 0x2000_0000;

mod kind {
    pub const THREAD: u64 = 1;
    pub const SPAWN: u64 = 2;
    pub const FORK: u64 = 3;
    /// Runs at the same time on the same thread-local storage: nothing of ringer's can run there.
    pub const BARE: u64 = 4;
}

/// What the new stack's top holds: read by `ringer_clone_thread`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Start {
    kind: u64,
    slot: u64,
    masked: u64,
    registers: [u64; 12],
    rip: u64,
}

const _: () = assert!(core::mem::size_of::<Start>() == 128);

/// struct clone_args, as far as it was ever defined. (include/uapi/linux/sched.h)
const CLONE_ARGS_MAX: usize = 11;
const CLONE_ARGS_STACK: usize = 5;
const CLONE_ARGS_STACK_SIZE: usize = 6;

/// fork(2) and vfork(2).
pub fn fork(entry: &Entry, frame: &mut Frame, vfork: bool) -> Verdict {
    mask::settle_in(entry.tls, frame);
    let flags = if vfork { CLONE_VFORK } else { 0 } | libc::SIGCHLD as u64;
    fork_like(entry, flags, || sys!(libc::SYS_clone, flags, 0, 0, 0, 0))
}

/// clone(2).
pub fn clone(entry: &Entry, frame: &mut Frame) -> Verdict {
    mask::settle_in(entry.tls, frame);
    let [flags, stack, c, d, e, _] = frame.args();
    let bits = flags as u64;
    if bits & CLONE_VM == 0 || (bits & CLONE_VFORK != 0 && stack == 0) {
        let bits = bits & !CLONE_VM;
        if stack == 0 {
            return fork_like(entry, bits, || sys!(libc::SYS_clone, bits, 0, c, d, e));
        }
    }
    let Some(top) = stack.checked_sub(core::mem::size_of::<Start>()) else {
        return Verdict::Pass; // the kernel says EINVAL
    };
    // SAFETY: `with_stack` has put a `Start` at `top`.
    with_stack(entry, frame, bits, top, || unsafe {
        gate::clone_thread(libc::SYS_clone, [flags, top, c, d, e])
    })
}

/// clone3(2).
pub fn clone3(entry: &Entry, frame: &mut Frame) -> Verdict {
    mask::settle_in(entry.tls, frame);
    let [at, size, ..] = frame.args();
    if !(64..=CLONE_ARGS_MAX * 8).contains(&size) {
        return Verdict::Pass;
    }
    let mut args = [0u64; CLONE_ARGS_MAX];
    if !user::access_ok(at, size) || !gate::copy(args.as_mut_ptr().cast(), at as *const u8, size) {
        return Verdict::errno(libc::EFAULT);
    }
    let bits = args.first().copied().unwrap_or(0);
    let stack = args.get(CLONE_ARGS_STACK).copied().unwrap_or(0);
    let stack_size = args.get(CLONE_ARGS_STACK_SIZE).copied().unwrap_or(0);
    if stack == 0 {
        if let Some(flags) = args.first_mut() {
            *flags &= !CLONE_VM;
        }
        return fork_like(entry, bits & !CLONE_VM, || {
            sys!(libc::SYS_clone3, args.as_ptr(), size)
        });
    }
    let room = core::mem::size_of::<Start>() as u64;
    let (Some(top), Some(left)) = (
        (stack + stack_size).checked_sub(room),
        stack_size.checked_sub(room),
    ) else {
        return Verdict::errno(libc::EINVAL);
    };
    if let Some(slot) = args.get_mut(CLONE_ARGS_STACK_SIZE) {
        *slot = left;
    }
    let args_at = args.as_ptr() as usize;
    // SAFETY: `with_stack` has put a `Start` at the new stack's top.
    with_stack(entry, frame, bits, top as usize, || unsafe {
        gate::clone_thread(libc::SYS_clone3, [args_at, size, 0, 0, 0])
    })
}

/// A child on a stack of its own.
fn with_stack(
    entry: &Entry,
    frame: &mut Frame,
    flags: u64,
    top: usize,
    clone: impl FnOnce() -> isize,
) -> Verdict {
    let what = match (flags & CLONE_THREAD != 0, flags & CLONE_VM != 0) {
        (true, _) => kind::THREAD,
        (false, true) if flags & CLONE_VFORK != 0 => kind::SPAWN,
        // LeakSanitizer's, which looks at the threads that it has stopped.
        (false, true) if flags & CLONE_SETTLS == 0 => kind::BARE,
        (false, true) => kind::THREAD, // shares everything that matters here
        (false, false) => kind::FORK,
    };
    // A thread that does not share, or a process that does.
    if (flags & CLONE_FILES != 0) != (flags & CLONE_THREAD != 0) {
        demotion::leave_to_kernel(entry, Cause::TableSplit);
    }
    before_new_namespace(entry, flags);
    if matches!(what, kind::THREAD | kind::BARE) {
        attach::local().has_threads.store(1, Relaxed);
        inbox::shut(entry.tls, true);
    }
    let slot = match what {
        kind::THREAD | kind::BARE => 0,
        kind::SPAWN => announce(entry, Shares::Memory),
        _ => announce(entry, Shares::Nothing),
    };
    let start = Start {
        kind: what,
        slot: u64::from(slot),
        masked: tls().masked.get(),
        registers: frame.registers(),
        rip: frame.rip(),
    };
    if !user::put(top, &start) {
        withdraw(entry, slot);
        return Verdict::errno(libc::EFAULT);
    }
    if what != kind::SPAWN {
        return parent_after(entry, slot, flags, clone());
    }
    // The child runs on this thread's state; the parent sleeps until it is done.
    let tls = entry.tls;
    let kept = (
        tls.depth.get(),
        tls.owner.get(),
        tls.task_slot.get(),
        tls.tid.get(),
        tls.edits.get(),
    );
    let (writer, masked) = (tls.take_writer(), tls.masked.get());
    let waiting = tls.pending.replace(0); // the child begins with nothing
    blocked::forget(tls);
    tls.altstack_known.set(0);
    let ret = clone();
    tls.set_writer(writer);
    tls.depth.set(kept.0);
    tls.owner.set(kept.1);
    tls.task_slot.set(kept.2);
    tls.task.set(attach::task_at(kept.2));
    tls.tid.set(kept.3);
    tls.edits.set(kept.4);
    tls.masked.set(masked);
    tls.pending.set(waiting);
    tls.in_vfork.set(0);
    tls.process_slot.set(0);
    tls.selector.set(1);
    blocked::forget(tls);
    tls.altstack_known.set(0);
    super::exec::drop_scratch(tls);
    parent_after(entry, slot, flags, ret)
}

/// Whether a child has its parent's memory, and with it what is attached there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shares {
    Memory,
    Nothing,
}

/// Who is in another PID namespace can not be borrowed from: pairs of sockets are the kernel's before
/// that.
pub fn before_new_namespace(entry: &Entry, flags: u64) {
    if flags & CLONE_NEWPID != 0 {
        demotion::demote_sockets(entry, Cause::Namespace);
    }
}

/// A slot for a child that is about to be, with the parent's descriptors. 0: none.
fn announce(entry: &Entry, shares: Shares) -> u32 {
    let (Some(p), Some(k)) = (entry.process(), entry.ctx(-1)) else {
        return 0;
    };
    let mine = attach::process_slot(entry.tls);
    task::reap::sweep(&k, mine);
    let Some((slot, child)) =
        task::claim_process(k.arena, &Shim, proc_state::ANNOUNCED, 0, mine, 0)
    else {
        demotion::demote_all(entry, Cause::NoMemory);
        return 0;
    };
    child.set_comm(&p.comm());
    if fd_table::copy(k.arena, k.me, k.host, p, child).is_err() {
        demotion::demote_all(entry, Cause::NoMemory);
    }
    if shares == Shares::Nothing {
        super::sysv_shm::inherit(entry, slot, child);
    }
    slot
}

/// The call failed: the announced child does not come.
fn withdraw(entry: &Entry, slot: u32) {
    if slot == 0 {
        return;
    }
    let Some(k) = entry.ctx(-1) else { return };
    task::reap::reap(&k, slot);
}

fn parent_after(entry: &Entry, slot: u32, flags: u64, ret: isize) -> Verdict {
    if ret < 0 {
        withdraw(entry, slot);
        return Verdict::Done(ret);
    }
    if let (true, Some(child)) = (
        slot != 0,
        attach::arena().and_then(|a| task::process(a, slot)),
    ) {
        let _ = child.pid.compare_exchange(0, ret as u32, AcqRel, Relaxed);
    }
    if flags & CLONE_THREAD == 0 {
        attach::log_event(entry, Kind::Fork, (ret as i64, flags, 0));
    }
    Verdict::Done(ret)
}

fn fork_like(entry: &Entry, flags: u64, real: impl FnOnce() -> isize) -> Verdict {
    if flags & CLONE_FILES != 0 {
        demotion::leave_to_kernel(entry, Cause::TableSplit);
    }
    before_new_namespace(entry, flags);
    crate::fresh::forget_all();
    let slot = announce(entry, Shares::Nothing);
    attach::ANNOUNCED.store(slot, Release);
    // The child must not inherit what is open for a moment only. (What vfork makes closes it by exec,
    // until when the parent is here.)
    let borrowing = (flags & CLONE_VFORK == 0).then(Borrowing::begin);
    let ret = real();
    drop(borrowing);
    if ret != 0 {
        return parent_after(entry, slot, flags, ret);
    }
    // What was noted, was for the parent, which delivers it. (The mask is the frame's.)
    if entry.tls.take_note() != 0 {
        crate::held::forget(entry.tls);
    }
    child_of_fork(slot);
    Verdict::Done(0)
}

/// The first thing that a forked child does.
fn child_of_fork(slot: u32) {
    let tls = tls();
    let _ = tls.take_writer();
    attach::forget_thread(tls);
    tls.process_slot.set(0);
    tls.in_vfork.set(0);
    arm::rearm_after_fork(tls);
    if let (true, Some(arena)) = (slot != 0, attach::arena()) {
        attach::settle(arena, slot, host::getpid());
    }
    borrow::forget_in_child();
    linger::forget_in_child();
}

/// Where a child with a stack of its own begins, called from the gate.
pub extern "C" fn thread_started(start: *const Start) {
    // SAFETY: the parent has put it there.
    let start = unsafe { &*start };
    let tls = tls();
    match start.kind {
        kind::BARE => {} // no task inherits dispatch
        kind::SPAWN => {
            tls.depth.set(0);
            attach::forget_thread(tls);
            tls.in_vfork.set(1);
            tls.process_slot.set(start.slot as u32);
            if let Some(p) = attach::arena().and_then(|a| task::process(a, start.slot as u32)) {
                p.settle(crate::namespace::current(), host::getpid());
                p.ppid.store(host::getppid(), Relaxed);
                p.state.store(proc_state::LIVE, Release);
            }
            // The parent's alternate stack may be in use by the parent.
            let off = super::mask::Stack {
                sp: 0,
                flags: libc::SS_DISABLE,
                pad: 0,
                size: 0,
            };
            sys!(libc::SYS_sigaltstack, &raw const off, 0);
            arm::arm_thread(tls, 1);
        }
        kind::FORK => {
            tls.depth.set(0);
            if tls.take_note() & pending::NOTED != 0 {
                arm::set_mask(tls.saved_mask.get());
            }
            crate::held::forget(tls);
            child_of_fork(start.slot as u32);
        }
        _ => {
            blockers::thread_starts(tls, start.masked);
            arm::arm_thread(tls, 1);
        }
    }
}

/// exit_group(2), _exit(2): everything of ringer's is closed, peers are woken, the slot is free.
pub fn exit(entry: &Entry, status: i32) {
    let (Some(p), Some(arena)) = (entry.process(), attach::arena()) else {
        return;
    };
    let slot = attach::process_slot(entry.tls);
    if p.pid.load(Relaxed) != host::getpid() || p.state.load(Acquire) == proc_state::DEAD {
        return; // somebody else's: a vfork child that was never announced
    }
    if arm::is_armed() && has_threads() && !siblings::stop() {
        return; // as by SIGKILL
    }
    super::sysv::leave(entry, p, slot);
    let has_signals = p.signals.has_memory(); // the slot's next one must not seem to block them
    if p.fd_count.load(Relaxed) == 0 && entry.tls.writer().is_none() && !has_signals {
        p.exit_status.store(status as u32, Relaxed);
        leave_unarmed(entry);
        return;
    }
    let Some(k) = entry.ctx(-1) else { return };
    fd_table::for_each(arena, p, 0, fd_table::MAX_FDS, |fd, _| {
        let file_slot = fd_table::take(arena, p, fd);
        if file_slot != 0 {
            let unused = unused(fd);
            last_words(&k, fd, file_slot);
            about_to_close(arena, file_slot);
            if !demotion::is_apart() {
                sys!(libc::SYS_close, fd); // else the table may be somebody else's, too
            }
            forget_descriptor(&k, file_slot, |_| unused);
        }
    });
    task::reap::forget_lingering(&k, slot);
    p.exit_status.store(status as u32, Relaxed);
    if k.log.is_on() {
        let (hook, trap, passed) = counted(entry);
        attach::log_event(entry, Kind::Layers, (hook as i64, trap, passed));
        attach::log_event(entry, Kind::Exit, (i64::from(status), 0, 0));
    }
    if let Some(writer) = entry.tls.writer() {
        writer.retire();
    }
    task::retire_process(arena, k.me, k.host, p);
    session::remove_if_last(arena, slot);
    attach::forget_process(entry.tls);
}

fn unused(fd: i32) -> bool {
    crate::twin::hung_up(fd)
}

/// Whoever has only himself to talk to has nothing to tell.
fn last_words(k: &Ctx<'_, Shim>, fd: i32, file_slot: u32) {
    if let Some(f @ FileRef::Socket(s)) = FileRef::of(k.arena, file_slot) {
        let (s, side) = (s.id(), s.side().other());
        if crate::peer::is_shared(k, &SocketId { side, ..s }) {
            demotion::before_close(k, fd, &f);
        }
    }
}

/// Calls by hook and trap, and traps that passed, of all threads of the process.
fn counted(entry: &Entry) -> (u64, u64, u64) {
    let Some(arena) = attach::arena() else {
        return (0, 0, 0);
    };
    let mine = attach::process_slot(entry.tls);
    let mut sum = (0, 0, 0);
    if let Some(p) = entry.process() {
        sum = (
            p.by_hook.load(Relaxed),
            p.by_trap.load(Relaxed),
            p.passed.load(Relaxed),
        );
    }
    let used = arena.header().tasks_used.load(Relaxed);
    for t in (1..used).filter_map(|s| task::task(arena, s)) {
        if t.process.load(Relaxed) == mine {
            sum.0 += t.by_hook.load(Relaxed);
            sum.1 += t.by_trap.load(Relaxed);
            sum.2 += t.passed.load(Relaxed);
        }
    }
    sum
}

/// A process without anything of ringer's leaves: its slot is free again.
fn leave_unarmed(entry: &Entry) {
    let (Some(p), Some(arena)) = (entry.process(), attach::arena()) else {
        return;
    };
    p.ended_tsc.store(host::tsc(), Relaxed);
    p.state.store(proc_state::DEAD, Release);
    arena.header().proc_events.fetch_add(1, Release);
    session::remove_if_last(arena, attach::process_slot(entry.tls));
    attach::forget_process(entry.tls);
}

/// What the program gave to exit(3).
static STATUS: AtomicI32 = AtomicI32::new(0);

pub fn exit_status() -> i32 {
    STATUS.load(Relaxed)
}

/// Learns the status of exit(3) before destructors run.
pub fn watch_exit_status() {
    extern "C" {
        fn on_exit(
            f: extern "C" fn(i32, *mut core::ffi::c_void),
            arg: *mut core::ffi::c_void,
        ) -> i32;
    }
    extern "C" fn store(status: i32, _: *mut core::ffi::c_void) {
        STATUS.store(status, Relaxed);
    }
    // SAFETY: libc's function; ours takes anything.
    unsafe { on_exit(store, core::ptr::null_mut()) };
}
