//! mq_notify(2), and SIGEV_THREAD, which in libc is a thread of its own that waits for the kernel's
//! word: here it sleeps on the process's box in the arena.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use libc::{c_void, pthread_attr_t, pthread_t};

use ringer_kernel::abi::Errno;
use ringer_kernel::file::MqFile;
use ringer_kernel::mqueue::notify::{self, fate, Wish};
use ringer_kernel::pipe::Ctx;
use ringer_kernel::sync::futex::{Futex, Signals};

use crate::call::errno_verdict;
use crate::entry::{Entry, Verdict};
use crate::host::{self, Shim};
use crate::{attach, user};

use super::find;

/// struct sigevent, as far as it concerns queues.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Sigevent {
    value: u64,
    signo: i32,
    notify: i32,
    /// SIGEV_THREAD: the function and the thread's attributes.
    function: usize,
    attributes: usize,
    rest: [u64; 4],
}

const SIGEV_SIGNAL: i32 = 0;
const SIGEV_NONE: i32 = 1;
const SIGEV_THREAD: i32 = 2;
/// `valid_signal`: at most _NSIG.
const NSIG: u32 = 64;

/// Which of the two functions of that name. To the kernel SIGEV_THREAD means a netlink socket, which
/// only libc uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    Libc,
    Kernel,
}

/// mq_notify(3), mq_notify(2).
pub fn notify(entry: &Entry, fd: i32, event: usize, by: By) -> Verdict {
    let event = match event {
        0 => None,
        at => match user::fetch::<Sigevent>(at) {
            Some(event) => Some(event),
            None => return Verdict::errno(libc::EFAULT),
        },
    };
    if let Some(event) = &event {
        let known = matches!(event.notify, SIGEV_SIGNAL | SIGEV_NONE | SIGEV_THREAD);
        let bad_signal = event.notify == SIGEV_SIGNAL && event.signo as u32 > NSIG;
        if !known || bad_signal {
            return Verdict::errno(libc::EINVAL);
        }
        if event.notify == SIGEV_THREAD && by == By::Kernel {
            return Verdict::errno(libc::EBADF); // no such socket
        }
    }
    let (_, e) = match find(entry, fd) {
        Ok(found) => found,
        Err(verdict) => return verdict,
    };
    let Some(k) = entry.ctx(fd) else {
        return Verdict::Pass;
    };
    let process = attach::process_slot(entry.tls);
    let Some(event) = event else {
        notify::remove(&k, &e.handle(), process);
        return Verdict::Done(0);
    };
    match register(&k, &e, process, &event) {
        Ok(()) => Verdict::Done(0),
        Err(errno) => errno_verdict(errno),
    }
}

fn register(k: &Ctx<'_, Shim>, e: &MqFile, process: u32, event: &Sigevent) -> Result<(), Errno> {
    let (wish, call) = match event.notify {
        SIGEV_SIGNAL => {
            let signo = event.signo as u32;
            let value = event.value;
            (Wish::Signal { signo, value }, core::ptr::null_mut())
        }
        SIGEV_NONE => (Wish::Silent, core::ptr::null_mut()),
        _ => {
            let of = own_box().ok_or(Errno::ENOSYS)?; // as libc, if it can make no thread
            let call = Call::new(event).ok_or(Errno::ENOMEM)?;
            match notify::new_note(k, call as u64) {
                Ok(note) => (Wish::Thread { note, of }, call),
                Err(errno) => {
                    Call::free(call);
                    return Err(errno);
                }
            }
        }
    };
    let h = e.handle();
    h.lock(k);
    let registered = match h.is_stale() {
        true => Err(Errno::EBADF),
        false => notify::register(k, &h, process, host::getpid(), wish),
    };
    h.unlock(k);
    if let (Err(_), Wish::Thread { note, .. }) = (registered, wish) {
        notify::free_note(k, note);
        Call::free(call);
    }
    registered
}

/// A function to be called in a new thread.
#[repr(C)]
struct Call {
    /// In a list of what has come.
    next: *mut Call,
    function: usize,
    value: u64,
    has_attributes: u32,
    attributes: pthread_attr_t,
}

