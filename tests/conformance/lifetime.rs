//! The death of those who hold a pipe, above all by SIGKILL, which leaves nobody time to say goodbye.
//! Their ends are closed all the same: end of file and EPIPE come, and what was written stays.

use ringer_support::prelude::*;
use std::time::Duration;

/// A child that has both ends of the pipe and says in word `i` that it runs.
fn idle(s: Shared, i: usize) -> Child {
    fork_run(move || {
        s.set(i, 1);
        s.wait_for(511, 1);
    })
}

both_worlds!(
    end_of_file_comes_after_kill_9_of_the_last_writer,
    worlds = all,
    {
        let (p, s) = (pipe(), Shared::new());
        let Pipe { r, w } = p;
        let child = fork_run(move || {
            write_all(&w, b"last words");
            s.set(0, 1);
            s.wait_for(1, 1);
        });
        s.wait_for(0, 1);
        child.kill_9();
        assert_eq!(read_n(&r, 100), Ok(b"last words".to_vec()));
        assert_eq!(read_n(&r, 100), Ok(vec![]));
    }
);

both_worlds!(
    end_of_file_wakes_a_blocked_reader_after_kill_9_of_the_last_writer,
    worlds = all,
    {
        let (p, s) = (pipe(), Shared::new());
        let writer = idle(s, 0);
        let reader = fork_run(|| {
            close(&p.w).unwrap();
            s.set(1, 1);
            assert_eq!(read_n(&p.r, 100), Ok(vec![]));
        });
        drop(p.w);
        s.wait_for(0, 1);
        s.wait_for(1, 1);
        reader.sleeping();
        writer.kill_9();
        reader.succeeds();
    }
);

both_worlds!(
    epipe_comes_at_once_after_kill_9_of_the_last_reader,
    worlds = all,
    {
        signal::ignore(SIGPIPE);
        for nonblocking in [false, true] {
            let (p, s) = (pipe(), Shared::new());
            let Pipe { r, w } = p;
            set_nonblocking(&w, nonblocking);
            let child = fork_run(move || {
                s.set(0, r.number() as u64);
                s.wait_for(1, 1);
            });
            s.wait_for(0, 1);
            assert_eq!(write(&w, b"unread"), Ok(6));
            child.kill_9();
            assert_eq!(write(&w, b"x"), Err(EPIPE));
        }
    }
);

both_worlds!(
    epipe_wakes_a_blocked_writer_after_kill_9_of_the_last_reader,
    worlds = all,
    {
        signal::ignore(SIGPIPE);
        let (p, s) = (pipe(), Shared::new());
        write_all(&p.w, &stream(0, CAPACITY));
        let reader = idle(s, 0);
        let writer = fork_run(|| {
            close(&p.r).unwrap();
            s.set(1, 1);
            assert_eq!(write(&p.w, b"x"), Err(EPIPE));
        });
        drop(p.r);
        s.wait_for(0, 1);
        s.wait_for(1, 1);
        writer.sleeping();
        reader.kill_9();
        writer.succeeds();
    }
);

both_worlds!(
    a_nonblocking_read_after_the_writer_was_reaped_is_0_not_eagain,
    worlds = all,
    {
        for round in 0..50 {
            let (p, s) = (nonblocking_pipe(), Shared::new());
            let Pipe { r, w } = p;
            let child = fork_run(move || {
                s.set(0, w.number() as u64);
                s.wait_for(1, 1);
            });
            s.wait_for(0, 1);
            assert_eq!(read_n(&r, 1), Err(EAGAIN));
            child.kill_9();
            assert_eq!(read_n(&r, 1), Ok(vec![]), "round {round}");
            assert_eq!(poll_now(&r), POLLHUP);
        }
    }
);

both_worlds!(
    a_nonblocking_write_after_the_reader_was_reaped_is_epipe,
    worlds = all,
    {
        signal::ignore(SIGPIPE);
        for round in 0..50 {
            let (p, s) = (nonblocking_pipe(), Shared::new());
            let Pipe { r, w } = p;
            fill(&w);
            let child = fork_run(move || {
                s.set(0, r.number() as u64);
                s.wait_for(1, 1);
            });
            s.wait_for(0, 1);
            assert_eq!(write(&w, b"x"), Err(EAGAIN));
            child.kill_9();
            assert_eq!(write(&w, b"x"), Err(EPIPE), "round {round}");
            assert_eq!(poll_now(&w), POLLERR);
        }
    }
);

both_worlds!(
    poll_wakes_with_pollhup_when_the_writer_is_killed,
    worlds = all,
    {
        let (p, s) = (pipe(), Shared::new());
        let writer = idle(s, 0);
        let Pipe { r, w } = p;
        let poller = fork_run(move || {
            drop(w);
            s.set(1, 1);
            assert_eq!(poll_until(&r, POLLIN), POLLHUP);
            assert_eq!(read_n(&r, 1), Ok(vec![]));
        });
        s.wait_for(0, 1);
        s.wait_for(1, 1);
        poller.sleeping();
        writer.kill_9();
        poller.succeeds();
    }
);

