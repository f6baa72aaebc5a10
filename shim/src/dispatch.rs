//! By number: which system calls concern ringer, for traps and for syscall(2).

use ringer_kernel::log::{Cause, Kind};

use crate::attach;
use crate::call::{
    self, descriptor, eventfd, exec, fifo, io, kernel_wait, mask, message, mlock, mq, pipe,
    process, ready, socket, sysv, sysv_proc, transfer,
};
use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::observe::io::Moved;
use crate::signal;
use crate::{adopt, demotion, peer, quit, trap, user};

/// The trapped thread's registers: a signal frame that only its handler sees.
pub struct Frame {
    uc: *mut libc::ucontext_t,
}

impl Frame {
    /// # Safety
    ///
    /// `uc` is the ucontext of a live signal frame, and nobody else uses it meanwhile.
    pub unsafe fn new(uc: *mut libc::ucontext_t) -> Frame {
        Frame { uc }
    }

    fn get(&self, register: i32) -> u64 {
        let at = self.register(register);
        // SAFETY: `new`'s promise.
        unsafe { *at as u64 }
    }

    fn set(&mut self, register: i32, value: u64) {
        let at = self.register(register);
        // SAFETY: `new`'s promise.
        unsafe { *at = value as i64 }
    }

    fn register(&self, register: i32) -> *mut i64 {
        // SAFETY: `new`'s promise; the index is one of libc's REG_ constants.
        unsafe { signal::register_of(self.uc, register) }
    }

    pub fn nr(&self) -> i64 {
        self.get(libc::REG_RAX) as i64
    }

    pub fn args(&self) -> [usize; 6] {
        use libc::{REG_R10, REG_R8, REG_R9, REG_RDI, REG_RDX, REG_RSI};
        [REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9].map(|r| self.get(r) as usize)
    }

    /// In the order in which `ringer_clone_thread` pops them.
    pub fn registers(&self) -> [u64; 12] {
        use libc::{
            REG_R10, REG_R12, REG_R13, REG_R14, REG_R15, REG_R8, REG_R9, REG_RBP, REG_RBX, REG_RDI,
            REG_RDX, REG_RSI,
        };
        [
            REG_RDI, REG_RSI, REG_RDX, REG_RBX, REG_RBP, REG_R8, REG_R9, REG_R10, REG_R12, REG_R13,
            REG_R14, REG_R15,
        ]
        .map(|r| self.get(r))
    }

    pub fn rip(&self) -> u64 {
        self.get(libc::REG_RIP)
    }

    pub fn set_rip(&mut self, rip: u64) {
        self.set(libc::REG_RIP, rip);
    }

    pub fn sp(&self) -> usize {
        self.get(libc::REG_RSP) as usize
    }

    pub fn set_ret(&mut self, ret: isize) {
        self.set(libc::REG_RAX, ret as u64);
    }

    /// The call is made once more: back to the two bytes of the `syscall` instruction.
    pub fn again(&mut self) {
        self.set(libc::REG_RIP, self.rip().wrapping_sub(2));
    }

    pub fn mask(&self) -> u64 {
        // SAFETY: `new`'s promise.
        let mask = unsafe { signal::uc_mask(self.uc) };
        // SAFETY: as above.
        unsafe { *mask }
    }

    pub fn set_mask(&mut self, mask: u64) {
        // SAFETY: `new`'s promise.
        let at = unsafe { signal::uc_mask(self.uc) };
        // SAFETY: as above.
        unsafe { *at = mask };
    }
}

/// A trapped call. What concerns ringer is done; the rest is `Pass`.
pub fn call(entry: &Entry, frame: &mut Frame) -> Verdict {
    let nr = frame.nr();
    match nr {
        libc::SYS_rt_sigreturn => {
            // The frame that the program's handler was called on, above this one.
            let uc = frame.sp();
            // SAFETY: the program ends a handler there: its stack pointer is at the ucontext.
            unsafe { mask::sigreturn(entry.tls, uc) };
            // SAFETY: as above. What was noted in this trap comes when that frame is left, with its mask.
            unsafe { trap::end(uc as *mut libc::ucontext_t) }
        }
        libc::SYS_rt_sigprocmask => mask::rt_sigprocmask(frame),
        libc::SYS_rt_sigaction => mask::rt_sigaction(frame),
        libc::SYS_sigaltstack => {
            entry.tls.altstack_known.set(0);
            Verdict::Pass
        }
        libc::SYS_fork => process::fork(entry, frame, false),
        libc::SYS_vfork => process::fork(entry, frame, true),
        libc::SYS_clone => process::clone(entry, frame),
        libc::SYS_clone3 => process::clone3(entry, frame),
        libc::SYS_prctl | libc::SYS_seccomp | libc::SYS_ptrace => quit::by_trap(entry, frame),
        _ => plain(entry, nr, frame.args()),
    }
}

