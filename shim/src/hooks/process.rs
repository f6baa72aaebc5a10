//! unistd.h, pthread.h: leaving, and threads.

use core::sync::atomic::{AtomicU32, Ordering::*};

use libc::{c_char, c_int, c_long, c_void, pid_t, pthread_attr_t, pthread_key_t, pthread_t, FILE};

use crate::arm;
use crate::call::process;
use crate::dispatch;
use crate::entry::{run, Entry};
use crate::next::{next, result};

next! {
    fn _exit(status: c_int) -> ();
    fn syscall(nr: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long;
    fn pthread_cancel(thread: pthread_t) -> c_int;
    fn getpid() -> pid_t;
    fn popen(command: *const c_char, mode: *const c_char) -> *mut FILE;
    fn pthread_create(thread: *mut pthread_t, attr: *const pthread_attr_t,
        start: extern "C" fn(*mut c_void) -> *mut c_void, arg: *mut c_void) -> c_int;
}

redhook::hook! {
    unsafe fn _exit(status: c_int) -> () => ringer_exit {
        if crate::attach::process(crate::tls::tls()).is_some() {
            let entry = Entry::enter();
            crate::leaving::begin(status);
            process::exit(&entry, status);
            let _ = entry.leave();
        }
        // SAFETY: the program's own call.
        unsafe { real::_exit(status) }
    }
}

redhook::hook! {
    unsafe fn _Exit(status: c_int) -> () => ringer_exit_c99 {
        // SAFETY: the same function by its C name.
        unsafe { ringer_exit(status) }
    }
}

redhook::hook! {
    unsafe fn syscall(nr: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize)
        -> c_long => ringer_syscall {
        // Armed, the instruction traps, with the frame that fork and the masks need. Unarmed,
        // only a new pipe or queue, or System V IPC, concerns us.
        let makes = matches!(
            nr,
            libc::SYS_pipe | libc::SYS_pipe2 | libc::SYS_mq_open | libc::SYS_mq_unlink
        );
        if !arm::is_armed()
            && (makes || crate::call::sysv::is_one(nr))
            && crate::attach::ensure_process()
        {
            if let Some(ret) = run(|entry| dispatch::plain(entry, nr, [a, b, c, d, e, f])) {
                return result(ret) as c_long;
            }
        }
        if matches!(nr, libc::SYS_prctl | libc::SYS_seccomp | libc::SYS_ptrace) {
            crate::quit::by_hook(nr, [a, b, c, d, e, f]);
        }
        if nr == libc::SYS_rt_sigprocmask && !arm::is_armed() && has_threads() {
            return result(crate::call::mask::by_number(a, b, c, d)) as c_long;
        }
        if !arm::is_armed() {
            if let Some(ret) = crate::call::kill_by_number::stopping(nr, [a, b, c, d, e, f]) {
                return result(ret) as c_long;
            }
        }
        // SAFETY: the program's own call.
        let ret = unsafe { real::syscall(nr, a, b, c, d, e, f) };
        if nr == libc::SYS_pidfd_getfd && !arm::is_armed() {
            dispatch::opened(true, ret as isize);
        }
        ret
    }
}

redhook::hook! {
    unsafe fn getpid() -> pid_t => ringer_getpid {
        // Armed, it would trap; and only then a vfork child has memory of its own.
        let tls = crate::tls::tls();
        match crate::attach::pid() {
            Some(pid) if tls.is_armed() && tls.in_vfork.get() == 0 => pid as pid_t,
            // SAFETY: always succeeds. [getpid(2)]
            _ => arm::unarmed(|| unsafe { real::getpid() }),
        }
    }
}

redhook::hook! {
    unsafe fn popen(command: *const c_char, mode: *const c_char) -> *mut FILE => ringer_popen {
        // Its pipe is made inside libc: armed, that comes by layer III.
        if crate::attach::ensure_process() {
            let entry = Entry::enter();
            arm::arm(&entry);
            let _ = entry.leave();
        }
        // SAFETY: the program's own call.
        unsafe { real::popen(command, mode) }
    }
}

/// Whether pthread_cancel(3) was ever called: then threads that wait in the shim look, whenever
/// they wake, whether it meant them.
static CANCELS: AtomicU32 = AtomicU32::new(0);

pub fn cancelling() -> bool {
    CANCELS.load(Relaxed) != 0
}

/// Between two attempts of a waiting call, outside the shim: does not return if this thread was
/// cancelled. The unwinder passes through the hook's frame, which owns nothing.
pub fn test_cancel() {
    extern "C" {
        fn pthread_testcancel();
    }
    if cancelling() {
        // SAFETY: no lock is held and no destructor is pending in the frames above.
        unsafe { pthread_testcancel() };
    }
}

redhook::hook! {
    unsafe fn pthread_cancel(thread: pthread_t) -> c_int => ringer_pthread_cancel {
        CANCELS.store(1, SeqCst);
        super::sem::be_slow();
        // SAFETY: the program's own call.
        unsafe { real::pthread_cancel(thread) }
    }
}

/// What a new thread begins with.
struct Start {
    start: extern "C" fn(*mut c_void) -> *mut c_void,
    arg: *mut c_void,
    /// What the creator believes of the forced signals in its mask.
    masked: u64,
}

/// Whether pthread_create(3) was ever called in this process.
pub fn has_threads() -> bool {
    crate::attach::local().has_threads.load(Relaxed) != 0
}

static KEY: AtomicU32 = AtomicU32::new(u32::MAX);

/// The key whose destructor tells that a thread ends, however it does.
pub fn make_key() {
    let mut key: pthread_key_t = 0;
    // SAFETY: `key` is ours; the destructor takes any value.
    if unsafe { libc::pthread_key_create(&raw mut key, Some(thread_ends)) } == 0 {
        KEY.store(key, Release);
    }
}

extern "C" fn thread_ends(_: *mut c_void) {
    arm::thread_ends();
}

redhook::hook! {
    unsafe fn pthread_create(thread: *mut pthread_t, attr: *const pthread_attr_t,
        start: extern "C" fn(*mut c_void) -> *mut c_void, arg: *mut c_void) -> c_int
        => ringer_pthread_create {
        crate::inbox::shut(crate::tls::tls(), true);
        // The first thread, too, may have to be switched on later from outside.
        let first = crate::attach::local().has_threads.swap(1, Relaxed) == 0;
        if first && !arm::is_armed() {
            arm_if_pending();
            if !arm::is_armed() {
                let mask = arm::set_mask(!arm::FORCED);
                arm::virtualise_mask(crate::tls::tls(), mask);
            }
        }
        arm::thread_starts();
        // SAFETY: malloc, as pthread_create itself does; freed by the new thread.
        let boxed = unsafe { libc::malloc(core::mem::size_of::<Start>()) }.cast::<Start>();
        if boxed.is_null() {
            // SAFETY: the program's own call.
            return unsafe { real::pthread_create(thread, attr, start, arg) };
        }
        // SAFETY: fresh memory of that size.
        unsafe { boxed.write(Start { start, arg, masked: crate::tls::tls().masked.get() }) };
        arm::hide(crate::tls::tls());
        // SAFETY: the program's call with our start routine, which calls the program's.
        let ret = unsafe { real::pthread_create(thread, attr, thread_main, boxed.cast()) };
        arm::show(crate::tls::tls());
        if ret != 0 {
            // SAFETY: no thread has taken it.
            unsafe { libc::free(boxed.cast()) };
        }
        ret
    }
}

/// A forced signal that is blocked and pending already can only be kept by an armed process.
fn arm_if_pending() {
    let mut pending = 0u64;
    crate::gate::sys!(libc::SYS_rt_sigpending, &raw mut pending, 8);
    if pending & arm::FORCED != 0 && crate::attach::ensure_process() {
        let entry = Entry::enter();
        arm::arm(&entry);
        let _ = entry.leave();
    }
}

extern "C" fn thread_main(boxed: *mut c_void) -> *mut c_void {
    // SAFETY: written by pthread_create's hook for this thread alone.
    let Start { start, arg, masked } = unsafe { boxed.cast::<Start>().read() };
    // SAFETY: as above.
    unsafe { libc::free(boxed) };
    crate::blockers::thread_starts(crate::tls::tls(), masked);
    arm::thread_starts();
    let key = KEY.load(Acquire);
    if key != u32::MAX {
        // SAFETY: a live key; any non-null value has the destructor called.
        unsafe { libc::pthread_setspecific(key, core::ptr::dangling()) };
    }
    start(arg)
}
