//! A pipe of the running kernel: what the model and ringer are measured by.

use super::model::Outcome;

/// Longest read or write that may fault.
pub const WINDOW: usize = 256 * 1024;

pub struct RealPipe {
    read: i32,
    write: i32,
    /// A window of memory that ends where the addresses do.
    edge: *mut u8,
}

fn outcome(ret: isize) -> Outcome<usize> {
    if ret >= 0 {
        return Ok(ret as usize);
    }
    // SAFETY: this thread's errno.
    Err(unsafe { *libc::__errno_location() })
}

impl RealPipe {
    pub fn new(slots: usize) -> RealPipe {
        let mut fds = [0; 2];
        let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
        // SAFETY: two numbers are written to `fds`.
        assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), flags) }, 0);
        let mut pipe = RealPipe {
            read: fds[0],
            write: fds[1],
            edge: std::ptr::null_mut(),
        };
        pipe.resize(slots).unwrap();
        // SAFETY: a fresh mapping.
        let all = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                WINDOW + 4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(all, libc::MAP_FAILED);
        // SAFETY: the last page of that mapping.
        let edge = unsafe { all.cast::<u8>().add(WINDOW) };
        // SAFETY: as above.
        let ret = unsafe { libc::mprotect(edge.cast(), 4096, libc::PROT_NONE) };
        assert_eq!(ret, 0);
        pipe.edge = edge;
        pipe
    }

    pub fn set_packets(&self, on: bool) {
        let flags = libc::O_NONBLOCK | if on { libc::O_DIRECT } else { 0 };
        // SAFETY: our own descriptor.
        assert_eq!(unsafe { libc::fcntl(self.write, libc::F_SETFL, flags) }, 0);
    }

    pub fn write(&mut self, data: &[u8], bad: Option<usize>) -> Outcome<usize> {
        let from = match bad {
            Some(bad) if bad < data.len() => {
                assert!(bad <= WINDOW);
                // SAFETY: inside the window.
                let from = unsafe { self.edge.sub(bad) };
                // SAFETY: `bad` bytes of the window, which is nobody else's.
                unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), from, bad) };
                from.cast_const()
            }
            _ => data.as_ptr(),
        };
        // SAFETY: the kernel checks the addresses.
        outcome(unsafe { libc::write(self.write, from.cast(), data.len()) })
    }

    pub fn read(&mut self, want: usize, bad: Option<usize>) -> Outcome<Vec<u8>> {
        let bad = bad.unwrap_or(want).min(want);
        assert!(bad <= WINDOW);
        // SAFETY: inside the window.
        let to = unsafe { self.edge.sub(bad) };
        // SAFETY: the kernel checks the addresses; nothing of Rust's lies behind the window.
        let n = outcome(unsafe { libc::read(self.read, to.cast(), want) })?;
        // SAFETY: `n` bytes of the window, just written.
        Ok(unsafe { std::slice::from_raw_parts(to, n) }.to_vec())
    }

    pub fn resize(&mut self, slots: usize) -> Outcome<()> {
        // SAFETY: our own descriptor.
        let ret = unsafe { libc::fcntl(self.write, libc::F_SETPIPE_SZ, (slots * 4096) as i32) };
        outcome(ret as isize).map(|_| ())
    }

    pub fn queued(&self) -> usize {
        let mut n = 0i32;
        // SAFETY: one number is written to `n`.
        assert_eq!(unsafe { libc::ioctl(self.read, libc::FIONREAD, &mut n) }, 0);
        n as usize
    }

    /// poll(2): (readable, writable).
    pub fn readiness(&self) -> (bool, bool) {
        let mut polled = [
            libc::pollfd {
                fd: self.read,
                events: libc::POLLIN,
                revents: 0,
            },
            libc::pollfd {
                fd: self.write,
                events: libc::POLLOUT,
                revents: 0,
            },
        ];
        // SAFETY: two entries.
        assert!(unsafe { libc::poll(polled.as_mut_ptr(), 2, 0) } >= 0);
        (
            polled[0].revents & libc::POLLIN != 0,
            polled[1].revents & libc::POLLOUT != 0,
        )
    }

    pub fn close_reader(&mut self) {
        close(&mut self.read);
    }

    pub fn close_writer(&mut self) {
        close(&mut self.write);
    }
}

fn close(fd: &mut i32) {
    if *fd >= 0 {
        // SAFETY: our own descriptor, once.
        unsafe { libc::close(*fd) };
    }
    *fd = -1;
}

impl Drop for RealPipe {
    fn drop(&mut self) {
        self.close_reader();
        self.close_writer();
        // SAFETY: our own mapping; no reference into it is left.
        unsafe { libc::munmap(self.edge.sub(WINDOW).cast(), WINDOW + 4096) };
    }
}
