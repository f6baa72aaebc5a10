//! poll(2), select(2) on pipes in every state, and who is woken. See pipe(7), poll(2); Linux fs/pipe.c
//! `pipe_poll`. For epoll see epoll.rs.

use ringer_support::prelude::*;

const IN: i16 = POLLIN | POLLRDNORM;
const OUT: i16 = POLLOUT | POLLWRNORM;

/// What poll(2) says of both ends.
fn ends(p: &Pipe) -> (i16, i16) {
    (poll_now(&p.r), poll_now(&p.w))
}

both_worlds!(poll_tells_every_state_of_a_pipe_with_both_ends, {
    let p = nonblocking_pipe();
    assert_eq!(ends(&p), (0, OUT), "empty");
    write_all(&p.w, b"x");
    assert_eq!(ends(&p), (IN, OUT), "a byte");
    write_all(&p.w, &stream(0, 14 * PAGE));
    assert_eq!(ends(&p), (IN, OUT), "one buffer free");
    write_all(&p.w, b"y");
    assert_eq!(ends(&p), (IN, 0), "all buffers in use, though not full");
    fill(&p.w);
    assert_eq!(ends(&p), (IN, 0), "full");
    read_exactly(&p.r, 1);
    assert_eq!(ends(&p), (IN, OUT), "the first buffer free");
    drain(&p.r);
    assert_eq!(ends(&p), (0, OUT), "empty again");
});

both_worlds!(
    a_pipe_with_all_buffers_in_use_is_not_writable_though_bytes_may_merge,
    {
        let p = nonblocking_pipe();
        for _ in 0..16 {
            write_all(&p.w, &stream(0, 2049));
        }
        assert_eq!(poll_now(&p.w), 0);
        assert_eq!(write(&p.w, b"it fits"), Ok(7));
        assert_eq!(poll_now(&p.w), 0);
    }
);

both_worlds!(space_for_poll_comes_back_by_the_buffer, {
    let p = nonblocking_pipe();
    fill(&p.w);
    read_exactly(&p.r, PAGE - 1);
    assert_eq!(poll_now(&p.w), 0);
    read_exactly(&p.r, 1);
    assert_eq!(poll_now(&p.w), OUT);
});

both_worlds!(poll_tells_a_hangup, {
    let p = nonblocking_pipe();
    drop(p.w);
    assert_eq!(poll_now(&p.r), POLLHUP);
    let p = nonblocking_pipe();
    write_all(&p.w, b"xy");
    drop(p.w);
    assert_eq!(poll_now(&p.r), IN | POLLHUP);
    read_exactly(&p.r, 1);
    assert_eq!(poll_now(&p.r), IN | POLLHUP);
    read_exactly(&p.r, 1);
    assert_eq!(poll_now(&p.r), POLLHUP);
    assert_eq!(read_n(&p.r, 1), Ok(vec![]));
    assert_eq!(poll_now(&p.r), POLLHUP);
});

both_worlds!(poll_tells_an_error_when_the_readers_are_gone, {
    let p = nonblocking_pipe();
    drop(p.r);
    assert_eq!(poll_now(&p.w), OUT | POLLERR);
    let p = nonblocking_pipe();
    fill(&p.w);
    drop(p.r);
    assert_eq!(poll_now(&p.w), POLLERR);
});

both_worlds!(a_hangup_ends_when_a_writer_comes_back, {
    let p = nonblocking_pipe();
    drop(p.w);
    assert_eq!(poll_now(&p.r), POLLHUP);
    let again = reopen(&p.r, O_WRONLY).unwrap();
    assert_eq!(poll_now(&p.r), 0);
    drop(again);
    assert_eq!(poll_now(&p.r), POLLHUP);
});

