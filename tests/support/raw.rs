//! The same calls past the PLT, where no symbol hook sees them: by `syscall(2)`, and by `syscall`
//! instructions of our own.

use crate::fd::{Descriptor, Fd, Pipe};
use crate::{check, Sys};
use libc::{c_int, c_long};

/// By libc's `syscall(2)`.
pub mod by_libc {
    use super::*;

    pub fn read(fd: impl Descriptor, buf: &mut [u8]) -> Sys {
        let (at, len) = (buf.as_mut_ptr(), buf.len());
        // SAFETY: `buf` is writable for its length.
        check(unsafe { libc::syscall(libc::SYS_read, fd.number(), at, len) })
    }

    pub fn write(fd: impl Descriptor, buf: &[u8]) -> Sys {
        let (at, len) = (buf.as_ptr(), buf.len());
        // SAFETY: `buf` is readable for its length.
        check(unsafe { libc::syscall(libc::SYS_write, fd.number(), at, len) })
    }

    pub fn close(fd: impl Descriptor) -> Sys {
        // SAFETY: a number.
        check(unsafe { libc::syscall(libc::SYS_close, fd.number()) })
    }

    pub fn pipe2(flags: c_int) -> Result<Pipe, i32> {
        let mut ends: [c_int; 2] = [-1; 2];
        // SAFETY: room for two ints.
        check(unsafe { libc::syscall(libc::SYS_pipe2, ends.as_mut_ptr(), flags) })?;
        Ok(Pipe {
            r: Fd::own(ends[0] as usize),
            w: Fd::own(ends[1] as usize),
        })
    }

    pub fn dup(fd: impl Descriptor) -> Result<Fd, i32> {
        // SAFETY: a number.
        check(unsafe { libc::syscall(libc::SYS_dup, fd.number()) }).map(Fd::own)
    }

    pub fn dup2(old: impl Descriptor, new: impl Descriptor) -> Sys {
        // SAFETY: numbers.
        check(unsafe { libc::syscall(libc::SYS_dup2, old.number(), new.number()) })
    }

    pub fn fcntl(fd: impl Descriptor, command: c_int, argument: usize) -> Sys {
        // SAFETY: the commands in use take numbers.
        check(unsafe { libc::syscall(libc::SYS_fcntl, fd.number(), command, argument) })
    }

    pub fn poll(fds: &mut [libc::pollfd], timeout_ms: c_int) -> Sys {
        // SAFETY: a valid array.
        check(unsafe { libc::syscall(libc::SYS_poll, fds.as_mut_ptr(), fds.len(), timeout_ms) })
    }
}

/// By a `syscall` instruction in this binary.
#[cfg(target_arch = "x86_64")]
pub mod inline {
    use super::*;

    /// # Safety
    ///
    /// As the system call's.
    unsafe fn syscall(number: c_long, a: usize, b: usize, c: usize) -> Sys {
        let ret: isize;
        // SAFETY: the kernel preserves all registers but rax, rcx and r11.
        unsafe {
            std::arch::asm!(
                "syscall",
                inlateout("rax") number as isize => ret,
                in("rdi") a, in("rsi") b, in("rdx") c,
                lateout("rcx") _, lateout("r11") _,
                options(nostack),
            );
        }
        match ret {
            -4095..=-1 => Err(-ret as i32),
            n => Ok(n as usize),
        }
    }

    pub fn read(fd: impl Descriptor, buf: &mut [u8]) -> Sys {
        let (at, len) = (buf.as_mut_ptr() as usize, buf.len());
        // SAFETY: `buf` is writable for its length.
        unsafe { syscall(libc::SYS_read, fd.number() as usize, at, len) }
    }

    pub fn write(fd: impl Descriptor, buf: &[u8]) -> Sys {
        let (at, len) = (buf.as_ptr() as usize, buf.len());
        // SAFETY: `buf` is readable for its length.
        unsafe { syscall(libc::SYS_write, fd.number() as usize, at, len) }
    }

    pub fn close(fd: impl Descriptor) -> Sys {
        // SAFETY: a number.
        unsafe { syscall(libc::SYS_close, fd.number() as usize, 0, 0) }
    }

    pub fn pipe2(flags: c_int) -> Result<Pipe, i32> {
        let mut ends: [c_int; 2] = [-1; 2];
        let at = ends.as_mut_ptr() as usize;
        // SAFETY: room for two ints.
        unsafe { syscall(libc::SYS_pipe2, at, flags as usize, 0) }?;
        Ok(Pipe {
            r: Fd::own(ends[0] as usize),
            w: Fd::own(ends[1] as usize),
        })
    }

    pub fn dup(fd: impl Descriptor) -> Result<Fd, i32> {
        // SAFETY: a number.
        unsafe { syscall(libc::SYS_dup, fd.number() as usize, 0, 0) }.map(Fd::own)
    }

    pub fn poll(fds: &mut [libc::pollfd], timeout_ms: c_int) -> Sys {
        let (at, n) = (fds.as_mut_ptr() as usize, fds.len());
        // SAFETY: a valid array.
        unsafe { syscall(libc::SYS_poll, at, n, timeout_ms as usize) }
    }
}