impl Call {
    /// `None`: no memory.
    fn new(event: &Sigevent) -> Option<*mut Call> {
        // SAFETY: malloc, as libc's mq_notify itself does.
        let call = unsafe { libc::malloc(size_of::<Call>()) }.cast::<Call>();
        if call.is_null() {
            return None;
        }
        let attributes = user::fetch::<Attributes>(event.attributes);
        // SAFETY: all zero is storage for an attribute object.
        let mut own: pthread_attr_t = unsafe { core::mem::zeroed() };
        // A copy, as libc makes one: the program may destroy its own.
        if attributes.is_some() && event.attributes != 0 {
            let from = event.attributes as *const pthread_attr_t;
            copy_attributes(&mut own, from);
        }
        let filled = Call {
            next: core::ptr::null_mut(),
            function: event.function,
            value: event.value,
            has_attributes: u32::from(event.attributes != 0 && attributes.is_some()),
            attributes: own,
        };
        // SAFETY: fresh memory of that size.
        unsafe { call.write(filled) };
        Some(call)
    }

    fn free(call: *mut Call) {
        if call.is_null() {
            return;
        }
        // SAFETY: made by `new`, and nobody else's any more.
        let own = unsafe { &mut *call };
        if own.has_attributes != 0 {
            // SAFETY: initialised by `copy_attributes`.
            unsafe { libc::pthread_attr_destroy(&raw mut own.attributes) };
        }
        // SAFETY: as above.
        unsafe { libc::free(call.cast()) };
    }
}

type Attributes = [u64; 7];

/// The attributes that have an influence on a new thread, one by one.
fn copy_attributes(to: &mut pthread_attr_t, from: *const pthread_attr_t) {
    let (mut detach, mut policy, mut inherit, mut scope) = (0, 0, 0, 0);
    let (mut stack, mut guard) = (0usize, 0usize);
    let mut param = libc::sched_param { sched_priority: 0 };
    extern "C" {
        fn pthread_attr_getdetachstate(a: *const pthread_attr_t, n: *mut i32) -> i32;
        fn pthread_attr_getscope(a: *const pthread_attr_t, n: *mut i32) -> i32;
        fn pthread_attr_setscope(a: *mut pthread_attr_t, n: i32) -> i32;
    }
    // SAFETY: `from` is the program's attribute object, readable as just seen; `to` is ours.
    unsafe {
        libc::pthread_attr_init(to);
    }
    // SAFETY: as above.
    let got = unsafe { pthread_attr_getdetachstate(from, &raw mut detach) };
    if got == 0 {
        // SAFETY: as above.
        unsafe { libc::pthread_attr_setdetachstate(to, detach) };
    }
    // SAFETY: as above.
    if unsafe { libc::pthread_attr_getstacksize(from, &raw mut stack) } == 0 && stack != 0 {
        // SAFETY: as above.
        unsafe { libc::pthread_attr_setstacksize(to, stack) };
    }
    // SAFETY: as above.
    if unsafe { libc::pthread_attr_getguardsize(from, &raw mut guard) } == 0 {
        // SAFETY: as above.
        unsafe { libc::pthread_attr_setguardsize(to, guard) };
    }
    // SAFETY: as above.
    if unsafe { libc::pthread_attr_getschedpolicy(from, &raw mut policy) } == 0 {
        // SAFETY: as above.
        unsafe { libc::pthread_attr_setschedpolicy(to, policy) };
    }
    // SAFETY: as above.
    if unsafe { libc::pthread_attr_getschedparam(from, &raw mut param) } == 0 {
        // SAFETY: as above.
        unsafe { libc::pthread_attr_setschedparam(to, &raw const param) };
    }
    // SAFETY: as above.
    if unsafe { libc::pthread_attr_getinheritsched(from, &raw mut inherit) } == 0 {
        // SAFETY: as above.
        unsafe { libc::pthread_attr_setinheritsched(to, inherit) };
    }
    // SAFETY: as above.
    if unsafe { pthread_attr_getscope(from, &raw mut scope) } == 0 {
        // SAFETY: as above.
        unsafe { pthread_attr_setscope(to, scope) };
    }
}

/// The process's box, and the process it belongs to: a forked child has neither the thread nor a claim
/// to the box. pid << 32 | box.
static BOX: AtomicU64 = AtomicU64::new(0);
/// One thread at a time makes them. The pid of who is at it.
static MAKING: AtomicU32 = AtomicU32::new(0);

/// The process's box. `None`: it has none yet.
fn own_box() -> Option<u32> {
    let mine = BOX.load(Acquire);
    (mine >> 32 == u64::from(host::getpid())).then_some(mine as u32)
}

