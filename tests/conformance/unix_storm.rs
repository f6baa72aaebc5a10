//! Unix sockets under load: many processes, many messages, sudden deaths.

use libc::{ECONNREFUSED, ECONNRESET, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};
use ringer_support::prelude::*;
use ringer_support::rights::socketpair;
use ringer_support::unix::*;

/// Sender and number of a message.
fn packet(sender: u64, n: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&sender.to_ne_bytes());
    bytes[8..].copy_from_slice(&n.to_ne_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> (usize, u64) {
    let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
    (word(0) as usize, word(8))
}

/// Four write, one reads: each one's packets come whole and in order.
fn many_to_one(kind: c_int) {
    const EACH: u64 = 2000;
    let (a, b) = socketpair(kind);
    let senders: Vec<Child> = (0..4)
        .map(|i| {
            fork_run(|| (0..EACH).for_each(|n| assert_eq!(send(&a, &packet(i, n), 0), Ok(16))))
        })
        .collect();
    let mut next = [0; 4];
    for _ in 0..4 * EACH {
        let (sender, n) = parse(&receive(&b, 16, libc::MSG_WAITALL).unwrap());
        assert_eq!(next[sender], n);
        next[sender] += 1;
    }
    all_succeed(senders);
    assert_eq!(next, [EACH; 4]);
}

both_worlds!(
    packets_of_many_senders_come_whole_and_in_order,
    worlds = all,
    timeout = 60,
    {
        many_to_one(SOCK_SEQPACKET);
        many_to_one(SOCK_DGRAM);
    }
);

both_worlds!(small_writes_to_a_stream_are_not_mixed, timeout = 60, {
    many_to_one(SOCK_STREAM);
});

both_worlds!(one_to_many_each_once, worlds = all, timeout = 60, {
    const ALL: u64 = 4000;
    for kind in [SOCK_SEQPACKET, SOCK_DGRAM] {
        let (a, b) = socketpair(kind);
        let s = Shared::new();
        let receivers: Vec<Child> = (0..4)
            .map(|_| {
                fork_run(|| loop {
                    let (_, n) = parse(&receive(&b, 16, 0).unwrap());
                    if n == u64::MAX {
                        return;
                    }
                    s.bump(0);
                    s.word(1).fetch_add(n, SeqCst);
                })
            })
            .collect();
        (1..=ALL).for_each(|n| assert_eq!(send(&a, &packet(0, n), 0), Ok(16)));
        (0..4).for_each(|_| assert_eq!(send(&a, &packet(0, u64::MAX), 0), Ok(16)));
        all_succeed(receivers);
        assert_eq!((s.get(0), s.get(1)), (ALL, ALL * (ALL + 1) / 2));
    }
});

both_worlds!(
    a_server_and_hundreds_of_clients,
    worlds = all,
    timeout = 60,
    {
        let name = Address::abstract_name("server");
        let server = socket(SOCK_STREAM);
        bind(&server, &name).unwrap();
        listen(&server, 10).unwrap();
        let workers: Vec<Child> = (0..3)
            .map(|_| {
                fork_run(|| loop {
                    let (fd, _) = accept(&server, 0).unwrap();
                    let question = receive(&fd, 100, 0).unwrap();
                    if question == b"enough" {
                        return;
                    }
                    let answer: Vec<u8> = question.iter().rev().copied().collect();
                    write_all(&fd, &answer);
                })
            })
            .collect();
        let clients: Vec<Child> = (0..4u8)
            .map(|i| {
                let name = name.clone();
                fork_run(move || {
                    for n in 0..100u8 {
                        let fd = socket(SOCK_STREAM);
                        connect(&fd, &name).unwrap();
                        send(&fd, &[i, n, 7], 0).unwrap();
                        assert_eq!(read_to_end(&fd), [7, n, i]);
                    }
                })
            })
            .collect();
        all_succeed(clients);
        for _ in 0..3 {
            let fd = socket(SOCK_STREAM);
            connect(&fd, &name).unwrap();
            send(&fd, b"enough", 0).unwrap();
        }
        all_succeed(workers);
    }
);

both_worlds!(descriptors_go_round, worlds = all, timeout = 60, {
    // A ring of processes passes a pipe's end on and on.
    const MEMBERS: usize = 4;
    const ROUNDS: usize = 100;
    let ring: Vec<(Fd, Fd)> = (0..MEMBERS).map(|_| socketpair(SOCK_SEQPACKET)).collect();
    let p = pipe();
    let members: Vec<Child> = (0..MEMBERS)
        .map(|i| {
            fork_run(|| {
                close(&p.r).unwrap();
                close(&p.w).unwrap();
                for _ in 0..ROUNDS {
                    let got = receive_with(&ring[i].1, 9, 64, 0).unwrap();
                    write_all(&got.rights[0], &[i as u8]);
                    let next = &ring[(i + 1) % MEMBERS].0;
                    send_with(next, b"x", &With::Rights(&[got.rights[0].number()]), 0).unwrap();
                }
            })
        })
        .collect();
    send_with(&ring[0].0, b"x", &With::Rights(&[p.w.number()]), 0).unwrap();
    let said = read_exactly(&p.r, MEMBERS * ROUNDS);
    assert!(said
        .iter()
        .enumerate()
        .all(|(n, i)| n % MEMBERS == *i as usize));
    all_succeed(members);
});

both_worlds!(
    a_reader_that_is_killed_leaves_whole_packets,
    worlds = all,
    timeout = 60,
    {
        for round in 0..40 {
            let (a, b) = socketpair(SOCK_SEQPACKET);
            let s = Shared::new();
            let reader = fork_run(|| loop {
                let (_, n) = parse(&receive(&b, 16, 0).unwrap());
                s.set(0, n + 1);
            });
            let sender =
                fork_run(|| (0..500).for_each(|n| assert_eq!(send(&a, &packet(0, n), 0), Ok(16))));
            wait_until(|| s.get(0) > 0);
            pause(std::time::Duration::from_micros(round * 20));
            reader.kill_9();
            // What it had not told is lost with it at most once; the rest is there, in order.
            let told = s.get(0);
            set_nonblocking(&b, false);
            let mut next = None;
            if told < 499 {
                loop {
                    let (_, n) = parse(&receive(&b, 16, 0).unwrap());
                    assert!(
                        next.map_or(n == told || n == told + 1, |next| n == next),
                        "{n}"
                    );
                    next = Some(n + 1);
                    if n == 499 {
                        break;
                    }
                }
            }
            sender.succeeds();
        }
    }
);

both_worlds!(
    a_writer_that_is_killed_leaves_an_end,
    worlds = all,
    timeout = 60,
    {
        for round in 0..40 {
            let (a, b) = socketpair(SOCK_STREAM);
            let s = Shared::new();
            let writer = fork_run(|| {
                close(&b).unwrap();
                for n in 0.. {
                    assert_eq!(send(&a, &packet(0, n), 0), Ok(16));
                    s.set(0, n + 1);
                }
            });
            drop(a);
            let reader = fork_run(|| {
                let bytes = read_to_end(&b);
                assert_eq!(bytes.len() % 16, 0);
                assert!(bytes
                    .chunks(16)
                    .map(parse)
                    .map(|(_, n)| n)
                    .eq(0..bytes.len() as u64 / 16));
                assert!(bytes.len() as u64 / 16 >= s.get(0));
            });
            drop(b);
            s.wait_for(0, 1);
            pause(std::time::Duration::from_micros(round * 20));
            writer.kill_9();
            reader.succeeds();
        }
    }
);

both_worlds!(servers_that_are_killed, timeout = 60, {
    let name = Address::abstract_name("mortal");
    for round in 0..40u64 {
        let s = Shared::new();
        let child = {
            let name = name.clone();
            fork_run(move || {
                let server = socket(SOCK_STREAM);
                bind(&server, &name).unwrap();
                listen(&server, 100).unwrap();
                s.set(0, 1);
                loop {
                    let (fd, _) = accept(&server, 0).unwrap();
                    send(&fd, b"hello", 0).unwrap();
                }
            })
        };
        s.wait_for(0, 1);
        let clients = {
            let name = name.clone();
            fork_run(move || loop {
                let fd = socket(SOCK_STREAM);
                match connect(&fd, &name) {
                    Ok(_) => match receive(&fd, 9, 0) {
                        Ok(bytes) => assert!(bytes.is_empty() || bytes == b"hello"),
                        Err(e) => assert_eq!(e, ECONNRESET),
                    },
                    Err(e) => {
                        assert_eq!(e, ECONNREFUSED);
                        return;
                    }
                }
            })
        };
        pause(std::time::Duration::from_micros(round * 50));
        child.kill_9();
        clients.succeeds();
    }
});
