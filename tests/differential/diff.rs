//! `ringer diff`: a difference that only the logs show is found and well reported; what Linux leaves open is none.

use serde_json::Value;

use crate::tools::{compiled, diff, ringer};

const OTHER: &str = include_str!("c/other.c");

#[test]
fn a_planted_difference_is_found_where_it_begins() {
    let (status, report) = diff(&[], &[&compiled(OTHER)]);
    assert_eq!(status, Some(1), "{report:#}");
    let found = &report["difference"];
    let what = found["what"].as_str().expect("what");
    assert!(what.starts_with("log of 1 ("), "{what}");
    assert_eq!(found["kernel"]["line"], 5, "{found:#}");
    for (side, bytes) in [("kernel", "bytes 6"), ("ringer", "bytes 7")] {
        let lines = found[side]["lines"].as_array().expect("lines");
        assert_eq!(lines.len(), 7, "three before, three after: {found:#}");
        let step = lines[3].as_str().expect("a step");
        assert!(
            step.starts_with("write(pipe#1@1:w)") && step.contains(bytes),
            "{step}"
        );
    }
}

#[test]
fn the_report_has_the_rule_and_the_command_that_reproduces_it() {
    let program = compiled(OTHER);
    let out = ringer(&["diff", "--runs", "2"], &[&program]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("[pipe(7)]"), "{text}");
    let last = text.lines().last().expect("a line");
    let command = last.strip_prefix("to see it: ").expect("the command");
    assert!(
        command.contains("ringer trace --mode $mode --") && command.contains(&program),
        "{last}"
    );
}

#[test]
fn without_logs_it_is_not_seen() {
    let (status, report) = diff(&["--no-logs"], &[&compiled(OTHER)]);
    assert_eq!(status, Some(0), "{report:#}");
    assert_eq!(report["logged"], serde_json::json!([0, 0]));
}

/// Who reads how much at a time, whose message comes first, who ends first: nobody's promise.
#[test]
fn what_linux_leaves_open_is_no_difference() {
    for script in [
        "seq 20000 | cat | sort -rn | head -n 3",
        "for i in 3 1 2; do echo $i & done | sort; wait",
        "yes | head -n 2000 | tail -n 1",
    ] {
        let (status, report) = diff(&[], &["sh", "-c", script]);
        assert_eq!(status, Some(0), "{script}: {report:#}");
        assert_ne!(report["logged"][0], Value::from(0), "{script}");
    }
}
