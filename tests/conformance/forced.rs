//! SIGSEGV, SIGBUS and SIGSYS that somebody sends, to a process that blocks them. They are signals
//! as any other then: see signal(7), "Signal mask and pending signals".

use libc::{siginfo_t, SIGBUS, SIGSEGV, SIGSYS};
use ringer_support::check;
use ringer_support::prelude::*;
use ringer_support::signal::{queue, raise, signalfd, suspend, wait_for};
use std::sync::atomic::{AtomicI32, AtomicUsize};

const FORCED: [c_int; 3] = [SIGSEGV, SIGBUS, SIGSYS];

/// Runs `body` for each of the three, in a child that holds a pipe with a byte in it.
fn each(body: impl Fn(c_int, &Pipe)) {
    for number in FORCED {
        let child = fork_run(|| {
            let p = pipe();
            write_all(&p.w, b"x");
            no_core();
            body(number, &p);
            // All is still in order.
            assert_eq!(read_n(&p.r, 1), Ok(b"x".to_vec()), "{number}");
        });
        child.succeeds();
    }
}

fn no_core() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a valid limit.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) }).unwrap();
}

both_worlds!(a_blocked_one_is_pending_until_it_is_unblocked, {
    each(|number, _| {
        signal::count(number, 0);
        signal::block(&[number]);
        assert!(!signal::is_pending(number));
        raise(number);
        raise(number);
        assert!(signal::is_pending(number));
        assert_eq!(signal::seen(number), 0);
        signal::unblock(&[number]);
        assert_eq!(signal::seen(number), 1, "{number}");
        assert_eq!(signal::sender(number), getpid());
        assert!(!signal::is_pending(number));
    });
});

both_worlds!(its_siginfo_is_that_of_the_first_one_sent, {
    each(|number, _| {
        signal::count(number, 0);
        signal::block(&[number]);
        let me = getpid();
        let child = fork_child(|| {
            queue(me, number, 77);
            0
        });
        let sender = child.pid();
        child.succeeds();
        queue(me, number, 78);
        signal::unblock(&[number]);
        assert_eq!(signal::seen(number), 1);
        assert_eq!(signal::code(number), libc::SI_QUEUE);
        assert_eq!(signal::sender(number), sender);
    });
});

both_worlds!(it_kills_when_it_is_unblocked_and_not_handled, {
    for number in FORCED {
        let child = fork_run(|| {
            let _p = pipe();
            no_core();
            signal::default(number);
            signal::block(&[number]);
            raise(number);
            assert!(signal::is_pending(number));
            signal::unblock(&[number]);
        });
        assert_eq!(child.wait().signal(), Some(number));
    }
});

both_worlds!(sigtimedwait_takes_a_pending_one_with_its_siginfo, {
    each(|number, _| {
        signal::block(&[number]);
        queue(getpid(), number, 0x1234_5678_9abc);
        let got = wait_for(&[number], 5000).unwrap();
        assert_eq!((got.number, got.code), (number, libc::SI_QUEUE));
        assert_eq!((got.pid, got.value), (getpid(), 0x1234_5678_9abc));
        assert!(!signal::is_pending(number));
        signal::kill(getpid(), number);
        let got = wait_for(&[SIGUSR1, number], 5000).unwrap();
        assert_eq!((got.number, got.code), (number, libc::SI_USER));
        assert_eq!(wait_for(&[number], 1).err(), Some(EAGAIN));
    });
});

both_worlds!(sigtimedwait_is_woken_by_one, {
    each(|number, _| {
        signal::block(&[number]);
        let me = getpid();
        let child = fork_run(|| {
            procfs::sleeping(me);
            queue(me, number, 5);
        });
        let got = wait_for(&[number], 10_000).unwrap();
        assert_eq!((got.pid, got.value), (child.pid(), 5));
        child.succeeds();
    });
});

