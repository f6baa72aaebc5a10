//! The 64-bit counter. See eventfd(2); Linux v6.18 fs/eventfd.c.
//!
//! Pure transitions: nothing here blocks, wakes, copies user memory or logs.

use crate::abi::Errno;
use crate::planted::{planted, Bug};

/// eventfd(2): "The maximum value that may be stored in the counter is the largest unsigned 64-bit
/// value minus 1".
pub const MAX: u64 = u64::MAX - 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Counter,
    /// EFD_SEMAPHORE.
    Semaphore,
}

/// What a read takes of `count`, if it does not have to wait.
#[inline(always)]
pub fn take(count: u64, mode: Mode) -> Option<u64> {
    match (count, mode) {
        (0, _) => None,
        (n, Mode::Semaphore) if planted(Bug::EventfdSemaphoreGivesAll) => Some(n),
        (_, Mode::Semaphore) => Some(1),
        (n, Mode::Counter) => Some(n),
    }
}

/// `count` after a write of `add`, if there is room for it.
#[inline(always)]
pub fn add(count: u64, add: u64) -> Option<u64> {
    let most = MAX - u64::from(planted(Bug::EventfdMaximumOneOff));
    count.checked_add(add).filter(|&sum| sum <= most)
}

/// "A write(2) fails with the error EINVAL if ... an attempt is made to write the value
/// 0xffffffffffffffff", before anything else is looked at.
#[inline(always)]
pub fn check(add: u64) -> Result<(), Errno> {
    match add {
        u64::MAX if !planted(Bug::EventfdTakesTheReserved) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_read_takes_everything_or_one() {
        assert_eq!(take(0, Mode::Counter), None);
        assert_eq!(take(0, Mode::Semaphore), None);
        assert_eq!(take(7, Mode::Counter), Some(7));
        assert_eq!(take(7, Mode::Semaphore), Some(1));
        assert_eq!(take(MAX, Mode::Counter), Some(MAX));
    }

    #[test]
    fn a_write_fits_up_to_the_maximum() {
        assert_eq!(add(0, MAX), Some(MAX));
        assert_eq!(add(1, MAX), None);
        assert_eq!(add(MAX, 0), Some(MAX));
        assert_eq!(add(MAX, 1), None);
        assert_eq!(add(MAX - 1, 1), Some(MAX));
        assert_eq!(check(u64::MAX), Err(Errno::EINVAL));
        assert_eq!(check(MAX), Ok(()));
    }
}
