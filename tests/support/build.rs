//! The binaries under test: built once, from the workspace this package lives in.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where ready-made binaries are, if they shall not be built.
pub const BIN_DIR: &str = "RINGER_BIN_DIR";

/// The command `ringer`.
pub fn ringer() -> PathBuf {
    bin_dir().join("ringer")
}

/// The shim, `libringer.so`.
pub fn libringer() -> PathBuf {
    bin_dir().join("libringer.so")
}

/// The directory of both.
pub fn bin_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = env::var_os(BIN_DIR).map_or_else(build, PathBuf::from);
        dir.canonicalize()
            .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
    })
}

fn build() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "-p", "ringer", "-p", "ringer-shim"]);
    cargo.current_dir(&workspace);
    // `cargo test` describes *this* package in the environment; the nested cargo is about others.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let about_us = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
        ];
        let exact = [
            "CARGO_PRIMARY_PACKAGE",
            "CARGO_TARGET_TMPDIR",
            "OUT_DIR",
            "LD_LIBRARY_PATH",
        ];
        if about_us.iter().any(|p| name.starts_with(p)) || exact.contains(&&*name) {
            cargo.env_remove(name);
        }
    }
    let status = cargo.status().unwrap_or_else(|e| panic!("{cargo:?}: {e}"));
    assert!(status.success(), "{cargo:?}: {status}");
    let target = env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    workspace.join(target).join("release")
}
