//! Every way in which ringer itself can fail: what happened, why, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use ringer_kernel::arena::header::Unusable;

use crate::sys;

pub type Result<T> = std::result::Result<T, Error>;

/// Exit status when ringer itself fails.
pub const OWN_TROUBLE: u8 = 125;

#[derive(Debug)]
pub enum Error {
    /// The command could not be started. Says what env(1) says, and no more.
    Command {
        name: String,
        errno: i32,
    },
    BadSessionName {
        name: String,
    },
    NoSuchSession {
        name: String,
    },
    SessionIsLive {
        name: String,
        processes: usize,
    },
    CannotMakeSession {
        path: PathBuf,
        why: io::Error,
    },
    CannotOpenSession {
        path: PathBuf,
        why: io::Error,
    },
    Unusable {
        path: PathBuf,
        why: Unusable,
    },
    /// The session's table of threads is full, or /dev/shm.
    NoPlace {
        path: PathBuf,
    },
    LogIsRead {
        path: PathBuf,
    },
    NowhereToUnpack {
        tried: Vec<(PathBuf, String)>,
    },
    Output {
        path: PathBuf,
        why: io::Error,
    },
    Input {
        path: PathBuf,
        why: io::Error,
    },
    NotALog {
        path: PathBuf,
        line: u64,
        why: String,
    },
    BadFilter {
        word: String,
    },
    Bench {
        what: String,
        why: String,
    },
    /// Natively it does not end in time, so there is nothing to hold ringer against.
    EndlessNatively {
        name: String,
        seconds: u64,
    },
    Fuzz {
        what: String,
        why: String,
    },
    /// A system call that has no reason to fail.
    System {
        call: &'static str,
        why: io::Error,
    },
    /// Standard output: a reader that went away is no trouble.
    Stdout(io::Error),
}

impl Error {
    /// "125 if the env command itself fails, 126 if COMMAND is found but cannot be invoked, 127 if
    /// COMMAND cannot be found" [env(1)]
    pub fn exit_status(&self) -> u8 {
        match self {
            Error::Command {
                errno: libc::ENOENT,
                ..
            } => 127,
            Error::Command { .. } => 126,
            Error::Stdout(e) if e.kind() == io::ErrorKind::BrokenPipe => 0,
            _ => OWN_TROUBLE,
        }
    }

