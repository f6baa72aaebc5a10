//! Child processes that a test forks, waits for and kills.

use crate::{check, procfs, shared, Sys};
use libc::{c_int, pid_t};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// What wait(2) said.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Status(pub c_int);

impl Status {
    /// The exit status, if the process exited.
    pub fn code(self) -> Option<i32> {
        libc::WIFEXITED(self.0).then(|| libc::WEXITSTATUS(self.0))
    }

    /// The signal, if one killed the process.
    pub fn signal(self) -> Option<i32> {
        libc::WIFSIGNALED(self.0).then(|| libc::WTERMSIG(self.0))
    }
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code(), self.signal()) {
            (Some(code), _) => write!(f, "exited({code})"),
            (_, Some(signal)) => write!(f, "killed({signal})"),
            _ => write!(f, "status({:#x})", self.0),
        }
    }
}

/// A child that has not been waited for. Dropping it kills it.
#[derive(Debug)]
pub struct Child {
    pid: pid_t,
}

/// Forks; the child runs `body` and exits with its result, or with 101 if it panics.
///
/// What `body` owns, the parent loses: so `move` hands a pipe's end over to the child.
pub fn fork_child(body: impl FnOnce() -> i32) -> Child {
    // SAFETY: tests fork from a process whose other threads hold no lock the child needs.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid > 0 {
        return Child { pid };
    }
    run_and_exit(body)
}

/// The child's side of a fork, however it was made.
pub fn run_and_exit(body: impl FnOnce() -> i32) -> ! {
    let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        shared::report_failure();
        101
    });
    // SAFETY: ends the process; the parent's buffers and destructors are not ours to run.
    unsafe { libc::_exit(code) }
}

/// As [`fork_child`], for a body without a result.
pub fn fork_run(body: impl FnOnce()) -> Child {
    fork_child(|| {
        body();
        0
    })
}

impl Child {
    /// Takes charge of a child that somebody else made.
    pub fn adopt(pid: pid_t) -> Child {
        assert!(pid > 0, "not a child: {pid}");
        Child { pid }
    }

    pub fn pid(&self) -> pid_t {
        self.pid
    }

    pub fn kill(&self, signal: c_int) {
        // SAFETY: kill(2) touches no memory of ours.
        let done = unsafe { libc::kill(self.pid, signal) };
        assert_eq!(done, 0, "kill({}, {signal})", self.pid);
    }

    /// Waits until it sleeps interruptibly.
    pub fn sleeping(&self) {
        procfs::sleeping(self.pid);
    }

    pub fn wait(self) -> Status {
        let status = wait_pid(self.pid, 0).expect("waitpid").1;
        std::mem::forget(self);
        status
    }

    /// kill -9, and wait for the death of which it is the cause.
    pub fn kill_9(self) {
        self.kill(libc::SIGKILL);
        let status = self.wait();
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{status:?}");
    }

    /// Waits, and demands an exit status.
    #[track_caller]
    pub fn exits_with(self, code: i32) {
        let status = self.wait();
        assert_eq!(status.code(), Some(code), "the child {status:?}");
    }

    /// Waits, and demands success.
    #[track_caller]
    pub fn succeeds(self) {
        self.exits_with(0);
    }

    /// Gives up the charge: the number only.
    pub fn leak(self) -> pid_t {
        let pid = self.pid;
        std::mem::forget(self);
        pid
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: kill(2) touches no memory of ours; the child is not reaped yet.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        let _ = wait_pid(self.pid, 0);
    }
}

/// Waits for several children, and demands success of each.
#[track_caller]
pub fn all_succeed(children: impl IntoIterator<Item = Child>) {
    for child in children {
        child.succeeds();
    }
}

/// waitpid(2), restarted when a signal interrupts it.
pub fn wait_pid(pid: pid_t, options: c_int) -> Result<(pid_t, Status), i32> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid int.
        match check(unsafe { libc::waitpid(pid, &mut status, options) }) {
            Err(libc::EINTR) => {}
            other => return other.map(|pid| (pid as pid_t, Status(status))),
        }
    }
}

/// fork(2) by `syscall(2)`: clone(SIGCHLD). libc knows nothing of it.
pub fn raw_clone_child(body: impl FnOnce()) -> Child {
    // SAFETY: as fork: no new stack, no shared memory; other threads hold no lock.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } as pid_t;
    assert!(pid >= 0, "clone: {}", std::io::Error::last_os_error());
    if pid > 0 {
        return Child { pid };
    }
    run_and_exit(|| {
        body();
        0
    })
}

pub fn getpid() -> pid_t {
    // SAFETY: no argument.
    unsafe { libc::getpid() }
}

pub fn getppid() -> pid_t {
    // SAFETY: no argument.
    unsafe { libc::getppid() }
}

pub fn gettid() -> pid_t {
    // SAFETY: no argument.
    unsafe { libc::gettid() }
}

/// Orphans of our descendants become our children, so that we may wait for them.
pub fn become_subreaper() -> Sys {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes numbers.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })
}

/// Gives up root for good: the user and group `nobody`.
pub fn become_nobody() {
    const NOBODY: u32 = 65534;
    // SAFETY: numbers only.
    let group = unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) };
    // SAFETY: numbers only.
    let user = unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) };
    assert_eq!((group, user), (0, 0), "become nobody");
}

/// Whether we may do what only root may.
pub fn is_root() -> bool {
    // SAFETY: no argument.
    unsafe { libc::geteuid() == 0 }
}
