//! End of file, EPIPE and SIGPIPE, wrong directions and closed descriptors.
//! See pipe(7) "I/O on pipes and FIFOs", read(2), write(2).

use ringer_support::prelude::*;

both_worlds!(an_empty_pipe_without_writers_is_at_end_of_file_for_ever, {
    let p = pipe();
    drop(p.w);
    for _ in 0..3 {
        assert_eq!(read_n(&p.r, 10), Ok(vec![]));
    }
    set_nonblocking(&p.r, true);
    assert_eq!(read_n(&p.r, 10), Ok(vec![]));
});

both_worlds!(data_is_read_before_end_of_file, {
    let p = pipe();
    write_all(&p.w, &stream(0, 10_000));
    drop(p.w);
    assert_eq!(read_n(&p.r, 3000), Ok(stream(0, 3000)));
    assert_eq!(read_n(&p.r, 100_000), Ok(stream(3000, 7000)));
    assert_eq!(read_n(&p.r, 1), Ok(vec![]));
});

both_worlds!(an_empty_pipe_with_a_writer_is_eagain_not_end_of_file, {
    let p = nonblocking_pipe();
    assert_eq!(read_n(&p.r, 1), Err(EAGAIN));
    write_all(&p.w, b"x");
    assert_eq!(read_n(&p.r, 1), Ok(b"x".to_vec()));
    assert_eq!(read_n(&p.r, 1), Err(EAGAIN));
    drop(p.w);
    assert_eq!(read_n(&p.r, 1), Ok(vec![]));
});

both_worlds!(a_duplicate_of_the_write_end_keeps_end_of_file_away, {
    let p = nonblocking_pipe();
    let copy = dup(&p.w).unwrap();
    drop(p.w);
    assert_eq!(read_n(&p.r, 1), Err(EAGAIN));
    write_all(&copy, b"y");
    drop(copy);
    assert_eq!(read_n(&p.r, 9), Ok(b"y".to_vec()));
    assert_eq!(read_n(&p.r, 9), Ok(vec![]));
});

both_worlds!(a_duplicate_of_the_read_end_keeps_epipe_away, {
    let p = pipe();
    let copy = dup(&p.r).unwrap();
    drop(p.r);
    assert_eq!(write(&p.w, b"z"), Ok(1));
    assert_eq!(read_n(&copy, 9), Ok(b"z".to_vec()));
    drop(copy);
    assert_eq!(write(&p.w, b"z"), Err(EPIPE));
});

both_worlds!(a_child_that_holds_the_write_end_keeps_end_of_file_away, {
    let (p, s) = (nonblocking_pipe(), Shared::new());
    let (r, w) = (p.r, p.w);
    let child = fork_run(move || {
        s.wait_for(0, 1);
        drop(w);
        s.set(1, 1);
        s.wait_for(0, 2);
    });
    assert_eq!(read_n(&r, 1), Err(EAGAIN));
    s.set(0, 1);
    s.wait_for(1, 1);
    assert_eq!(read_n(&r, 1), Ok(vec![]));
    s.set(0, 2);
    child.succeeds();
});

both_worlds!(writing_without_readers_is_epipe_if_sigpipe_is_ignored, {
    signal::ignore(SIGPIPE);
    let p = pipe();
    write_all(&p.w, b"lost");
    drop(p.r);
    for len in [1, 4096, 4097, 100_000] {
        assert_eq!(write(&p.w, &stream(0, len)), Err(EPIPE), "{len} bytes");
    }
    set_nonblocking(&p.w, true);
    assert_eq!(write(&p.w, b"x"), Err(EPIPE));
});

both_worlds!(a_full_pipe_without_readers_is_epipe_not_eagain, {
    signal::ignore(SIGPIPE);
    let p = nonblocking_pipe();
    fill(&p.w);
    drop(p.r);
    assert_eq!(write(&p.w, b"x"), Err(EPIPE));
    set_nonblocking(&p.w, false);
    assert_eq!(write(&p.w, b"x"), Err(EPIPE));
});

both_worlds!(sigpipe_kills_by_default, {
    let child = fork_run(|| {
        signal::default(SIGPIPE);
        let p = pipe();
        drop(p.r);
        let _ = write(&p.w, b"x");
        panic!("survived SIGPIPE");
    });
    assert_eq!(child.wait().signal(), Some(SIGPIPE));
});

both_worlds!(sigpipe_kills_a_nonblocking_writer_too, {
    let child = fork_run(|| {
        signal::default(SIGPIPE);
        let p = nonblocking_pipe();
        fill(&p.w);
        drop(p.r);
        let _ = write(&p.w, b"x");
        panic!("survived SIGPIPE");
    });
    assert_eq!(child.wait().signal(), Some(SIGPIPE));
});