both_worlds!(poll_gives_only_what_was_asked_for_and_errors, {
    let p = nonblocking_pipe();
    write_all(&p.w, b"x");
    let revents = |fd: &Fd, events: i16| {
        let mut fds = [pollfd(fd, events)];
        let n = poll(&mut fds, 0).unwrap();
        assert_eq!(n, usize::from(fds[0].revents != 0));
        fds[0].revents
    };
    assert_eq!(revents(&p.r, POLLIN), POLLIN);
    assert_eq!(revents(&p.r, POLLRDNORM), POLLRDNORM);
    assert_eq!(revents(&p.r, POLLOUT | libc::POLLPRI), 0);
    assert_eq!(revents(&p.w, POLLOUT), POLLOUT);
    assert_eq!(revents(&p.w, POLLIN), 0);
    let Pipe { r, w } = p;
    drop(w);
    assert_eq!(revents(&r, 0), POLLHUP);
    let q = pipe();
    drop(q.r);
    assert_eq!(revents(&q.w, 0), POLLERR);
});

both_worlds!(poll_tells_closed_numbers_and_skips_negative_ones, {
    let p = pipe();
    let closed = dup(&p.r).unwrap().number(); // dropped at once
    let mut fds = [
        pollfd(closed, POLLIN),
        pollfd(&p.w, POLLOUT),
        pollfd(-1, POLLIN),
    ];
    assert_eq!(poll(&mut fds, -1), Ok(2));
    assert_eq!(
        [fds[0].revents, fds[1].revents, fds[2].revents],
        [POLLNVAL, POLLOUT, 0]
    );
    fds[1].fd = !fds[1].fd;
    assert_eq!(poll(&mut fds, 0), Ok(1));
    assert_eq!(fds[1].revents, 0);
});

both_worlds!(poll_with_a_timeout_comes_back_with_nothing, {
    let p = pipe();
    for timeout in [0, 1, 20] {
        assert_eq!(poll(&mut [pollfd(&p.r, POLLIN)], timeout), Ok(0));
        let ts = Some(milliseconds(i64::from(timeout)));
        assert_eq!(ppoll(&mut [pollfd(&p.r, POLLIN)], ts, None), Ok(0));
    }
    assert_eq!(poll(&mut [], 1), Ok(0));
    let start = std::time::Instant::now();
    assert_eq!(poll(&mut [pollfd(&p.r, POLLIN)], 30), Ok(0));
    assert!(start.elapsed().as_millis() >= 29, "poll came back early");
});

both_worlds!(ppoll_refuses_bad_times, {
    let p = pipe();
    for (tv_sec, tv_nsec) in [(-1, 0), (0, -1), (0, 1_000_000_000)] {
        let bad = Some(libc::timespec { tv_sec, tv_nsec });
        assert_eq!(ppoll(&mut [pollfd(&p.r, POLLIN)], bad, None), Err(EINVAL));
    }
});

/// A child in poll(2) without end, which expects these events; asleep when this returns.
fn poller(fd: &Fd, events: i16, expected: i16, close_first: &Fd) -> Child {
    let s = Shared::new();
    let child = fork_run(|| {
        close(close_first).unwrap();
        s.set(0, 1);
        assert_eq!(poll_until(fd, events), expected);
    });
    s.wait_for(0, 1);
    child.sleeping();
    child
}

both_worlds!(poll_is_woken_by_a_write, {
    let p = pipe();
    let child = poller(&p.r, POLLIN | POLLOUT, POLLIN, &p.w);
    write_all(&p.w, b"x");
    child.succeeds();
    assert_eq!(bytes_waiting(&p.r), Ok(1));
});

both_worlds!(poll_is_woken_when_a_buffer_becomes_free_not_before, {
    let p = pipe();
    write_all(&p.w, &stream(0, CAPACITY));
    let child = poller(&p.w, POLLOUT, POLLOUT, &p.r);
    read_exactly(&p.r, PAGE - 1);
    child.sleeping();
    read_exactly(&p.r, 1);
    child.succeeds();
});

both_worlds!(poll_is_woken_by_the_last_writers_close, {
    let p = pipe();
    let copy = dup(&p.w).unwrap();
    let child = fork_run(|| {
        close(&p.w).unwrap();
        close(&copy).unwrap();
        assert_eq!(poll_until(&p.r, POLLIN), POLLHUP);
    });
    child.sleeping();
    drop(p.w);
    child.sleeping();
    drop(copy);
    child.succeeds();
});

