//! Joining a session: the arena is mapped, the process and its threads get their slots, and a new
//! program image adopts the descriptors that came through exec.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::*};

use ringer_kernel::arena::header::{flag, shortage};
use ringer_kernel::arena::{layout, Arena};
use ringer_kernel::log::{layer, ring, Kind, Log};
use ringer_kernel::sync::lock_word::OwnerId;
use ringer_kernel::task::{self, proc_state, Process};

use crate::entry::Entry;
use crate::gate::{sys, Timespec};
use crate::host::{self, Shim};
use crate::tls::{tls, Tls};
use crate::{adopt, arm, procfs, quit, rescue, session};

/// Before `attach`, while one thread is at it, and after.
mod state {
    pub const NEW: u32 = 0;
    pub const BUSY: u32 = 1;
    pub const ATTACHED: u32 = 2;
    /// No session: everything goes to the kernel.
    pub const APART: u32 = 3;
}

static STATE: AtomicU32 = AtomicU32::new(state::NEW);
static BASE: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static ARENA: Once = Once(UnsafeCell::new(None));

/// Written once, by the thread that turns STATE from NEW to BUSY, before anybody can read it.
struct Once(UnsafeCell<Option<Arena>>);

// SAFETY: see the type: one write, which happens before every read.
unsafe impl Sync for Once {}

/// What a forked child must not believe: the kernel wipes this page in it (MADV_WIPEONFORK).
#[repr(C)]
pub struct Local {
    pub process: AtomicPtr<Process>,
    pub slot: AtomicU32,
    pub pid: AtomicU32,
    /// See inbox.rs.
    pub inbox: AtomicU32,
    /// Whether pthread_create(3) was ever called, or a thread made by another way that was seen.
    pub has_threads: AtomicU32,
    /// Pipes whose buffers this process has had pages of, by their slots: see `call::warm`.
    pub warm: [AtomicU64; WARM],
}

/// Other pipes share their bits.
const WARM: usize = 64;

static NOBODY: Local = Local {
    process: AtomicPtr::new(core::ptr::null_mut()),
    slot: AtomicU32::new(0),
    pid: AtomicU32::new(0),
    inbox: AtomicU32::new(0),
    has_threads: AtomicU32::new(0),
    warm: [const { AtomicU64::new(0) }; WARM],
};
static LOCAL: AtomicPtr<Local> = AtomicPtr::new((&raw const NOBODY).cast_mut());

/// Bits of the header's flags, cached.
static FLAGS: AtomicU32 = AtomicU32::new(0);
/// fork(2) children find the slot that their parent announced here, in their copy.
pub static ANNOUNCED: AtomicU32 = AtomicU32::new(0);

#[inline(always)]
pub fn arena() -> Option<&'static Arena> {
    // SAFETY: written once, before STATE becomes ATTACHED and before any process slot is
    // published; everybody who gets here through a slot or the state sees it.
    unsafe { (*ARENA.0.get()).as_ref() }
}

#[inline(always)]
pub fn local() -> &'static Local {
    // SAFETY: points to `NOBODY` or to a page that is never unmapped.
    unsafe { &*LOCAL.load(Acquire) }
}

/// The process whose descriptors this thread's are. `None`: not attached (yet).
#[inline(always)]
pub fn process(tls: &Tls) -> Option<&'static Process> {
    if tls.process_slot.get() != 0 {
        return task::process(arena()?, tls.process_slot.get());
    }
    // SAFETY: null, or a slot of the arena's process table, which stays mapped.
    unsafe { local().process.load(Acquire).as_ref() }
}

/// The process has left, and its slot may be another's from now on: what it does until it is gone is
/// the kernel's.
pub fn forget_process(tls: &Tls) {
    match tls.process_slot.get() {
        0 => {
            let local = local();
            local.process.store(core::ptr::null_mut(), Release);
            local.slot.store(0, Relaxed);
            local.pid.store(0, Relaxed);
        }
        _ => tls.process_slot.set(0),
    }
}

/// This process's number. `None`: not attached.
#[inline(always)]
pub fn pid() -> Option<u32> {
    match local().pid.load(Relaxed) {
        0 => None,
        pid => Some(pid),
    }
}

pub fn process_slot(tls: &Tls) -> u32 {
    match tls.process_slot.get() {
        0 => local().slot.load(Acquire),
        slot => slot,
    }
}

