//! Waiting for signals: sigsuspend(2), sigtimedwait(2). What the inbox has is taken from there;
//! else the inbox is shut, and the kernel waits, as always.

use ringer_kernel::signal::Taken;

use crate::gate::sys;
use crate::host;
use crate::inbox;
use crate::tls::Tls;
use crate::{blocked, frame, siglog, signal};

use ringer_kernel::host::Host;
use ringer_kernel::sync::wait_queue::Processors;

/// How long sigsuspend(2) looks for a signal from another processor before it sleeps, in ticks of
/// the time-stamp counter: about what a sleep and its end cost.
const SPIN_TICKS: u64 = 40_000;

/// sigsuspend(2), if what ends it comes without the kernel. `None`: by the kernel; `shut` says
/// whether the inbox is to be opened again afterwards.
///
/// - a signal that is pending and not in `mask` is delivered, with `mask` in force; then the
///   mask is what it was. [sigsuspend(2)]
pub fn sigsuspend(tls: &Tls, mask: u64) -> Result<isize, bool> {
    inbox::gains(tls);
    if !inbox::is_open(tls) {
        return Err(false);
    }
    let mask = mask & !signal::UNBLOCKABLE;
    while (inbox::pending(tls) & !mask != 0 || spin(tls, mask)) && !kernel_has_one(tls, mask) {
        if (inbox::pending(tls) & !mask).count_ones() > 1 {
            break; // the kernel pushes a frame for each
        }
        let Some(mut taken) = inbox::take(tls, !mask).filter(|_| inbox::is_in_hand(tls)) else {
            continue;
        };
        if inbox::is_ignored(taken.sig) {
            continue; // it wakes nobody
        }
        let a = signal::action(taken.sig as usize);
        if !frame::is_simple(tls, taken.sig, &a) {
            // It is blocked, so it is pending in the kernel until sigsuspend lets it in.
            blocked::settle(tls);
            blocked::resend(taken.sig, &raw const taken.info, taken.private);
            break;
        }
        // (Its own number stays blocked all the while: one that has just come does not overtake it.)
        let masks = (blocked::mask(tls), mask);
        let (sig, cause) = (taken.sig, taken.cause);
        frame::deliver_over(tls, sig, &mut taken.info, &a, cause, masks);
        inbox::deliver(tls);
        return Ok(-(libc::EINTR as isize));
    }
    Err(inbox::hand_over(tls))
}

/// Whether the kernel, too, has what `mask` lets in: then it delivers them all, in its order.
fn kernel_has_one(tls: &Tls, mask: u64) -> bool {
    let really = blocked::real(tls) & !mask;
    let mut pending = 0u64;
    if really != 0 {
        sys!(libc::SYS_rt_sigpending, &raw mut pending, 8);
    }
    pending & really != 0
}

/// Whether something came.
fn spin(tls: &Tls, mask: u64) -> bool {
    use crate::host::Shim;
    if Shim.processors() != Processors::Many || !spinning_pays(tls) {
        return false;
    }
    let named = blocked::real(tls);
    let start = host::tsc();
    let mut came = false;
    while host::tsc().wrapping_sub(start) < SPIN_TICKS {
        if inbox::pending(tls) & !mask != 0 {
            came = true;
            break;
        }
        if blocked::real(tls) != named {
            break; // one came from outside, and is pending in the kernel now
        }
        core::hint::spin_loop();
    }
    paid(tls, came);
    came
}

/// Spinning in vain is given up for a while: 0 to 8, the higher the less it pays.
fn spinning_pays(tls: &Tls) -> bool {
    let rounds = tls.spin_skip.get();
    if rounds > 0 {
        tls.spin_skip.set(rounds - 1);
        return false;
    }
    true
}

fn paid(tls: &Tls, came: bool) {
    let misses = if came {
        0
    } else {
        (tls.spin_misses.get() + 1).min(5)
    };
    tls.spin_misses.set(misses);
    tls.spin_skip.set(if came { 0 } else { (1 << misses) - 1 });
}

/// sigtimedwait(2), if one of `set` is there. `None`: the kernel is to wait.
pub fn sigtimedwait(tls: &Tls, set: u64) -> Option<Taken> {
    inbox::gains(tls);
    if !inbox::is_open(tls) {
        return None;
    }
    if inbox::kernel_is_first(tls, set) {
        return None;
    }
    let taken = inbox::take(tls, set).filter(|_| inbox::is_in_hand(tls))?;
    siglog::accepted(&taken);
    Some(taken)
}
