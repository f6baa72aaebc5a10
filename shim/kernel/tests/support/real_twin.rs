//! A twin that is a pipe of the running kernel, used as the shim uses it: tokens are one-byte
//! slots, hang-ups are poll(2)'s, demotion writes into it.

use std::sync::atomic::{AtomicI32, Ordering::*};

use ringer_kernel::file::End;
use ringer_kernel::host::Twin;
use ringer_kernel::pipe::demote::Flush;
use ringer_kernel::pipe::watch::Tokens;

pub struct RealTwin {
    read: AtomicI32,
    write: AtomicI32,
}

/// The twin by one of its ends.
#[derive(Clone, Copy)]
pub struct TwinEnd {
    pub twin: &'static RealTwin,
    pub end: End,
}

impl RealTwin {
    pub fn new(slots: u32) -> &'static RealTwin {
        let mut fds = [0; 2];
        // SAFETY: two numbers are written to `fds`.
        assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
        // SAFETY: our own descriptor.
        let set = unsafe { libc::fcntl(fds[1], libc::F_SETPIPE_SZ, slots as i32 * 4096) };
        assert_eq!(set, slots as i32 * 4096);
        let [read, write] = fds.map(AtomicI32::new);
        Box::leak(Box::new(RealTwin { read, write }))
    }

    pub fn end(&'static self, end: End) -> TwinEnd {
        TwinEnd { twin: self, end }
    }

    fn fd(&self, end: End) -> i32 {
        match end {
            End::Read => self.read.load(SeqCst),
            End::Write => self.write.load(SeqCst),
        }
    }

    pub fn close(&self, end: End) {
        let fd = match end {
            End::Read => self.read.swap(-1, SeqCst),
            End::Write => self.write.swap(-1, SeqCst),
        };
        if fd >= 0 {
            // SAFETY: our own descriptor, once.
            unsafe { libc::close(fd) };
        }
    }

    fn poll(&self, end: End, events: i16, timeout: i32) -> i16 {
        let mut p = libc::pollfd {
            fd: self.fd(end),
            events,
            revents: 0,
        };
        // SAFETY: one entry.
        unsafe { libc::poll(&mut p, 1, timeout) };
        p.revents
    }

    /// Sleeps until the end is ready, as a program that polls does.
    pub fn wait_for(&self, end: End) {
        let events = if end == End::Read {
            libc::POLLIN
        } else {
            libc::POLLOUT
        };
        self.poll(end, events, -1);
    }

    /// read(2), for a pipe that was demoted.
    pub fn read(&self, buf: &mut [u8]) -> isize {
        // SAFETY: `buf` is that long.
        unsafe { libc::read(self.fd(End::Read), buf.as_mut_ptr().cast(), buf.len()) }
    }

    /// write(2), for a pipe that was demoted.
    pub fn write(&self, data: &[u8]) -> isize {
        // SAFETY: `data` is that long.
        unsafe { libc::write(self.fd(End::Write), data.as_ptr().cast(), data.len()) }
    }

    pub fn queued(&self) -> u32 {
        let mut n = 0i32;
        // SAFETY: one number is written to `n`.
        unsafe { libc::ioctl(self.fd(End::Read), libc::FIONREAD, &mut n) };
        n as u32
    }
}

impl Twin for TwinEnd {
    fn peer_gone(&self) -> bool {
        self.twin.poll(self.end, 0, 0) & (libc::POLLHUP | libc::POLLERR) != 0
    }

    fn is_open(&self) -> bool {
        self.twin.fd(self.end) >= 0
    }
}

impl Tokens for TwinEnd {
    fn add(&self, n: u32) -> u32 {
        static TOKEN: u8 = b'.';
        assert_eq!(self.end, End::Write, "only writers add tokens");
        let part = libc::iovec {
            iov_base: (&raw const TOKEN).cast_mut().cast(),
            iov_len: 1,
        };
        let fd = self.twin.fd(End::Write);
        (0..n)
            // SAFETY: one part, of one static byte, which is only read.
            .take_while(|_| unsafe { libc::vmsplice(fd, &part, 1, libc::SPLICE_F_NONBLOCK) == 1 })
            .count() as u32
    }

    fn take(&self, n: u32) -> u32 {
        assert_eq!(self.end, End::Read, "only readers take tokens");
        let fd = self.twin.fd(End::Read);
        let mut byte = 0u8;
        let part = libc::iovec {
            iov_base: (&raw mut byte).cast(),
            iov_len: 1,
        };
        const RWF_NOWAIT: i32 = 8;
        (0..n)
            // SAFETY: one part, of one byte.
            .take_while(|_| unsafe { libc::preadv2(fd, &part, 1, -1, RWF_NOWAIT) == 1 })
            .count() as u32
    }

    fn count(&self) -> Option<u32> {
        Some(self.twin.queued())
    }

    fn poke(&self) {}
}

/// Both ends at hand: for `watch` and demotion.
impl Tokens for &'static RealTwin {
    fn add(&self, n: u32) -> u32 {
        self.end(End::Write).add(n)
    }

    fn take(&self, n: u32) -> u32 {
        self.end(End::Read).take(n)
    }

    fn count(&self) -> Option<u32> {
        Some(self.queued())
    }

    fn poke(&self) {}
}

impl Flush for &'static RealTwin {
    fn write_slot(&self, from: *const u8, len: usize, packet: bool) -> bool {
        assert!(!packet);
        // SAFETY: `len` bytes, by the trait's contract. (A slot of the ring fits into one of the
        // twin's, so it does not block; RWF_NOWAIT is refused after the vmsplice of `add`.)
        let n = unsafe { libc::write(self.fd(End::Write), from.cast(), len) };
        n == len as isize
    }
    fn drop_first(&self, len: usize) -> bool {
        let mut sink = vec![0; len];
        self.read(&mut sink) == len as isize
    }
}
