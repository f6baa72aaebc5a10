//! Signals while a call on a pipe waits. See signal(7) "Interruption of system calls and library
//! functions by signal handlers".

use ringer_support::prelude::*;
use ringer_support::set_errno;
use std::sync::atomic::AtomicU64;

/// A child that counts SIGUSR1 and SIGUSR2 (with these flags) in word 1, and says in word 0 that it
/// is about to run `body`.
fn interruptible(s: Shared, flags: c_int, body: impl FnOnce()) -> Child {
    let child = fork_run(|| {
        signal::publish(s.word(1));
        signal::count(SIGUSR1, flags);
        signal::count(SIGUSR2, flags);
        s.set(0, 1);
        body();
    });
    s.wait_for(0, 1);
    child.sleeping();
    child
}

fn full_pipe() -> Pipe {
    let p = pipe();
    write_all(&p.w, &stream(0, CAPACITY));
    p
}

both_worlds!(
    a_handler_without_sa_restart_ends_a_blocked_read_with_eintr,
    {
        let (p, s) = (pipe(), Shared::new());
        let child = interruptible(s, 0, || {
            assert_eq!(read_n(&p.r, 10), Err(EINTR));
            assert_eq!(signal::seen(SIGUSR1), 1);
            s.set(2, 1);
            assert_eq!(read_n(&p.r, 10), Ok(b"after".to_vec()));
            assert_eq!(signal::seen(SIGUSR1), 1);
        });
        child.kill(SIGUSR1);
        s.wait_for(2, 1);
        write_all(&p.w, b"after");
        child.succeeds();
    }
);

both_worlds!(a_handler_with_sa_restart_does_not_end_a_blocked_read, {
    let (p, s) = (pipe(), Shared::new());
    let child = interruptible(s, SA_RESTART, || {
        assert_eq!(read_n(&p.r, 10), Ok(b"at last".to_vec()));
        assert_eq!(signal::seen(SIGUSR1), 5);
    });
    for n in 1..=5 {
        child.kill(SIGUSR1);
        s.wait_for(1, n);
        child.sleeping();
    }
    write_all(&p.w, b"at last");
    child.succeeds();
});

both_worlds!(
    a_handler_without_sa_restart_ends_a_write_that_has_written_nothing,
    {
        let (p, s) = (full_pipe(), Shared::new());
        let child = interruptible(s, 0, || {
            assert_eq!(write(&p.w, b"x"), Err(EINTR));
            assert_eq!(signal::seen(SIGUSR1), 1);
            assert_eq!(bytes_waiting(&p.r), Ok(CAPACITY));
        });
        child.kill(SIGUSR1);
        child.succeeds();
    }
);

both_worlds!(
    a_handler_with_sa_restart_does_not_end_a_write_that_has_written_nothing,
    {
        let (p, s) = (full_pipe(), Shared::new());
        let child = interruptible(s, SA_RESTART, || {
            assert_eq!(write(&p.w, &stream(CAPACITY, 3000)), Ok(3000));
            assert_eq!(signal::seen(SIGUSR1), 3);
        });
        for n in 1..=3 {
            child.kill(SIGUSR1);
            s.wait_for(1, n);
            child.sleeping();
        }
        assert!(read_exactly(&p.r, CAPACITY + 3000) == stream(0, CAPACITY + 3000));
        child.succeeds();
    }
);

both_worlds!(
    a_write_that_has_written_something_returns_that_whatever_sa_restart_says,
    {
        for flags in [0, SA_RESTART] {
            let (p, s) = (pipe(), Shared::new());
            let child = interruptible(s, flags, || {
                assert_eq!(write(&p.w, &stream(0, 200_000)), Ok(CAPACITY));
                assert_eq!(signal::seen(SIGUSR1), 1);
            });
            child.kill(SIGUSR1);
            child.succeeds();
            assert!(read_exactly(&p.r, CAPACITY) == stream(0, CAPACITY));
        }
    }
);

