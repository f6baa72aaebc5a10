//! What the two ends of a FIFO do, once they are open. See fifo(7), pipe(7).

use libc::{ENXIO, O_TRUNC};
use ringer_support::fifo::*;
use ringer_support::prelude::*;

use crate::{READ_NOW, WRITE_NOW};

const OUT: i16 = POLLOUT | POLLWRNORM;
const IN: i16 = POLLIN | POLLRDNORM;

both_worlds!(to_read_without_waiting_needs_no_writer, worlds = all, {
    let f = Fifo::new();
    let r = f.open(READ_NOW).unwrap();
    assert_eq!(status_flags(&r) & !0o100000, READ_NOW);
    // No writer has been there: the end of the file, and no hang-up.
    assert_eq!(read_n(&r, 8), Ok(vec![]));
    assert_eq!(poll_now(&r), 0);
    let w = f.open(O_WRONLY).unwrap();
    assert_eq!(read_n(&r, 8), Err(EAGAIN));
    write_all(&w, b"x");
    drop(w);
    assert_eq!(poll_now(&r), IN | POLLHUP);
    assert_eq!(read_n(&r, 8), Ok(b"x".to_vec()));
    assert_eq!(read_n(&r, 8), Ok(vec![]));
    assert_eq!(poll_now(&r), POLLHUP);
    // Another writer: it is over with the hang-up.
    let w = f.open(WRITE_NOW).unwrap();
    assert_eq!(poll_now(&r), 0);
    assert_eq!(read_n(&r, 8), Err(EAGAIN));
    drop(w);
    assert_eq!(read_n(&r, 8), Ok(vec![]));
});

both_worlds!(
    to_write_without_waiting_is_enxio_without_a_reader,
    worlds = all,
    {
        let f = Fifo::new();
        assert_eq!(f.open(WRITE_NOW), Err(ENXIO));
        assert_eq!(f.open(WRITE_NOW | O_TRUNC), Err(ENXIO));
        let r = f.open(READ_NOW).unwrap();
        let w = f.open(WRITE_NOW).unwrap();
        assert_eq!(write(&w, b"x"), Ok(1));
        drop(r);
        assert_eq!(f.open(WRITE_NOW), Err(ENXIO));
        signal::ignore(SIGPIPE);
        assert_eq!(write(&w, b"x"), Err(EPIPE));
    }
);

both_worlds!(for_both_directions_it_waits_for_nobody, worlds = all, {
    let f = Fifo::new();
    let b = f.open(O_RDWR).unwrap();
    assert_eq!(status_flags(&b) & libc::O_ACCMODE, O_RDWR);
    assert_eq!(poll_now(&b), OUT);
    write_all(&b, b"to myself");
    assert_eq!(poll_now(&b), IN | OUT);
    assert_eq!(bytes_waiting(&b), Ok(9));
    assert_eq!(read_n(&b, 20), Ok(b"to myself".to_vec()));
    set_nonblocking(&b, true);
    assert_eq!(read_n(&b, 20), Err(EAGAIN));
    assert_eq!(fill(&b), CAPACITY);
    assert_eq!(poll_now(&b), IN);
    assert_eq!(drain(&b).len(), CAPACITY);
    assert_eq!(writev_slices(&b, &[b"ab", b"cd"]), Ok(4));
    let copy = dup(&b).unwrap();
    drop(b);
    assert_eq!(read_n(&copy, 20), Ok(b"abcd".to_vec()));
    // It is a reader and a writer for others.
    let w = f.open(WRITE_NOW).unwrap();
    let r = f.open(READ_NOW).unwrap();
    write_all(&w, b"x");
    assert_eq!(read_n(&copy, 20), Ok(b"x".to_vec()));
    write_all(&copy, b"y");
    assert_eq!(read_n(&r, 20), Ok(b"y".to_vec()));
    drop(w);
    assert_eq!(read_n(&r, 20), Err(EAGAIN));
    drop(copy);
    assert_eq!(read_n(&r, 20), Ok(vec![]));
});

both_worlds!(several_writers_and_readers, worlds = all, timeout = 60, {
    const WRITERS: u8 = 3;
    const EACH: usize = 300;
    // Nobody is gone before everybody has come.
    const ALL: u64 = WRITERS as u64 + 2;
    let (f, s) = (Fifo::new(), Shared::new());
    let readers: Vec<Child> = (0..2)
        .map(|_| {
            fork_run(|| {
                let r = f.open(O_RDONLY).unwrap();
                s.barrier(20, ALL);
                loop {
                    let m = read_n(&r, 512).unwrap();
                    if m.is_empty() {
                        break;
                    }
                    // Atomic, and of one writer each.
                    assert_eq!(m.len(), 512);
                    assert!(m.iter().all(|b| *b == m[0]));
                    s.bump(1 + usize::from(m[0]));
                }
            })
        })
        .collect();
    let writers: Vec<Child> = (0..WRITERS)
        .map(|n| {
            fork_run(|| {
                let w = f.open(O_WRONLY).unwrap();
                s.barrier(20, ALL);
                for _ in 0..EACH {
                    assert_eq!(write(&w, &[n; 512]), Ok(512));
                }
            })
        })
        .collect();
    all_succeed(writers);
    all_succeed(readers);
    for n in 0..WRITERS {
        assert_eq!(s.get(1 + usize::from(n)), EACH as u64);
    }
});

