//! FIFOs by their names, by other names, and by none. See open(2), proc(5).

use libc::{EACCES, EEXIST, ELOOP, ENXIO, O_CREAT, O_EXCL, O_NOFOLLOW, O_PATH};
use ringer_support::fifo::*;
use ringer_support::prelude::*;
use ringer_support::rights;
use std::ffi::CString;
use std::os::fd::AsRawFd;

use crate::{READ_NOW, WRITE_NOW};

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

both_worlds!(it_can_be_sent_to_another_process, worlds = all, {
    let f = Fifo::new();
    let (r, both) = (f.open(READ_NOW).unwrap(), f.open(O_RDWR).unwrap());
    let (a, b) = rights::socketpair(libc::SOCK_STREAM);
    let child = fork_run(|| {
        let got = rights::receive_fds(&b).unwrap();
        write_all(&got[1], b"from the child");
        assert_eq!(read_n(&got[0], 4), Ok(b"from".to_vec()));
        assert_eq!(read_n(&got[1], 4), Ok(b" the".to_vec()));
        rights::send_fds(&b, &[got[1].number()]).unwrap();
    });
    rights::send_fds(&a, &[r.number(), both.number()]).unwrap();
    drop(both);
    let back = rights::receive_fds(&a).unwrap();
    child.succeeds();
    assert_eq!(read_n(&r, 20), Ok(b" child".to_vec()));
    assert_eq!(read_n(&r, 20), Err(EAGAIN));
    drop(back);
    assert_eq!(read_n(&r, 20), Ok(vec![]));
});
