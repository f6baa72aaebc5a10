//! `ringer ps`, `ipcs` and `inspect`: looking at sessions, live or left over.

mod common;

use common::*;
use serde_json::Value;

fn rows(args: &[&str]) -> Vec<Value> {
    let out = output(&mut ringer(args));
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn a_live_session_is_shown_and_what_is_left_of_it() {
    let name = Named::new("look");
    let script = "(read line; printf 12345; sleep 60) | (sleep 60; cat) & read line";
    let mut run = ringer(&["run", "--session", &name.0, "--", "sh", "-c", script]);
    let mut child = run.stdin(std::process::Stdio::piped()).spawn().unwrap();
    eventually("the session begins", || name.path().exists().then_some(()));
    let session = ["--json", "--session", &name.0];
    let pipe = eventually("there are bytes in the pipe", || {
        let pipes = rows(&[&["ipcs"], &session[..]].concat());
        pipes.into_iter().find(|p| p["queued"] == 5)
    });
    assert_eq!(
        (&pipe["object"], &pipe["mode"]),
        (&Value::from("pipe#1"), &Value::from("ring"))
    );
    assert_eq!(
        (&pipe["written"], &pipe["read"]),
        (&Value::from(5), &Value::from(0))
    );
    assert!(!pipe["readers"].as_array().unwrap().is_empty(), "{pipe}");
    assert!(!pipe["writers"].as_array().unwrap().is_empty(), "{pipe}");

    let processes = eventually("both sleep", || {
        let all = rows(&[&["ps"], &session[..]].concat());
        let asleep = all
            .iter()
            .filter(|p| p["comm"] == "sleep" && p["state"] == "live")
            .count();
        (asleep == 2).then_some(all)
    });
    assert!(
        processes.iter().all(|p| p["kernel_state"].is_string()),
        "{processes:?}"
    );
    let table = stdout(&output(&mut ringer(&["ps", "--session", &name.0])));
    assert!(
        table.starts_with("SESSION") && table.contains("sleep 60"),
        "{table}"
    );

    kill(child.id(), libc::SIGKILL);
    let _ = child.wait();
    for p in &processes {
        kill(p["pid"].as_u64().unwrap() as u32, libc::SIGKILL);
    }
    // The supervisor died first: all is as it was left.
    let left = eventually("all are dead", || {
        let left = rows(&[&["ps"], &session[..]].concat());
        left.iter()
            .all(|p| p["kernel_state"].is_null())
            .then_some(left)
    });
    assert!(!left.is_empty());
    let pipes = rows(&[&["ipcs"], &session[..]].concat());
    assert_eq!(
        pipes.iter().find(|p| p["object"] == "pipe#1").unwrap()["queued"],
        5
    );
    let check = output(&mut ringer(&["inspect", "--check", "--session", &name.0]));
    assert_eq!(
        (check.status.code(), stdout(&check)),
        (Some(0), String::new())
    );
}

#[test]
fn a_new_supervisor_cleans_up_what_an_old_one_left() {
    let name = Named::new("heir");
    let mut run = ringer(&[
        "run",
        "--session",
        &name.0,
        "--",
        "sh",
        "-c",
        "sleep 60 | cat",
    ]);
    let mut child = run.spawn().unwrap();
    let session = ["--json", "--session", &name.0];
    let processes = eventually("three processes", || {
        if !name.path().exists() {
            return None;
        }
        let rows = rows(&[&["ps"], &session[..]].concat());
        (rows.iter().filter(|p| p["state"] == "live").count() >= 3).then_some(rows)
    });
    kill(child.id(), libc::SIGKILL);
    let _ = child.wait();
    for p in &processes {
        kill(p["pid"].as_u64().unwrap() as u32, libc::SIGKILL);
    }
    assert_eq!(
        sh(&["run", "--session", &name.0], "sleep 0.2")
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        rows(&[&["ipcs"], &session[..]].concat()),
        Vec::<Value>::new()
    );
    let check = output(&mut ringer(&["inspect", "--check", "--session", &name.0]));
    assert_eq!(
        (check.status.code(), stdout(&check)),
        (Some(0), String::new())
    );
}

#[test]
fn a_broken_arena_is_found_broken() {
    let name = Named::new("broken");
    sh(&["run", "--session", &name.0], "echo x | cat");
    let overview = output(&mut ringer(&["inspect", "--session", &name.0]));
    assert!(
        stdout(&overview).contains("supervised by 0"),
        "{}",
        stdout(&overview)
    );
    // The first word of the pipes' free list: found by what the overview does not show.
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(name.path())
        .unwrap();
    use std::os::unix::fs::FileExt;
    let mut head = [0u8; 4096];
    file.read_exact_at(&mut head, 0).unwrap();
    for at in (64..512).step_by(4) {
        file.write_all_at(&[0xff, 0xff, 0xff, 0x7f], at).unwrap();
    }
    let check = output(&mut ringer(&["inspect", "--check", "--session", &name.0]));
    assert_eq!(check.status.code(), Some(1), "{}", stderr(&check));
    assert!(
        stdout(&check).contains("A1: free list"),
        "{}",
        stdout(&check)
    );
    file.write_all_at(b"x", 0).unwrap();
    let refused = output(&mut ringer(&["inspect", "--check", "--session", &name.0]));
    assert_eq!(refused.status.code(), Some(125));
    let missing = output(&mut ringer(&["ps", "--session", "no-such-session"]));
    assert_eq!(missing.status.code(), Some(125));
}
