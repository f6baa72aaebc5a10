//! Asking about a descriptor of another process: by a duplicate of it, for a moment. See pidfd_getfd(2).

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::process;

/// A duplicate of descriptor `fd` of process `pid`. `None`: there is none, or that process may not be looked into.
pub fn descriptor(pid: u32, fd: i32) -> Option<OwnedFd> {
    let pidfd = process::pidfd(pid).ok()?;
    // SAFETY: numbers only.
    let got = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) };
    let got = i32::try_from(got).ok().filter(|&n| n >= 0)?;
    // SAFETY: a descriptor that the kernel has just made, and that nobody else has.
    Some(unsafe { OwnedFd::from_raw_fd(got) })
}

/// Bytes in a pipe: FIONREAD.
pub fn queued(pipe: &OwnedFd) -> Option<u64> {
    let mut n: libc::c_int = 0;
    // SAFETY: room for the int that this request writes.
    let ret = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &mut n) };
    u64::try_from(n).ok().filter(|_| ret == 0)
}

/// How many pages a pipe has room for.
pub fn slots(pipe: &OwnedFd) -> Option<u32> {
    const PAGE_SIZE: i32 = 4096;
    // SAFETY: numbers only.
    let size = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ) };
    u32::try_from(size / PAGE_SIZE).ok().filter(|_| size > 0)
}

/// What the kernel calls it: the path, of what has one.
pub fn name(pid: u32, fd: i32) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    Some(link.to_string_lossy().into_owned())
}
