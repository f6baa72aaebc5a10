//! A worker in each world: programs in, outcomes out, a line each.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde::Serialize;

use super::program::{Differs, Outcome, Program};
use crate::error::{Error, Result};
use crate::sys::{self, signal};

/// The referee gives up far earlier.
const LIMIT_MS: i32 = 120_000;

pub struct Worlds {
    kernel: World,
    ringer: World,
}

impl Worlds {
    /// With another libringer.so than the one inside.
    pub fn new(shim: Option<&Path>) -> Worlds {
        let shim = shim.map(Path::to_owned);
        Worlds {
            kernel: World {
                on_ringer: false,
                shim: None,
                worker: None,
            },
            ringer: World {
                on_ringer: true,
                shim,
                worker: None,
            },
        }
    }

    pub fn differs(&mut self, program: &Program) -> Result<Option<Differs>> {
        let ringer = self.ringer.run(program)?;
        Ok(self.kernel.run(program)?.differs(&ringer))
    }

    /// A difference that comes again, whatever the machine is doing.
    pub fn differs_always(&mut self, program: &Program, times: usize) -> Result<Option<Differs>> {
        let mut found = None;
        for _ in 0..times {
            match self.differs(program)? {
                None => return Ok(None),
                some => found = some,
            }
        }
        Ok(found)
    }
}

struct World {
    on_ringer: bool,
    shim: Option<PathBuf>,
    worker: Option<Worker>,
}

pub struct Worker {
    child: Child,
    /// Taken when it is to end: the end of its input.
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl World {
    /// A worker that dies has seen nothing: that differs from everything.
    fn run(&mut self, program: &Program) -> Result<Outcome> {
        let mut worker = match self.worker.take() {
            Some(worker) => worker,
            None => Worker::start(self.on_ringer, "fuzz-worker", self.shim.as_deref())?,
        };
        match worker.run(program) {
            Some(outcome) => {
                self.worker = Some(worker);
                Ok(outcome)
            }
            None => Ok(Outcome::default()),
        }
    }
}

impl Worker {
    /// `ringer WORD`, in its world.
    pub fn start(on_ringer: bool, word: &str, shim: Option<&Path>) -> Result<Worker> {
        let trouble = |why: std::io::Error| Error::Fuzz {
            what: "worker".into(),
            why: sys::error_text(&why),
        };
        let ringer = std::env::current_exe().map_err(trouble)?;
        let mut command = Command::new(&ringer);
        command
            .env_remove("LD_PRELOAD")
            .env_remove("RINGER_SESSION");
        if on_ringer {
            command.arg("run");
            if let Some(shim) = shim {
                command.arg("--shim").arg(shim);
            }
            command.arg("--").arg(&ringer);
        }
        let mut child = command
            .arg(word)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(trouble)?;
        let gone = || trouble(std::io::ErrorKind::BrokenPipe.into());
        let to = child.stdin.take().ok_or_else(gone)?;
        let from = BufReader::new(child.stdout.take().ok_or_else(gone)?);
        Ok(Worker {
            child,
            to: Some(to),
            from,
        })
    }

    /// A line to it. `None`: it is dead.
    pub fn tell(&mut self, what: &impl Serialize) -> Option<()> {
        let mut line = serde_json::to_string(what).ok()?;
        line.push('\n');
        self.to.as_mut()?.write_all(line.as_bytes()).ok()
    }

    /// A line from it. `None`: it is dead, or was killed since it hangs.
    pub fn hear<T: DeserializeOwned>(&mut self) -> Option<T> {
        let mut ready = [sys::pollfd(self.from.get_ref().as_raw_fd())];
        sys::poll(&mut ready, LIMIT_MS).ok()?;
        if ready[0].revents == 0 {
            let group = -(self.child.id() as i32);
            signal::kill(group, libc::SIGKILL);
            return None;
        }
        let mut said = String::new();
        self.from.read_line(&mut said).ok()?;
        serde_json::from_str(&said).ok()
    }

    fn run(&mut self, program: &Program) -> Option<Outcome> {
        self.tell(program)?;
        self.hear()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.to = None;
        let _ = self.child.wait();
    }
}