both_worlds!(a_signalfd_is_readable_when_one_is_pending, {
    each(|number, p| {
        let fd = signalfd(number, libc::SFD_NONBLOCK);
        signal::block(&[number]);
        let epoll = Epoll::new();
        epoll.add(&fd, EPOLLIN);
        assert_eq!(poll(&mut [pollfd(&fd, POLLIN)], 0), Ok(0));
        queue(getpid(), number, 99);
        let mut fds = [pollfd(&fd, POLLIN), pollfd(&p.r, POLLIN)];
        assert_eq!(poll(&mut fds, 5000), Ok(2));
        assert_eq!(epoll.wait(5000).unwrap().len(), 1);
        assert!(signal::is_pending(number));
        let mut record = [0; 128];
        assert_eq!(read(&fd, &mut record), Ok(128));
        let word = |i: usize| i32::from_ne_bytes(record[i..i + 4].try_into().unwrap());
        // ssi_signo, ssi_errno, ssi_code, ssi_pid, and ssi_int at 44.
        let got = [word(0), word(4), word(8), word(12), word(44)];
        assert_eq!(got, [number, 0, libc::SI_QUEUE, getpid(), 99]);
        assert!(!signal::is_pending(number));
        assert_eq!(read(&fd, &mut record), Err(EAGAIN));
    });
});

both_worlds!(whoever_waits_for_a_signalfd_is_woken_by_one, {
    each(|number, _| {
        signal::block(&[number]);
        let fd = signalfd(number, 0);
        let me = getpid();
        for how in 0..3 {
            let child = fork_run(|| {
                procfs::sleeping(me);
                signal::kill(me, number);
            });
            let epoll = Epoll::new();
            epoll.add(&fd, EPOLLIN);
            match how {
                0 => assert_eq!(poll(&mut [pollfd(&fd, POLLIN)], 10_000), Ok(1)),
                1 => assert_eq!(epoll.wait(10_000).unwrap().len(), 1),
                _ => {}
            }
            let mut record = [0; 128];
            assert_eq!(read(&fd, &mut record), Ok(128));
            child.succeeds();
        }
    });
});

static FD: AtomicI32 = AtomicI32::new(-1);
static RUNS: AtomicUsize = AtomicUsize::new(0);

/// Makes calls by hook and past it, which must come to ringer, and faults that must be EFAULT.
extern "C" fn write_a_byte(_: c_int, _: *mut siginfo_t, _: *mut c_void) {
    assert_eq!(write(FD.load(SeqCst), b"h"), Ok(1));
    assert_eq!(raw::inline::write(FD.load(SeqCst), b"i"), Ok(1));
    RUNS.fetch_add(1, SeqCst);
}

both_worlds!(sigsuspend_lets_a_pending_one_in, {
    each(|number, p| {
        FD.store(p.w.number(), SeqCst);
        signal::handle(number, 0, write_a_byte);
        signal::block(&[number]);
        raise(number);
        assert_eq!(RUNS.load(SeqCst), 0);
        // Nearly everything stays blocked meanwhile, and while the handler runs.
        let others: Vec<_> = (1..32).filter(|n| *n != number).collect();
        assert_eq!(suspend(&others), Err(EINTR));
        assert_eq!(RUNS.load(SeqCst), 1);
        raise(number);
        assert!(signal::is_pending(number));
        assert_eq!(suspend(&[]), Err(EINTR));
        assert_eq!(RUNS.load(SeqCst), 2);
        assert_eq!(drain_n(&p.r, 5), b"xhihi");
        write_all(&p.w, b"x");
    });
});

fn drain_n(fd: &Fd, n: usize) -> Vec<u8> {
    read_exactly(fd, n)
}

both_worlds!(a_handler_within_sigsuspend_may_use_pipes, {
    each(|number, p| {
        FD.store(p.w.number(), SeqCst);
        signal::handle(SIGUSR1, 0, write_a_byte);
        signal::block(&[SIGUSR1, number]);
        raise(number);
        raise(SIGUSR1);
        let others: Vec<_> = (1..32).filter(|n| *n != SIGUSR1).collect();
        assert_eq!(suspend(&others), Err(EINTR));
        assert_eq!(RUNS.load(SeqCst), 1);
        assert!(signal::is_pending(number));
        let mask = Some(signal::set(&others));
        raise(SIGUSR1);
        let mut none = [pollfd(-1, 0)];
        assert_eq!(ppoll(&mut none, None, mask), Err(EINTR));
        assert_eq!(RUNS.load(SeqCst), 2);
        assert!(signal::is_pending(number));
        assert_eq!(wait_for(&[number], 0).unwrap().number, number);
        assert_eq!(drain_n(&p.r, 5), b"xhihi");
        write_all(&p.w, b"x");
    });
});

