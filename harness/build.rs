//! Builds libringer.so for [`include_bytes!`]: one binary is all that a user installs.
//!
//! The library is built by a cargo of its own, into a directory of its own, always optimised: the
//! shim is as fast under a debug `ringer` as it is under a release one. `RINGER_LIBRINGER=FILE`
//! takes a ready-made one instead.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// What the inner cargo gets of our environment. Everything else that cargo set is about *this*
/// package, this profile and these flags (`RUSTFLAGS`, clippy's wrapper, the job server).
const KEPT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "TERM",
    "CARGO_HOME",
    "CC",
    "AR",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
const KEPT_PREFIXES: &[&str] = &[
    "RUSTUP_",
    "CARGO_NET_",
    "CARGO_HTTP_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
];

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let workspace = here.join("..");
    for source in [
        "shim/src",
        "shim/kernel",
        "shim/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!(
            "cargo:rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=RINGER_LIBRINGER");

    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let library = match env::var_os("RINGER_LIBRINGER") {
        Some(file) => PathBuf::from(file),
        None => build(&workspace, &out.join("shim")),
    };
    let copy = out.join("libringer.so");
    if let Err(e) = fs::copy(&library, &copy) {
        panic!(
            "cannot copy {} to {}: {e}",
            library.display(),
            copy.display()
        );
    }
}

fn build(workspace: &Path, target: &Path) -> PathBuf {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.env_clear();
    for (name, value) in env::vars_os() {
        let text = name.to_string_lossy();
        if KEPT.contains(&&*text) || KEPT_PREFIXES.iter().any(|p| text.starts_with(p)) {
            cargo.env(&name, value);
        }
    }
    // Line tables are for whoever debugs target/release/libringer.so; this copy travels.
    cargo.env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    cargo
        .args([
            "build",
            "--release",
            "--package",
            "ringer-shim",
            "--target-dir",
        ])
        .arg(target);
    cargo.current_dir(workspace);
    match cargo.status() {
        Ok(status) if status.success() => target.join("release/libringer.so"),
        Ok(status) => panic!("building libringer.so failed ({status}): see above"),
        Err(e) => panic!("cannot run {cargo:?}: {e}"),
    }
}
