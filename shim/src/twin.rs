//! The real pipe under an emulated one: what it is asked, and how tokens and bytes get into it.

use core::sync::atomic::Ordering::Acquire;

use ringer_kernel::file::{fd_table, End, PipeEnd, SocketFile};
use ringer_kernel::host::Twin;
use ringer_kernel::pipe::demote::Flush;
use ringer_kernel::pipe::watch::Tokens;
use ringer_kernel::pipe::Ctx;
use ringer_kernel::task::{Process, Task};

use crate::attach;
use crate::borrow::Borrowing;
use crate::gate::sys;
use crate::host::Shim;
use crate::linger;
use crate::peer;
use crate::procfs::Path;
use crate::user::Iovec;

/// One end, by a descriptor of this process.
#[derive(Clone, Copy)]
pub struct TwinEnd {
    pub fd: i32,
    pub file_slot: u32,
    pub process: &'static Process,
    /// Of a pipe.
    pub end: Option<End>,
}

const POLLIN: i16 = 1;
const POLLERR: i16 = 8;
const POLLHUP: i16 = 16;
const RWF_NOWAIT: usize = 8;
const SPLICE_F_NONBLOCK: usize = 2;
/// Most tokens moved by one call.
const BATCH: usize = 64;

/// Whether the kernel reports that the other end has no holder.
pub fn hung_up(fd: i32) -> bool {
    let mut p = libc::pollfd {
        fd,
        events: POLLIN,
        revents: 0,
    };
    let n = sys!(libc::SYS_poll, &raw mut p, 1, 0);
    n > 0 && p.revents & (POLLHUP | POLLERR) != 0
}

fn this_task() -> Option<&'static Task> {
    // SAFETY: null, or this thread's slot in the arena, which stays mapped.
    unsafe { crate::tls::tls().task.get().as_ref() }
}

impl Twin for TwinEnd {
    fn peer_gone(&self) -> bool {
        if self.is_open() {
            return hung_up(self.fd);
        }
        // Closed by another thread during the call: the number may be anything now.
        if let Some(fd) = linger::stand_in() {
            return hung_up(fd);
        }
        // Not kept open for us: the counts are all there is.
        attach::arena()
            .and_then(|a| fd_table::pipe_end(a, self.file_slot))
            .is_some_and(|e| match e.end {
                End::Read => e.pipe.writers.load(Acquire) == 0,
                End::Write => e.pipe.readers.load(Acquire) == 0,
            })
    }

    fn is_open(&self) -> bool {
        attach::arena()
            .is_some_and(|a| fd_table::slot_of(a, self.process, self.fd) == self.file_slot)
    }

    fn hold(&self) -> bool {
        if let Some(task) = this_task() {
            linger::hold(task, self.file_slot, self.fd);
        }
        self.is_open()
    }

    fn let_go(&self) {
        if let Some(task) = this_task() {
            linger::let_go(task);
        }
    }
}

/// One of a pair of sockets, by a descriptor of this process.
#[derive(Clone, Copy)]
pub struct SocketTwin<'a> {
    pub k: &'a Ctx<'a, Shim>,
    pub fd: i32,
    pub process: &'static Process,
    pub socket: SocketFile,
}

impl SocketTwin<'_> {
    fn end(&self) -> TwinEnd {
        TwinEnd {
            fd: self.fd,
            file_slot: self.socket.file_slot(),
            process: self.process,
            end: None,
        }
    }
}

impl Twin for SocketTwin<'_> {
    fn peer_gone(&self) -> bool {
        if self.is_open() {
            return peer::is_gone(self.k, self.fd, &self.socket.id());
        }
        // Closed by another thread during the call.
        if let Some(fd) = linger::stand_in() {
            return peer::is_gone(self.k, fd, &self.socket.id());
        }
        let other = self.socket.pair.socket(self.socket.side().other());
        other.files.load(Acquire) == 0
    }

    fn is_open(&self) -> bool {
        self.end().is_open()
    }

    fn hold(&self) -> bool {
        self.end().hold()
    }

    fn let_go(&self) {
        self.end().let_go();
    }

    fn disconnect(&self) {
        if self.is_open() {
            peer::disconnect(self.fd);
        }
    }

    fn reset_told(&self) {
        if self.is_open() {
            peer::forget_error(self.fd);
        }
    }
}

