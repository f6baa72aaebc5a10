//! Who runs a command: servers like PostgreSQL refuse to be root's.

use crate::fixture::TempDir;
use ringer_support::build;
use std::fs;
use std::os::unix::fs::{chown, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// nobody and nogroup.
const NOBODY: u32 = 65534;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum User {
    /// Whoever runs the tests.
    Own,
    Nobody,
}

/// The programs under test, where the user can reach them.
pub struct Built {
    pub ringer: PathBuf,
    pub libringer: PathBuf,
}

impl User {
    /// Root becomes nobody; others can be nobody but themselves.
    pub fn unprivileged() -> User {
        // SAFETY: geteuid(2) takes nothing.
        match unsafe { libc::geteuid() } {
            0 => User::Nobody,
            _ => User::Own,
        }
    }

    /// The programs under test. nobody gets copies: the tree may be below a directory that is closed to it.
    pub fn built(self, home: &TempDir) -> Built {
        let mut built = Built {
            ringer: build::ringer(),
            libringer: build::libringer(),
        };
        if self == User::Nobody {
            let open = fs::Permissions::from_mode(0o755);
            fs::set_permissions(home.path(), open).expect("our own directory");
            self.owns(home.path());
            let bin = home.dir("bin");
            for file in [&mut built.ringer, &mut built.libringer] {
                let name = file.file_name().expect("the name of a program");
                let copy = bin.join(name);
                fs::copy(&*file, &copy).expect("a copy in our own directory");
                *file = copy;
            }
        }
        built
    }

    pub fn owns(self, dir: &Path) {
        if self == User::Nobody {
            chown(dir, Some(NOBODY), Some(NOBODY)).expect("our own directory, and we are root");
        }
    }

    /// Without supplementary groups, which the standard library drops with the user.
    pub fn runs(self, command: &mut Command) {
        if self == User::Nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
    }
}