both_worlds!(
    an_interrupted_write_counts_what_it_wrote_after_waiting_too,
    {
        let (p, s) = (pipe(), Shared::new());
        let child = interruptible(s, SA_RESTART, || {
            assert_eq!(write(&p.w, &stream(0, 200_000)), Ok(CAPACITY + 3 * PAGE));
        });
        read_exactly(&p.r, 3 * PAGE);
        wait_until(|| bytes_waiting(&p.r) == Ok(CAPACITY));
        child.sleeping();
        child.kill(SIGUSR1);
        child.succeeds();
    }
);

both_worlds!(merged_bytes_count_as_written, {
    let (p, s) = (pipe(), Shared::new());
    write_all(&p.w, &stream(0, CAPACITY - 100));
    let child = interruptible(s, SA_RESTART, || {
        // 100 bytes go behind the last buffer's, and a page has to wait.
        assert_eq!(write(&p.w, &stream(0, PAGE + 100)), Ok(100));
    });
    child.kill(SIGUSR1);
    child.succeeds();
});

both_worlds!(a_blocked_signal_does_not_interrupt, {
    let (p, s) = (pipe(), Shared::new());
    let child = interruptible(s, 0, || {
        signal::block(&[SIGUSR1]);
        s.set(2, 1);
        assert_eq!(read_n(&p.r, 10), Ok(b"data".to_vec()));
        assert_eq!(signal::seen(SIGUSR1), 0);
        assert!(signal::is_pending(SIGUSR1));
        signal::unblock(&[SIGUSR1]);
        assert_eq!(signal::seen(SIGUSR1), 1);
    });
    s.wait_for(2, 1);
    child.sleeping();
    child.kill(SIGUSR1);
    child.sleeping();
    write_all(&p.w, b"data");
    child.succeeds();
});

both_worlds!(an_ignored_signal_does_not_interrupt, {
    let (p, s) = (pipe(), Shared::new());
    let child = interruptible(s, 0, || {
        signal::ignore(SIGUSR1);
        s.set(2, 1);
        assert_eq!(read_n(&p.r, 10), Ok(b"data".to_vec()));
        assert!(!signal::is_pending(SIGUSR1));
    });
    s.wait_for(2, 1);
    child.sleeping();
    for signal in [
        SIGUSR1,
        libc::SIGCHLD,
        libc::SIGWINCH,
        libc::SIGURG,
        SIGCONT,
    ] {
        child.kill(signal);
    }
    child.sleeping();
    write_all(&p.w, b"data");
    child.succeeds();
});

both_worlds!(the_death_of_a_child_interrupts_only_if_handled, {
    let (p, s) = (pipe(), Shared::new());
    let child = fork_run(|| {
        signal::count(libc::SIGCHLD, 0);
        s.set(0, 1);
        let me = getpid();
        let grandchild = fork_run(move || procfs::sleeping(me));
        assert_eq!(read_n(&p.r, 10), Err(EINTR));
        assert_eq!(signal::code(libc::SIGCHLD), libc::CLD_EXITED);
        assert_eq!(signal::sender(libc::SIGCHLD), grandchild.pid());
        grandchild.succeeds();
        signal::default(libc::SIGCHLD);
        let grandchild = fork_run(move || procfs::sleeping(me));
        s.set(1, grandchild.pid() as u64);
        assert_eq!(read_n(&p.r, 10), Ok(b"data".to_vec()));
        grandchild.succeeds();
    });
    s.wait_for(1, 1);
    procfs::gone(s.get(1) as i32);
    child.sleeping();
    write_all(&p.w, b"data");
    child.succeeds();
});

both_worlds!(a_stopped_reader_goes_on_waiting_when_it_is_continued, {
    let (p, s) = (pipe(), Shared::new());
    let child = interruptible(s, 0, || {
        assert_eq!(read_n(&p.r, 10), Ok(b"data".to_vec()));
    });
    for _ in 0..3 {
        child.kill(SIGSTOP);
        procfs::stopped(child.pid());
        child.kill(SIGCONT);
        child.sleeping();
    }
    write_all(&p.w, b"data");
    child.succeeds();
});

