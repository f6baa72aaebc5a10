//! The twin of a queue: a FIFO beside the session's arena, on which every descriptor of the queue is
//! opened, by whatever process. Two slots, one token a slot; see `sys::mqueue::mirror`.
//!
//! Its descriptors are open for reading and writing and never block: the program's flags are in the
//! open file description.

use core::sync::atomic::Ordering::*;

use ringer_kernel::file::{fd_table, MqFile};
use ringer_kernel::mqueue::Queue;
use ringer_kernel::pipe::watch::Tokens;
use ringer_kernel::sys::mqueue;
use ringer_kernel::task::Process;

use crate::borrow::Borrowing;
use crate::call::pipe::{F_GETPIPE_SZ, F_SETPIPE_SZ};
use crate::entry::Entry;
use crate::gate::sys;
use crate::{adopt, attach, env};

/// A write of a whole page is a slot of its own, and never merged into another.
const TOKEN: usize = 4096;
pub const BYTES: usize = 2 * TOKEN;

static ZEROS: [u8; TOKEN] = [0; TOKEN];

/// A name under the session's: "/dev/shm/ringer-1-2+mq3".
pub struct Path([u8; 600]);

impl Path {
    pub fn of(id: u32) -> Option<Path> {
        let mut bytes = [0u8; 600];
        let session = env::session_path()?;
        let mut digits = [0u8; 10];
        let mut n = id;
        let mut count = 0;
        for d in &mut digits {
            *d = b'0' + (n % 10) as u8;
            n /= 10;
            count += 1;
            if n == 0 {
                break;
            }
        }
        let number = digits.iter().take(count).rev();
        let text = session.iter().chain(b"+mq").chain(number);
        for (to, from) in bytes.iter_mut().take(599).zip(text) {
            *to = *from;
        }
        Some(Path(bytes))
    }

    pub fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    pub fn open(&self) -> isize {
        let flags = libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOFOLLOW;
        sys!(libc::SYS_openat, libc::AT_FDCWD, self.as_ptr(), flags, 0)
    }
}

/// The queue mq#`id` is no more.
pub fn forget_twin(id: u32) {
    if let Some(path) = Path::of(id) {
        sys!(libc::SYS_unlinkat, libc::AT_FDCWD, path.as_ptr(), 0);
    }
}

/// Whether `fd` is open on the queue's twin.
pub fn is_twin(q: &Queue, fd: i32) -> bool {
    adopt::identity(fd)
        .is_some_and(|(dev, ino, _)| q.dev.load(Relaxed) == dev && q.ino.load(Relaxed) == ino)
}

/// The twin by the descriptor of a call - or, when another thread has closed that meanwhile, by its
/// name.
pub struct Twin {
    fd: i32,
    file_slot: u32,
    process: &'static Process,
    id: u32,
}

impl Twin {
    #[inline(always)]
    pub fn of(process: &'static Process, e: &MqFile, fd: i32) -> Twin {
        Twin {
            fd,
            file_slot: e.file_slot(),
            process,
            id: e.queue.id.load(Relaxed),
        }
    }

    #[cold]
    fn with<R>(&self, f: impl FnOnce(i32) -> R) -> Option<R> {
        let named = attach::arena()
            .is_some_and(|a| fd_table::slot_of(a, self.process, self.fd) == self.file_slot);
        if named {
            return Some(f(self.fd));
        }
        let _no_fork = Borrowing::begin();
        let fd = i32::try_from(Path::of(self.id)?.open()).ok()?;
        if fd < 0 {
            return None;
        }
        let result = f(fd);
        sys!(libc::SYS_close, fd);
        Some(result)
    }
}

impl Tokens for Twin {
    fn add(&self, n: u32) -> u32 {
        let one = |fd| sys!(libc::SYS_write, fd, ZEROS.as_ptr(), TOKEN) > 0;
        self.with(|fd| (0..n).take_while(|_| one(fd)).count() as u32)
            .unwrap_or(0)
    }

    fn take(&self, n: u32) -> u32 {
        let mut sink = [0u8; TOKEN];
        self.with(|fd| {
            (0..n)
                .take_while(|_| sys!(libc::SYS_read, fd, sink.as_mut_ptr(), TOKEN) > 0)
                .count() as u32
        })
        .unwrap_or(0)
    }

    fn count(&self) -> Option<u32> {
        self.with(|fd| {
            let mut n = 0i32;
            let ret = sys!(libc::SYS_ioctl, fd, libc::FIONREAD, &raw mut n);
            (ret == 0).then_some((n as u32).div_ceil(TOKEN as u32))
        })?
    }

    /// A write that fails with EFAULT, or EAGAIN at a full twin, wakes pollers as any other.
    fn poke(&self) {
        /// Passes access_ok, and is never mapped (vm.mmap_min_addr).
        const NOWHERE: usize = 8;
        self.with(|fd| sys!(libc::SYS_write, fd, NOWHERE, 1));
    }

    /// Setting the size, to what it is, wakes writers.
    fn tell_room(&self) {
        self.with(|fd| {
            let size = sys!(libc::SYS_fcntl, fd, F_GETPIPE_SZ, 0);
            if size > 0 {
                sys!(libc::SYS_fcntl, fd, F_SETPIPE_SZ, size);
            }
        });
    }
}

/// A descriptor of the queue is about to be asked about: from now on readiness is mirrored.
pub fn watch(entry: &Entry, p: &'static Process, e: &MqFile, fd: i32, how: u32) {
    if e.queue.watched.load(Acquire) & how == how {
        return;
    }
    if let Some(k) = entry.ctx(fd) {
        mqueue::watch(&k, &e.handle(), &Twin::of(p, e, fd), how);
    }
}
