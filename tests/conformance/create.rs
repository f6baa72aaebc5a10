//! Making a pipe, and what its ends are. See pipe(2), pipe(7); Linux fs/pipe.c.

use libc::{EMFILE, O_APPEND, O_ASYNC, O_SYNC, S_IFIFO, S_IFMT};
use ringer_support::prelude::*;

/// pipe2(2) into memory that may not be there.
fn pipe2_at(to: Span, flags: c_int) -> Sys {
    // SAFETY: a span is memory that no Rust object lives in.
    ringer_support::check(unsafe { libc::pipe2(to.addr as *mut c_int, flags) })
}

both_worlds!(pipe_takes_the_two_lowest_free_descriptors_read_end_first, {
    let used = procfs::open_fds();
    let free: Vec<c_int> = (0..).filter(|fd| !used.contains(fd)).take(4).collect();
    let p = pipe();
    assert_eq!((p.r.number(), p.w.number()), (free[0], free[1]));
    let q = pipe();
    assert_eq!((q.r.number(), q.w.number()), (free[2], free[3]));
    drop(p);
    let again = pipe();
    assert_eq!((again.r.number(), again.w.number()), (free[0], free[1]));
});

both_worlds!(pipe_fills_holes_in_the_descriptor_table, {
    let first: Vec<Pipe> = (0..3).map(|_| pipe()).collect();
    let (low, high) = (first[0].w.number(), first[2].r.number());
    close(low).unwrap();
    close(high).unwrap();
    let p = pipe();
    assert_eq!((p.r.number(), p.w.number()), (low, high));
});

both_worlds!(pipe_sets_no_flags, {
    let p = pipe();
    assert_eq!(status_flags(&p.r), O_RDONLY);
    assert_eq!(status_flags(&p.w), O_WRONLY);
    assert!(!close_on_exec(&p.r) && !close_on_exec(&p.w));
});

// Packets are made by the writer: the read end does not even get the flag.
both_worlds!(
    pipe2_sets_its_flags_on_both_ends_but_o_direct_on_the_write_end_only,
    {
        for flags in [0, O_NONBLOCK, O_DIRECT, O_NONBLOCK | O_DIRECT] {
            for cloexec in [0, O_CLOEXEC] {
                let p = pipe2(flags | cloexec).unwrap();
                assert_eq!(status_flags(&p.r), O_RDONLY | (flags & O_NONBLOCK));
                assert_eq!(status_flags(&p.w), O_WRONLY | flags);
                assert_eq!(close_on_exec(&p.r), cloexec != 0);
                assert_eq!(close_on_exec(&p.w), cloexec != 0);
            }
        }
    }
);

both_worlds!(pipe2_refuses_flags_it_does_not_know, {
    let before = procfs::open_fds();
    for flags in [
        O_APPEND,
        O_RDWR,
        O_WRONLY,
        O_ASYNC,
        O_SYNC,
        libc::O_TRUNC,
        1 << 30,
        -1,
    ] {
        assert_eq!(pipe2(flags).map(drop), Err(EINVAL), "flags {flags:#o}");
        assert_eq!(
            pipe2(flags | O_CLOEXEC).map(drop),
            Err(EINVAL),
            "flags {flags:#o}"
        );
    }
    assert_eq!(procfs::open_fds(), before);
});

both_worlds!(pipe2_judges_flags_before_the_pointer, {
    assert_eq!(pipe2_at(NULL, O_APPEND), Err(EINVAL));
});

both_worlds!(efault_leaves_no_descriptor_open, {
    let before = procfs::open_fds();
    let cliff = Cliff::unmapped(1);
    let wall = Cliff::protected(1);
    let places = [
        NULL,
        KERNEL,
        cliff.bad(8),
        wall.bad(8),
        cliff.across(4, 8),
        wall.across(4, 8),
    ];
    for place in places {
        assert_eq!(pipe2_at(place, 0), Err(EFAULT), "{place:?}");
        assert_eq!(
            pipe2_at(place, O_CLOEXEC | O_NONBLOCK),
            Err(EFAULT),
            "{place:?}"
        );
    }
    assert_eq!(procfs::open_fds(), before);
    let p = pipe();
    assert_eq!(write(&p.w, b"x"), Ok(1));
});

both_worlds!(pipe_may_write_its_result_right_up_to_the_edge_of_memory, {
    let cliff = Cliff::unmapped(1);
    assert_eq!(pipe2_at(cliff.across(8, 8), 0), Ok(0));
    let ends = cliff.get_before_edge(8);
    let number = |at: usize| c_int::from_ne_bytes(ends[at..at + 4].try_into().unwrap());
    assert_eq!(write(number(4), b"here"), Ok(4));
    assert_eq!(read_n(number(0), 9), Ok(b"here".to_vec()));
});

