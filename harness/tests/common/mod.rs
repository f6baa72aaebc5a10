//! Running `ringer` as a user would.

#![allow(dead_code)] // each test binary uses a part

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Nothing here takes a second; what takes this long hangs.
const LIMIT: Duration = Duration::from_secs(30);

pub fn ringer(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringer"));
    command.args(args).stdin(Stdio::null());
    command
}

/// `ringer ... sh -c script`, with its output.
pub fn sh(args: &[&str], script: &str) -> Output {
    output(ringer(args).args(["--", "sh", "-c", script]))
}

pub fn output(command: &mut Command) -> Output {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let (done, watch) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if watch.recv_timeout(LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            kill(pid, libc::SIGKILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    watchdog.join().unwrap();
    output
}

pub fn kill(pid: u32, signal: i32) {
    // SAFETY: two numbers.
    unsafe { libc::kill(pid as i32, signal) };
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Repeats until it gives something.
pub fn eventually<T>(what: &str, mut f: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = f() {
            return found;
        }
        assert!(since.elapsed() < LIMIT, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The exit status of a child that must end by itself.
pub fn status(child: &mut Child) -> Option<i32> {
    let pid = child.id();
    let status = eventually("its end", || {
        child.try_wait().unwrap().or_else(|| {
            assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
            None
        })
    });
    status.code()
}

/// A file of this test's own, gone in the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!("ringer-it-{}-{name}", std::process::id())))
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A named session of this test's own, gone in the end.
pub struct Named(pub String);

impl Named {
    pub fn new(name: &str) -> Named {
        Named(format!("it-{}-{name}", std::process::id()))
    }

    pub fn path(&self) -> PathBuf {
        // SAFETY: geteuid(2) cannot fail.
        let uid = unsafe { libc::geteuid() };
        PathBuf::from(format!("/dev/shm/ringer-{uid}-{}.session", self.0))
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path());
    }
}

/// State letter of a process, proc(5).
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
