//! Pipes of processes in odd circumstances: without rights, without descriptors, without a root or a
//! current directory, under resource limits, in namespaces of their own.

use ringer_support::prelude::*;

/// Talks to the parent through pipes made before, and to itself through a new one.
fn pipes_work(p: &Pipe, q: &Pipe) {
    assert_eq!(read_n(&p.r, 99), Ok(b"question".to_vec()));
    assert_eq!(write(&q.w, b"answer"), Ok(6));
    own_pipe_works();
}

fn own_pipe_works() {
    let own = nonblocking_pipe();
    assert_eq!(write(&own.w, &stream(0, 200_000)), Ok(CAPACITY));
    assert!(drain(&own.r) == stream(0, CAPACITY));
    assert_eq!(poll_now(&own.r), 0);
    fork_run(|| assert_eq!(write(&own.w, b"child"), Ok(5))).succeeds();
    assert_eq!(read_n(&own.r, 99), Ok(b"child".to_vec()));
    let Pipe { r, w } = own;
    drop(w);
    assert_eq!(read_n(&r, 99), Ok(vec![]));
}

/// Runs a conversation with a child that has brought itself into `circumstances`.
fn talk(circumstances: impl FnOnce()) {
    let (p, q, s) = (pipe(), pipe(), Shared::new());
    let child = fork_run(|| {
        circumstances();
        s.set(0, 1);
        pipes_work(&p, &q);
    });
    s.wait_for(0, 1);
    write_all(&p.w, b"question");
    assert_eq!(read_n(&q.r, 99), Ok(b"answer".to_vec()));
    child.succeeds();
}

fn limit(resource: libc::__rlimit_resource_t, value: u64) {
    let limit = libc::rlimit {
        rlim_cur: value,
        rlim_max: value,
    };
    // SAFETY: a valid rlimit.
    ringer_support::check(unsafe { libc::setrlimit(resource, &limit) }).expect("setrlimit");
}

both_worlds!(a_process_without_privileges_uses_pipes, {
    if is_root() {
        talk(become_nobody);
    }
});