/// Calls that need nothing but their arguments: by trap, or by syscall(2).
pub fn plain(entry: &Entry, nr: i64, args: [usize; 6]) -> Verdict {
    let [a, b, c, d, e, f] = args;
    let fd = a as i32;
    match nr {
        libc::SYS_read => io::read(entry, fd, b, c),
        libc::SYS_write => io::write(entry, fd, b, c),
        libc::SYS_readv => io::readv(entry, fd, b, c, 0),
        libc::SYS_writev => io::writev(entry, fd, b, c, 0),
        // Offset -1 is "where the file is"; anything else is ESPIPE, which the twin says.
        libc::SYS_preadv2 if d as isize == -1 => io::readv(entry, fd, b, c, f as i32),
        libc::SYS_pwritev2 if d as isize == -1 => io::writev(entry, fd, b, c, f as i32),
        libc::SYS_open | libc::SYS_openat | libc::SYS_openat2 | libc::SYS_creat => {
            open(entry, nr, args)
        }
        libc::SYS_mknod => {
            fifo::mknod(b as u32);
            Verdict::Pass
        }
        libc::SYS_mknodat => {
            fifo::mknod(c as u32);
            Verdict::Pass
        }
        libc::SYS_close => descriptor::close(entry, fd),
        libc::SYS_close_range => descriptor::close_range(entry, a as u32, b as u32, c as u32),
        libc::SYS_dup => descriptor::dup(entry, fd, || sys!(libc::SYS_dup, fd)),
        libc::SYS_dup2 => descriptor::dup2(entry, fd, b as i32, || sys!(libc::SYS_dup2, fd, b)),
        libc::SYS_dup3 => descriptor::dup2(entry, fd, b as i32, || sys!(libc::SYS_dup3, fd, b, c)),
        libc::SYS_fcntl => descriptor::fcntl(entry, fd, b as i32, c),
        libc::SYS_ioctl => descriptor::ioctl(entry, fd, b as u64, c),
        libc::SYS_pipe => pipe::pipe2(entry, a, 0),
        libc::SYS_pipe2 => pipe::pipe2(entry, a, b as i32),
        libc::SYS_eventfd => eventfd::eventfd2(entry, a as u32, 0),
        libc::SYS_eventfd2 => eventfd::eventfd2(entry, a as u32, b as i32),
        libc::SYS_mq_open => mq::open(entry, a, b as i32, c as u32, d),
        libc::SYS_mq_unlink => mq::unlink(entry, a),
        libc::SYS_mq_timedsend => mq::timedsend(entry, fd, b, c, d, e),
        libc::SYS_mq_timedreceive => mq::timedreceive(entry, fd, b, c, d, e),
        libc::SYS_mq_notify => mq::notify(entry, fd, b, mq::By::Kernel),
        libc::SYS_mq_getsetattr => mq::getsetattr(entry, fd, b, c),
        libc::SYS_poll | libc::SYS_ppoll => ready::poll(entry, a, b),
        libc::SYS_select | libc::SYS_pselect6 => ready::select(entry, fd, [b, c, d]),
        libc::SYS_epoll_ctl => ready::epoll_ctl(entry, c as i32),
        libc::SYS_splice => transfer::splice(entry, fd, c as i32),
        libc::SYS_tee => transfer::tee(entry, fd, b as i32),
        libc::SYS_vmsplice => transfer::vmsplice(entry, fd),
        libc::SYS_sendfile => transfer::sendfile(entry, fd, b as i32),
        libc::SYS_execve | libc::SYS_execveat => exec::execve(entry, nr, args),
        libc::SYS_kill
        | libc::SYS_tkill
        | libc::SYS_tgkill
        | libc::SYS_rt_sigqueueinfo
        | libc::SYS_rt_tgsigqueueinfo => call::kill_by_number::call(entry, nr, args),
        libc::SYS_pidfd_send_signal => call::kill_by_number::unless_stopping(nr, args),
        libc::SYS_exit_group => {
            crate::leaving::begin(fd);
            process::exit(entry, fd);
            Verdict::Pass
        }
        libc::SYS_socketpair => socket::socketpair(entry, fd, b as i32, c as i32, d),
        libc::SYS_sendto => message::sendto(entry, fd, (b, c), d as i32, (e, f as i32)),
        libc::SYS_recvfrom => message::recvfrom(entry, fd, (b, c), d as i32, (e, f)),
        libc::SYS_sendmsg => message::sendmsg(entry, fd, b, c as i32),
        libc::SYS_recvmsg => message::recvmsg(entry, fd, b, c as i32),
        libc::SYS_sendmmsg => message::sendmmsg(entry, fd, b, c, d as i32),
        libc::SYS_recvmmsg => message::recvmmsg(entry, fd, (b, c), d as i32, e),
        libc::SYS_shutdown => message::shutdown(entry, fd, b as i32),
        libc::SYS_setsockopt => message::setsockopt(entry, fd, (b as i32, c as i32), d, e),
        libc::SYS_getsockopt => message::getsockopt(entry, fd, (b as i32, c as i32), d, e),
        libc::SYS_bind => message::address(entry, fd),
        libc::SYS_connect => message::connect(entry, fd),
        libc::SYS_prctl if a as i32 == libc::PR_SET_DUMPABLE && b != 1 => {
            demotion::demote_sockets(entry, Cause::NotDumpable);
            Verdict::Pass
        }
        // What the filter lets through nobody knows.
        libc::SYS_seccomp => before_seccomp(entry),
        libc::SYS_prctl if a as i32 == libc::PR_SET_SECCOMP => before_seccomp(entry),
        libc::SYS_io_submit => {
            transfer::io_submit(entry, b, c);
            Verdict::Pass
        }
        libc::SYS_io_uring_setup => {
            demotion::demote_all(entry, Cause::IoUring);
            Verdict::Pass
        }
        libc::SYS_io_uring_enter | libc::SYS_io_uring_register => {
            demotion::demote_all(entry, Cause::IoUring);
            Verdict::Pass
        }
        libc::SYS_unshare => {
            process::before_new_namespace(entry, a as u64);
            if a & libc::CLONE_FILES as usize != 0 {
                demotion::leave_to_kernel(entry, Cause::TableSplit);
            }
            Verdict::Pass
        }
        // 0: of whatever kind the descriptor is.
        libc::SYS_setns => {
            let flags = if b == 0 { u64::MAX } else { b as u64 };
            process::before_new_namespace(entry, flags);
            Verdict::Pass
        }
        libc::SYS_chroot | libc::SYS_pivot_root => {
            demotion::leave_to_kernel(entry, Cause::RootChanged);
            Verdict::Pass
        }
        libc::SYS_prlimit64 | libc::SYS_setrlimit => {
            call::kill::forget_identity();
            Verdict::Pass
        }
        libc::SYS_setuid | libc::SYS_setreuid | libc::SYS_setresuid | libc::SYS_setfsuid => {
            call::kill::change_user(entry.tls);
            // Afterwards the twins, which are the old user's, can not be opened any more.
            let root = sys!(libc::SYS_geteuid) == 0;
            if root
                && [a, b, c]
                    .iter()
                    .any(|&id| id as u32 != 0 && id as u32 != u32::MAX)
            {
                demotion::demote_all(entry, Cause::PrivilegesDropped);
            }
            sysv::credentials_change();
            Verdict::Pass
        }
        // Another group makes it not dumpable, too.
        libc::SYS_setgid | libc::SYS_setregid | libc::SYS_setresgid | libc::SYS_setfsgid => {
            demotion::demote_sockets(entry, Cause::NotDumpable);
            sysv::credentials_change();
            Verdict::Pass
        }
        libc::SYS_setgroups => {
            sysv::credentials_change();
            Verdict::Pass
        }
        libc::SYS_mlockall => mlock::mlockall(a).map_or(Verdict::Pass, Verdict::Done),
        _ => sysv::call(entry, nr, args),
    }
}

