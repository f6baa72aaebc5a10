//! Who waits for whom. See pipe(7) "I/O on pipes and FIFOs".

use std::time::Duration;

use ringer_support::prelude::*;

both_worlds!(a_blocked_read_is_woken_by_a_write, {
    let (p, s) = (pipe(), Shared::new());
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(read_n(&p.r, 100), Ok(b"wake up".to_vec()));
    });
    s.wait_for(0, 1);
    child.sleeping();
    assert_eq!(write(&p.w, b"wake up"), Ok(7));
    child.succeeds();
});

both_worlds!(a_blocked_write_is_woken_by_a_read, {
    let (p, s) = (pipe(), Shared::new());
    write_all(&p.w, &stream(0, CAPACITY));
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(write(&p.w, &stream(CAPACITY, 100)), Ok(100));
    });
    s.wait_for(0, 1);
    child.sleeping();
    assert!(read_exactly(&p.r, CAPACITY) == stream(0, CAPACITY));
    child.succeeds();
    assert_eq!(read_n(&p.r, 200), Ok(stream(CAPACITY, 100)));
});

both_worlds!(a_blocked_thread_is_woken_by_another_thread, {
    let p = pipe();
    let s = Shared::new();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            s.set(0, gettid() as u64);
            read_n(&p.r, 100)
        });
        s.wait_for(0, 1);
        procfs::thread_sleeping(s.get(0) as i32);
        assert_eq!(write(&p.w, b"thread"), Ok(6));
        assert_eq!(reader.join().unwrap(), Ok(b"thread".to_vec()));
        write_all(&p.w, &stream(0, CAPACITY));
        let writer = scope.spawn(|| {
            s.set(1, gettid() as u64);
            write(&p.w, b"more")
        });
        s.wait_for(1, 1);
        procfs::thread_sleeping(s.get(1) as i32);
        assert!(read_n(&p.r, PAGE).unwrap() == stream(0, PAGE));
        assert_eq!(writer.join().unwrap(), Ok(4));
    });
});

both_worlds!(a_read_does_not_wait_for_more_than_there_is, {
    let p = pipe();
    write_all(&p.w, b"few");
    assert_eq!(read_n(&p.r, 100_000), Ok(b"few".to_vec()));
});

both_worlds!(a_large_blocking_write_ends_when_everything_is_written, {
    let p = pipe();
    let total = 1_000_003;
    let child = fork_run(|| {
        assert_eq!(write(&p.w, &stream(0, total)), Ok(total));
    });
    let mut rng = Rng::new(3);
    let mut have = 0;
    while have < total {
        let got = read_n(&p.r, rng.within(1, 30_000)).unwrap();
        assert!(got == stream(have, got.len()), "at {have}");
        have += got.len();
    }
    child.succeeds();
});

both_worlds!(a_blocked_small_write_goes_in_whole_or_not_yet, {
    let (p, s) = (pipe(), Shared::new());
    write_all(&p.w, &stream(0, CAPACITY));
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(write(&p.w, &stream(CAPACITY, PIPE_BUF)), Ok(PIPE_BUF));
        s.set(0, 2);
    });
    s.wait_for(0, 1);
    child.sleeping();
    // The first buffer is still in use by its last byte.
    read_exactly(&p.r, PAGE - 1);
    child.sleeping();
    assert_eq!(
        (s.get(0), bytes_waiting(&p.r)),
        (1, Ok(CAPACITY - PAGE + 1))
    );
    read_exactly(&p.r, 1);
    child.succeeds();
    assert_eq!(bytes_waiting(&p.r), Ok(CAPACITY));
});

both_worlds!(
    a_blocked_large_write_takes_each_buffer_as_it_becomes_free,
    {
        let (p, s) = (pipe(), Shared::new());
        let child = fork_run(|| {
            s.set(0, 1);
            assert_eq!(
                write(&p.w, &stream(0, CAPACITY + 10_000)),
                Ok(CAPACITY + 10_000)
            );
            s.set(0, 2);
        });
        s.wait_for(0, 1);
        child.sleeping();
        assert_eq!(bytes_waiting(&p.r), Ok(CAPACITY));
        for page in 0..2 {
            read_exactly(&p.r, PAGE);
            wait_until(|| bytes_waiting(&p.r) == Ok(CAPACITY));
            assert_eq!(s.get(0), 1, "after {page} pages");
        }
        read_exactly(&p.r, PAGE);
        child.succeeds();
        let left = CAPACITY + 10_000 - 3 * PAGE;
        assert!(read_exactly(&p.r, left) == stream(3 * PAGE, left));
    }
);

