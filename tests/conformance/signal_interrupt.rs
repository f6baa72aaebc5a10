//! Every call that waits, and a signal: with a handler without SA_RESTART, with one that restarts, with
//! none, and with a stop. See signal(7) "Interruption of system calls and library functions by signal
//! handlers", and "... by stop signals".

mod signal_calls;
mod signal_calls_more;
mod signal_calls_rest;
mod signal_makers;

use ringer_support::prelude::*;
use ringer_support::rights::socketpair;
use signal_calls::{Call, When, DESCRIPTORS, OTHERS, READINESS};
use signal_calls_more::VARIANTS;
use signal_calls_rest::REST;

/// A child in the call; SIGUSR1 is handled with these flags, SIGUSR2 ends it for sure.
fn caught(call: &Call, flags: c_int, expected: Sys, seen: &'static [c_int]) -> Child {
    let s = Shared::new();
    let name = call.name;
    let child = fork_run(|| {
        journal::on(SIGUSR1, flags);
        journal::on(SIGUSR2, 0);
        let done = (call.run)(&|| s.set(0, 1));
        assert_eq!(
            (done, journal::numbers()),
            (expected, seen.to_vec()),
            "{name}"
        );
    });
    s.wait_for(0, 1);
    child.sleeping();
    child
}

/// Runs `one` for each row, and names those that fail.
fn each(calls: &[Call], one: fn(&Call)) {
    let mut failed = Vec::new();
    for call in calls {
        eprintln!("call: {}", call.name);
        ringer_support::shared::prepare_failures();
        if fork_run(|| one(call)).wait().code() != Some(0) {
            failed.push(call.name);
        }
    }
    assert!(failed.is_empty(), "calls that failed: {failed:#?}");
}

fn without_restart(call: &Call) {
    journal::start();
    let child = caught(call, 0, Err(EINTR), &[SIGUSR1]);
    child.kill(SIGUSR1);
    child.succeeds();
}

fn with_restart(call: &Call) {
    journal::start();
    if call.when == When::Never {
        let child = caught(call, SA_RESTART, Err(EINTR), &[SIGUSR1]);
        child.kill(SIGUSR1);
        child.succeeds();
        return;
    }
    let child = caught(call, SA_RESTART, Err(EINTR), &[SIGUSR1, SIGUSR1, SIGUSR2]);
    for n in 1..=2 {
        child.kill(SIGUSR1);
        journal::wait_for(n);
        child.sleeping();
    }
    child.kill(SIGUSR2);
    child.succeeds();
}

fn by_what_is_ignored(call: &Call) {
    journal::start();
    let child = caught(call, 0, Err(EINTR), &[SIGUSR2]);
    for number in [libc::SIGCHLD, libc::SIGWINCH, libc::SIGURG, SIGCONT] {
        child.kill(number);
        child.sleeping();
    }
    child.kill(SIGUSR2);
    child.succeeds();
}

fn by_a_stop(call: &Call) {
    journal::start();
    let seen: &[c_int] = if call.stop_ends_it { &[] } else { &[SIGUSR2] };
    let child = caught(call, 0, Err(EINTR), seen);
    child.kill(SIGSTOP);
    procfs::stopped(child.pid());
    child.kill(SIGCONT);
    if !call.stop_ends_it {
        child.sleeping();
        child.kill(SIGUSR2);
    }
    child.succeeds();
}

macro_rules! tables {
    ($($module:ident: $rows:ident)*) => { $(
        mod $module {
            use super::*;
            both_worlds!(a_handler_without_sa_restart_ends_it, worlds = armed, timeout = 60, {
                each($rows, without_restart);
            });
            both_worlds!(sa_restart_restarts_what_may_be_restarted, worlds = armed, timeout = 60, {
                each($rows, with_restart);
            });
            both_worlds!(what_is_ignored_does_not_end_it, worlds = armed, timeout = 60, {
                each($rows, by_what_is_ignored);
            });
            both_worlds!(a_stop_ends_only_what_signal_7_lists, worlds = armed, timeout = 60, {
                each($rows, by_a_stop);
            });
        }
    )* };
}

