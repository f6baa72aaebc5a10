//! A [`Host`] over the real kernel's futexes, in which a test decides who is dead, when signals
//! come and how long a sleep may last.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::sync::Mutex;

use ringer_kernel::abi::Errno;
use ringer_kernel::host::Host;
use ringer_kernel::sync::futex::{Futex, Signals, Slept};
use ringer_kernel::sync::wait_queue::Processors;

/// Whether deadlines count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sleeps {
    /// Nobody ever times out: a lost wake-up is a hang, not a delay.
    ForEver,
    /// As the kernel crate asks for: needed where somebody dies.
    Bounded,
}

/// What is true of threads that were not named by [`TestHost::bury`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Others {
    Live,
    Gone,
    /// /proc knows.
    AskKernel,
}

pub struct TestHost {
    pub sleeps: Sleeps,
    pub others: Others,
    pub cpus: Processors,
    gone: Mutex<HashSet<u32>>,
    /// Bytes that `populate` may still make; then it fails.
    pub memory: AtomicU64,
    /// Whoever wakes does not get the processor back yet.
    pub late: AtomicBool,
    /// Sleeps that were begun, and wake-ups that were asked for.
    pub slept: AtomicU64,
    pub woke: AtomicU64,
    /// 0: real ones.
    pub fake_tsc: AtomicU64,
    /// The PID namespace that whoever calls now is in.
    pub namespace: AtomicU32,
}

impl TestHost {
    pub fn new(sleeps: Sleeps, others: Others) -> TestHost {
        TestHost {
            sleeps,
            others,
            cpus: Processors::Many,
            gone: Mutex::new(HashSet::new()),
            memory: AtomicU64::new(u64::MAX),
            late: AtomicBool::new(false),
            slept: AtomicU64::new(0),
            woke: AtomicU64::new(0),
            fake_tsc: AtomicU64::new(0),
            namespace: AtomicU32::new(0),
        }
    }

    /// From now on thread `tid` is gone, if the kernel is asked.
    pub fn bury(&self, tid: u32) {
        self.gone.lock().unwrap().insert(tid);
    }
}

thread_local! {
    static NOTE: Cell<Option<&'static AtomicU32>> = const { Cell::new(None) };
}

/// The word in which a signal for this thread is noted.
pub fn note() -> &'static AtomicU32 {
    NOTE.with(|n| match n.get() {
        Some(word) => word,
        None => {
            let word: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
            n.set(Some(word));
            word
        }
    })
}

/// Sends a "signal" to the thread whose note this is.
pub fn signal(note: &AtomicU32) {
    note.store(1, SeqCst);
    wake(note, 1);
}

/// The handler ran: no signal is pending any more.
pub fn take_signal() -> bool {
    note().swap(0, SeqCst) != 0
}

#[repr(C)]
struct Waiter {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

impl Waiter {
    fn new(word: &AtomicU32, value: u32) -> Waiter {
        const FUTEX2_SIZE_U32: u32 = 2; // and not FUTEX2_PRIVATE
        Waiter {
            value: value.into(),
            address: word.as_ptr() as u64,
            flags: FUTEX2_SIZE_U32,
            reserved: 0,
        }
    }
}

const FUTEX_WAKE: i32 = 1;

fn wake(word: &AtomicU32, n: u32) -> u32 {
    // SAFETY: a futex call on a live word; nothing else is touched.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), FUTEX_WAKE, n) };
    u32::try_from(woken).unwrap_or(0)
}

/// Sleeps until one of `on` is not what it was, somebody wakes one, or the deadline comes.
fn wait_any(on: &[Waiter], timeout_ns: Option<u64>) -> i32 {
    let mut deadline = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let deadline = match timeout_ns {
        None => std::ptr::null(),
        Some(ns) => {
            // SAFETY: fills in the struct that it is given.
            unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut deadline) };
            let at = deadline.tv_nsec as u64 + ns;
            deadline.tv_sec += (at / 1_000_000_000) as i64;
            deadline.tv_nsec = (at % 1_000_000_000) as i64;
            &raw const deadline
        }
    };
    // SAFETY: `on` and `deadline` outlive the call, and the words that `on` names do, too.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            on.as_ptr(),
            on.len() as u32,
            0,
            deadline,
            libc::CLOCK_MONOTONIC,
        )
    };
    if ret >= 0 {
        return 0;
    }
    // SAFETY: this thread's errno.
    unsafe { *libc::__errno_location() }
}

impl Futex for TestHost {
    fn wait(&self, word: &AtomicU32, value: u32, timeout_ns: u64, signals: Signals) -> Slept {
        self.slept.fetch_add(1, Relaxed);
        let timeout = (self.sleeps == Sleeps::Bounded).then_some(timeout_ns);
        // Waiting for the note as well closes the window between a look at it and the sleep.
        let both = [Waiter::new(word, value), Waiter::new(note(), 0)];
        let on = match signals {
            Signals::End => &both[..],
            Signals::Wait => &both[..1],
        };
        let errno = wait_any(on, timeout);
        while self.late.load(SeqCst) {
            std::thread::yield_now();
        }
        assert!(
            matches!(errno, 0 | libc::EAGAIN | libc::EINTR | libc::ETIMEDOUT),
            "{errno}"
        );
        if signals == Signals::End && note().load(SeqCst) != 0 {
            Slept::Signal
        } else if errno == libc::ETIMEDOUT {
            Slept::TimedOut
        } else {
            Slept::Woken
        }
    }

    fn wake(&self, word: &AtomicU32, n: u32) -> u32 {
        self.woke.fetch_add(1, Relaxed);
        wake(word, n)
    }
}

impl Host for TestHost {
    fn populate(&self, _: *mut u8, len: usize) -> bool {
        let spent = self.memory.fetch_update(Relaxed, Relaxed, |m| match m {
            u64::MAX => Some(m),
            m => m.checked_sub(len as u64),
        });
        spent.is_ok()
    }

    fn namespace(&self) -> u32 {
        self.namespace.load(SeqCst)
    }

    fn thread_is_gone(&self, pid: u32, tid: u32, _start: u64) -> bool {
        if self.others == Others::AskKernel {
            return is_gone_by_proc(pid, tid);
        }
        self.others == Others::Gone || self.gone.lock().unwrap().contains(&tid)
    }

    fn processors(&self) -> Processors {
        self.cpus
    }

    fn tsc(&self) -> u64 {
        tsc()
    }

    fn make_file(&self, _: &[u8], _: u64) -> Result<(), Errno> {
        Ok(())
    }
}

pub fn tsc() -> u64 {
    // SAFETY: every x86-64 has a time-stamp counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// proc(5) stat, field 3. A zombie is gone. Allocates nothing, so a forked child may call it.
fn is_gone_by_proc(pid: u32, tid: u32) -> bool {
    let mut path = [0u8; 64];
    {
        use std::io::Write;
        write!(&mut path[..63], "/proc/{pid}/task/{tid}/stat").unwrap();
    }
    let mut text = [0u8; 512];
    // SAFETY: `path` ends with a NUL.
    let fd = unsafe { libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if fd < 0 {
        return true;
    }
    // SAFETY: `text` is that long; `fd` is ours.
    let n = unsafe { libc::read(fd, text.as_mut_ptr().cast(), text.len()) };
    // SAFETY: `fd` is ours.
    unsafe { libc::close(fd) };
    let text = &text[..n.max(0) as usize];
    match text.iter().rposition(|&b| b == b')') {
        Some(at) => matches!(text.get(at + 2), Some(b'Z' | b'X') | None),
        None => true,
    }
}
