use super::*;

fn decoder() -> Decoder {
    let mut d = Decoder::new(Clock::nanoseconds());
    let mut comm = [0; 16];
    comm[..3].copy_from_slice(b"seq");
    d.meet(&Who {
        ring: 2,
        pid: 410,
        tid: 411,
        comm,
    });
    d
}

fn decode(record: Record) -> Entry {
    decoder().decode(&Merged::Record(Raw { who: 0, record }))
}

#[test]
fn a_write_says_where_in_the_stream() {
    let e = decode(Record {
        commit: 8,
        tsc: 500,
        kind: Kind::Write.raw(),
        aux: layer::HOOK,
        object: 3,
        seq: 9,
        fd: 1,
        a: 8,
        b: 100,
        c: 108,
        ..Record::default()
    });
    assert_eq!(
        (e.op, e.ret, e.pos, e.queued),
        (Op::Write, Some(8), Some([100, 108]), Some(108))
    );
    assert_eq!((e.pid, e.tid, &*e.comm, e.t_ns), (410, 411, "seq", 500));
    assert_eq!(e.id, ring::record_id(2, 7));
    assert_eq!(
        (e.obj, e.seq, e.layer),
        (Some(Object(3)), Some(9), Some(Layer::Hook))
    );
}

#[test]
fn any_record_at_all_decodes() {
    for kind in 0..=160 {
        for word in [0, 1, u64::MAX, 1 << 63] {
            let record = Record {
                commit: word,
                tsc: word,
                kind,
                aux: word as u16,
                object: word as u32,
                seq: word as u32,
                fd: word as i32,
                cause: word,
                a: word as i64,
                b: word,
                c: word,
            };
            let e = decode(record);
            let json = serde_json::to_string(&e).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), e, "{json}");
        }
    }
}

#[test]
fn a_record_without_a_thread_is_told_all_the_same() {
    let record = Record {
        kind: Kind::Eof.raw(),
        ..Record::default()
    };
    let e = Decoder::new(Clock::nanoseconds()).decode(&Merged::Record(Raw { who: 7, record }));
    assert_eq!((e.op, e.ret), (Op::Read, Some(0)));
}

#[test]
fn what_is_said_about_records_has_ids_of_its_own() {
    let d = decoder();
    let gap = Merged::Gap {
        object: 3,
        missing: 2,
        tsc: 500,
    };
    let lost = Merged::Record(Raw {
        who: 0,
        record: Record {
            kind: Kind::Lost.raw(),
            a: 4,
            fd: -1,
            ..Record::default()
        },
    });
    let mut ids: Vec<u64> = [&gap, &lost, &gap, &lost].map(|m| d.decode(m).id).into();
    ids.push(ring::record_id(1, 0));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5, "{ids:?}");
    assert!(!ids.contains(&0));
}

#[test]
fn an_eventfds_counter_is_told_before_and_after() {
    let record = |kind: Kind, a, b, c| Record {
        kind: kind.raw(),
        object: object::EVENTFD | 3,
        fd: 5,
        a,
        b,
        c,
        ..Record::default()
    };
    let e = decode(record(Kind::EventfdWrite, 4, 3, 7));
    assert_eq!(
        (e.op, e.count, e.counter),
        (Op::Write, Some(4), Some([3, 7]))
    );
    assert_eq!(
        (e.obj.unwrap().to_string(), e.end),
        ("eventfd#3".into(), None)
    );
    let e = decode(record(Kind::EventfdCreate, 5, 3, 1));
    assert_eq!((e.op, e.ret, e.count), (Op::Eventfd2, Some(5), Some(3)));
    assert_eq!(e.flags.as_deref(), Some("EFD_SEMAPHORE"));
    let e = decode(record(Kind::Close, 0, 2, 0));
    assert_eq!(
        (e.op, e.end, e.left, e.side),
        (Op::Close, None, Some(2), None)
    );
}

#[test]
fn a_socket_is_one_of_two() {
    let record = |kind: Kind, a, b, c| Record {
        kind: kind.raw(),
        object: object::SOCKET | 4,
        a,
        b,
        c,
        ..Record::default()
    };
    let e = decode(record(Kind::SocketSend, 8, 100, 16 << 1 | 1));
    let told = (e.op, e.pos, e.queued, e.side);
    assert_eq!(told, (Op::Write, Some([100, 108]), Some(16), Some(1)));
    let e = decode(record(Kind::RecvFailed, 104, 0, 0));
    assert_eq!((e.op, e.ret, e.side), (Op::Read, Some(-1), Some(0)));
    assert_eq!(e.errno.unwrap().name(), "ECONNRESET");
    let e = decode(record(Kind::RecvFailed, 0, 0, 1));
    assert_eq!((e.ret, e.errno, e.side), (Some(0), None, Some(1)));
    let e = decode(record(Kind::SocketPair, 3, 4, 5 | 0o4000));
    assert_eq!((e.op, e.fds), (Op::Socketpair, Some([3, 4])));
    assert_eq!(e.flags.as_deref(), Some("SOCK_SEQPACKET|SOCK_NONBLOCK"));
    let e = decode(record(Kind::Close, 1, 0, 0));
    assert_eq!((e.side, e.end), (Some(1), None));
    let e = decode(record(Kind::Shutdown, 2, 1, 0));
    assert_eq!((e.flags.as_deref(), e.side), (Some("SHUT_RDWR"), Some(1)));
}

fn a_signal_that_was_sent_and_one_that_came() {
    use super::super::signals::{Became, Number};
    let sent = decode(Record {
        commit: 1,
        kind: Kind::SigSend.raw(),
        fd: -1,
        a: 413,
        b: 34 | 1 << 8 | u64::from(-1i32 as u32) << 32,
        c: 91,
        ..Record::default()
    });
    assert_eq!((sent.op, sent.ret, sent.seq), (Op::Kill, Some(0), None));
    assert_eq!(sent.obj.map(|o| o.to_string()), Some("sig#91".into()));
    let s = sent.signal.unwrap();
    assert_eq!(
        (s.name, s.to, s.became, s.code.as_deref()),
        (
            Some(Number(34)),
            Some(413),
            Some(Became::Pending),
            Some("SI_QUEUE")
        )
    );
    let came = decode(Record {
        commit: 2,
        kind: Kind::SigHandler.raw(),
        fd: 77,
        cause: 5,
        a: 10,
        b: 0x55d0,
        c: 412,
        ..Record::default()
    });
    assert_eq!((came.op, came.fd, came.cause), (Op::Handler, None, Some(5)));
    let s = came.signal.unwrap();
    assert_eq!(
        (s.from, s.frame, s.handler.as_deref()),
        (Some(412), Some(77), Some("0x55d0"))
    );
}
