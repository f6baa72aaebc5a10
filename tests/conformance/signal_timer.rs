//! Timers: alarm(2), setitimer(2), timer_create(2).

use libc::{SIGPROF, SIGVTALRM, SI_TIMER};
use ringer_support::check;
use ringer_support::prelude::*;
use sig::{bit, RTMIN};
use std::ptr::null_mut;

/// `si_code` of what the kernel sends by itself.
const SI_KERNEL: c_int = 0x80;

fn itimer(which: c_int, first: i64, every: i64) -> libc::itimerval {
    let time = |us: i64| libc::timeval {
        tv_sec: us / 1_000_000,
        tv_usec: us % 1_000_000,
    };
    let new = libc::itimerval {
        it_interval: time(every),
        it_value: time(first),
    };
    let mut old = new;
    // SAFETY: valid timers.
    check(unsafe { libc::setitimer(which as _, &new, &mut old) }).unwrap();
    old
}

struct Timer(libc::timer_t);

/// timer_create(2); `tune` edits the event.
fn timer(number: c_int, value: u64, tune: impl FnOnce(&mut libc::sigevent)) -> Timer {
    // SAFETY: zeroes are a valid event.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = number;
    event.sigev_value.sival_ptr = value as *mut c_void;
    tune(&mut event);
    let mut id = null_mut();
    // SAFETY: a valid event, and room.
    check(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut id) }).unwrap();
    Timer(id)
}

impl Timer {
    fn set(&self, first_us: i64, every_us: i64) {
        let time = |us: i64| libc::timespec {
            tv_sec: us / 1_000_000,
            tv_nsec: us % 1_000_000 * 1000,
        };
        let new = libc::itimerspec {
            it_interval: time(every_us),
            it_value: time(first_us),
        };
        // SAFETY: a timer of ours.
        check(unsafe { libc::timer_settime(self.0, 0, &new, null_mut()) }).unwrap();
    }

    fn overrun(&self) -> c_int {
        // SAFETY: a timer of ours.
        unsafe { libc::timer_getoverrun(self.0) }
    }

    fn delete(self) {
        // SAFETY: a timer of ours.
        check(unsafe { libc::timer_delete(self.0) }).unwrap();
    }
}

fn spin_until(mut true_now: impl FnMut() -> bool) {
    while !true_now() {
        std::hint::spin_loop();
    }
}

cases!(alarm_and_setitimer, {
    "each kind has its signal" => {
        let kinds = [
            (libc::ITIMER_REAL as c_int, SIGALRM),
            (libc::ITIMER_VIRTUAL as c_int, SIGVTALRM),
            (libc::ITIMER_PROF as c_int, SIGPROF),
        ];
        for (which, number) in kinds {
            journal::start();
            journal::on(number, 0);
            itimer(which, 2000, 0);
            spin_until(|| journal::count() > 0);
            let e = journal::only();
            assert_eq!((e.number, e.code, e.pid()), (number, SI_KERNEL, 0));
        }
    }
    "again and again" => {
        journal::on(SIGALRM, 0);
        itimer(libc::ITIMER_REAL as c_int, 500, 500);
        spin_until(|| journal::count() >= 50);
        itimer(libc::ITIMER_REAL as c_int, 0, 0);
        sig::block(bit(SIGALRM));
        let n = journal::count();
        sig::unblock(bit(SIGALRM));
        assert!(journal::count() - n <= 1);
    }
    "what is blocked coalesces" => {
        journal::on(SIGALRM, 0);
        sig::block(bit(SIGALRM));
        itimer(libc::ITIMER_REAL as c_int, 200, 200);
        wait_until(|| sig::pending() == bit(SIGALRM));
        pause(std::time::Duration::from_millis(3));
        itimer(libc::ITIMER_REAL as c_int, 0, 0);
        sig::unblock(bit(SIGALRM));
        assert_eq!(journal::count(), 1);
    }
    "the old timer comes back" => {
        assert_eq!(itimer(libc::ITIMER_REAL as c_int, 9_000_000_000, 7).it_value.tv_sec, 0);
        let old = itimer(libc::ITIMER_REAL as c_int, 0, 0);
        assert!((8000..=9000).contains(&old.it_value.tv_sec));
        assert_eq!(old.it_interval.tv_usec, 7);
    }
    "alarm gives back the seconds of the last one, and 0 stops it" => {
        // SAFETY: numbers.
        unsafe {
            assert_eq!(libc::alarm(9000), 0);
            assert!((8900..=9000).contains(&libc::alarm(50)));
            assert!((1..=50).contains(&libc::alarm(0)));
            assert_eq!(libc::alarm(0), 0);
        }
    }
    "by default it kills" => {
        let child = fork_run(|| {
            itimer(libc::ITIMER_REAL as c_int, 1000, 0);
            loop {
                let _ = sig::pause();
            }
        });
        assert_eq!(child.wait().signal(), Some(SIGALRM));
    }
    "a child has none" => {
        itimer(libc::ITIMER_REAL as c_int, 9_000_000_000, 0);
        // SAFETY: a number.
        fork_run(|| assert_eq!(unsafe { libc::alarm(0) }, 0)).succeeds();
        // SAFETY: a number.
        assert_ne!(unsafe { libc::alarm(0) }, 0);
    }
    "any thread may get it" => {
        journal::on(SIGALRM, 0);
        let s = Shared::new();
        let thread = std::thread::spawn(move || {
            s.set(0, gettid() as u64);
            s.wait_for(1, 1);
        });
        s.wait_for(0, 1);
        sig::block(bit(SIGALRM));
        itimer(libc::ITIMER_REAL as c_int, 1000, 0);
        journal::wait_for(1);
        assert_eq!(journal::only().tid, s.get(0) as i32);
        s.set(1, 1);
        thread.join().unwrap();
    }
    "it is the kernel's word in a handler that interrupts work" => {
        journal::on(SIGALRM, SA_RESTART);
        signal::alarm_every(300);
        let mut sum = 0u64;
        let mut rounds = 0u64;
        while journal::count() < 200 {
            sum = sum.wrapping_add(rounds);
            rounds += 1;
        }
        assert_eq!(sum, rounds.wrapping_mul(rounds - 1) / 2);
    }
});

