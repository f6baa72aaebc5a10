//! C programs for the tests that exec: compiled once, kept beside the test binaries.
//!
//! The sources in `tests/c` are compiled by the supervisor of a test, before any world begins, so
//! that no compiler runs under the shim.

use std::env;
use std::ffi::{CStr, CString};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Linkage {
    Dynamic,
    Static,
}

macro_rules! sources {
    ($($name:literal: $($linkage:ident)|+;)*) => {
        &[$(($name, include_str!(concat!("../c/", $name, ".c")), &[$(Linkage::$linkage),+])),*]
    };
}

type Source = (&'static str, &'static str, &'static [Linkage]);

/// The programs in `tests/c`, and how each is needed.
const SOURCES: &[Source] = sources! {
    "altstack": Dynamic;
    "cancel": Dynamic;
    "edits": Dynamic;
    "envoy": Dynamic | Static;
    "faults": Dynamic;
    "frames": Dynamic;
    "ipc_cancel": Dynamic;
    "jumps": Dynamic;
    "leaps": Dynamic;
    "longjmp": Dynamic;
    "mq_cancel": Dynamic;
    "mq_child": Dynamic;
    "names": Dynamic;
    "pending": Dynamic;
    "puppet": Dynamic | Static;
    "sandbox": Dynamic;
    "sigfuzz": Dynamic | Static;
    "sockfuzz": Dynamic | Static;
    "spawn": Dynamic;
    "stack": Dynamic;
    "stdio": Dynamic;
    "traced": Dynamic;
    "vectors": Dynamic;
};

/// Included by them.
const CHECK_H: &str = include_str!("../c/check.h");

/// A program of `tests/c`.
pub fn program(name: &str, linkage: Linkage) -> PathBuf {
    let (_, source, _) = SOURCES
        .iter()
        .find(|(n, ..)| *n == name)
        .expect("a source in tests/c");
    compile(source, linkage)
}

/// Compiles a C program, dynamically linked.
pub fn cc(source: &str) -> PathBuf {
    compile(source, Linkage::Dynamic)
}

/// Compiles a C program, statically linked: no shim can get into it.
pub fn cc_static(source: &str) -> PathBuf {
    compile(source, Linkage::Static)
}

/// Compiles everything in `tests/c` that is not compiled yet.
pub fn compile_all() {
    for (_, source, linkages) in SOURCES {
        for linkage in *linkages {
            compile(source, *linkage);
        }
    }
}

fn compile(source: &str, linkage: Linkage) -> PathBuf {
    let exe = env::current_exe().expect("the path of this test binary");
    let dir = exe
        .parent()
        .expect("a directory of test binaries")
        .join("ringer-c");
    let mut hasher = DefaultHasher::new();
    (source, CHECK_H, linkage).hash(&mut hasher);
    let program = dir.join(format!("{:016x}", hasher.finish()));
    if program.exists() {
        return program;
    }
    // Others may compile the same: each does so in a directory of its own, and rename(2) is atomic.
    let private = dir.join(format!("build.{}", crate::child::gettid()));
    build(source, linkage, &private, &program)
        .unwrap_or_else(|e| panic!("{}: {e}", private.display()));
    program
}

fn build(source: &str, linkage: Linkage, dir: &Path, program: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("check.h"), CHECK_H)?;
    fs::write(dir.join("program.c"), source)?;
    let mut cc = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.args([
        "-std=gnu11",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Wno-unused-result",
        "-Werror",
    ]);
    cc.args(["-pthread", "-D_GNU_SOURCE", "-o", "program", "program.c"])
        .current_dir(dir);
    if linkage == Linkage::Static {
        cc.arg("-static");
    }
    let done = cc.output()?;
    let message = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{cc:?}: {}\n{message}", done.status);
    fs::rename(dir.join("program"), program)?;
    fs::remove_dir_all(dir)
}

fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path without NUL")
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

/// execv(3): becomes the program, with these arguments after its name.
pub fn exec(program: &Path, args: &[&str]) -> ! {
    let path = c_string(program);
    let all: Vec<CString> = std::iter::once(path.clone())
        .chain(args.iter().map(|a| CString::new(*a).expect("no NUL")))
        .collect();
    // SAFETY: C strings, and a null at the end.
    unsafe { libc::execv(path.as_ptr(), pointers(&all).as_ptr()) };
    panic!("{}: {}", program.display(), std::io::Error::last_os_error());
}

/// execve(2) with nothing but these variables in the environment.
pub fn exec_with_env(program: &Path, args: &[&str], env: &[&CStr]) -> ! {
    let path = c_string(program);
    let all: Vec<CString> = std::iter::once(path.clone())
        .chain(args.iter().map(|a| CString::new(*a).expect("no NUL")))
        .collect();
    let env: Vec<CString> = env.iter().map(|e| (*e).to_owned()).collect();
    // SAFETY: C strings, and a null at the end of each list.
    unsafe {
        libc::execve(
            path.as_ptr(),
            pointers(&all).as_ptr(),
            pointers(&env).as_ptr(),
        )
    };
    panic!("{}: {}", program.display(), std::io::Error::last_os_error());
}

/// Forks and becomes the program there.
pub fn run(program: &Path, args: &[&str]) -> crate::child::Child {
    crate::child::fork_run(|| exec(program, args))
}
