//! Mode `observe`: the same records, with the state before and after, of each mechanism.

use serde_json::{json, Value};

use crate::tools::{compiled, diff, fields, log};

/// Both logs of a program are the same, by `ringer diff`, and complete.
fn same_logs(source: &str) {
    let (status, report) = diff(&[], &[&compiled(source)]);
    assert_eq!(status, Some(0), "{report:#}");
    assert_eq!(report["logged"], json!([2, 2]), "{report:#}");
    assert_eq!(report["varies"], json!([]), "{report:#}");
}

/// In both modes these entries have this field.
fn in_both(source: &str, (op, class, field): (&str, &str, &str), expected: Value) {
    let program = compiled(source);
    for mode in ["observe", "emulate"] {
        let found = fields(&log(mode, &program), op, class, field);
        assert_eq!(Value::from(found), expected, "{op} of {class}, {mode}");
    }
}

const PIPES: &str = include_str!("c/pipes.c");
const EVENTFD: &str = include_str!("c/eventfd.c");
const SOCKETS: &str = include_str!("c/sockets.c");
const SIGNALS: &str = include_str!("c/signals.c");
const SYSV: &str = include_str!("c/sysv.c");
const MQ: &str = include_str!("c/mq.c");
const MEMORY: &str = include_str!("c/memory.c");
const PACKET: &str = include_str!("../../examples-c/packet.c");

#[test]
fn pipes_are_told_with_what_is_queued() {
    same_logs(PIPES);
    let queued = json!([4001, 35441, 5441, 0, null, null]);
    in_both(PIPES, ("read", "pipe", "queued"), queued);
    let positions = json!([
        [0, 100],
        [100, 30100],
        [30100, 60100],
        [60100, 65541],
        null,
        [65541, 65541]
    ]);
    in_both(PIPES, ("read", "pipe", "pos"), positions);
}

#[test]
fn what_of_a_packet_did_not_fit_is_not_queued() {
    same_logs(PACKET);
    let program = compiled(PACKET);
    for mode in ["observe", "emulate"] {
        let queued = fields(&log(mode, &program), "read", "pipe", "queued");
        // The third is the one that is cut: 100 of 300 bytes are read, 4 are behind them.
        let expected = [307, 304, 4, 0, 904, 0].map(Value::from);
        assert_eq!(queued.get(..6), Some(&expected[..]), "{mode}: {queued:?}");
    }
}

#[test]
fn eventfds_are_told_with_their_counter() {
    same_logs(EVENTFD);
    let counter = json!([[8, 0], null, [2, 1], [1, 0], null]);
    in_both(EVENTFD, ("read", "eventfd", "counter"), counter);
    let written = json!([[3, 8], null, [0, 18446744073709551614u64], null]);
    in_both(EVENTFD, ("write", "eventfd", "counter"), written);
}

#[test]
fn pairs_of_sockets_are_told_with_side_and_position() {
    same_logs(SOCKETS);
    let sides = json!([0, 0, 0, 0, 0, 0]);
    in_both(SOCKETS, ("write", "socket", "side"), sides);
    in_both(SOCKETS, ("shutdown", "socket", "flags"), json!(["SHUT_WR"]));
}

#[test]
fn a_signal_is_told_with_what_becomes_of_it() {
    same_logs(SIGNALS);
    let program = compiled(SIGNALS);
    let observed = fields(&log("observe", &program), "kill", "sig", "signal.became");
    let pending = ["pending", "coalesced", "pending", "pending", "pending"];
    assert_eq!(
        observed.get(1..6),
        Some(&pending.map(Value::from)[..]),
        "{observed:?}"
    );
    let taken = json!(["SIGRTMIN", "SIGRTMIN", "SIGUSR1"]);
    in_both(SIGNALS, ("sigtimedwait", "", "signal.name"), taken);
}

#[test]
fn system_v_objects_are_told_with_their_values() {
    same_logs(SYSV);
    in_both(SYSV, ("semop", "semset", "sysv.value"), json!([2, 1]));
    in_both(SYSV, ("msg-send", "msg", "sysv.left"), json!([1, 2, 1]));
    in_both(SYSV, ("msg-receive", "msg", "ret"), json!([5, 2]));
    in_both(SYSV, ("shm-attach", "shmseg", "sysv.left"), json!([1, 2]));
    in_both(SYSV, ("shm-detach", "shmseg", "sysv.left"), json!([1, 0]));
    in_both(SYSV, ("sysv-remove", "msg", "sysv.left"), json!([1]));
    let failed = json!(["EAGAIN", "EINVAL", "EINVAL", "E2BIG", "ENOMSG", "EINVAL"]);
    in_both(SYSV, ("sysv-call", "", "errno"), failed);
}

#[test]
fn message_queues_are_told_with_what_is_in_them() {
    same_logs(MQ);
    in_both(MQ, ("mq-open", "mq", "size"), json!([[2, 32], null]));
    in_both(MQ, ("mq-send", "mq", "messages"), json!([1, 2, null]));
    in_both(MQ, ("mq-receive", "mq", "prio"), json!([9, null, 4, null]));
    let errors = json!([null, "EMSGSIZE", null, "EAGAIN"]);
    in_both(MQ, ("mq-receive", "mq", "errno"), errors);
}

#[test]
fn semaphores_and_shared_memory_are_told() {
    let program = compiled(MEMORY);
    for mode in ["observe", "emulate"] {
        let log = log(mode, &program);
        assert_eq!(
            fields(&log, "sem-wait", "", "errno"),
            [Value::Null, "EAGAIN".into()]
        );
        assert_eq!(fields(&log, "sem-post", "", "count"), [Value::from(1)]);
        assert_eq!(
            fields(&log, "shm-unlink", "", "errno"),
            [Value::Null, "ENOENT".into()]
        );
        assert_eq!(
            fields(&log, "memfd-create", "", "name"),
            [Value::from("mem")]
        );
    }
}

#[test]
fn what_the_kernel_served_says_so() {
    let log = log("observe", &compiled(SYSV));
    let kernel = fields(&log, "semop", "semset", "kernel");
    assert_eq!(kernel, [Value::Bool(true), Value::Bool(true)]);
}
