//! ringer-kernel's host in the supervisor: raw Linux calls, no shim.
//!
//! Futexes are shared ones, never FUTEX_PRIVATE_FLAG: the other side is another process.

use std::sync::atomic::AtomicU32;

use ringer_kernel::host::Host;
use ringer_kernel::sync::futex::{Futex, Signals, Slept};
use ringer_kernel::sync::wait_queue::Processors;

use super::{clock, procfs};

/// This process.
#[derive(Clone, Copy, Debug)]
pub struct Here;

impl Futex for Here {
    fn wait(&self, word: &AtomicU32, value: u32, timeout_ns: u64, _: Signals) -> Slept {
        let timeout = libc::timespec {
            tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
        };
        // SAFETY: an aligned word that lives as long as the mapping, and a timespec of ours.
        let ret = unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT,
                value,
                &raw const timeout,
            )
        };
        let errno = std::io::Error::last_os_error().raw_os_error();
        if ret == -1 && errno == Some(libc::ETIMEDOUT) {
            Slept::TimedOut
        } else {
            Slept::Woken
        }
    }

    fn wake(&self, word: &AtomicU32, n: u32) -> u32 {
        // SAFETY: FUTEX_WAKE only looks the address up.
        let ret = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, n) };
        u32::try_from(ret).unwrap_or(0)
    }
}

impl Host for Here {
    fn populate(&self, p: *mut u8, len: usize) -> bool {
        populate(p, len)
    }

    fn thread_is_gone(&self, pid: u32, tid: u32, start: u64) -> bool {
        procfs::thread_is_gone(pid, tid, start)
    }

    fn namespace(&self) -> u32 {
        super::namespace::own()
    }

    fn sleeps_elsewhere(&self, pid: u32, tid: u32) -> Option<u64> {
        procfs::sleeps_elsewhere(pid, tid)
    }

    fn processors(&self) -> Processors {
        if super::processors() == 1 {
            Processors::One
        } else {
            Processors::Many
        }
    }

    fn tsc(&self) -> u64 {
        clock::tsc()
    }

    fn wall_secs(&self) -> u64 {
        // SAFETY: a null pointer asks for the result only.
        unsafe { libc::time(std::ptr::null_mut()) as u64 }
    }

    fn monotonic_ns(&self) -> u64 {
        clock::both().0
    }

    fn remove_file(&self, path: &[u8]) {
        use std::os::unix::ffi::OsStrExt;
        let end = path.iter().position(|&b| b == 0).unwrap_or(path.len());
        let path = std::ffi::OsStr::from_bytes(&path[..end]);
        let _ = std::fs::remove_file(path); // it may be gone already
    }
}

/// Makes pages exist; a kernel without MADV_POPULATE_WRITE (before 5.14) makes them when they
/// are touched.
pub fn populate(p: *mut u8, len: usize) -> bool {
    let start = p as usize & !4095;
    let end = (p as usize + len).next_multiple_of(4096);
    // SAFETY: MADV_POPULATE_WRITE changes no contents; a range that is not mapped is an error.
    let ret = unsafe {
        libc::madvise(
            start as *mut libc::c_void,
            end - start,
            libc::MADV_POPULATE_WRITE,
        )
    };
    ret == 0 || std::io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL)
}