impl Tokens for TwinEnd {
    fn add(&self, n: u32) -> u32 {
        self.end().map_or(0, |e| e.add(n))
    }

    fn add_first(&self, n: u32) -> u32 {
        self.end().map_or(0, |e| e.add_first(n))
    }

    fn take(&self, n: u32) -> u32 {
        let Some(e) = self.end() else { return 0 };
        if n == 1 && self.never_waits() {
            return e.take_one();
        }
        e.take(n)
    }

    fn take_own(&self) -> u32 {
        self.end().map_or(0, |e| e.take_one())
    }

    fn count(&self) -> Option<u32> {
        self.end().and_then(|e| e.count())
    }

    fn poke(&self) {
        if let Some(e) = self.end() {
            e.poke();
        }
    }

    fn tell_room(&self) {
        if let Some(e) = self.end() {
            e.tell_room();
        }
    }
}

impl TwinEnd {
    /// The program's own flag, which is the real descriptor's.
    fn never_waits(&self) -> bool {
        attach::arena()
            .and_then(|a| fd_table::pipe_end(a, self.file_slot))
            .is_some_and(|e| e.file.has(libc::O_NONBLOCK as u32))
    }

    fn end(&self) -> Option<Ends> {
        let end = self.end?;
        let fd = if self.is_open() {
            self.fd
        } else {
            linger::stand_in()?
        };
        Some(Ends::one(fd, end))
    }
}

/// Descriptors of the twin's ends; -1 for one that is not at hand.
pub struct Ends {
    read: i32,
    write: i32,
    /// Opened for this purpose only.
    borrowed: i32,
    /// Held as long as that is open.
    _borrowing: Option<Borrowing>,
}

impl Ends {
    /// Only the end that `fd` is.
    pub fn one(fd: i32, end: End) -> Ends {
        match end {
            End::Read => Ends {
                read: fd,
                write: -1,
                borrowed: -1,
                _borrowing: None,
            },
            End::Write => Ends {
                read: -1,
                write: fd,
                borrowed: -1,
                _borrowing: None,
            },
        }
    }

    /// Both, the other one by way of /proc/self/fd. `None`: /proc or the permission is missing.
    pub fn both(e: &PipeEnd, fd: i32) -> Option<Ends> {
        Ends::reopen(fd, e.end)
    }

    pub fn reopen(fd: i32, end: End) -> Option<Ends> {
        let access = match end {
            End::Read => libc::O_WRONLY,
            End::Write => libc::O_RDONLY,
        };
        let path = Path::new().text("/proc/self/fd/").number(fd as u32);
        let flags = access | libc::O_CLOEXEC | libc::O_NONBLOCK;
        let borrowing = Borrowing::begin();
        let other = sys!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0);
        if other < 0 {
            return None;
        }
        let mut ends = Ends::one(fd, end);
        ends.borrowed = other as i32;
        ends._borrowing = Some(borrowing);
        match end {
            End::Read => ends.write = ends.borrowed,
            End::Write => ends.read = ends.borrowed,
        }
        Some(ends)
    }
}

/// Without waiting, whatever the descriptor's flags are.
fn read_now(fd: i32, part: &Iovec) -> isize {
    let at = &raw const *part;
    sys!(libc::SYS_preadv2, fd, at, 1, usize::MAX, 0, RWF_NOWAIT)
}

impl Ends {
    /// As `take(1)`, from an end that never waits: read(2), that is. preadv2(2), which has to be told not to, costs a third more.
    fn take_one(&self) -> u32 {
        let mut sink = [0u8; 1];
        match self.read {
            ..0 => 0,
            fd => u32::from(sys!(libc::SYS_read, fd, sink.as_mut_ptr(), 1) == 1),
        }
    }

