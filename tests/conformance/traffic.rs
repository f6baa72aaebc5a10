//! Much data, many readers and writers: nothing lost, nothing torn, nobody left asleep.
//! See pipe(7) "PIPE_BUF".

mod record;

use record::{record, Parser};
use ringer_support::prelude::*;

const WRITERS: u32 = 4;
const RECORDS: u32 = 3000;

/// Reads everything, in random sizes, and takes it apart.
fn read_records(r: &Fd, seed: u64) -> Parser {
    let (mut rng, mut parser) = (Rng::new(seed), Parser::default());
    loop {
        match read_n(r, rng.within(1, 9000)) {
            Ok(piece) if piece.is_empty() => break,
            Ok(piece) => parser.push(&piece),
            Err(e) => panic!("read: errno {e}"),
        }
    }
    assert!(parser.complete(), "the stream ended within a record");
    parser
}

both_worlds!(records_of_four_processes_are_never_torn, timeout = 60, {
    let Pipe { r, w } = pipe();
    let children: Vec<Child> = (0..WRITERS)
        .map(|writer| {
            fork_run(|| {
                for sequence in 0..RECORDS {
                    let data = record(writer, sequence, PIPE_BUF);
                    assert_eq!(write(&w, &data), Ok(data.len()));
                }
            })
        })
        .collect();
    drop(w);
    assert_eq!(read_records(&r, 1).counts, [RECORDS; WRITERS as usize]);
    all_succeed(children);
});

both_worlds!(records_of_four_threads_are_never_torn, timeout = 60, {
    let Pipe { r, w } = pipe();
    let w = &w;
    let reader = std::thread::spawn(move || read_records(&r, 2));
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for sequence in 0..RECORDS {
                    let data = record(writer, sequence, PIPE_BUF);
                    assert_eq!(write(w, &data), Ok(data.len()));
                }
            });
        }
    });
    close(w).unwrap();
    assert_eq!(reader.join().unwrap().counts, [RECORDS; WRITERS as usize]);
});

both_worlds!(
    records_of_nonblocking_writers_are_never_torn,
    timeout = 60,
    {
        let Pipe { r, w } = pipe();
        let children: Vec<Child> = (0..WRITERS)
            .map(|writer| {
                fork_run(|| {
                    set_nonblocking(&w, true);
                    for sequence in 0..RECORDS {
                        let data = record(writer, sequence, PIPE_BUF);
                        loop {
                            match write(&w, &data) {
                                Ok(n) => break assert_eq!(n, data.len()),
                                Err(e) => assert_eq!(e, EAGAIN),
                            }
                            poll_until(&w, POLLOUT);
                        }
                    }
                })
            })
            .collect();
        drop(w);
        assert_eq!(read_records(&r, 3).counts, [RECORDS; WRITERS as usize]);
        all_succeed(children);
    }
);

both_worlds!(vectored_records_are_never_torn, timeout = 60, {
    let Pipe { r, w } = pipe();
    let children: Vec<Child> = (0..WRITERS)
        .map(|writer| {
            fork_run(|| {
                for sequence in 0..RECORDS {
                    let data = record(writer, sequence, PIPE_BUF);
                    let (a, rest) = data.split_at(data.len() / 3);
                    let (b, c) = rest.split_at(rest.len() / 2);
                    assert_eq!(writev_slices(&w, &[a, b, &[], c]), Ok(data.len()));
                }
            })
        })
        .collect();
    drop(w);
    assert_eq!(read_records(&r, 4).counts, [RECORDS; WRITERS as usize]);
    all_succeed(children);
});

both_worlds!(readers_of_packets_get_whole_records_each, timeout = 60, {
    let Pipe { r, w } = pipe2(O_DIRECT).unwrap();
    let s = Shared::new();
    let readers: Vec<Child> = (0..3)
        .map(|_| {
            fork_run(|| {
                close(&w).unwrap();
                loop {
                    let packet = read_n(&r, 2 * PIPE_BUF).unwrap();
                    if packet.is_empty() {
                        break;
                    }
                    let word = |i: usize| u32::from_ne_bytes(packet[i..i + 4].try_into().unwrap());
                    assert!(
                        packet == record(word(0), word(4), PIPE_BUF),
                        "a torn packet"
                    );
                    s.bump(word(0) as usize);
                }
            })
        })
        .collect();
    let writers: Vec<Child> = (0..WRITERS)
        .map(|writer| {
            fork_run(|| {
                for sequence in 0..RECORDS {
                    let data = record(writer, sequence, PIPE_BUF);
                    assert_eq!(write(&w, &data), Ok(data.len()));
                }
            })
        })
        .collect();
    drop(w);
    all_succeed(writers.into_iter().chain(readers));
    let counts: Vec<u64> = (0..WRITERS as usize).map(|i| s.get(i)).collect();
    assert_eq!(counts, [u64::from(RECORDS); WRITERS as usize]);
});

both_worlds!(
    several_readers_of_single_bytes_share_them_out,
    timeout = 60,
    {
        const TOTAL: usize = 40_000;
        let Pipe { r, w } = pipe();
        let s = Shared::new();
        let readers: Vec<Child> = (0..4)
            .map(|_| {
                fork_run(|| {
                    close(&w).unwrap();
                    let mut counts = [0u64; 256];
                    while let [byte] = read_n(&r, 1).unwrap()[..] {
                        counts[usize::from(byte)] += 1;
                    }
                    for (byte, n) in counts.iter().enumerate() {
                        s.word(byte).fetch_add(*n, SeqCst);
                    }
                })
            })
            .collect();
        for piece in stream(0, TOTAL).chunks(700) {
            write_all(&w, piece);
        }
        drop(w);
        all_succeed(readers);
        let mut expected = [0u64; 256];
        stream(0, TOTAL)
            .iter()
            .for_each(|b| expected[usize::from(*b)] += 1);
        let counts: Vec<u64> = (0..256).map(|i| s.get(i)).collect();
        assert_eq!(counts, expected);
    }
);

