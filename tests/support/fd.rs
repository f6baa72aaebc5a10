//! Descriptors: making, duplicating, asking and closing them. See pipe(2), dup(2), fcntl(2).

use crate::{check, Sys};
use libc::c_int;
use std::ffi::CString;
use std::mem::MaybeUninit;

/// An open descriptor, closed when dropped.
#[derive(Debug, PartialEq, Eq)]
pub struct Fd(c_int);

/// What a descriptor can be given as: a number, or a borrowed [`Fd`].
pub trait Descriptor: Copy {
    fn number(self) -> c_int;
}

impl Descriptor for c_int {
    fn number(self) -> c_int {
        self
    }
}

impl Descriptor for &Fd {
    fn number(self) -> c_int {
        self.0
    }
}

impl Fd {
    /// Takes charge of a number that a system call has just returned.
    pub fn own(number: usize) -> Fd {
        Fd(number as c_int)
    }

    pub fn number(&self) -> c_int {
        self.0
    }

    /// Gives up the charge: it stays open.
    pub fn leak(self) -> c_int {
        let number = self.0;
        std::mem::forget(self);
        number
    }

    /// close(2), with its result.
    pub fn close(self) -> Sys {
        close(self.leak())
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        let _ = close(self.0);
    }
}

/// Both ends of a pipe.
#[derive(Debug)]
pub struct Pipe {
    pub r: Fd,
    pub w: Fd,
}

/// pipe(2).
pub fn pipe() -> Pipe {
    let mut ends = [-1; 2];
    // SAFETY: room for two ints.
    check(unsafe { libc::pipe(ends.as_mut_ptr()) }).expect("pipe");
    Pipe {
        r: Fd(ends[0]),
        w: Fd(ends[1]),
    }
}

/// pipe2(2).
pub fn pipe2(flags: c_int) -> Result<Pipe, i32> {
    let mut ends = [-1; 2];
    // SAFETY: room for two ints.
    match check(unsafe { libc::pipe2(ends.as_mut_ptr(), flags) }) {
        Ok(_) => Ok(Pipe {
            r: Fd(ends[0]),
            w: Fd(ends[1]),
        }),
        Err(e) => {
            assert_eq!(ends, [-1; 2], "a failed pipe2 leaves its argument alone");
            Err(e)
        }
    }
}

/// A pipe whose ends do not block.
pub fn nonblocking_pipe() -> Pipe {
    pipe2(libc::O_NONBLOCK).expect("pipe2")
}

pub fn close(fd: impl Descriptor) -> Sys {
    // SAFETY: closes what the test says; an `Fd` of that number then closes nothing, or EBADF.
    check(unsafe { libc::close(fd.number()) })
}

pub fn dup(fd: impl Descriptor) -> Result<Fd, i32> {
    // SAFETY: a number.
    check(unsafe { libc::dup(fd.number()) }).map(Fd::own)
}

/// The result is the number only: whose it is depends on what was there.
pub fn dup2(old: impl Descriptor, new: impl Descriptor) -> Sys {
    // SAFETY: numbers.
    check(unsafe { libc::dup2(old.number(), new.number()) })
}

pub fn dup3(old: impl Descriptor, new: impl Descriptor, flags: c_int) -> Sys {
    // SAFETY: numbers.
    check(unsafe { libc::dup3(old.number(), new.number(), flags) })
}

/// fcntl(2) with a number as its argument.
pub fn fcntl(fd: impl Descriptor, command: c_int, argument: usize) -> Sys {
    // SAFETY: the commands in use take numbers; a wrong one gets EFAULT or EINVAL.
    check(unsafe { libc::fcntl(fd.number(), command, argument) })
}

/// `F_GETFL`.
pub fn status_flags(fd: impl Descriptor) -> c_int {
    fcntl(fd, libc::F_GETFL, 0).expect("F_GETFL") as c_int
}

