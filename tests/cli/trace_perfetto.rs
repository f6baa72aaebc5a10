//! `ringer trace --format perfetto`: one array of events, as Chrome's trace event format has them.

use crate::fixture::TempDir;
use crate::ringer::{native_only, ringer, run};
use crate::trace::trace_in;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

const SCRIPT: &str = "(sleep 0.05; echo hello) | cat";

fn with<'a>(events: &'a [Value], phase: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |e| e["ph"] == *phase)
}

fn assert_whole(events: &[Value]) {
    let at = |e: &Value| (e["pid"].clone(), e["tid"].clone(), e["ts"].clone());
    let named: HashSet<_> = with(events, "M").map(|e| e["pid"].clone()).collect();
    for e in events.iter().filter(|e| e["ph"] != "M") {
        assert!(e["ts"].as_f64().is_some_and(|ts| ts >= 0.0), "{e}");
        assert!(named.contains(&e["pid"]), "a process without a name: {e}");
    }
    let [begin, end] = ["s", "f"].map(|phase| {
        let ends = with(events, phase).map(|e| (e["id"].clone(), at(e)));
        ends.collect::<HashMap<_, _>>()
    });
    assert!(!begin.is_empty());
    assert_eq!(begin.len(), end.len());
    for (id, to) in &end {
        let from = begin.get(id).expect("an arrow that begins");
        assert!(from.2.as_f64() <= to.2.as_f64(), "{from:?} -> {to:?}");
    }
}

/// `cat` sleeps until `echo` writes, and an arrow leads from there.
#[test]
fn sleeps_are_slices_and_causes_are_arrows() {
    if native_only() {
        return;
    }
    let dir = TempDir::new();
    let argv = ["bash", "-c", SCRIPT];
    let (ended, text) = trace_in(dir.path(), &["--format", "perfetto"], &argv);
    assert_eq!((ended.stdout().as_str(), ended.status), ("hello\n", 0));
    let events: Vec<Value> = serde_json::from_str(&text).expect("an array");
    assert_whole(&events);

    let sleep = with(&events, "X").find(|e| e["dur"].as_f64() > Some(20_000.0));
    let sleep = sleep.unwrap_or_else(|| panic!("no sleep: {text}"));
    assert_eq!(sleep["args"]["comm"], "cat");
    let woken = sleep["ts"].as_f64().unwrap() + sleep["dur"].as_f64().unwrap();
    let arrow = with(&events, "f").any(|e| {
        let at = e["ts"].as_f64().unwrap();
        e["pid"] == sleep["pid"] && (at - woken).abs() < 0.01
    });
    assert!(arrow, "nobody woke it: {sleep}");

    let levels: Vec<_> = with(&events, "C")
        .map(|e| e["args"]["queued"].clone())
        .collect();
    assert!(
        levels.contains(&6.into()) && levels.contains(&0.into()),
        "{levels:?}"
    );
}

/// A log that was kept can be told so later.
#[test]
fn from_a_kept_log() {
    if native_only() {
        return;
    }
    let dir = TempDir::new();
    let log = dir.path().join("log");
    let log = log.to_str().expect("a path of ours");
    run(ringer(["run", "--log", log, "--", "bash", "-c", SCRIPT]));
    let told = run(ringer(["trace", "--from", log, "--format", "perfetto"]));
    let events: Vec<Value> = serde_json::from_str(&told.stdout()).expect("an array");
    assert_whole(&events);
}
