//! One run of the command, in one of the worlds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::log::Story;
use crate::cli::Mode;
use crate::cmd::ps;
use crate::error::{Error, Result};
use crate::launch::{environment, inherited};
use crate::session::{self, Access, Name, Session};
use crate::sys;

pub struct Plan {
    pub command: Vec<OsString>,
    pub timeout: Duration,
    pub stdin: PathBuf,
    /// Each run in an empty directory, whose files are compared.
    pub files: bool,
    pub shim: Option<PathBuf>,
    /// Whether the logs are compared, too.
    pub logs: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    Exited(i32),
    Killed(i32),
    /// It did not end in time. Who waited for what, where ringer knows.
    Hung(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Log {
    No,
    Kept,
}

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    pub end: End,
    /// By name: stdout, stderr, the files.
    pub outputs: BTreeMap<String, Vec<u8>>,
}

/// A directory for what the runs write, gone in the end.
pub struct Place {
    pub plan: Plan,
    directory: PathBuf,
}

impl Place {
    pub fn new(plan: Plan) -> Result<Place> {
        let name = format!("ringer-diff-{}-{:x}", std::process::id(), sys::random());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).map_err(output(&directory))?;
        Ok(Place { plan, directory })
    }

    pub fn native(&self) -> Result<Ran> {
        let (program, args) = self.plan.command.split_first().ok_or(Error::Command {
            name: String::new(),
            errno: libc::ENOENT,
        })?;
        let mut command = Command::new(program);
        command.args(args).env_clear();
        for string in environment::without_shim(environment::native(std::env::vars_os())) {
            let bytes = string.into_bytes();
            let at = bytes.iter().position(|b| *b == b'=').unwrap_or(bytes.len());
            let (name, value) = bytes.split_at(at);
            let value = value.get(1..).unwrap_or_default();
            command.env(
                OsString::from_vec(name.to_vec()),
                OsString::from_vec(value.to_vec()),
            );
        }
        let (end, outputs) = self.one(command, String::new)?;
        if matches!(end, End::Hung(_)) {
            return Err(Error::EndlessNatively {
                name: self.name(),
                seconds: self.plan.timeout.as_secs(),
            });
        }
        Ok(Ran { end, outputs })
    }

    /// On ringer.
    pub fn ringer(&self) -> Result<Ran> {
        self.session(Mode::Emulate, Log::No).map(|(ran, _)| ran)
    }

    /// With a log, and what it tells.
    pub fn logged(&self, mode: Mode) -> Result<(Ran, Story)> {
        let (ran, story) = self.session(mode, Log::Kept)?;
        Ok((ran, story.unwrap_or_else(|| Story::of(&[], true))))
    }

    fn session(&self, mode: Mode, log: Log) -> Result<(Ran, Option<Story>)> {
        let session = format!("diff-{}-{:x}", std::process::id(), sys::random());
        let path = Name::given(&session)?.path();
        let told = self.directory.join("end");
        let mut command = Command::new(std::env::current_exe().map_err(output(&told))?);
        command
            .args(["run", "--session", &session, "--end"])
            .arg(&told);
        if mode == Mode::Observe {
            command.args(["--mode", "observe"]);
        }
        let kept = self.directory.join("log");
        if log == Log::Kept {
            command.arg("--log").arg(&kept);
        }
        if let Some(shim) = &self.plan.shim {
            command
                .arg("--shim")
                .arg(shim.canonicalize().map_err(output(shim))?);
        }
        command.arg("--").args(&self.plan.command);
        let ran = self.one(command, || waits(&path));
        if let Ok(session) = Session::open(&path, Access::Member) {
            session.unlink();
        }
        let (end, outputs) = ran?;
        let end = match end {
            End::Exited(_) => end_of(&fs::read_to_string(&told).unwrap_or_default()).unwrap_or(end),
            other => other,
        };
        let story = match log {
            Log::No => None,
            Log::Kept => Some(Story::read(&kept)?),
        };
        Ok((Ran { end, outputs }, story))
    }