both_worlds!(fifty_megabytes_come_through_as_they_are, timeout = 60, {
    const TOTAL: usize = 50_000_000;
    let Pipe { r, w } = pipe();
    let child = fork_run(move || {
        let (mut rng, mut at) = (Rng::new(10), 0);
        let sizes = [1, 100, PAGE, 3 * PAGE, 100_000, 400_000];
        while at < TOTAL {
            let size = rng.pick(&sizes);
            let n = rng.within(1, size).min(TOTAL - at);
            assert_eq!(write(&w, &stream(at, n)), Ok(n));
            at += n;
        }
    });
    let (mut rng, mut at) = (Rng::new(11), 0);
    let mut buf = vec![0; 300_000];
    loop {
        let size = rng.pick(&[10, PAGE, 60_000, 300_000]);
        let n = read(&r, &mut buf[..rng.within(1, size)]).unwrap();
        if n == 0 {
            break;
        }
        assert!(buf[..n] == stream(at, n), "wrong bytes at {at}");
        at += n;
    }
    assert_eq!(at, TOTAL);
    child.succeeds();
});

both_worlds!(ping_pong_between_two_processes, timeout = 60, {
    let (ping, pong) = (pipe(), pipe());
    let child = fork_run(|| {
        close(&ping.w).unwrap();
        loop {
            match read_n(&ping.r, 8).unwrap() {
                got if got.is_empty() => break,
                got => write_all(&pong.w, &got),
            }
        }
    });
    for i in 0..20_000u64 {
        write_all(&ping.w, &i.to_ne_bytes());
        assert_eq!(read_exactly(&pong.r, 8), i.to_ne_bytes());
    }
    drop(ping.w);
    child.succeeds();
});

both_worlds!(a_token_goes_round_a_ring_of_processes, timeout = 60, {
    const NODES: usize = 5;
    const ROUNDS: u32 = 2000;
    let pipes: Vec<Pipe> = (0..NODES).map(|_| pipe()).collect();
    let children: Vec<Child> = (1..NODES)
        .map(|i| {
            let (from, to) = (&pipes[i - 1].r, &pipes[i].w);
            fork_run(move || {
                for _ in 0..ROUNDS {
                    let token = u32::from_ne_bytes(read_exactly(from, 4).try_into().unwrap());
                    write_all(to, &(token + 1).to_ne_bytes());
                }
            })
        })
        .collect();
    let mut token = 0u32;
    for _ in 0..ROUNDS {
        write_all(&pipes[0].w, &token.to_ne_bytes());
        let back = read_exactly(&pipes[NODES - 1].r, 4);
        token = u32::from_ne_bytes(back.try_into().unwrap());
    }
    assert_eq!(token, ROUNDS * (NODES as u32 - 1));
    all_succeed(children);
});

both_worlds!(
    writes_larger_than_pipe_buf_may_mix_but_lose_nothing,
    timeout = 60,
    {
        const EACH: usize = 2_000_000;
        let Pipe { r, w } = pipe();
        let children: Vec<Child> = (1..=3u8)
            .map(|byte| {
                let w = &w;
                fork_run(move || {
                    let data = vec![byte; 100_000];
                    for _ in 0..EACH / data.len() {
                        assert_eq!(write(w, &data), Ok(data.len()));
                    }
                })
            })
            .collect();
        drop(w);
        let mut counts = [0; 4];
        loop {
            let piece = read_n(&r, 70_000).unwrap();
            if piece.is_empty() {
                break;
            }
            for byte in 1..=3u8 {
                counts[usize::from(byte)] += piece.iter().filter(|b| **b == byte).count();
            }
        }
        assert_eq!(counts, [0, EACH, EACH, EACH]);
        all_succeed(children);
    }
);

both_worlds!(a_one_page_pipe_carries_everything_too, timeout = 60, {
    const TOTAL: usize = 2_000_000;
    let Pipe { r, w } = pipe();
    set_pipe_size(&w, PAGE).unwrap();
    let child = fork_run(move || {
        let (mut rng, mut at) = (Rng::new(20), 0);
        while at < TOTAL {
            let n = rng.within(1, 10_000).min(TOTAL - at);
            assert_eq!(write(&w, &stream(at, n)), Ok(n));
            at += n;
        }
    });
    assert!(read_to_end(&r) == stream(0, TOTAL));
    child.succeeds();
});

both_worlds!(a_chain_of_processes_copies_faithfully, timeout = 60, {
    const TOTAL: usize = 3_000_000;
    const STAGES: u64 = 4;
    let Pipe { r: first, w } = pipe();
    let mut children = Vec::new();
    let mut r = first;
    for stage in 0..STAGES {
        let next = pipe();
        let (from, to) = (r, next.w);
        let source = &w;
        children.push(fork_run(move || {
            close(source).unwrap();
            let mut rng = Rng::new(stage);
            loop {
                let piece = read_n(&from, rng.within(1, 50_000)).unwrap();
                if piece.is_empty() {
                    break;
                }
                write_all(&to, &piece);
            }
        }));
        r = next.r;
    }
    let source = fork_run(move || write_all(&w, &stream(0, TOTAL)));
    assert!(read_to_end(&r) == stream(0, TOTAL));
    all_succeed(children);
    source.succeeds();
});
