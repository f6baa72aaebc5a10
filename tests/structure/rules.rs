//! Each rule of a system call has a test that names it: rules.toml says which.

use crate::sources::{read, rust_files, workspace};
use crate::tests_by_name::{assert_exists, assert_target_exists};
use ringer_support::table;
use std::collections::{BTreeMap, BTreeSet};

const TABLE: &str = include_str!("rules.toml");

/// Where rules are written down.
const SOURCES: [&str; 2] = ["shim/kernel/src/sys", "shim/src/call"];

/// `R1` of a line `/// - R1 a write end: EBADF.`
fn rule_id(line: &str) -> Option<&str> {
    let rest = line.trim().strip_prefix("/// - ")?;
    let id = rest.split([' ', '.']).next()?;
    let number = id.strip_prefix(['R', 'W'])?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(id)
}

#[test]
fn each_rule_has_its_tests() {
    let mut rules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let root = workspace();
    for path in SOURCES.iter().flat_map(|dir| rust_files(dir)) {
        let file = path.strip_prefix(&root).expect("a file of the workspace");
        for id in read(&path).lines().filter_map(rule_id) {
            let of_file = rules.entry(file.display().to_string()).or_default();
            assert!(
                of_file.insert(id.to_owned()),
                "{id} twice in {}",
                file.display()
            );
        }
    }
    assert!(!rules.is_empty(), "no rules in {SOURCES:?}");

    let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for table in table::parse(TABLE).iter().filter(|t| !t.name.is_empty()) {
        for (id, tests) in &table.keys {
            let by = format!("{id} of {} in rules.toml", table.name);
            assert!(!tests.is_empty(), "{by} has no test");
            tests.iter().for_each(|test| assert_exists(test, &by));
        }
        let ids = table.keys.iter().map(|(id, _)| id.clone()).collect();
        listed.insert(table.name.clone(), ids);
    }
    assert_eq!(rules, listed, "the sources' rules, and rules.toml's");
}

/// What has to hold: whatever spec.toml cites is there, and nothing of it is empty.
#[test]
fn the_tests_that_the_spec_cites_are_there() {
    let tables = table::parse(include_str!("../spec.toml"));
    let mut rules = tables.iter().filter(|t| t.name == "rule").peekable();
    assert!(rules.peek().is_some());
    for rule in rules {
        let by = format!("{} of spec.toml", rule.text("id"));
        assert!(!rule.text("text").is_empty(), "{by} says nothing");
        for test in rule.list("tests") {
            match test.strip_suffix("::*") {
                Some(target) => assert_target_exists(target, &by),
                None => assert_exists(test, &by),
            }
        }
    }
}
