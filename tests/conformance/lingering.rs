//! A descriptor that is closed, replaced or inherited while other threads wait on it: in Linux a
//! waiting call holds the file until it is over. See close(2) "Multithreaded processes and close()".

use ringer_support::prelude::*;
use ringer_support::transfer::{splice, tee};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{spawn, JoinHandle};

/// A thread that runs `f`, and is asleep in it.
fn waits<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let s = Shared::new();
    let thread = spawn(move || {
        s.set(0, gettid() as u64);
        f()
    });
    while s.get(0) == 0 {
        std::thread::yield_now();
    }
    procfs::thread_sleeping(s.get(0) as i32);
    thread
}

/// Two threads read, the number goes, both get their bytes; then no reader is left.
fn two_readers_survive_a_close() {
    let p = pipe();
    let (r, w) = (p.r.leak(), p.w);
    let first = waits(move || read_n(r, 8));
    let second = waits(move || read_n(r, 8));
    assert_eq!(close(r), Ok(0));
    write_all(&w, b"one");
    assert_eq!(first.join().unwrap(), Ok(b"one".to_vec()));
    write_all(&w, b"two");
    assert_eq!(second.join().unwrap(), Ok(b"two".to_vec()));
    signal::ignore(SIGPIPE);
    assert_eq!(write(&w, b"x"), Err(EPIPE));
}

both_worlds!(closing_the_number_ends_neither_of_two_reads, {
    two_readers_survive_a_close();
});

both_worlds!(nor_does_it_where_high_numbers_are_forbidden, {
    limit_descriptors(100);
    two_readers_survive_a_close();
});

both_worlds!(closing_the_number_ends_neither_of_two_writes, {
    const LEN: usize = 3 * CAPACITY;
    let p = pipe();
    let (r, w) = (p.r, p.w.leak());
    let writers = [(); 2].map(|()| waits(move || write(w, &stream(0, LEN))));
    assert_eq!(close(w), Ok(0));
    assert_eq!(read_to_end(&r).len(), 2 * LEN);
    for writer in writers {
        assert_eq!(writer.join().unwrap(), Ok(LEN));
    }
});

both_worlds!(closing_another_number_of_the_same_end_keeps_nothing_open, {
    for _ in 0..20 {
        let p = pipe();
        let (r, w) = (p.r, p.w.leak());
        let over: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let writer = spawn(move || {
            for _ in 0..10 {
                assert_eq!(write(w, &stream(0, 100_000)), Ok(100_000));
            }
        });
        let closer = spawn(move || {
            while !over.load(Relaxed) {
                let copy = dup(w).unwrap();
                close(copy.leak()).unwrap();
            }
        });
        let all = spawn(move || read_to_end(&r).len());
        writer.join().unwrap();
        over.store(true, Relaxed);
        closer.join().unwrap();
        assert_eq!(close(w), Ok(0));
        assert_eq!(all.join().unwrap(), 1_000_000);
    }
});

both_worlds!(the_kernel_serves_the_rest_of_a_read_whose_number_is_gone, {
    let (p, q) = (pipe(), pipe());
    let (r, w) = (p.r.leak(), p.w);
    write_all(&q.w, b"sp");
    let reader = waits(move || read_n(r, 8));
    assert_eq!(close(r), Ok(0));
    assert_eq!(splice(&q.r, &w, 2, 0), Ok(2)); // pages by reference: no ring any more
    assert_eq!(reader.join().unwrap(), Ok(b"sp".to_vec()));
    signal::ignore(SIGPIPE);
    assert_eq!(write(&w, b"x"), Err(EPIPE));
});

both_worlds!(
    the_kernel_serves_it_by_the_old_pipe_if_the_number_is_another,
    {
        let (p, q, other) = (pipe(), pipe(), pipe());
        let (r, w) = (p.r.leak(), p.w);
        write_all(&q.w, b"old");
        write_all(&other.w, b"new");
        let reader = waits(move || read_n(r, 8));
        dup2(&other.r, r).unwrap();
        assert_eq!(splice(&q.r, &w, 3, 0), Ok(3));
        assert_eq!(reader.join().unwrap(), Ok(b"old".to_vec()));
        assert_eq!(read_n(r, 8), Ok(b"new".to_vec()));
    }
);