    fn name(&self) -> String {
        let first = self.plan.command.first();
        first.map_or_else(String::new, |c| c.to_string_lossy().into_owned())
    }

    fn one(
        &self,
        mut command: Command,
        waits: impl Fn() -> String,
    ) -> Result<(End, BTreeMap<String, Vec<u8>>)> {
        let file = |name: &str| self.directory.join(name);
        let create = |path: &Path| {
            let open = File::options().create(true).append(true).open(path);
            open.and_then(|f| f.set_len(0).map(|()| f))
                .map_err(output(path))
        };
        let (out, err, work) = (file("stdout"), file("stderr"), file("files"));
        let _ = fs::remove_file(file("end"));
        if self.plan.files {
            let _ = fs::remove_dir_all(&work);
            fs::create_dir(&work).map_err(output(&work))?;
            command.current_dir(&work);
        }
        command
            .stdin(File::open(&self.plan.stdin).map_err(|why| Error::Input {
                path: self.plan.stdin.clone(),
                why,
            })?)
            .stdout(create(&out)?)
            .stderr(create(&err)?)
            .process_group(0);
        let inherited = inherited::take();
        // SAFETY: only system calls, no allocation, between fork and exec.
        unsafe {
            command.pre_exec(move || {
                inherited.restore();
                Ok(())
            });
        }
        let mut child = command.spawn().map_err(|why| Error::Command {
            name: self.name(),
            errno: why.raw_os_error().unwrap_or(libc::ENOENT),
        })?;
        let end = wait(&mut child, self.plan.timeout, waits);
        // Whatever it has left running writes nowhere any more.
        sys::signal::kill(-(child.id() as i32), libc::SIGKILL);
        let _ = child.wait();
        let mut outputs = BTreeMap::new();
        for (name, path) in [("stdout", out), ("stderr", err)] {
            outputs.insert(name.to_owned(), fs::read(&path).map_err(output(&path))?);
        }
        if self.plan.files {
            files(&work, &work, &mut outputs).map_err(output(&work))?;
        }
        Ok((end.map_err(output(&work))?, outputs))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn output(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |why| Error::Output { path, why }
}

fn wait(child: &mut Child, timeout: Duration, waits: impl Fn() -> String) -> io::Result<End> {
    let since = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(match status.signal() {
                Some(signal) => End::Killed(signal),
                None => End::Exited(status.code().unwrap_or_default()),
            });
        }
        if since.elapsed() > timeout {
            return Ok(End::Hung(waits()));
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Who waits for what in a session.
fn waits(path: &Path) -> String {
    session::find(&path.to_string_lossy()).map_or_else(|e| e.to_string(), |s| ps::of_session(&s))
}

/// What `ringer run --end` has written.
fn end_of(text: &str) -> Option<End> {
    let number = || {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    match text {
        t if t.starts_with("Exited") => Some(End::Exited(number()?)),
        t if t.starts_with("Killed") => Some(End::Killed(number()?)),
        _ => None,
    }
}

fn files(root: &Path, at: &Path, into: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    for entry in fs::read_dir(at)? {
        let entry = entry?;
        let path = entry.path();
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        let kind = entry.file_type()?;
        let bytes = if kind.is_dir() {
            files(root, &path, into)?;
            b"a directory\n".to_vec()
        } else if kind.is_symlink() {
            fs::read_link(&path)?.as_os_str().as_bytes().to_vec()
        } else if kind.is_file() {
            fs::read(&path)?
        } else {
            format!("{kind:?}\n").into_bytes()
        };
        into.insert(format!("file {name}"), bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_read_as_run_writes_them() {
        use sys::process::State;
        let said = |state: State| end_of(&format!("{state:?}"));
        assert_eq!(said(State::Exited { status: 3 }), Some(End::Exited(3)));
        assert_eq!(said(State::Killed { signal: 9 }), Some(End::Killed(9)));
        assert_eq!(end_of(""), None);
    }
}
