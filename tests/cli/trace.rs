//! `ringer trace` for people: text in the manner of strace(1).
//!
//! The functions at the top know how the text looks; the tests ask what must be in it.

use crate::fixture::TempDir;
use crate::guard::Ended;
use crate::ringer::{native, native_only, refuses, ringer, run, run_in};
use ringer_support::cc;
use std::fs;
use std::path::Path;

/// What probe.c writes.
pub const SAID: &str = "-1 5 3 2\n4 0 -1\n";

/// Its status.
pub const STATUS: i32 = 3;

pub fn probe() -> String {
    cc::cc(include_str!("probe.c"))
        .to_str()
        .expect("a path of ours")
        .to_owned()
}

/// `ringer trace OPTIONS -o trace -- ARGV` in a directory; the result and the trace.
pub fn trace_in(dir: &Path, options: &[&str], argv: &[&str]) -> (Ended, String) {
    let mut command = ringer(["trace"]);
    command.args(options).args(["-o", "trace", "--"]).args(argv);
    let ended = run_in(dir, command);
    let trace = fs::read(dir.join("trace")).unwrap_or_else(|e| panic!("{e}: {}", ended.stderr()));
    (ended, String::from_utf8(trace).expect("text"))
}

/// The trace of probe.c.
fn trace(options: &[&str]) -> String {
    let dir = TempDir::new();
    let (ended, text) = trace_in(dir.path(), options, &[&probe()]);
    assert_eq!(
        (ended.stdout().as_str(), ended.stderr().as_str()),
        (SAID, "")
    );
    assert_eq!(ended.status, STATUS);
    text
}

/// The lines about a call.
fn calls<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines()
        .filter(|line| line.contains(&format!("{name}(")))
        .collect()
}

/// How a range of bytes of a stream is written.
fn range(from: u64, to: u64) -> String {
    format!("{from}..{to}")
}

/// Asserts that there is a line about `call` with all of `parts`.
fn shows(text: &str, call: &str, parts: &[&str]) {
    let found = calls(text, call)
        .into_iter()
        .any(|l| parts.iter().all(|part| l.contains(part)));
    assert!(found, "no {call}() with {parts:?} in:\n{text}");
}

#[test]
fn the_probe_says_what_it_should() {
    let ended = run(native(&[&probe()]));
    assert_eq!((ended.stdout().as_str(), ended.status), (SAID, STATUS));
}

#[test]
fn flags_are_symbolic() {
    if native_only() {
        return;
    }
    let text = trace(&[]);
    shows(&text, "pipe2", &["O_CLOEXEC", "O_NONBLOCK", "= 0"]);
    shows(&text, "pipe2", &["[3, 4]"]);
}

#[test]
fn errors_are_named() {
    if native_only() {
        return;
    }
    let text = trace(&[]);
    shows(&text, "read", &["= -1 EAGAIN"]);
    shows(&text, "write", &["= -1 EPIPE"]);
    assert!(
        !text.contains("errno 11") && !text.contains("= -11"),
        "{text}"
    );
}

#[test]
fn objects_have_names() {
    if native_only() {
        return;
    }
    let text = trace(&[]);
    shows(&text, "write", &["pipe#1.w", "= 5"]);
    shows(&text, "read", &["pipe#1.r", "= 3"]);
    shows(&text, "read", &["pipe#2.r", "= 4"]);
}

#[test]
fn bytes_have_places_in_their_stream() {
    if native_only() {
        return;
    }
    let text = trace(&[]);
    shows(&text, "write", &["pipe#1.w", &range(0, 5)]);
    shows(&text, "read", &["pipe#1.r", &range(0, 3)]);
    shows(&text, "read", &["pipe#1.r", &range(3, 5)]);
}

#[test]
fn a_wake_up_has_a_cause() {
    if native_only() {
        return;
    }
    let text = trace(&[]);
    let caused: Vec<&str> = text.lines().filter(|line| line.contains("<=")).collect();
    assert!(
        caused.iter().any(|line| line.contains("pipe#2")),
        "no <= for pipe#2 in:\n{text}"
    );
}

#[test]
fn expressions_select_calls() {
    if native_only() {
        return;
    }
    let text = trace(&["-e", "trace=write"]);
    assert!(!calls(&text, "write").is_empty(), "{text}");
    assert!(
        calls(&text, "read").is_empty() && calls(&text, "pipe2").is_empty(),
        "{text}"
    );
    let text = trace(&["-e", "trace=pipe2,read"]);
    assert!(
        !calls(&text, "read").is_empty() && !calls(&text, "pipe2").is_empty(),
        "{text}"
    );
    assert!(calls(&text, "write").is_empty(), "{text}");
}

#[test]
fn without_a_file_the_trace_goes_to_stderr() {
    if native_only() {
        return;
    }
    let ended = run(ringer(["trace", "--", &probe()]));
    assert_eq!((ended.stdout().as_str(), ended.status), (SAID, STATUS));
    shows(&ended.stderr(), "write", &["pipe#1.w"]);
}

#[test]
fn a_shell_pipeline() {
    if native_only() {
        return;
    }
    let dir = TempDir::new();
    let script = "seq 20000 | sort -rn | head -n 1";
    let (ended, text) = trace_in(dir.path(), &[], &["sh", "-c", script]);
    assert_eq!(
        (ended.stdout().as_str(), ended.stderr().as_str()),
        ("20000\n", "")
    );
    for end in ["pipe#1.r", "pipe#1.w", "pipe#2.r", "pipe#2.w"] {
        assert!(text.contains(end), "no {end} in:\n{text}");
    }
}

/// The status is the command's, also where it dies, and what it did is in the trace.
#[test]
fn a_command_that_is_killed() {
    if native_only() {
        return;
    }
    let dir = TempDir::new();
    let script = "seq 3 | cat; kill -KILL $$";
    let (ended, text) = trace_in(dir.path(), &[], &["sh", "-c", script]);
    assert_eq!(
        (ended.stdout().as_str(), ended.status),
        ("1\n2\n3\n", 128 + libc::SIGKILL)
    );
    assert!(
        text.contains("pipe#1.w") && text.contains("pipe#1.r"),
        "{text}"
    );
}

#[test]
fn a_command_that_is_not_found() {
    if native_only() {
        return;
    }
    assert_eq!(
        run(ringer(["trace", "--", "./no-such-program"])).status,
        127
    );
    refuses(["trace", "-o", "no/such/directory", "--", "true"]);
}

/// A log that `ringer run` kept can be shown later.
#[test]
fn a_log_is_shown_later() {
    if native_only() {
        return;
    }
    let dir = TempDir::new();
    let ended = run_in(dir.path(), ringer(["run", "--log", "log", "--", &probe()]));
    assert_eq!((ended.stdout().as_str(), ended.status), (SAID, STATUS));
    let shown = run_in(dir.path(), ringer(["trace", "--from", "log"]));
    assert_eq!(shown.status, 0, "{}", shown.stderr());
    shows(&shown.stdout(), "write", &["pipe#1.w", "= 5"]);
}