both_worlds!(a_zero_length_write_wakes_no_reader, {
    let (p, s) = (pipe(), Shared::new());
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(read_n(&p.r, 10), Ok(b"data".to_vec()));
        s.set(0, 2);
    });
    s.wait_for(0, 1);
    child.sleeping();
    assert_eq!(write(&p.w, b""), Ok(0));
    child.sleeping();
    assert_eq!(s.get(0), 1);
    write_all(&p.w, b"data");
    child.succeeds();
});

both_worlds!(two_readers_blocked_for_a_byte_each_get_one_of_two, {
    let (p, s) = (pipe(), Shared::new());
    let reader = |i: usize| {
        move |r: &Fd| {
            s.set(i, 1);
            let byte = read_n(r, 1).unwrap();
            s.set(i, 100 + u64::from(byte[0]));
        }
    };
    let a = fork_run(|| reader(0)(&p.r));
    let b = fork_run(|| reader(1)(&p.r));
    s.wait_for(0, 1);
    s.wait_for(1, 1);
    a.sleeping();
    b.sleeping();
    assert_eq!(write(&p.w, &[1, 2]), Ok(2));
    a.succeeds();
    b.succeeds();
    let mut got = [s.get(0), s.get(1)];
    got.sort_unstable();
    assert_eq!(got, [101, 102]);
});

both_worlds!(
    of_two_blocked_readers_one_gets_all_and_the_other_end_of_file,
    {
        let (p, s) = (pipe(), Shared::new());
        let Pipe { r, w } = p;
        let reader = |i: usize| {
            s.set(i, 1);
            let n = read_n(&r, 10).unwrap().len();
            s.bump(10 + n);
        };
        let children = [0, 1].map(|i| {
            fork_run(|| {
                close(&w).unwrap();
                reader(i);
            })
        });
        for (i, child) in children.iter().enumerate() {
            s.wait_for(i, 1);
            child.sleeping();
        }
        assert_eq!(write(&w, b"two"), Ok(3));
        s.wait_for(13, 1);
        assert_eq!(s.get(10), 0);
        drop(w);
        all_succeed(children);
        assert_eq!((s.get(13), s.get(10)), (1, 1));
    }
);

both_worlds!(end_of_file_wakes_all_blocked_readers, {
    let (p, s) = (pipe(), Shared::new());
    let Pipe { r, w } = p;
    let children = [0, 1, 2, 3].map(|i| {
        fork_run(|| {
            close(&w).unwrap();
            s.set(i, 1);
            assert_eq!(read_n(&r, 10), Ok(vec![]));
        })
    });
    for (i, child) in children.iter().enumerate() {
        s.wait_for(i, 1);
        child.sleeping();
    }
    drop(w);
    all_succeed(children);
});

both_worlds!(epipe_wakes_all_blocked_writers, {
    signal::ignore(SIGPIPE);
    let (p, s) = (pipe(), Shared::new());
    write_all(&p.w, &stream(0, CAPACITY));
    let Pipe { r, w } = p;
    let children = [0, 1, 2, 3].map(|i| {
        fork_run(|| {
            close(&r).unwrap();
            s.set(i, 1);
            assert_eq!(write(&w, b"x"), Err(EPIPE));
        })
    });
    for (i, child) in children.iter().enumerate() {
        s.wait_for(i, 1);
        child.sleeping();
    }
    drop(r);
    all_succeed(children);
});

// Having waited, Linux does not try to merge again (fs/pipe.c, anon_pipe_write): a blocked write of
// 5 bytes takes a whole buffer, and the next one waits on.
both_worlds!(a_write_that_had_to_wait_takes_a_buffer_of_its_own, {
    let (p, s) = (pipe(), Shared::new());
    write_all(&p.w, &stream(0, CAPACITY));
    let children = [0, 1, 2].map(|i| {
        let child = fork_run(|| {
            s.set(i, 1);
            assert_eq!(write(&p.w, &[i as u8; 5]), Ok(5));
            s.bump(3);
        });
        s.wait_for(i, 1);
        child.sleeping();
        child
    });
    for done in 1..=3 {
        read_exactly(&p.r, PAGE);
        s.wait_for(3, done);
        assert_eq!(
            bytes_waiting(&p.r),
            Ok(CAPACITY - done as usize * (PAGE - 5))
        );
        for child in &children[done as usize..] {
            child.sleeping();
        }
        assert_eq!(s.get(3), done);
    }
    all_succeed(children);
    // The last buffer has room for one that does not wait.
    set_nonblocking(&p.w, true);
    assert_eq!(write(&p.w, &[9; PAGE - 4]), Err(EAGAIN));
    assert_eq!(write(&p.w, &[9; PAGE - 5]), Ok(PAGE - 5));
});

