//! SIGKILL of senders and receivers.

use crate::*;
use libc::MSG_DONTWAIT;
use ringer_support::rights::socketpair;

both_worlds!(senders_die_at_any_moment, timeout = 60, {
    let (a, b) = socketpair(SOCK_SEQPACKET);
    let mut rng = Rng::new(7);
    for _ in 0..60 {
        let s = Shared::new();
        let child = fork_run(|| loop {
            let p = pipe();
            write_all(&p.w, b"data");
            let _ = send_with(&a, b"!", &With::Rights(&[p.r.number()]), MSG_DONTWAIT);
            s.bump(0);
        });
        wait_until(|| s.get(0) > 3);
        pause(std::time::Duration::from_micros(rng.below(800) as u64));
        child.kill_9();
        while let Ok(got) = receive_with(&b, 1, ROOM, MSG_DONTWAIT) {
            assert_eq!(read_to_end(&got.rights[0]), b"data");
        }
    }
    // It still works, between others.
    let p = pipe();
    pass(&a, &[&p.w]);
    drop(p.w);
    write_all(&take_one(&b), b"end");
    assert_eq!(read_to_end(&p.r), b"end");
});

both_worlds!(receivers_die_at_any_moment, timeout = 60, {
    let (a, b) = socketpair(SOCK_SEQPACKET);
    let mut rng = Rng::new(11);
    let p = pipe();
    for round in 0..60u64 {
        let s = Shared::new();
        let child = fork_run(|| loop {
            let got = take(&b);
            assert_eq!(got.len(), 1);
            s.bump(0);
        });
        let (sent, enough) = (Shared::new(), 3 + rng.below(30) as u64);
        while s.get(0) < enough {
            if send_with(&a, b"!", &With::Rights(&[p.w.number()]), MSG_DONTWAIT) == Ok(1) {
                sent.bump(0);
            }
        }
        child.kill_9();
        while receive_with(&b, 1, ROOM, MSG_DONTWAIT).is_ok() {}
        pass(&a, &[&p.w]);
        write_all(&take_one(&b), &[round as u8]);
        assert_eq!(read_n(&p.r, 9), Ok(vec![round as u8]));
    }
    drop(p.w);
    assert_eq!(read_to_end(&p.r), b"");
});
