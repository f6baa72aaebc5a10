//! POSIX semaphores.

use super::super::calls_sem::{NAMES, UNNAMED};
use super::super::program::{Call, SemWay};
use super::{Kind, Maker};

/// SEM_VALUE_MAX, and one more.
const VALUES: [u32; 8] = [0, 0, 1, 1, 3, i32::MAX as u32 - 1, i32::MAX as u32, 1 << 31];

impl Maker<'_> {
    pub(super) fn make_sem(&mut self, who: usize) {
        // One that somebody may wait for is not made anew.
        let is_alone = !self.waits || !self.there[1];
        let value = self.random.pick(&VALUES);
        let call = if is_alone && self.random.rarely(3) {
            Call::SemInit {
                sem: self.random.below(UNNAMED) as u8,
                shared: !self.random.rarely(4),
                value,
            }
        } else {
            Call::SemOpen {
                to: self.put(who, Kind::PosixSem),
                name: self.sem_name(),
                flags: self.random.pick(&[
                    libc::O_CREAT,
                    libc::O_CREAT,
                    libc::O_CREAT | libc::O_EXCL,
                    0,
                ]),
                value,
            }
        };
        self.push(who, call);
    }

    fn sem_name(&mut self) -> u8 {
        match self.random.below(3) {
            0 => self.random.below(usize::from(NAMES)) as u8,
            _ => self.random.below(2) as u8,
        }
    }

    pub(super) fn sem(&mut self, who: usize) {
        let sem = match self.random.rarely(3) {
            true => self.random.below(UNNAMED) as u8,
            false => self.reg(who, &[Kind::PosixSem]),
        };
        let call = match self.random.below(12) {
            0..=4 => Call::SemPost { sem },
            5..=9 => {
                let way = match self.may_wait() {
                    true => SemWay::Wait,
                    false => self.random.pick(&[
                        SemWay::Try,
                        SemWay::Try,
                        SemWay::Past,
                        SemWay::BadTime,
                        SemWay::BadClock,
                    ]),
                };
                Call::SemWait { sem, way }
            }
            10 => Call::SemValue { sem },
            _ if self.random.rarely(2) => Call::SemClose { sem },
            _ => Call::SemUnlink {
                name: self.sem_name(),
            },
        };
        self.push(who, call);
    }
}
