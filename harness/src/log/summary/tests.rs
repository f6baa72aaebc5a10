use super::super::flow::Flow;
use super::*;

fn pipe(op: Op, n: u32, pid: u32, comm: &str) -> Entry {
    let obj = Some(Object(n));
    Entry {
        op,
        obj,
        pid,
        tid: pid,
        comm: comm.into(),
        ..Entry::default()
    }
}

fn sum(entries: &[Entry]) -> Summary {
    let (mut accounts, mut flow) = (Accounts::default(), Flow::default());
    for e in entries {
        let mut e = e.clone();
        let shares = flow.follow(&mut e);
        accounts.count(&e, &shares);
    }
    accounts.sum()
}

#[test]
fn who_talked_to_whom_is_counted_by_bytes_that_arrived() {
    let write = |id, pos: [u64; 2]| Entry {
        id,
        pos: Some(pos),
        ret: Some((pos[1] - pos[0]) as i64),
        ..pipe(Op::Write, 1, 1, "seq")
    };
    let read = |pos: [u64; 2], from: Vec<u64>| Entry {
        pos: Some(pos),
        from,
        ret: Some((pos[1] - pos[0]) as i64),
        ..pipe(Op::Read, 1, 2, "sort")
    };
    let s = sum(&[
        pipe(Op::Pipe2, 1, 1, "sh"),
        write(10, [0, 8]),
        write(11, [8, 20]),
        read([0, 12], vec![10, 11]),
    ]);
    assert_eq!(
        s.talk,
        [Talk {
            from: "seq".into(),
            to: "sort".into(),
            pipes: 1,
            bytes: 12
        }]
    );
    assert_eq!(
        (s.bytes, s.bytes_read, s.processes, s.objects),
        (20, 12, 2, 1)
    );
}

#[test]
fn an_observed_pipe_is_not_a_demoted_one() {
    let demote = |n, why: &'static str| Entry {
        why: Some(why.into()),
        ..pipe(Op::Demote, n, 1, "sh")
    };
    let s = sum(&[
        pipe(Op::Pipe2, 1, 1, "sh"),
        demote(1, "only observed"),
        pipe(Op::Pipe2, 2, 1, "sh"),
        pipe(Op::Pipe2, 3, 1, "sh"),
        demote(2, "io_uring"),
    ]);
    assert_eq!(
        s.pipes,
        Pipes {
            emulated: 2,
            demoted: 1,
            kernel: 1
        }
    );
    assert!(
        s.text().contains("to the kernel: pipe#2 (io_uring)"),
        "{}",
        s.text()
    );
}

#[test]
fn each_process_counts_its_calls_once() {
    let layers = |pid, who, hook| Entry {
        op: Op::Layers,
        pid,
        who,
        calls: Some(Calls {
            hook,
            trap: 0,
            passed: 0,
        }),
        ..Entry::default()
    };
    let start = |pid| Entry {
        op: Op::Start,
        pid,
        yes: Some(false),
        ..Entry::default()
    };
    let s = sum(&[
        start(5),
        layers(5, None, 1),
        layers(5, None, 3),
        layers(9, Some(6), 10),
        layers(9, Some(7), 100),
        start(5),
        layers(5, None, 1000),
    ]);
    assert_eq!(s.layers.hook, 1113);
}

#[test]
fn in_a_session_that_emulates_nothing_no_pipe_is_emulated() {
    let mut accounts = Accounts::new(&Header {
        mode: "observe".into(),
        ..Header::default()
    });
    accounts.count(&pipe(Op::Pipe2, 1, 1, "sh"), &[]);
    assert_eq!(
        accounts.sum().pipes,
        Pipes {
            emulated: 0,
            demoted: 0,
            kernel: 1
        }
    );
}

#[test]
fn losses_are_said() {
    let s = sum(&[Entry {
        op: Op::Lost,
        count: Some(4),
        ..Entry::default()
    }]);
    assert_eq!(s.lost, 4);
    assert!(
        s.text()
            .ends_with("lost: 4 records; the log is not complete\n"),
        "{}",
        s.text()
    );
}

#[test]
fn signals_are_counted_by_what_became_of_them() {
    use super::super::signals::Signal;
    let signal = |op, n, became| Entry {
        signal: Some(Box::new(Signal {
            became,
            ..Signal::default()
        })),
        ..pipe(op, ringer_kernel::log::object::SIGNAL | n, 1, "sh")
    };
    let s = sum(&[
        signal(Op::Kill, 1, Some(Became::Pending)),
        signal(Op::Handler, 1, None),
        signal(Op::Kill, 2, Some(Became::Kernel)),
        signal(Op::Sigtimedwait, 2, None),
        signal(Op::Kill, 3, Some(Became::Full)),
    ]);
    let signals = Signals {
        sent: 2,
        kernel: 1,
        handled: 1,
        taken: 1,
        killed: 0,
    };
    assert_eq!((s.signals, s.objects, s.bytes), (signals, 0, 0));
    assert!(s
        .text()
        .contains("2 signals sent (1 by the kernel), 1 handled"));
}
