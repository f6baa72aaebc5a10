//! The command: started as env(1) would start it, with the shim.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use super::{environment, inherited};
use crate::error::{Error, Result};
use crate::sys::process::{self, State, Vector};
use crate::sys::{self, signal};

/// A started command.
#[derive(Clone, Copy, Debug)]
pub struct Child {
    pub pid: i32,
}

impl Child {
    /// Forks and executes. `environment` is all the environment that it gets. This process must
    /// not have other threads yet.
    pub fn start(command: &[OsString], environment: Vec<CString>) -> Result<Child> {
        let trouble = |call| move |why| Error::System { call, why };
        let (said, report) = sys::pipe().map_err(trouble("pipe2"))?;
        let args = Vector::new(command.iter().filter_map(|arg| c_string(arg)).collect());
        let environment = Vector::new(environment);
        let inherited = inherited::take();
        let prepare = || inherited.restore();
        // SAFETY: this process has one thread, so its memory is whole in the child.
        let pid = unsafe { process::spawn(&args, &environment, report.as_raw_fd(), prepare) }
            .map_err(trouble("fork"))?;
        drop(report);
        let mut errno = [0; 4];
        // End of file: exec closed it, the command runs.
        match File::from(said).read_exact(&mut errno) {
            Err(_) => Ok(Child { pid }),
            Ok(()) => {
                let _ = process::wait_for_end(pid);
                Err(Error::Command {
                    name: name_of(command),
                    errno: i32::from_ne_bytes(errno),
                })
            }
        }
    }

    /// Becomes the command, without the shim: nothing of ringer is left. Comes back only with
    /// the reason why the command can not be run.
    pub fn instead_of_us(command: &[OsString]) -> Error {
        let args = Vector::new(command.iter().filter_map(|arg| c_string(arg)).collect());
        let environment = Vector::new(environment::without_shim(std::env::vars_os()));
        inherited::take().restore();
        let errno = process::exec(&args, &environment);
        Error::Command {
            name: name_of(command),
            errno,
        }
    }

    pub fn look(&self) -> Result<State> {
        process::look_at_child(self.pid).map_err(|why| Error::System {
            call: "waitpid",
            why,
        })
    }

    pub fn send(&self, signal: signal::Received) {
        signal::send(self.pid, signal);
    }

    /// Continues it, unless somebody has done so already.
    pub fn proceed(&self) {
        let stat = sys::procfs::process(self.pid as u32);
        if stat.is_none_or(|s| s.state == 'T') {
            signal::kill(self.pid, libc::SIGCONT);
        }
    }
}

fn name_of(command: &[OsString]) -> String {
    command
        .first()
        .map(|c| c.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Arguments come from exec, so they hold no NUL.
fn c_string(arg: &OsStr) -> Option<CString> {
    CString::new(arg.as_bytes()).ok()
}

/// The exit status that the shell would give. "If a command is terminated by signal n, its status
/// is 128+n" [bash(1)]
pub fn exit_status(end: State) -> u8 {
    match end {
        State::Exited { status } => status as u8,
        State::Killed { signal } | State::Stopped { signal } => 128u8.wrapping_add(signal as u8),
        State::Running => 0,
    }
}
