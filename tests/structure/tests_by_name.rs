//! Finds the tests that lists and tables cite.
//!
//! A test is cited as cargo and libtest call it: `target::path::name`, where the target is one of
//! tests/Cargo.toml; tests of other packages as `file.rs::name`, from the workspace's root.

use crate::sources::{read, workspace};
use ringer_support::table;
use std::path::{Path, PathBuf};

/// Fails unless there is such a test.
#[track_caller]
pub fn assert_exists(cited: &str, by: &str) {
    let (whose, name) = cited.split_once("::").unwrap_or((cited, ""));
    let name = name.rsplit("::").next().unwrap_or(name);
    let files = match whose.ends_with(".rs") {
        true => vec![workspace().join(whose)],
        false => files_of(whose),
    };
    let there = !name.is_empty() && files.iter().any(|file| defines(&read(file), name));
    assert!(there, "{by} cites the test {cited}, and there is none");
}

/// Fails unless there is such a test target.
#[track_caller]
pub fn assert_target_exists(target: &str, by: &str) {
    let there = !files_of(target).is_empty();
    assert!(there, "{by} cites the target {target}, and there is none");
}

/// The sources of a test target. A `main.rs` has its directory.
fn files_of(target: &str) -> Vec<PathBuf> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tables = table::parse(&read(&tests.join("Cargo.toml")));
    let found = tables
        .iter()
        .filter(|table| table.name == "test")
        .find(|table| table.text("name") == target);
    let Some(found) = found else {
        return Vec::new();
    };
    let path = tests.join(found.text("path"));
    if !path.ends_with("main.rs") {
        return vec![path];
    }
    let dir = path.parent().expect("a file in a directory");
    let listed = dir.read_dir().expect("a directory of tests").flatten();
    let paths = listed.map(|entry| entry.path());
    paths
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// `fn name`, `macro!(name, ..)` or, in the macros that define many, `name:` or `name` alone.
fn defines(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].trim_end();
        let rest = &text[at + name.len()..];
        let whole = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let alone = text[..at].ends_with([' ', '(']);
        let begins = before.ends_with(" fn")
            || before.ends_with("\nfn")
            || before.ends_with("!(")
            || before.ends_with(['{', ';', '}']);
        whole && alone && begins
    })
}

#[test]
fn tests_are_found_by_their_names() {
    assert_exists(
        "structure::tests_by_name::tests_are_found_by_their_names",
        "this",
    );
    assert_exists("interrupt::merged_bytes_count_as_written", "this");
    assert_exists("demotion::static_program", "this");
    assert_exists("crash::write_locked", "this");
    assert!(!defines("fn a_test_and_more() {}", "a_test"));
    assert!(!defines("// a_test is missing", "a_test"));
}