both_worlds!(the_size_can_be_changed, {
    let f = Fifo::new();
    let p = f.both();
    assert_eq!(pipe_size(&p.r), CAPACITY);
    assert_eq!(set_pipe_size(&p.w, 4 * PAGE), Ok(4 * PAGE));
    assert_eq!(pipe_size(&p.r), 4 * PAGE);
    set_nonblocking(&p.w, true);
    assert_eq!(fill(&p.w), 4 * PAGE);
    assert_eq!(set_pipe_size(&p.r, PAGE), Err(EBUSY));
    assert_eq!(bytes_waiting(&p.w), Ok(4 * PAGE));
    assert_eq!(seek(&p.r, 0, libc::SEEK_SET), Err(ESPIPE));
    assert_eq!(fstat(&p.r).unwrap().st_mode & libc::S_IFMT, libc::S_IFIFO);
});

both_worlds!(the_wrong_end_is_ebadf, {
    let p = Fifo::new().both();
    assert_eq!(read_n(&p.w, 1), Err(EBADF));
    assert_eq!(write(&p.r, b"x"), Err(EBADF));
    assert_eq!(writev_slices(&p.r, &[b"x"]), Err(EBADF));
    assert_eq!(read_n(&p.w, 0), Err(EBADF));
});

both_worlds!(kill_9_of_the_writer_is_the_end_of_the_file, worlds = all, {
    let (f, s) = (Fifo::new(), Shared::new());
    let child = fork_run(|| {
        let w = f.open(O_WRONLY).unwrap();
        write_all(&w, b"last words");
        s.set(0, 1);
        pause(std::time::Duration::from_secs(100));
    });
    let r = f.open(O_RDONLY).unwrap();
    s.wait_for(0, 1);
    assert_eq!(read_n(&r, 20), Ok(b"last words".to_vec()));
    child.kill_9();
    assert_eq!(read_n(&r, 20), Ok(vec![]));
    assert_eq!(f.open(WRITE_NOW).map(drop), Ok(()));
});

both_worlds!(kill_9_of_the_reader_is_epipe, worlds = all, {
    let (f, s) = (Fifo::new(), Shared::new());
    signal::count(SIGPIPE, 0);
    let child = fork_run(|| {
        let _r = f.open(O_RDONLY).unwrap();
        s.set(0, 1);
        pause(std::time::Duration::from_secs(100));
    });
    let w = f.open(O_WRONLY).unwrap();
    s.wait_for(0, 1);
    assert_eq!(write(&w, b"x"), Ok(1));
    child.kill_9();
    assert_eq!(write(&w, b"x"), Err(EPIPE));
    assert_eq!(signal::seen(SIGPIPE), 1);
});

both_worlds!(readiness_comes_from_another_process, worlds = all, {
    let (f, s) = (Fifo::new(), Shared::new());
    let r = f.open(READ_NOW).unwrap();
    let child = fork_run(|| {
        let w = f.open(O_WRONLY).unwrap();
        s.set(0, 1);
        s.wait_for(1, 1);
        pause(std::time::Duration::from_millis(20));
        write_all(&w, b"x");
        s.wait_for(1, 2);
        pause(std::time::Duration::from_millis(20));
    });
    s.wait_for(0, 1);
    assert_eq!(poll_now(&r), 0);
    s.set(1, 1);
    assert_eq!(poll_until(&r, POLLIN), POLLIN);
    let e = Epoll::new();
    e.add(&r, EPOLLIN | EPOLLET);
    assert_eq!(e.now(), EPOLLIN);
    assert_eq!(e.now(), 0);
    assert_eq!(read_n(&r, 8), Ok(b"x".to_vec()));
    s.set(1, 2);
    assert_eq!(e.wait(-1).unwrap(), [(EPOLLHUP, r.number() as u64)]);
    child.succeeds();
});

both_worlds!(sigio_tells_of_a_write, worlds = armed, timeout = 20, {
    let (f, s) = (Fifo::new(), Shared::new());
    let r = f.open(READ_NOW).unwrap();
    signal::count(SIGIO, 0);
    fcntl(&r, libc::F_SETOWN, getpid() as usize).unwrap();
    set_status_flags(&r, READ_NOW | libc::O_ASYNC).unwrap();
    let child = fork_run(|| {
        let w = f.open(O_WRONLY).unwrap();
        s.wait_for(0, 1);
        write_all(&w, b"x");
        s.wait_for(0, 2);
    });
    s.set(0, 1);
    wait_until(|| signal::seen(SIGIO) > 0);
    assert_eq!(read_n(&r, 8), Ok(b"x".to_vec()));
    s.set(0, 2);
    child.succeeds();
});
