//! What only /proc tells: whether a thread lives, when it started, what it is called.
//!
//! Read through the gate into a buffer on the stack.

use crate::gate::sys;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use ringer_kernel::host::sleeps_without_locks;

/// Whether /proc is mounted here, as it was when this program image first asked. (chroot(2) of a process that holds
/// something is seen, see `dispatch.rs`; one that holds nothing has not asked.)
pub fn is_here() -> bool {
    const NOT_ASKED: u8 = 0;
    const HERE: u8 = 1;
    const MISSING: u8 = 2;
    static ANSWER: AtomicU8 = AtomicU8::new(NOT_ASKED);
    if ANSWER.load(Relaxed) == NOT_ASKED {
        let path = c"/proc/self/fd";
        let found = sys!(libc::SYS_access, path.as_ptr(), libc::F_OK) == 0;
        ANSWER.store(if found { HERE } else { MISSING }, Relaxed);
    }
    ANSWER.load(Relaxed) == HERE
}

/// A path under /proc, built without allocation.
pub struct Path {
    bytes: [u8; 64],
    len: usize,
}

impl Path {
    pub fn new() -> Path {
        Path {
            bytes: [0; 64],
            len: 0,
        }
    }

    pub fn text(mut self, s: &str) -> Path {
        s.bytes().for_each(|b| self.push(b));
        self
    }

    pub fn number(mut self, n: u32) -> Path {
        let mut digits = [0u8; 10];
        let mut n = n;
        let mut count = 0;
        for d in &mut digits {
            *d = b'0' + (n % 10) as u8;
            n /= 10;
            count += 1;
            if n == 0 {
                break;
            }
        }
        digits.iter().take(count).rev().for_each(|&d| self.push(d));
        self
    }

    /// The last byte stays NUL.
    fn push(&mut self, b: u8) {
        if self.len < self.bytes.len() - 1 {
            if let Some(slot) = self.bytes.get_mut(self.len) {
                *slot = b;
                self.len += 1;
            }
        }
    }

    pub fn as_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }
}

/// Opens `path`, reads up to the buffer's length, closes. Bytes read, or -errno.
pub fn slurp(path: &Path, into: &mut [u8]) -> isize {
    let fd = sys!(
        libc::SYS_openat,
        libc::AT_FDCWD,
        path.as_ptr(),
        libc::O_RDONLY | libc::O_CLOEXEC,
        0
    );
    if fd < 0 {
        return fd;
    }
    let n = sys!(libc::SYS_read, fd, into.as_mut_ptr(), into.len());
    sys!(libc::SYS_close, fd);
    n
}

/// What is of use in /proc/PID/task/TID/stat. See proc(5).
struct Stat {
    /// Field 3.
    state: u8,
    /// Field 20.
    threads: u64,
    /// Field 22.
    start: u64,
}

/// Calls `f` with every name in an open directory, its NUL included.
pub fn each_entry(dir: isize, mut f: impl FnMut(&[u8])) {
    let mut buf = [0u8; 1024];
    loop {
        let n = sys!(libc::SYS_getdents64, dir, buf.as_mut_ptr(), buf.len());
        let Some(mut entries) = usize::try_from(n).ok().and_then(|n| buf.get(..n)) else {
            return;
        };
        if entries.is_empty() {
            return;
        }
        // struct linux_dirent64: 8 ino, 8 off, 2 reclen, 1 type, name
        while let (Some(&[lo, hi]), Some(name)) = (entries.get(16..18), entries.get(19..)) {
            let end = name.iter().position(|&b| b == 0).map_or(0, |i| i + 1);
            if let Some(name) = name.get(..end).filter(|n| !n.is_empty()) {
                f(name);
            }
            let len = usize::from(u16::from_ne_bytes([lo, hi])).max(19);
            entries = entries.get(len..).unwrap_or(&[]);
        }
    }
}

fn stat(pid: u32, tid: u32) -> Result<Stat, isize> {
    if !crate::namespace::has_proc() {
        return Err(-(libc::ENOENT as isize));
    }
    let path = Path::new()
        .text("/proc/")
        .number(pid)
        .text("/task/")
        .number(tid)
        .text("/stat");
    let mut buf = [0u8; 512];
    let n = slurp(&path, &mut buf);
    if n < 0 {
        return Err(n);
    }
    let line = buf.get(..n as usize).unwrap_or(&[]);
    // The command's name may hold anything, also ") ".
    let after = line
        .iter()
        .rposition(|&b| b == b')')
        .map_or(line.len(), |i| i + 2);
    let mut fields = line.get(after..).unwrap_or(&[]).split(|&b| b == b' ');
    let state = fields
        .next()
        .and_then(|f| f.first())
        .copied()
        .unwrap_or(b'X');
    let threads = fields.nth(16).map_or(0, number);
    let start = fields.nth(1).map_or(0, number);
    Ok(Stat {
        state,
        threads,
        start,
    })
}