fn open(entry: &Entry, nr: i64, args: [usize; 6]) -> Verdict {
    let Some(path) = fifo::Path::of(nr, args) else {
        return Verdict::Pass;
    };
    let served = match nr {
        libc::SYS_open | libc::SYS_openat => sysv_proc::open(entry, path.at, path.flags),
        _ => None,
    };
    if let Some(ret) = served {
        return Verdict::Done(ret);
    }
    fifo::begin(entry, path);
    Verdict::Pass
}

fn before_seccomp(entry: &Entry) -> Verdict {
    demotion::demote_sockets(entry, Cause::Seccomp);
    peer::give_up();
    Verdict::Pass
}

/// Before a trapped call that the kernel serves: see [`after`].
pub fn before(nr: i64, args: [usize; 6]) -> Option<kernel_wait::Begun> {
    let [fd, ..] = args;
    let kind = match nr {
        libc::SYS_read | libc::SYS_readv => Kind::KernelRead,
        libc::SYS_write | libc::SYS_writev => Kind::KernelWrite,
        _ => return None,
    };
    Some(kernel_wait::begin(fd as i32, kind))
}

/// Whether [`before`] or [`after`] has something to do where the kernel serves this call.
pub fn has_after(nr: i64, [a, ..]: [usize; 6]) -> bool {
    match nr {
        libc::SYS_read | libc::SYS_readv | libc::SYS_write | libc::SYS_writev => {
            call::is_ours(a as i32)
        }
        libc::SYS_open
        | libc::SYS_openat
        | libc::SYS_openat2
        | libc::SYS_creat
        | libc::SYS_pidfd_getfd
        | libc::SYS_signalfd
        | libc::SYS_signalfd4
        | libc::SYS_recvmsg
        | libc::SYS_recvmmsg
        | libc::SYS_setuid
        | libc::SYS_setreuid
        | libc::SYS_setresuid
        | libc::SYS_setgid
        | libc::SYS_setregid
        | libc::SYS_setresgid => true,
        _ => false,
    }
}

