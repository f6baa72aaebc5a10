//! A worker in each world: programs in, outcomes out, a line each.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::program::{Differs, Outcome, Program};
use crate::error::{Error, Result};
use crate::sys;

pub struct Worlds {
    kernel: World,
    ringer: World,
}

impl Worlds {
    pub fn new() -> Worlds {
        Worlds {
            kernel: World {
                on_ringer: false,
                worker: None,
            },
            ringer: World {
                on_ringer: true,
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
    worker: Option<Worker>,
}

struct Worker {
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
            None => Worker::start(self.on_ringer)?,
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
    fn start(on_ringer: bool) -> Result<Worker> {
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
            command.args(["run", "--"]).arg(&ringer);
        }
        let mut child = command
            .arg("fuzz-worker")
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

    fn run(&mut self, program: &Program) -> Option<Outcome> {
        let mut line = serde_json::to_string(program).ok()?;
        line.push('\n');
        self.to.as_mut()?.write_all(line.as_bytes()).ok()?;
        let mut said = String::new();
        self.from.read_line(&mut said).ok()?;
        serde_json::from_str(&said).ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.to = None;
        let _ = self.child.wait();
    }
}