both_worlds!(a_process_that_can_not_be_traced_uses_pipes, {
    talk(|| {
        // SAFETY: numbers.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
        // SAFETY: numbers.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    });
});

both_worlds!(a_process_in_an_empty_root_uses_pipes, {
    if !is_root() {
        return;
    }
    let dir = std::env::temp_dir().join(format!("ringer-empty-root.{}", getpid()));
    std::fs::create_dir(&dir).unwrap();
    talk(|| std::os::unix::fs::chroot(&dir).unwrap());
    std::fs::remove_dir(&dir).unwrap();
});

both_worlds!(a_process_whose_directory_is_gone_uses_pipes, {
    let dir = std::env::temp_dir().join(format!("ringer-gone.{}", getpid()));
    std::fs::create_dir(&dir).unwrap();
    talk(|| {
        std::env::set_current_dir(&dir).unwrap();
        std::fs::remove_dir(&dir).unwrap();
    });
});

both_worlds!(a_process_with_a_strict_umask_uses_pipes, {
    talk(|| {
        // SAFETY: a number.
        unsafe { libc::umask(0o777) };
    });
});

// Pipes are not files: RLIMIT_FSIZE, and SIGXFSZ, do not concern them.
both_worlds!(a_process_that_may_not_write_files_uses_pipes, {
    talk(|| limit(libc::RLIMIT_FSIZE, 0));
});

both_worlds!(a_process_with_little_address_space_uses_pipes, {
    talk(|| {
        let status = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = status.split(' ').next().unwrap().parse().unwrap();
        limit(libc::RLIMIT_AS, (pages + 256) * PAGE as u64);
    });
});

both_worlds!(
    a_process_that_may_lock_no_memory_and_queue_no_signals_uses_pipes,
    {
        talk(|| {
            limit(libc::RLIMIT_MEMLOCK, 0);
            limit(libc::RLIMIT_SIGPENDING, 0);
            limit(libc::RLIMIT_MSGQUEUE, 0);
            limit(libc::RLIMIT_CORE, 0);
        });
    }
);

both_worlds!(a_process_without_free_descriptors_uses_those_it_has, {
    let (p, q, s) = (pipe(), pipe(), Shared::new());
    let child = fork_run(|| {
        limit_descriptors(q.w.number() as u64 + 1);
        assert_eq!(pipe2(0).map(drop), Err(EMFILE));
        assert_eq!(read_n(&p.r, 99), Ok(b"question".to_vec()));
        let mut fds = [pollfd(&p.r, POLLIN), pollfd(&q.w, POLLOUT)];
        assert_eq!(poll(&mut fds, 0), Ok(1));
        fork_run(|| assert_eq!(write(&q.w, b"answer"), Ok(6))).succeeds();
        s.set(0, 1);
        assert_eq!(read_n(&p.r, 99), Ok(b"more".to_vec()));
    });
    write_all(&p.w, b"question");
    assert_eq!(read_n(&q.r, 99), Ok(b"answer".to_vec()));
    s.wait_for(0, 1);
    child.sleeping();
    write_all(&p.w, b"more");
    child.succeeds();
});

both_worlds!(a_process_with_all_signals_blocked_uses_pipes, {
    talk(|| {
        let all: Vec<c_int> = (1..=64).filter(|s| ![32, 33].contains(s)).collect();
        signal::block(&all);
    });
});

both_worlds!(a_process_with_all_signals_ignored_uses_pipes, {
    talk(|| {
        for signal in (1..32).filter(|s| ![SIGKILL, SIGSTOP, libc::SIGCHLD].contains(s)) {
            signal::ignore(signal);
        }
    });
});

both_worlds!(a_process_with_default_sigsys_and_sigsegv_uses_pipes, {
    talk(|| {
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGSYS] {
            signal::default(signal);
        }
    });
});

both_worlds!(a_process_without_standard_streams_gets_pipes_there, {
    let (p, q, s) = (pipe(), pipe(), Shared::new());
    let child = fork_child(|| {
        // Nobody would hear a panic: each check has its own status.
        for fd in 0..3 {
            let _ = close(fd);
        }
        let own = nonblocking_pipe();
        if (own.r.number(), own.w.number()) != (0, 1) {
            return 1;
        }
        if write(1, b"standard") != Ok(8) || read_n(0, 99) != Ok(b"standard".to_vec()) {
            return 2;
        }
        s.set(0, 1);
        if read_n(&p.r, 99) != Ok(b"question".to_vec()) || write(&q.w, b"answer") != Ok(6) {
            return 3;
        }
        0
    });
    s.wait_for(0, 1);
    write_all(&p.w, b"question");
    assert_eq!(read_n(&q.r, 99), Ok(b"answer".to_vec()));
    child.succeeds();
});

both_worlds!(a_process_that_cleared_its_environment_uses_pipes, {
    talk(|| {
        // SAFETY: one thread.
        assert_eq!(unsafe { libc::clearenv() }, 0);
    });
});

/// unshare(2), if it is allowed here.
fn unshare(flags: c_int) -> bool {
    // SAFETY: numbers.
    ringer_support::check(unsafe { libc::unshare(flags) }).is_ok()
}

// In a namespace of their own several processes have the same number, and 1 is one of them.
both_worlds!(processes_in_pid_namespaces_share_pipes, {
    let (p, s) = (pipe(), Shared::new());
    let Pipe { r, w } = p;
    let outer = [0, 1].map(|i| {
        fork_run(|| {
            if !unshare(libc::CLONE_NEWPID) {
                s.set(10, 1);
                return;
            }
            fork_run(|| {
                assert_eq!(getpid(), 1);
                for _ in 0..1000 {
                    assert_eq!(write(&w, &[i; 10]), Ok(10));
                }
                own_pipe_works();
            })
            .succeeds();
        })
    });
    drop(w);
    let all = read_to_end(&r);
    all_succeed(outer);
    if s.get(10) == 0 {
        assert_eq!(all.len(), 20_000);
        assert!(
            all.chunks(10).all(|c| c.iter().all(|b| *b == c[0])),
            "a torn record"
        );
    }
});

both_worlds!(a_killed_pid_namespace_leaves_end_of_file, {
    let (p, s) = (pipe(), Shared::new());
    let Pipe { r, w } = p;
    let outer = fork_run(|| {
        if !unshare(libc::CLONE_NEWPID) {
            s.set(0, 1);
            return;
        }
        let init = fork_run(|| {
            fork_run(|| {
                write_all(&w, b"inside");
                s.set(0, 1);
                s.wait_for(511, 1);
            })
            .leak();
            s.wait_for(511, 1);
        });
        close(&w).unwrap();
        s.wait_for(0, 1);
        // The death of its first process is the death of all in the namespace.
        init.kill_9();
    });
    drop(w);
    s.wait_for(0, 1);
    outer.succeeds();
    let all = read_to_end(&r);
    assert!(all == b"inside" || all.is_empty());
});

both_worlds!(a_process_in_namespaces_of_its_own_uses_pipes, {
    talk(|| {
        for flag in [
            libc::CLONE_NEWNS,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWNET,
            libc::CLONE_NEWUTS,
        ] {
            unshare(flag); // as far as it is allowed
        }
    });
});

both_worlds!(small_stacks_are_enough, {
    run(&program("stack", Linkage::Dynamic), &[]).succeeds();
});

both_worlds!(five_hundred_full_pipes_keep_their_data, {
    limit_descriptors(2000);
    let pipes: Vec<Pipe> = (0..500).map(|_| nonblocking_pipe()).collect();
    for (i, p) in pipes.iter().enumerate() {
        assert_eq!(write(&p.w, &stream(i, 100_000)), Ok(CAPACITY));
    }
    for (i, p) in pipes.iter().enumerate() {
        assert!(
            read_n(&p.r, 100_000).unwrap() == stream(i, CAPACITY),
            "pipe {i}"
        );
    }
});

both_worlds!(large_pipes_can_be_had_again_and_again, {
    for round in 0..50 {
        let pipes: Vec<Pipe> = (0..8).map(|_| nonblocking_pipe()).collect();
        for p in &pipes {
            set_pipe_size(&p.w, 1 << 20).unwrap();
            assert_eq!(write(&p.w, &stream(round, 1 << 20)), Ok(1 << 20));
        }
        assert!(read_n(&pipes[3].r, 1 << 20).unwrap() == stream(round, 1 << 20));
    }
});
