//! Connections to named sockets, as `ringer trace` and `ringer ipcs` tell of them.

use crate::fixture::TempDir;
use crate::ringer::{native_only, ringer, run};
use crate::session::Name;
use crate::trace::trace_in;
use ringer_support::cc;
use serde_json::Value;
use std::process::Stdio;

fn example() -> String {
    let source = include_str!("../../examples-c/connection.c");
    cc::cc(source).to_str().expect("a path of ours").to_owned()
}

#[test]
fn trace_names_both_ends_of_a_connection_that_the_arena_serves() {
    if native_only() {
        return;
    }
    let dir = TempDir::new();
    let (ended, text) = trace_in(dir.path(), &[], &[&example()]);
    assert_eq!(ended.status, 0, "{text}");
    for number in [1, 2] {
        for (end, call) in ["connect", "accept"].into_iter().enumerate() {
            let line = |l: &&str| {
                l.contains(&format!("{call}(")) && l.contains(&format!("socket#{number}.{end}"))
            };
            let line = text.lines().find(line);
            let line = line.unwrap_or_else(|| panic!("no {call}() of socket#{number}:\n{text}"));
            assert!(line.contains("\"@connection-"), "{line}");
        }
        for (call, bytes) in [("send", "[0..5)"), ("recv", "[0..5)")] {
            let all = text.matches(&format!("{call}(")).count();
            assert!(all >= 4 && text.contains(bytes), "{text}");
        }
    }
    assert!(!text.contains("goes to the kernel"), "{text}");
    assert!(text.contains("shutdown("), "{text}");
}

#[test]
fn ipcs_shows_both_ends_and_the_name() {
    if native_only() {
        return;
    }
    let name = Name::new("connected");
    let program = cc::cc(include_str!("connected.c"));
    let mut command = ringer(["run", "--session", name.text(), "--"]);
    command
        .arg(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("ringer");
    let mut line = String::new();
    let out = child.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("a line");
    let pid: u64 = line.trim().parse().expect("a pid");
    let said = run(ringer(["ipcs", "--session", name.text(), "--json"])).stdout();
    let text = run(ringer(["ipcs", "--session", name.text()])).stdout();
    drop(child.stdin.take());
    assert!(child.wait().expect("a child").success());
    let all: Value = serde_json::from_str(&said).expect("JSON");
    let is_pair = |v: &&Value| {
        v["object"]
            .as_str()
            .is_some_and(|o| o.starts_with("socket#"))
    };
    let pairs: Vec<&Value> = all
        .as_array()
        .expect("a list")
        .iter()
        .filter(is_pair)
        .collect();
    let modes: Vec<_> = pairs
        .iter()
        .map(|p| p["mode"].as_str().unwrap_or(""))
        .collect();
    assert_eq!(modes, ["arena", "pending"], "{said}");
    for pair in &pairs {
        assert_eq!(pair["name"], "@ringer-connected", "{said}");
        assert_eq!(pair["sockets"][0]["holders"][0]["pid"], pid, "{said}");
    }
    assert_eq!(pairs[0]["sockets"][1]["holders"][0]["pid"], pid, "{said}");
    assert_eq!(pairs[0]["sockets"][1]["queued"], 5, "{said}");
    assert_eq!(text.matches("@ringer-connected").count(), 4, "{text}");
}
