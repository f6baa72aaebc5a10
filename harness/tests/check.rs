//! `ringer check`: all sequences of calls up to a length, in both worlds.

mod common;

use common::*;

#[test]
fn all_short_sequences_are_the_same_in_both_worlds() {
    let objects = [
        "pipe",
        "eventfd",
        "stream",
        "dgram",
        "seqpacket",
        "mq",
        "sem",
        "msg",
        "posix-sem",
        "signal",
        "threads",
    ];
    are_the_same(&objects);
}

#[test]
fn who_waits_and_who_is_woken_is_the_same_in_both_worlds() {
    for object in [
        "wait-pipe",
        "wait-sem",
        "wait-msg",
        "wait-mq",
        "wait-signal",
        "wait-posix-sem",
    ] {
        are_the_same(&[object]);
    }
}

fn are_the_same(objects: &[&str]) {
    let out = output(ringer(&["check", "--depth", "2"]).args(objects));
    let said = stdout(&out) + &stderr(&out);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert_eq!(said.lines().count(), objects.len(), "{said}");
    for (line, object) in said.lines().zip(objects) {
        assert!(line.starts_with(&format!("{object}: depth 2, ")), "{line}");
        assert!(line.contains(" sequences, all the same, "), "{line}");
    }
}

/// As many as there are words of one or two letters, over an alphabet of 16.
#[test]
fn none_is_left_out() {
    let out = output(&mut ringer(&["check", "--depth", "3", "msg"]));
    assert!(stdout(&out).starts_with("msg: depth 3, 16 calls, 4368 sequences, "));
}
