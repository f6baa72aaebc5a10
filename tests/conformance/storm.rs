//! SIGKILL in the midst of heavy traffic: nothing acknowledged is lost, nothing is torn, and those
//! who live on neither hang nor see anything wrong.

use ringer_support::prelude::*;
use std::time::Duration;

/// Kills a writer at a random instant, and checks that all it has published can be read.
fn kill_in_a_storm_of_writes(seed: u64, max: usize) {
    let mut rng = Rng::new(seed);
    let (p, s) = (pipe(), Shared::new());
    let Pipe { r, w } = p;
    let child = fork_run(|| {
        close(&r).unwrap();
        let (mut rng, mut at) = (Rng::new(seed), 0);
        loop {
            let n = rng.within(1, max);
            assert_eq!(write(&w, &stream(at, n)), Ok(n));
            at += n;
            s.set(0, at as u64);
        }
    });
    drop(w);
    let delay = Duration::from_micros(rng.below(3000) as u64);
    let reader = fork_run(|| {
        let mut at = 0;
        loop {
            let got = read_n(&r, rng.within(1, 3 * PAGE)).unwrap();
            if got.is_empty() {
                break;
            }
            assert!(got == stream(at, got.len()), "wrong bytes at {at}");
            at += got.len();
        }
        // What the writer may have written, and not published any more.
        let acknowledged = s.get(0) as usize;
        assert!(
            at >= acknowledged,
            "read {at}, but {acknowledged} were acknowledged"
        );
        assert!(
            at - acknowledged <= max,
            "read {at}, acknowledged {acknowledged}"
        );
        s.set(1, at as u64);
    });
    drop(r);
    s.wait_for(0, 1);
    pause(delay);
    child.kill_9();
    reader.succeeds();
    if max <= PIPE_BUF {
        check_that_no_write_was_torn(seed, max, &s);
    }
}

/// What was read must end where one of the writes did.
fn check_that_no_write_was_torn(seed: u64, max: usize, s: &Shared) {
    let (mut rng, mut at) = (Rng::new(seed), 0);
    while (at as u64) < s.get(1) {
        at += rng.within(1, max);
    }
    assert_eq!(at as u64, s.get(1), "the last write was torn");
}

both_worlds!(
    all_acknowledged_small_writes_survive_kill_9,
    worlds = all,
    timeout = 60,
    {
        for seed in 0..40 {
            kill_in_a_storm_of_writes(seed, PIPE_BUF);
        }
    }
);

both_worlds!(
    all_acknowledged_tiny_writes_survive_kill_9,
    worlds = all,
    timeout = 60,
    {
        for seed in 100..140 {
            kill_in_a_storm_of_writes(seed, 16);
        }
    }
);

both_worlds!(
    all_acknowledged_large_writes_survive_kill_9,
    worlds = all,
    timeout = 60,
    {
        for seed in 200..240 {
            kill_in_a_storm_of_writes(seed, 150_000);
        }
    }
);

both_worlds!(
    what_a_killed_reader_did_not_read_is_there_for_the_next,
    worlds = all,
    timeout = 60,
    {
        for seed in 300..340 {
            let mut rng = Rng::new(seed);
            let (p, s) = (pipe(), Shared::new());
            let Pipe { r, w } = p;
            let reader = fork_run(|| {
                let mut at = 0;
                loop {
                    at += read_n(&r, 100).unwrap().len();
                    s.set(0, at as u64);
                }
            });
            let writer = fork_run(move || {
                for i in 0..400 {
                    write_all(&w, &stream(i * 1000, 1000));
                }
            });
            s.wait_for(0, 1);
            pause(Duration::from_micros(rng.below(1500) as u64));
            reader.kill_9();
            // It may have taken one piece more than it told.
            let rest = read_to_end(&r);
            writer.succeeds();
            let (told, taken) = (s.get(0) as usize, 400_000 - rest.len());
            assert!(
                (told..=told + 100).contains(&taken),
                "told {told}, taken {taken}"
            );
            assert!(rest == stream(taken, rest.len()));
        }
    }
);

const RECORD: usize = 512;

/// A record that tells writer and number, and proves that it is whole.
fn record(writer: u8, number: u32) -> Vec<u8> {
    let mut bytes = vec![writer; RECORD];
    bytes[1..5].copy_from_slice(&number.to_ne_bytes());
    bytes[5..RECORD].copy_from_slice(&stream(
        number as usize * 7 + usize::from(writer),
        RECORD - 5,
    ));
    bytes
}

