//! `ringer trace`: what is told, where, and in which order.

mod common;

use common::*;
use serde_json::Value;
use std::collections::HashMap;

const PIPELINE: &str = "seq 1000 | sort -rn | head -n 3";

fn json(text: &str) -> Vec<Value> {
    text.lines()
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}")))
        .collect()
}

#[test]
fn the_command_keeps_its_output_and_the_trace_goes_to_stderr() {
    let out = sh(&["trace"], PIPELINE);
    assert_eq!(stdout(&out), "1000\n999\n998\n");
    assert_eq!(out.status.code(), Some(0));
    let text = stderr(&out);
    assert!(text.contains("pipe2("), "{text}");
    assert!(
        text.contains("<= ") && text.contains(":seq write"),
        "{text}"
    );
    assert!(text.contains("+++ exited with 0 +++"), "{text}");
}

#[test]
fn with_a_file_stderr_is_the_commands_own() {
    let file = Scratch::new("text");
    let out = sh(
        &["trace", "-o", file.path()],
        &format!("{PIPELINE}; echo mine >&2; exit 5"),
    );
    assert_eq!(
        (out.status.code(), stderr(&out)),
        (Some(5), "mine\n".to_owned())
    );
    assert!(file.text().contains("pipe#2"));
}

#[test]
fn json_lines_are_whole_and_each_objects_order_is_kept() {
    let file = Scratch::new("json");
    let out = sh(&["trace", "-o", file.path(), "--format", "json"], PIPELINE);
    assert_eq!(out.status.code(), Some(0));
    let lines = json(&file.text());
    let (first, last) = (&lines[0], &lines[lines.len() - 1]);
    assert_eq!(
        (&first["ringer"], &first["version"]),
        (&Value::from("log"), &Value::from(1))
    );
    assert_eq!(first["command"][0], "sh");
    let summary = &last["summary"];
    assert_eq!(summary["pipes"]["emulated"], 2, "{summary}");
    assert_eq!(
        (&summary["lost"], &summary["missing"]),
        (&Value::from(0), &Value::from(0))
    );
    assert_eq!(summary["entries"], lines.len() - 2);

    let mut next: HashMap<String, u64> = HashMap::new();
    let mut written: HashMap<String, u64> = HashMap::new();
    for e in &lines[1..lines.len() - 1] {
        let Some(obj) = e["obj"].as_str() else {
            continue;
        };
        let expected = next.entry(obj.to_owned()).or_default();
        assert_eq!(e["seq"], *expected, "{e}");
        *expected += 1;
        let end = e["pos"][1].as_u64();
        match (e["op"].as_str(), end) {
            (Some("write"), Some(to)) => {
                written.insert(obj.to_owned(), to);
            }
            (Some("read"), Some(to)) => {
                assert!(
                    to <= written.get(obj).copied().unwrap_or(0),
                    "read before written: {e}"
                );
            }
            _ => {}
        }
    }
    assert_eq!(next.len(), 2);
}

#[test]
fn run_keeps_the_same_log_and_says_nothing() {
    let file = Scratch::new("log");
    let out = sh(&["run", "--log", file.path()], PIPELINE);
    assert_eq!(
        (stdout(&out), stderr(&out)),
        ("1000\n999\n998\n".to_owned(), String::new())
    );
    let summary = output(&mut ringer(&["trace", "--summary-json", file.path()]));
    let summary: Value = serde_json::from_slice(&summary.stdout).unwrap();
    assert_eq!(summary["pipes"]["emulated"], 2);
    assert_eq!(summary["pipes"]["demoted"], 0);
}

#[test]
fn a_saved_log_is_told_as_it_would_have_been() {
    let (saved, filter) = (Scratch::new("saved"), ["-e", "write", "-e", "pipe#1"]);
    sh(&["trace", "-o", saved.path(), "--format", "json"], PIPELINE);
    let told = output(&mut ringer(
        &[&["trace", "--from", saved.path()], &filter[..]].concat(),
    ));
    assert_eq!(told.status.code(), Some(0), "{}", stderr(&told));
    let lines: Vec<String> = stdout(&told).lines().map(str::to_owned).collect();
    assert!(!lines.is_empty());
    assert!(
        lines
            .iter()
            .all(|l| l.contains(" seq ") && l.contains("pipe#1.w")),
        "{lines:?}"
    );
    let bad = output(&mut ringer(&["trace", "--from", "/etc/passwd"]));
    assert_eq!(bad.status.code(), Some(125));
    assert!(stderr(&bad).contains("/etc/passwd, line 1, is no log of ringer's"));
}

