//! Many of everything, and what it costs: thousands of pipes, a thousand processes, and the arena's
//! size before, during and after.

mod arena;

use ringer_support::check;
use ringer_support::prelude::*;

/// Lets this process have so many descriptors. `false`: it may not.
pub fn allow_descriptors(n: u64) -> bool {
    let limit = libc::rlimit {
        rlim_cur: n,
        rlim_max: n,
    };
    let mut now = limit;
    // SAFETY: a valid rlimit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut now) }).expect("getrlimit");
    if now.rlim_max >= n {
        limit_descriptors(n);
        return true;
    }
    // SAFETY: a valid rlimit.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0 }
}

both_worlds!(
    ten_thousand_pipes_in_one_process_keep_their_bytes,
    timeout = 120,
    {
        const PIPES: usize = 10_000;
        if !allow_descriptors(2 * PIPES as u64 + 100) {
            eprintln!("skipped: this user may not have {} descriptors", 2 * PIPES);
            return;
        }
        let byte = |i: usize| (i * 7 % 251) as u8;
        let pipes: Vec<Pipe> = (0..PIPES).map(|_| pipe()).collect();
        for (i, p) in pipes.iter().enumerate() {
            assert_eq!(write(&p.w, &[byte(i)]), Ok(1), "pipe {i}");
        }
        for (i, p) in pipes.iter().enumerate().rev() {
            assert_eq!(read_n(&p.r, 9), Ok(vec![byte(i)]), "pipe {i}");
        }
        // A child has them all, and each end is still one of two.
        let (first, last) = (&pipes[0], &pipes[PIPES - 1]);
        let child = fork_run(|| {
            assert_eq!(write(&last.w, b"child"), Ok(5));
            assert_eq!(read_n(&first.r, 9), Ok(b"parent".to_vec()));
        });
        write_all(&first.w, b"parent");
        assert_eq!(read_n(&last.r, 9), Ok(b"child".to_vec()));
        child.succeeds();
        for (i, p) in pipes.into_iter().enumerate() {
            drop(p.w);
            assert_eq!(read_n(&p.r, 9), Ok(vec![]), "pipe {i}");
        }
    }
);

/// What each of the thousand does: waits for a question, and answers with its number.
fn answer(questions: &Fd, answers: &Fd, number: u32) {
    assert_eq!(read_n(questions, 1), Ok(b"?".to_vec()));
    assert_eq!(write(answers, &number.to_ne_bytes()), Ok(4));
}

both_worlds!(
    a_thousand_processes_in_one_session_answer_and_exit,
    worlds = all,
    timeout = 180,
    {
        const BRANCHES: u32 = 20;
        const LEAVES: u32 = 49;
        const ALL: u32 = BRANCHES * (1 + LEAVES);
        let (questions, answers, s) = (pipe(), pipe(), Shared::new());
        let branches: Vec<Child> = (0..BRANCHES)
            .map(|branch| {
                fork_run(|| {
                    close(&questions.w).unwrap();
                    close(&answers.r).unwrap();
                    let first = branch * (1 + LEAVES);
                    let leaf = |number| {
                        let (q, a) = (&questions.r, &answers.w);
                        fork_run(move || {
                            s.bump(0);
                            answer(q, a, number);
                        })
                    };
                    let leaves: Vec<Child> = (1..=LEAVES).map(|i| leaf(first + i)).collect();
                    s.bump(0);
                    answer(&questions.r, &answers.w, first);
                    all_succeed(leaves);
                })
            })
            .collect();
        let Pipe { r, w: answers_w } = answers;
        let Pipe { r: questions_r, w } = questions;
        drop((answers_w, questions_r));
        s.wait_for(0, ALL.into());
        write_all(&w, &vec![b'?'; ALL as usize]);
        let all = read_exactly(&r, 4 * ALL as usize);
        let number = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().expect("four bytes"));
        let mut numbers: Vec<u32> = all.chunks_exact(4).map(number).collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..ALL), "each answers once");
        all_succeed(branches);
        assert_eq!(read_n(&r, 1), Ok(vec![]), "nobody holds the other end");
    }
);

both_worlds!(
    a_chain_of_two_hundred_generations_hands_a_byte_down,
    timeout = 120,
    {
        fn descend(from: &Fd, left: u32) {
            if left == 0 {
                assert_eq!(read_n(from, 9), Ok(b"down".to_vec()));
                return;
            }
            let next = pipe();
            let child = fork_run(|| descend(&next.r, left - 1));
            let word = read_n(from, 9).unwrap();
            write_all(&next.w, &word);
            child.succeeds();
        }
        let p = pipe();
        let child = fork_run(|| descend(&p.r, 200));
        write_all(&p.w, b"down");
        child.succeeds();
    }
);
