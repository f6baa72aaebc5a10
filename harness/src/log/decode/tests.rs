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
    for kind in 0..=100 {
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
