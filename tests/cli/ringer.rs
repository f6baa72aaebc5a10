//! Builds and runs the command lines of the tests.

use crate::fixture::TempDir;
use crate::guard::{self, Ended};
use ringer_support::build;
use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Whether the tests shall do without ringer, to show that they themselves are right.
pub fn native_only() -> bool {
    env::var("RINGER_WORLDS").is_ok_and(|list| list == "native")
}

/// `ringer` with these arguments.
pub fn ringer<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(build::ringer());
    command.args(arguments);
    clean(command)
}

/// `ringer run OPTIONS -- ARGV`; only ARGV if the tests do without ringer.
pub fn ringer_run(options: &[&str], argv: &[&str]) -> Command {
    if native_only() {
        return native(argv);
    }
    let mut command = ringer(["run"]);
    command.args(options).arg("--").args(argv);
    command
}

/// A bash script in which `run COMMAND` stands for `ringer run -- COMMAND`, or for COMMAND alone.
pub fn script_with_run(script: &str) -> Command {
    let run = if native_only() {
        ""
    } else {
        "\"$RINGER\" run -- "
    };
    let mut command = native(&["bash", "-c", &format!("run() {{ {run}\"$@\"; }}\n{script}")]);
    if !native_only() {
        command.env("RINGER", build::ringer());
    }
    command
}

/// The command as it is.
pub fn native(argv: &[&str]) -> Command {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]);
    clean(command)
}

/// The command with libringer.so preloaded and nothing else.
pub fn preloaded(argv: &[&str]) -> Command {
    let mut command = native(argv);
    if !native_only() {
        command.env("LD_PRELOAD", build::libringer());
    }
    command
}

/// Nothing of the environment of whoever runs the tests may decide.
fn clean(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("RINGER_") || name == "LD_PRELOAD" {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C");
    command
}

/// Runs a command in an empty directory.
pub fn run(mut command: Command) -> Ended {
    let dir = TempDir::new();
    command.current_dir(dir.dir("work"));
    guard::run(command, dir.path())
}

/// Runs a command in a directory of the test's own.
pub fn run_in(work: &Path, mut command: Command) -> Ended {
    let dir = TempDir::new();
    command.current_dir(work);
    guard::run(command, dir.path())
}

/// `sh -c SCRIPT` natively and by `ringer run`: the same in every respect.
pub fn same_as_native(script: &str) {
    let argv = ["sh", "-c", script];
    assert_eq!(run(ringer_run(&[], &argv)), run(native(&argv)), "{script}");
}

/// ringer refuses this command line: status 125, nothing on stdout, a reason on stderr.
pub fn refuses<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) {
    if native_only() {
        return;
    }
    let command = ringer(arguments);
    let shown = format!("{command:?}");
    let ended = run(command);
    assert_eq!(ended.status, 125, "{shown}: {}", ended.stderr());
    assert_eq!(ended.stdout(), "", "{shown}");
    assert!(!ended.stderr.is_empty(), "{shown} does not say why");
}