pub fn has(bit: u32) -> bool {
    FLAGS.load(Relaxed) & bit != 0
}

/// Whether a mechanism (a bit `flag::EMULATE_*`) is served from the arena.
pub fn emulates(mechanism: u32) -> bool {
    FLAGS.load(Relaxed) & (flag::OBSERVE | mechanism) == mechanism
}

pub fn is_attached() -> bool {
    STATE.load(Acquire) == state::ATTACHED
}

/// Joins the session, once. `true`: there is one.
pub fn attach() -> bool {
    match STATE.compare_exchange(state::NEW, state::BUSY, AcqRel, Acquire) {
        Err(state::ATTACHED) => return true,
        Err(state::BUSY) => {
            // Another thread is at it; a signal handler on top of that thread must not wait.
            return false;
        }
        Err(_) => return false,
        Ok(_) => {}
    }
    // No handler of the program may run while the arena's locks are held and nothing is set up.
    let mask = arm::add_to_mask(!arm::FORCED);
    let joined = match session::open() {
        Some(arena) => join(arena),
        None => false,
    };
    STATE.store(
        if joined {
            state::ATTACHED
        } else {
            state::APART
        },
        Release,
    );
    if joined {
        begin();
    }
    // Armed, or soon to be by another thread: the forced signals are in no real mask.
    if arm::is_armed() || arm::may_come() {
        arm::virtualise_mask(tls(), mask);
    } else {
        arm::set_mask(mask);
    }
    is_attached()
}

/// The process has nothing to do with the session any more: everything goes to the kernel. Its place keeps what it held,
/// until it is found dead.
pub fn leave(tls: &Tls) {
    STATE.store(state::APART, Release);
    FLAGS.store(0, Release);
    forget_process(tls);
    forget_thread(tls);
}

fn join(arena: Arena) -> bool {
    let Some(page) = wiped_on_fork() else {
        return false;
    };
    // SAFETY: nobody reads ARENA before STATE or LOCAL says so; one thread gets here.
    unsafe { *ARENA.0.get() = Some(arena) };
    BASE.store(arena.base().cast_mut(), Release);
    let flags = arena.header().flags.load(Relaxed);
    FLAGS.store(flags, Release);
    crate::hooks::begin_semaphores(flags);
    crate::halt::init();
    LOCAL.store(page, Release);
    true
}

/// The process's slot and, if there is something to do for it, its first thread's.
fn begin() {
    let Some(arena) = arena() else { return };
    let pid = host::getpid();
    crate::namespace::forget();
    let start = procfs::start_time(pid, pid);
    // A place of an earlier process with this number, that nobody found dead yet, is not ours.
    let found = task::find_process(arena, &Shim, pid)
        .filter(|(_, p)| [0, start].contains(&p.start.load(Relaxed)));
    let by_exec = found.is_some();
    let slot = match found {
        Some((slot, _)) => Some(slot),
        None => {
            let claimed = task::claim_process(arena, &Shim, proc_state::LIVE, pid, 0, start);
            if let Some((slot, _)) = claimed {
                task::replace_twin(arena, &Shim, slot, pid);
            }
            claimed.map(|c| c.0)
        }
    };
    let Some(slot) = slot else {
        if arena.header().note_shortage(shortage::PROCESS) {
            session::complain(
                "the session has no place for a process (its table or /dev/shm is full); \
                 such a process runs on the kernel",
            );
        }
        if arena.header().anything_lives() {
            let entry = Entry::enter();
            rescue::descriptors();
            let _ = entry.leave();
        }
        STATE.store(state::APART, Release);
        return;
    };
    if let Some((_, p)) = found {
        task::alive::goes_on_without_threads(arena, slot, p);
    }
    settle(arena, slot, pid);
    let entry = Entry::enter();
    crate::namespace::be_known(&entry);
    if by_exec {
        crate::call::sysv::after_exec(&entry);
        adopt::from_table(&entry);
        crate::call::accept::closed(); // what had FD_CLOEXEC
    } else if arena.header().anything_lives() {
        adopt::from_descriptors(&entry);
    }
    if has(flag::LOG) {
        entry.owner();
        log_event(
            &entry,
            Kind::Start,
            (i64::from(host::getppid()), u64::from(by_exec), 0),
        );
    }
    quit::if_traced(&entry);
}

