//! The worker's half for System V IPC.

use std::io;
use std::time::Instant;

use super::workload::{check, child, elapsed, join};

const SEM_UNDO: i16 = 0x1000;
const TEXT: usize = 64;

pub fn run(name: &str, n: u64) -> io::Result<u128> {
    match name {
        "sysv-semop" => semop_pair(n, 0),
        "sysv-semop-undo" => semop_pair(n, SEM_UNDO),
        "sysv-sem-pingpong" => sem_ping_pong(n),
        "sysv-msg" => send_receive(n),
        "sysv-msg-pingpong" => msg_ping_pong(n),
        _ => Err(io::Error::other("no such workload")),
    }
}

/// Goes with the worker, natively, too.
struct Set(i32);

impl Set {
    fn new(nsems: i32) -> io::Result<Set> {
        // SAFETY: numbers.
        let id = unsafe { libc::semget(libc::IPC_PRIVATE, nsems, 0o600) };
        check(id as isize).map(|_| Set(id))
    }

    #[inline(always)]
    fn op(&self, num: u16, op: i16, flags: i16) -> io::Result<usize> {
        let mut one = libc::sembuf {
            sem_num: num,
            sem_op: op,
            sem_flg: flags,
        };
        // SAFETY: one operation.
        check(unsafe { libc::semop(self.0, &raw mut one, 1) } as isize)
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        // SAFETY: numbers.
        unsafe { libc::semctl(self.0, 0, libc::IPC_RMID) };
    }
}

struct Queue(i32);

#[repr(C)]
struct Message {
    mtype: i64,
    text: [u8; TEXT],
}

impl Queue {
    fn new() -> io::Result<Queue> {
        // SAFETY: numbers.
        let id = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
        check(id as isize).map(|_| Queue(id))
    }

    #[inline(always)]
    fn send(&self, message: &Message) -> io::Result<usize> {
        // SAFETY: a type, and as many bytes of text as we say.
        check(unsafe { libc::msgsnd(self.0, (&raw const *message).cast(), TEXT, 0) } as isize)
    }

    #[inline(always)]
    fn receive(&self, message: &mut Message, mtype: i64) -> io::Result<usize> {
        // SAFETY: room for a type, and for as many bytes of text as we say.
        check(unsafe { libc::msgrcv(self.0, (&raw mut *message).cast(), TEXT, mtype, 0) })
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: numbers.
        unsafe { libc::msgctl(self.0, libc::IPC_RMID, std::ptr::null_mut()) };
    }
}

/// One thread: up, down.
fn semop_pair(n: u64, flags: i16) -> io::Result<u128> {
    let set = Set::new(1)?;
    let pair = || set.op(0, 1, flags).and_then(|_| set.op(0, -1, flags));
    (0..1000).try_for_each(|_| pair().map(drop))?;
    let start = Instant::now();
    for _ in 0..n {
        pair()?;
    }
    Ok(elapsed(start))
}

/// Two processes hand a semaphore each to and fro; the figure is for the round trip.
fn sem_ping_pong(n: u64) -> io::Result<u128> {
    let set = Set::new(2)?;
    let rounds = n + WARM;
    let echo = child(|| {
        (0..rounds).try_for_each(|_| {
            set.op(0, -1, 0)?;
            set.op(1, 1, 0).map(drop)
        })
    })?;
    let round = || {
        set.op(0, 1, 0)?;
        set.op(1, -1, 0)
    };
    (0..WARM).try_for_each(|_| round().map(drop))?;
    let start = Instant::now();
    (0..n).try_for_each(|_| round().map(drop))?;
    let ns = elapsed(start);
    join(echo)?;
    Ok(ns)
}

const WARM: u64 = 200;

/// One thread: a message in, a message out.
fn send_receive(n: u64) -> io::Result<u128> {
    let queue = Queue::new()?;
    let mut message = Message {
        mtype: 1,
        text: [7; TEXT],
    };
    let mut pair = || {
        queue.send(&message)?;
        queue.receive(&mut message, 0)
    };
    (0..1000).try_for_each(|_| pair().map(drop))?;
    let start = Instant::now();
    for _ in 0..n {
        pair()?;
    }
    Ok(elapsed(start))
}

/// Two processes pass a message to and fro; the figure is for the round trip.
fn msg_ping_pong(n: u64) -> io::Result<u128> {
    let queue = Queue::new()?;
    let rounds = n + WARM;
    let mut message = Message {
        mtype: 1,
        text: [7; TEXT],
    };
    let echo = child(|| {
        let mut message = Message {
            mtype: 2,
            text: [0; TEXT],
        };
        (0..rounds).try_for_each(|_| {
            queue.receive(&mut message, 1)?;
            message.mtype = 2;
            queue.send(&message).map(drop)
        })
    })?;
    let mut round = || {
        message.mtype = 1;
        queue.send(&message)?;
        queue.receive(&mut message, 2)
    };
    (0..WARM).try_for_each(|_| round().map(drop))?;
    let start = Instant::now();
    (0..n).try_for_each(|_| round().map(drop))?;
    let ns = elapsed(start);
    join(echo)?;
    Ok(ns)
}
