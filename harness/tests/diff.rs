//! `ringer diff`: one command in both worlds.

mod common;

use common::*;
use serde_json::Value;

/// The exit status and the report.
fn diff(options: &[&str], script: &str) -> (Option<i32>, Value) {
    let options = [&["diff", "--runs", "2", "--export", "json"], options].concat();
    let out = sh(&options, script);
    let report = serde_json::from_slice(&out.stdout);
    (
        out.status.code(),
        report.unwrap_or_else(|e| panic!("{e}: {}", stderr(&out))),
    )
}

/// What varied of what the program gave away. (In which steps it did so, the log's part, is the scheduler's choice.)
fn varies(report: &Value) -> Vec<&str> {
    let all = report["varies"].as_array().unwrap().iter();
    let all = all.map(|v| v.as_str().unwrap());
    all.filter(|v| !v.starts_with("log: steps of ")).collect()
}

#[test]
fn what_is_the_same_is_the_same() {
    let (status, report) = diff(&[], "seq 100 | sort -rn | head -n 3; echo no >&2; exit 3");
    assert_eq!(
        (status, &report["same"]),
        (Some(0), &true.into()),
        "{report}"
    );
    assert_eq!(varies(&report), [""; 0], "{report}");
}

#[test]
fn process_ids_and_times_are_learnt() {
    let (status, report) = diff(&[], "echo pid $$ at $(date +%N) | cat");
    assert_eq!(status, Some(0), "{report}");
    assert_eq!(
        varies(&report),
        ["stdout: words of 1 line vary"],
        "{report}"
    );
}

#[test]
fn the_first_line_that_differs_is_shown() {
    let (status, report) = diff(&[], "echo a; echo b${RINGER_SESSION:+x} $$; echo c; exit 1");
    assert_eq!(status, Some(1), "{report}");
    let found = &report["difference"];
    assert_eq!(
        (&found["what"], &found["kernel"]["line"]),
        (&"stdout".into(), &2.into())
    );
    assert!(report["reproduce"]
        .as_str()
        .unwrap()
        .starts_with("ringer run -- sh -c '"));
}

#[test]
fn a_signal_is_told_from_an_exit_status() {
    let script = r#"if [ -n "$RINGER_SESSION" ]; then kill -9 $$; fi; exit 137"#;
    let (status, report) = diff(&[], script);
    assert_eq!(status, Some(1), "{report}");
    assert_eq!(
        report["difference"]["ringer"]["lines"][0],
        "is killed by signal 9"
    );
    let (status, report) = diff(&[], "kill -9 $$");
    assert_eq!(status, Some(0), "{report}");
}

#[test]
fn a_hang_says_who_waits_for_what() {
    let script = r#"if [ -n "$RINGER_SESSION" ]; then sleep 60 | cat; fi"#;
    let (status, report) = diff(&["--timeout", "4"], script);
    assert_eq!(status, Some(1), "{report}");
    let said = report["difference"]["ringer"]["lines"].to_string();
    assert!(
        said.contains("does not end in time") && said.contains("pipe#1 to read"),
        "{said}"
    );
}

#[test]
fn files_are_compared_if_asked() {
    let script = "seq 3 | tee a | wc -l > b; echo ${RINGER_SESSION:+x} > c";
    let (status, report) = diff(&["--files"], script);
    assert_eq!(
        (status, &report["difference"]["what"]),
        (Some(1), &"file c".into()),
        "{report}"
    );
    assert_eq!(diff(&["--files"], "seq 3 | tee a | wc -l > b").0, Some(0));
}

#[test]
fn trouble_is_neither() {
    let out = output(&mut ringer(&["diff", "--", "/nonexistent/command"]));
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("No such file or directory"));
    let out = sh(&["diff", "--timeout", "1"], "sleep 20");
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("natively"), "{}", stderr(&out));
}
