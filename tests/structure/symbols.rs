//! libringer.so from the outside: what it needs, and what it puts in front of libc.

use ringer_support::build;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names that it may import, with the reasons.
const ALLOWED: &str = include_str!("allowed-imports.txt");

/// Exports that libc does not have, with the reason why programs would call them.
const NOT_OF_LIBC: [&str; 0] = [];

/// Libraries that are in every dynamic program anyway.
const NEEDED: [&str; 2] = ["libc.so.6", "ld-linux-x86-64.so.2"];

fn output(command: &mut Command) -> String {
    let done = command.output();
    let done = done.unwrap_or_else(|e| panic!("{command:?} (binutils are needed): {e}"));
    assert!(done.status.success(), "{command:?}: {}", done.status);
    String::from_utf8(done.stdout).expect("names in ASCII")
}

/// Dynamic symbols of a file, without their versions.
fn symbols(which: &str, file: &Path) -> BTreeSet<String> {
    let listed = output(Command::new("nm").args(["-D", which]).arg(file));
    let name = |line: &str| {
        Some(
            line.split_whitespace()
                .last()?
                .split('@')
                .next()?
                .to_owned(),
        )
    };
    listed.lines().filter_map(name).collect()
}

/// The libc of this process.
fn libc() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc/self/maps");
    let path = maps.split_whitespace().find(|w| w.ends_with("/libc.so.6"));
    PathBuf::from(path.expect("glibc, mapped"))
}

#[test]
fn every_import_of_the_shim_is_allowed() {
    let lines = ALLOWED.lines().map(str::trim);
    let allowed: BTreeSet<String> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let imports = symbols("--undefined-only", &build::libringer());
    assert!(
        imports.contains("dlsym"),
        "these are no imports: {imports:?}"
    );
    let more: Vec<_> = imports.difference(&allowed).collect();
    assert!(
        more.is_empty(),
        "libringer.so imports what tests/structure/allowed-imports.txt does not list: {more:?}"
    );
}

#[test]
fn the_shim_needs_no_library_that_is_not_there_anyway() {
    let dynamic = output(Command::new("readelf").arg("-d").arg(build::libringer()));
    let needed: BTreeSet<&str> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0))
        .collect();
    assert_eq!(needed, BTreeSet::from(NEEDED));
}

#[test]
fn every_export_of_the_shim_stands_for_a_function_of_libc() {
    let exports = symbols("--defined-only", &build::libringer());
    assert!(
        exports.contains("read"),
        "these are no exports: {exports:?}"
    );
    let libcs = symbols("--defined-only", &libc());
    let strange: Vec<_> = exports
        .difference(&libcs)
        .filter(|name| !NOT_OF_LIBC.contains(&name.as_str()))
        .collect();
    assert!(strange.is_empty(), "libc has no {strange:?}");
}

/// Programs call a function by each of these names, as their headers and flags will have it.
#[test]
fn what_the_shim_hooks_it_hooks_by_all_its_public_names() {
    let exports = symbols("--defined-only", &build::libringer());
    let libcs = symbols("--defined-only", &libc());
    let mut missing = Vec::new();
    for name in &exports {
        let aliases = [
            format!("{name}64"),
            format!("__{name}_chk"),
            name.replace("v2", "v64v2"),
        ];
        for alias in aliases {
            if libcs.contains(&alias) && !exports.contains(&alias) {
                missing.push(alias);
            }
        }
    }
    assert!(
        missing.is_empty(),
        "hooked by another name only: {missing:?}"
    );
}

/// Bugs that are planted for `ringer fuzz` to find are in no library that anybody uses.
#[test]
fn no_bugs_are_planted_in_an_ordinary_build() {
    const SIGN: &[u8] = b"RINGER_PLANTED=";
    for file in [build::libringer(), build::ringer()] {
        let bytes = fs::read(&file).expect("a binary");
        let planted = bytes.windows(SIGN.len()).any(|window| window == SIGN);
        assert!(!planted, "{} has planted bugs", file.display());
    }
    for manifest in [
        "shim/Cargo.toml",
        "shim/kernel/Cargo.toml",
        "harness/Cargo.toml",
    ] {
        let path = crate::sources::workspace().join(manifest);
        let text = crate::sources::read(&path);
        assert!(
            !text.lines().any(|line| line.starts_with("default =")),
            "{manifest}"
        );
    }
}