both_worlds!(a_write_goes_on_in_the_kernel_when_its_number_is_gone, {
    const LEN: usize = 4 * CAPACITY;
    let p = pipe();
    let (r, w) = (p.r, p.w.leak());
    let writer = waits(move || write(w, &stream(0, LEN)));
    assert_eq!(close(w), Ok(0));
    let q = pipe();
    assert_eq!(tee(&r, &q.w, 10, 0), Ok(10));
    assert!(read_to_end(&r) == stream(0, LEN));
    assert_eq!(writer.join().unwrap(), Ok(LEN));
});

both_worlds!(a_child_forked_meanwhile_holds_nothing, {
    for _ in 0..20 {
        let p = pipe();
        let (r, w) = (p.r, p.w.leak());
        let writer = waits(move || write(w, &stream(0, 2 * CAPACITY)));
        assert_eq!(close(w), Ok(0));
        let s = Shared::new();
        let child = fork_run(move || s.wait_for(0, 1));
        assert_eq!(read_to_end(&r).len(), 2 * CAPACITY);
        s.set(0, 1);
        writer.join().unwrap().unwrap();
        child.succeeds();
    }
});

both_worlds!(closing_everything_does_not_end_a_read_that_waits, {
    let p = pipe();
    let (r, w) = (p.r.leak(), p.w.leak());
    let reader = waits(move || read_n(r, 8));
    assert!(w > r);
    for (first, last) in [(r, w - 1), (w + 1, i32::MAX)] {
        assert_eq!(close_range(first as u32, last as u32, 0), Ok(0));
    }
    for fd in (w + 1)..1024 {
        assert_eq!(close(fd), Err(EBADF), "{fd}");
    }
    write_all(w, b"one");
    assert_eq!(reader.join().unwrap(), Ok(b"one".to_vec()));
});

/// Descriptors of this process that are write ends of pipes.
fn write_ends() -> Vec<i32> {
    let is_write_end = |fd: &i32| {
        let is_pipe = fstat(*fd).is_ok_and(|st| st.st_mode & libc::S_IFMT == libc::S_IFIFO);
        is_pipe && status_flags(*fd) & libc::O_ACCMODE == libc::O_WRONLY
    };
    (3..64).filter(is_write_end).collect()
}

// What is opened for a moment inside a call is in no child, or its end of file would be the child's.
both_worlds!(no_child_of_another_thread_inherits_what_a_call_opens, {
    let before = write_ends();
    let gate: &'static std::sync::Mutex<()> = Box::leak(Box::default());
    let forker = spawn(move || {
        for n in 0..1000 {
            let no_pipe_is_made = gate.lock().unwrap();
            let child = fork_run(|| assert_eq!(write_ends(), before, "child {n}"));
            drop(no_pipe_is_made);
            child.succeeds();
        }
    });
    while !forker.is_finished() {
        let no_fork = gate.lock().unwrap();
        let ends = [(); 20].map(|()| {
            let Pipe { r, w } = pipe();
            write_all(&w, b"abc");
            r // and no write end is open any more
        });
        drop(no_fork);
        for r in ends {
            assert_ne!(poll_now(&r) & POLLIN, 0); // polled: both ends are needed for a moment
            assert_eq!(read_to_end(&r), b"abc");
        }
    }
    forker.join().unwrap();
});

// One thread selects, another writes, which ends the select; the first closes both ends while the second may still be in its
// write. The next pipe has nothing of this one.
both_worlds!(who_is_woken_closes_both_ends_under_the_writer, {
    for _ in 0..300 {
        let p = pipe();
        let (r, w) = (p.r.leak(), p.w.leak());
        let woken = waits(move || {
            let told = poll(&mut [pollfd(r, POLLIN)], 10_000);
            let _ = (close(r), close(w));
            told == Ok(1)
        });
        // Closed under it: EBADF at worst, if the other thread is here first.
        assert_eq!(write(w, b"stop"), Ok(4));
        assert!(woken.join().unwrap(), "nobody told the poller");
    }
});
