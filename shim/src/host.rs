//! ringer-kernel's host: raw Linux calls through the gate.
//!
//! Futexes are shared ones, never FUTEX_PRIVATE_FLAG: the other side is another process.

use core::sync::atomic::{AtomicU32, Ordering::*};

use ringer_kernel::abi::Errno;
use ringer_kernel::host::Host;
use ringer_kernel::sync::futex::{Futex, Signals, Slept};
use ringer_kernel::sync::wait_queue::Processors;

use crate::gate::{self, sys, Timespec};
use crate::procfs::{self, Path};
use crate::tls::tls;

/// The running process.
#[derive(Clone, Copy)]
pub struct Shim;

/// Cached: 0 unknown, 1 one processor, 2 many.
static PROCESSORS: AtomicU32 = AtomicU32::new(0);

const FUTEX_WAKE: usize = 1;
const MADV_POPULATE_WRITE: usize = 23;

impl Futex for Shim {
    fn wait(&self, word: &AtomicU32, value: u32, timeout_ns: u64, signals: Signals) -> Slept {
        let timeout = Timespec {
            sec: (timeout_ns / 1_000_000_000) as i64,
            nsec: (timeout_ns % 1_000_000_000) as i64,
        };
        static NEVER: u32 = 0;
        let note = match signals {
            Signals::End => tls().note.as_ptr().cast_const(),
            Signals::Wait => &raw const NEVER,
        };
        let ret = gate::futex_wait(note, word.as_ptr(), value, &timeout);
        // After a pthread_cancel(3) every wake-up is a chance to see it: the call is left, and
        // made again if this thread is not the one.
        if signals == Signals::End && (tls().noted() != 0 || crate::hooks::cancelling()) {
            return Slept::Signal;
        }
        if ret == gate::RESTARTED {
            crate::halt::note();
        }
        if ret == -(libc::ETIMEDOUT as isize) || ret == gate::RESTARTED {
            crate::leaving::look();
            return Slept::TimedOut;
        }
        Slept::Woken
    }

    fn wake(&self, word: &AtomicU32, n: u32) -> u32 {
        sys!(libc::SYS_futex, word.as_ptr(), FUTEX_WAKE, n).max(0) as u32
    }

    /// IA32_TSC_AUX, which Linux sets to the processor's number, read along with the counter.
    fn cpu(&self) -> u32 {
        let mut aux = 0;
        // SAFETY: RDTSCP is there wherever Linux 5.11 and Syscall User Dispatch are used on
        // x86-64 hardware of the last fifteen years; `aux` is ours.
        unsafe { core::arch::x86_64::__rdtscp(&raw mut aux) };
        aux & 0xfff
    }

    fn ticks(&self) -> u64 {
        tsc()
    }

    fn halts(&self) -> u32 {
        crate::halt::count()
    }
}

impl Host for Shim {
    fn populate(&self, p: *mut u8, len: usize) -> bool {
        populate(p, len)
    }

    fn thread_is_gone(&self, pid: u32, tid: u32, start: u64) -> bool {
        crate::procfs::thread_is_gone(pid, tid, start)
    }

    fn namespace(&self) -> u32 {
        crate::namespace::current()
    }

    fn sleeps_elsewhere(&self, pid: u32, tid: u32) -> Option<u64> {
        crate::procfs::sleeps_elsewhere(pid, tid)
    }

    fn is_stopped(&self, pid: u32, tid: u32) -> bool {
        crate::procfs::is_stopped(pid, tid)
    }

    fn processors(&self) -> Processors {
        match PROCESSORS.load(Relaxed) {
            0 => count_processors(),
            1 => Processors::One,
            _ => Processors::Many,
        }
    }

    fn tsc(&self) -> u64 {
        tsc()
    }

    fn restarts(&self) -> bool {
        crate::tls::tls().restart.get() != 0
    }

    /// time(2) of the vDSO: no system call.
    fn wall_secs(&self) -> u64 {
        // SAFETY: a null pointer asks for the result only.
        unsafe { libc::time(core::ptr::null_mut()) as u64 }
    }

