use super::super::entry::{Calls, ErrorNumber, Object};
use super::*;

fn entry(op: Op) -> Entry {
    Entry {
        id: 7,
        pid: 412,
        tid: 412,
        comm: "sort".into(),
        op,
        obj: Some(Object(3)),
        fd: Some(0),
        ..Entry::default()
    }
}

fn tell(e: &Entry) -> String {
    let mut story = Story::default();
    let writer = Entry {
        id: 5,
        pid: 410,
        tid: 410,
        comm: "seq".into(),
        op: Op::Write,
        obj: Some(Object(3)),
        pos: Some([8192, 12288]),
        ..Entry::default()
    };
    story.remember(&writer);
    let mut out = String::new();
    line(&mut out, e, &story, Color::No);
    out
}

#[test]
fn golden() {
    let read = Entry {
        ret: Some(4096),
        bytes: Some(4096),
        pos: Some([8192, 12288]),
        queued: Some(0),
        end: Some(End::Read),
        from: vec![5],
        ..entry(Op::Read)
    };
    let full = Entry {
        fd: Some(1),
        ret: Some(-1),
        errno: Some(ErrorNumber(11)),
        end: Some(End::Write),
        ..entry(Op::Write)
    };
    let lines = [
        read.clone(),
        Entry {
            ret: Some(0),
            end: Some(End::Read),
            pos: Some([9, 9]),
            ..entry(Op::Read)
        },
        Entry {
            layer: Some(Layer::Trap),
            from: vec![99],
            tid: 415,
            ..read
        },
        full.clone(),
        Entry {
            errno: Some(ErrorNumber(32)),
            bytes: Some(4096),
            ..full
        },
        Entry {
            ret: Some(0),
            fds: Some([3, 4]),
            flags: Some("O_CLOEXEC".into()),
            fd: None,
            ..entry(Op::Pipe2)
        },
        Entry {
            end: Some(End::Read),
            ..entry(Op::Block)
        },
        Entry {
            slept_ns: Some(1_234_567),
            cause: Some(5),
            ..entry(Op::Wake)
        },
        Entry {
            slept_ns: Some(900),
            cause: Some(6),
            ..entry(Op::Wake)
        },
        Entry {
            ret: Some(0),
            end: Some(End::Write),
            left: Some(0),
            ..entry(Op::Close)
        },
        Entry {
            ret: Some(1),
            end: Some(End::Write),
            fd: Some(4),
            ..entry(Op::Dup)
        },
        Entry {
            why: Some("io_uring".into()),
            bytes: Some(12),
            ..entry(Op::Demote)
        },
        Entry {
            slots: Some(256),
            ..entry(Op::Resize)
        },
        Entry {
            obj: None,
            ret: Some(413),
            who: Some(413),
            ..entry(Op::Fork)
        },
        Entry {
            obj: None,
            status: Some(0),
            ..entry(Op::Exit)
        },
        Entry {
            obj: None,
            who: Some(411),
            ..entry(Op::Reaped)
        },
        Entry {
            obj: None,
            calls: Some(Calls {
                hook: 1,
                trap: 2,
                passed: 3,
            }),
            ..entry(Op::Layers)
        },
        Entry {
            obj: None,
            who: Some(411),
            calls: Some(Calls::default()),
            ..entry(Op::Layers)
        },
        Entry {
            obj: None,
            count: Some(17),
            ..entry(Op::Lost)
        },
        Entry {
            pid: 0,
            tid: 0,
            comm: "".into(),
            count: Some(1),
            ..entry(Op::Lost)
        },
        Entry {
            raw: Some((99, -1, 2, 3)),
            ..entry(Op::Unknown)
        },
    ];
    let text: String = lines.iter().map(tell).collect();
    let golden = include_str!("../../../golden/lines.txt");
    if std::env::var_os("BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/lines.txt");
        std::fs::write(path, &text).unwrap();
    } else {
        assert_eq!(text, golden, "\n{text}");
    }
}

#[test]
fn colors_do_not_move_columns() {
    let e = Entry {
        ret: Some(-1),
        errno: Some(ErrorNumber(9)),
        ..entry(Op::Write)
    };
    let mut out = String::new();
    line(&mut out, &e, &Story::default(), Color::Yes);
    assert!(out.contains("\x1b[31mwrite(0, ...) = -1 EBADF (Bad file descriptor)\x1b[39m"));
}