#[test]
fn a_summary_for_a_person_on_request() {
    let out = sh(&["trace", "-c", "-e", "none"], PIPELINE);
    let text = stderr(&out);
    assert!(text.contains("2 pipes"), "{text}");
    assert!(text.contains("seq -> sort: 3.8 KiB by 1 pipe"), "{text}");
    assert!(text.contains("sort -> head"), "{text}");
    assert!(!text.contains("lost"), "{text}");
}

/// A process that is killed has its last records told, and its death.
#[test]
fn the_log_survives_its_writer() {
    let file = Scratch::new("killed");
    let script = "(echo before; kill -9 $(exec sh -c 'echo $PPID')) | cat";
    sh(&["trace", "-o", file.path(), "--format", "json"], script);
    let lines = json(&file.text());
    let wrote = lines.iter().any(|e| e["op"] == "write" && e["ret"] == 7);
    let reaped = lines.iter().any(|e| e["op"] == "reaped");
    assert!(wrote && reaped, "{}", file.text());
}

#[test]
fn observed_pipes_are_the_kernels() {
    let file = Scratch::new("observed");
    let options = [
        "trace",
        "--mode",
        "observe",
        "-o",
        file.path(),
        "--format",
        "json",
    ];
    let out = sh(&options, PIPELINE);
    assert_eq!(stdout(&out), "1000\n999\n998\n");
    let lines = json(&file.text());
    assert_eq!(lines[0]["mode"], "observe");
    let summary = &lines[lines.len() - 1]["summary"];
    assert_eq!(summary["pipes"]["emulated"], 0, "{summary}");
}

#[test]
fn a_live_session_can_be_listened_to() {
    let name = Named::new("live");
    let log = Scratch::new("live-log");
    // The log is on because the run keeps one; it is being read, so nobody else may.
    let script = "read line; echo $line | cat";
    let mut run = ringer(&[
        "run",
        "--session",
        &name.0,
        "--log",
        log.path(),
        "--",
        "sh",
        "-c",
        script,
    ]);
    let mut child = run.stdin(std::process::Stdio::piped()).spawn().unwrap();
    eventually("the session begins", || name.path().exists().then_some(()));
    let listener = eventually("the log is taken", || {
        let out = output(&mut ringer(&["trace", "--session", &name.0]));
        stderr(&out)
            .contains("read by another ringer")
            .then_some(out)
    });
    assert_eq!(listener.status.code(), Some(125));
    drop(child.stdin.take());
    assert_eq!(status(&mut child), Some(0));

    let heard = Scratch::new("live-heard");
    let mut listener = ringer(&["trace", "--session", &name.0, "-o", heard.path()])
        .spawn()
        .unwrap();
    eventually("something is heard", || {
        let out = sh(&["run", "--session", &name.0], "echo hello | cat");
        assert_eq!(stdout(&out), "hello\n");
        heard
            .0
            .exists()
            .then(|| heard.text())
            .filter(|t| t.contains("pipe2(") && t.contains("read("))
    });
    kill(listener.id(), libc::SIGINT);
    assert_eq!(status(&mut listener), Some(0));
}

/// A second trace of a session tells nothing of the first one's time, and misses nothing.
#[test]
fn a_session_can_be_traced_twice() {
    let name = Named::new("twice");
    let trace = |script| sh(&["trace", "-c", "--session", &name.0], script);
    assert!(stderr(&trace("seq 5 | cat")).contains("seq -> cat"));
    let again = stderr(&trace("echo x | wc -l"));
    assert!(again.contains("wc") && !again.contains("seq ->"), "{again}");
    assert!(
        !again.contains("lost") && !again.contains("missing"),
        "{again}"
    );
}

#[test]
fn what_is_out_of_reach_is_said_beforehand() {
    let dir = Scratch::new("static");
    let source = Scratch::new("static.c");
    std::fs::write(&source.0, "int main(void) { return 9; }").unwrap();
    let cc =
        output(std::process::Command::new("cc").args(["-static", "-o", dir.path(), source.path()]));
    if !cc.status.success() {
        return; // no static libc here
    }
    let out = output(&mut ringer(&["trace", "--", dir.path()]));
    assert_eq!(out.status.code(), Some(9));
    assert!(
        stderr(&out).contains("it is a static program"),
        "{}",
        stderr(&out)
    );
}