cases!(posix_timers, {
    "signal, value and code" => {
        for number in [SIGUSR1, RTMIN, SIGALRM] {
            journal::start();
            journal::on(number, 0);
            let t = timer(number, 0xabcd_ef01_2345, |_| {});
            t.set(1000, 0);
            spin_until(|| journal::count() > 0);
            let e = journal::only();
            assert_eq!((e.number, e.code, e.value()), (number, SI_TIMER, 0xabcd_ef01_2345));
            assert_eq!((e.payload[0] >> 32) as i32, 0, "si_overrun");
            t.delete();
        }
    }
    "the signal of a timer is SIGALRM if nothing is said" => {
        journal::on(SIGALRM, 0);
        let mut id = null_mut();
        // SAFETY: room for an identifier.
        check(unsafe { libc::timer_create(libc::CLOCK_REALTIME, null_mut(), &mut id) }).unwrap();
        Timer(id).set(1000, 0);
        spin_until(|| journal::count() > 0);
        assert_eq!(journal::only().code, SI_TIMER);
    }
    "one signal is pending of each, and the others are counted" => {
        journal::on(RTMIN, 0);
        sig::block(bit(RTMIN));
        let t = timer(RTMIN, 1, |_| {});
        t.set(100, 100);
        wait_until(|| sig::pending() == bit(RTMIN));
        pause(std::time::Duration::from_millis(5));
        let info = sig::poll_info(bit(RTMIN)).unwrap();
        assert_eq!((info.code, info.value()), (SI_TIMER, 1));
        let overrun = (info.payload[0] >> 32) as i32;
        assert!(overrun > 0, "{overrun}");
        assert_eq!(t.overrun(), overrun);
        t.delete();
    }
    "two timers have two signals, also of one number" => {
        journal::on(RTMIN, 0);
        sig::block(bit(RTMIN));
        let (a, b) = (timer(RTMIN, 1, |_| {}), timer(RTMIN, 2, |_| {}));
        a.set(1000, 0);
        wait_until(|| sig::pending() == bit(RTMIN));
        b.set(1000, 0);
        pause(std::time::Duration::from_millis(20));
        sig::unblock(bit(RTMIN));
        journal::wait_for(2);
        let mut values: Vec<u64> = journal::events().iter().map(|e| e.value()).collect();
        values.sort_unstable();
        assert_eq!(values, [1, 2]);
        a.delete();
        b.delete();
    }
    "for one thread" => {
        journal::on(RTMIN, 0);
        let s = Shared::new();
        let thread = std::thread::spawn(move || {
            s.set(0, gettid() as u64);
            s.wait_for(1, 1);
        });
        s.wait_for(0, 1);
        let t = timer(RTMIN, 5, |event| {
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_notify_thread_id = s.get(0) as i32;
        });
        t.set(500, 500);
        journal::wait_for(10);
        t.delete();
        assert!(journal::events().iter().all(|e| e.tid == s.get(0) as i32));
        s.set(1, 1);
        thread.join().unwrap();
    }
    "without a signal" => {
        let t = timer(RTMIN, 0, |event| event.sigev_notify = libc::SIGEV_NONE);
        t.set(500, 0);
        pause(std::time::Duration::from_millis(3));
        t.delete();
    }
    "ignored, then handled" => {
        sig::ignore(RTMIN);
        let t = timer(RTMIN, 3, |_| {});
        t.set(300, 300);
        pause(std::time::Duration::from_millis(3));
        journal::on(RTMIN, 0);
        journal::wait_for(5);
        assert!(journal::events().iter().all(|e| e.value() == 3));
        t.delete();
    }
    "by sigwaitinfo, each period" => {
        sig::block(bit(RTMIN));
        let t = timer(RTMIN, 9, |_| {});
        t.set(1000, 1000);
        for _ in 0..20 {
            let info = sig::wait_info(bit(RTMIN), None).unwrap();
            assert_eq!((info.code, info.value()), (SI_TIMER, 9));
        }
        t.delete();
    }
    "a child has none" => {
        sig::block(bit(RTMIN)); // before the timer, which would kill
        let t = timer(RTMIN, 0, |_| {});
        t.set(3000, 0);
        fork_run(|| {
            pause(std::time::Duration::from_millis(6));
            assert_eq!(sig::pending(), 0);
        })
        .succeeds();
        wait_until(|| sig::pending() == bit(RTMIN));
    }
});
