//! Programs in Go, whose runtime makes its system calls by its own `syscall` instructions and takes
//! every signal on stacks of its own: static ones, which nobody reaches, and such with C in them.

use crate::case::Case;
use crate::emulated::Pipes;
use crate::fixture::{self, TempDir};
use ringer_support::build;
use std::path::{Path, PathBuf};
use std::process::Command;

/// With the C library, or static.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Static,
    WithC,
}

/// The programs of tests/go.
fn program(home: &Path, kind: Kind, files: &[&str]) -> PathBuf {
    let to = home.join("program");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
    let mut go = Command::new("go");
    go.arg("build").arg("-o").arg(&to).args(files);
    go.current_dir(from).env("GO111MODULE", "off");
    go.env("HOME", home).env("GOCACHE", home.join("cache"));
    go.env("CC", fixture::cc());
    go.env("CGO_ENABLED", if kind == Kind::WithC { "1" } else { "0" });
    let said = go.output().unwrap_or_else(|e| panic!("{go:?}: {e}"));
    let complaint = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{go:?}: {complaint}");
    to
}

fn check(kind: Kind, files: &[&str], pipes: Pipes) {
    if !fixture::installed(&["go"]) {
        return;
    }
    let home = TempDir::new();
    let program = program(home.path(), kind, files);
    Case::new([program.as_os_str()]).pipes(pipes).check();
}

#[test]
fn a_static_program_runs_as_without() {
    check(Kind::Static, &["signals.go"], Pipes::Any);
}

#[test]
fn signals_pipes_and_programs() {
    check(Kind::WithC, &["signals.go", "own.go"], Pipes::Emulated);
}

#[test]
fn threads_that_end_with_their_stacks_under_collection() {
    check(Kind::WithC, &["threads.go"], Pipes::Emulated);
}

#[test]
fn under_trace_it_says_the_same_and_its_signals_are_told() {
    if !fixture::installed(&["go"]) {
        return;
    }
    let home = TempDir::new();
    let program = program(home.path(), Kind::WithC, &["signals.go", "own.go"]);
    let native = Command::new("timeout").arg("60").arg(&program).output();
    let native = native.expect("timeout(1)");
    let log = home.path().join("told");
    let mut trace = Command::new("timeout");
    trace.arg("120").arg(build::ringer());
    trace.args(["trace", "-e", "signal", "-o"]).arg(&log);
    let traced = trace.arg("--").arg(&program).output().expect("ringer");
    assert_eq!(
        String::from_utf8_lossy(&native.stdout),
        String::from_utf8_lossy(&traced.stdout)
    );
    let told = std::fs::read_to_string(&log).expect("what trace has written");
    let number = |what: &str| told.lines().filter(|line| line.contains(what)).count();
    // own.go's ten, and signals.go's hundred.
    assert!(number("--- SIGHUP {SI_TKILL") >= 10, "{told}");
    assert!(number("--- SIGUSR1 {SI_USER") >= 100, "{told}");
    assert!(number("+++ handler of SIGUSR1 returned") >= 100, "{told}");
    assert!(number("was killed by SIGTERM") >= 1, "{told}");
}
