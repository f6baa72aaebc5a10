//! One command in three worlds: the kernel's, `LD_PRELOAD=libringer.so`, and `ringer run`.
//!
//! The native run says what is right. `RINGER_WORLDS=shim` or `run` restricts the comparison;
//! with `RINGER_WORLDS=native` the native run is compared with a second native one, which is how a
//! new case is shown to be stable.

use crate::emulated::{assert_emulated, Pipes};
use crate::fixture::{self, TempDir};
use crate::guard::{self, Ended};
use crate::user::{Built, User};
use ringer_support::world::World;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A command and what it needs.
pub struct Case {
    argv: Vec<OsString>,
    needs: Vec<&'static str>,
    pipes: Pipes,
    files: Vec<(&'static str, String)>,
    bin: Option<PathBuf>,
    user: User,
}

/// Runs a bash script in every world; its pipes must be emulated and stay so.
pub fn same_as_native(script: &str) {
    bash(script).check();
}

pub fn bash(script: &str) -> Case {
    Case::new(["bash", "-c", script])
}

pub fn dash(script: &str) -> Case {
    Case::new(["dash", "-c", script])
}

pub fn python(script: &str) -> Case {
    Case::new(["python3", "-c", script])
}

pub fn perl(script: &str) -> Case {
    Case::new(["perl", "-w", "-e", script])
}

impl Case {
    pub fn new<I: IntoIterator<Item = S>, S: Into<OsString>>(argv: I) -> Case {
        let argv = argv.into_iter().map(Into::into).collect();
        Case {
            argv,
            needs: Vec::new(),
            pipes: Pipes::Emulated,
            files: Vec::new(),
            bin: None,
            user: User::Own,
        }
    }

    /// Not as root: the servers that refuse to be root's.
    pub fn unprivileged(mut self) -> Case {
        self.user = User::unprivileged();
        self
    }

    /// Programs without which the case is skipped; the first word of the command is one anyway.
    pub fn needs(mut self, programs: &[&'static str]) -> Case {
        self.needs.extend(programs);
        self
    }

    pub fn pipes(mut self, pipes: Pipes) -> Case {
        self.pipes = pipes;
        self
    }

    /// A file in the directory where the command runs.
    pub fn file(mut self, name: &'static str, text: impl Into<String>) -> Case {
        self.files.push((name, text.into()));
        self
    }

    /// A directory of helpers, put in front of PATH.
    pub fn bin(mut self, dir: &Path) -> Case {
        self.bin = Some(dir.to_path_buf());
        self
    }

    /// Compares the worlds. Returns the native run's result, or `None` if it was skipped.
    pub fn check(self) -> Option<Ended> {
        let mut needed = self.needs.clone();
        needed.extend(
            self.argv[0]
                .to_str()
                .filter(|program| !program.contains('/')),
        );
        if !fixture::installed(&needed) {
            return None;
        }
        let home = TempDir::new();
        fixture::copy_of_the_tree(&home.path().join("tree"));
        let built = self.user.built(&home);
        let native = self.run(World::Native, &built, &home, "native");
        for world in worlds() {
            let name = format!("{}-again", world.name());
            let other = self.run(world, &built, &home, &name);
            compare(&native, &other, &name);
            if world == World::Run {
                assert_emulated(&log_of(&home, &name), self.pipes);
            }
        }
        Some(native)
    }

    fn run(&self, world: World, built: &Built, home: &TempDir, name: &str) -> Ended {
        let work = home.dir(name);
        self.user.owns(&work);
        for (file, text) in &self.files {
            fs::write(work.join(file), text).expect("a file in our own directory");
        }
        let mut command = command(world, &built.ringer, &self.argv, &log_of(home, name));
        self.user.runs(&mut command);
        self.set_environment(&mut command, home.path(), &work);
        if world == World::Shim {
            command.env("LD_PRELOAD", &built.libringer);
        }
        guard::run(command, &home.dir(&format!("{name}-said")))
    }

    /// The same for every world, and nothing of whoever runs the tests but PATH and CC.
    fn set_environment(&self, command: &mut Command, home: &Path, work: &Path) {
        let path = env::var_os("PATH").unwrap_or_default();
        let dirs = self.bin.iter().cloned().chain(env::split_paths(&path));
        command.env_clear().current_dir(work);
        command.env(
            "PATH",
            env::join_paths(dirs).expect("directories without a colon"),
        );
        command
            .env("HOME", home)
            .env("TREE", home.join("tree"))
            .env("TMPDIR", work);
        command.envs([
            ("LC_ALL", "C"),
            ("TZ", "UTC"),
            ("TERM", "dumb"),
            ("SHELL", "/bin/sh"),
        ]);
        command.env("CC", fixture::cc());
        command.env("LONG", if guard::long() { "1" } else { "" });
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "A Tester");
            command.env(format!("GIT_{who}_EMAIL"), "tester@example.org");
            command.env(format!("GIT_{who}_DATE"), "1000000000 +0000");
        }
        command.env("GIT_CONFIG_NOSYSTEM", "1");
    }
}

/// The worlds to be compared with the native one.
fn worlds() -> Vec<World> {
    let wanted = |world: World| {
        let list = env::var("RINGER_WORLDS").unwrap_or_else(|_| "shim,run".into());
        list.split(',').any(|name| name.trim() == world.name())
    };
    let mut worlds = vec![World::Shim, World::Run];
    worlds.retain(|world| wanted(*world));
    if worlds.is_empty() {
        worlds.push(World::Native);
    }
    worlds
}

/// The command of a world, to be started as it is.
fn command(world: World, ringer: &Path, argv: &[OsString], log: &Path) -> Command {
    if world != World::Run {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]);
        return command;
    }
    let mut command = Command::new(ringer);
    command
        .arg("run")
        .arg("--log")
        .arg(log)
        .arg("--")
        .args(argv);
    command
}

fn log_of(home: &TempDir, name: &str) -> PathBuf {
    home.path().join(format!("{name}.log"))
}

fn compare(native: &Ended, other: &Ended, name: &str) {
    if native == other {
        return;
    }
    panic!(
        "native and {name} differ\n  status: {} and {}\n  stdout: {}\n  stderr: {}",
        native.status,
        other.status,
        difference(&native.stdout, &other.stdout),
        difference(&native.stderr, &other.stderr),
    );
}

/// The first place where two outputs part, with what follows there.
fn difference(native: &[u8], other: &[u8]) -> String {
    if native == other {
        return format!("the same {} bytes", native.len());
    }
    let at = native.iter().zip(other).take_while(|(a, b)| a == b).count();
    let from = native[..at]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |n| n + 1);
    let excerpt = |text: &[u8]| {
        let end = text.len().min(from + 400);
        String::from_utf8_lossy(&text[from.min(end)..end]).into_owned()
    };
    format!(
        "{} and {} bytes, different from byte {at} on\n    native: {:?}\n    other:  {:?}",
        native.len(),
        other.len(),
        excerpt(native),
        excerpt(other),
    )
}
