//! Signals of an actor: its handler, and calls that take sets.

use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, Ordering::*};

use super::page::Page;
use super::program::{Call, Ran, What};

static PAGE: AtomicPtr<Page> = AtomicPtr::new(std::ptr::null_mut());
thread_local! {
    /// Without a destructor: a handler may look.
    static ME: Cell<u8> = const { Cell::new(0) };
}

pub fn write_to(page: &'static Page) {
    PAGE.store(std::ptr::from_ref(page).cast_mut(), Release);
}

pub fn i_am(me: u8) {
    ME.set(me);
}

pub fn errno() -> i32 {
    // SAFETY: this thread's own.
    unsafe { *libc::__errno_location() }
}

pub fn clear_errno() {
    // SAFETY: this thread's own.
    unsafe { *libc::__errno_location() = 0 };
}

pub fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: plain data; zeros are the empty set.
    let mut set = unsafe { std::mem::zeroed() };
    for signal in signals {
        // SAFETY: a valid set.
        unsafe { libc::sigaddset(&mut set, *signal) };
    }
    set
}

/// Signal n is bit n-1.
pub fn bits(set: &libc::sigset_t) -> u64 {
    let has = |signal: &i32| {
        // SAFETY: a valid set.
        unsafe { libc::sigismember(set, *signal) == 1 }
    };
    (1..=64)
        .filter(has)
        .fold(0, |bits, signal| bits | 1 << (signal - 1))
}

extern "C" fn handler(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let before = errno();
    // SAFETY: a page that is never unmapped.
    let Some(page) = (unsafe { PAGE.load(Acquire).as_ref() }) else {
        return;
    };
    // SAFETY: plain data; zeros are valid.
    let mut blocked: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: room for a set.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), &mut blocked) };
    // SAFETY: the siginfo that a handler is given.
    let (code, value, from) = unsafe { story(page, &*info) };
    page.handler(&Ran {
        step: 0,
        who: ME.get(),
        signal,
        code,
        value,
        from,
        blocked: bits(&blocked),
    });
    // SAFETY: this thread's own.
    unsafe { *libc::__errno_location() = before };
}

/// Code, value and sender.
///
/// # Safety
///
/// It came from kill, sigqueue, raise, or the kernel's own SIGPIPE.
unsafe fn story(page: &Page, info: &libc::siginfo_t) -> (i32, i32, u8) {
    // SAFETY: as the caller promised.
    let from = page.actor(unsafe { info.si_pid() });
    let value = if matches!(info.si_code, libc::SI_QUEUE | libc::SI_MESGQ) {
        // SAFETY: it has one.
        unsafe { info.si_value() }.sival_ptr as usize as i32
    } else {
        0
    };
    (info.si_code, value, from)
}

pub fn call(page: &Page, call: &Call, out: &mut Vec<u8>) -> i64 {
    // SAFETY: plain data; zeros are valid.
    let mut old: libc::sigset_t = unsafe { std::mem::zeroed() };
    let ret = match call {
        Call::Action {
            signal,
            what,
            flags,
            mask,
        } => return action(*signal, *what, *flags, mask, out),
        Call::Mask { how, set } => {
            // SAFETY: two sets.
            unsafe { libc::sigprocmask(*how, &set_of(set), &mut old) }
        }
        Call::Pending => {
            // SAFETY: room for a set.
            unsafe { libc::sigpending(&mut old) }
        }
        Call::Suspend { set } => {
            // SAFETY: a whole set.
            return unsafe { libc::sigsuspend(&set_of(set)).into() };
        }
        Call::Take { set, waits } => {
            // SAFETY: plain data; zeros are valid.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            let now = libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let ret = match waits {
                // SAFETY: a set, room for a siginfo.
                true => unsafe { libc::sigwaitinfo(&set_of(set), &mut info) },
                // SAFETY: a set, room for a siginfo, a time.
                false => unsafe { libc::sigtimedwait(&set_of(set), &mut info, &now) },
            };
            if ret > 0 {
                // SAFETY: of a signal that was sent.
                let (code, value, from) = unsafe { story(page, &info) };
                out.extend([code as u8, value as u8, from]);
            }
            return ret.into();
        }
        _ => -1,
    };
    if ret == 0 {
        out.extend(bits(&old).to_le_bytes());
    }
    ret.into()
}

fn action(signal: i32, what: What, flags: i32, mask: &[i32], out: &mut Vec<u8>) -> i64 {
    // SAFETY: plain data; zeros are valid.
    let [mut new, mut old]: [libc::sigaction; 2] = unsafe { std::mem::zeroed() };
    let ours = handler as *const () as usize;
    new.sa_sigaction = match what {
        What::Default => libc::SIG_DFL,
        What::Ignore => libc::SIG_IGN,
        What::Handler => ours,
    };
    new.sa_flags = flags | libc::SA_SIGINFO;
    new.sa_mask = set_of(mask);
    // SAFETY: two whole actions; the handler touches atomics only.
    let ret = unsafe { libc::sigaction(signal, &new, &mut old) };
    if ret == 0 {
        let was = if old.sa_sigaction == ours {
            2
        } else {
            old.sa_sigaction as u8
        };
        out.push(was);
        out.extend(old.sa_flags.to_le_bytes());
        out.extend(bits(&old.sa_mask).to_le_bytes());
    }
    ret.into()
}