    /// An end that was opened by its name in /proc does not know RWF_NOWAIT (fs/pipe.c fifo_open). One of our
    /// own never waits.
    #[cold]
    fn read_reopened(&self, part: &Iovec) -> isize {
        if self.read == self.borrowed {
            return sys!(libc::SYS_readv, self.read, &raw const *part, 1);
        }
        let path = Path::new().text("/proc/self/fd/").number(self.read as u32);
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK;
        let _no_fork = Borrowing::begin();
        let own = sys!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0);
        if own < 0 {
            return own;
        }
        let got = sys!(libc::SYS_readv, own, &raw const *part, 1);
        sys!(libc::SYS_close, own);
        got
    }
}

impl Ends {
    /// The program's flag O_DIRECT is another one now than when this was written.
    #[cold]
    fn write_reopened(&self, from: *const u8, len: usize, packet: bool) -> bool {
        let path = Path::new().text("/proc/self/fd/").number(self.write as u32);
        let direct = if packet { libc::O_DIRECT } else { 0 };
        let flags = libc::O_WRONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | direct;
        let _no_fork = Borrowing::begin();
        let own = sys!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0);
        if own < 0 {
            return false;
        }
        let put = sys!(libc::SYS_write, own, from, len);
        sys!(libc::SYS_close, own);
        put == len as isize
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if self.borrowed >= 0 {
            sys!(libc::SYS_close, self.borrowed);
        }
    }
}

impl Tokens for Ends {
    /// One byte each, spliced in: such a slot is never merged into. (vmsplice(2))
    fn add(&self, n: u32) -> u32 {
        static TOKEN: u8 = b'.';
        if self.write < 0 || n == 0 {
            return 0;
        }
        let parts = [Iovec {
            base: &raw const TOKEN as usize,
            len: 1,
        }; BATCH];
        let mut done = 0;
        while done < n {
            let batch = (n - done).min(BATCH as u32);
            let got = sys!(
                libc::SYS_vmsplice,
                self.write,
                parts.as_ptr(),
                batch,
                SPLICE_F_NONBLOCK
            );
            if got <= 0 {
                break;
            }
            done += got as u32;
        }
        done
    }

    /// The first one needs no splicing, which costs more: there is no slot that it could be merged into.
    /// (It does not block: the twin is empty.)
    fn add_first(&self, n: u32) -> u32 {
        static TOKEN: u8 = b'.';
        if self.write < 0 || n == 0 {
            return 0;
        }
        match sys!(libc::SYS_write, self.write, &raw const TOKEN, 1) {
            1 => 1 + self.add(n - 1),
            _ => 0,
        }
    }

    fn take(&self, n: u32) -> u32 {
        let mut sink = [0u8; BATCH];
        if self.read < 0 {
            return 0;
        }
        let mut done = 0;
        while done < n {
            let len = ((n - done) as usize).min(BATCH);
            let part = Iovec {
                base: sink.as_mut_ptr() as usize,
                len,
            };
            let got = match read_now(self.read, &part) {
                e if e == -(libc::EOPNOTSUPP as isize) => self.read_reopened(&part),
                got => got,
            };
            if got <= 0 {
                break;
            }
            done += got as u32;
        }
        done
    }