/// The number of an eventfd, by which two descriptors of it are known. `None`: `fd` is none, or
/// /proc does not say. See proc(5), /proc/pid/fdinfo.
pub fn eventfd_id(fd: i32) -> Option<u32> {
    anonymous(fd).eventfd_id
}

/// The mask of a signalfd. `None`: it is none. See proc(5), /proc/pid/fdinfo.
pub fn signalfd_mask(fd: i32) -> Option<u64> {
    anonymous(fd).sigmask
}

fn hex(digits: &[u8]) -> u64 {
    let digits = digits.iter().map_while(|b| (*b as char).to_digit(16));
    digits.fold(0, |n, digit| n << 4 | u64::from(digit))
}

/// What /proc/pid/fdinfo says of a descriptor without a file: see proc(5).
#[derive(Clone, Copy, Default)]
pub struct Anonymous {
    pub eventfd_id: Option<u32>,
    pub sigmask: Option<u64>,
}

pub fn anonymous(fd: i32) -> Anonymous {
    let mut buf = [0u8; 512];
    match fdinfo(fd, &mut buf) {
        Some(text) => Anonymous {
            eventfd_id: field(text, b"eventfd-id:").map(|digits| number(digits) as u32),
            sigmask: field(text, b"sigmask:").map(hex),
        },
        None => Anonymous::default(),
    }
}

/// The counter of an eventfd. [proc(5)]
pub fn eventfd_count(fd: i32) -> Option<u64> {
    let mut buf = [0u8; 512];
    let digits = field(fdinfo(fd, &mut buf)?, b"eventfd-count:")?;
    Some(hex(digits))
}

/// A set of signals in the text of /proc/PID/status.
pub fn set_in(text: &[u8], name: &[u8]) -> Option<u64> {
    field(text, name).map(hex)
}

/// A number there.
pub fn number_in(text: &[u8], name: &[u8]) -> Option<u64> {
    field(text, name).map(number)
}

fn fdinfo(fd: i32, buf: &mut [u8; 512]) -> Option<&[u8]> {
    let path = Path::new().text("/proc/self/fdinfo/").number(fd as u32);
    let n = slurp(&path, buf);
    buf.get(..usize::try_from(n).ok()?)
}

/// Whom a pidfd names: its number here. `None`: it is none, or he is gone.
pub fn pidfd_of(fd: i32) -> Option<i32> {
    let mut buf = [0u8; 512];
    let pid = number_in(fdinfo(fd, &mut buf)?, b"Pid:")?;
    i32::try_from(pid).ok().filter(|&pid| pid > 0)
}

/// What follows a line's name, without the blanks.
fn field<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let line = text.split(|&b| b == b'\n').find(|l| l.starts_with(name))?;
    let value = line.get(name.len()..)?;
    let blanks = value.iter().take_while(|b| b.is_ascii_whitespace()).count();
    value.get(blanks..)
}

/// The digits that it begins with; 0 without any.
pub fn number(digits: &[u8]) -> u64 {
    digits
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .fold(0u64, |n, b| {
            n.wrapping_mul(10).wrapping_add(u64::from(b - b'0'))
        })
}

/// When the thread started, clock ticks after boot; 0 if that can not be known.
pub fn start_time(pid: u32, tid: u32) -> u64 {
    stat(pid, tid).map_or(0, |s| s.start)
}

/// How many threads this process has; 0 if that can not be known.
pub fn threads() -> u64 {
    let pid = crate::host::getpid();
    stat(pid, pid).map_or(0, |s| s.threads)
}

