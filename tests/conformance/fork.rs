//! fork(2), clone(2), threads: who has the ends afterwards.

use ringer_support::prelude::*;

both_worlds!(a_child_inherits_both_ends, {
    let p = pipe();
    fork_run(|| {
        assert_eq!(write(&p.w, b"from the child"), Ok(14));
    })
    .succeeds();
    assert_eq!(read_n(&p.r, 99), Ok(b"from the child".to_vec()));
    write_all(&p.w, b"to the child");
    fork_run(|| assert_eq!(read_n(&p.r, 99), Ok(b"to the child".to_vec()))).succeeds();
    set_nonblocking(&p.r, true);
    assert_eq!(read_n(&p.r, 99), Err(EAGAIN));
});

both_worlds!(what_was_written_before_the_fork_is_there_once, {
    let p = nonblocking_pipe();
    write_all(&p.w, &stream(0, 10_000));
    fork_run(|| assert!(read_n(&p.r, 4000).unwrap() == stream(0, 4000))).succeeds();
    assert!(read_n(&p.r, 99_999).unwrap() == stream(4000, 6000));
    fork_run(|| assert_eq!(read_n(&p.r, 1), Err(EAGAIN))).succeeds();
});

both_worlds!(closing_in_the_child_closes_nothing_in_the_parent, {
    let p = nonblocking_pipe();
    fork_run(|| {
        close(&p.r).unwrap();
        close(&p.w).unwrap();
        assert_eq!(write(&p.w, b"x"), Err(EBADF));
        // The numbers are free for something else, in the child.
        let q = nonblocking_pipe();
        assert_eq!(q.r.number(), p.r.number());
        write_all(&q.w, b"not yours");
    })
    .succeeds();
    assert_eq!(read_n(&p.r, 9), Err(EAGAIN));
    assert_eq!(write(&p.w, b"mine"), Ok(4));
    assert_eq!(read_n(&p.r, 9), Ok(b"mine".to_vec()));
});

both_worlds!(what_the_parent_opens_after_the_fork_is_not_the_childs, {
    let s = Shared::new();
    let child = fork_run(|| {
        s.wait_for(0, 1);
        assert!(!is_open(s.get(1) as c_int));
    });
    let p = pipe();
    s.set(1, p.r.number() as u64);
    s.set(0, 1);
    child.succeeds();
});

both_worlds!(
    the_same_number_may_be_different_pipes_in_parent_and_child,
    {
        let (p, q, s) = (pipe(), pipe(), Shared::new());
        let child = fork_run(|| {
            dup2(&q.r, &p.r).unwrap();
            dup2(&q.w, &p.w).unwrap();
            s.barrier(0, 2);
            write_all(&p.w, b"q");
            assert_eq!(read_n(&p.r, 9), Ok(b"q".to_vec()));
        });
        s.barrier(0, 2);
        write_all(&p.w, b"p");
        assert_eq!(read_n(&p.r, 9), Ok(b"p".to_vec()));
        child.succeeds();
    }
);

both_worlds!(grandchildren_inherit_too, {
    let Pipe { r, w } = pipe();
    let child = fork_run(|| {
        let grandchild = fork_run(|| {
            fork_run(|| write_all(&w, b"3")).succeeds();
            write_all(&w, b"2");
        });
        grandchild.succeeds();
        write_all(&w, b"1");
    });
    child.succeeds();
    drop(w);
    assert_eq!(read_to_end(&r), b"321");
});

both_worlds!(a_grandchild_whose_parent_is_gone_goes_on, {
    become_subreaper().unwrap();
    let (p, s) = (pipe(), Shared::new());
    let Pipe { r, w } = p;
    // The double fork of a daemon.
    fork_run(|| {
        fork_run(|| {
            // SAFETY: no argument.
            unsafe { libc::setsid() };
            s.set(0, getpid() as u64);
            s.wait_for(1, 1);
            write_all(&w, b"daemon");
        })
        .leak();
    })
    .succeeds();
    drop(w);
    s.wait_for(0, 1);
    let daemon = Child::adopt(s.get(0) as i32);
    s.set(1, 1);
    assert_eq!(read_to_end(&r), b"daemon");
    daemon.succeeds();
});