both_worlds!(poll_is_woken_by_the_last_readers_close, {
    let p = pipe();
    write_all(&p.w, &stream(0, CAPACITY));
    let child = poller(&p.w, POLLOUT, POLLERR, &p.r);
    drop(p.r);
    child.succeeds();
});

both_worlds!(all_who_poll_are_woken_by_one_write, {
    let p = pipe();
    let children = [0, 1, 2].map(|_| poller(&p.r, POLLIN, POLLIN, &p.w));
    write_all(&p.w, b"x");
    all_succeed(children);
});

both_worlds!(one_thread_polls_and_another_reads, {
    let p = pipe();
    for i in 0..200u8 {
        let r = p.r.number();
        let poller = std::thread::spawn(move || poll_until(r, POLLIN));
        write_all(&p.w, &[i]);
        assert_eq!(poller.join().unwrap(), POLLIN);
        assert_eq!(read_n(r, 9), Ok(vec![i]));
    }
});

both_worlds!(poll_watches_pipes_files_eventfds_and_devices_together, {
    let (p, q) = (nonblocking_pipe(), nonblocking_pipe());
    let (file, event) = (temp_file(), eventfd(0));
    let null = open("/dev/null", O_RDWR).unwrap();
    let all = || {
        let fds = [&p.r, &q.w, &file, &event, &null];
        let mut fds = fds.map(|fd| pollfd(fd, POLLIN | POLLOUT));
        let n = poll(&mut fds, 0).unwrap();
        assert_eq!(n, fds.iter().filter(|f| f.revents != 0).count());
        fds.map(|f| f.revents)
    };
    let both = POLLIN | POLLOUT;
    assert_eq!(all(), [0, POLLOUT, both, POLLOUT, both]);
    write_all(&p.w, b"x");
    fill(&q.w);
    write_all(&event, &1u64.to_ne_bytes());
    assert_eq!(all(), [POLLIN, 0, both, both, both]);
});

both_worlds!(a_pipe_wakes_a_poll_that_watches_other_things_too, {
    let (p, event, s) = (pipe(), eventfd(0), Shared::new());
    let child = fork_run(|| {
        let mut fds = [pollfd(&event, POLLIN), pollfd(&p.r, POLLIN)];
        s.set(0, 1);
        assert_eq!(poll(&mut fds, -1), Ok(1));
        assert_eq!([fds[0].revents, fds[1].revents], [0, POLLIN]);
        s.set(0, 2);
        assert_eq!(read_n(&p.r, 9), Ok(b"x".to_vec()));
        assert_eq!(poll(&mut fds, -1), Ok(1));
        assert_eq!([fds[0].revents, fds[1].revents], [POLLIN, 0]);
    });
    s.wait_for(0, 1);
    child.sleeping();
    write_all(&p.w, b"x");
    s.wait_for(0, 2);
    child.sleeping();
    write_all(&event, &1u64.to_ne_bytes());
    child.succeeds();
});

both_worlds!(select_tells_the_same_states, {
    for how in [Select::Timeval, Select::Timespec] {
        let p = nonblocking_pipe();
        let (r, w) = (p.r.number(), p.w.number());
        let states = || {
            let found = select(&[r], &[w], Some(0), how);
            assert!(!found.except.has(r) && !found.except.has(w));
            (found.count, found.read.has(r), found.write.has(w))
        };
        assert_eq!(states(), (Ok(1), false, true));
        write_all(&p.w, b"x");
        assert_eq!(states(), (Ok(2), true, true));
        fill(&p.w);
        assert_eq!(states(), (Ok(1), true, false));
        drain(&p.r);
        let Pipe { r: r_end, w: w_end } = p;
        let copy = dup(&w_end).unwrap();
        drop(w_end);
        drop(copy);
        assert!(
            select(&[r], &[], Some(0), how).read.has(r),
            "end of file is readable"
        );
        drop(r_end);
        let q = nonblocking_pipe();
        fill(&q.w);
        drop(q.r);
        let w = q.w.number();
        assert!(
            select(&[], &[w], Some(0), how).write.has(w),
            "EPIPE is writable"
        );
    }
});

