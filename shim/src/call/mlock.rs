//! mlockall(2): all of the program's memory, but not the 4 GiB of the arena, which are sparse and would
//! all be made.
//!
//! What is mapped is locked "on fault" first, which makes nothing, and then each mapping but the arena
//! in full, which is what mlockall itself does with it.

use crate::attach;
use crate::gate::sys;

const MCL_CURRENT: usize = 1;
const MCL_FUTURE: usize = 2;
const MCL_ONFAULT: usize = 4;

/// mlockall(2), as the kernel would answer. `None`: it is the kernel's to do.
pub fn mlockall(flags: usize) -> Option<isize> {
    let arena = attach::arena()?;
    if flags & !(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0
        || flags & MCL_CURRENT == 0
        || flags & MCL_ONFAULT != 0
    {
        return None;
    }
    let ret = sys!(libc::SYS_mlockall, MCL_CURRENT | MCL_ONFAULT);
    if ret < 0 {
        return Some(ret);
    }
    let start = arena.base() as usize;
    let end = start + arena.len();
    each_mapping(|from, to| {
        if to <= start || from >= end {
            sys!(libc::SYS_mlock, from, to - from); // as there, what can not be had is no error
        }
    });
    if flags & MCL_FUTURE != 0 {
        return Some(sys!(libc::SYS_mlockall, MCL_FUTURE));
    }
    Some(0)
}

/// Calls `f` with the bounds of each mapping of this process.
fn each_mapping(mut f: impl FnMut(usize, usize)) {
    let path = c"/proc/self/maps".as_ptr();
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    let fd = sys!(libc::SYS_openat, libc::AT_FDCWD, path, flags, 0);
    if fd < 0 {
        return;
    }
    let mut line = Bounds::default();
    let mut buf = [0u8; 1024];
    loop {
        let n = sys!(libc::SYS_read, fd, buf.as_mut_ptr(), buf.len());
        let Some(read) = usize::try_from(n).ok().and_then(|n| buf.get(..n)) else {
            break;
        };
        if read.is_empty() {
            break;
        }
        for &b in read {
            if let Some((from, to)) = line.take(b) {
                f(from, to);
            }
        }
    }
    sys!(libc::SYS_close, fd);
}

/// The beginning of a line of /proc/PID/maps: `start-end `.
#[derive(Default)]
struct Bounds {
    from: usize,
    to: usize,
    /// 0: in the first number; 1: in the second; 2: behind them.
    part: u8,
}

impl Bounds {
    /// The next byte. The bounds, once for each line.
    fn take(&mut self, b: u8) -> Option<(usize, usize)> {
        let digit = match b {
            b'0'..=b'9' => usize::from(b - b'0'),
            b'a'..=b'f' => usize::from(b - b'a') + 10,
            _ => 16,
        };
        match (self.part, digit) {
            (0, 0..=15) => self.from = self.from << 4 | digit,
            (0, _) => self.part = 1,
            (1, 0..=15) => self.to = self.to << 4 | digit,
            (1, _) => {
                self.part = 2;
                return Some((self.from, self.to));
            }
            _ if b == b'\n' => *self = Bounds::default(),
            _ => {}
        }
        None
    }
}
