//! Calls that look at pending signals or consume them, or that have a mask of their own. Only the
//! kernel knows how they go, so for their duration it has the truth about the forced signals: what
//! the program blocks is really blocked, and what was kept (pending.rs) is really pending.
//!
//! The thread is in the gate all the while: a forced signal that is blocked would kill the process
//! for a system call elsewhere, or for a fault. A handler that runs meanwhile is the program's, so
//! for its duration all is as usual.

use core::sync::atomic::{AtomicU64, Ordering::*};

use super::mask;
use crate::arm::FORCED;
use crate::gate;
use crate::pending;
use crate::tls::{Siginfo, Tls};
use crate::{blockers, inbox, user};

/// Forced signals for which this process has ever made a signalfd.
static SIGNALFD: AtomicU64 = AtomicU64::new(0);

/// Whether this thread's calls may be about a signalfd for a signal that it blocks.
#[inline(always)]
pub fn is_watched(tls: &Tls) -> bool {
    tls.masked.get() & SIGNALFD.load(Relaxed) != 0
}

/// signalfd(2) was called, armed or not, with this mask.
pub fn signalfd(mask: usize, ret: isize) {
    if ret >= 0 {
        let mask = mask::user_u64(mask).unwrap_or(0);
        super::signalfd::made(ret as i32, mask);
        SIGNALFD.fetch_or(mask & FORCED, Relaxed);
    }
}

/// What a call wants.
struct Truth {
    /// The forced signals in its own mask, if it has one.
    during: Option<u64>,
    /// Which of those that are blocked it would consume, or be woken by.
    waiting: u64,
}

/// The pointer to a mask, and how much of it the kernel is told to read.
fn own_mask(tls: &Tls, at: usize, size: usize) -> Option<Truth> {
    if at == 0 {
        return watched(tls);
    }
    if size != 8 {
        return None; // EINVAL
    }
    let during = user::fetch::<u64>(at)? & FORCED;
    let watching = (is_watched(tls)).then(|| SIGNALFD.load(Relaxed));
    (during | tls.masked.get() != 0).then_some(Truth {
        during: Some(during),
        waiting: watching.unwrap_or(0) & during,
    })
}

fn watched(tls: &Tls) -> Option<Truth> {
    is_watched(tls).then(|| Truth {
        during: None,
        waiting: tls.masked.get() & SIGNALFD.load(Relaxed),
    })
}

fn wanted(tls: &Tls, nr: i64, args: [usize; 6]) -> Option<Truth> {
    let [a, b, _, d, e, f] = args;
    match nr {
        libc::SYS_rt_sigtimedwait => {
            let waiting = user::fetch::<u64>(a)? & tls.masked.get();
            (waiting != 0 && d == 8).then_some(Truth {
                during: None,
                waiting,
            })
        }
        libc::SYS_rt_sigsuspend => own_mask(tls, a, b).filter(|_| a != 0),
        libc::SYS_ppoll => own_mask(tls, d, e),
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => own_mask(tls, e, f),
        libc::SYS_pselect6 => {
            let [at, size] = match f {
                0 => [0, 0],
                f => user::fetch::<[usize; 2]>(f)?,
            };
            own_mask(tls, at, size)
        }
        libc::SYS_read
        | libc::SYS_readv
        | libc::SYS_poll
        | libc::SYS_select
        | libc::SYS_epoll_wait => watched(tls),
        _ => None,
    }
}

/// Calls in which the kernel looks at what is pending.
fn is_about_signals(nr: i64) -> bool {
    matches!(
        nr,
        libc::SYS_rt_sigpending
            | libc::SYS_rt_sigtimedwait
            | libc::SYS_rt_sigsuspend
            | libc::SYS_ppoll
            | libc::SYS_pselect6
            | libc::SYS_epoll_pwait
            | libc::SYS_epoll_pwait2
    )
}

/// Whether the kernel may serve a call without anything being done for it here.
pub fn is_plain(tls: &Tls, nr: i64, args: [usize; 6]) -> bool {
    let looks = nr == libc::SYS_rt_sigpending || is_about_signals(nr) && inbox::is_open(tls);
    !looks && wanted(tls, nr, args).is_none()
}

/// A trapped call that the kernel serves, outside the shim. (Nothing is blocked by name only.)
pub fn call(tls: &Tls, nr: i64, args: [usize; 6]) -> isize {
    if is_about_signals(nr) && inbox::hand_over(tls) {
        let ret = by_kernel(tls, nr, args);
        inbox::reopen(tls);
        return ret;
    }
    by_kernel(tls, nr, args)
}

