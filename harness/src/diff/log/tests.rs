//! Logs made by hand, one line a step: pid, operation, and fields as JSON has them.

use serde_json::{json, Value};

use super::{rule, Found, Known, Story};
use crate::log::entry::Entry;

fn story(lines: &[(u32, &str, Value)]) -> Story {
    let entry = |(i, (pid, op, fields)): (usize, &(u32, &str, Value))| -> Entry {
        let mut e = json!({"id": i + 1, "t_ns": i, "pid": pid, "tid": pid, "comm": "p", "op": op});
        for (name, value) in fields.as_object().unwrap() {
            e[name] = value.clone();
        }
        serde_json::from_value(e).unwrap()
    };
    let entries: Vec<Entry> = lines.iter().enumerate().map(entry).collect();
    Story::of(&entries, false)
}

/// A parent that reads what its child writes, in such pieces.
fn pair(parent: u32, wrote: &[u64], read: &[u64]) -> Vec<(u32, &'static str, Value)> {
    let child = parent + 7;
    let mut log = vec![
        (parent, "start", json!({"who": 1})),
        (
            parent,
            "pipe2",
            json!({"obj": "pipe#9", "fds": [3, 4], "slots": 16}),
        ),
        (parent, "fork", json!({"ret": child, "who": child})),
        (child, "start", json!({"who": parent})),
    ];
    let data = |pid, op, end, n: &u64| {
        let fields = json!({"obj": "pipe#9", "end": end, "ret": n, "bytes": n});
        (pid, op, fields)
    };
    log.extend(wrote.iter().map(|n| data(child, "write", "w", n)));
    log.push((child, "exit", json!({"status": 0})));
    log.extend(read.iter().map(|n| data(parent, "read", "r", n)));
    log.push((parent, "exit", json!({"status": 0})));
    log
}

fn differs(kernel: &[Story], ringer: Story) -> Option<Found> {
    let ringer = [ringer];
    Known::from(kernel, &ringer).differs(&ringer[0])
}

fn kernel() -> [Story; 2] {
    [
        story(&pair(10, &[5, 5], &[10, 0])),
        story(&pair(40, &[5, 5], &[10, 0])),
    ]
}

#[test]
fn numbers_of_processes_and_pieces_of_a_stream_are_no_difference() {
    assert_eq!(
        differs(&kernel(), story(&pair(90, &[5, 5], &[5, 5, 0]))),
        None
    );
}

#[test]
fn a_lost_byte_is() {
    let found = differs(&kernel(), story(&pair(90, &[5, 5], &[5, 4, 0]))).unwrap();
    assert_eq!(found.lane, "1: read(pipe#1@1:r)");
    let found = differs(&kernel(), story(&pair(90, &[5, 4], &[5, 5, 0]))).unwrap();
    assert_eq!(found.lane, "1.1: write(pipe#1@1:w)");
}

#[test]
fn an_end_of_file_that_does_not_come_is() {
    let found = differs(&kernel(), story(&pair(90, &[5, 5], &[10]))).unwrap();
    assert_eq!(found.lane, "1: read(pipe#1@1:r)");
    assert_eq!((found.kernel.1, found.ringer.1), (1, 1));
    assert!(rule(&found).unwrap().contains("end-of-file"));
}

fn alone(errno: Option<&str>, queued: u64) -> Story {
    let mut write = json!({"obj": "pipe#2", "end": "w", "ret": 3, "bytes": 3, "queued": queued});
    if let Some(errno) = errno {
        write = json!({"obj": "pipe#2", "end": "w", "ret": -1, "errno": errno});
    }
    story(&[
        (5, "start", json!({"who": 1})),
        (
            5,
            "pipe2",
            json!({"obj": "pipe#2", "fds": [3, 4], "slots": 16}),
        ),
        (5, "write", write),
        (5, "exit", json!({"status": 0})),
    ])
}

#[test]
fn who_is_alone_with_an_object_finds_it_in_the_same_state() {
    let kernel = [alone(None, 3), alone(None, 3)];
    assert_eq!(differs(&kernel, alone(None, 3)), None);
    let found = differs(&kernel, alone(None, 4)).unwrap();
    assert_eq!((found.lane.as_str(), found.ringer.1), ("1", 1));
    let found = differs(&kernel, alone(Some("EAGAIN"), 0)).unwrap();
    assert_eq!(found.ringer.1, 1);
}

#[test]
fn what_varies_on_the_kernel_may_vary() {
    let kernel = [alone(None, 3), alone(None, 7)];
    assert_eq!(differs(&kernel, alone(None, 4)), None);
    assert!(differs(&kernel, alone(Some("EAGAIN"), 0)).is_some());
}

#[test]
fn what_only_one_side_knows_is_not_compared() {
    let mut kernel = pair(10, &[1], &[1, 0]);
    kernel.insert(2, (10, "sigaction", json!({"signal": {"name": "SIGUSR1"}})));
    let kernel = [story(&kernel), story(&kernel)];
    let mut ringer = pair(10, &[1], &[1, 0]);
    let more = json!({"flags": "SA_RESTART", "signal": {"name": "SIGUSR1", "handler": "SIG_IGN"}});
    ringer.insert(2, (10, "sigaction", more));
    assert_eq!(differs(&kernel, story(&ringer)), None);
}

#[test]
fn a_handler_that_comes_at_any_point_is_a_lane_of_its_own() {
    let with = |at: usize| {
        let mut log = pair(10, &[5], &[5, 0]);
        let name = json!({"signal": {"name": "SIGALRM", "code": "SI_KERNEL"}});
        log.insert(at, (10, "handler", name.clone()));
        log.insert(at + 1, (10, "handler-return", name));
        story(&log)
    };
    let kernel = [with(6), with(6)];
    assert_eq!(differs(&kernel, with(7)), None);
    assert!(differs(&kernel, story(&pair(10, &[5], &[5, 0]))).is_some());
}

/// Two children have ended, and one SIGCHLD tells of both, or of the first; or the process has ended before.
#[test]
fn whose_end_is_told_is_no_difference() {
    let with = |codes: &[&str]| {
        let mut log = pair(10, &[5], &[5, 0]);
        for code in codes {
            let name = json!({"signal": {"name": "SIGCHLD", "code": code}});
            log.insert(6, (10, "handler", name.clone()));
            log.insert(7, (10, "handler-return", name));
        }
        story(&log)
    };
    let kernel = [
        with(&["CLD_EXITED", "CLD_KILLED"]),
        with(&["CLD_EXITED", "CLD_KILLED"]),
    ];
    assert_eq!(differs(&kernel, with(&["CLD_KILLED"])), None);
    assert_eq!(differs(&kernel, with(&["CLD_EXITED"])), None);
    assert_eq!(differs(&kernel, with(&[])), None);
}
