//! `ringer trace --format json` for programs: a header, then one object a line.

use crate::fixture::TempDir;
use crate::ringer::native_only;
use crate::trace::{probe, trace_in, SAID, STATUS};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// The header's version of the format.
const VERSION: &str = "version";
/// The object that a record is about.
const OBJECT: &str = "obj";
/// Its place among the records of that object.
const ORDER: &str = "seq";
/// A record's own number.
const ID: &str = "id";
/// The number of the record that made it possible.
const CAUSE: &str = "cause";

/// The records, without the header and the summary at the end.
fn records(text: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let mut lines = text.lines().map(parse);
    let header: Value = lines.next().expect("a header");
    assert!(
        header[VERSION].is_u64(),
        "no version in the header: {header}"
    );
    lines
        .filter(|line: &Value| line.get("summary").is_none())
        .inspect(|record: &Value| assert!(record.is_object(), "{record}"))
        .collect()
}

fn trace(argv: &[&str], stdout: &str, status: i32) -> Vec<Value> {
    let dir = TempDir::new();
    let (ended, text) = trace_in(dir.path(), &["--format", "json"], argv);
    assert_eq!(
        (ended.stdout().as_str(), ended.stderr().as_str()),
        (stdout, "")
    );
    assert_eq!(ended.status, status);
    records(&text)
}

fn name(record: &Value) -> Option<String> {
    // "pipe#1.r" and "pipe#1.w" are ends of one object. Signals have names, but no order.
    let object = record[OBJECT].as_str().filter(|o| !o.starts_with("sig#"))?;
    Some(
        object
            .trim_end_matches(".r")
            .trim_end_matches(".w")
            .to_owned(),
    )
}

/// Per object: numbered, and no number twice or out of turn.
fn assert_ordered(records: &[Value]) {
    let mut last: HashMap<String, u64> = HashMap::new();
    for record in records {
        let Some(object) = name(record) else { continue };
        let order = record[ORDER]
            .as_u64()
            .unwrap_or_else(|| panic!("no {ORDER}: {record}"));
        if let Some(before) = last.insert(object, order) {
            assert!(before < order, "{before} comes before {record}");
        }
    }
    assert!(!last.is_empty(), "no record is about an object");
}

/// A cause is a record, and not one of the future.
fn assert_caused(records: &[Value]) -> usize {
    let mut seen = HashSet::new();
    let mut caused = 0;
    for record in records {
        if let Some(cause) = record[CAUSE].as_u64() {
            assert!(
                seen.contains(&cause),
                "the cause comes later or never: {record}"
            );
            caused += 1;
        }
        let id = record[ID]
            .as_u64()
            .unwrap_or_else(|| panic!("no {ID}: {record}"));
        assert!(seen.insert(id), "a number twice: {record}");
    }
    caused
}

#[test]
fn every_line_parses_and_a_header_leads() {
    if native_only() {
        return;
    }
    assert!(!trace(&[&probe()], SAID, STATUS).is_empty());
}

#[test]
fn records_of_an_object_are_in_order() {
    if native_only() {
        return;
    }
    let records = trace(&[&probe()], SAID, STATUS);
    assert_ordered(&records);
    let objects: HashSet<String> = records.iter().filter_map(name).collect();
    assert!(
        objects.contains("pipe#1") && objects.contains("pipe#2"),
        "{objects:?}"
    );
}

#[test]
fn causes_are_records() {
    if native_only() {
        return;
    }
    assert!(assert_caused(&trace(&[&probe()], SAID, STATUS)) > 0);
}

#[test]
fn many_processes_at_once() {
    if native_only() {
        return;
    }
    let script =
        "for i in 1 2 3 4; do seq 5000 | cat | tail -n 1 & done | sort | uniq -c | wc -l; wait";
    let records = trace(&["bash", "-c", script], "1\n", 0);
    assert_ordered(&records);
    assert_caused(&records);
    let pids: HashSet<u64> = records.iter().filter_map(|r| r["pid"].as_u64()).collect();
    assert!(pids.len() > 12, "records of {} processes only", pids.len());
}

/// What a process did before it was killed is in the log.
#[test]
fn the_log_survives_a_kill() {
    if native_only() {
        return;
    }
    let script = "seq 3 | cat; kill -KILL $$";
    let records = trace(&["sh", "-c", script], "1\n2\n3\n", 128 + libc::SIGKILL);
    assert_ordered(&records);
}