/// After a trapped call that the kernel served: what it opened may be an end of a pipe of ours,
/// and what it read or wrote belongs into the log.
pub fn after(frame: &Frame, nr: i64, ret: isize, ticks: u64) {
    let [a, b, c, d, ..] = frame.args();
    let moved = |kind, at| Moved::of(kind, at, ret, ticks);
    match nr {
        libc::SYS_open | libc::SYS_openat | libc::SYS_openat2 | libc::SYS_creat => {
            if let Some(path) = fifo::Path::of(nr, frame.args()) {
                if !fifo::end(ret, path.flags) {
                    opened(may_name_a_pipe(path.at), ret);
                }
            }
        }
        libc::SYS_pidfd_getfd => opened(true, ret),
        libc::SYS_read => kernel_io(a as i32, moved(Kind::KernelRead, (b, c))),
        libc::SYS_readv => kernel_io(a as i32, moved(Kind::KernelRead, (0, 1))),
        libc::SYS_write => kernel_io(a as i32, moved(Kind::KernelWrite, (b, c))),
        libc::SYS_writev => kernel_io(a as i32, moved(Kind::KernelWrite, (0, 1))),
        libc::SYS_signalfd | libc::SYS_signalfd4 => call::truth::signalfd(b, ret),
        libc::SYS_recvmsg => call::rights::received(a as i32, b, ret, c as i32),
        libc::SYS_recvmmsg => call::rights::received_many(a as i32, b, ret, d as i32),
        libc::SYS_setuid
        | libc::SYS_setreuid
        | libc::SYS_setresuid
        | libc::SYS_setgid
        | libc::SYS_setregid
        | libc::SYS_setresgid => sysv::credentials_change(),
        _ => {}
    }
}

/// Kernel-served I/O on an object of ringer's, for the log.
#[inline(always)]
pub fn kernel_io(fd: i32, moved: Moved) {
    if crate::tls::tls().writer().is_some() && call::is_ours(fd) {
        io::log_kernel_io(fd, moved);
    }
}

/// A descriptor was opened: if it is an end of one of the session's pipes (by way of
/// /proc/self/fd/N or /dev/stdin), it is taken up.
pub fn opened(path_is_plausible: bool, fd: isize) {
    if fd < 0 || !path_is_plausible || !attach::ensure_process() {
        return;
    }
    let entry = Entry::enter();
    if let Some(k) = entry.ctx(fd as i32) {
        adopt::adopt(&entry, &k, fd as i32);
    }
    let _ = entry.leave();
}

/// Whether opening this path could give an end of a pipe: /proc/... or /dev/...
pub fn may_name_a_pipe(path: usize) -> bool {
    let mut head = [0u8; 6];
    let _ = user::fetch_str(path, &mut head);
    head.starts_with(b"/proc") || head.starts_with(b"/dev/")
}
