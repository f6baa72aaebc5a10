//! Signals: the worker's half.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::time::Instant;

use super::workload::{check, child, elapsed, join, read};

/// Workload `name`; `None`: it is none of these.
pub fn run(name: &str, n: u64) -> Option<io::Result<u128>> {
    Some(match name {
        "raise" => raise(n),
        "mask" => mask(n),
        "sigqueue" => queue(n),
        "signalfd" => signalfd(n),
        "sigsuspend" => ping_pong(n),
        "sigaction" => action(n),
        _ => return None,
    })
}

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn handler(_: i32) {
    HANDLED.store(HANDLED.load(Relaxed) + 1, Relaxed);
}

fn handled() -> u64 {
    HANDLED.load(Relaxed)
}

fn install(signal: i32) -> io::Result<()> {
    // SAFETY: sigaction is plain data; zeros are valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    // SAFETY: a whole action, with a handler that touches an atomic only.
    check(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) } as isize).map(drop)
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigset_t is plain data; zeros are the empty set.
    let mut set = unsafe { std::mem::zeroed() };
    for signal in signals {
        // SAFETY: a valid set.
        unsafe { libc::sigaddset(&mut set, *signal) };
    }
    set
}

#[inline(always)]
fn change(how: i32, set: &libc::sigset_t) {
    // SAFETY: a valid set.
    unsafe { libc::sigprocmask(how, set, std::ptr::null_mut()) };
}

fn pid() -> i32 {
    std::process::id() as i32
}

fn timed(n: u64, mut round: impl FnMut() -> io::Result<()>) -> io::Result<u128> {
    (0..1000).try_for_each(|_| round())?;
    let start = Instant::now();
    (0..n).try_for_each(|_| round())?;
    Ok(elapsed(start))
}

fn missing() -> io::Error {
    io::Error::other("a signal is missing")
}

/// A signal to oneself, until its handler has returned.
fn raise(n: u64) -> io::Result<u128> {
    install(libc::SIGUSR1)?;
    let ns = timed(n, || {
        // SAFETY: a number.
        check(unsafe { libc::raise(libc::SIGUSR1) } as isize).map(drop)
    })?;
    if handled() == n + 1000 {
        Ok(ns)
    } else {
        Err(missing())
    }
}

/// Blocks a signal and unblocks it.
fn mask(n: u64) -> io::Result<u128> {
    install(libc::SIGUSR1)?;
    let set = set_of(&[libc::SIGUSR1]);
    timed(n, || {
        change(libc::SIG_BLOCK, &set);
        change(libc::SIG_UNBLOCK, &set);
        Ok(())
    })
}

/// A real-time signal to oneself, and its value back.
fn queue(n: u64) -> io::Result<u128> {
    let signal = libc::SIGRTMIN();
    let set = set_of(&[signal]);
    change(libc::SIG_BLOCK, &set);
    let me = pid();
    let value = libc::sigval {
        sival_ptr: std::ptr::null_mut(),
    };
    // SAFETY: siginfo_t is plain data; zeros are valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    timed(n, || {
        // SAFETY: numbers.
        check(unsafe { libc::sigqueue(me, signal, value) } as isize)?;
        // SAFETY: a valid set and room for one siginfo.
        match unsafe { libc::sigwaitinfo(&set, &mut info) } {
            taken if taken == signal => Ok(()),
            _ => Err(missing()),
        }
    })
}

/// A signal to oneself, read from a descriptor.
fn signalfd(n: u64) -> io::Result<u128> {
    let set = set_of(&[libc::SIGUSR1]);
    change(libc::SIG_BLOCK, &set);
    // SAFETY: a valid set.
    let fd = unsafe { libc::signalfd(-1, &set, 0) };
    check(fd as isize)?;
    let me = pid();
    let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
    timed(n, || {
        // SAFETY: numbers.
        check(unsafe { libc::kill(me, libc::SIGUSR1) } as isize)?;
        match read(fd, &mut info)? {
            n if n == info.len() => Ok(()),
            _ => Err(missing()),
        }
    })
}

/// Two processes signal each other, each waiting in sigsuspend; the figure is for the round trip.
fn ping_pong(n: u64) -> io::Result<u128> {
    const WARM: u64 = 200;
    let rounds = n + WARM;
    install(libc::SIGUSR1)?;
    change(libc::SIG_BLOCK, &set_of(&[libc::SIGUSR1]));
    let none = set_of(&[]);
    let wait_for = |count: u64| {
        while handled() < count {
            // SAFETY: a valid set.
            unsafe { libc::sigsuspend(&none) };
        }
    };
    let signal = |pid: i32| {
        // SAFETY: numbers.
        check(unsafe { libc::kill(pid, libc::SIGUSR1) } as isize).map(drop)
    };
    let parent = pid();
    let echo = child(|| {
        (1..=rounds).try_for_each(|round| {
            wait_for(round);
            signal(parent)
        })
    })?;
    let mut done = 0;
    let mut round = || -> io::Result<()> {
        signal(echo)?;
        done += 1;
        wait_for(done);
        Ok(())
    };
    (0..WARM).try_for_each(|_| round())?;
    let start = Instant::now();
    (0..n).try_for_each(|_| round())?;
    let ns = elapsed(start);
    join(echo)?;
    Ok(ns)
}

/// Sets an action.
fn action(n: u64) -> io::Result<u128> {
    timed(n, || install(libc::SIGUSR1))
}