both_worlds!(ppoll_lets_a_pending_one_in, {
    each(|number, _| {
        signal::count(number, 0);
        signal::block(&[number]);
        raise(number);
        let mask = Some(signal::set(&[]));
        assert_eq!(ppoll(&mut [pollfd(-1, 0)], None, mask), Err(EINTR));
        assert_eq!(signal::seen(number), 1);
        assert!(!signal::is_pending(number));
    });
});

both_worlds!(ignored_and_blocked_it_is_pending, {
    each(|number, _| {
        signal::ignore(number);
        raise(number);
        signal::block(&[number]);
        assert!(!signal::is_pending(number));
        raise(number);
        assert!(signal::is_pending(number));
        assert_eq!(wait_for(&[number], 0).unwrap().number, number);
        raise(number);
        signal::unblock(&[number]);
        assert!(!signal::is_pending(number));
    });
});

both_worlds!(one_that_is_pending_is_discarded_by_sig_ign, {
    each(|number, _| {
        signal::count(number, 0);
        signal::block(&[number]);
        raise(number);
        signal::kill(getpid(), number);
        signal::ignore(number);
        assert!(!signal::is_pending(number));
        signal::count(number, 0);
        signal::unblock(&[number]);
        assert_eq!(signal::seen(number), 0);
        signal::block(&[number]);
        raise(number);
        signal::unblock(&[number]);
        assert_eq!(signal::seen(number), 1);
    });
});

both_worlds!(a_forked_child_has_none_pending, {
    each(|number, _| {
        signal::block(&[number]);
        raise(number);
        signal::kill(getpid(), number);
        fork_run(|| {
            assert!(!signal::is_pending(number));
            signal::unblock(&[number]);
        })
        .succeeds();
        assert!(signal::is_pending(number));
        for _ in 0..2 {
            assert_eq!(wait_for(&[number], 0).unwrap().number, number);
        }
        assert!(!signal::is_pending(number));
    });
});

both_worlds!(a_new_program_has_it_pending, {
    let path = program("pending", Linkage::Dynamic);
    each(|number, p| {
        for (sent_to_thread, ignored) in [(true, false), (false, false), (true, true)] {
            for unblock in ["0", "1"] {
                let (w, path) = (dup(&p.w).unwrap(), &path);
                let child = fork_run(move || {
                    let _held = w;
                    if ignored {
                        signal::ignore(number);
                    }
                    signal::block(&[number]);
                    if sent_to_thread {
                        raise(number);
                    } else {
                        signal::kill(getpid(), number);
                    }
                    exec(path, &[&number.to_string(), unblock]);
                });
                let status = child.wait();
                match (unblock, ignored) {
                    ("0", _) => assert_eq!(status.code(), Some(0), "{number}"),
                    (_, true) => assert_eq!(status.code(), Some(3), "{number}"),
                    _ => assert_eq!(status.signal(), Some(number)),
                }
            }
        }
    });
});

both_worlds!(it_survives_an_exec_that_fails, {
    each(|number, _| {
        signal::count(number, 0);
        signal::block(&[number]);
        raise(number);
        let args = [c"/".as_ptr(), std::ptr::null()];
        // SAFETY: valid arguments; a directory can not be executed.
        let ret = unsafe { libc::execv(c"/".as_ptr(), args.as_ptr()) };
        assert_eq!(ret, -1);
        assert!(signal::is_pending(number));
        signal::unblock(&[number]);
        assert_eq!(signal::seen(number), 1);
    });
});

static HANDLED_BY: AtomicI32 = AtomicI32::new(0);
static CODE: AtomicI32 = AtomicI32::new(i32::MIN);

extern "C" fn note_thread(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel's.
    let info = unsafe { &*info };
    assert_eq!(info.si_errno, 0);
    CODE.store(info.si_code, SeqCst);
    HANDLED_BY.store(gettid(), SeqCst);
}

