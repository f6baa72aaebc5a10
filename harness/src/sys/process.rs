//! fork, exec, wait and pidfds.

use ringer_kernel::task::{robust_list, Task};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::check;

/// How a child is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    Stopped { signal: i32 },
    Exited { status: i32 },
    Killed { signal: i32 },
}

/// waitpid(2), without waiting.
pub fn look_at_child(pid: i32) -> io::Result<State> {
    wait(pid, libc::WNOHANG | libc::WUNTRACED)
}

/// waitpid(2), until it has ended.
pub fn wait_for_end(pid: i32) -> io::Result<State> {
    wait(pid, 0)
}

fn wait(pid: i32, flags: i32) -> io::Result<State> {
    let mut status = 0;
    loop {
        // SAFETY: room for one status.
        match check(unsafe { libc::waitpid(pid, &mut status, flags) }) {
            Ok(0) => return Ok(State::Running),
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(if libc::WIFEXITED(status) {
        State::Exited {
            status: libc::WEXITSTATUS(status),
        }
    } else if libc::WIFSTOPPED(status) {
        State::Stopped {
            signal: libc::WSTOPSIG(status),
        }
    } else if libc::WIFSIGNALED(status) {
        State::Killed {
            signal: libc::WTERMSIG(status),
        }
    } else {
        State::Running
    })
}

/// How a process has ended that is over, whoever its parent is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Exited,
    Killed {
        signal: i32,
        core: bool,
    },
    /// Its parent knows, and nobody else any more.
    Unknown,
}

pub fn end_of(pid: Option<u32>, pidfd: Option<&OwnedFd>) -> End {
    // Unless its parent has waited for it, it is there, as a zombie. Then the pidfd knows.
    let of_pidfd = || pidfd.and_then(exit_code);
    let status = of_pidfd()
        .or_else(|| pid.and_then(super::procfs::exit_code))
        .or_else(of_pidfd);
    match status {
        None => End::Unknown,
        Some(status) if libc::WIFSIGNALED(status) => End::Killed {
            signal: libc::WTERMSIG(status),
            core: libc::WCOREDUMP(status),
        },
        Some(_) => End::Exited,
    }
}

/// PIDFD_GET_INFO (Linux 6.15 for PIDFD_INFO_EXIT; include/uapi/linux/pidfd.h).
fn exit_code(pidfd: &OwnedFd) -> Option<i32> {
    const PIDFD_GET_INFO: libc::c_ulong = 0xc040_ff0b;
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    let mut info = Info {
        mask: PIDFD_INFO_EXIT,
        ..Info::default()
    };
    // SAFETY: room for the 64 bytes that the request's number names.
    let ret = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &mut info) };
    (ret == 0 && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
}

/// A NULL-terminated array of C strings.
pub struct Vector {
    pointers: Vec<*const libc::c_char>,
    _strings: Vec<CString>,
}

impl Vector {
    pub fn new(strings: Vec<CString>) -> Vector {
        let end = std::iter::once(std::ptr::null());
        let pointers = strings.iter().map(|s| s.as_ptr()).chain(end).collect();
        Vector {
            pointers,
            _strings: strings,
        }
    }

    fn first(&self) -> *const libc::c_char {
        self.pointers.first().copied().unwrap_or(std::ptr::null())
    }
}

/// Forks; the child calls `prepare` and becomes the program `args[0]`, found by PATH. If it can
/// not, it writes errno as four bytes to `report` and ends with 127.
///
/// # Safety
///
/// `prepare` does only what is async-signal-safe if this process has other threads.
pub unsafe fn spawn(
    args: &Vector,
    environment: &Vector,
    report: RawFd,
    prepare: impl FnOnce(),
) -> io::Result<i32> {
    // SAFETY: the child goes on with what is async-signal-safe, as the caller promised.
    let pid = check(unsafe { libc::fork() })?;
    if pid != 0 {
        return Ok(pid);
    }
    prepare();
    let errno = exec(args, environment).to_ne_bytes();
    // SAFETY: four bytes of ours; a pipe takes them at once.
    unsafe { libc::write(report, errno.as_ptr().cast(), errno.len()) };
    // SAFETY: ends the child without running the parent's exit handlers.
    unsafe { libc::_exit(127) }
}

/// Forks; the child runs `child` and ends with its status.
///
/// # Safety
///
/// As for [`spawn`].
pub unsafe fn fork(child: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: as the caller promised.
    let pid = check(unsafe { libc::fork() })?;
    if pid != 0 {
        return Ok(pid);
    }
    let status = child();
    // SAFETY: ends the child without running the parent's exit handlers.
    unsafe { libc::_exit(status) }
}

/// Has the kernel mark the slot when this thread dies, so that it sees who can not ask for it by number.
pub fn mark_at_death(task: &'static Task) {
    let mut head: *mut robust_list::Head = std::ptr::null_mut();
    let mut len = 0usize;
    // SAFETY: fills in the two variables.
    let ret = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &mut head, &mut len) };
    if ret == 0 && len == size_of::<robust_list::Head>() {
        // SAFETY: this thread's list, which only this thread changes, and no handler of ours.
        unsafe { robust_list::link(head, task, std::process::id()) };
    }
}

/// pidfd_open(2): readable when the process has ended.
pub fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    check(fd as libc::c_int)?;
    // SAFETY: just made, nobody else owns it; pidfds are close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Whether there is a thread `tid` of process `pid`, a zombie perhaps.
pub fn exists(pid: u32, tid: u32) -> bool {
    // SAFETY: numbers; signal 0 is never sent.
    let ret = unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, 0) };
    ret == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Becomes the program `args[0]`, found by PATH. Comes back only if it can not: errno.
pub fn exec(args: &Vector, environment: &Vector) -> i32 {
    let (argv, envp) = (args.pointers.as_ptr(), environment.pointers.as_ptr());
    // SAFETY: NULL-terminated vectors of C strings that live as long as `args`, `environment`.
    unsafe { libc::execvpe(args.first(), argv, envp) };
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Whether this process leads its session (setsid(2)): a hang-up of the terminal reaches it alone.
pub fn is_session_leader() -> bool {
    // SAFETY: a number.
    unsafe { libc::getsid(0) == libc::getpid() }
}