both_worlds!(a_sigpipe_handler_runs_once_for_each_failing_write, {
    signal::count(SIGPIPE, 0);
    let p = pipe();
    drop(p.r);
    for n in 1..=3 {
        assert_eq!(write(&p.w, b"x"), Err(EPIPE));
        assert_eq!(signal::seen(SIGPIPE), n);
    }
    assert_eq!(signal::code(SIGPIPE), libc::SI_USER);
    assert_eq!(signal::sender(SIGPIPE), getpid());
});

both_worlds!(
    the_sigpipe_handler_runs_with_sa_restart_too_and_the_write_fails,
    {
        signal::count(SIGPIPE, SA_RESTART);
        let p = pipe();
        drop(p.r);
        assert_eq!(write(&p.w, &stream(0, 200_000)), Err(EPIPE));
        assert_eq!(signal::seen(SIGPIPE), 1);
    }
);

both_worlds!(a_blocked_sigpipe_stays_pending_for_the_writing_thread, {
    signal::count(SIGPIPE, 0);
    signal::block(&[SIGPIPE]);
    let p = pipe();
    drop(p.r);
    assert_eq!(write(&p.w, b"x"), Err(EPIPE));
    assert!(signal::is_pending(SIGPIPE));
    let other = std::thread::spawn(|| signal::is_pending(SIGPIPE));
    assert!(!other.join().unwrap(), "SIGPIPE is private to the writer");
    assert_eq!(signal::seen(SIGPIPE), 0);
    signal::unblock(&[SIGPIPE]);
    assert_eq!(signal::seen(SIGPIPE), 1);
});

both_worlds!(
    an_empty_write_without_readers_succeeds_and_sends_no_signal,
    {
        signal::count(SIGPIPE, 0);
        let p = pipe();
        drop(p.r);
        assert_eq!(write(&p.w, b""), Ok(0));
        assert_eq!(writev(&p.w, &[]), Ok(0));
        assert_eq!(signal::seen(SIGPIPE), 0);
    }
);

both_worlds!(splicing_into_a_pipe_without_readers_is_epipe_and_sigpipe, {
    signal::count(SIGPIPE, 0);
    let (from, to) = (pipe(), pipe());
    write_all(&from.w, b"abc");
    drop(to.r);
    assert_eq!(
        ringer_support::transfer::splice(&from.r, &to.w, 3, 0),
        Err(EPIPE)
    );
    assert_eq!(signal::seen(SIGPIPE), 1);
    assert_eq!(read_n(&from.r, 9), Ok(b"abc".to_vec()));
});

both_worlds!(the_reader_may_go_in_the_middle_of_a_blocking_write, {
    signal::count(SIGPIPE, 0);
    let (p, s) = (pipe(), Shared::new());
    let (r, w) = (p.r, p.w);
    let child = fork_run(move || {
        s.wait_for(0, 1);
        procfs::sleeping(s.get(1) as i32);
        assert_eq!(read_n(&r, 8192), Ok(stream(0, 8192)));
        wait_until(|| bytes_waiting(&r) == Ok(CAPACITY));
    });
    s.set(1, getpid() as u64);
    s.set(0, 1);
    // 16 buffers went in at once, two more after the read; then the reader was gone.
    assert_eq!(write(&w, &stream(0, 200_000)), Ok(CAPACITY + 8192));
    assert_eq!(signal::seen(SIGPIPE), 1);
    child.succeeds();
});

both_worlds!(
    the_reader_may_go_before_a_blocked_write_has_done_anything,
    {
        signal::count(SIGPIPE, 0);
        let (p, s) = (pipe(), Shared::new());
        set_nonblocking(&p.w, true);
        fill(&p.w);
        set_nonblocking(&p.w, false);
        let (r, w) = (p.r, p.w);
        let child = fork_run(move || {
            s.wait_for(0, 1);
            procfs::sleeping(s.get(1) as i32);
            drop(r);
            s.wait_for(0, 2);
        });
        s.set(1, getpid() as u64);
        s.set(0, 1);
        assert_eq!(write(&w, b"one more"), Err(EPIPE));
        assert_eq!(signal::seen(SIGPIPE), 1);
        s.set(0, 2);
        child.succeeds();
    }
);