both_worlds!(a_daemon_goes_on_with_the_pipes_it_kept, {
    become_subreaper().unwrap();
    let (p, q, s) = (pipe(), pipe(), Shared::new());
    let starter = fork_run(|| {
        // SAFETY: no other thread; stays in / and keeps no standard stream.
        assert_eq!(unsafe { daemon(0, 0) }, 0);
        s.set(0, getpid() as u64);
        let name = read_n(&p.r, 99).unwrap();
        write_all(&q.w, &[b"hello ", &name[..]].concat());
    });
    starter.succeeds();
    s.wait_for(0, 1);
    let child = Child::adopt(s.get(0) as i32);
    write_all(&p.w, b"daemon");
    assert_eq!(read_n(&q.r, 99), Ok(b"hello daemon".to_vec()));
    child.succeeds();
});

extern "C" {
    /// daemon(3).
    fn daemon(nochdir: c_int, noclose: c_int) -> c_int;
}

both_worlds!(a_child_by_raw_clone_inherits_as_by_fork, {
    let (p, q) = (pipe(), pipe());
    write_all(&p.w, b"before");
    let child = raw_clone_child(|| {
        assert_eq!(read_n(&p.r, 99), Ok(b"before".to_vec()));
        assert_eq!(write(&q.w, b"after"), Ok(5));
        close(&q.w).unwrap();
        assert_eq!(read_n(&p.r, 99), Ok(b"more".to_vec()));
    });
    assert_eq!(read_n(&q.r, 99), Ok(b"after".to_vec()));
    write_all(&p.w, b"more");
    child.succeeds();
    assert_eq!(write(&q.w, b"still open here"), Ok(15));
});

both_worlds!(a_child_by_raw_clone_keeps_the_ends_alive, {
    let (p, s) = (nonblocking_pipe(), Shared::new());
    let child = raw_clone_child(|| s.wait_for(0, 1));
    drop(p.w);
    assert_eq!(read_n(&p.r, 1), Err(EAGAIN));
    s.set(0, 1);
    child.succeeds();
    assert_eq!(read_n(&p.r, 1), Ok(vec![]));
});

both_worlds!(underscore_fork_is_a_fork, {
    let p = pipe();
    // SAFETY: one thread; the child leaves by _exit.
    let pid = unsafe { _Fork() };
    if pid == 0 {
        run_and_exit(|| {
            write_all(&p.w, b"child of _Fork");
            0
        });
    }
    Child::adopt(pid).succeeds();
    assert_eq!(read_n(&p.r, 99), Ok(b"child of _Fork".to_vec()));
});

extern "C" {
    /// Since glibc 2.34; in POSIX.1-2024.
    fn _Fork() -> libc::pid_t;
}

both_worlds!(a_fork_while_a_thread_is_blocked_does_not_disturb_it, {
    let p = pipe();
    let s = Shared::new();
    let (r, w) = (p.r.number(), &p.w);
    let reader = std::thread::spawn(move || {
        s.set(0, gettid() as u64);
        read_n(r, 99)
    });
    s.wait_for(0, 1);
    procfs::thread_sleeping(s.get(0) as i32);
    for _ in 0..5 {
        fork_run(|| assert_eq!(bytes_waiting(r), Ok(0))).succeeds();
    }
    procfs::thread_sleeping(s.get(0) as i32);
    fork_run(|| write_all(w, b"from a child")).succeeds();
    assert_eq!(reader.join().unwrap(), Ok(b"from a child".to_vec()));
});

both_worlds!(
    forks_during_traffic_of_other_threads_are_harmless,
    timeout = 60,
    {
        const TOTAL: usize = 3_000_000;
        let Pipe { r, w } = pipe();
        let writer = std::thread::spawn(move || {
            let (mut rng, mut at) = (Rng::new(1), 0);
            while at < TOTAL {
                let n = rng.within(1, 5000).min(TOTAL - at);
                assert_eq!(write(&w, &stream(at, n)), Ok(n));
                at += n;
            }
        });
        let reader =
            std::thread::spawn(move || assert!(read_exactly(&r, TOTAL) == stream(0, TOTAL)));
        for _ in 0..100 {
            let own = pipe();
            fork_run(|| write_all(&own.w, b"x")).succeeds();
            assert_eq!(read_n(&own.r, 9), Ok(b"x".to_vec()));
        }
        writer.join().unwrap();
        reader.join().unwrap();
    }
);

