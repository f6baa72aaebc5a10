//! What only /proc tells: whether a thread lives, when it started, what it is called.
//!
//! Read through the gate into a buffer on the stack.

use crate::gate::sys;

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

/// State letter and start time of a thread. See proc(5), /proc/pid/stat, fields 3 and 22.
fn stat(pid: u32, tid: u32) -> Result<(u8, u64), isize> {
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
    let start = fields.nth(18).map_or(0, number);
    Ok((state, start))
}

fn number(digits: &[u8]) -> u64 {
    digits
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .fold(0u64, |n, b| {
            n.wrapping_mul(10).wrapping_add(u64::from(b - b'0'))
        })
}

/// When the thread started, clock ticks after boot; 0 if that can not be known.
pub fn start_time(pid: u32, tid: u32) -> u64 {
    stat(pid, tid).map_or(0, |s| s.1)
}

/// Whether thread `tid` of `pid`, started at `start` (0: unknown), is dead: gone, a zombie, or its
/// number is somebody else's now. Without /proc, kill(2) decides.
pub fn thread_is_gone(pid: u32, tid: u32, start: u64) -> bool {
    if tid == 0 {
        return true;
    }
    match stat(pid, tid) {
        Ok((state, since)) => {
            matches!(state, b'Z' | b'X' | b'x') || (start != 0 && since != 0 && since != start)
        }
        Err(_) => sys!(libc::SYS_tgkill, pid, tid, 0) == -(libc::ESRCH as isize),
    }
}

/// The name of this process's program, NUL-padded. See proc(5), /proc/pid/comm.
pub fn comm() -> [u8; 16] {
    const PR_GET_NAME: usize = 16;
    let mut name = [0u8; 16];
    sys!(libc::SYS_prctl, PR_GET_NAME, name.as_mut_ptr());
    name
}
