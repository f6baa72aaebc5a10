//! open(2) that waits for the other end. See fifo(7).

use libc::ENXIO;
use ringer_support::fifo::*;
use ringer_support::prelude::*;
use std::ffi::CString;

use crate::{READ_NOW, WRITE_NOW};

/// A child in open(2) of this FIFO, that then runs `body`. It says in word 0 that it is about to open.
fn opener(f: &Fifo, s: Shared, flags: c_int, body: impl FnOnce(Result<Fd, i32>)) -> Child {
    let child = fork_run(|| {
        s.bump(0);
        body(f.open(flags));
    });
    s.wait_for(0, 1);
    child.sleeping();
    child
}

both_worlds!(a_reader_waits_in_open_for_a_writer, worlds = all, {
    let (f, s) = (Fifo::new(), Shared::new());
    let child = opener(&f, s, O_RDONLY, |r| {
        assert_eq!(read_to_end(&r.unwrap()), b"hello");
    });
    let w = f.open(O_WRONLY).unwrap();
    write_all(&w, b"hello");
    drop(w);
    child.succeeds();
});

both_worlds!(a_writer_waits_in_open_for_a_reader, worlds = all, {
    let (f, s) = (Fifo::new(), Shared::new());
    let child = opener(&f, s, O_WRONLY, |w| write_all(&w.unwrap(), b"hello"));
    assert_eq!(read_to_end(&f.open(O_RDONLY).unwrap()), b"hello");
    child.succeeds();
});

both_worlds!(
    a_writer_that_comes_and_goes_lets_a_waiting_reader_in,
    worlds = all,
    {
        let (f, s) = (Fifo::new(), Shared::new());
        let child = opener(&f, s, O_RDONLY, |r| {
            assert_eq!(read_to_end(&r.unwrap()), b"gone");
        });
        let w = f.open(O_WRONLY).unwrap();
        write_all(&w, b"gone");
        w.close().unwrap();
        child.succeeds();
    }
);

both_worlds!(all_who_wait_in_open_are_let_in_by_one, worlds = all, {
    let (f, s) = (Fifo::new(), Shared::new());
    let children: Vec<Child> = (0..4)
        .map(|n| {
            let child = fork_run(|| {
                s.bump(0);
                let w = f.open(O_WRONLY).unwrap();
                write_all(&w, &[n]);
            });
            s.wait_for(0, u64::from(n) + 1);
            child.sleeping();
            child
        })
        .collect();
    let r = f.open(O_RDONLY).unwrap();
    all_succeed(children);
    let mut got = read_to_end(&r);
    got.sort();
    assert_eq!(got, [0, 1, 2, 3]);
});

both_worlds!(threads_of_one_process_meet, worlds = all, {
    let f = Fifo::new();
    let path = f.path.clone();
    let thread = std::thread::spawn(move || {
        let w = open(&path, O_WRONLY).unwrap();
        write_all(&w, b"from a thread");
    });
    assert_eq!(read_to_end(&f.open(O_RDONLY).unwrap()), b"from a thread");
    thread.join().unwrap();
});

fn interrupted(flags: c_int, other: c_int) {
    let (f, s) = (Fifo::new(), Shared::new());
    let child = fork_run(|| {
        signal::count(SIGUSR1, 0);
        s.bump(0);
        assert_eq!(f.open(flags), Err(EINTR));
        assert_eq!(signal::seen(SIGUSR1), 1);
        // Nothing is left of it.
        match flags {
            O_RDONLY => assert_eq!(f.open(WRITE_NOW), Err(ENXIO)),
            _ => assert_eq!(read_n(&f.open(READ_NOW).unwrap(), 1), Ok(vec![])),
        }
        s.bump(1);
        f.open(flags).unwrap();
    });
    s.wait_for(0, 1);
    child.sleeping();
    child.kill(SIGUSR1);
    s.wait_for(1, 1);
    f.open(other).unwrap();
    child.succeeds();
}

both_worlds!(
    a_handler_without_sa_restart_ends_open_with_eintr,
    worlds = armed,
    timeout = 20,
    {
        interrupted(O_RDONLY, O_WRONLY);
        interrupted(O_WRONLY, O_RDONLY);
    }
);

both_worlds!(
    a_handler_with_sa_restart_does_not_end_open,
    worlds = armed,
    timeout = 20,
    {
        let (f, s) = (Fifo::new(), Shared::new());
        let child = fork_run(|| {
            signal::publish(s.word(1));
            signal::count(SIGUSR1, SA_RESTART);
            s.bump(0);
            assert_eq!(read_to_end(&f.open(O_RDONLY).unwrap()), b"at last");
            assert_eq!(signal::seen(SIGUSR1), 3);
        });
        s.wait_for(0, 1);
        child.sleeping();
        for n in 1..=3 {
            child.kill(SIGUSR1);
            s.wait_for(1, n);
            child.sleeping();
        }
        write_all(&f.open(O_WRONLY).unwrap(), b"at last");
        child.succeeds();
    }
);

both_worlds!(
    a_handler_may_open_another_one_meanwhile,
    worlds = armed,
    timeout = 20,
    {
        static PATH: std::sync::OnceLock<CString> = std::sync::OnceLock::new();
        extern "C" fn handler(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            let path = PATH.get().expect("set before").as_ptr();
            // SAFETY: a C string; open(2) and close(2) are async-signal-safe.
            unsafe { libc::close(libc::open(path, READ_NOW)) };
        }
        let (f, other, s) = (Fifo::new(), Fifo::new(), Shared::new());
        PATH.set(CString::new(other.path.clone()).unwrap()).unwrap();
        let child = fork_run(|| {
            signal::handle(SIGUSR1, SA_RESTART, handler);
            s.bump(0);
            let r = f.open(O_RDONLY).unwrap();
            assert_eq!(read_to_end(&r), b"here");
            assert_eq!(bytes_waiting(&r), Ok(0));
        });
        s.wait_for(0, 1);
        child.sleeping();
        child.kill(SIGUSR1);
        child.sleeping();
        write_all(&f.open(O_WRONLY).unwrap(), b"here");
        child.succeeds();
    }
);

both_worlds!(kill_9_of_one_who_waits_in_open, worlds = all, {
    let f = Fifo::new();
    for (flags, other) in [(O_RDONLY, O_WRONLY), (O_WRONLY, O_RDONLY)] {
        let s = Shared::new();
        opener(&f, s, flags, |_| ()).kill_9();
        // He is not there any more.
        let s = Shared::new();
        let child = opener(&f, s, other, |fd| drop(fd.unwrap()));
        drop(f.open(flags).unwrap());
        child.succeeds();
    }
});