    fn monotonic_ns(&self) -> u64 {
        crate::attach::now_ns()
    }

    fn make_file(&self, path: &[u8], len: u64) -> Result<(), Errno> {
        let errno = |ret: isize| Errno::from_ret(ret).unwrap_or(Errno::ENOMEM);
        // SAFETY: all zero is a valid statfs.
        let mut room: libc::statfs = unsafe { core::mem::zeroed() };
        let asked = sys!(libc::SYS_statfs, c"/dev/shm".as_ptr(), &raw mut room);
        if asked == 0 && room.f_blocks != 0 && len / room.f_bsize as u64 > room.f_bavail {
            return Err(Errno::ENOMEM); // a page that can not be had later would be SIGBUS
        }
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
        let fd = sys!(
            libc::SYS_openat,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags | libc::O_NOFOLLOW,
            0o600
        );
        if fd < 0 {
            return Err(errno(fd));
        }
        let sized = sys!(libc::SYS_ftruncate, fd, len);
        sys!(libc::SYS_close, fd);
        if sized < 0 {
            self.remove_file(path);
            return Err(errno(sized));
        }
        Ok(())
    }

    fn share_file(&self, path: &[u8], uid: u32, gid: u32, mode: u32) {
        sys!(libc::SYS_fchmodat, libc::AT_FDCWD, path.as_ptr(), mode);
        sys!(
            libc::SYS_fchownat,
            libc::AT_FDCWD,
            path.as_ptr(),
            uid,
            gid,
            0
        );
    }

    fn file_bytes(&self, path: &[u8]) -> u64 {
        // SAFETY: all zero is a valid stat.
        let mut st: libc::stat = unsafe { core::mem::zeroed() };
        let at = libc::AT_FDCWD;
        let ret = sys!(libc::SYS_newfstatat, at, path.as_ptr(), &raw mut st, 0);
        if ret == 0 {
            st.st_blocks as u64 * 512
        } else {
            0
        }
    }

    fn remove_file(&self, path: &[u8]) {
        sys!(libc::SYS_unlinkat, libc::AT_FDCWD, path.as_ptr(), 0);
    }

    fn queue_is_gone(&self, id: u32) {
        crate::call::mq::forget_twin(id);
    }
    fn now_ns(&self) -> u64 {
        crate::attach::now_ns()
    }
}

/// Makes the pages exist. On a kernel without MADV_POPULATE_WRITE (before 5.14) they come when
/// they are touched.
pub fn populate(p: *mut u8, len: usize) -> bool {
    let start = p as usize & !4095;
    let end = (p as usize + len + 4095) & !4095;
    let ret = sys!(libc::SYS_madvise, start, end - start, MADV_POPULATE_WRITE);
    ret == 0 || ret == -(libc::EINVAL as isize)
}

pub fn tsc() -> u64 {
    // SAFETY: every x86-64 has a time-stamp counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Processors of the machine that are online, not those this thread may run on: its peer may be
/// bound to another one. (Two that share one processor find out that spinning never pays.)
#[cold]
fn count_processors() -> Processors {
    let mut list = [0u8; 16];
    let n = procfs::slurp(
        &Path::new().text("/sys/devices/system/cpu/online"),
        &mut list,
    );
    // "0" alone is one processor; "0-3", "0,2" are many. Without /sys: many.
    let one = n > 0
        && list
            .iter()
            .take(n as usize)
            .all(|b| b.is_ascii_digit() || *b == b'\n');
    PROCESSORS.store(if one { 1 } else { 2 }, Relaxed);
    if one {
        Processors::One
    } else {
        Processors::Many
    }
}

pub fn getpid() -> u32 {
    sys!(libc::SYS_getpid) as u32
}

pub fn gettid() -> u32 {
    sys!(libc::SYS_gettid) as u32
}

pub fn getppid() -> u32 {
    sys!(libc::SYS_getppid) as u32
}