/// `F_SETFL`.
pub fn set_status_flags(fd: impl Descriptor, flags: c_int) -> Sys {
    fcntl(fd, libc::F_SETFL, flags as usize)
}

/// Sets or clears `O_NONBLOCK`, and nothing else.
pub fn set_nonblocking(fd: impl Descriptor, on: bool) {
    let rest = status_flags(fd) & !libc::O_NONBLOCK;
    set_status_flags(fd, rest | if on { libc::O_NONBLOCK } else { 0 }).expect("F_SETFL");
}

/// Whether `FD_CLOEXEC` is set.
pub fn close_on_exec(fd: impl Descriptor) -> bool {
    fcntl(fd, libc::F_GETFD, 0).expect("F_GETFD") & libc::FD_CLOEXEC as usize != 0
}

pub fn is_open(fd: impl Descriptor) -> bool {
    fcntl(fd, libc::F_GETFD, 0).is_ok()
}

pub fn set_pipe_size(fd: impl Descriptor, size: usize) -> Sys {
    fcntl(fd, libc::F_SETPIPE_SZ, size)
}

pub fn pipe_size(fd: impl Descriptor) -> usize {
    fcntl(fd, libc::F_GETPIPE_SZ, 0).expect("F_GETPIPE_SZ")
}

/// ioctl(2) with a pointer to an int, which it may change.
pub fn ioctl_int(fd: impl Descriptor, request: libc::c_ulong, value: &mut c_int) -> Sys {
    // SAFETY: a valid int, which is what the requests in use take.
    check(unsafe { libc::ioctl(fd.number(), request, value) })
}

/// `FIONREAD`: bytes waiting.
pub fn bytes_waiting(fd: impl Descriptor) -> Sys {
    let mut n = -1;
    ioctl_int(fd, libc::FIONREAD, &mut n).map(|_| n as usize)
}

pub fn fstat(fd: impl Descriptor) -> Result<libc::stat, i32> {
    let mut st = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: room for a stat.
    check(unsafe { libc::fstat(fd.number(), st.as_mut_ptr()) })?;
    // SAFETY: all zero bits are a valid stat, even if the call wrote nothing.
    Ok(unsafe { st.assume_init() })
}

/// open(2), with mode 0600 for a file that it creates.
pub fn open(path: &str, flags: c_int) -> Result<Fd, i32> {
    let path = CString::new(path).expect("a path without NUL");
    // SAFETY: a C string.
    check(unsafe { libc::open(path.as_ptr(), flags, 0o600) }).map(Fd::own)
}

/// open(2) of what a descriptor stands for: `/proc/self/fd/N`.
pub fn reopen(fd: impl Descriptor, flags: c_int) -> Result<Fd, i32> {
    open(&format!("/proc/self/fd/{}", fd.number()), flags)
}

/// lseek(2).
pub fn seek(fd: impl Descriptor, offset: i64, whence: c_int) -> Sys {
    // SAFETY: numbers.
    check(unsafe { libc::lseek(fd.number(), offset, whence) })
}

/// flock(2).
pub fn flock(fd: impl Descriptor, operation: c_int) -> Sys {
    // SAFETY: numbers.
    check(unsafe { libc::flock(fd.number(), operation) })
}

/// close_range(2).
pub fn close_range(first: u32, last: u32, flags: c_int) -> Sys {
    // SAFETY: numbers.
    check(unsafe { libc::close_range(first, last, flags) })
}

/// Sets the soft `RLIMIT_NOFILE`.
pub fn limit_descriptors(soft: u64) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a valid rlimit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }).expect("getrlimit");
    limit.rlim_cur = soft;
    // SAFETY: a valid rlimit.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }).expect("setrlimit");
}

/// An unnamed regular file.
pub fn temp_file() -> Fd {
    let dir = std::env::temp_dir();
    let dir = dir.to_str().expect("a UTF-8 temporary directory");
    open(dir, libc::O_TMPFILE | libc::O_RDWR).expect("O_TMPFILE")
}