both_worlds!(
    one_for_the_process_goes_to_a_thread_that_does_not_block_it,
    {
        each(|number, _| {
            let s = Shared::new();
            signal::handle(number, 0, note_thread);
            signal::block(&[number]);
            let other = std::thread::spawn(move || {
                signal::unblock(&[number]);
                s.set(0, gettid() as u64);
                s.wait_for(1, 1);
            });
            wait_until(|| s.get(0) != 0);
            signal::kill(getpid(), number);
            wait_until(|| HANDLED_BY.load(SeqCst) != 0);
            assert_eq!(HANDLED_BY.load(SeqCst) as u64, s.get(0));
            assert_eq!(CODE.load(SeqCst), libc::SI_USER);
            assert!(!signal::is_pending(number));
            s.set(1, 1);
            other.join().unwrap();
            // One for a thread stays with it.
            raise(number);
            assert!(signal::is_pending(number));
        });
    }
);

both_worlds!(one_for_the_process_goes_to_the_thread_that_waits_for_it, {
    each(|number, _| {
        let s = Shared::new();
        signal::block(&[number]);
        let fd = signalfd(number, 0).leak();
        for how in 0..3 {
            let other = std::thread::spawn(move || {
                s.set(how, gettid() as u64);
                match how {
                    0 => {
                        let got = wait_for(&[number], 10_000).unwrap();
                        assert_eq!((got.code, got.pid), (libc::SI_USER, getpid()));
                    }
                    1 => assert_eq!(wait_for(&[number], 10_000).unwrap().value, 66),
                    _ => {
                        let mut record = [0; 128];
                        assert_eq!(poll(&mut [pollfd(fd, POLLIN)], 10_000), Ok(1));
                        assert_eq!(read(fd, &mut record), Ok(128));
                    }
                }
            });
            wait_until(|| s.get(how) != 0);
            procfs::thread_sleeping(s.get(how) as i32);
            if how == 1 {
                queue(getpid(), number, 66);
            } else {
                signal::kill(getpid(), number);
            }
            other.join().unwrap();
            assert!(!signal::is_pending(number));
        }
    });
});

both_worlds!(what_is_pending_for_the_process_any_thread_may_take, {
    each(|number, _| {
        signal::block(&[number]);
        signal::kill(getpid(), number);
        std::thread::spawn(move || {
            assert!(signal::is_pending(number));
            assert_eq!(wait_for(&[number], 0).unwrap().number, number);
            raise(number);
            assert!(signal::is_pending(number));
        })
        .join()
        .unwrap();
        assert!(!signal::is_pending(number));
    });
});

both_worlds!(blocked_it_does_not_end_a_read_and_handled_it_does, {
    for number in FORCED {
        for flags in [0, SA_RESTART] {
            let (p, s) = (pipe(), Shared::new());
            let child = fork_run(|| {
                signal::count(number, flags);
                signal::block(&[number]);
                s.set(0, 1);
                assert_eq!(read_n(&p.r, 10), Ok(b"first".to_vec()));
                assert_eq!(signal::seen(number), 0);
                signal::unblock(&[number]);
                assert_eq!(signal::seen(number), 1);
                s.set(0, 2);
                let got = read_n(&p.r, 10);
                assert_eq!(signal::seen(number), 2);
                if flags == 0 {
                    assert_eq!(got, Err(EINTR), "{number}");
                } else {
                    assert_eq!(got, Ok(b"second".to_vec()), "{number}");
                }
            });
            s.wait_for(0, 1);
            child.sleeping();
            child.kill(number);
            child.sleeping();
            write_all(&p.w, b"first");
            s.wait_for(0, 2);
            child.sleeping();
            child.kill(number);
            if flags != 0 {
                child.sleeping();
                write_all(&p.w, b"second");
            }
            child.succeeds();
        }
    }
});

static DEPTH: AtomicUsize = AtomicUsize::new(0);

extern "C" fn raise_once_more(number: c_int, _: *mut siginfo_t, _: *mut c_void) {
    assert_eq!(DEPTH.fetch_add(1, SeqCst), 0);
    if RUNS.fetch_add(1, SeqCst) == 0 {
        raise(number);
        assert!(signal::is_pending(number));
    }
    DEPTH.fetch_sub(1, SeqCst);
}

both_worlds!(sent_in_its_own_handler_it_waits_until_that_is_over, {
    each(|number, _| {
        signal::handle(number, 0, raise_once_more);
        raise(number);
        assert_eq!(RUNS.load(SeqCst), 2, "{number}");
    });
});
