//! The other socket of a pair, when only one is at hand: whoever holds it lends it for a moment.
//! Only through it can what the peer has sent be put into the real socket, when the pair goes to the
//! kernel.

use core::sync::atomic::{AtomicU32, Ordering::*};

use ringer_kernel::file::{fd_table, FileRef, SocketId};
use ringer_kernel::pipe::Ctx;
use ringer_kernel::task::{self, proc_state, Process};
use ringer_kernel::unix::demote::RealPair;
use ringer_kernel::unix::{self, shut, Side};

use crate::adopt;
use crate::borrow::Borrowing;
use crate::gate::sys;
use crate::host::Shim;
use crate::procfs::{self, Path};
use crate::user::Iovec;

const SYS_PIDFD_OPEN: i64 = 434;
const SYS_PIDFD_GETFD: i64 = 438;

/// 0: not asked yet.
static REACHABLE: AtomicU32 = AtomicU32::new(0);
const YES: u32 = 1;
const NO: u32 = 2;

/// Whether a process may lend another one's descriptors here (pidfd_getfd(2)). If not, pairs of
/// sockets are the kernel's from the start.
pub fn can_be_reached() -> bool {
    if REACHABLE.load(Relaxed) == 0 {
        let yes = nothing_forbids_it() && works();
        REACHABLE.store(if yes { YES } else { NO }, Relaxed);
    }
    REACHABLE.load(Relaxed) == YES && is_dumpable()
}

/// This process has restricted its own system calls: from now on it borrows nothing.
pub fn give_up() {
    REACHABLE.store(NO, Relaxed);
}

/// Who has changed its user or group, say, may not be looked into any more. See prctl(2).
fn is_dumpable() -> bool {
    sys!(libc::SYS_prctl, libc::PR_GET_DUMPABLE, 0, 0, 0, 0) == 1
}

/// Yama, see ptrace(2), "/proc/sys/kernel/yama/ptrace_scope".
fn nothing_forbids_it() -> bool {
    let mut scope = [0u8; 4];
    let path = Path::new().text("/proc/sys/kernel/yama/ptrace_scope");
    let n = procfs::slurp(&path, &mut scope);
    n <= 0 || scope.first() == Some(&b'0')
}

/// A seccomp filter may still.
fn works() -> bool {
    let pid = crate::host::getpid();
    let pidfd = sys!(SYS_PIDFD_OPEN, pid, 0);
    if pidfd < 0 {
        return false;
    }
    let got = sys!(SYS_PIDFD_GETFD, pidfd, pidfd, 0);
    if got >= 0 {
        sys!(libc::SYS_close, got);
    }
    sys!(libc::SYS_close, pidfd);
    got >= 0
}

/// Both sockets of a pair.
pub struct Sockets {
    fds: [i32; 2],
    /// Opened for this purpose only.
    borrowed: i32,
    _borrowing: Borrowing,
}

impl Sockets {
    /// `fd` is one of them. `None`: nobody has the other one, or nobody may look.
    pub fn of(k: &Ctx<'_, Shim>, fd: i32, s: &SocketId) -> Option<Sockets> {
        let borrowing = Borrowing::begin();
        let other = s.side.other();
        let mine = crate::attach::process_slot(crate::tls::tls());
        let own = holder(k, mine, s.slot, other);
        let own = own.filter(|&fd| is_it(s, other, fd));
        let (other_fd, borrowed) = match own {
            Some(fd) => (fd, -1),
            None => {
                let fd = borrow(k, s, other)?;
                (fd, fd)
            }
        };
        let fds = match s.side {
            Side::A => [fd, other_fd],
            Side::B => [other_fd, fd],
        };
        Some(Sockets {
            fds,
            borrowed,
            _borrowing: borrowing,
        })
    }