both_worlds!(
    killing_one_of_several_writers_is_not_the_end_of_file,
    worlds = all,
    {
        let (p, s) = (nonblocking_pipe(), Shared::new());
        let writers = [0, 1, 2].map(|i| idle(s, i));
        let Pipe { r, w } = p;
        drop(w);
        for (i, writer) in writers.into_iter().enumerate() {
            s.wait_for(i, 1);
            assert_eq!(read_n(&r, 1), Err(EAGAIN));
            writer.kill_9();
        }
        assert_eq!(read_n(&r, 1), Ok(vec![]));
    }
);

both_worlds!(killing_one_of_several_readers_is_not_epipe, worlds = all, {
    signal::ignore(SIGPIPE);
    let (p, s) = (nonblocking_pipe(), Shared::new());
    let readers = [0, 1, 2].map(|i| idle(s, i));
    let Pipe { r, w } = p;
    drop(r);
    for (i, reader) in readers.into_iter().enumerate() {
        s.wait_for(i, 1);
        assert_eq!(write(&w, b"x"), Ok(1));
        reader.kill_9();
    }
    assert_eq!(write(&w, b"x"), Err(EPIPE));
});

both_worlds!(
    a_reader_killed_while_blocked_takes_nothing_with_it,
    worlds = all,
    {
        let (p, s) = (pipe(), Shared::new());
        let reader = |i: usize| {
            let p = &p;
            fork_run(move || {
                s.set(i, 1);
                assert_eq!(read_n(&p.r, 10), Ok(b"for you".to_vec()));
            })
        };
        let first = reader(0);
        s.wait_for(0, 1);
        first.sleeping();
        let second = reader(1);
        s.wait_for(1, 1);
        second.sleeping();
        first.kill_9();
        assert_eq!(write(&p.w, b"for you"), Ok(7));
        second.succeeds();
    }
);

both_worlds!(
    a_writer_killed_while_blocked_leaves_what_it_had_written,
    worlds = all,
    {
        let (p, s) = (pipe(), Shared::new());
        let Pipe { r, w } = p;
        let child = fork_run(move || {
            s.set(0, 1);
            let _ = write(&w, &stream(0, 200_000));
            panic!("written without a reader");
        });
        s.wait_for(0, 1);
        child.sleeping();
        child.kill_9();
        assert!(read_to_end(&r) == stream(0, CAPACITY));
    }
);

both_worlds!(
    a_small_writer_killed_while_blocked_leaves_nothing,
    worlds = all,
    {
        let (p, s) = (pipe(), Shared::new());
        write_all(&p.w, &stream(0, CAPACITY));
        let Pipe { r, w } = p;
        let child = fork_run(move || {
            s.set(0, 1);
            let _ = write(&w, b"never");
            panic!("written without a reader");
        });
        s.wait_for(0, 1);
        child.sleeping();
        child.kill_9();
        assert!(read_to_end(&r) == stream(0, CAPACITY));
    }
);

both_worlds!(
    the_next_blocked_writer_goes_on_when_the_first_is_killed,
    worlds = all,
    {
        let (p, s) = (pipe(), Shared::new());
        write_all(&p.w, &stream(0, CAPACITY));
        let writer = |i: usize| {
            let p = &p;
            fork_run(move || {
                s.set(i, 1);
                assert_eq!(write(&p.w, b"mine"), Ok(4));
            })
        };
        let first = writer(0);
        s.wait_for(0, 1);
        first.sleeping();
        let second = writer(1);
        s.wait_for(1, 1);
        second.sleeping();
        first.kill_9();
        read_exactly(&p.r, PAGE);
        second.succeeds();
        read_exactly(&p.r, CAPACITY - PAGE);
        assert_eq!(read_n(&p.r, 10), Ok(b"mine".to_vec()));
    }
);

both_worlds!(a_stopped_holder_can_be_killed_too, worlds = all, {
    let (p, s) = (nonblocking_pipe(), Shared::new());
    let child = idle(s, 0);
    s.wait_for(0, 1);
    child.kill(SIGSTOP);
    procfs::stopped(child.pid());
    drop(p.w);
    assert_eq!(read_n(&p.r, 1), Err(EAGAIN));
    child.kill_9();
    assert_eq!(read_n(&p.r, 1), Ok(vec![]));
});