/// Before mq_notify(3), outside the shim: the first SIGEV_THREAD of a process needs a box, and a thread
/// that looks into it.
pub fn prepare(event: usize) {
    let thread =
        event != 0 && user::fetch::<Sigevent>(event).is_some_and(|e| e.notify == SIGEV_THREAD);
    if !thread || own_box().is_some() || !attach::ensure_process() {
        return;
    }
    let pid = host::getpid();
    loop {
        let maker = MAKING.load(Acquire);
        let free = maker != pid;
        if free && MAKING.compare_exchange(maker, pid, AcqRel, Relaxed).is_ok() {
            break;
        }
        if own_box().is_some() {
            return;
        }
        core::hint::spin_loop();
    }
    if own_box().is_none() {
        let entry = Entry::enter();
        let of = entry.ctx(-1).and_then(|k| notify::new_box(&k).ok());
        let _ = entry.leave();
        if let Some(of) = of.filter(|&of| start(of)) {
            BOX.store(u64::from(pid) << 32 | u64::from(of), Release);
        }
    }
    MAKING.store(0, Release);
}

/// pthread_sigmask(3) with SIG_SETMASK.
fn set_mask(new: &[u64; 16], old: &mut [u64; 16]) {
    let (new, old) = (new.as_ptr() as usize, old.as_mut_ptr() as usize);
    crate::call::mask::sigprocmask(libc::SIG_SETMASK, new, old);
}

/// Starts the thread, detached, with all signals blocked.
fn start(of: u32) -> bool {
    let all = [u64::MAX; 16];
    let mut before = [0u64; 16];
    let mut thread: pthread_t = 0;
    set_mask(&all, &mut before);
    let arg = of as usize as *mut c_void;
    // SAFETY: a thread function that takes a number.
    let ret = unsafe { libc::pthread_create(&raw mut thread, core::ptr::null(), wait, arg) };
    set_mask(&before, &mut [0; 16]);
    if ret == 0 {
        // SAFETY: a thread that nobody joins.
        unsafe { libc::pthread_detach(thread) };
    }
    ret == 0
}

/// Looks into the box for ever.
extern "C" fn wait(of: *mut c_void) -> *mut c_void {
    let of = of as usize as u32;
    /// Longest look away: nobody's death can keep a note from us, so this is for the worst only.
    const RECHECK_NS: u64 = 1_000_000_000;
    loop {
        let mut newest_first = core::ptr::null_mut::<Call>();
        let entry = Entry::enter();
        if let Some(k) = entry.ctx(-1) {
            let found = notify::collect(&k, of, |how, cookie| {
                let call = cookie as *mut Call;
                if how == fate::FIRED {
                    // SAFETY: made by `Call::new`, and ours from here on.
                    unsafe { (*call).next = newest_first };
                    newest_first = call;
                } else {
                    Call::free(call);
                }
            });
            if let (false, Some(b)) = (found, notify::box_at(k.arena, of)) {
                Shim.wait(&b.head, 0, RECHECK_NS, Signals::Wait);
            }
        }
        let _ = entry.leave();
        let mut oldest_first = core::ptr::null_mut::<Call>();
        while !newest_first.is_null() {
            // SAFETY: an element of the list just made.
            let call = unsafe { &mut *newest_first };
            let next = core::mem::replace(&mut call.next, oldest_first);
            oldest_first = newest_first;
            newest_first = next;
        }
        while !oldest_first.is_null() {
            // SAFETY: as above.
            let next = unsafe { (*oldest_first).next };
            launch(oldest_first);
            oldest_first = next;
        }
    }
}

/// Calls the function in a thread of its own, with the attributes that were given.
fn launch(call: *mut Call) {
    let mut thread: pthread_t = 0;
    // SAFETY: made by `Call::new`, and ours until the thread has it.
    let own = unsafe { &*call };
    let attributes = match own.has_attributes {
        0 => core::ptr::null(),
        _ => &raw const own.attributes,
    };
    // SAFETY: a thread function, and its argument, which it frees.
    let ret = unsafe { libc::pthread_create(&raw mut thread, attributes, run, call.cast()) };
    if ret != 0 {
        Call::free(call); // there is nobody who could be told, as in libc
    }
}

extern "C" fn run(call: *mut c_void) -> *mut c_void {
    let call = call.cast::<Call>();
    // SAFETY: handed over by `launch`.
    let own = unsafe { &*call };
    let (function, value) = (own.function, own.value);
    // SAFETY: our own thread.
    let me = unsafe { libc::pthread_self() };
    // SAFETY: as above. (It fails if the attributes said so already.)
    unsafe { libc::pthread_detach(me) };
    Call::free(call);
    set_mask(&[0; 16], &mut [0; 16]);
    // SAFETY: the function that the program gave to mq_notify(3): `void (*)(union sigval)`.
    let function = unsafe { core::mem::transmute::<usize, extern "C" fn(u64)>(function) };
    function(value);
    core::ptr::null_mut()
}
