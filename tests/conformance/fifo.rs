//! FIFOs: opening them, and what becomes of them. See fifo(7), open(2).

use libc::{EACCES, EEXIST, ELOOP, ENXIO, O_CREAT, O_EXCL, O_NOFOLLOW, O_PATH, O_TRUNC};
use ringer_support::fifo::*;
use ringer_support::prelude::*;
use std::ffi::CString;
use std::os::fd::AsRawFd;

const READ_NOW: c_int = O_RDONLY | O_NONBLOCK;
const WRITE_NOW: c_int = O_WRONLY | O_NONBLOCK;
const OUT: i16 = POLLOUT | POLLWRNORM;
const IN: i16 = POLLIN | POLLRDNORM;

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

both_worlds!(several_writers_and_readers, worlds = all, timeout = 60, {
    const WRITERS: u8 = 3;
    const EACH: usize = 300;
    let (f, s) = (Fifo::new(), Shared::new());
    let readers: Vec<Child> = (0..2)
        .map(|_| {
            fork_run(|| {
                let r = f.open(O_RDONLY).unwrap();
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
                s.barrier(20, u64::from(WRITERS));
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

both_worlds!(reopened_by_way_of_proc_and_dev, worlds = all, {
    let f = Fifo::new();
    let p = f.both();
    // A FIFO that is opened again is opened, with all that belongs to it: also for the other end.
    let w2 = reopen(&p.r, O_WRONLY).unwrap();
    let r2 = reopen(&p.w, READ_NOW).unwrap();
    write_all(&w2, b"one");
    assert_eq!(read_n(&r2, 8), Ok(b"one".to_vec()));
    drop((p.w, w2));
    assert_eq!(read_n(&p.r, 8), Ok(vec![]));
    assert_eq!(reopen(&p.r, WRITE_NOW).map(drop), Ok(()));
    drop(r2);
    // As standard input.
    dup2(&p.r, 0).unwrap();
    drop(p.r);
    let w = f.open(O_WRONLY).unwrap();
    write_all(&w, b"in");
    assert_eq!(
        read_n(&open("/dev/stdin", O_RDONLY).unwrap(), 8),
        Ok(b"in".to_vec())
    );
    write_all(&w, b"fd");
    assert_eq!(
        read_n(&open("/dev/fd/0", O_RDONLY).unwrap(), 8),
        Ok(b"fd".to_vec())
    );
});

both_worlds!(an_unlinked_one_lives_on, worlds = all, {
    let f = Fifo::new();
    let old = f.both();
    f.unlink().unwrap();
    mkfifo(&f.path).unwrap();
    // The new one of this name is another one.
    assert_eq!(f.open(WRITE_NOW), Err(ENXIO));
    let new = f.both();
    write_all(&old.w, b"old");
    write_all(&new.w, b"new");
    assert_eq!(read_n(&old.r, 8), Ok(b"old".to_vec()));
    assert_eq!(read_n(&new.r, 8), Ok(b"new".to_vec()));
    assert_ne!(fstat(&old.r).unwrap().st_ino, fstat(&new.r).unwrap().st_ino);
    assert_eq!(fstat(&old.r).unwrap().st_nlink, 0);
    let again = reopen(&old.r, READ_NOW).unwrap();
    write_all(&old.w, b"again");
    assert_eq!(read_n(&again, 8), Ok(b"again".to_vec()));
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

both_worlds!(symbolic_links_and_other_directories, {
    let f = Fifo::new();
    let (dir, name) = f.path.rsplit_once('/').unwrap();
    let link = format!("{}-link", f.path);
    std::os::unix::fs::symlink(&f.path, &link).unwrap();
    let r = open(&link, READ_NOW).unwrap();
    assert_eq!(open(&link, READ_NOW | O_NOFOLLOW), Err(ELOOP));
    let at = open(dir, libc::O_DIRECTORY).unwrap();
    let name = CString::new(name).unwrap();
    // SAFETY: a C string.
    let w = unsafe { libc::openat(at.number(), name.as_ptr(), WRITE_NOW) };
    let w = Fd::own(ringer_support::check(w).unwrap());
    write_all(&w, b"x");
    assert_eq!(read_n(&r, 8), Ok(b"x".to_vec()));
    std::fs::remove_file(link).unwrap();
});

both_worlds!(what_opens_nothing, {
    let f = Fifo::new();
    let path = f.open(O_PATH).unwrap();
    assert_eq!(read_n(&path, 1), Err(EBADF));
    assert_eq!(f.open(WRITE_NOW), Err(ENXIO));
    assert_eq!(f.open(O_CREAT | O_EXCL | O_RDWR), Err(EEXIST));
    assert_eq!(f.open(libc::O_DIRECTORY), Err(libc::ENOTDIR));
    assert_eq!(open(&format!("{}/x", f.path), O_RDONLY), Err(libc::ENOTDIR));
    assert_eq!(open(&format!("{}-x", f.path), O_RDONLY), Err(libc::ENOENT));
    // By way of what only names it.
    let r = reopen(&path, READ_NOW).unwrap();
    assert_eq!(read_n(&r, 1), Ok(vec![]));
});

both_worlds!(permission_is_the_kernels, {
    let f = Fifo::new();
    if is_root() {
        let child = fork_run(|| {
            become_nobody();
            assert_eq!(f.open(READ_NOW), Err(EACCES));
        });
        child.succeeds();
    }
});

both_worlds!(creat_and_stdio, worlds = all, {
    let f = Fifo::new();
    let path = f.path.clone();
    let child = fork_run(|| {
        let mut text = String::new();
        let mut file = std::fs::File::open(&path).unwrap();
        std::io::Read::read_to_string(&mut file, &mut text).unwrap();
        assert_eq!(text, "by creat\nby fprintf\nby freopen\n");
        assert!(file.as_raw_fd() > 2);
    });
    let c = CString::new(path.clone()).unwrap();
    // SAFETY: a C string.
    let w = Fd::own(ringer_support::check(unsafe { libc::creat(c.as_ptr(), 0o600) }).unwrap());
    write_all(&w, b"by creat\n");
    // SAFETY: C strings.
    let file = unsafe { libc::fopen(c.as_ptr(), c"w".as_ptr()) };
    assert!(!file.is_null());
    // SAFETY: an open file, a C string.
    assert!(unsafe { libc::fputs(c"by fprintf\n".as_ptr(), file) } >= 0);
    // SAFETY: as above; it is the same file, once more.
    let file = unsafe { libc::freopen(c.as_ptr(), c"w".as_ptr(), file) };
    assert!(!file.is_null());
    // SAFETY: an open file, a C string.
    assert!(unsafe { libc::fputs(c"by freopen\n".as_ptr(), file) } >= 0);
    // SAFETY: open until here.
    assert_eq!(unsafe { libc::fclose(file) }, 0);
    drop(w);
    child.succeeds();
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

both_worlds!(a_new_program_has_it, worlds = all, {
    let f = Fifo::new();
    let p = f.both();
    for linked in [Linkage::Dynamic, Linkage::Static] {
        let child = fork_run(|| {
            dup2(&p.w, 1).unwrap();
            exec(&program("puppet", linked), &["write:1:word"]);
        });
        assert_eq!(read_n(&p.r, 8), Ok(b"word".to_vec()));
        child.succeeds();
    }
});

/// Opens the FIFO again and again, without waiting, and reads a record each time: none may be missing.
const STRANGER: &str = r#"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
    for (int i = 0; i < atoi(argv[2]); i++) {
        int got = -1, fd = open(argv[1], O_RDONLY | O_NONBLOCK);
        ssize_t n = read(fd, &got, sizeof got);
        if (n != sizeof got || got != i) {
            fprintf(stderr, "record %d: read gives %zd, errno %d, record %d\n", i, n, n < 0 ? errno : 0, got);
            return 1;
        }
        if (close(fd)) return 2;
    }
    return argc - 3;
}
"#;

both_worlds!(
    a_stranger_that_hammers_open_finds_all_that_is_there,
    worlds = all,
    {
        const RECORDS: i32 = 2000;
        let stranger = cc_static(STRANGER);
        let f = Fifo::new();
        let p = f.both();
        // A reader and a writer of the session: whatever they could share without the kernel, a stranger sees.
        for n in 0..RECORDS {
            write_all(&p.w, &n.to_ne_bytes());
        }
        assert_eq!(bytes_waiting(&p.r), Ok(RECORDS as usize * 4));
        run(&stranger, &[&f.path, &(RECORDS / 2).to_string()]).succeeds();
        assert_eq!(read_n(&p.r, 4), Ok((RECORDS / 2).to_ne_bytes().to_vec()));
        drop(p.w);
        assert_eq!(read_to_end(&p.r).len(), (RECORDS as usize / 2 - 1) * 4);
    }
);