    /// Whether there is nothing to say.
    pub fn is_silent(&self) -> bool {
        matches!(self, Error::Stdout(e) if e.kind() == io::ErrorKind::BrokenPipe)
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Error::BadSessionName { .. } => {
                "use letters, digits, '.', '_' and '-', at most 64 of them".into()
            }
            Error::NoSuchSession { .. } => "`ringer sessions` lists those there are".into(),
            Error::SessionIsLive { .. } => "`ringer ps` says who they are; end them first".into(),
            Error::CannotMakeSession { why, .. } => match why.raw_os_error() {
                Some(libc::ENOMEM) => {
                    "a session takes 4 GiB of address space: raise `ulimit -v`".into()
                }
                Some(libc::EFBIG) => {
                    "a session is a sparse file of 4 GiB: raise `ulimit -f`".into()
                }
                Some(libc::ENOSPC) => {
                    "free some of /dev/shm: `ringer sessions` names old ones".into()
                }
                _ => "/dev/shm must be a tmpfs that you may write to".into(),
            },
            Error::Unusable { path, why } => match why {
                Unusable::OtherBuild | Unusable::OtherLayout { .. } => format!(
                    "use the ringer that made it, or end its programs and remove {}",
                    path.display()
                ),
                _ => format!("if no program uses it, remove {}", path.display()),
            },
            Error::NoPlace { .. } => {
                "free some of /dev/shm, or end some of the session's programs".into()
            }
            Error::LogIsRead { .. } => "end the other `ringer trace` or `ringer run --log`".into(),
            Error::NowhereToUnpack { .. } => {
                "set XDG_CACHE_HOME to a directory of yours that programs can be run from".into()
            }
            Error::NotALog { .. } => {
                "give a file made by `ringer trace --format json -o FILE`".into()
            }
            Error::BadFilter { .. } => {
                "say operations (read,write), %pipe, %signal, %process, %desc, %wait, pipe#3, pid=123, \
                 signal=USR1 or comm=sort; a ! in front takes the opposite"
                    .into()
            }
            Error::EndlessNatively { .. } => "give it more time with --timeout, or its input with --stdin".into(),
            _ => return None,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Command { name, errno } => write!(f, "'{name}': {}", sys::strerror(*errno)),
            Error::BadSessionName { name } => write!(f, "'{name}' can not name a session"),
            Error::NoSuchSession { name } => write!(f, "there is no session '{name}'"),
            Error::SessionIsLive { name, processes } => {
                let them = crate::ui::human::plural_es(*processes as u64, "process");
                write!(f, "the session '{name}' is in use by {them}")
            }
            Error::CannotMakeSession { path, why } => {
                write!(
                    f,
                    "cannot make the session {}: {}",
                    path.display(),
                    sys::error_text(why)
                )
            }
            Error::CannotOpenSession { path, why } => {
                write!(
                    f,
                    "cannot open the session {}: {}",
                    path.display(),
                    sys::error_text(why)
                )
            }
            Error::Unusable { path, why } => {
                write!(f, "cannot use {}: {}", path.display(), describe(*why))
            }
            Error::NoPlace { path } => {
                write!(
                    f,
                    "cannot join the session {}: its table of threads, or /dev/shm, is full",
                    path.display()
                )
            }
            Error::LogIsRead { path } => {
                write!(
                    f,
                    "the log of {} is being read by another ringer",
                    path.display()
                )
            }
            Error::NowhereToUnpack { tried } => {
                write!(f, "found no place for libringer.so")?;
                tried
                    .iter()
                    .try_for_each(|(dir, why)| write!(f, "\n  {}: {why}", dir.display()))
            }
            Error::Output { path, why } => {
                write!(
                    f,
                    "cannot write {}: {}",
                    path.display(),
                    sys::error_text(why)
                )
            }
            Error::Input { path, why } => {
                write!(
                    f,
                    "cannot read {}: {}",
                    path.display(),
                    sys::error_text(why)
                )
            }
            Error::NotALog { path, line, why } => {
                write!(
                    f,
                    "{}, line {line}, is no log of ringer's: {why}",
                    path.display()
                )
            }
            Error::BadFilter { word } => write!(f, "-e: '{word}' means nothing"),
            Error::EndlessNatively { name, seconds } => {
                write!(f, "'{name}' does not end within {seconds} s natively")
            }
            Error::Fuzz { what, why } => write!(f, "fuzz {what}: {why}"),
            Error::Bench { what, why } => write!(f, "bench {what}: {why}"),
            Error::System { call, why } => write!(f, "{call}: {}", sys::error_text(why)),
            Error::Stdout(why) => write!(f, "standard output: {}", sys::error_text(why)),
        }?;
        match self.hint() {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Why an arena can not be used, in words.
pub fn describe(why: Unusable) -> String {
    match why {
        Unusable::NotAnArena => "it is no session of ringer's".into(),
        Unusable::OtherLayout { found } => format!("it has layout {found}, another version's"),
        Unusable::OtherBuild => "another build of ringer made it".into(),
        Unusable::Truncated => "it is not as long as it says".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_command_reads_as_from_env() {
        let e = Error::Command {
            name: "x".into(),
            errno: libc::ENOENT,
        };
        assert_eq!(e.to_string(), "'x': No such file or directory");
        assert_eq!(e.exit_status(), 127);
        let e = Error::Command {
            name: "/etc/passwd".into(),
            errno: libc::EACCES,
        };
        assert_eq!(e.to_string(), "'/etc/passwd': Permission denied");
        assert_eq!(e.exit_status(), 126);
    }

    #[test]
    fn a_reader_that_went_away_is_no_trouble() {
        let e = Error::Stdout(io::ErrorKind::BrokenPipe.into());
        assert_eq!(e.exit_status(), 0);
        assert!(e.is_silent());
    }
}
