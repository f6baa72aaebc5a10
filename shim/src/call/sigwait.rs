//! Waiting for signals: sigsuspend(2), sigtimedwait(2). What the inbox has is taken from there;
//! else the inbox is shut, and the kernel waits, as always.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

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

/// How long now and then: two who sleep in turn wake each other much later than that, where an idle processor sleeps deeply. Who
/// waits for the other's awakening finds it awake from then on.
const LONG_TICKS: u64 = 600_000;

/// When a thread of this process last began to spin so long without knowing that it pays: seldom enough to cost 3 % where it never does.
static LAST_LONG: AtomicU64 = AtomicU64::new(0);
const SELDOM: u64 = 32 * LONG_TICKS;

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
    if Shim.processors() != Processors::Many {
        return false;
    }
    let start = host::tsc();
    let mut paid = Paid::of(tls);
    let is_time = start.wrapping_sub(LAST_LONG.load(Relaxed)) > SELDOM;
    let Some(budget) = paid.budget(is_time) else {
        paid.keep(tls);
        return false;
    };
    if budget == LONG_TICKS && paid.late == 0 {
        LAST_LONG.store(start, Relaxed);
    }
    let named = blocked::real(tls);
    let passed = || host::tsc().wrapping_sub(start);
    let mut came = None;
    while passed() < budget {
        if inbox::pending(tls) & !mask != 0 {
            came = Some(passed());
            break;
        }
        if blocked::real(tls) != named {
            break; // one came from outside, and is pending in the kernel now
        }
        core::hint::spin_loop();
    }
    paid.learn(came);
    paid.keep(tls);
    came.is_some()
}

/// What spinning has been worth to a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Paid {
    /// In vain, one after the other: 0 to [`Paid::MOST`].
    misses: u32,
    /// Came in time, but not soon, one after the other: so many at the most.
    late: u32,
    /// Waits without spinning that are left.
    skip: u32,
}

impl Paid {
    const MOST: u32 = 5;
    const LATE: u32 = 64;

    fn of(tls: &Tls) -> Paid {
        let misses = tls.spin_misses.get();
        Paid {
            misses: misses & 0xff,
            late: misses >> 8,
            skip: tls.spin_skip.get(),
        }
    }

    fn keep(self, tls: &Tls) {
        tls.spin_misses.set(self.late << 8 | self.misses);
        tls.spin_skip.set(self.skip);
    }

    /// Ticks to spin. `None`: this time it does not pay. `is_time`: it may be tried for long once more.
    fn budget(&mut self, is_time: bool) -> Option<u64> {
        match self.skip.checked_sub(1) {
            Some(left) => {
                self.skip = left;
                None
            }
            None if self.late > 0 => Some(LONG_TICKS),
            None if self.misses == Paid::MOST && is_time => Some(LONG_TICKS),
            None => Some(SPIN_TICKS),
        }
    }

    /// A signal came after so many ticks, or not.
    fn learn(&mut self, came: Option<u64>) {
        let late = match came {
            Some(ticks) if ticks <= SPIN_TICKS => {
                *self = Paid {
                    misses: 0,
                    late: 0,
                    skip: 0,
                };
                return;
            }
            Some(_) if self.late < Paid::LATE => self.late + 1,
            _ => 0,
        };
        self.late = late;
        if late == 0 {
            self.misses = (self.misses + 1).min(Paid::MOST);
            self.skip = (1 << self.misses) - 1;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Paid = Paid {
        misses: 0,
        late: 0,
        skip: 0,
    };

    /// The next budget, after the waits in which it does not pay, and how many those were.
    fn next(paid: &mut Paid) -> (u32, u64) {
        let mut skipped = 0;
        loop {
            match paid.budget(true) {
                Some(ticks) => return (skipped, ticks),
                None => skipped += 1,
            }
        }
    }

    #[test]
    fn in_vain_it_is_tried_less_and_less_often_and_then_for_long() {
        let mut paid = NEW;
        let short = |n| (n, SPIN_TICKS);
        let long = (31, LONG_TICKS);
        for expected in [
            short(0),
            short(1),
            short(3),
            short(7),
            short(15),
            long,
            long,
        ] {
            assert_eq!(next(&mut paid), expected);
            paid.learn(None);
        }
    }

    #[test]
    fn for_long_only_when_it_is_time() {
        let mut paid = Paid { misses: 5, ..NEW };
        assert_eq!(paid.budget(false), Some(SPIN_TICKS));
        paid.late = 1;
        assert_eq!(paid.budget(false), Some(LONG_TICKS), "it is known to pay");
    }

    #[test]
    fn who_is_late_is_waited_for_so_many_times() {
        let mut paid = Paid { misses: 5, ..NEW };
        for _ in 0..Paid::LATE {
            assert_eq!(next(&mut paid), (0, LONG_TICKS));
            paid.learn(Some(SPIN_TICKS + 1));
        }
        assert_eq!(next(&mut paid), (0, LONG_TICKS));
        paid.learn(Some(SPIN_TICKS + 1));
        assert_eq!(next(&mut paid).0, 31);
    }

    #[test]
    fn who_comes_soon_is_looked_for_each_time() {
        let mut paid = Paid {
            misses: 5,
            late: 9,
            skip: 0,
        };
        paid.learn(Some(1));
        assert_eq!((paid, next(&mut paid)), (NEW, (0, SPIN_TICKS)));
    }
}
