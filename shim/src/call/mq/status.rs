//! What a queue's descriptor shows as a file: its flags, and read(2), which tells how the queue is.

use core::sync::atomic::Ordering::*;

use ringer_kernel::file::MqFile;
use ringer_kernel::mqueue::notify::kind;
use ringer_kernel::task;

use crate::attach;
use crate::entry::{Entry, Verdict};
use crate::gate;
use crate::user::{access_ok, Vectored};

use super::{store_flags, ACCESS};

/// F_GETFL.
pub fn status_flags(e: &MqFile) -> Verdict {
    Verdict::Done(e.file.flags.load(Relaxed) as isize)
}

/// F_SETFL, FIONBIO, FIOASYNC: the flags in `mask`.
pub fn set_flags(entry: &Entry, fd: i32, e: &MqFile, flags: i32, mask: i32) -> Verdict {
    const DIRECT: i32 = libc::O_DIRECT;
    if flags & mask & DIRECT != 0 {
        return Verdict::errno(libc::EINVAL);
    }
    if let Some(k) = entry.ctx(fd) {
        store_flags(&k, e, flags as u32, mask as u32);
    }
    Verdict::Done(0)
}

/// A line of text that is put together without allocation.
struct Line {
    bytes: [u8; 80],
    len: usize,
}

impl Line {
    fn text(&mut self, s: &[u8]) {
        for b in s {
            if let Some(to) = self.bytes.get_mut(self.len) {
                *to = *b;
                self.len += 1;
            }
        }
    }

    /// Left-aligned in `width` columns.
    fn number(&mut self, mut n: u64, width: usize) {
        let start = self.len;
        let mut digits = [0u8; 20];
        let mut count = 0;
        for d in &mut digits {
            *d = b'0' + (n % 10) as u8;
            n /= 10;
            count += 1;
            if n == 0 {
                break;
            }
        }
        for d in digits.iter().take(count).rev() {
            self.text(&[*d]);
        }
        while self.len < start + width {
            self.text(b" ");
        }
    }
}

/// Linux v6.18 ipc/mqueue.c `mqueue_read_file`.
fn describe(e: &MqFile) -> Line {
    let q = e.queue;
    let how = q.notify_kind.load(Relaxed);
    let registered = how != kind::NOBODY
        && attach::arena()
            .and_then(|a| task::process(a, q.notify_process.load(Relaxed)))
            .is_some_and(|p| p.generation.load(Relaxed) == q.notify_generation.load(Relaxed));
    // SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD
    let (notify, signo) = match how {
        kind::SIGNAL | kind::SIGNAL_BEFORE_EXEC => (0, u64::from(q.notify_signo.load(Relaxed))),
        kind::SILENT => (1, 0),
        kind::THREAD | kind::THREAD_BEFORE_EXEC => (2, 0),
        _ => (0, 0),
    };
    let pid = u64::from(q.notify_pid.load(Relaxed));
    let (notify, signo, pid) = if registered {
        (notify, signo, pid)
    } else {
        (0, 0, 0)
    };
    let mut line = Line {
        bytes: [0; 80],
        len: 0,
    };
    line.text(b"QSIZE:");
    line.number(q.bytes.load(Relaxed), 10);
    line.text(b" NOTIFY:");
    line.number(notify, 5);
    line.text(b" SIGNO:");
    line.number(signo, 5);
    line.text(b" NOTIFY_PID:");
    line.number(pid, 6);
    line.text(b"\n");
    line
}

/// write(2), which no queue has, and what else is not for one.
pub fn write(e: &MqFile) -> Verdict {
    match e.file.flags.load(Relaxed) & ACCESS {
        1 | 2 => Verdict::errno(libc::EINVAL),
        _ => Verdict::errno(libc::EBADF),
    }
}

/// FIONREAD: a queue is a regular file of FILENT_SIZE bytes, shorter though its text may be.
/// (fs/ioctl.c file_ioctl, ipc/mqueue.c)
pub fn rest_of_status(e: &MqFile) -> u64 {
    const FILENT_SIZE: u64 = 80;
    FILENT_SIZE.saturating_sub(u64::from(e.file.position.load(Relaxed)))
}

/// read(2) on a queue's descriptor.
pub fn read(e: &MqFile, buf: usize, len: usize) -> Verdict {
    if !matches!(e.file.flags.load(Relaxed) & ACCESS, 0 | 2) {
        return Verdict::errno(libc::EBADF);
    }
    let line = describe(e);
    let at = e.file.position.load(Relaxed) as usize;
    let text = line.bytes.get(at..line.len).unwrap_or(&[]);
    let n = text.len().min(len);
    if n == 0 {
        return Verdict::Done(0);
    }
    if !access_ok(buf, n) {
        return Verdict::errno(libc::EFAULT);
    }
    let n = copy_as_far_as_there_is_memory(buf, text.get(..n).unwrap_or(text));
    if n == 0 {
        return Verdict::errno(libc::EFAULT);
    }
    e.file.position.fetch_add(n as u32, Relaxed);
    Verdict::Done(n as isize)
}

/// How many bytes were copied. (fs/libfs.c simple_read_from_buffer)
fn copy_as_far_as_there_is_memory(to: usize, text: &[u8]) -> usize {
    if gate::copy(to as *mut u8, text.as_ptr(), text.len()) {
        return text.len();
    }
    let one = |(i, byte): &(usize, &u8)| gate::copy((to + i) as *mut u8, *byte, 1);
    text.iter().enumerate().take_while(one).count()
}

/// readv(2): the text in pieces.
pub fn readv(e: &MqFile, iov: usize, count: usize) -> Verdict {
    if !matches!(e.file.flags.load(Relaxed) & ACCESS, 0 | 2) {
        return Verdict::errno(libc::EBADF);
    }
    Verdict::Done(match Vectored::import(iov, count) {
        Ok(mut parts) => parts.in_turn(|base, len| match read(e, base, len) {
            Verdict::Done(n) => n,
            Verdict::Pass | Verdict::Restart => 0,
        }),
        Err(errno) => errno,
    })
}