both_worlds!(a_child_goes_on_when_its_parent_is_killed, worlds = all, {
    become_subreaper().unwrap();
    let (p, s) = (pipe(), Shared::new());
    let Pipe { r, w } = p;
    let parent = fork_run(|| {
        let child = fork_run(|| {
            s.set(0, getpid() as u64);
            s.wait_for(1, 1);
            write_all(&w, b"orphan");
        });
        child.leak();
        s.wait_for(511, 1);
    });
    drop(w);
    s.wait_for(0, 1);
    let orphan = s.get(0) as i32;
    parent.kill_9();
    s.set(1, 1);
    assert_eq!(read_n(&r, 10), Ok(b"orphan".to_vec()));
    assert_eq!(read_n(&r, 10), Ok(vec![]));
    Child::adopt(orphan).succeeds();
});

both_worlds!(a_zombie_holds_nothing, worlds = all, {
    let Pipe { r, w } = pipe();
    let child = fork_run(move || write_all(&w, b"bye"));
    assert_eq!(read_to_end(&r), b"bye");
    child.succeeds();
});

both_worlds!(every_way_to_die_closes_the_ends, worlds = all, {
    let ways: [(&str, fn()); 6] = [
        ("_exit", || {}),
        // SAFETY: ends the process, which has one thread.
        ("exit", || unsafe { libc::exit(0) }),
        ("SIGTERM", || signal::kill(getpid(), libc::SIGTERM)),
        ("SIGKILL", || signal::kill(getpid(), SIGKILL)),
        // SAFETY: ends the process.
        ("abort", || unsafe { libc::abort() }),
        ("exit_group", || {
            // SAFETY: ends the process.
            unsafe { libc::syscall(libc::SYS_exit_group, 0) };
        }),
    ];
    for (name, die) in ways {
        let Pipe { r, w } = pipe();
        let child = fork_run(move || {
            write_all(&w, b"data");
            die();
        });
        assert_eq!(read_to_end(&r), b"data", "{name}");
        child.wait();
        set_nonblocking(&r, true);
        assert_eq!(read_n(&r, 1), Ok(vec![]), "{name}");
    }
});

both_worlds!(a_fault_closes_the_ends, worlds = all, {
    let Pipe { r, w } = pipe();
    let child = fork_run(move || {
        signal::default(libc::SIGSEGV);
        write_all(&w, b"data");
        // SAFETY: meant to fault: nothing is mapped there.
        unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
    });
    assert_eq!(read_to_end(&r), b"data");
    assert_eq!(child.wait().signal(), Some(libc::SIGSEGV));
});

both_worlds!(
    closing_everything_closes_the_ends_of_the_living,
    worlds = all,
    {
        let ways: [fn(); 3] = [
            || {
                close_range(3, u32::MAX, 0).unwrap();
            },
            || (3..1024).for_each(|fd| assert!(matches!(close(fd), Ok(0) | Err(EBADF)))),
            // SAFETY: a number.
            || unsafe { closefrom(3) },
        ];
        for close_all in ways {
            let (p, s) = (pipe(), Shared::new());
            let Pipe { r, w } = p;
            let child = fork_run(|| {
                write_all(&w, b"data");
                close_all();
                s.set(0, 1);
                s.wait_for(1, 1);
                assert!(!is_open(&r) && !is_open(&w));
            });
            drop(w);
            assert_eq!(read_to_end(&r), b"data");
            s.wait_for(0, 1);
            s.set(1, 1);
            child.succeeds();
        }
    }
);

extern "C" {
    /// closefrom(3), since glibc 2.34.
    fn closefrom(low: c_int);
}

both_worlds!(a_program_that_was_execed_can_be_killed, worlds = all, {
    let (p, s) = (nonblocking_pipe(), Shared::new());
    let Pipe { r, w } = p;
    let child = fork_run(move || {
        s.set(0, w.number() as u64);
        let args = [c"sleep".as_ptr(), c"1000".as_ptr(), std::ptr::null()];
        // SAFETY: C strings, and a null at the end.
        unsafe { libc::execvp(args[0], args.as_ptr()) };
        panic!("exec failed");
    });
    let exe = format!("/proc/{}/comm", child.pid());
    wait_until(|| std::fs::read_to_string(&exe).is_ok_and(|name| name == "sleep\n"));
    child.sleeping();
    assert_eq!(read_n(&r, 1), Err(EAGAIN));
    child.kill_9();
    assert_eq!(read_n(&r, 1), Ok(vec![]));
});

both_worlds!(
    a_process_killed_as_soon_as_it_is_born_leaves_nothing,
    worlds = all,
    {
        for round in 0..100 {
            let p = nonblocking_pipe();
            let Pipe { r, w } = p;
            let child = fork_run(move || {
                let _ = write(&w, b"?");
                pause(Duration::from_secs(1000));
            });
            pause(Duration::from_micros(round * 5));
            child.kill_9();
            let got = drain(&r);
            assert!(got.is_empty() || got == b"?", "{got:?}");
            assert_eq!(read_n(&r, 1), Ok(vec![]), "round {round}");
        }
    }
);
