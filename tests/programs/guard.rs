//! Runs a command to its end with stdout and stderr kept apart, or says where everybody stood.

use ringer_support::procfs;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Seconds until a test counts as hung, also where the machine has much else to do; `RINGER_TIMEOUT_SCALE=n` multiplies
/// them.
const WATCHDOG_SECS: u64 = 180;

/// What is left of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// As a shell gives it: 128 + n after signal n.
    pub status: i32,
}

impl Ended {
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Runs `command` as the leader of a session of its own, and waits for it and for everybody whom it
/// leaves behind. Its stdout and stderr go to files in `dir`.
///
/// Panics, with the state and the backtrace of every thread, if it does not end in time.
pub fn run(mut command: Command, dir: &Path) -> Ended {
    let create = |name| File::create(dir.join(name)).expect("a file in our own directory");
    let shown = format!("{command:?}");
    command
        .stdin(Stdio::null())
        .stdout(create("stdout"))
        .stderr(create("stderr"));
    lead_a_session(&mut command);
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{shown}: {e}"));
    let leader = child.id() as i32;

    let deadline = deadline();
    let mut in_time = ends_by(leader, deadline);
    for straggler in procfs::group(leader) {
        in_time = in_time && ends_by(straggler, deadline);
    }
    let report = if in_time { String::new() } else { dump(leader) };
    // The leader is not reaped yet, so its number still is the group's.
    for pid in procfs::group(leader) {
        // SAFETY: kill(2) touches no memory of ours.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    let status = child.wait().expect("the status of our own child");
    let read = |name| fs::read(dir.join(name)).expect("a file that we created");
    let ended = Ended {
        stdout: read("stdout"),
        stderr: read("stderr"),
        status: shell_status(status),
    };
    assert!(
        in_time,
        "did not end in time: {shown}\nstderr: {}{report}",
        ended.stderr()
    );
    ended
}

/// When a command started now counts as hung.
pub fn deadline() -> Instant {
    let scale = std::env::var("RINGER_TIMEOUT_SCALE")
        .ok()
        .and_then(|s| s.parse().ok());
    let usual = if long() { 30 } else { 1 };
    Instant::now() + Duration::from_secs(WATCHDOG_SECS * scale.unwrap_or(usual))
}

/// Whether the servers shall be put to minutes of work, not seconds: `RINGER_LONG=1`.
pub fn long() -> bool {
    std::env::var_os("RINGER_LONG").is_some_and(|value| value == "1")
}

/// 128 + n after a signal, as a shell's `$?`.
pub fn shell_status(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The command gets a session of its own, no descriptor but the first three, and dies with the
/// thread that started it.
pub fn lead_a_session(command: &mut Command) {
    fn prepare() -> io::Result<()> {
        // SAFETY: setsid(2) takes nothing and is async-signal-safe.
        let session = unsafe { libc::setsid() };
        // SAFETY: PR_SET_PDEATHSIG takes a number.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        let flags = libc::CLOSE_RANGE_CLOEXEC as i32;
        // SAFETY: close_range(2) takes numbers; nothing is closed before the exec.
        unsafe { libc::close_range(3, !0, flags) };
        if session < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
    // SAFETY: `prepare` makes two system calls and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}

/// Whether the process is dead before the deadline. It stays a zombie, for its parent.
pub fn ends_by(pid: i32, deadline: Instant) -> bool {
    // SAFETY: pidfd_open(2) takes numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32;
    if fd < 0 {
        return true; // gone, and waited for
    }
    // SAFETY: a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(fd) };
    readable_by(pidfd.as_raw_fd(), deadline)
}

/// Whether poll(2) finds something to read, an end or an error, before the deadline.
pub fn readable_by(fd: i32, deadline: Instant) -> bool {
    loop {
        let mut p = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let left = deadline
            .saturating_duration_since(Instant::now())
            .as_millis();
        // SAFETY: one pollfd.
        match unsafe { libc::poll(&mut p, 1, left.min(i32::MAX as u128) as i32) } {
            1 => return true,
            0 => return false,
            _ => {} // EINTR
        }
    }
}

/// Where each thread of each process of the group stands.
pub fn dump(group: i32) -> String {
    let mut text = String::from("\n--- watchdog: who waits where ---\n");
    let pids = procfs::group(group);
    for pid in &pids {
        text += &procfs::describe(*pid);
    }
    for pid in pids {
        let mut gdb = Command::new("timeout");
        gdb.args([
            "-k",
            "1",
            "20",
            "gdb",
            "-nx",
            "-batch",
            "-ex",
            "thread apply all bt 40",
            "-p",
        ]);
        gdb.arg(pid.to_string()).stdin(Stdio::null());
        if let Ok(said) = gdb.output() {
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            text += &format!("--- gdb: process {pid} ---\n{said}\n");
        }
    }
    text
}
