//! What a program does with message queues and semaphores: the worker's half. See `workload`.

use std::ffi::CString;
use std::io;
use std::time::Instant;

use super::workload::{check, child, elapsed, join};

/// A queue without a name.
fn queue(maxmsg: i64) -> io::Result<i32> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("/ringer-bench-{}-{n}", std::process::id());
    let name = CString::new(name).map_err(io::Error::other)?;
    // SAFETY: all zero is a valid mq_attr.
    let mut attr: libc::mq_attr = unsafe { std::mem::zeroed() };
    attr.mq_maxmsg = maxmsg;
    attr.mq_msgsize = 64;
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
    // SAFETY: a C string, and a valid mq_attr.
    let q = unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &raw const attr) };
    // SAFETY: a C string.
    unsafe { libc::mq_unlink(name.as_ptr()) };
    check(q as isize)?;
    Ok(q)
}

#[inline(always)]
fn send(q: i32, bytes: &[u8; 64]) -> io::Result<usize> {
    // SAFETY: as many bytes as there are.
    check(unsafe { libc::mq_send(q, bytes.as_ptr().cast(), 64, 0) } as isize)
}

#[inline(always)]
fn receive(q: i32, bytes: &mut [u8; 64]) -> io::Result<usize> {
    let prio = std::ptr::null_mut();
    // SAFETY: room for as many bytes as it is long.
    check(unsafe { libc::mq_receive(q, bytes.as_mut_ptr().cast(), 64, prio) })
}

/// One thread: 64 bytes in, 64 bytes out.
pub fn send_receive(n: u64) -> io::Result<u128> {
    let q = queue(10)?;
    let mut bytes = [7u8; 64];
    let mut round = || -> io::Result<()> {
        send(q, &bytes)?;
        receive(q, &mut bytes)?;
        Ok(())
    };
    (0..1000).try_for_each(|_| round())?;
    let start = Instant::now();
    (0..n).try_for_each(|_| round())?;
    Ok(elapsed(start))
}

/// A process sends, another receives as many.
pub fn stream(n: u64) -> io::Result<u128> {
    let (q, ready) = (queue(10)?, queue(1)?);
    let mut bytes = [7u8; 64];
    let receiver = child(|| {
        let mut bytes = [0u8; 64];
        send(ready, &bytes)?;
        (0..n).try_for_each(|_| receive(q, &mut bytes).map(drop))
    })?;
    receive(ready, &mut bytes)?;
    let start = Instant::now();
    (0..n).try_for_each(|_| send(q, &bytes).map(drop))?;
    join(receiver)?;
    Ok(elapsed(start))
}

/// Two processes pass a message to and fro; the figure is for the round trip.
pub fn ping_pong(n: u64) -> io::Result<u128> {
    const WARM: u64 = 200;
    let (there, back) = (queue(10)?, queue(10)?);
    let mut bytes = [7u8; 64];
    let echo = child(|| {
        let mut bytes = [0u8; 64];
        for _ in 0..n + WARM {
            receive(there, &mut bytes)?;
            send(back, &bytes)?;
        }
        Ok(())
    })?;
    let mut round = || -> io::Result<()> {
        send(there, &bytes)?;
        receive(back, &mut bytes)?;
        Ok(())
    };
    (0..WARM).try_for_each(|_| round())?;
    let start = Instant::now();
    (0..n).try_for_each(|_| round())?;
    let ns = elapsed(start);
    join(echo)?;
    Ok(ns)
}

/// One thread: a semaphore is posted and waited for.
pub fn post_wait(n: u64) -> io::Result<u128> {
    // SAFETY: all zero is storage for a semaphore.
    let mut s: libc::sem_t = unsafe { std::mem::zeroed() };
    let s = &raw mut s;
    // SAFETY: valid storage, for this process only.
    check(unsafe { libc::sem_init(s, 0, 0) } as isize)?;
    let round = || -> io::Result<()> {
        // SAFETY: a semaphore.
        check(unsafe { libc::sem_post(s) } as isize)?;
        // SAFETY: as above.
        check(unsafe { libc::sem_wait(s) } as isize)?;
        Ok(())
    };
    (0..1000).try_for_each(|_| round())?;
    let start = Instant::now();
    (0..n).try_for_each(|_| round())?;
    Ok(elapsed(start))
}