    /// A read or write that fails: with EFAULT, or with EAGAIN at a full or empty twin. In the
    /// kernel it ends as every other does, in waking pollers and sending SIGIO. (Linux v6.18
    /// fs/pipe.c, behind `out:`. RWF_NOWAIT would do for the write, but vmsplice(2) has taken
    /// that from the file.)
    fn poke(&self) {
        /// Passes access_ok, and is never mapped (vm.mmap_min_addr).
        const NOWHERE: usize = 8;
        if self.write < 0 {
            let part = Iovec {
                base: NOWHERE,
                len: 1,
            };
            if read_now(self.read, &part) == -(libc::EOPNOTSUPP as isize) {
                self.read_reopened(&part);
            }
            return;
        }
        // The twin may be full: it must not block. Nobody but us uses it, so the flag is ours.
        let flags = sys!(libc::SYS_fcntl, self.write, libc::F_GETFL, 0);
        let blocking = flags as i32 & libc::O_NONBLOCK == 0;
        if blocking {
            let nonblocking = flags as i32 | libc::O_NONBLOCK;
            sys!(libc::SYS_fcntl, self.write, libc::F_SETFL, nonblocking);
        }
        sys!(libc::SYS_write, self.write, NOWHERE, 1);
        if blocking {
            sys!(libc::SYS_fcntl, self.write, libc::F_SETFL, flags);
        }
    }

    /// Setting the size, to what it is, wakes writers. (Linux v6.18 fs/pipe.c `pipe_resize_ring`:
    /// "This might have made more room for writers")
    fn tell_room(&self) {
        use crate::call::pipe::{F_GETPIPE_SZ, F_SETPIPE_SZ};
        let size = sys!(libc::SYS_fcntl, self.write, F_GETPIPE_SZ, 0);
        if size > 0 {
            sys!(libc::SYS_fcntl, self.write, F_SETPIPE_SZ, size);
        }
    }

    fn count(&self) -> Option<u32> {
        let fd = if self.read >= 0 {
            self.read
        } else {
            self.write
        };
        let mut n = 0i32;
        let ret = sys!(libc::SYS_ioctl, fd, libc::FIONREAD, &raw mut n);
        (ret == 0).then_some(n as u32)
    }
}

impl Flush for Ends {
    fn make_room(&self, slots: u32) {
        let fd = if self.read >= 0 {
            self.read
        } else {
            self.write
        };
        let bytes = slots as usize * ringer_kernel::abi::limits::PAGE_SIZE;
        let now = sys!(libc::SYS_fcntl, fd, crate::call::pipe::F_GETPIPE_SZ, 0);
        if now >= 0 && (now as usize) < bytes {
            sys!(libc::SYS_fcntl, fd, crate::call::pipe::F_SETPIPE_SZ, bytes);
        }
    }

    fn write_slot(&self, from: *const u8, len: usize, packet: bool) -> bool {
        // The descriptor is our own, so its flags are nobody else's. If it is not (the write end
        // was at hand), the program's flag has to say the same.
        if self.write == self.borrowed {
            let flags = libc::O_NONBLOCK | if packet { libc::O_DIRECT } else { 0 };
            sys!(libc::SYS_fcntl, self.write, libc::F_SETFL, flags);
            return sys!(libc::SYS_write, self.write, from, len) == len as isize;
        }
        let status = sys!(libc::SYS_fcntl, self.write, libc::F_GETFL) as i32;
        if (status & libc::O_DIRECT != 0) != packet {
            return self.write_reopened(from, len, packet);
        }
        let part = Iovec {
            base: from as usize,
            len,
        };
        // It fits (a slot of the ring is a slot of the twin); if it does not, it must not block.
        const POLLOUT: i16 = 4;
        let mut p = libc::pollfd {
            fd: self.write,
            events: POLLOUT,
            revents: 0,
        };
        sys!(libc::SYS_poll, &raw mut p, 1, 0);
        if p.revents & POLLOUT == 0 {
            return false;
        }
        sys!(libc::SYS_writev, self.write, &raw const part, 1) == len as isize
    }
    /// In one call, which takes all or nothing: they lie in one slot.
    fn drop_first(&self, len: usize) -> bool {
        let mut sink = [0u8; ringer_kernel::abi::limits::PAGE_SIZE];
        let part = Iovec {
            base: sink.as_mut_ptr() as usize,
            len: len.min(sink.len()),
        };
        let got = match read_now(self.read, &part) {
            e if e == -(libc::EOPNOTSUPP as isize) => self.read_reopened(&part),
            got => got,
        };
        got == len as isize
    }
}
