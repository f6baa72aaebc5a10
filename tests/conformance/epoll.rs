//! epoll(7) on pipes: level- and edge-triggered, one-shot, nested, across fork.

use ringer_support::prelude::*;

both_worlds!(level_triggered_events_come_as_long_as_the_state_lasts, {
    let p = nonblocking_pipe();
    let (r, w) = (Epoll::new(), Epoll::new());
    r.add(&p.r, EPOLLIN);
    w.add(&p.w, EPOLLOUT);
    assert_eq!((r.now(), w.now()), (0, EPOLLOUT));
    write_all(&p.w, b"xy");
    for _ in 0..3 {
        assert_eq!((r.now(), w.now()), (EPOLLIN, EPOLLOUT));
    }
    read_exactly(&p.r, 1);
    assert_eq!(r.now(), EPOLLIN);
    read_exactly(&p.r, 1);
    assert_eq!(r.now(), 0);
    fill(&p.w);
    assert_eq!((r.now(), w.now()), (EPOLLIN, 0));
    read_exactly(&p.r, PAGE - 1);
    assert_eq!(w.now(), 0);
    read_exactly(&p.r, 1);
    assert_eq!(w.now(), EPOLLOUT);
});

both_worlds!(hangup_and_error_come_unasked, {
    let p = nonblocking_pipe();
    let epoll = Epoll::new();
    epoll.add(&p.r, 0);
    write_all(&p.w, b"x");
    assert_eq!(epoll.now(), 0);
    drop(p.w);
    assert_eq!(epoll.now(), EPOLLHUP);
    let q = nonblocking_pipe();
    let epoll = Epoll::new();
    epoll.add(&q.w, 0);
    drop(q.r);
    assert_eq!(epoll.now(), EPOLLERR);
});

both_worlds!(an_edge_comes_with_every_write_even_if_nobody_has_read, {
    let p = nonblocking_pipe();
    let epoll = Epoll::new();
    epoll.add(&p.r, EPOLLIN | EPOLLET);
    assert_eq!(epoll.now(), 0);
    for _ in 0..3 {
        write_all(&p.w, b"x");
        assert_eq!(epoll.now(), EPOLLIN);
        assert_eq!(epoll.now(), 0);
    }
    // Several writes before one wait are one event.
    write_all(&p.w, b"x");
    write_all(&p.w, b"x");
    assert_eq!(epoll.now(), EPOLLIN);
    assert_eq!(epoll.now(), 0);
    // Reading makes no edge, whether anything is left or not.
    read_exactly(&p.r, 1);
    assert_eq!(epoll.now(), 0);
    read_exactly(&p.r, 4);
    assert_eq!(epoll.now(), 0);
    assert_eq!(write(&p.w, b""), Ok(0));
    assert_eq!(epoll.now(), 0);
    write_all(&p.w, &stream(0, 50_000));
    assert_eq!(epoll.now(), EPOLLIN);
    assert_eq!(epoll.now(), 0);
});

// anon_pipe_write wakes those who poll whatever came of it, so even a write that fails gives an edge.
both_worlds!(even_a_write_into_a_full_pipe_is_an_edge_for_the_reader, {
    let p = nonblocking_pipe();
    let epoll = Epoll::new();
    epoll.add(&p.r, EPOLLIN | EPOLLET);
    fill(&p.w);
    assert_eq!(epoll.now(), EPOLLIN);
    assert_eq!(epoll.now(), 0);
    assert_eq!(write(&p.w, b"x"), Err(EAGAIN));
    assert_eq!(epoll.now(), EPOLLIN);
    assert_eq!(epoll.now(), 0);
});

both_worlds!(the_writers_edge_comes_only_when_a_full_pipe_gets_room, {
    let p = nonblocking_pipe();
    let epoll = Epoll::new();
    epoll.add(&p.w, EPOLLOUT | EPOLLET);
    assert_eq!(epoll.now(), EPOLLOUT);
    assert_eq!(epoll.now(), 0);
    write_all(&p.w, &stream(0, 10_000));
    assert_eq!(epoll.now(), 0);
    read_exactly(&p.r, 9_000);
    assert_eq!(epoll.now(), 0, "there was room before");
    fill(&p.w);
    read_exactly(&p.r, 999);
    assert_eq!(epoll.now(), 0, "still no buffer free");
    read_exactly(&p.r, 1);
    assert_eq!(epoll.now(), EPOLLOUT);
    assert_eq!(epoll.now(), 0);
    read_exactly(&p.r, PAGE);
    assert_eq!(epoll.now(), 0);
});