both_worlds!(data_written_for_a_stopped_reader_waits_for_it, {
    let (p, s) = (pipe(), Shared::new());
    let child = interruptible(s, 0, || {
        assert_eq!(read_n(&p.r, 10), Ok(b"data".to_vec()));
    });
    child.kill(SIGSTOP);
    procfs::stopped(child.pid());
    write_all(&p.w, b"data");
    procfs::stopped(child.pid());
    assert_eq!(bytes_waiting(&p.r), Ok(4));
    child.kill(SIGCONT);
    child.succeeds();
});

both_worlds!(a_stopped_writer_goes_on_waiting_when_it_is_continued, {
    let (p, s) = (full_pipe(), Shared::new());
    let child = interruptible(s, 0, || {
        assert_eq!(write(&p.w, b"patient"), Ok(7));
    });
    child.kill(SIGSTOP);
    procfs::stopped(child.pid());
    child.kill(SIGCONT);
    child.sleeping();
    read_exactly(&p.r, PAGE);
    child.succeeds();
});

// Unlike a read, a large write that a stop signal interrupts has something to return.
both_worlds!(
    a_stop_ends_a_write_that_has_written_something,
    worlds = all,
    {
        let (p, s) = (pipe(), Shared::new());
        let child = interruptible(s, 0, || {
            assert_eq!(write(&p.w, &stream(0, 200_000)), Ok(CAPACITY));
        });
        child.kill(SIGSTOP);
        procfs::stopped(child.pid());
        child.kill(SIGCONT);
        child.succeeds();
    }
);

both_worlds!(a_handled_sigcont_is_a_signal_as_any_other, {
    let (p, s) = (pipe(), Shared::new());
    let child = interruptible(s, 0, || {
        signal::count(SIGCONT, 0);
        s.set(2, 1);
        assert_eq!(read_n(&p.r, 10), Err(EINTR));
        assert_eq!(signal::seen(SIGCONT), 1);
    });
    s.wait_for(2, 1);
    child.sleeping();
    child.kill(SIGSTOP);
    procfs::stopped(child.pid());
    child.kill(SIGCONT);
    child.succeeds();
});

/// Sends both SIGUSR1 and SIGUSR2 to a stopped child, so that it meets them at once.
fn both_at_once(child: &Child) {
    child.kill(SIGSTOP);
    procfs::stopped(child.pid());
    child.kill(SIGUSR2);
    child.kill(SIGUSR1);
    child.kill(SIGCONT);
}

both_worlds!(
    of_two_signals_at_once_the_lower_decides_whether_to_restart,
    {
        let (p, s) = (pipe(), Shared::new());
        let child = interruptible(s, 0, || {
            signal::count(SIGUSR1, 0);
            signal::count(SIGUSR2, SA_RESTART);
            s.set(2, 1);
            assert_eq!(read_n(&p.r, 10), Err(EINTR));
            assert_eq!((signal::seen(SIGUSR1), signal::seen(SIGUSR2)), (1, 1));
            signal::count(SIGUSR1, SA_RESTART);
            signal::count(SIGUSR2, 0);
            s.set(2, 2);
            assert_eq!(read_n(&p.r, 10), Ok(b"data".to_vec()));
            assert_eq!((signal::seen(SIGUSR1), signal::seen(SIGUSR2)), (2, 2));
        });
        s.wait_for(2, 1);
        child.sleeping();
        both_at_once(&child);
        s.wait_for(2, 2);
        child.sleeping();
        both_at_once(&child);
        s.wait_for(1, 4);
        child.sleeping();
        write_all(&p.w, b"data");
        child.succeeds();
    }
);

both_worlds!(sigterm_kills_a_blocked_reader, {
    let (p, s) = (pipe(), Shared::new());
    let child = interruptible(s, 0, || drop(read_n(&p.r, 10)));
    child.kill(libc::SIGTERM);
    assert_eq!(child.wait().signal(), Some(libc::SIGTERM));
});