/// Sleepers of ringer look up now and then, each at a moment of its own: that must not cost them
/// their places.
const UNEVEN: Duration = Duration::from_millis(7);
const LONG: Duration = Duration::from_millis(70);

both_worlds!(blocked_writers_are_served_first_come_first_served, {
    let (p, s) = (pipe(), Shared::new());
    write_all(&p.w, &stream(0, CAPACITY));
    let children = [0, 1, 2, 3].map(|i| {
        let child = fork_run(|| {
            s.set(i, 1);
            assert_eq!(write(&p.w, &[i as u8; 100]), Ok(100));
            s.bump(9);
        });
        s.wait_for(i, 1);
        child.sleeping();
        pause(UNEVEN);
        child
    });
    pause(LONG);
    for served in 1..=4 {
        read_exactly(&p.r, PAGE);
        s.wait_for(9, served);
    }
    all_succeed(children);
    read_exactly(&p.r, CAPACITY - 4 * PAGE);
    let order: Vec<u8> = read_exactly(&p.r, 400).chunks(100).map(|c| c[0]).collect();
    assert_eq!(order, [0, 1, 2, 3]);
});

both_worlds!(blocked_readers_are_served_first_come_first_served, {
    let (p, s) = (pipe(), Shared::new());
    let children = [0, 1, 2, 3].map(|i| {
        let child = fork_run(|| {
            s.set(i, 1);
            let got = read_n(&p.r, 10).unwrap();
            s.set(10 + i, u64::from(got[0]));
            s.bump(9);
        });
        s.wait_for(i, 1);
        child.sleeping();
        pause(UNEVEN);
        child
    });
    pause(LONG);
    for served in 1..=4 {
        write_all(&p.w, &[served as u8]);
        s.wait_for(9, served);
    }
    all_succeed(children);
    assert_eq!([10, 11, 12, 13].map(|i| s.get(i)), [1, 2, 3, 4]);
});

both_worlds!(setting_o_nonblock_does_not_end_a_read_that_already_waits, {
    let (p, s) = (pipe(), Shared::new());
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(read_n(&p.r, 10), Ok(b"late".to_vec()));
        assert_eq!(read_n(&p.r, 10), Err(EAGAIN));
    });
    s.wait_for(0, 1);
    child.sleeping();
    set_nonblocking(&p.r, true);
    child.sleeping();
    write_all(&p.w, b"late");
    child.succeeds();
});

both_worlds!(closing_the_number_does_not_end_a_read_that_already_waits, {
    let p = pipe();
    let s = Shared::new();
    let (r, w) = (p.r.leak(), p.w);
    let reader = std::thread::spawn(move || {
        s.set(0, gettid() as u64);
        read_n(r, 10)
    });
    s.wait_for(0, 1);
    procfs::thread_sleeping(s.get(0) as i32);
    assert_eq!(close(r), Ok(0));
    procfs::thread_sleeping(s.get(0) as i32);
    // The thread in read(2) still is a reader.
    assert_eq!(write(&w, b"still"), Ok(5));
    assert_eq!(reader.join().unwrap(), Ok(b"still".to_vec()));
    assert_eq!(read_n(r, 10), Err(EBADF));
    assert_eq!(write(&w, b"x"), Err(EPIPE));
});

both_worlds!(
    replacing_the_number_does_not_end_a_write_that_already_waits,
    {
        let p = pipe();
        let s = Shared::new();
        write_all(&p.w, &stream(0, CAPACITY));
        let (r, w) = (p.r, p.w.leak());
        let writer = std::thread::spawn(move || {
            s.set(0, gettid() as u64);
            write(w, &stream(CAPACITY, 2 * PAGE))
        });
        s.wait_for(0, 1);
        procfs::thread_sleeping(s.get(0) as i32);
        let file = temp_file();
        assert_eq!(dup2(&file, w), Ok(w as usize));
        assert!(read_exactly(&r, CAPACITY + 2 * PAGE) == stream(0, CAPACITY + 2 * PAGE));
        assert_eq!(writer.join().unwrap(), Ok(2 * PAGE));
        assert_eq!(read_n(&r, 1), Ok(vec![]));
        assert_eq!(fstat(&file).unwrap().st_size, 0);
    }
);