both_worlds!(growing_a_full_pipe_is_an_edge_for_the_writer, {
    let p = nonblocking_pipe();
    let epoll = Epoll::new();
    epoll.add(&p.w, EPOLLOUT | EPOLLET);
    assert_eq!(epoll.now(), EPOLLOUT);
    fill(&p.w);
    assert_eq!(epoll.now(), 0);
    set_pipe_size(&p.r, 2 * CAPACITY).unwrap();
    assert_eq!(epoll.now(), EPOLLOUT);
});

both_worlds!(closing_the_other_end_is_an_edge, {
    let p = nonblocking_pipe();
    let epoll = Epoll::new();
    epoll.add(&p.r, EPOLLIN | EPOLLET);
    write_all(&p.w, b"x");
    assert_eq!(epoll.now(), EPOLLIN);
    drop(p.w);
    assert_eq!(epoll.now(), EPOLLIN | EPOLLHUP);
    assert_eq!(epoll.now(), 0);
    read_exactly(&p.r, 1);
    assert_eq!(read_n(&p.r, 1), Ok(vec![]));
    assert_eq!(epoll.now(), 0);
    let q = nonblocking_pipe();
    let epoll = Epoll::new();
    epoll.add(&q.w, EPOLLOUT | EPOLLET);
    assert_eq!(epoll.now(), EPOLLOUT);
    drop(q.r);
    assert_eq!(epoll.now(), EPOLLOUT | EPOLLERR);
    assert_eq!(epoll.now(), 0);
});

both_worlds!(closing_one_of_two_writers_is_no_edge, {
    let p = nonblocking_pipe();
    let copy = dup(&p.w).unwrap();
    let epoll = Epoll::new();
    epoll.add(&p.r, EPOLLIN | EPOLLET);
    drop(p.w);
    assert_eq!(epoll.now(), 0);
    drop(copy);
    assert_eq!(epoll.now(), EPOLLHUP);
});

both_worlds!(an_edge_is_reported_again_after_epoll_ctl_mod, {
    let p = nonblocking_pipe();
    let epoll = Epoll::new();
    write_all(&p.w, b"x");
    epoll.add(&p.r, EPOLLIN | EPOLLET);
    assert_eq!(
        epoll.now(),
        EPOLLIN,
        "readiness at EPOLL_CTL_ADD counts as an edge"
    );
    assert_eq!(epoll.now(), 0);
    epoll.modify(&p.r, EPOLLIN | EPOLLET);
    assert_eq!(epoll.now(), EPOLLIN);
    assert_eq!(epoll.now(), 0);
});

both_worlds!(a_one_shot_fires_once_until_it_is_armed_again, {
    let p = nonblocking_pipe();
    let epoll = Epoll::new();
    epoll.add(&p.r, EPOLLIN | EPOLLONESHOT);
    write_all(&p.w, b"x");
    assert_eq!(epoll.now(), EPOLLIN);
    write_all(&p.w, b"x");
    assert_eq!(epoll.now(), 0);
    epoll.modify(&p.r, EPOLLIN | EPOLLONESHOT);
    assert_eq!(epoll.now(), EPOLLIN);
    drop(p.w);
    assert_eq!(epoll.now(), 0, "not even a hangup");
    epoll.modify(&p.r, EPOLLIN | EPOLLONESHOT);
    assert_eq!(epoll.now(), EPOLLIN | EPOLLHUP);
});