both_worlds!(a_hundred_children_share_one_pipe, timeout = 60, {
    let Pipe { r, w } = pipe();
    let children: Vec<Child> = (0..100u8)
        .map(|i| fork_run(|| write_all(&w, &[i; 100])))
        .collect();
    drop(w);
    let mut counts = [0; 100];
    for piece in read_to_end(&r).chunks(100) {
        assert!(piece.iter().all(|b| *b == piece[0]), "a torn record");
        counts[usize::from(piece[0])] += 1;
    }
    assert_eq!(counts, [1; 100]);
    all_succeed(children);
});

both_worlds!(threads_see_each_others_descriptors_at_once, {
    for _ in 0..100 {
        let made = std::thread::spawn(nonblocking_pipe).join().unwrap();
        assert_eq!(write(&made.w, b"x"), Ok(1));
        let r = made.r.number();
        let w = made.w;
        std::thread::spawn(move || drop(w)).join().unwrap();
        assert_eq!(read_n(r, 9), Ok(b"x".to_vec()));
        assert_eq!(read_n(r, 9), Ok(vec![]));
    }
});

both_worlds!(
    pipes_made_and_closed_by_many_threads_stay_apart,
    timeout = 60,
    {
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                scope.spawn(move || {
                    for i in 0..500u32 {
                        let p = nonblocking_pipe();
                        let mark = [thread, (i % 256) as u8];
                        write_all(&p.w, &mark);
                        let copy = dup(&p.r).unwrap();
                        drop(p.r);
                        assert_eq!(read_n(&copy, 9), Ok(mark.to_vec()));
                        assert_eq!(read_n(&copy, 9), Err(EAGAIN));
                    }
                });
            }
        });
    }
);

both_worlds!(a_thread_may_end_while_its_pipe_lives_on, {
    let p = std::thread::spawn(|| {
        let p = pipe();
        write_all(&p.w, b"legacy");
        p
    })
    .join()
    .unwrap();
    assert_eq!(read_n(&p.r, 9), Ok(b"legacy".to_vec()));
});

/// clone(2) without a new stack, but with one table of descriptors for both.
fn clone_sharing_descriptors(body: impl FnOnce()) -> Child {
    let flags = libc::SIGCHLD | libc::CLONE_FILES;
    // SAFETY: as fork: no new stack, no shared memory; one thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } as libc::pid_t;
    if pid == 0 {
        run_and_exit(|| {
            body();
            0
        });
    }
    Child::adopt(pid)
}

both_worlds!(a_child_with_clone_files_shares_the_table, {
    let (p, s) = (nonblocking_pipe(), Shared::new());
    let child = clone_sharing_descriptors(|| {
        let made = nonblocking_pipe();
        write_all(&made.w, b"made by the child");
        s.set(0, made.r.number() as u64);
        close(&p.w).unwrap();
        std::mem::forget(made);
    });
    child.succeeds();
    assert_eq!(
        read_n(s.get(0) as c_int, 99),
        Ok(b"made by the child".to_vec())
    );
    assert_eq!(write(&p.w, b"x"), Err(EBADF));
    assert_eq!(read_n(&p.r, 9), Ok(vec![]));
});

both_worlds!(a_thread_may_get_a_table_of_its_own, {
    let p = nonblocking_pipe();
    let (r, w) = (p.r.number(), p.w.number());
    std::thread::spawn(move || {
        // SAFETY: a number.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
        close(w).unwrap();
        assert_eq!(write(w, b"x"), Err(EBADF));
        assert_eq!(
            read_n(r, 9),
            Err(EAGAIN),
            "the other table still has the writer"
        );
    })
    .join()
    .unwrap();
    assert_eq!(write(&p.w, b"x"), Ok(1));
    assert_eq!(read_n(&p.r, 9), Ok(b"x".to_vec()));
});

both_worlds!(close_range_may_unshare_the_table_first, {
    let p = nonblocking_pipe();
    let r = p.r.number();
    std::thread::spawn(move || {
        let flag = libc::CLOSE_RANGE_UNSHARE as c_int;
        assert_eq!(close_range(3, u32::MAX, flag), Ok(0));
        assert!(!is_open(r));
    })
    .join()
    .unwrap();
    assert_eq!(write(&p.w, b"x"), Ok(1));
    assert_eq!(read_n(&p.r, 9), Ok(b"x".to_vec()));
});
