//! A live session to look at: somebody sleeps in it, with five bytes in a pipe.

use crate::guard;
use crate::ringer::{native, native_only, ringer, ringer_run, run};
use ringer_support::{cc, procfs};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The name of a session that nobody else uses. The session goes with it.
pub struct Name(String);

impl Name {
    pub fn new(topic: &str) -> Name {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Name(format!("test-{topic}-{}-{number}", std::process::id()))
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if native_only() || std::thread::panicking() {
            return;
        }
        // A guest says where the arena is; only what it has mapped is removed.
        let script = format!("echo \"${VARIABLE}\"; cat /proc/self/maps");
        let ended = run(ringer([
            "run",
            "--session",
            self.text(),
            "--",
            "sh",
            "-c",
            &script,
        ]));
        let said = ended.stdout();
        let (value, maps) = said.split_once('\n').unwrap_or_default();
        let arena = arena_of(value);
        if is_mapped(&arena, maps) {
            let _ = fs::remove_file(arena);
        }
    }
}

/// Whether /proc/PID/maps has a mapping of this very file.
fn is_mapped(path: &Path, maps: &str) -> bool {
    let path = path.to_string_lossy();
    path.starts_with('/') && maps.lines().any(|line| line.ends_with(&format!(" {path}")))
}

/// The variable by which the processes of a session find its arena.
pub const VARIABLE: &str = "RINGER_SESSION";

/// The arena's file, from the value of that variable. **The one place that knows the format**: it
/// is taken for the path of the file.
fn arena_of(value: &str) -> PathBuf {
    Path::new(value).to_path_buf()
}

/// `ringer run --session NAME -- holder`, where the holder has five bytes in a pipe.
pub struct Session {
    name: Name,
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// The holder's process id.
    pub holder: i32,
    /// Its value of [`VARIABLE`].
    value: String,
}

impl Session {
    pub fn start(topic: &str) -> Session {
        let name = Name::new(topic);
        let holder = cc::cc(include_str!("holder.c"));
        let program = holder.to_str().expect("a path of ours");
        let mut command = ringer_run(&["--session", name.text()], &[program]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        guard::lead_a_session(&mut command);
        let mut child = command.spawn().expect("ringer or the holder");
        let mut stdout = BufReader::new(child.stdout.take().expect("the pipe we asked for"));
        let line = read_line(&child, &mut stdout);
        let (holder, value) = line.split_once(' ').expect("a process id and a session");
        let holder = holder.parse().expect("a process id");
        let value = value.to_owned();
        Session {
            name,
            child,
            stdout,
            holder,
            value,
        }
    }

    pub fn name(&self) -> &str {
        self.name.text()
    }

    /// The file of the arena, which the tests may spoil: the holder has it mapped.
    pub fn arena(&self) -> PathBuf {
        let path = arena_of(&self.value);
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.holder));
        let mapped = is_mapped(&path, &maps.expect("a living holder"));
        assert!(
            mapped,
            "{VARIABLE}={} is not the arena of the holder",
            self.value
        );
        path
    }

    /// Lets the holder read its pipe and end. What it then says.
    pub fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let line = read_line(&self.child, &mut self.stdout);
        let status = self.child.wait().expect("our own child");
        assert_eq!(status.code(), Some(0));
        line
    }

    /// Kills the supervisor first and then the holder: nobody can clean up.
    pub fn kill(mut self) -> Name {
        self.child.kill().expect("kill of our own child");
        // SAFETY: kill(2) touches no memory of ours.
        unsafe { libc::kill(self.holder, libc::SIGKILL) };
        procfs::gone(self.holder);
        // Last: it closes the standard input, at whose end the holder would read its pipe.
        self.child.wait().expect("our own child");
        self.name
    }
}

fn read_line(child: &Child, stdout: &mut BufReader<ChildStdout>) -> String {
    let ready = guard::readable_by(stdout.get_ref().as_raw_fd(), guard::deadline());
    assert!(ready, "says nothing: {}", guard::dump(child.id() as i32));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line of the holder");
    line.trim_end().to_owned()
}

/// The holder itself, without ringer: five bytes go in, five come out.
#[test]
fn the_holder_reads_what_it_wrote() {
    let holder = cc::cc(include_str!("holder.c"));
    let said = run(native(&[holder.to_str().expect("a path of ours")])).stdout();
    assert_eq!(said.lines().nth(1), Some("hello"));
}
