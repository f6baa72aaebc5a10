//! libringer.so with crash points, beside the ordinary `ringer`: what the stages run with.

use ringer_support::build::BIN_DIR;
use ringer_support::world::World;
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::OnceLock;

/// Tells the stage whether `ringer inspect --check` can be asked.
pub const CHECKS: &str = "RINGER_CRASH_CHECKS";

/// Makes the library with crash points the one that [`ringer_support::world`] runs tests with.
pub fn use_crash_points() {
    static DONE: OnceLock<()> = OnceLock::new();
    if World::current().is_some() {
        return; // the supervisor has
    }
    DONE.get_or_init(|| {
        let dir = binaries();
        if knows_inspect(&dir.join("ringer")) {
            env::set_var(CHECKS, "1");
        }
        env::set_var(BIN_DIR, dir);
    });
}

/// A directory with both. Ready-made ones are in `$RINGER_BIN_DIR` and `$RINGER_BIN_DIR/crash-points`.
fn binaries() -> PathBuf {
    let ready = env::var_os(BIN_DIR).map(PathBuf::from);
    let ready = ready.map(|dir| {
        dir.canonicalize()
            .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
    });
    let library = ready
        .as_ref()
        .map(|dir| dir.join("crash-points/libringer.so"))
        .filter(|library| library.exists())
        .unwrap_or_else(|| build_library("crash-points"));
    let ringer = ready.map_or_else(build_ringer, |dir| dir.join("ringer"));
    let both = target_dir().join("crash-points/bin");
    fs::create_dir_all(&both).expect("a directory in the target directory");
    link(&library, &both.join("libringer.so")).expect("a link to the library");
    link(&ringer, &both.join("ringer")).expect("a link to the command");
    both
}

/// libringer.so with a feature, in a target directory of its own.
pub fn build_library(feature: &str) -> PathBuf {
    let target = target_dir().join(feature);
    let mut cargo = cargo(&["-p", "ringer-shim", "--features", feature]);
    run(cargo.arg("--target-dir").arg(&target));
    target.join("release/libringer.so")
}

fn build_ringer() -> PathBuf {
    run(&mut cargo(&["-p", "ringer"]));
    target_dir().join("release/ringer")
}

fn run(command: &mut Command) {
    let status = command.status();
    let status = status.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(status.success(), "{command:?}: {status}");
}

/// `cargo build --release`, without what `cargo test` says about *this* package and its flags.
fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release"]).args(arguments);
    cargo.current_dir(workspace());
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let ours = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
        ];
        let others = ["CARGO_PRIMARY_PACKAGE", "OUT_DIR", "LD_LIBRARY_PATH"];
        if ours.iter().any(|start| text.starts_with(start)) || others.contains(&&*text) {
            cargo.env_remove(&name);
        }
    }
    cargo
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn target_dir() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    workspace().join(target)
}

/// Replaces the link at once: another run of the tests may be using it.
fn link(to: &Path, at: &Path) -> io::Result<()> {
    let to = to.canonicalize()?;
    let new = at.with_extension(format!("new.{}", process::id()));
    symlink(to, &new)?;
    fs::rename(new, at)
}

fn knows_inspect(ringer: &Path) -> bool {
    let asked = Command::new(ringer).args(["inspect", "--help"]).output();
    asked.is_ok_and(|said| said.status.success())
}
