//! FIFOs. See mkfifo(3), fifo(7).

use crate::child::getpid;
use crate::fd::{self, Fd};
use crate::{check, Sys};
use libc::c_int;
use std::ffi::CString;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// A FIFO of a name that nobody else uses. The name goes with it, if it is still there.
#[derive(Debug)]
pub struct Fifo {
    pub path: String,
    owner: libc::pid_t,
}

impl Fifo {
    pub fn new() -> Fifo {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, SeqCst);
        let dir = std::env::temp_dir();
        let path = format!("{}/ringer-fifo-{}-{n}", dir.display(), getpid());
        mkfifo(&path).expect("mkfifo");
        Fifo {
            path,
            owner: getpid(),
        }
    }

    pub fn open(&self, flags: c_int) -> Result<Fd, i32> {
        fd::open(&self.path, flags)
    }

    /// Both ends, opened by this process, without waiting: they block from then on.
    pub fn both(&self) -> fd::Pipe {
        let r = self
            .open(libc::O_RDONLY | libc::O_NONBLOCK)
            .expect("O_RDONLY");
        let w = self.open(libc::O_WRONLY).expect("O_WRONLY");
        fd::set_nonblocking(&r, false);
        fd::Pipe { r, w }
    }

    pub fn unlink(&self) -> Sys {
        unlink(&self.path)
    }
}

impl Default for Fifo {
    fn default() -> Fifo {
        Fifo::new()
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        if getpid() == self.owner {
            let _ = self.unlink();
        }
    }
}

pub fn mkfifo(path: &str) -> Sys {
    let path = CString::new(path).expect("a path without NUL");
    // SAFETY: a C string.
    check(unsafe { libc::mkfifo(path.as_ptr(), 0o600) })
}

pub fn unlink(path: &str) -> Sys {
    let path = CString::new(path).expect("a path without NUL");
    // SAFETY: a C string.
    check(unsafe { libc::unlink(path.as_ptr()) })
}