both_worlds!(the_last_writer_may_go_while_a_reader_is_blocked, {
    let (p, s) = (pipe(), Shared::new());
    let (r, w) = (p.r, p.w);
    let child = fork_run(move || {
        s.wait_for(0, 1);
        procfs::sleeping(s.get(1) as i32);
        drop(w);
        s.wait_for(0, 2);
    });
    s.set(1, getpid() as u64);
    s.set(0, 1);
    assert_eq!(read_n(&r, 10), Ok(vec![]));
    s.set(0, 2);
    child.succeeds();
});

both_worlds!(the_wrong_direction_is_ebadf, {
    let p = pipe();
    let mut buf = [0; 4];
    assert_eq!(read(&p.w, &mut buf), Err(EBADF));
    assert_eq!(write(&p.r, b"x"), Err(EBADF));
    assert_eq!(read(&p.w, &mut []), Err(EBADF));
    assert_eq!(write(&p.r, &[]), Err(EBADF));
    assert_eq!(writev(&p.r, &[]), Err(EBADF));
    assert_eq!(readv(&p.w, &[]), Err(EBADF));
    // Whatever state the other end is in, and whatever the pointer.
    assert_eq!(read_span(&p.w, NULL), Err(EBADF));
    assert_eq!(write_span(&p.r, KERNEL), Err(EBADF));
    let (r, w) = (p.r, p.w);
    drop(w);
    assert_eq!(write(&r, b"x"), Err(EBADF));
    let q = pipe();
    drop(q.r);
    assert_eq!(read(&q.w, &mut buf), Err(EBADF));
});

both_worlds!(a_closed_descriptor_is_ebadf_for_everything, {
    let p = pipe();
    let (r, w) = (p.r.number(), p.w.number());
    assert_eq!(close(r), Ok(0));
    assert_eq!(p.w.close(), Ok(0));
    std::mem::forget(p.r);
    let mut buf = [0; 4];
    for fd in [r, w, -1, 1_000_000, i32::MIN, i32::MAX] {
        assert_eq!(read(fd, &mut buf), Err(EBADF), "{fd}");
        assert_eq!(write(fd, b"x"), Err(EBADF), "{fd}");
        assert_eq!(read(fd, &mut []), Err(EBADF), "{fd}");
        assert_eq!(write(fd, &[]), Err(EBADF), "{fd}");
        assert_eq!(close(fd), Err(EBADF), "{fd}");
        assert_eq!(dup(fd).map(drop), Err(EBADF), "{fd}");
        assert_eq!(fcntl(fd, F_GETFL, 0), Err(EBADF), "{fd}");
        assert_eq!(fcntl(fd, F_GETPIPE_SZ, 0), Err(EBADF), "{fd}");
        assert_eq!(bytes_waiting(fd), Err(EBADF), "{fd}");
        assert_eq!(fstat(fd).map(drop), Err(EBADF), "{fd}");
    }
});

both_worlds!(a_descriptor_closed_once_can_not_be_closed_again, {
    let p = pipe();
    let w = p.w.leak();
    assert_eq!(close(w), Ok(0));
    assert_eq!(close(w), Err(EBADF));
    assert_eq!(read_n(&p.r, 1), Ok(vec![]));
});

both_worlds!(
    the_number_of_a_closed_end_may_be_a_regular_file_the_next_moment,
    {
        let p = pipe();
        let r = p.r.leak();
        close(r).unwrap();
        let file = temp_file();
        assert_eq!(file.number(), r);
        assert_eq!(write(&file, b"file"), Ok(4));
        // SAFETY: numbers.
        assert_eq!(unsafe { libc::lseek(r, 0, libc::SEEK_SET) }, 0);
        assert_eq!(read_n(r, 9), Ok(b"file".to_vec()));
        assert_eq!(write(&p.w, b"x"), Err(EPIPE));
    }
);

both_worlds!(
    data_outlives_the_read_end_as_long_as_the_write_end_is_open,
    {
        let p = pipe();
        write_all(&p.w, b"gone");
        let again = reopen(&p.w, O_RDONLY | O_NONBLOCK).unwrap();
        drop(p.r);
        // Another reader was there all the time, so nothing is gone.
        assert_eq!(read_n(&again, 9), Ok(b"gone".to_vec()));
        drop(again);
        assert_eq!(write(&p.w, b"x"), Err(EPIPE));
        // Nobody could read for a while: what is there stays there, as long as any end is open.
        let q = pipe();
        write_all(&q.w, b"kept");
        drop(q.r);
        let late = reopen(&q.w, O_RDONLY | O_NONBLOCK).unwrap();
        assert_eq!(read_n(&late, 9), Ok(b"kept".to_vec()));
        assert_eq!(write(&q.w, b"x"), Ok(1));
    }
);