tables! {
    descriptors: DESCRIPTORS
    readiness: READINESS
    others: OTHERS
    variants: VARIANTS
    rest: REST
}

fn remaining(sleep: fn(&mut libc::timespec) -> bool) {
    let s = Shared::new();
    let child = fork_run(|| {
        journal::on(SIGUSR1, SA_RESTART);
        let mut left = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        s.set(0, 1);
        assert!(sleep(&mut left));
        assert!(
            (9000..=10_000).contains(&left.tv_sec),
            "{} s left",
            left.tv_sec
        );
    });
    s.wait_for(0, 1);
    child.sleeping();
    child.kill(SIGUSR1);
    child.succeeds();
}

/// A mutex that another process holds, and a condition for it, both in shared memory.
struct Monitor {
    mutex: *mut libc::pthread_mutex_t,
    cond: *mut libc::pthread_cond_t,
}

impl Monitor {
    fn new(s: Shared) -> Monitor {
        let mutex = s.word(100).as_ptr().cast();
        let cond = s.word(200).as_ptr().cast();
        // SAFETY: room for an attribute.
        let mut shared: libc::pthread_mutexattr_t = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut shared_too: libc::pthread_condattr_t = unsafe { std::mem::zeroed() };
        let yes = libc::PTHREAD_PROCESS_SHARED;
        // SAFETY: attributes, made first; room in shared memory that nobody uses.
        unsafe {
            libc::pthread_mutexattr_init(&mut shared);
            libc::pthread_mutexattr_setpshared(&mut shared, yes);
            libc::pthread_mutex_init(mutex, &shared);
            libc::pthread_condattr_init(&mut shared_too);
            libc::pthread_condattr_setpshared(&mut shared_too, yes);
            libc::pthread_cond_init(cond, &shared_too);
        }
        Monitor { mutex, cond }
    }

    fn lock(&self) -> c_int {
        // SAFETY: made in `new`.
        unsafe { libc::pthread_mutex_lock(self.mutex) }
    }

    fn unlock(&self) -> c_int {
        // SAFETY: made in `new`.
        unsafe { libc::pthread_mutex_unlock(self.mutex) }
    }

    fn wait(&self) -> c_int {
        // SAFETY: made in `new`; locked.
        unsafe { libc::pthread_cond_wait(self.cond, self.mutex) }
    }

    fn signal(&self) -> c_int {
        // SAFETY: made in `new`.
        unsafe { libc::pthread_cond_signal(self.cond) }
    }
}

/// Handlers run, with and without SA_RESTART, a stop comes, and the wait goes on until `release`.
fn goes_on(wait: impl Fn() -> c_int, s: Shared, release: impl Fn()) {
    journal::start();
    let child = fork_run(|| {
        journal::on(SIGUSR1, 0);
        journal::on(SIGUSR2, SA_RESTART);
        s.set(0, 1);
        assert_eq!(wait(), 0);
        s.set(0, 2);
    });
    s.wait_for(0, 1);
    child.sleeping();
    for (n, number) in [SIGUSR1, SIGUSR2, SIGUSR1].into_iter().enumerate() {
        child.kill(number);
        journal::wait_for(n + 1);
        child.sleeping();
    }
    child.kill(SIGSTOP);
    procfs::stopped(child.pid());
    child.kill(SIGCONT);
    child.sleeping();
    assert_eq!(s.get(0), 1);
    release();
    child.succeeds();
}

cases!(what_no_handler_ends, {
    "pthread_mutex_lock" => {
        let s = Shared::new();
        let m = Monitor::new(s);
        assert_eq!(m.lock(), 0);
        goes_on(|| m.lock(), s, || assert_eq!(m.unlock(), 0));
    }
    "pthread_cond_wait" => {
        let s = Shared::new();
        let m = Monitor::new(s);
        let wait = || {
            assert_eq!(m.lock(), 0);
            m.wait()
        };
        goes_on(wait, s, || assert_eq!(m.signal(), 0));
    }
});