both_worlds!(pipe_without_free_descriptors_is_emfile, {
    let lowest = pipe().r.number() as u64;
    for room in [0, 1] {
        limit_descriptors(lowest + room);
        assert_eq!(pipe2(0).map(drop), Err(EMFILE), "room for {room}");
        // The number that was free, if any, still is.
        assert_eq!(dup(0).map(drop).err(), (room == 0).then_some(EMFILE));
    }
    limit_descriptors(lowest + 2);
    let p = pipe();
    assert_eq!(pipe2(0).map(drop), Err(EMFILE));
    assert_eq!(write(&p.w, b"x"), Ok(1));
    assert_eq!(dup(&p.w).map(drop), Err(EMFILE));
});

both_worlds!(emfile_comes_before_efault, {
    let lowest = pipe().r.number() as u64;
    limit_descriptors(lowest);
    assert_eq!(pipe2_at(NULL, 0), Err(EMFILE));
});

both_worlds!(the_ends_of_a_pipe_are_one_fifo_inode, {
    let (p, q) = (pipe(), pipe());
    let (r, w, other) = (
        fstat(&p.r).unwrap(),
        fstat(&p.w).unwrap(),
        fstat(&q.r).unwrap(),
    );
    assert_eq!((r.st_dev, r.st_ino), (w.st_dev, w.st_ino));
    assert_eq!(r.st_dev, other.st_dev);
    assert_ne!(r.st_ino, other.st_ino);
    for st in [r, w] {
        assert_eq!(st.st_mode & S_IFMT, S_IFIFO);
        assert_eq!(st.st_mode & 0o7777, 0o600);
        assert_eq!((st.st_nlink, st.st_size, st.st_blocks), (1, 0, 0));
        assert_eq!(st.st_blksize, 4096);
    }
});

both_worlds!(a_pipe_belongs_to_its_maker, {
    if !is_root() {
        return;
    }
    fork_run(|| {
        become_nobody();
        let st = fstat(&pipe().w).unwrap();
        assert_eq!((st.st_uid, st.st_gid), (65534, 65534));
    })
    .succeeds();
});

both_worlds!(size_in_fstat_stays_zero_with_data_waiting, {
    let p = pipe();
    write_all(&p.w, &stream(0, 10_000));
    assert_eq!(fstat(&p.r).unwrap().st_size, 0);
    assert_eq!(fstat(&p.w).unwrap().st_size, 0);
});

both_worlds!(the_name_in_proc_tells_the_inode, {
    let p = pipe();
    let ino = fstat(&p.r).unwrap().st_ino;
    for fd in [&p.r, &p.w] {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.number())).unwrap();
        assert_eq!(link.to_str(), Some(&*format!("pipe:[{ino}]")));
    }
});

both_worlds!(a_pipe_has_no_position, {
    let p = pipe();
    write_all(&p.w, b"abc");
    for fd in [p.r.number(), p.w.number()] {
        for whence in [libc::SEEK_SET, libc::SEEK_CUR, libc::SEEK_END] {
            assert_eq!(seek(fd, 0, whence), Err(ESPIPE));
        }
    }
    assert_eq!(read_n(&p.r, 9), Ok(b"abc".to_vec()));
});

both_worlds!(pread_and_pwrite_are_espipe_even_in_the_wrong_direction, {
    let p = pipe();
    write_all(&p.w, b"abc");
    let mut buf = [0u8; 4];
    for fd in [p.r.number(), p.w.number()] {
        for at in [0, 1] {
            assert_eq!(pread(fd, &mut buf, at), Err(ESPIPE));
            assert_eq!(pwrite(fd, &buf, at), Err(ESPIPE));
        }
        assert_eq!(pread(fd, &mut buf, -1), Err(EINVAL));
        assert_eq!(pwrite(fd, &buf, -1), Err(EINVAL));
    }
    assert_eq!(read_n(&p.r, 9), Ok(b"abc".to_vec()));
});

both_worlds!(a_pipe_can_not_be_synced_truncated_or_allocated, {
    let p = pipe();
    for fd in [p.r.number(), p.w.number()] {
        // SAFETY: numbers.
        let results = unsafe {
            [
                libc::fsync(fd),
                libc::fdatasync(fd),
                libc::ftruncate(fd, 0),
                libc::ftruncate(fd, 100),
                libc::syncfs(fd),
            ]
        };
        assert_eq!(results[..4], [-1; 4]);
        assert_eq!(results[4], 0, "syncfs");
        // SAFETY: numbers.
        let fsync = ringer_support::check(unsafe { libc::fsync(fd) });
        // SAFETY: numbers.
        let truncate = ringer_support::check(unsafe { libc::ftruncate(fd, 0) });
        assert_eq!((fsync, truncate), (Err(EINVAL), Err(EINVAL)));
        // SAFETY: numbers.
        let allocate = ringer_support::check(unsafe { libc::fallocate(fd, 0, 0, 1) });
        let expected = if fd == p.w.number() { ESPIPE } else { EBADF };
        assert_eq!(allocate, Err(expected));
    }
});

