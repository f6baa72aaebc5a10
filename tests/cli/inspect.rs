//! `ringer ps` and `ringer ipcs`, on a live session and on one whose processes are all dead.

use crate::ringer::{native_only, ringer, run};
use crate::session::{Name, Session};
use ringer_support::build;
use serde_json::Value;

/// The field with the number of bytes that lie in a pipe.
const BYTES: &str = "queued";

fn says(arguments: &[&str]) -> String {
    let ended = run(ringer(arguments));
    let stderr = ended.stderr();
    assert_eq!(
        (ended.status, stderr.as_str()),
        (0, ""),
        "ringer {arguments:?}"
    );
    ended.stdout()
}

fn json(arguments: &[&str]) -> Value {
    let text = says(arguments);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("ringer {arguments:?}: {e}: {text}"))
}

/// Whether anything in `value` is an object that `wanted` accepts.
fn contains(value: &Value, wanted: &dyn Fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| contains(item, wanted)),
        Value::Object(fields) => wanted(value) || fields.values().any(|v| contains(v, wanted)),
        _ => false,
    }
}

fn has_five_bytes(value: &Value) -> bool {
    contains(value, &|object| object[BYTES].as_u64() == Some(5))
}

/// A word of a text, whatever punctuation is around it.
fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|w| w == word)
}

#[test]
fn ps_lists_the_processes_of_a_session() {
    let session = Session::start("ps");
    if !native_only() {
        let text = says(&["ps"]);
        let holder = session.holder.to_string();
        let line = text.lines().find(|line| has_word(line, &holder));
        assert!(line.is_some(), "no process {holder} in:\n{text}");
        assert!(
            text.contains(session.name()),
            "no session {} in:\n{text}",
            session.name()
        );
    }
    assert_eq!(session.end(), "hello");
}

#[test]
fn ps_forgets_who_has_ended() {
    if native_only() {
        return;
    }
    let session = Session::start("ps-ended");
    let holder = session.holder.to_string();
    assert_eq!(session.end(), "hello");
    let text = says(&["ps"]);
    assert!(
        !has_word(&text, &holder),
        "process {holder} is gone, but:\n{text}"
    );
}

#[test]
fn ipcs_shows_what_lies_in_a_pipe() {
    let session = Session::start("ipcs");
    if !native_only() {
        let text = says(&["ipcs", "--session", session.name()]);
        let line = text
            .lines()
            .find(|line| line.contains("pipe#") && has_word(line, "5"));
        assert!(line.is_some(), "no pipe with 5 bytes in:\n{text}");
        let value = json(&["ipcs", "--session", session.name(), "--json"]);
        assert!(has_five_bytes(&value), "no pipe with 5 bytes in {value}");
    }
    assert_eq!(session.end(), "hello");
}

#[test]
fn ipcs_without_a_name_shows_every_session() {
    let session = Session::start("ipcs-all");
    if !native_only() {
        let text = says(&["ipcs"]);
        assert!(
            text.contains(session.name()),
            "no session {} in:\n{text}",
            session.name()
        );
        assert!(has_five_bytes(&json(&["ipcs", "--json"])));
    }
    assert_eq!(session.end(), "hello");
}

/// Looking does not change what is looked at.
#[test]
fn looking_disturbs_nobody() {
    let session = Session::start("ipcs-twice");
    if !native_only() {
        let look = || json(&["ipcs", "--session", session.name(), "--json"]);
        assert!(has_five_bytes(&look()) && has_five_bytes(&look()));
    }
    assert_eq!(session.end(), "hello");
}

#[test]
fn a_left_over_session_can_be_looked_at() {
    if native_only() {
        return;
    }
    let session = Session::start("left-over");
    let holder = session.holder.to_string();
    let name = session.kill();
    let value = json(&["ipcs", "--session", name.text(), "--json"]);
    assert!(has_five_bytes(&value), "no pipe with 5 bytes in {value}");
    let text = says(&["ipcs", "--session", name.text()]);
    assert!(text.contains("pipe#"), "{text}");
    let processes = says(&["ps"]);
    assert!(
        !has_word(&processes, &holder),
        "process {holder} is dead, but:\n{processes}"
    );
}

/// The next run of the name finds the dead and works.
#[test]
fn a_left_over_session_can_be_joined() {
    if native_only() {
        return;
    }
    let name = Session::start("left-over-joined").kill();
    let script = "seq 1000 | tail -n 1; exit 3";
    let ended = run(ringer([
        "run",
        "--session",
        name.text(),
        "--",
        "sh",
        "-c",
        script,
    ]));
    assert_eq!(
        (ended.stdout().as_str(), ended.stderr().as_str()),
        ("1000\n", "")
    );
    assert_eq!(ended.status, 3);
}

#[test]
fn a_session_that_does_not_exist() {
    if native_only() {
        return;
    }
    for command in ["ps", "ipcs"] {
        let ended = run(ringer([command, "--session", "test-no-such-session"]));
        assert_eq!(ended.status, 125, "{command}");
        assert!(
            ended.stderr().contains("test-no-such-session"),
            "{}",
            ended.stderr()
        );
    }
}

/// Holds an eventfd and a pair of sockets with something in them, and asks what there is.
const HOLDER: &str = r#"
import os, socket, subprocess, sys
e = os.eventfd(7)
a, b = socket.socketpair()
a.send(b"hello")
subprocess.run(sys.argv[1:], check=True)
"#;

#[test]
fn ipcs_shows_eventfds_and_sockets() {
    if native_only() {
        return;
    }
    let name = Name::new("objects");
    let asks = build::ringer();
    let asks = asks.to_str().expect("a path of characters");
    let ipcs = |how: &str| {
        let ended = run(ringer([
            "run",
            "--session",
            name.text(),
            "--",
            "python3",
            "-c",
            HOLDER,
            asks,
            "ipcs",
            "--session",
            name.text(),
            how,
        ]));
        assert_eq!((ended.status, ended.stderr()), (0, String::new()));
        ended.stdout()
    };
    let value: Value = serde_json::from_str(&ipcs("--json")).expect("JSON");
    assert!(contains(&value, &|o| o["counter"] == 7 && o["mode"] == "arena"));
    assert!(contains(&value, &|o| o["type"] == "stream" && o["mode"] == "arena"));
    assert!(has_five_bytes(&value));
    assert!(contains(&value, &|o| o["sent"] == 5 && o["charged"] == 768));
}