/// All records have one size that divides a page, so each read gets exactly one.
fn read_records(r: &Fd) {
    let mut last = [None; 2];
    loop {
        let got = read_n(r, RECORD).unwrap();
        if got.is_empty() {
            break;
        }
        assert_eq!(got.len(), RECORD, "a torn record");
        let number = u32::from_ne_bytes(got[1..5].try_into().unwrap());
        assert!(got == record(got[0], number), "a mangled record");
        let last = &mut last[usize::from(got[0])];
        assert!(last.is_none_or(|before| before < number), "out of order");
        *last = Some(number);
    }
}

fn write_records(w: &Fd, writer: u8) {
    for number in 0..500 {
        match write(w, &record(writer, number)) {
            Ok(n) => assert_eq!(n, RECORD),
            Err(e) => return assert_eq!(e, EPIPE),
        }
    }
}

/// Two writers and two readers; one to three of them are killed at random instants.
fn kill_some_of_four(seed: u64) {
    let mut rng = Rng::new(seed);
    let (p, s) = (pipe(), Shared::new());
    let Pipe { r, w } = p;
    let mut lives: Vec<Child> = Vec::new();
    for i in 0..4 {
        lives.push(fork_run(|| {
            close(if i < 2 { &r } else { &w }).unwrap();
            s.barrier(0, 5);
            match i {
                0 | 1 => write_records(&w, i),
                _ => read_records(&r),
            }
        }));
    }
    drop((r, w));
    s.barrier(0, 5);
    for _ in 0..rng.within(1, 3) {
        pause(Duration::from_micros(rng.below(700) as u64));
        let victim = lives.swap_remove(rng.below(lives.len()));
        victim.kill(SIGKILL);
        victim.wait(); // it may have ended by itself
    }
    // If both readers are dead, the writers get EPIPE; if both writers are, the readers end of file.
    all_succeed(lives);
}

both_worlds!(
    survivors_of_kill_9_never_hang_and_records_are_never_torn,
    worlds = all,
    timeout = 120,
    {
        signal::ignore(SIGPIPE);
        for seed in 0..100 {
            kill_some_of_four(seed);
        }
    }
);

both_worlds!(
    a_process_of_many_threads_is_killed_in_the_midst_of_writes,
    worlds = all,
    timeout = 60,
    {
        for seed in 0..20 {
            let (p, s) = (pipe(), Shared::new());
            let Pipe { r, w } = p;
            let child = fork_run(move || {
                std::thread::scope(|scope| {
                    for writer in 0..2 {
                        let w = &w;
                        scope.spawn(move || {
                            for number in 0.. {
                                assert_eq!(write(w, &record(writer, number)), Ok(RECORD));
                                s.set(0, 1);
                            }
                        });
                    }
                });
            });
            let reader = fork_run(move || read_records(&r));
            s.wait_for(0, 1);
            pause(Duration::from_micros(seed * 100));
            child.kill_9();
            reader.succeeds();
        }
    }
);

both_worlds!(
    a_whole_group_is_killed_at_once,
    worlds = all,
    timeout = 60,
    {
        for seed in 0..20 {
            let (p, s) = (pipe(), Shared::new());
            let Pipe { r, w } = p;
            let leader = fork_run(|| {
                // SAFETY: numbers.
                unsafe { libc::setpgid(0, 0) };
                for writer in 0..2 {
                    fork_run(|| {
                        for number in 0.. {
                            assert_eq!(write(&w, &record(writer, number)), Ok(RECORD));
                            s.set(usize::from(writer), 1);
                        }
                    })
                    .leak();
                }
                s.set(2, 1);
                s.wait_for(511, 1);
            });
            drop(w);
            let reader = fork_run(move || read_records(&r));
            (0..3).for_each(|i| s.wait_for(i, 1));
            pause(Duration::from_micros(seed * 100));
            signal::kill(-leader.pid(), SIGKILL);
            assert_eq!(leader.wait().signal(), Some(SIGKILL));
            reader.succeeds();
        }
    }
);

both_worlds!(
    ends_that_nobody_uses_are_closed_by_kill_9_too,
    worlds = all,
    timeout = 60,
    {
        // Twenty processes hold twenty pipes each, and never touch them.
        let pipes: Vec<Pipe> = (0..20).map(|_| nonblocking_pipe()).collect();
        let s = Shared::new();
        let holders: Vec<Child> = (0..20)
            .map(|_| {
                fork_run(|| {
                    s.bump(0);
                    s.wait_for(511, 1);
                })
            })
            .collect();
        s.wait_for(0, 20);
        let readers: Vec<Fd> = pipes.into_iter().map(|p| p.r).collect();
        for r in &readers {
            assert_eq!(read_n(r, 1), Err(EAGAIN));
        }
        holders.into_iter().for_each(Child::kill_9);
        for r in &readers {
            assert_eq!(read_n(r, 1), Ok(vec![]));
        }
    }
);