both_worlds!(advice_about_a_pipe_is_espipe_and_reading_ahead_einval, {
    let p = pipe();
    // SAFETY: numbers. It returns the error itself.
    let advice = unsafe { libc::posix_fadvise(p.r.number(), 0, 1, 0) };
    assert_eq!(advice, ESPIPE);
    // SAFETY: numbers.
    let ahead = unsafe { libc::readahead(p.r.number(), 0, 1) };
    assert_eq!(ringer_support::check(ahead as i64), Err(EINVAL));
    // SAFETY: numbers.
    let range = unsafe { libc::sync_file_range(p.w.number(), 0, 1, 0) };
    assert_eq!(ringer_support::check(range), Err(ESPIPE));
});

both_worlds!(a_pipe_can_not_be_mapped, {
    let p = pipe();
    let map = |fd: &Fd, prot: c_int, flags: c_int| {
        // SAFETY: no address asked for; nothing is mapped if it fails.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), 4096, prot, flags, fd.number(), 0) };
        assert_eq!(at, libc::MAP_FAILED);
        ringer_support::errno()
    };
    assert_eq!(map(&p.r, libc::PROT_READ, libc::MAP_PRIVATE), ENODEV);
    assert_eq!(map(&p.r, libc::PROT_READ, libc::MAP_SHARED), ENODEV);
    assert_eq!(map(&p.w, libc::PROT_READ, libc::MAP_SHARED), libc::EACCES);
});

both_worlds!(a_pipe_is_not_a_terminal_a_directory_or_a_socket, {
    let p = pipe();
    // SAFETY: a number.
    assert_eq!(unsafe { libc::isatty(p.r.number()) }, 0);
    assert_eq!(ringer_support::errno(), ENOTTY);
    // SAFETY: a number.
    let chdir = ringer_support::check(unsafe { libc::fchdir(p.r.number()) });
    assert_eq!(chdir, Err(libc::ENOTDIR));
    let mut buf = [0u8; 1];
    // SAFETY: a valid buffer.
    let n = unsafe { libc::recv(p.r.number(), buf.as_mut_ptr().cast(), 1, libc::MSG_DONTWAIT) };
    assert_eq!(ringer_support::check(n as i64), Err(libc::ENOTSOCK));
    // SAFETY: a valid buffer.
    let n = unsafe { libc::send(p.w.number(), buf.as_ptr().cast(), 1, 0) };
    assert_eq!(ringer_support::check(n as i64), Err(libc::ENOTSOCK));
});

both_worlds!(a_pipe_can_be_chmodded_and_locked_like_any_inode, {
    let p = pipe();
    // SAFETY: numbers.
    assert_eq!(unsafe { libc::fchmod(p.r.number(), 0o640) }, 0);
    assert_eq!(fstat(&p.w).unwrap().st_mode & 0o7777, 0o640);
    let exclusive = libc::LOCK_EX | libc::LOCK_NB;
    assert_eq!(flock(&p.w, exclusive), Ok(0));
    assert_eq!(flock(&p.r, exclusive), Err(EAGAIN));
});

both_worlds!(ioctls_a_pipe_does_not_have_are_enotty, {
    let p = pipe();
    let mut value = 0;
    for request in [libc::TIOCOUTQ, libc::TCGETS, libc::TIOCGPGRP] {
        assert_eq!(
            ioctl_int(&p.r, request, &mut value),
            Err(ENOTTY),
            "{request:#x}"
        );
    }
});

both_worlds!(a_thousand_pipes_at_once_keep_their_data_apart, {
    limit_descriptors(4000);
    let pipes: Vec<Pipe> = (0..1000).map(|_| pipe()).collect();
    for (i, p) in pipes.iter().enumerate() {
        write_all(&p.w, &stream(i * 100, 100));
    }
    for (i, p) in pipes.iter().enumerate().rev() {
        assert_eq!(read_n(&p.r, 200), Ok(stream(i * 100, 100)));
    }
});

both_worlds!(a_pipe_made_after_many_were_closed_is_empty, {
    for i in 0..3000 {
        let p = nonblocking_pipe();
        assert_eq!(read_n(&p.r, 10), Err(EAGAIN), "round {i}");
        assert_eq!(bytes_waiting(&p.r), Ok(0));
        assert_eq!(pipe_size(&p.r), CAPACITY);
        write_all(&p.w, &stream(0, 5000));
    }
});