both_worlds!(
    the_same_pipe_may_be_watched_at_both_ends_and_by_duplicates,
    {
        let p = nonblocking_pipe();
        let copy = dup(&p.r).unwrap();
        let epoll = Epoll::new();
        epoll.add(&p.r, EPOLLIN);
        epoll.add(&p.w, EPOLLOUT);
        epoll.add(&copy, EPOLLIN);
        assert_eq!(
            epoll.ctl(EPOLL_CTL_ADD, &p.r, EPOLLIN, 0),
            Err(libc::EEXIST)
        );
        write_all(&p.w, b"x");
        let mut events = epoll.wait(0).unwrap();
        events.sort_unstable_by_key(|e| e.1);
        let number = |fd: &Fd| fd.number() as u64;
        let expected = [
            (EPOLLIN, number(&p.r)),
            (EPOLLOUT, number(&p.w)),
            (EPOLLIN, number(&copy)),
        ];
        assert_eq!(events, expected);
        assert_eq!(epoll.ctl(EPOLL_CTL_DEL, &p.w, 0, 0), Ok(0));
        assert_eq!(epoll.ctl(EPOLL_CTL_DEL, &p.w, 0, 0), Err(libc::ENOENT));
        assert_eq!(epoll.wait(0).unwrap().len(), 2);
    }
);

// epoll watches the description: it stays in the set until its last number is closed.
both_worlds!(a_closed_number_is_still_reported_while_a_duplicate_lives, {
    let p = nonblocking_pipe();
    let epoll = Epoll::new();
    let number = p.r.number() as u64;
    epoll.add(&p.r, EPOLLIN);
    let copy = dup(&p.r).unwrap();
    drop(p.r);
    write_all(&p.w, b"x");
    assert_eq!(epoll.wait(0), Ok(vec![(EPOLLIN, number)]));
    drop(copy);
    assert_eq!(epoll.wait(0), Ok(vec![]));
});

both_worlds!(epoll_wait_is_woken_by_another_process, {
    let (p, s) = (pipe(), Shared::new());
    for flags in [EPOLLIN, EPOLLIN | EPOLLET] {
        let child = fork_run(|| {
            let epoll = Epoll::new();
            epoll.add(&p.r, flags);
            s.set(0, 1);
            let number = p.r.number() as u64;
            assert_eq!(epoll.wait(-1), Ok(vec![(EPOLLIN, number)]));
            assert_eq!(read_n(&p.r, 9), Ok(b"x".to_vec()));
        });
        s.wait_for(0, 1);
        child.sleeping();
        write_all(&p.w, b"x");
        child.succeeds();
        s.set(0, 0);
    }
});

both_worlds!(epoll_wait_is_woken_by_room_and_by_death, {
    let (p, s) = (nonblocking_pipe(), Shared::new());
    fill(&p.w);
    let Pipe { r, w } = p;
    let child = fork_run(|| {
        close(&r).unwrap();
        let epoll = Epoll::new();
        epoll.add(&w, EPOLLOUT | EPOLLET);
        s.set(0, 1);
        assert_eq!(epoll.wait(-1).unwrap()[0].0, EPOLLOUT);
        s.set(0, 2);
        assert_eq!(epoll.wait(-1).unwrap()[0].0, EPOLLOUT | EPOLLERR);
    });
    s.wait_for(0, 1);
    child.sleeping();
    read_exactly(&r, PAGE);
    s.wait_for(0, 2);
    child.sleeping();
    drop(r);
    child.succeeds();
});

both_worlds!(epoll_wait_with_a_timeout_comes_back_with_nothing, {
    let p = pipe();
    let epoll = Epoll::new();
    epoll.add(&p.r, EPOLLIN);
    assert_eq!(epoll.wait(0), Ok(vec![]));
    assert_eq!(epoll.wait(15), Ok(vec![]));
});

both_worlds!(an_epoll_inside_an_epoll_passes_events_on, {
    let p = nonblocking_pipe();
    let (inner, outer) = (Epoll::new(), Epoll::new());
    inner.add(&p.r, EPOLLIN);
    outer.add(&inner.0, EPOLLIN);
    assert_eq!((outer.now(), poll_now(&inner.0)), (0, 0));
    write_all(&p.w, b"x");
    assert_eq!(outer.now(), EPOLLIN);
    assert_eq!(poll_now(&inner.0), POLLIN | POLLRDNORM);
    assert_eq!(inner.now(), EPOLLIN);
    read_exactly(&p.r, 1);
    assert_eq!((outer.now(), inner.now()), (0, 0));
});

