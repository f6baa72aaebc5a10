//! What is passed on within a session stays ringer's: the log tells.

use crate::fixture::TempDir;
use crate::ringer::native_only;
use crate::trace::trace_in;
use ringer_support::cc;

#[test]
fn what_is_passed_on_is_not_demoted() {
    if native_only() {
        return;
    }
    let program = cc::cc(include_str!("rights.c"));
    let dir = TempDir::new();
    let program = program.to_str().expect("a path of ours");
    let (ended, text) = trace_in(dir.path(), &[], &[program]);
    assert_eq!(ended.status, 0, "{}\n{text}", ended.stderr());
    let demoted: Vec<&str> = text
        .lines()
        .filter(|l| l.contains("goes to the kernel"))
        .collect();
    // The carrier, and the socket that goes on by itself.
    assert_eq!(demoted.len(), 2, "{text}");
    assert!(demoted.iter().all(|l| l.contains("socket#")), "{text}");
    for thing in ["pipe#", "eventfd#", "mq#", "socket#"] {
        let taken_up = text
            .lines()
            .any(|l| l.contains(&format!("--- has {thing}")));
        assert!(taken_up, "nobody took up {thing}:\n{text}");
    }
}