both_worlds!(select_waits_for_a_write_or_its_time, {
    for how in [Select::Timeval, Select::Timespec] {
        let (p, s) = (pipe(), Shared::new());
        let r = p.r.number();
        assert_eq!(select(&[r], &[], Some(5), how).count, Ok(0));
        let child = fork_run(|| {
            s.set(0, 1);
            let found = select(&[r], &[], None, how);
            assert_eq!((found.count, found.read.has(r)), (Ok(1), true));
        });
        s.wait_for(0, 1);
        child.sleeping();
        write_all(&p.w, b"x");
        child.succeeds();
    }
});

both_worlds!(select_of_a_closed_number_is_ebadf, {
    let p = pipe();
    let closed = dup(&p.r).unwrap().number(); // dropped at once
    assert_eq!(
        select(&[p.r.number(), closed], &[], Some(0), Select::Timeval).count,
        Err(EBADF)
    );
});

both_worlds!(readiness_is_right_after_a_resize, {
    let p = nonblocking_pipe();
    fill(&p.w);
    assert_eq!(poll_now(&p.w), 0);
    set_pipe_size(&p.w, 2 * CAPACITY).unwrap();
    assert_eq!(poll_now(&p.w), OUT);
    drain(&p.r);
    write_all(&p.w, b"x");
    set_pipe_size(&p.w, PAGE).unwrap();
    assert_eq!(ends(&p), (IN, 0));
});

both_worlds!(
    polling_again_and_again_during_a_transfer_never_hangs,
    timeout = 60,
    {
        const TOTAL: usize = 5_000_000;
        let Pipe { r, w } = nonblocking_pipe();
        let child = fork_run(move || {
            let (mut rng, mut at) = (Rng::new(1), 0);
            while at < TOTAL {
                let n = rng.within(1, 20_000).min(TOTAL - at);
                match write(&w, &stream(at, n)) {
                    Ok(n) => at += n,
                    Err(e) => {
                        assert_eq!(e, EAGAIN);
                        assert_eq!(poll_until(&w, POLLOUT), POLLOUT);
                    }
                }
            }
        });
        let (mut rng, mut at) = (Rng::new(2), 0);
        loop {
            match read_n(&r, rng.within(1, 30_000)) {
                Ok(got) if got.is_empty() => break,
                Ok(got) => {
                    assert!(got == stream(at, got.len()), "at {at}");
                    at += got.len();
                }
                Err(e) => {
                    assert_eq!(e, EAGAIN);
                    poll_until(&r, POLLIN);
                }
            }
        }
        assert_eq!(at, TOTAL);
        child.succeeds();
    }
);

both_worlds!(
    who_polls_a_hang_up_reads_the_end_of_file_and_never_eagain,
    {
        let ways: [fn(Fd); 3] = [
            drop,
            |w| {
                dup2(0, &w).unwrap();
                w.leak();
            },
            |w| {
                w.leak(); // exit closes it
            },
        ];
        for round in 0..300 {
            let Pipe { r, w } = nonblocking_pipe();
            let go = pipe();
            let way = ways[round % ways.len()];
            let writer = fork_run({
                let (r, go_w) = (r.number(), go.w.number());
                move || {
                    close(r).unwrap();
                    close(go_w).unwrap();
                    write_all(&w, b"used"); // so that it vouches for its end
                    read_n(&go.r, 1).unwrap();
                    way(w);
                }
            });
            assert_eq!(poll_until(&r, POLLIN) & POLLIN, POLLIN);
            assert_eq!(read_n(&r, 10), Ok(b"used".to_vec()));
            write_all(&go.w, b"!");
            while poll_now(&r) & POLLHUP == 0 {}
            assert_eq!(read_n(&r, 10), Ok(vec![]), "round {round}");
            writer.succeeds();
        }
    }
);