const HOURS: libc::timespec = libc::timespec {
    tv_sec: 10_000,
    tv_nsec: 0,
};

cases!(what_an_interrupted_call_gives_back, {
    "nanosleep: the time that is left" => {
        // SAFETY: valid times.
        remaining(|left| unsafe { libc::nanosleep(&HOURS, left) } == -1);
    }
    "clock_nanosleep: the time that is left" => {
        remaining(|left| {
            // SAFETY: valid times.
            unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &HOURS, left) == EINTR }
        });
    }
    "sleep: the seconds that are left" => {
        remaining(|left| {
            // SAFETY: a number.
            left.tv_sec = i64::from(unsafe { libc::sleep(10_000) });
            true
        });
    }
    "clock_nanosleep until a time: nothing" => {
        let s = Shared::new();
        let child = fork_run(|| {
            journal::on(SIGUSR1, SA_RESTART);
            let end = libc::timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 };
            let mut left = libc::timespec { tv_sec: 77, tv_nsec: 77 };
            s.set(0, 1);
            let (clock, flag) = (libc::CLOCK_REALTIME, libc::TIMER_ABSTIME);
            // SAFETY: valid times.
            assert_eq!(unsafe { libc::clock_nanosleep(clock, flag, &end, &mut left) }, EINTR);
            assert_eq!((left.tv_sec, left.tv_nsec), (77, 77));
        });
        s.wait_for(0, 1);
        child.sleeping();
        child.kill(SIGUSR1);
        child.succeeds();
    }
    "a large send on a stream: what was sent" => {
        for flags in [0, SA_RESTART] {
            let (a, b) = socketpair(libc::SOCK_STREAM);
            let s = Shared::new();
            let child = fork_run(|| {
                journal::on(SIGUSR1, flags);
                s.set(0, 1);
                let n = write(&a, &stream(0, 4_000_000)).unwrap();
                assert!(n > 0 && n < 4_000_000, "{n}");
                s.set(1, n as u64);
            });
            s.wait_for(0, 1);
            child.sleeping();
            child.kill(SIGUSR1);
            child.succeeds();
            let n = s.get(1) as usize;
            assert!(read_exactly(&b, n) == stream(0, n));
            set_nonblocking(&b, true);
            assert_eq!(read_n(&b, 1), Err(EAGAIN));
        }
    }
    "MSG_WAITALL: what has come" => {
        for flags in [0, SA_RESTART] {
            let (a, b) = socketpair(libc::SOCK_STREAM);
            let s = Shared::new();
            let child = fork_run(|| {
                journal::on(SIGUSR1, flags);
                let mut room = [0; 100];
                s.set(0, 1);
                let (at, all) = (room.as_mut_ptr().cast(), libc::MSG_WAITALL);
                // SAFETY: room for what comes.
                assert_eq!(unsafe { libc::recv(a.number(), at, 100, all) }, 40);
                assert_eq!(room[..40], stream(0, 40));
            });
            s.wait_for(0, 1);
            write_all(&b, &stream(0, 40));
            // What has come is taken from the socket, byte by byte into the room.
            wait_until(|| bytes_waiting(&a) == Ok(0));
            child.sleeping();
            child.kill(SIGUSR1);
            child.succeeds();
        }
    }
    "the timeout of select: what is left" => {
        let s = Shared::new();
        let child = fork_run(|| {
            journal::on(SIGUSR1, SA_RESTART);
            let mut time = libc::timeval { tv_sec: 10_000, tv_usec: 0 };
            let none = std::ptr::null_mut();
            s.set(0, 1);
            // SAFETY: no sets, a valid time.
            assert_eq!(unsafe { libc::select(0, none, none, none, &mut time) }, -1);
            assert!((9000..10_000).contains(&time.tv_sec));
        });
        s.wait_for(0, 1);
        child.sleeping();
        child.kill(SIGUSR1);
        child.succeeds();
    }
});
