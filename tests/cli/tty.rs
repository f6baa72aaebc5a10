//! A terminal of our own, with a command in its foreground.

use crate::guard;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// The end-of-file, interrupt, quit and suspend characters. See termios(3).
pub const CTRL_D: &str = "\x04";
pub const CTRL_C: &str = "\x03";
pub const CTRL_BACKSLASH: &str = "\x1c";
pub const CTRL_Z: &str = "\x1a";

pub struct Terminal {
    master: Option<File>,
    child: Child,
    /// All that was written to the terminal.
    seen: String,
    /// Up to here it has been expected.
    matched: usize,
}

/// 24 lines of 80 characters, as ever.
const SIZE: libc::winsize = winsize(24, 80);

const fn winsize(rows: u16, columns: u16) -> libc::winsize {
    libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl Terminal {
    /// Starts a command whose controlling terminal this is. Nothing is echoed, and no output
    /// processed: what is seen is what was written.
    pub fn start(mut command: Command) -> Terminal {
        let (master, slave) = open();
        let stdio = || Stdio::from(slave.try_clone().expect("dup of the terminal"));
        command
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .env("TERM", "dumb");
        guard::lead_a_session(&mut command);
        // SAFETY: `take_terminal` makes one system call and allocates nothing.
        unsafe { command.pre_exec(take_terminal) };
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Terminal {
            master: Some(master),
            child,
            seen: String::new(),
            matched: 0,
        }
    }

    pub fn press(&mut self, keys: &str) {
        let master = self.master.as_mut().expect("not hung up");
        master
            .write_all(keys.as_bytes())
            .expect("write to the terminal");
    }

    /// Waits until the command has written `text`, after what was expected before.
    pub fn expect(&mut self, text: &str) {
        let deadline = guard::deadline();
        while !self.seen[self.matched..].contains(text) {
            let fd = self.master.as_ref().expect("not hung up").as_raw_fd();
            let more = guard::readable_by(fd, deadline) && self.read();
            let report = if more {
                String::new()
            } else {
                guard::dump(self.child.id() as i32)
            };
            assert!(more, "no {text:?} in {:?}{report}", self.seen);
        }
        let at = self.seen[self.matched..].find(text).unwrap_or(0);
        self.matched += at + text.len();
    }

    /// Reads what is there; false at the end.
    fn read(&mut self) -> bool {
        let mut buf = [0; 4096];
        match self.master.as_mut().expect("not hung up").read(&mut buf) {
            Ok(n) if n > 0 => {
                self.seen += &String::from_utf8_lossy(&buf[..n]);
                true
            }
            _ => false, // EIO: no process has the terminal any more. See pty(7).
        }
    }

    /// Waits until all but the command itself have stopped. (A shell waits for one process of a job; another that has not run since
    /// the signal was sent would still read what is pressed next.)
    pub fn all_stopped(&self) {
        let session = self.child.id().to_string();
        let is_on = |stat: &str| {
            let (pid, rest) = stat.split_once(" (").unwrap_or_default();
            let rest = rest.rsplit_once(") ").unwrap_or_default().1;
            let field: Vec<&str> = rest.split(' ').take(4).collect(); // state, ppid, pgrp, session
            pid != session && field.get(3) == Some(&session.as_str()) && !"TZX".contains(field[0])
        };
        let running = || {
            let all = std::fs::read_dir("/proc").expect("/proc").flatten();
            let stats = all.flat_map(|entry| std::fs::read_to_string(entry.path().join("stat")));
            stats.filter(|stat| is_on(stat)).count()
        };
        let begun = std::time::Instant::now();
        while running() > 0 {
            assert!(begun.elapsed().as_secs() < 20, "somebody has not stopped");
            std::thread::yield_now();
        }
    }

    pub fn resize(&mut self, rows: u16, columns: u16) {
        let size = winsize(rows, columns);
        let fd = self.master.as_ref().expect("not hung up").as_raw_fd();
        // SAFETY: TIOCSWINSZ reads one winsize.
        let done = unsafe { libc::ioctl(fd, libc::TIOCSWINSZ, &size) };
        assert_eq!(done, 0, "TIOCSWINSZ: {}", io::Error::last_os_error());
    }

    /// The line is cut: SIGHUP for the session.
    pub fn hang_up(&mut self) {
        self.master = None;
    }

    /// The status of the command, and all that was seen.
    pub fn wait(mut self) -> (i32, String) {
        let deadline = guard::deadline();
        if let Some(fd) = self.master.as_ref().map(|m| m.as_raw_fd()) {
            while guard::readable_by(fd, deadline) && self.read() {}
        }
        let pid = self.child.id() as i32;
        let in_time = guard::ends_by(pid, deadline);
        let report = if in_time {
            String::new()
        } else {
            guard::dump(pid)
        };
        if !in_time {
            self.child.kill().expect("kill of our own child");
        }
        let status = self.child.wait().expect("our own child");
        assert!(in_time, "did not end; seen: {:?}{report}", self.seen);
        (guard::shell_status(status), self.seen)
    }
}

fn take_terminal() -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes a number.
    if unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Master and slave of a new terminal.
fn open() -> (File, File) {
    // SAFETY: takes a number.
    let fd = unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) };
    assert!(fd >= 0, "posix_openpt: {}", io::Error::last_os_error());
    // SAFETY: a new descriptor that nobody else owns.
    let master = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: a descriptor of a master.
    let granted = unsafe { libc::grantpt(fd) };
    // SAFETY: as above.
    let unlocked = unsafe { libc::unlockpt(fd) };
    assert_eq!(
        (granted, unlocked),
        (0, 0),
        "{}",
        io::Error::last_os_error()
    );
    let mut name = [0 as libc::c_char; 64];
    // SAFETY: a buffer and its size.
    let named = unsafe { libc::ptsname_r(fd, name.as_mut_ptr(), name.len()) };
    assert_eq!(named, 0, "ptsname: {}", io::Error::from_raw_os_error(named));
    // SAFETY: ptsname_r has put a terminated string there.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    // SAFETY: a string; O_NOCTTY: the tests have no terminal and want none.
    let fd = unsafe {
        libc::open(
            name.as_ptr(),
            libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
        )
    };
    assert!(fd >= 0, "{name:?}: {}", io::Error::last_os_error());
    // SAFETY: a new descriptor that nobody else owns.
    let slave = unsafe { OwnedFd::from_raw_fd(fd) };
    set_modes(&slave);
    (master.into(), slave.into())
}

fn set_modes(slave: &OwnedFd) {
    let fd = slave.as_raw_fd();
    let mut modes = std::mem::MaybeUninit::uninit();
    // SAFETY: tcgetattr fills one termios.
    let got = unsafe { libc::tcgetattr(fd, modes.as_mut_ptr()) };
    assert_eq!(got, 0, "tcgetattr: {}", io::Error::last_os_error());
    // SAFETY: filled, since tcgetattr succeeded.
    let mut modes = unsafe { modes.assume_init() };
    modes.c_lflag &= !(libc::ECHO | libc::ECHOE | libc::ECHOK | libc::ECHONL | libc::ECHOCTL);
    modes.c_oflag &= !libc::OPOST;
    // SAFETY: one termios.
    let set = unsafe { libc::tcsetattr(fd, libc::TCSANOW, &modes) };
    // SAFETY: one winsize.
    let sized = unsafe { libc::ioctl(fd, libc::TIOCSWINSZ, &SIZE) };
    assert_eq!((set, sized), (0, 0), "{}", io::Error::last_os_error());
}
