//! POSIX message queues. See mq_overview(7).

use crate::child::getpid;
use crate::fd::Fd;
use crate::{check, Sys};
use libc::{c_int, c_long, mq_attr, sigevent, timespec};
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

pub use libc::{mqd_t, O_CREAT, O_EXCL};

/// A name that nobody else uses. The queue goes with it.
#[derive(Debug)]
pub struct Name {
    pub text: CString,
    owner: libc::pid_t,
}

impl Name {
    pub fn new() -> Name {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, SeqCst);
        Name::of(&format!("/ringer-test-{}-{n}", getpid()))
    }

    pub fn of(text: &str) -> Name {
        Name {
            text: CString::new(text).unwrap(),
            owner: getpid(),
        }
    }

    pub fn open(&self, flags: c_int) -> Result<Fd, i32> {
        open_queue(&self.text, flags)
    }

    /// O_CREAT and O_EXCL, read and write, 0600.
    pub fn create(&self, maxmsg: i64, msgsize: i64) -> Result<Fd, i32> {
        self.create_with(libc::O_RDWR | O_EXCL, 0o600, Some((maxmsg, msgsize)))
    }

    pub fn create_with(
        &self,
        flags: c_int,
        mode: u32,
        size: Option<(i64, i64)>,
    ) -> Result<Fd, i32> {
        create(&self.text, flags, mode, size)
    }

    pub fn unlink(&self) -> Sys {
        unlink(&self.text)
    }
}

impl Default for Name {
    fn default() -> Name {
        Name::new()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.owner == getpid() {
            let _ = self.unlink();
        }
    }
}

/// A queue of its own: 10 messages of 64 bytes.
pub fn queue() -> (Name, Fd) {
    queue_of(10, 64)
}

pub fn queue_of(maxmsg: i64, msgsize: i64) -> (Name, Fd) {
    let name = Name::new();
    let q = name.create(maxmsg, msgsize).expect("mq_open");
    (name, q)
}

pub fn attr(flags: i64, maxmsg: i64, msgsize: i64, curmsgs: i64) -> mq_attr {
    let mut attr = MaybeUninit::<mq_attr>::zeroed();
    let p: *mut c_long = attr.as_mut_ptr().cast();
    for (i, value) in [flags, maxmsg, msgsize, curmsgs].into_iter().enumerate() {
        // SAFETY: mq_attr begins with these four longs.
        unsafe { *p.add(i) = value };
    }
    // SAFETY: integers only.
    unsafe { attr.assume_init() }
}

pub fn open_queue(name: &CString, flags: c_int) -> Result<Fd, i32> {
    // SAFETY: a C string; without O_CREAT nothing else is looked at.
    check(unsafe { libc::mq_open(name.as_ptr(), flags) }).map(Fd::own)
}

pub fn create(
    name: &CString,
    flags: c_int,
    mode: u32,
    size: Option<(i64, i64)>,
) -> Result<Fd, i32> {
    let attr = size.map(|(maxmsg, msgsize)| attr(0, maxmsg, msgsize, 0));
    let attr = attr.as_ref().map_or(std::ptr::null(), |a| a);
    // SAFETY: a C string, and a valid mq_attr or null.
    check(unsafe { libc::mq_open(name.as_ptr(), flags | O_CREAT, mode, attr) }).map(Fd::own)
}

pub fn unlink(name: &CString) -> Sys {
    // SAFETY: a C string.
    check(unsafe { libc::mq_unlink(name.as_ptr()) })
}

pub fn send(q: &Fd, data: &[u8], prio: u32) -> Sys {
    // SAFETY: a valid buffer.
    check(unsafe { libc::mq_send(q.number(), data.as_ptr().cast(), data.len(), prio) })
}

/// The message and its priority, from a buffer of 8192 bytes.
pub fn receive(q: &Fd) -> Result<(Vec<u8>, u32), i32> {
    let mut buf = vec![0u8; 8192];
    let mut prio = 0;
    // SAFETY: a valid buffer, and a valid int.
    let n = unsafe { libc::mq_receive(q.number(), buf.as_mut_ptr().cast(), buf.len(), &mut prio) };
    check(n as i64).map(|n| {
        buf.truncate(n);
        (buf, prio)
    })
}