    fn fd(&self, side: Side) -> i32 {
        let [a, b] = self.fds;
        match side {
            Side::A => a,
            Side::B => b,
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        if self.borrowed >= 0 {
            sys!(libc::SYS_close, self.borrowed);
        }
    }
}

/// A descriptor of that socket that the process in slot `process` has, if only for a call that waits.
fn holder(k: &Ctx<'_, Shim>, process: u32, slot: u32, side: Side) -> Option<i32> {
    let p = task::process(k.arena, process)?;
    let is_it = |file_slot| {
        matches!(FileRef::of(k.arena, file_slot),
            Some(FileRef::Socket(s)) if s.slot() == slot && s.side() == side)
    };
    let mut found = None;
    fd_table::for_each(k.arena, p, 0, fd_table::MAX_FDS, |fd, file_slot| {
        if is_it(file_slot) {
            found = Some(fd);
        }
    });
    found.or_else(|| {
        let mut kept = crate::linger::kept(k, process);
        kept.find_map(|(file_slot, fd)| is_it(file_slot).then_some(fd))
    })
}

fn is_it(s: &SocketId, side: Side, fd: i32) -> bool {
    adopt::identity(fd).is_some_and(|(dev, ino, _)| s.pair.side_of(dev, ino) == Some(side))
}

/// The processes that may hold that socket: their slots, and their descriptors of it.
fn holders<'a>(
    k: &'a Ctx<'_, Shim>,
    s: &'a SocketId,
    side: Side,
) -> impl Iterator<Item = (u32, &'static Process, i32)> + 'a {
    let used = k.arena.header().procs_used.load(Relaxed);
    (1..used).filter_map(move |i| {
        let p = task::process(k.arena, i)?;
        let state = p.state.load(Acquire);
        let may_hold = matches!(state, proc_state::ANNOUNCED..=proc_state::EXECING);
        if !may_hold || p.pid.load(Acquire) == 0 {
            return None;
        }
        Some((i, p, holder(k, i, s.slot, side)?))
    })
}

/// Whether another process may hold this socket as well.
pub fn is_shared(k: &Ctx<'_, Shim>, s: &SocketId) -> bool {
    let mine = crate::attach::process(crate::tls::tls());
    holders(k, s, s.side).any(|(_, p, _)| !mine.is_some_and(|mine| core::ptr::eq(mine, p)))
}

fn borrow(k: &Ctx<'_, Shim>, s: &SocketId, side: Side) -> Option<i32> {
    let near = |p: &Process| !task::alive::is_foreign(k.host, &p.namespace);
    for (_, p, theirs) in holders(k, s, side).filter(|(_, p, _)| near(p)) {
        let pidfd = sys!(SYS_PIDFD_OPEN, p.pid.load(Relaxed), 0);
        if pidfd < 0 {
            continue;
        }
        let fd = sys!(SYS_PIDFD_GETFD, pidfd, theirs, 0) as i32;
        sys!(libc::SYS_close, pidfd);
        if fd >= 0 && is_it(s, side, fd) {
            return Some(fd);
        }
        if fd >= 0 {
            sys!(libc::SYS_close, fd); // it was closed meanwhile, and its number used again
        }
    }
    None
}

/// Whether nobody holds the other one any more.
pub fn is_gone(k: &Ctx<'_, Shim>, fd: i32, s: &SocketId) -> bool {
    match s.pair.type_of().is_connected() {
        true => crate::twin::hung_up(fd),
        false => is_abandoned(k, s),
    }
}

/// Of datagram sockets the kernel does not tell who is left. But everybody who holds one is known, and
/// those who have died without a word are found by looking. A living thread of a holder is made the
/// witness, so that the next one who asks need not look.
fn is_abandoned(k: &Ctx<'_, Shim>, s: &SocketId) -> bool {
    let side = s.side.other();
    let files = &s.pair.socket(side).files;
    if files.load(Acquire) == 0 {
        return true;
    }
    for (slot, p, _) in holders(k, s, side) {
        let generation = p.generation.load(Acquire);
        if let Some(thread) = task::living_thread(k.arena, slot) {
            s.pair.testify(side, thread);
            if holder(k, slot, s.slot, side).is_none() {
                s.pair.forget_witness(side); // closed meanwhile
            }
            return false;
        }
        let settled = matches!(
            p.state.load(Acquire),
            proc_state::LIVE..=proc_state::UNSHIMMED
        );
        if !settled || !task::process_is_gone(k.arena, k.host, slot, p) {
            return false;
        }
        task::reap::reap_if(k, slot, generation);
    }
    files.load(Acquire) == 0
}

/// Sends one message, of two pieces, without waiting. `true`: the whole of it.
fn send(fd: i32, pieces: [(*mut u8, usize); 2]) -> bool {
    let whole: usize = pieces.iter().map(|p| p.1).sum();
    send_now(fd, pieces) == whole as isize
}

/// As [`send`], with the kernel's result.
pub fn send_now(fd: i32, pieces: [(*mut u8, usize); 2]) -> isize {
    let parts = pieces.map(|(at, len)| Iovec {
        base: at as usize,
        len,
    });
    // SAFETY: all zero is a valid msghdr.
    let mut m: libc::msghdr = unsafe { core::mem::zeroed() };
    m.msg_iov = parts.as_ptr().cast_mut().cast();
    m.msg_iovlen = parts.len();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    sys!(libc::SYS_sendmsg, fd, &raw const m, flags)
}

/// What is charged to this socket (SIOCOUTQ).
pub fn charged(fd: i32) -> Option<u64> {
    ask(fd, libc::TIOCOUTQ)
}

/// What can be read (FIONREAD).
pub fn readable(fd: i32) -> Option<u64> {
    ask(fd, libc::FIONREAD)
}

/// Takes out a packet, or a part of a stream, and gives its length. `None`: there is none. (In a frame of its own, and a small one:
/// a thread may have 16 KiB of stack.)
#[inline(never)]
pub fn drop_bytes(fd: i32, most: u64) -> Option<u64> {
    let mut sink = [0u8; 1024];
    let (to, len) = (sink.as_mut_ptr(), most.min(sink.len() as u64));
    let n = sys!(libc::SYS_recvfrom, fd, to, len, libc::MSG_DONTWAIT, 0, 0);
    u64::try_from(n).ok()
}

/// Takes `n` bytes out of a stream. `false`: there were not so many.
pub fn drop_stream(fd: i32, n: u64) -> bool {
    let mut left = n;
    while left > 0 {
        match drop_bytes(fd, left) {
            Some(got) if got > 0 => left -= got.min(left),
            _ => return false,
        }
    }
    true
}

/// getsockopt(SO_ERROR): it is told, and so is no more.
pub fn forget_error(fd: i32) {
    option(fd, libc::SO_ERROR);
}

/// What was sent before accept, and is in the real socket yet, goes, but for the last `left` bytes of a stream.
fn trim_early(fd: i32, s: &SocketId, left: u64) {
    let is_stream = s.pair.type_of() == unix::Type::Stream;
    if is_stream {
        drop_stream(
            fd,
            readable(fd).map_or(0, |there| there.saturating_sub(left)),
        );
        return;
    }
    // (The end of file is like an empty packet.)
    (0..s.pair.early.load(Acquire)).all(|_| drop_bytes(fd, u64::MAX).is_some());
}

fn ask(fd: i32, request: u64) -> Option<u64> {
    let mut n = 0i32;
    let ret = sys!(libc::SYS_ioctl, fd, request, &raw mut n);
    (ret == 0).then_some(n as u64)
}

impl RealPair for Sockets {
    fn send(&self, side: Side, pieces: [(*mut u8, usize); 2]) -> bool {
        send(self.fd(side), pieces)
    }

    fn charged(&self, side: Side) -> Option<u64> {
        ask(self.fd(side), libc::TIOCOUTQ)
    }

    fn readable(&self, side: Side) -> Option<u64> {
        ask(self.fd(side), libc::FIONREAD)
    }

    fn drop_bytes(&self, side: Side, n: u64) -> bool {
        drop_stream(self.fd(side), n)
    }

    fn drop_record(&self, side: Side) -> bool {
        drop_bytes(self.fd(side), u64::MAX).is_some()
    }

    fn set_sndbuf(&self, side: Side, bytes: Option<u32>) {
        set_sndbuf(self.fd(side), bytes);
    }

    fn shut_down(&self, side: Side, bits: u32) {
        shut_down(self.fd(side), bits);
    }
}

fn shut_down(fd: i32, bits: u32) {
    let how = match bits {
        shut::RECV => libc::SHUT_RD,
        shut::SEND => libc::SHUT_WR,
        _ => libc::SHUT_RDWR,
    };
    sys!(libc::SYS_shutdown, fd, how);
}

/// SO_SNDBUF, of which the kernel takes twice as much as it is told. `None`: as much as there may be.
fn set_sndbuf(fd: i32, bytes: Option<u32>) {
    let half = match bytes {
        Some(bytes) => bytes / 2,
        None => MOST_SNDBUF,
    };
    for name in [SO_SNDBUFFORCE, libc::SO_SNDBUF] {
        let at = &raw const half;
        if sys!(libc::SYS_setsockopt, fd, libc::SOL_SOCKET, name, at, 4) == 0 {
            return;
        }
    }
}

/// (asm-generic/socket.h)
const SO_SNDBUFFORCE: i32 = 32;

/// More than any pair's messages cost.
const MOST_SNDBUF: u32 = 64 << 20;

/// connect(2) with AF_UNSPEC: the socket has no peer any more.
pub fn disconnect(fd: i32) {
    let nobody = libc::AF_UNSPEC as u16;
    sys!(libc::SYS_connect, fd, &raw const nobody, 2);
}

/// The peer is gone, and nothing of it is here, but for `left` bytes that the real socket has as well: that becomes what
/// ringer's is.
pub fn become_widowed(fd: i32, s: &SocketId, shut_bits: u32, left: u64) {
    match s.side {
        // What it knows of an error, ringer has told.
        Side::A if s.pair.has_early() => forget_error(fd),
        Side::B if s.pair.has_early() => trim_early(fd, s, left),
        _ => {}
    }
    if s.pair.socket(s.side).disconnected.load(Acquire) != 0 {
        disconnect(fd);
    }
    if shut_bits != 0 {
        shut_down(fd, shut_bits);
    }
}

/// The peer is gone, and what it has sent is here: this process's descriptors of the socket become
/// those of a new one, which has just that in it, and no peer either. `true`: done.
pub fn replace(k: &Ctx<'_, Shim>, p: &Process, s: &SocketId) -> bool {
    let kind = s.pair.kind.load(Relaxed) as i32 | libc::SOCK_CLOEXEC;
    let mut fds = [-1i32; 2];
    let _borrowing = Borrowing::begin();
    if sys!(
        libc::SYS_socketpair,
        libc::AF_UNIX,
        kind,
        0,
        fds.as_mut_ptr()
    ) < 0
    {
        return false;
    }
    let [new, peer] = fds;
    set_sndbuf(peer, None);
    let whole = unix::for_each_queued(k, s.pair, s.side, |pieces| send(peer, pieces));
    if s.pair.take_reset(k.arena, s.side) {
        let byte = 0u8; // so the peer leaves something unread
        sys!(libc::SYS_sendto, new, &raw const byte, 1, 0, 0, 0);
    }
    sys!(libc::SYS_close, peer);
    if s.pair.socket(s.side).disconnected.load(Acquire) != 0 {
        disconnect(new);
    }
    let shut = s.pair.shut.load(Acquire) >> (2 * s.side.bit()) & 3;
    if shut != 0 {
        shut_down(new, shut);
    }
    let mut options_are_carried = false;
    if whole {
        fd_table::for_each(k.arena, p, 0, fd_table::MAX_FDS, |fd, file_slot| {
            let Some(FileRef::Socket(other)) = FileRef::of(k.arena, file_slot) else {
                return;
            };
            if other.slot() != s.slot || other.side() != s.side {
                return;
            }
            let flags = sys!(libc::SYS_fcntl, fd, libc::F_GETFD);
            let status = sys!(libc::SYS_fcntl, fd, libc::F_GETFL);
            sys!(libc::SYS_fcntl, new, libc::F_SETFL, status);
            if !options_are_carried {
                carry_options(fd, new);
                options_are_carried = true;
            }
            let cloexec = match flags & libc::FD_CLOEXEC as isize {
                0 => 0,
                _ => libc::O_CLOEXEC,
            };
            sys!(libc::SYS_dup3, new, fd, cloexec);
            let taken = fd_table::take(k.arena, p, fd);
            if taken != 0 {
                task::reap::forget_descriptor(k, taken, |_| true);
            }
        });
    }
    sys!(libc::SYS_close, new);
    whole
}

/// The options that a pair may have while ringer serves it.
fn carry_options(from: i32, to: i32) {
    /// SO_RCVBUF and SO_SNDBUF: the kernel doubles what it is told.
    const DOUBLED: [i32; 2] = [libc::SO_RCVBUF, libc::SO_SNDBUF];
    for name in [
        libc::SO_DEBUG,
        libc::SO_REUSEADDR,
        libc::SO_DONTROUTE,
        libc::SO_BROADCAST,
        libc::SO_RCVBUF,
        libc::SO_SNDBUF,
        libc::SO_KEEPALIVE,
        libc::SO_OOBINLINE,
        libc::SO_NO_CHECK,
        libc::SO_PRIORITY,
        libc::SO_REUSEPORT,
        libc::SO_MARK,
        libc::SO_LINGER,
        libc::SO_RCVTIMEO,
        libc::SO_SNDTIMEO,
    ] {
        let (old, old_len) = option(from, name);
        let (new, new_len) = option(to, name);
        if (old, old_len) == (new, new_len) {
            continue;
        }
        let [first, second] = old;
        let value = match DOUBLED.contains(&name) {
            true => [first / 2, 0],
            false => [first, second],
        };
        let at = value.as_ptr();
        let ret = sys!(
            libc::SYS_setsockopt,
            to,
            libc::SOL_SOCKET,
            name,
            at,
            old_len
        );
        if ret < 0 && name == libc::SO_SNDBUF {
            set_sndbuf(to, Some(first as u32));
        }
    }
}

/// getsockopt(2): its value, as far as it goes, and how long it is.
fn option(fd: i32, name: i32) -> ([u64; 2], u32) {
    let mut value = [0u64; 2];
    let mut len = 16u32;
    let (at, len_at) = (value.as_mut_ptr(), &raw mut len);
    sys!(libc::SYS_getsockopt, fd, libc::SOL_SOCKET, name, at, len_at);
    (value, len)
}