/// Whether a process has that descriptor open, and without FD_CLOEXEC. See proc(5), `/proc/PID/fdinfo`.
pub fn survives_exec(pid: u32, fd: i32) -> bool {
    let path = Path::new()
        .text("/proc/")
        .number(pid)
        .text("/fdinfo/")
        .number(fd as u32);
    let mut text = [0u8; 256];
    let n = usize::try_from(slurp(&path, &mut text)).unwrap_or(0);
    // "flags:\t02000002", octal
    let text = text.get(..n).unwrap_or(&[]);
    let flags = text
        .split(|&b| b == b'\n')
        .find_map(|line| line.strip_prefix(b"flags:\t"));
    flags.is_some_and(|digits| {
        let value = digits
            .iter()
            .filter(|b| b.is_ascii_digit())
            .fold(0u64, |n, b| n << 3 | u64::from(b - b'0'));
        value & libc::O_CLOEXEC as u64 == 0
    })
}

/// Whether the thread is running, or could.
pub fn thread_runs(pid: u32, tid: u32) -> bool {
    stat(pid, tid).is_ok_and(|s| s.state == b'R')
}

/// Whether the thread is stopped by a signal.
pub fn is_stopped(pid: u32, tid: u32) -> bool {
    stat(pid, tid).is_ok_and(|s| s.state == b'T')
}

/// Each thread of this process. `false`: /proc does not tell.
pub fn each_thread(mut f: impl FnMut(u32)) -> bool {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let path = c"/proc/self/task";
    let dir = sys!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0);
    if dir < 0 {
        return false;
    }
    each_entry(dir, |name| match number(name) as u32 {
        0 => {}
        tid => f(tid),
    });
    sys!(libc::SYS_close, dir);
    true
}

/// Whether thread `tid` of `pid`, started at `start` (0: unknown), is dead: gone, a zombie, or its
/// number is somebody else's now. Without /proc, kill(2) decides.
pub fn thread_is_gone(pid: u32, tid: u32, start: u64) -> bool {
    if tid == 0 {
        return true;
    }
    match stat(pid, tid) {
        Ok(now) => {
            let another = start != 0 && now.start != 0 && now.start != start;
            matches!(now.state, b'Z' | b'X' | b'x') || another
        }
        Err(_) => sys!(libc::SYS_tgkill, pid, tid, 0) == -(libc::ESRCH as isize),
    }
}

/// See [`ringer_kernel::host::Host::sleeps_elsewhere`]; proc(5), /proc/pid/wchan and schedstat.
pub fn sleeps_elsewhere(pid: u32, tid: u32) -> Option<u64> {
    if !crate::namespace::has_proc() {
        return None;
    }
    let of = || {
        Path::new()
            .text("/proc/")
            .number(pid)
            .text("/task/")
            .number(tid)
    };
    let mut buf = [0u8; 128];
    let n = slurp(&of().text("/wchan"), &mut buf);
    let place = buf.get(..usize::try_from(n).ok()?)?;
    if !sleeps_without_locks(place) {
        return None;
    }
    let n = slurp(&of().text("/schedstat"), &mut buf);
    let mut numbers = buf.get(..usize::try_from(n).ok()?)?.split(|&b| b == b' ');
    numbers.nth(2).map(number)
}

/// The name of this process's program, NUL-padded. See proc(5), /proc/pid/comm.
pub fn comm() -> [u8; 16] {
    const PR_GET_NAME: usize = 16;
    let mut name = [0u8; 16];
    sys!(libc::SYS_prctl, PR_GET_NAME, name.as_mut_ptr());
    name
}

/// Signals that the kernel has queued for this process's user: the first number of SigQ in
/// /proc/self/status. See proc(5).
pub fn pending_of_user() -> u32 {
    let mut buf = [0u8; 2048];
    let n = slurp(&Path::new().text("/proc/thread-self/status"), &mut buf);
    let text = buf.get(..n.max(0) as usize).unwrap_or(&[]);
    number_in(text, b"SigQ:").map_or(0, |n| n as u32)
}

/// Whether the kernel would tell the main thread to take this signal: it is there, is not stopped, and does not block
/// it. (Linux v6.18 kernel/signal.c wants_signal) State and SigBlk in /proc/self/status, see proc(5).
pub fn main_thread_takes(bit: u64) -> bool {
    let mut buf = [0u8; 2048];
    let n = slurp(&Path::new().text("/proc/self/status"), &mut buf);
    let text = buf.get(..n.max(0) as usize).unwrap_or(&[]);
    let state = field(text, b"State:").and_then(<[u8]>::first);
    let is_there = state.is_some_and(|s| !matches!(s, b'Z' | b'X' | b'T' | b't'));
    is_there && set_in(text, b"SigBlk:").is_some_and(|blocked| blocked & bit == 0)
}