fn by_kernel(tls: &Tls, nr: i64, args: [usize; 6]) -> isize {
    if nr == libc::SYS_rt_sigpending {
        return sigpending(tls, args);
    }
    let Some(truth) = wanted(tls, nr, args) else {
        // SAFETY: the arguments are the caller's own.
        return unsafe { gate::syscall6(nr, args) };
    };
    let masked = tls.masked.get();
    tls.truth_masked.set(masked);
    tls.truth_waiting.set(truth.waiting);
    begin(tls, masked);
    if let Some(during) = truth.during {
        blockers::set_masked(tls, during);
        blockers::set_waiting(tls, truth.waiting);
    }
    // SAFETY: the arguments are the caller's own.
    let ret = unsafe { gate::syscall6(nr, args) };
    tls.truth.set(0);
    if truth.during.is_some() {
        // A handler has already gone back to it, by its frame's mask; or none ran.
        blockers::set_masked(tls, tls.truth_masked.get());
    } else {
        blockers::set_waiting(tls, 0);
    }
    // What is still pending comes to be kept.
    pending::unblock();
    passed_on(nr, args, ret);
    if pending::due(tls) != 0 {
        pending::send_at_return(tls);
    }
    ret
}

fn begin(tls: &Tls, masked: u64) {
    tls.truth.set(1);
    pending::block(masked);
    blockers::set_waiting(tls, tls.truth_waiting.get());
    // After others can see that this thread waits.
    pending::send(tls, masked);
}

/// A handler is about to run.
pub fn suspend(tls: &Tls) -> Suspended {
    let on = tls.truth.replace(0) != 0;
    if on {
        blockers::set_waiting(tls, 0);
        pending::unblock();
    }
    Suspended { on }
}

#[must_use]
pub struct Suspended {
    on: bool,
}

impl Suspended {
    /// The program's view of the forced signals after the handler.
    pub fn after(&self, tls: &Tls) -> u64 {
        if self.on {
            tls.truth_masked.get()
        } else {
            tls.masked.get()
        }
    }

    /// The handler is over, and the call ends, or goes on in the kernel.
    /// (`stacked`: not yet; the frame below is of the same call, and has the mask from before it.)
    pub fn resume(self, tls: &Tls, stacked: bool) {
        if self.on {
            if !stacked {
                tls.truth_masked.set(tls.masked.get());
            }
            begin(tls, tls.masked.get());
        }
    }
}

/// rt_sigpending(2): the kernel's, and what is kept.
fn sigpending(tls: &Tls, args: [usize; 6]) -> isize {
    let [to, size, ..] = args;
    let mut set = [0u8; 8];
    let Some(part) = set.get_mut(..size) else {
        return -(libc::EINVAL as isize);
    };
    let at = part.as_mut_ptr();
    let ret = gate::sys!(libc::SYS_rt_sigpending, at, size);
    if ret < 0 {
        return ret;
    }
    let kept = (pending::bits(tls) & tls.masked.get()).to_ne_bytes();
    for (to, from) in part.iter_mut().zip(kept) {
        *to |= from;
    }
    if !user::access_ok(to, size) || !gate::copy(to as *mut u8, at, size) {
        return -(libc::EFAULT as isize);
    }
    ret
}

/// A signal that came by another thread bears its mark.
fn passed_on(nr: i64, args: [usize; 6], ret: isize) {
    let [_, at, ..] = args;
    if ret <= 0 || at == 0 {
        return;
    }
    match nr {
        libc::SYS_rt_sigtimedwait => {
            if let Some(mut info) = user::fetch::<Siginfo>(at) {
                if pending::restore_info(&mut info) {
                    user::put(at, &info);
                }
            }
        }
        // struct signalfd_siginfo: 4 signo, 4 errno, 4 code, 128 in all.
        libc::SYS_read if (ret as usize).is_multiple_of(128) => {
            for record in (0..ret as usize / 128).map(|i| at.wrapping_add(i * 128)) {
                let Some([_, mut errno, code]) = user::fetch::<[u32; 3]>(record) else {
                    break;
                };
                let mut code = code as i32;
                if pending::restore(&mut errno, &mut code) {
                    user::put(record + 4, &[errno, code as u32]);
                }
            }
        }
        _ => {}
    }
}