both_worlds!(a_signal_to_one_thread_interrupts_only_that_one, {
    signal::count(SIGUSR1, 0);
    let (p, s) = (pipe(), Shared::new());
    let r = p.r.number();
    let threads = [0, 1].map(|i| {
        std::thread::spawn(move || {
            s.set(i, gettid() as u64);
            read_n(r, 10)
        })
    });
    for i in [0, 1] {
        s.wait_for(i, 1);
        procfs::thread_sleeping(s.get(i) as i32);
    }
    let [first, second] = threads;
    signal::tgkill(s.get(0) as i32, SIGUSR1);
    assert_eq!(first.join().unwrap(), Err(EINTR));
    procfs::thread_sleeping(s.get(1) as i32);
    write_all(&p.w, b"second");
    assert_eq!(second.join().unwrap(), Ok(b"second".to_vec()));
    assert_eq!(signal::seen(SIGUSR1), 1);
});

both_worlds!(poll_select_and_epoll_are_never_restarted, {
    let p = pipe();
    let epoll = Epoll::new();
    epoll.add(&p.r, EPOLLIN);
    let r = p.r.number();
    let calls: [&dyn Fn() -> Sys; 5] = [
        &|| poll(&mut [pollfd(r, POLLIN)], -1),
        &|| ppoll(&mut [pollfd(r, POLLIN)], None, None),
        &|| select(&[r], &[], None, Select::Timeval).count,
        &|| select(&[r], &[], None, Select::Timespec).count,
        &|| epoll.wait(-1).map(|events| events.len()),
    ];
    for (i, call) in calls.iter().enumerate() {
        let s = Shared::new();
        let child = interruptible(s, SA_RESTART, || assert_eq!(call(), Err(EINTR), "call {i}"));
        child.kill(SIGUSR1);
        child.succeeds();
    }
});

both_worlds!(ppoll_lets_signals_in_only_while_it_waits, {
    let p = pipe();
    signal::count(SIGUSR1, 0);
    signal::block(&[SIGUSR1]);
    signal::kill(getpid(), SIGUSR1);
    let mask = Some(signal::set(&[]));
    assert_eq!(signal::seen(SIGUSR1), 0);
    assert_eq!(ppoll(&mut [pollfd(&p.r, POLLIN)], None, mask), Err(EINTR));
    assert_eq!(signal::seen(SIGUSR1), 1);
    // If something is ready, it does not wait, and the signal stays pending.
    signal::kill(getpid(), SIGUSR1);
    write_all(&p.w, b"x");
    assert_eq!(ppoll(&mut [pollfd(&p.r, POLLIN)], None, mask), Ok(1));
    assert_eq!(signal::seen(SIGUSR1), 1);
    assert!(signal::is_pending(SIGUSR1));
});

static ERRNO_IN_HANDLER: AtomicU64 = AtomicU64::new(0);

extern "C" fn note_errno(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    ERRNO_IN_HANDLER.store(ringer_support::errno() as u64, SeqCst);
}

both_worlds!(errno_is_the_programs_in_the_handler_and_after_it, {
    let (p, s) = (pipe(), Shared::new());
    let child = interruptible(s, 0, || {
        signal::handle(SIGUSR1, SA_RESTART, note_errno);
        s.set(2, 1);
        let mut buf = [0; 10];
        set_errno(77);
        let n = read(&p.r, &mut buf);
        let after = ringer_support::errno();
        assert_eq!((n, after), (Ok(4), 77));
        assert_eq!(ERRNO_IN_HANDLER.load(SeqCst), 77);
    });
    s.wait_for(2, 1);
    child.sleeping();
    child.kill(SIGUSR1);
    child.sleeping();
    write_all(&p.w, b"data");
    child.succeeds();
});

both_worlds!(successful_calls_leave_errno_alone, {
    let p = pipe();
    set_errno(66);
    let mut buf = [0; 4];
    let done = [
        write(&p.w, b"data"),
        read(&p.r, &mut buf),
        bytes_waiting(&p.r),
        fcntl(&p.r, F_GETFL, 0),
        fcntl(&p.r, F_GETPIPE_SZ, 0),
        fcntl(&p.r, F_SETPIPE_SZ, 8192),
        dup(&p.r).and_then(Fd::close),
        pipe2(O_CLOEXEC).map(|_| 0),
        poll(&mut [pollfd(&p.r, POLLIN)], 0),
    ];
    assert_eq!(ringer_support::errno(), 66);
    assert!(done.iter().all(Result::is_ok), "{done:?}");
});