/// Only the message.
pub fn take(q: &Fd) -> Result<Vec<u8>, i32> {
    receive(q).map(|m| m.0)
}

pub fn timedsend(q: &Fd, data: &[u8], prio: u32, at: &timespec) -> Sys {
    // SAFETY: a valid buffer and time.
    check(unsafe { libc::mq_timedsend(q.number(), data.as_ptr().cast(), data.len(), prio, at) })
}

pub fn timedreceive(q: &Fd, at: &timespec) -> Result<Vec<u8>, i32> {
    let mut buf = vec![0u8; 8192];
    let prio = std::ptr::null_mut();
    // SAFETY: a valid buffer and time; no wish to know the priority.
    let n =
        unsafe { libc::mq_timedreceive(q.number(), buf.as_mut_ptr().cast(), buf.len(), prio, at) };
    check(n as i64).map(|n| {
        buf.truncate(n);
        buf
    })
}

/// CLOCK_REALTIME, so many milliseconds from now.
pub fn in_ms(ms: i64) -> timespec {
    let mut now = timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: fills in the struct.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut now) };
    let ns = now.tv_nsec + ms % 1000 * 1_000_000;
    timespec {
        tv_sec: now.tv_sec + ms / 1000 + ns.div_euclid(1_000_000_000),
        tv_nsec: ns.rem_euclid(1_000_000_000),
    }
}

/// mq_flags, mq_maxmsg, mq_msgsize, mq_curmsgs.
pub fn getattr(q: &Fd) -> Result<[i64; 4], i32> {
    let mut attr = attr(-1, -1, -1, -1);
    // SAFETY: room for an mq_attr.
    check(unsafe { libc::mq_getattr(q.number(), &mut attr) })?;
    Ok(words(&attr))
}

fn words(attr: &mq_attr) -> [i64; 4] {
    let p: *const c_long = std::ptr::from_ref(attr).cast();
    // SAFETY: mq_attr begins with these four longs.
    std::array::from_fn(|i| unsafe { *p.add(i) })
}

/// Sets mq_flags; what they and the rest were.
pub fn setflags(q: &Fd, flags: i64) -> Result<[i64; 4], i32> {
    let new = attr(flags, 0, 0, 0);
    let mut old = attr(-1, -1, -1, -1);
    // SAFETY: two valid mq_attrs.
    check(unsafe { libc::mq_setattr(q.number(), &new, &mut old) })?;
    Ok(words(&old))
}

pub fn curmsgs(q: &Fd) -> i64 {
    getattr(q).unwrap()[3]
}

extern "C" {
    fn mq_notify(q: mqd_t, event: *const sigevent) -> c_int;
}

pub fn notify(q: &Fd, event: Option<&sigevent>) -> Sys {
    let event = event.map_or(std::ptr::null(), |e| e);
    // SAFETY: a valid sigevent or null.
    check(unsafe { mq_notify(q.number(), event) })
}

/// A sigevent of that sort: SIGEV_NONE, SIGEV_SIGNAL.
pub fn event(how: c_int, signal: c_int, value: usize) -> sigevent {
    // SAFETY: all zero bits are a valid sigevent.
    let mut event: sigevent = unsafe { MaybeUninit::zeroed().assume_init() };
    event.sigev_notify = how;
    event.sigev_signo = signal;
    event.sigev_value.sival_ptr = value as *mut _;
    event
}

/// A sigevent with SIGEV_THREAD: `f` is called with `value` in a new thread.
pub fn thread_event(f: extern "C" fn(usize), value: usize) -> sigevent {
    let mut event = event(libc::SIGEV_THREAD, 0, value);
    // The union that libc does not name begins at byte 16, with the function.
    let p: *mut extern "C" fn(usize) = std::ptr::from_mut(&mut event).cast();
    // SAFETY: sigevent is 64 bytes; the next word, the attributes, is null.
    unsafe { *p.add(2) = f };
    event
}
