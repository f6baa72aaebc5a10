//! Programs of tests/c that do random things and say what they see: it must be the same without a shim,
//! where they are linked statically, and in the world of the test.

use crate::cc::{exec, program, Linkage};
use crate::child::{fork_run, Status};
use crate::fd::dup2;
use crate::sig;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What it said, and how it ended.
fn said(name: &str, linkage: Linkage, args: &[&str]) -> (String, Status) {
    let mut file = File::from(memory_file());
    let out = file.as_raw_fd();
    let child = fork_run(|| {
        sig::default(libc::SIGPIPE);
        sig::no_core();
        dup2(out, 1).unwrap();
        exec(&program(name, linkage), args)
    });
    let status = child.wait();
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    (text, status)
}

fn memory_file() -> OwnedFd {
    // SAFETY: a C string.
    let fd = unsafe { libc::memfd_create(c"said".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "memfd_create");
    // SAFETY: a new descriptor that nobody else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The lines before the first difference, and both sides of it.
fn difference(expected: &str, found: &str) -> Option<String> {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let at = (0..a.len().max(b.len())).find(|i| a.get(*i) != b.get(*i))?;
    let before = a[at.saturating_sub(12).min(a.len())..at.min(a.len())].join("\n");
    Some(format!("{before}\n- {:?}\n+ {:?}", a.get(at), b.get(at)))
}

/// Runs `name SEED STEPS HOW` for each seed, linked statically and as any program. Fails, with the first
/// difference, if they do not say the same.
pub fn compare(name: &str, seeds: std::ops::Range<u32>, steps: &str, how: &str) {
    let mut parted = Vec::new();
    for seed in seeds {
        let seed = seed.to_string();
        let args = [&*seed, steps, how];
        let (expected, status) = said(name, Linkage::Static, &args);
        assert_eq!(status.code(), Some(0), "seed {seed}: {expected}");
        let (found, status) = said(name, Linkage::Dynamic, &args);
        let ended = (status.code() != Some(0)).then(|| format!("ended with {status:?}"));
        if let Some(where_) = difference(&expected, &found).or(ended) {
            eprintln!("{name} {seed} {steps} {how} ({status:?}):\n{where_}\n");
            parted.push(seed);
        }
    }
    assert!(parted.is_empty(), "seeds that part: {parted:?}");
}
