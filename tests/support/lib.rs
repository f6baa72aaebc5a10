//! What the tests share: running a test in each world, and thin safe wrappers around system calls.
//!
//! * [`world`]: the macro [`both_worlds!`], which runs a test natively and under the shim, each in a
//!   process of its own with a watchdog ([`watchdog`]).
//! * [`deviates`]: the macro [`deviates!`], for what is known to differ; [`table`]: its list; [`kernel_range`]: on which kernels.
//! * [`fd`], [`io`], [`ready`], [`transfer`]: libc's public functions, so that `LD_PRELOAD` sees the
//!   calls. [`raw`]: the same by `syscall(2)` and by inline `syscall` instructions, past the PLT.
//! * [`socket`], [`connection`]: sockets. [`rights`], [`uring`]: two ways for a descriptor to go where no shim sees it.
//! * [`puppet`]: programs that do with inherited descriptors what they are told.
//! * [`child`], [`shared`], [`signal`]: processes, what they agree on, and how they interrupt.
//! * [`cases`]: the macro [`cases!`], for tests in the form of tables; [`sig`], [`journal`]: the calls
//!   for signals as they are, and what handlers saw.
//! * [`mq`]: message queues. [`fifo`]: FIFOs. [`things`]: all that can be polled, alike.
//! * [`fuzz`]: random programs, compared with themselves where no shim is.
//! * [`bad`]: addresses that fault. [`cc`]: C programs to exec. [`build`]: the binaries under test.

pub mod bad;
pub mod build;
pub mod cases;
pub mod cc;
pub mod child;
pub mod connection;
pub mod deviates;
pub mod fd;
pub mod fifo;
pub mod fuzz;
pub mod io;
pub mod journal;
pub mod kernel_range;
pub mod mq;
pub mod procfs;
pub mod puppet;
pub mod raw;
pub mod ready;
pub mod rights;
pub mod rng;
pub mod shared;
pub mod sig;
pub mod signal;
pub mod socket;
pub mod sysv;
pub mod table;
pub mod things;
pub mod transfer;
pub mod unix;
pub mod uring;
pub mod watchdog;
pub mod world;

/// Result of a system call: the value, or the errno.
pub type Sys<T = usize> = Result<T, i32>;

/// libc's convention: -1, and the reason in `errno`.
pub fn check(ret: impl Into<i64>) -> Sys {
    match ret.into() {
        -1 => Err(errno()),
        n => Ok(n as usize),
    }
}

/// `errno` of this thread.
pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

pub fn set_errno(value: i32) {
    // SAFETY: libc gives the address of this thread's errno.
    unsafe { *libc::__errno_location() = value };
}

/// What nearly every test file uses.
pub mod prelude {
    pub use crate::bad::*;
    pub use crate::both_worlds;
    pub use crate::cases;
    pub use crate::cc::*;
    pub use crate::child::*;
    pub use crate::deviates;
    pub use crate::fd::*;
    pub use crate::io::*;
    pub use crate::native_cases;
    pub use crate::ready::*;
    pub use crate::rng::*;
    pub use crate::shared::*;
    pub use crate::unarmed_cases;
    pub use crate::{journal, procfs, raw, sig, signal, Sys};
    pub use libc::{
        c_int, c_void, EAGAIN, EBADF, EBUSY, EFAULT, EINTR, EINVAL, EMFILE, ENODEV, ENOTTY,
        EOPNOTSUPP, EPERM, EPIPE, ESPIPE, F_GETFD, F_GETFL, F_GETPIPE_SZ, F_SETFD, F_SETFL,
        F_SETPIPE_SZ, O_CLOEXEC, O_DIRECT, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY, SA_RESTART,
        SIGALRM, SIGCONT, SIGIO, SIGKILL, SIGPIPE, SIGSTOP, SIGUSR1, SIGUSR2,
    };
    pub use std::sync::atomic::Ordering::SeqCst;

    /// A page; also the size of one pipe buffer.
    pub const PAGE: usize = 4096;
    /// Writes up to this size are atomic. See pipe(7).
    pub const PIPE_BUF: usize = 4096;
    /// A pipe's buffers, unless F_SETPIPE_SZ changed it. See pipe(7).
    pub const PIPE_DEF_BUFFERS: usize = 16;
    /// What an empty pipe takes in one write.
    pub const CAPACITY: usize = PAGE * PIPE_DEF_BUFFERS;
}
