//! The two clocks of a log: records carry the time-stamp counter, people want nanoseconds.

use std::time::{Duration, SystemTime};

use ringer_kernel::arena::Header;
use std::sync::atomic::Ordering::Relaxed;

pub fn tsc() -> u64 {
    // SAFETY: every x86-64 has a time-stamp counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// CLOCK_MONOTONIC.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: room for one timespec; the clock exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Both clocks at one moment: of some readings, the one that took least time.
pub fn both() -> (u64, u64) {
    let readings = (0..8).map(|_| {
        let before = tsc();
        let ns = monotonic_ns();
        let after = tsc();
        (
            after.wrapping_sub(before),
            ns,
            before.wrapping_add(after.wrapping_sub(before) / 2),
        )
    });
    readings
        .min_by_key(|r| r.0)
        .map_or((0, 0), |(_, ns, tsc)| (ns, tsc))
}

/// Converts a session's ticks into nanoseconds since it began.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero_tsc: u64,
    zero_ns: u64,
    ns_per_tick: f64,
}

impl Clock {
    /// Shorter than this, the two readings are too close to tell the rate.
    const BASE_NS: u64 = 3_000_000;

    /// Measures the rate over the life of the session. Waits up to 3 ms if it is younger.
    pub fn of(header: &Header) -> Clock {
        let zero_tsc = header.created_tsc.load(Relaxed);
        let zero_ns = header.created_ns.load(Relaxed);
        let age = monotonic_ns().saturating_sub(zero_ns);
        if age < Clock::BASE_NS {
            std::thread::sleep(Duration::from_nanos(Clock::BASE_NS - age));
        }
        let (ns, tsc) = both();
        let ticks = tsc.saturating_sub(zero_tsc);
        let elapsed = ns.saturating_sub(zero_ns);
        // A header that makes no sense (a corrupted arena) must not make NaN.
        let sane = ticks > 0 && elapsed > 0;
        let ns_per_tick = if sane {
            elapsed as f64 / ticks as f64
        } else {
            1.0
        };
        Clock {
            zero_tsc,
            zero_ns,
            ns_per_tick,
        }
    }

    /// A clock of one tick a nanosecond, for tests.
    #[cfg(test)]
    pub fn nanoseconds() -> Clock {
        Clock {
            zero_tsc: 0,
            zero_ns: 0,
            ns_per_tick: 1.0,
        }
    }

    pub fn since_start(&self, tsc: u64) -> u64 {
        self.ns(tsc.saturating_sub(self.zero_tsc))
    }

    /// A length of time.
    pub fn ns(&self, ticks: u64) -> u64 {
        (ticks as f64 * self.ns_per_tick) as u64
    }

    pub fn ticks(&self, ns: u64) -> u64 {
        (ns as f64 / self.ns_per_tick) as u64
    }

    /// When the session began, by the calendar.
    pub fn started(&self) -> SystemTime {
        let age = monotonic_ns().saturating_sub(self.zero_ns);
        SystemTime::now()
            .checked_sub(Duration::from_nanos(age))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// `2025-11-21T23:43:05.123Z` (Howard Hinnant's days-to-civil).
pub fn iso_8601(at: SystemTime) -> String {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (secs, millis) = (since.as_secs(), since.subsec_millis());
    let (days, rest) = (secs / 86_400, secs % 86_400);
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (h, m, s) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_the_calendars() {
        let at = |s| iso_8601(SystemTime::UNIX_EPOCH + Duration::from_secs(s));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_763_768_585), "2025-11-21T23:43:05.000Z");
    }

    #[test]
    fn the_rate_is_measured() {
        let header = Header::zeroed();
        let (ns, tsc) = both();
        header.created_ns.store(ns, Relaxed);
        header.created_tsc.store(tsc, Relaxed);
        let clock = Clock::of(&header);
        let before = monotonic_ns() - ns;
        let elapsed = clock.since_start(super::tsc());
        let after = monotonic_ns() - ns;
        assert!(before >= Clock::BASE_NS, "{before}");
        let right = before - before / 100..=after + after / 100;
        assert!(right.contains(&elapsed), "{elapsed} is not in {right:?}");
        assert!(clock.ticks(clock.ns(1_000_000)).abs_diff(1_000_000) < 1000);
    }

    #[test]
    fn a_header_of_nonsense_gives_a_clock_all_the_same() {
        let header = Header::zeroed();
        header.created_tsc.store(u64::MAX, Relaxed);
        header.created_ns.store(u64::MAX, Relaxed);
        assert_eq!(Clock::of(&header).since_start(5), 0);
    }
}