both_worlds!(a_nested_epoll_wakes_who_waits, {
    let (p, s) = (pipe(), Shared::new());
    let (inner, outer) = (Epoll::new(), Epoll::new());
    inner.add(&p.r, EPOLLIN | EPOLLET);
    outer.add(&inner.0, EPOLLIN | EPOLLET);
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(outer.wait(-1).map(|e| e.len()), Ok(1));
        assert_eq!(inner.now(), EPOLLIN);
    });
    s.wait_for(0, 1);
    child.sleeping();
    write_all(&p.w, b"x");
    child.succeeds();
});

both_worlds!(an_epoll_set_is_shared_with_the_child, {
    let p = nonblocking_pipe();
    let epoll = Epoll::new();
    epoll.add(&p.r, EPOLLIN);
    fork_run(|| {
        assert_eq!(epoll.now(), 0);
        write_all(&p.w, b"x");
        assert_eq!(epoll.now(), EPOLLIN);
        epoll.add(&p.w, EPOLLOUT);
    })
    .succeeds();
    assert_eq!(epoll.wait(0).unwrap().len(), 2);
});

both_worlds!(an_end_in_an_inherited_set_outlives_the_childs_numbers, {
    let p = nonblocking_pipe();
    let epoll = Epoll::new();
    let s = Shared::new();
    let child = fork_run(|| {
        // The child makes a pipe, puts its read end into the common set, and lives on.
        let own = nonblocking_pipe();
        epoll.ctl(EPOLL_CTL_ADD, &own.r, EPOLLIN, 4711).unwrap();
        write_all(&own.w, b"x");
        s.set(0, 1);
        s.wait_for(1, 1);
    });
    s.wait_for(0, 1);
    assert_eq!(epoll.wait(0), Ok(vec![(EPOLLIN, 4711)]));
    s.set(1, 1);
    child.succeeds();
    assert_eq!(epoll.wait(0), Ok(vec![]));
    drop(p);
});

both_worlds!(
    edges_of_many_pipes_are_neither_lost_nor_doubled,
    timeout = 60,
    {
        let pipes: Vec<Pipe> = (0..10).map(|_| nonblocking_pipe()).collect();
        let epoll = Epoll::new();
        for p in &pipes {
            epoll.add(&p.r, EPOLLIN | EPOLLET);
        }
        let writer = fork_run(|| {
            let mut rng = Rng::new(1);
            for i in 0..20_000u32 {
                let w = &pipes[rng.below(pipes.len())].w;
                while write(w, &i.to_ne_bytes()) == Err(EAGAIN) {
                    poll_until(w, POLLOUT);
                }
            }
        });
        let mut records = 0;
        while records < 20_000 {
            for (events, number) in epoll.wait(-1).unwrap() {
                assert_eq!(events, EPOLLIN);
                // Edge-triggered: read all, or no event comes for the rest.
                records += drain(number as c_int).len() / 4;
            }
        }
        writer.succeeds();
        assert_eq!(epoll.wait(0), Ok(vec![]));
    }
);

both_worlds!(
    edge_triggered_writers_and_readers_keep_each_other_going,
    timeout = 60,
    {
        const TOTAL: usize = 10_000_000;
        let Pipe { r, w } = nonblocking_pipe();
        let child = fork_run(move || {
            let epoll = Epoll::new();
            epoll.add(&w, EPOLLOUT | EPOLLET);
            let (mut rng, mut at) = (Rng::new(1), 0);
            while at < TOTAL {
                let n = rng.within(1, 50_000).min(TOTAL - at);
                match write(&w, &stream(at, n)) {
                    Ok(n) => at += n,
                    Err(e) => {
                        assert_eq!(e, EAGAIN);
                        assert_eq!(epoll.wait(-1).map(|e| e.len()), Ok(1));
                    }
                }
            }
        });
        let epoll = Epoll::new();
        epoll.add(&r, EPOLLIN | EPOLLET);
        let mut at = 0;
        loop {
            match read_n(&r, 30_000) {
                Ok(got) if got.is_empty() => break,
                Ok(got) => {
                    assert!(got == stream(at, got.len()), "at {at}");
                    at += got.len();
                }
                Err(e) => {
                    assert_eq!(e, EAGAIN);
                    assert_eq!(epoll.wait(-1).map(|e| e.len()), Ok(1));
                }
            }
        }
        assert_eq!(at, TOTAL);
        child.succeeds();
    }
);
