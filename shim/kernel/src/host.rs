//! What ringer-kernel needs from the process that it runs in: sleeping, waking, memory, time.

use crate::abi::Errno;
use crate::sync::futex::Futex;
use crate::sync::wait_queue::Processors;

/// Where a program sleeps that waits for children, time, signals, descriptors: what /proc/PID/wchan says,
/// up to the suffix of a function that was split (`.isra.0`). Not where data are moved: that ringer
/// does under locks, too. (Linux v5.10 to v6.18)
const SLEEPS: [&str; 7] = [
    "do_wait",
    "do_nanosleep",
    "hrtimer_nanosleep",
    "do_sigtimedwait",
    "sigsuspend",
    "poll_schedule_timeout",
    "ep_poll",
];

/// Whether a thread that sleeps in this function of Linux holds no lock of ringer's for sure.
pub fn sleeps_without_locks(wchan: &[u8]) -> bool {
    let end = wchan
        .iter()
        .position(|b| !b.is_ascii_alphanumeric() && *b != b'_');
    let name = wchan.get(..end.unwrap_or(wchan.len()));
    name.is_some_and(|name| SLEEPS.iter().any(|s| s.as_bytes() == name))
}

/// The world outside. The shim's goes through its gate; the tests' through std.
pub trait Host: Futex {
    /// Makes the pages at `p..p + len` exist. `false`: no memory for them.
    fn populate(&self, p: *mut u8, len: usize) -> bool;

    /// Whether no thread `tid` of process `pid`, started at `start` clock ticks after boot, lives
    /// any more. Asks the real kernel; slow.
    fn thread_is_gone(&self, pid: u32, tid: u32, start: u64) -> bool;

    /// The PID namespace whose numbers the two questions around this one are about: the inode of
    /// /proc/self/ns/pid. 0: it can not be known.
    fn namespace(&self) -> u32 {
        0
    }

    /// Whether the thread sleeps where nobody is who holds a lock ([`sleeps_without_locks`]): how often it
    /// has given up its processor until now. `None`: it does not, or nobody can tell.
    fn sleeps_elsewhere(&self, pid: u32, tid: u32) -> Option<u64> {
        let _ = (pid, tid);
        None
    }

    /// Whether the thread is stopped, by a signal: state `T` in proc(5). Asks the real kernel; slow. `false` also
    /// if nobody can tell.
    fn is_stopped(&self, pid: u32, tid: u32) -> bool {
        let _ = (pid, tid);
        false
    }

    fn processors(&self) -> Processors;

    /// Time-stamp counter, for log records.
    fn tsc(&self) -> u64;

    /// Whether the signal that has just ended a wait lets the call be made again (SA_RESTART).
    fn restarts(&self) -> bool {
        false
    }

    /// CLOCK_REALTIME, whole seconds: the times that objects of System V have.
    fn wall_secs(&self) -> u64 {
        0
    }

    /// CLOCK_MONOTONIC, for the timeout of a call.
    fn monotonic_ns(&self) -> u64 {
        0
    }

    /// Makes a file of `len` bytes for a segment of shared memory; its path ends with a NUL. ENOMEM: there
    /// is no room.
    fn make_file(&self, path: &[u8], len: u64) -> Result<(), Errno> {
        let _ = (path, len);
        Err(Errno::ENOMEM)
    }

    /// Who may open such a file: as the segment's owner and mode say.
    fn share_file(&self, path: &[u8], uid: u32, gid: u32, mode: u32) {
        let _ = (path, uid, gid, mode);
    }

    /// Bytes of it that are in memory.
    fn file_bytes(&self, path: &[u8]) -> u64 {
        let _ = path;
        0
    }

    fn remove_file(&self, path: &[u8]) {
        let _ = path;
    }

    /// Message queue mq#`id` is no more: its twin goes, too.
    fn queue_is_gone(&self, id: u32) {
        let _ = id;
    }
    /// CLOCK_MONOTONIC, for timeouts: nanoseconds.
    fn now_ns(&self) -> u64 {
        0
    }
}

/// The real descriptor under an emulated one.
pub trait Twin {
    /// Whether the kernel says that the other end has no holder any more (POLLHUP, POLLERR).
    fn peer_gone(&self) -> bool;

    /// Whether the descriptor of the call still names what it named when the call began.
    fn is_open(&self) -> bool;

    /// The call is about to wait, and holds the file from here on: whoever closes the descriptor
    /// sees to that. `false`: it was closed just before.
    fn hold(&self) -> bool {
        true
    }

    /// The call waits no more.
    fn let_go(&self) {}

    /// A datagram socket has found its peer dead, and so is connected no more.
    fn disconnect(&self) {}

    /// That the peer went without reading everything was told: if the kernel knows it as well, it is to forget it.
    fn reset_told(&self) {}
}

/// Guest memory, reached by fault-safe copies only.
pub trait UserRead {
    /// Copies the next `len` bytes to `dst` and advances. `false`: EFAULT, nothing advanced.
    fn copy_in(&mut self, dst: *mut u8, len: usize) -> bool;
    /// Goes back to an earlier position, in bytes from the start.
    fn rewind(&mut self, to: usize);
    fn position(&self) -> usize;
}

/// See [`UserRead`].
pub trait UserWrite {
    /// Copies `len` bytes from `src` to the next ones and advances. `false`: EFAULT.
    fn copy_out(&mut self, src: *const u8, len: usize) -> bool;
}

/// Where a process dies in a crash test. Free in a build without the feature.
#[inline(always)]
pub fn crash_point(name: &str) {
    #[cfg(feature = "crash-points")]
    crash::reached(name);
    #[cfg(not(feature = "crash-points"))]
    let _ = name;
}

#[cfg(feature = "crash-points")]
pub mod crash {
    use crate::sync::atomic::{AtomicU64, Ordering::*};
    static HANDLER: AtomicU64 = AtomicU64::new(0);

    /// `f` is called at every crash point.
    pub fn set_handler(f: fn(&str)) {
        HANDLER.store(f as usize as u64, Release);
    }

    pub(super) fn reached(name: &str) {
        let f = HANDLER.load(Acquire) as usize;
        if f != 0 {
            // SAFETY: only `set_handler` stores here, and only a `fn(&str)`.
            let f = unsafe { core::mem::transmute::<usize, fn(&str)>(f) };
            f(name);
        }
    }
}
