//! `ringer run` on a terminal: Ctrl-C, Ctrl-Z and a hang-up reach the command as they would
//! without it.

mod common;

use common::*;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;

/// A session of its own on a pseudo-terminal, whose leader is `args`.
struct Terminal {
    master: File,
    leader: u32,
    seen: String,
}

impl Terminal {
    fn new(args: &[&str]) -> Terminal {
        let args: Vec<CString> = args.iter().map(|a| CString::new(*a).unwrap()).collect();
        let mut pointers: Vec<_> = args.iter().map(|a| a.as_ptr()).collect();
        pointers.push(std::ptr::null());
        let mut master = 0;
        let none = std::ptr::null_mut();
        // SAFETY: room for one descriptor; no name, no settings.
        let pid = unsafe { libc::forkpty(&mut master, none, none.cast(), none.cast()) };
        assert!(pid >= 0);
        if pid == 0 {
            // SAFETY: a NULL-terminated vector of C strings.
            unsafe { libc::execvp(pointers[0], pointers.as_ptr()) };
            // SAFETY: ends the child.
            unsafe { libc::_exit(99) };
        }
        // SAFETY: just made, nobody else owns it.
        let master = unsafe { File::from_raw_fd(master) };
        // SAFETY: a descriptor and a flag.
        unsafe { libc::fcntl(master.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        Terminal {
            master,
            leader: pid as u32,
            seen: String::new(),
        }
    }

    fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    fn wait_for(&mut self, text: &str) {
        let mut buf = [0; 4096];
        let (master, seen) = (&mut self.master, &mut self.seen);
        eventually(text, || {
            if let Ok(n) = master.read(&mut buf) {
                seen.push_str(&String::from_utf8_lossy(&buf[..n]));
            }
            let at = seen.find(text)?;
            seen.drain(..at + text.len());
            Some(())
        });
    }

    fn status(&self) -> i32 {
        let mut status = 0;
        eventually("the end", || {
            // SAFETY: room for one status.
            let pid = unsafe { libc::waitpid(self.leader as i32, &mut status, libc::WNOHANG) };
            (pid > 0).then_some(())
        });
        status
    }
}

use std::os::fd::AsRawFd;

impl Drop for Terminal {
    fn drop(&mut self) {
        kill(self.leader, libc::SIGKILL);
    }
}

const RINGER: &str = env!("CARGO_BIN_EXE_ringer");

#[test]
fn control_c_reaches_the_command_once() {
    let script = "trap 'n=$((n+1))' INT; n=0; echo ready; while [ $n = 0 ]; do sleep 0.05; done; \
                  sleep 0.3; echo interrupted $n times";
    let mut t = Terminal::new(&[RINGER, "run", "--", "sh", "-c", script]);
    t.wait_for("ready");
    t.press("\x03");
    t.wait_for("interrupted 1 times");
    assert_eq!(t.status(), 0);
}

#[test]
fn control_c_kills_a_command_that_lets_it() {
    let mut t = Terminal::new(&[RINGER, "run", "--", "sh", "-c", "echo ready; exec sleep 60"]);
    t.wait_for("ready");
    t.press("\x03");
    let status = t.status();
    assert!(libc::WIFEXITED(status));
    assert_eq!(libc::WEXITSTATUS(status), 130);
}

#[test]
fn control_z_gives_the_shell_its_prompt_back() {
    let mut t = Terminal::new(&["bash", "--norc", "--noprofile", "-i"]);
    t.press("PS1='p''rompt> '\n");
    t.wait_for("prompt> ");
    t.press(&format!(
        "{RINGER} run -- sh -c 'echo re''ady; read line; echo got $line'\n"
    ));
    t.wait_for("ready");
    t.press("\x1a");
    t.wait_for("Stopped");
    t.press("fg\n");
    t.wait_for("ringer run");
    std::thread::sleep(std::time::Duration::from_millis(200));
    t.press("hello\n");
    t.wait_for("got hello");
    t.press("exit\n");
    assert_eq!(libc::WEXITSTATUS(t.status()), 0);
}

#[test]
fn a_dying_terminal_reaches_the_command() {
    let file = Scratch::new("hangup");
    let script = format!(
        "trap 'echo hung up > {}; exit 0' HUP; echo ready; sleep 60 & wait",
        file.path()
    );
    let mut t = Terminal::new(&[RINGER, "run", "--", "sh", "-c", &script]);
    t.wait_for("ready");
    let (leader, null) = (t.leader, File::open("/dev/null").unwrap());
    drop(std::mem::replace(&mut t.master, null)); // the terminal is closed
    eventually("the trap", || {
        std::fs::read_to_string(&file.0)
            .ok()
            .filter(|s| s.contains("hung up"))
    });
    t.leader = leader;
    assert!(libc::WIFEXITED(t.status()));
}

#[test]
fn the_summary_comes_by_itself_on_a_terminal() {
    let mut t = Terminal::new(&[
        RINGER,
        "trace",
        "-e",
        "none",
        "--",
        "sh",
        "-c",
        "seq 9 | cat",
    ]);
    t.wait_for("1 pipe");
    t.wait_for("seq -> cat");
    assert_eq!(t.status(), 0);
}
