//! How much fits into a pipe, and when. See pipe(7) "Pipe capacity", "PIPE_BUF"; fcntl(2)
//! F_SETPIPE_SZ.
//!
//! Linux's pipe is an array of page-sized buffers, 16 unless changed. A write first tries to put its
//! odd bytes (its length modulo 4096) behind those of the last buffer, if they fit there; the rest
//! takes buffers of its own. The pipe is full when all buffers are in use, however little is in them.

mod model;

use model::{compare, Menu};
use ringer_support::prelude::*;

both_worlds!(sixteen_pages_fit_and_not_a_byte_more, {
    let p = nonblocking_pipe();
    for page in 0..16 {
        assert_eq!(write(&p.w, &stream(page * PAGE, PAGE)), Ok(PAGE));
    }
    assert_eq!(write(&p.w, b"x"), Err(EAGAIN));
    assert_eq!(bytes_waiting(&p.r), Ok(CAPACITY));
    assert!(read_n(&p.r, 100_000).unwrap() == stream(0, CAPACITY));
});

both_worlds!(single_bytes_merge_so_65536_of_them_fit, {
    let p = nonblocking_pipe();
    for i in 0..CAPACITY {
        assert_eq!(write(&p.w, &[byte_at(i)]), Ok(1), "byte {i}");
    }
    assert_eq!(write(&p.w, b"x"), Err(EAGAIN));
    assert!(drain(&p.r) == stream(0, CAPACITY));
});

both_worlds!(
    writes_that_do_not_fit_behind_the_last_waste_the_rest_of_its_buffer,
    {
        // (size of each write, how many fit)
        let cases = [
            (4095, 16),
            (2049, 16),
            (2048, 32),
            (1366, 32),
            (1365, 48),
            (4097, 10),
            (8191, 8),
        ];
        for (size, count) in cases {
            let p = nonblocking_pipe();
            for i in 0..count {
                assert_eq!(
                    write(&p.w, &stream(i * size, size)),
                    Ok(size),
                    "{size} bytes, no. {i}"
                );
            }
            let more = write(&p.w, &stream(count * size, size));
            assert!(
                more.map_or(true, |n| n < size),
                "one more of {size} bytes: {more:?}"
            );
        }
    }
);

both_worlds!(
    a_full_page_never_merges_so_one_byte_before_it_costs_a_buffer,
    {
        let p = nonblocking_pipe();
        assert_eq!(write(&p.w, b"x"), Ok(1));
        for _ in 0..15 {
            assert_eq!(write(&p.w, &stream(0, PAGE)), Ok(PAGE));
        }
        assert_eq!(write(&p.w, b"y"), Err(EAGAIN));
        assert_eq!(bytes_waiting(&p.r), Ok(1 + 15 * PAGE));
    }
);

both_worlds!(odd_bytes_merge_before_the_pages_of_the_same_write, {
    let p = nonblocking_pipe();
    assert_eq!(write(&p.w, &stream(0, 100)), Ok(100));
    // 3996 bytes fill the first buffer, and 15 pages the others.
    assert_eq!(
        write(&p.w, &stream(100, 3996 + 15 * PAGE)),
        Ok(3996 + 15 * PAGE)
    );
    assert_eq!(write(&p.w, b"x"), Err(EAGAIN));
    assert!(drain(&p.r) == stream(0, CAPACITY));
    // One byte more does not fit behind the 100: it takes 15 buffers, and a byte is left over.
    assert_eq!(write(&p.w, &stream(0, 100)), Ok(100));
    assert_eq!(write(&p.w, &stream(100, 3997 + 15 * PAGE)), Ok(15 * PAGE));
});

both_worlds!(sixteen_small_writes_may_fill_the_pipe, {
    let p = nonblocking_pipe();
    let mut total = 0;
    for _ in 0..16 {
        assert_eq!(write(&p.w, &stream(total, 2049)), Ok(2049));
        total += 2049;
    }
    assert_eq!(write(&p.w, &stream(total, 2049)), Err(EAGAIN));
    // What fits behind the last one still goes.
    assert_eq!(write(&p.w, &stream(total, 2047)), Ok(2047));
    assert_eq!(write(&p.w, b"x"), Err(EAGAIN));
    assert!(drain(&p.r) == stream(0, total + 2047));
});

both_worlds!(space_comes_back_by_the_buffer_not_by_the_byte, {
    let p = nonblocking_pipe();
    fill(&p.w);
    assert_eq!(read_n(&p.r, 4095).map(|v| v.len()), Ok(4095));
    assert_eq!(write(&p.w, b"x"), Err(EAGAIN));
    assert_eq!(read_n(&p.r, 1).map(|v| v.len()), Ok(1));
    assert_eq!(write(&p.w, b"x"), Ok(1));
    assert_eq!(write(&p.w, &stream(0, PAGE)), Err(EAGAIN));
    assert_eq!(write(&p.w, &stream(0, PAGE - 1)), Ok(PAGE - 1));
    assert_eq!(write(&p.w, b"x"), Err(EAGAIN));
});

