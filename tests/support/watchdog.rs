//! Runs a command to its end, or kills its process group and says where everybody stood.

use crate::procfs;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub enum Verdict {
    Ended(ExitStatus),
    Hung,
}

pub struct Outcome {
    pub verdict: Verdict,
    /// What it wrote to stdout and stderr; after a hang also who waited where.
    pub output: String,
}

/// Runs `command`, which must lead a process group of its own, for at most `limit`.
/// When it is over, nobody of the group lives.
pub fn guard(command: Command, limit: Duration) -> Outcome {
    guard_with(command, limit, dump)
}

/// As [`guard`]; after a hang `report` says of the group what there is to say.
pub fn guard_with(mut command: Command, limit: Duration, report: fn(i32) -> String) -> Outcome {
    let mut output = memory_file();
    command
        .stdin(Stdio::null())
        .stdout(clone(&output))
        .stderr(clone(&output));
    // SAFETY: two system calls, async-signal-safe, no allocation.
    unsafe { command.pre_exec(prepare_child) };
    let mut child = spawn(&mut command);
    let group = child.id() as i32;

    let in_time = ends_within(&child, limit);
    let report = if in_time {
        String::new()
    } else {
        report(group)
    };
    // The leader is not reaped yet, so the number of the group still is the group's.
    kill_all(group);
    let status = child.wait().expect("the status of our own child");

    let mut text = Vec::new();
    output.rewind().expect("rewind a memfd");
    output.read_to_end(&mut text).expect("read a memfd");
    Outcome {
        verdict: if in_time {
            Verdict::Ended(status)
        } else {
            Verdict::Hung
        },
        output: String::from_utf8_lossy(&text).into_owned() + &report,
    }
}

/// ETXTBSY: another thread's child, forked while the program's file was written, still has it open until its own exec.
fn spawn(command: &mut Command) -> Child {
    let since = Instant::now();
    loop {
        match command.spawn() {
            Err(e)
                if e.kind() == ErrorKind::ExecutableFileBusy
                    && since.elapsed() < Duration::from_secs(10) =>
            {
                thread::yield_now();
            }
            spawned => return spawned.unwrap_or_else(|e| panic!("{command:?}: {e}")),
        }
    }
}

/// Until nobody is left: a process may fork while we look.
fn kill_all(group: i32) {
    loop {
        let pids = procfs::group(group);
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            // SAFETY: kill(2) touches no memory of ours.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// It dies with us, and gets none of the descriptors that somebody left open in us.
fn prepare_child() -> std::io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a number.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: numbers; nothing is closed before the exec.
    unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) };
    Ok(())
}

fn memory_file() -> File {
    // SAFETY: a valid C string.
    let fd = unsafe { libc::memfd_create(c"test output".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "memfd_create: {}", std::io::Error::last_os_error());
    // SAFETY: a new descriptor that nobody else owns.
    unsafe { File::from_raw_fd(fd) }
}

fn clone(file: &File) -> Stdio {
    file.try_clone().expect("dup a memfd").into()
}

/// Whether the process ends in time. It stays a zombie, to be waited for.
fn ends_within(child: &Child, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    // SAFETY: pidfd_open(2) takes numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) } as i32;
    assert!(fd >= 0, "pidfd_open: {}", std::io::Error::last_os_error());
    // SAFETY: a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(fd) };
    loop {
        let mut p = libc::pollfd {
            fd: pidfd.as_raw_fd(),
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
fn dump(group: i32) -> String {
    let mut text = String::from("\n--- watchdog: who waits where ---\n");
    let pids = procfs::group(group);
    for pid in &pids {
        text += &procfs::describe(*pid);
    }
    for pid in pids {
        text += &backtrace(pid);
    }
    text
}

/// gdb's view, if there is a gdb.
fn backtrace(pid: i32) -> String {
    let mut output = memory_file();
    let mut gdb = Command::new("gdb");
    gdb.args([
        "-nx",
        "-batch",
        "-ex",
        "thread apply all bt 40",
        "-p",
        &pid.to_string(),
    ]);
    gdb.stdin(Stdio::null())
        .stdout(clone(&output))
        .stderr(Stdio::null());
    let Ok(mut child) = gdb.spawn() else {
        return String::new();
    };
    if !ends_within(&child, Duration::from_secs(20)) {
        let _ = child.kill();
    }
    let _ = child.wait();
    let mut text = Vec::new();
    let _ = output.rewind();
    let _ = output.read_to_end(&mut text);
    format!(
        "--- gdb: process {pid} ---\n{}\n",
        String::from_utf8_lossy(&text)
    )
}