/// Takes a slot as this process's own.
pub fn settle(arena: &'static Arena, slot: u32, pid: u32) {
    let Some(p) = task::process(arena, slot) else {
        return;
    };
    let ppid = host::getppid();
    crate::namespace::after_fork(ppid);
    p.settle(crate::namespace::current(), pid);
    p.ppid.store(ppid, Relaxed);
    p.set_comm(&procfs::comm());
    p.state.store(proc_state::LIVE, Release);
    let local = local();
    local.slot.store(slot, Relaxed);
    local.pid.store(pid, Relaxed);
    local
        .process
        .store(core::ptr::from_ref(p).cast_mut(), Release);
}

/// After a fork that nobody announced, the first call finds no process: it gets a slot.
pub fn ensure_process() -> bool {
    if !is_attached() && !attach() {
        return false;
    }
    if process(tls()).is_some() {
        return true;
    }
    forget_thread(tls());
    begin();
    process(tls()).is_some()
}

/// What a thread had in the parent is not the child's.
pub fn forget_thread(tls: &Tls) {
    tls.owner.set(0);
    tls.task_slot.set(0);
    tls.task.set(core::ptr::null());
    tls.tid.set(0);
    tls.set_writer(None);
}

fn wiped_on_fork() -> Option<*mut Local> {
    const MADV_WIPEONFORK: usize = 18;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let page = sys!(libc::SYS_mmap, 0, 4096, prot, flags, -1isize, 0);
    if page < 0 || sys!(libc::SYS_madvise, page, 4096, MADV_WIPEONFORK) < 0 {
        session::complain(
            "no page that fork wipes (MADV_WIPEONFORK); this process runs on the kernel",
        );
        return None;
    }
    Some(page as *mut Local)
}

/// A slot for this thread, marked by the kernel when it dies, and a log ring if there is a log.
#[cold]
pub fn register_thread(entry: &Entry) -> Option<OwnerId> {
    let arena = arena()?;
    let tls = entry.tls;
    let pid = host::getpid();
    let tid = host::gettid();
    let process_slot = process_slot(tls);
    let (slot, owner) = match task::claim_task(arena, &Shim, process_slot, pid, tid, 0) {
        Some(claimed) => claimed,
        None => {
            if arena.header().note_shortage(shortage::THREAD) {
                session::complain(
                    "the session has no place for a thread (its table or /dev/shm is full); \
                     the kernel serves the pipes of such a thread's process",
                );
            }
            if let Some(p) = process(tls) {
                rescue::pipes_of(p);
            }
            return None;
        }
    };
    tls.owner.set(owner.raw());
    tls.task_slot.set(slot);
    tls.task.set(task_at(slot));
    tls.tid.set(tid);
    if tls.in_vfork.get() == 0 {
        if let Some(task) = task::task(arena, slot) {
            crate::robust::register(task, tid);
        }
    }
    if has(flag::LOG) {
        let comm = procfs::comm();
        tls.set_writer(ring::claim(
            arena,
            owner,
            &Shim,
            pid,
            tid,
            comm,
            host::populate,
            host::tsc,
        ));
        if let (Some(task), Some(writer)) = (task::task(arena, slot), tls.writer()) {
            task.ring.store(writer.index(), Relaxed);
        }
    }
    Some(owner)
}

/// Address of a thread's slot; null for slot 0.
pub fn task_at(slot: u32) -> *const task::Task {
    let task = arena()
        .filter(|_| slot != 0)
        .and_then(|a| task::task(a, slot));
    task.map_or(core::ptr::null(), core::ptr::from_ref)
}

/// One record about no object, if there is a log.
pub fn log_event(entry: &Entry, kind: Kind, abc: (i64, u64, u64)) {
    let log = Log {
        ring: entry.tls.writer(),
        fd: -1,
        layer: layer::OWN,
    };
    log.event(kind, 0, abc);
}

/// CLOCK_MONOTONIC, nanoseconds.
pub fn now_ns() -> u64 {
    let mut t = Timespec { sec: 0, nsec: 0 };
    sys!(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut t);
    t.sec as u64 * 1_000_000_000 + t.nsec as u64
}

/// Bytes of address space for a session.
pub const ARENA_BYTES: usize = layout::ARENA_BYTES;