both_worlds!(bytes_read_from_a_buffer_leave_a_hole_at_its_start_only, {
    let p = nonblocking_pipe();
    assert_eq!(set_pipe_size(&p.w, PAGE), Ok(PAGE));
    assert_eq!(write(&p.w, &stream(0, 3000)), Ok(3000));
    assert_eq!(read_n(&p.r, 2999), Ok(stream(0, 2999)));
    assert_eq!(write(&p.w, &stream(3000, 1097)), Err(EAGAIN));
    assert_eq!(write(&p.w, &stream(3000, 1096)), Ok(1096));
    assert_eq!(write(&p.w, b"x"), Err(EAGAIN));
    assert_eq!(read_n(&p.r, 9000), Ok(stream(2999, 1097)));
    assert_eq!(write(&p.w, &stream(0, PAGE)), Ok(PAGE));
});

both_worlds!(a_write_up_to_pipe_buf_is_all_or_nothing, {
    let mut rng = Rng::new(7);
    let p = nonblocking_pipe();
    for round in 0..2000 {
        let len = rng.within(1, PIPE_BUF);
        match write(&p.w, &stream(0, len)) {
            Ok(n) => assert_eq!(n, len, "round {round}"),
            Err(e) => {
                assert_eq!(e, EAGAIN);
                let take = rng.within(1, 20_000);
                assert!(!read_n(&p.r, take).unwrap().is_empty());
            }
        }
    }
});

both_worlds!(a_longer_write_takes_what_fits, {
    for (already, len, taken) in [
        (0, 65537, 65536),
        (0, 200_000, 65536),
        (1, 65536, 15 * PAGE),
        (15 * PAGE, 4097, 4096),
        (15 * PAGE, 8192, 4096),
        (15 * PAGE + 1, 8190, 4094),
        (15 * PAGE + 1, 4097, 1),
    ] {
        let p = nonblocking_pipe();
        write_all(&p.w, &stream(0, already));
        assert_eq!(
            write(&p.w, &stream(already, len)),
            Ok(taken),
            "{already} + {len}"
        );
        assert!(drain(&p.r) == stream(0, already + taken));
    }
});

both_worlds!(a_read_takes_what_is_there_across_buffers, {
    let p = nonblocking_pipe();
    for _ in 0..3 {
        write_all(&p.w, &stream(0, 3000));
    }
    assert_eq!(read_n(&p.r, 1000).map(|v| v.len()), Ok(1000));
    assert_eq!(read_n(&p.r, 4000).map(|v| v.len()), Ok(4000));
    assert_eq!(read_n(&p.r, 100_000).map(|v| v.len()), Ok(4000));
    assert_eq!(read_n(&p.r, 1), Err(EAGAIN));
});

both_worlds!(fionread_counts_on_both_ends, {
    let p = nonblocking_pipe();
    let mut total = 0;
    for len in [0, 1, 4095, 4096, 10_000] {
        write_all(&p.w, &stream(0, len));
        total += len;
        assert_eq!(
            (bytes_waiting(&p.r), bytes_waiting(&p.w)),
            (Ok(total), Ok(total))
        );
    }
    let r = p.r;
    drop(p.w);
    assert_eq!(read_n(&r, 5).map(|v| v.len()), Ok(5));
    assert_eq!(bytes_waiting(&r), Ok(total - 5));
});

both_worlds!(zero_length_reads_and_writes_do_nothing_in_every_state, {
    signal::count(SIGPIPE, 0);
    let p = nonblocking_pipe();
    let nothing = || {
        assert_eq!((read(&p.r, &mut []), write(&p.w, &[])), (Ok(0), Ok(0)));
    };
    nothing();
    write_all(&p.w, b"x");
    nothing();
    fill(&p.w);
    nothing();
    drain(&p.r);
    nothing();
    set_nonblocking(&p.r, false);
    set_nonblocking(&p.w, false);
    nothing(); // blocks neither
    let q = pipe();
    drop(q.w);
    assert_eq!(read(&q.r, &mut []), Ok(0));
    let q = pipe();
    drop(q.r);
    assert_eq!(write(&q.w, &[]), Ok(0));
    assert_eq!(signal::seen(SIGPIPE), 0);
});

both_worlds!(alternating_reads_and_writes_keep_the_stream, {
    let p = nonblocking_pipe();
    let (mut written, mut taken) = (0, 0);
    for round in 0..3000 {
        let size = [1, 4095, 4096, 4097, 65536][round % 5];
        if let Ok(n) = write(&p.w, &stream(written, size)) {
            written += n;
        }
        let size = [4097, 1, 65536, 4096, 4095, 300][round % 6];
        if let Ok(got) = read_n(&p.r, size) {
            assert!(got == stream(taken, got.len()), "round {round}");
            taken += got.len();
        }
    }
    assert!(drain(&p.r) == stream(taken, written - taken));
});

both_worlds!(
    the_pipe_is_as_the_model_says_over_random_sequences,
    timeout = 60,
    {
        for seed in 0..400 {
            compare(
                seed,
                120,
                Menu {
                    packets: false,
                    resizes: false,
                },
            );
        }
    }
);

both_worlds!(the_pipe_is_as_the_model_says_with_resizes, timeout = 60, {
    for seed in 0..300 {
        compare(
            1000 + seed,
            120,
            Menu {
                packets: false,
                resizes: true,
            },
        );
    }
});

both_worlds!(
    small_writes_are_as_the_model_says_over_a_long_run,
    timeout = 60,
    {
        for seed in 0..4 {
            compare(
                5000 + seed,
                8000,
                Menu {
                    packets: false,
                    resizes: false,
                },
            );
        }
    }
);
