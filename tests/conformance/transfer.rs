//! splice(2), tee(2), vmsplice(2), sendfile(2), copy_file_range(2).
//!
//! What they put into a pipe takes a buffer per page of the source, and is never merged with; what
//! comes from another pipe keeps its boundaries.

use libc::{SOCK_STREAM, SPLICE_F_GIFT, SPLICE_F_MORE, SPLICE_F_MOVE, SPLICE_F_NONBLOCK};
use ringer_support::prelude::*;
use ringer_support::rights::socketpair;
use ringer_support::transfer::{copy_file_range, sendfile, splice, splice_at, tee, vmsplice};

/// A file with the test stream in it, at position 0.
fn file_of(len: usize) -> Fd {
    let file = temp_file();
    write_all(&file, &stream(0, len));
    assert_eq!(seek(&file, 0, libc::SEEK_SET), Ok(0));
    file
}

/// How many buffers are free: fills them.
fn free_buffers(w: &Fd) -> usize {
    (0..)
        .take_while(|_| write(w, &[0; PAGE]) == Ok(PAGE))
        .count()
}

/// From a file at an offset.
fn splice_from(file: &Fd, at: i64, w: &Fd, len: usize) -> Sys {
    let (n, after, _) = splice_at(file, Some(at), w, None, len, 0);
    assert_eq!(after, Some(at + n.unwrap_or(0) as i64));
    n
}

both_worlds!(a_file_is_spliced_into_a_pipe, {
    let (file, p) = (file_of(300_000), nonblocking_pipe());
    assert_eq!(splice(&file, &p.w, 10_000, 0), Ok(10_000));
    assert_eq!(bytes_waiting(&p.r), Ok(10_000));
    assert!(drain(&p.r) == stream(0, 10_000));
    let position = seek(&file, 0, libc::SEEK_CUR);
    assert_eq!(position, Ok(10_000), "without an offset, the file's moves");
    assert_eq!(splice_from(&file, 299_990, &p.w, 100), Ok(10));
    assert_eq!(splice_from(&file, 300_000, &p.w, 100), Ok(0));
    assert_eq!(drain(&p.r), stream(299_990, 10));
    assert_eq!(splice(&file, &p.w, 0, 0), Ok(0));
});

both_worlds!(a_file_takes_a_buffer_for_each_of_its_pages, {
    let file = file_of(300_000);
    // (offset, length asked, length got, buffers)
    let cases = [
        (0, 100, 100, 1),
        (4000, 200, 200, 2),
        (0, 2 * PAGE, 2 * PAGE, 2),
        (1, 2 * PAGE, 2 * PAGE, 3),
        (0, 1 << 20, CAPACITY, 16),
        (100, 1 << 20, CAPACITY - 100, 16),
    ];
    for (at, len, got, buffers) in cases {
        let p = nonblocking_pipe();
        assert_eq!(splice_from(&file, at, &p.w, len), Ok(got), "{len} at {at}");
        assert_eq!(free_buffers(&p.w), 16 - buffers, "{len} at {at}");
        assert!(
            read_exactly(&p.r, got) == stream(at as usize, got),
            "{len} at {at}"
        );
    }
});

both_worlds!(spliced_bytes_are_not_merged_with, {
    let (file, p) = (file_of(1000), nonblocking_pipe());
    for _ in 0..2 {
        assert_eq!(splice_from(&file, 0, &p.w, 100), Ok(100));
        write_all(&p.w, b"written");
    }
    write_all(&p.w, b"and merged");
    assert_eq!(free_buffers(&p.w), 12);
    let expected = [&stream(0, 100)[..], b"written"].concat().repeat(2);
    assert_eq!(read_exactly(&p.r, 214), expected);
});

both_worlds!(a_full_pipe_takes_no_splice, {
    let (file, p) = (file_of(1000), nonblocking_pipe());
    fill(&p.w);
    assert_eq!(splice_from(&file, 0, &p.w, 10), Err(EAGAIN));
    set_nonblocking(&p.w, false);
    let (n, at, _) = splice_at(&file, Some(0), &p.w, None, 10, SPLICE_F_NONBLOCK);
    assert_eq!((n, at), (Err(EAGAIN), Some(0)));
    read_exactly(&p.r, PAGE);
    assert_eq!(splice_from(&file, 0, &p.w, 10), Ok(10));
});

both_worlds!(a_splice_from_a_file_waits_for_room, {
    let (file, p, s) = (file_of(100_000), pipe(), Shared::new());
    write_all(&p.w, &stream(0, CAPACITY));
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(splice(&file, &p.w, 100, 0), Ok(100));
    });
    s.wait_for(0, 1);
    child.sleeping();
    read_exactly(&p.r, PAGE);
    child.succeeds();
    read_exactly(&p.r, CAPACITY - PAGE);
    assert_eq!(read_n(&p.r, 999), Ok(stream(0, 100)));
});

both_worlds!(a_pipe_is_spliced_into_a_file, {
    let (file, p) = (temp_file(), nonblocking_pipe());
    write_all(&p.w, &stream(0, 10_000));
    let (n, _, at) = splice_at(&p.r, None, &file, Some(5), 4000, 0);
    assert_eq!((n, at), (Ok(4000), Some(4005)));
    assert_eq!(
        splice(&p.r, &file, 100_000, SPLICE_F_MOVE | SPLICE_F_MORE),
        Ok(6000)
    );
    assert_eq!(splice(&p.r, &file, 1, 0), Err(EAGAIN));
    let mut found = vec![0; 5000];
    assert_eq!(pread(&file, &mut found, 0), Ok(5000));
    assert!(
        found[..4000] == stream(4000, 4000),
        "the second splice was at the position, 0"
    );
    drop(p.w);
    assert_eq!(splice(&p.r, &file, 1, 0), Ok(0), "end of file");
});

both_worlds!(a_splice_out_of_an_empty_pipe_waits, {
    let (file, p, s) = (temp_file(), pipe(), Shared::new());
    assert_eq!(splice(&p.r, &file, 1, SPLICE_F_NONBLOCK), Err(EAGAIN));
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(splice(&p.r, &file, 100, 0), Ok(4));
    });
    s.wait_for(0, 1);
    child.sleeping();
    write_all(&p.w, b"data");
    child.succeeds();
    assert_eq!(fstat(&file).unwrap().st_size, 4);
});

both_worlds!(splicing_between_pipes_moves_buffers, {
    let (p, q) = (nonblocking_pipe(), nonblocking_pipe());
    write_all(&p.w, &stream(0, 10_000));
    assert_eq!(splice(&p.r, &q.w, 100, 0), Ok(100));
    assert_eq!(splice(&p.r, &q.w, 5000, 0), Ok(5000));
    assert_eq!(
        (bytes_waiting(&p.r), bytes_waiting(&q.r)),
        (Ok(4900), Ok(5100))
    );
    // 100; the rest of the first page; a part of the second.
    assert_eq!(free_buffers(&q.w), 13);
    assert_eq!(splice(&p.r, &q.w, 5000, 0), Err(EAGAIN));
    assert!(read_exactly(&q.r, 5100) == stream(0, 5100));
    assert_eq!(splice(&p.r, &q.w, 5000, 0), Ok(4900));
    assert_eq!(splice(&p.r, &q.w, 5000, 0), Err(EAGAIN));
    drop(p.w);
    assert_eq!(splice(&p.r, &q.w, 5000, 0), Ok(0));
    let all = drain(&q.r);
    assert!(all[all.len() - 4900..] == stream(5100, 4900));
});

both_worlds!(
    a_whole_buffer_that_moved_may_be_merged_with_but_a_part_not,
    {
        for (len, buffers) in [(100, 1), (50, 2)] {
            let (p, q) = (nonblocking_pipe(), nonblocking_pipe());
            write_all(&p.w, &stream(0, 100));
            assert_eq!(splice(&p.r, &q.w, len, 0), Ok(len));
            write_all(&q.w, b"behind");
            assert_eq!(free_buffers(&q.w), 16 - buffers, "{len} of 100");
            assert_eq!(
                read_exactly(&q.r, len + 6),
                [&stream(0, len)[..], b"behind"].concat()
            );
        }
    }
);

both_worlds!(a_splice_between_pipes_waits_for_either, {
    let (p, q, s) = (pipe(), pipe(), Shared::new());
    write_all(&q.w, &stream(0, CAPACITY));
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(splice(&p.r, &q.w, 100, 0), Ok(5));
    });
    s.wait_for(0, 1);
    child.sleeping();
    write_all(&p.w, b"ready");
    child.sleeping();
    read_exactly(&q.r, PAGE);
    child.succeeds();
    read_exactly(&q.r, CAPACITY - PAGE);
    assert_eq!(read_n(&q.r, 9), Ok(b"ready".to_vec()));
});

both_worlds!(splice_keeps_packets_but_does_not_truncate_them, {
    let (p, q) = (pipe2(O_DIRECT | O_NONBLOCK).unwrap(), nonblocking_pipe());
    write_all(&p.w, b"abc");
    write_all(&p.w, b"def");
    assert_eq!(splice(&p.r, &q.w, 2, 0), Ok(2));
    assert_eq!(splice(&p.r, &q.w, 100, 0), Ok(4));
    let packets: Vec<Vec<u8>> = (0..3).map(|_| read_n(&q.r, 100).unwrap()).collect();
    assert_eq!(packets, [&b"ab"[..], b"c", b"def"]);
});

both_worlds!(tee_copies_and_leaves_the_data, {
    let (p, q) = (nonblocking_pipe(), nonblocking_pipe());
    assert_eq!(tee(&p.r, &q.w, 100, 0), Err(EAGAIN));
    write_all(&p.w, &stream(0, 10_000));
    assert_eq!(tee(&p.r, &q.w, 5000, 0), Ok(5000));
    assert_eq!(tee(&p.r, &q.w, 100_000, 0), Ok(10_000));
    assert_eq!(
        (bytes_waiting(&p.r), bytes_waiting(&q.r)),
        (Ok(10_000), Ok(15_000))
    );
    assert_eq!(free_buffers(&q.w), 11);
    assert_eq!(tee(&p.r, &q.w, 1, 0), Err(EAGAIN));
    assert!(read_exactly(&q.r, 15_000) == [stream(0, 5000), stream(0, 10_000)].concat());
    assert!(drain(&p.r) == stream(0, 10_000));
    drop(p.w);
    assert_eq!(tee(&p.r, &q.w, 1, 0), Ok(0));
});

both_worlds!(a_copy_by_tee_is_not_merged_with_but_the_original_is, {
    let (p, q) = (nonblocking_pipe(), nonblocking_pipe());
    write_all(&p.w, b"abc");
    assert_eq!(tee(&p.r, &q.w, 100, 0), Ok(3));
    write_all(&p.w, b"-p");
    write_all(&q.w, b"-q");
    // Neither sees what was written behind the other.
    assert_eq!(tee(&p.r, &q.w, 100, 0), Ok(5));
    assert_eq!(free_buffers(&q.w), 13);
    assert_eq!(read_n(&p.r, 100), Ok(b"abc-p".to_vec()));
    assert_eq!(read_exactly(&q.r, 10), b"abc-qabc-p");
});

both_worlds!(a_tee_waits_for_data, {
    let (p, q, s) = (pipe(), pipe(), Shared::new());
    assert_eq!(tee(&p.r, &q.w, 1, SPLICE_F_NONBLOCK), Err(EAGAIN));
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(tee(&p.r, &q.w, 100, 0), Ok(3));
    });
    s.wait_for(0, 1);
    child.sleeping();
    write_all(&p.w, b"abc");
    child.succeeds();
    assert_eq!(
        (read_n(&p.r, 9), read_n(&q.r, 9)),
        (Ok(b"abc".to_vec()), Ok(b"abc".to_vec()))
    );
});

both_worlds!(vmsplice_takes_a_buffer_for_each_page_of_memory, {
    let memory = Cliff::unmapped(40);
    memory.put(0, &stream(0, memory.len()));
    // (offset, length asked, length got, buffers)
    let cases = [
        (0, 10_000, 10_000, 3),
        (100, 10_000, 10_000, 3),
        (4000, 200, 200, 2),
        (0, 40 * PAGE, CAPACITY, 16),
        (100, 39 * PAGE, CAPACITY - 100, 16),
    ];
    for (at, len, got, buffers) in cases {
        let p = nonblocking_pipe();
        assert_eq!(
            vmsplice(&p.w, &[memory.inside(at, len)], 0),
            Ok(got),
            "{len} at {at}"
        );
        assert_eq!(free_buffers(&p.w), 16 - buffers, "{len} at {at}");
        assert!(read_exactly(&p.r, got) == stream(at, got), "{len} at {at}");
    }
    let p = nonblocking_pipe();
    let single: Vec<Span> = (0..20).map(|i| memory.inside(i, 1)).collect();
    assert_eq!(
        vmsplice(&p.w, &single, 0),
        Ok(16),
        "a buffer for each part, too"
    );
    assert_eq!(vmsplice(&p.w, &single, SPLICE_F_NONBLOCK), Err(EAGAIN));
    assert!(drain(&p.r) == stream(0, 16));
});

// Unlike splice(2), vmsplice(2) does not look at O_NONBLOCK.
both_worlds!(vmsplice_waits_unless_splice_f_nonblock_says_no, {
    let (p, s, memory) = (nonblocking_pipe(), Shared::new(), Cliff::unmapped(1));
    memory.put(0, b"waited");
    fill(&p.w);
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(vmsplice(&p.w, &[memory.inside(0, 6)], 0), Ok(6));
        s.wait_for(0, 2); // its pages are read from it
    });
    s.wait_for(0, 1);
    child.sleeping();
    read_exactly(&p.r, PAGE);
    wait_until(|| bytes_waiting(&p.r) == Ok(CAPACITY - PAGE + 6));
    read_exactly(&p.r, CAPACITY - PAGE);
    assert_eq!(read_n(&p.r, 9), Ok(b"waited".to_vec()));
    s.set(0, 2);
    child.succeeds();
});

both_worlds!(vmsplice_reads_from_a_read_end, {
    let (p, memory) = (nonblocking_pipe(), Cliff::unmapped(2));
    write_all(&p.w, &stream(0, 5000));
    let parts = [memory.inside(0, 10), memory.inside(10, 8000)];
    assert_eq!(vmsplice(&p.r, &parts, 0), Ok(5000));
    assert!(memory.get(0, 5000) == stream(0, 5000));
    assert_eq!(vmsplice(&p.r, &parts, SPLICE_F_NONBLOCK), Err(EAGAIN));
});

both_worlds!(sendfile_fills_a_pipe, {
    let (file, p) = (file_of(300_000), nonblocking_pipe());
    assert_eq!(sendfile(&p.w, &file, Some(0), 100), Ok(100));
    // The rest of the first page, and fourteen more.
    assert_eq!(sendfile(&p.w, &file, Some(100), 1 << 20), Ok(61_340));
    assert_eq!(sendfile(&p.w, &file, Some(0), 1), Err(EAGAIN));
    assert!(drain(&p.r) == stream(0, 61_440));
    assert_eq!(sendfile(&p.w, &file, None, 10), Ok(10));
    assert_eq!(sendfile(&p.w, &file, None, 10), Ok(10));
    assert_eq!(drain(&p.r), stream(0, 20));
    assert_eq!(sendfile(&p.w, &file, Some(299_999), 10), Ok(1));
    assert_eq!(sendfile(&p.w, &file, Some(300_000), 10), Ok(0));
    assert_eq!(sendfile(&p.w, &file, Some(0), 0), Ok(0));
});

both_worlds!(sendfile_waits_for_room, timeout = 60, {
    const TOTAL: usize = 2_000_000;
    let (file, p) = (file_of(TOTAL), pipe());
    let Pipe { r, w } = p;
    let child = fork_run(move || {
        let mut left = TOTAL;
        while left > 0 {
            left -= sendfile(&w, &file, None, left).unwrap();
        }
    });
    assert!(read_to_end(&r) == stream(0, TOTAL));
    child.succeeds();
});

both_worlds!(sendfile_and_copy_file_range_do_not_read_pipes, {
    let (p, q, file) = (nonblocking_pipe(), nonblocking_pipe(), file_of(100));
    write_all(&p.w, b"abc");
    assert_eq!(sendfile(&q.w, &p.r, None, 3), Err(EINVAL));
    assert_eq!(sendfile(&file, &p.r, None, 3), Err(EINVAL));
    assert_eq!(sendfile(&p.r, &file, None, 3), Err(EBADF));
    for (from, to) in [(&p.r, &q.w), (&file, &q.w), (&p.r, &file)] {
        assert_eq!(copy_file_range(from, to, 3), Err(EINVAL));
    }
    assert_eq!(copy_file_range(99, &file, 3), Err(EBADF));
    assert_eq!(read_n(&p.r, 9), Ok(b"abc".to_vec()));
});

both_worlds!(splice_has_its_errors, {
    let (p, q, file) = (nonblocking_pipe(), nonblocking_pipe(), file_of(100));
    let other = file_of(100);
    write_all(&p.w, b"abc");
    assert_eq!(splice(&p.r, &p.w, 1, 0), Err(EINVAL), "onto itself");
    assert_eq!(splice(&file, &other, 1, 0), Err(EINVAL), "no pipe");
    assert_eq!(splice(&p.r, &q.w, 1, 0x10), Err(EINVAL), "an unknown flag");
    assert_eq!(splice(&p.w, &q.w, 1, 0), Err(EBADF));
    assert_eq!(splice(&p.r, &q.r, 1, 0), Err(EBADF));
    assert_eq!(splice(&file, &p.r, 1, 0), Err(EBADF));
    assert_eq!(splice(99, &q.w, 1, 0), Err(EBADF));
    assert_eq!(splice(&p.r, 99, 1, 0), Err(EBADF));
    assert_eq!(
        splice(99, 98, 0, 0x10),
        Ok(0),
        "nothing to do comes before everything"
    );
    assert_eq!(splice_at(&p.r, Some(0), &q.w, None, 1, 0).0, Err(ESPIPE));
    assert_eq!(splice_at(&p.r, None, &q.w, Some(0), 1, 0).0, Err(ESPIPE));
    assert_eq!(splice_at(&file, Some(-5), &q.w, None, 1, 0).0, Err(EINVAL));
    assert_eq!(splice(&p.r, &q.w, usize::MAX, 0), Ok(3));
    let appending = temp_file();
    set_status_flags(&appending, libc::O_APPEND).unwrap();
    assert_eq!(splice(&q.r, &appending, 3, 0), Err(EINVAL));
    assert_eq!(read_n(&q.r, 9), Ok(b"abc".to_vec()));
});

both_worlds!(tee_and_vmsplice_have_their_errors, {
    let (p, q, file) = (nonblocking_pipe(), nonblocking_pipe(), file_of(100));
    let byte = [Span {
        addr: b"x".as_ptr() as usize,
        len: 1,
    }];
    write_all(&p.w, b"abc");
    assert_eq!(tee(&p.r, &p.w, 1, 0), Err(EINVAL));
    assert_eq!(tee(&p.r, &file, 1, 0), Err(EINVAL));
    assert_eq!(tee(&file, &q.w, 1, 0), Err(EINVAL));
    assert_eq!(tee(&p.w, &q.w, 1, 0), Err(EBADF));
    assert_eq!(tee(&p.r, 99, 1, 0), Err(EBADF));
    assert_eq!(tee(&p.r, &q.w, 1, 0x100), Err(EINVAL));
    assert_eq!(tee(&p.r, &q.w, 0, 0), Ok(0));
    assert_eq!(vmsplice(&p.w, &[NULL], 0), Err(EFAULT));
    assert_eq!(vmsplice(&file, &byte, 0), Err(EBADF));
    assert_eq!(vmsplice(&p.w, &[], 0), Ok(0));
    assert_eq!(vmsplice(&p.w, &vec![byte[0]; 1025], 0), Err(EINVAL));
    assert_eq!(vmsplice(&p.w, &byte, 0x100), Err(EINVAL));
    assert_eq!(vmsplice(&q.w, &byte, SPLICE_F_GIFT), Ok(1));
    assert_eq!(bytes_waiting(&p.r), Ok(3));
    signal::count(SIGPIPE, 0);
    drop(q.r);
    assert_eq!(tee(&p.r, &q.w, 1, 0), Err(EPIPE));
    assert_eq!(vmsplice(&q.w, &byte, 0), Err(EPIPE));
    assert_eq!(signal::seen(SIGPIPE), 2);
});

both_worlds!(sockets_and_devices_are_spliced_too, {
    let (p, (a, b)) = (nonblocking_pipe(), socketpair(SOCK_STREAM));
    write_all(&a, b"hello");
    assert_eq!(splice(&b, &p.w, 100, 0), Ok(5));
    assert_eq!(splice(&p.r, &b, 100, 0), Ok(5));
    assert_eq!(read_n(&a, 9), Ok(b"hello".to_vec()));
    let (null, zero) = (
        open("/dev/null", O_RDWR).unwrap(),
        open("/dev/zero", O_RDWR).unwrap(),
    );
    write_all(&p.w, &stream(0, 10_000));
    assert_eq!(splice(&p.r, &null, 100_000, 0), Ok(10_000));
    assert_eq!(splice(&zero, &p.w, 10_000, 0), Ok(10_000));
    assert!(drain(&p.r) == vec![0; 10_000]);
    let event = eventfd(5);
    assert_eq!(splice(&event, &p.w, 8, 0), Err(EINVAL));
    write_all(&p.w, &1u64.to_ne_bytes());
    assert_eq!(splice(&p.r, &event, 8, 0), Err(EINVAL));
    assert_eq!(bytes_waiting(&p.r), Ok(8));
});

both_worlds!(readers_and_pollers_are_woken_by_a_splice, {
    let (file, p, s) = (file_of(1000), pipe(), Shared::new());
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(read_n(&p.r, 5000), Ok(stream(0, 100)));
        s.set(0, 2);
        assert_eq!(poll_until(&p.r, POLLIN), POLLIN);
    });
    s.wait_for(0, 1);
    child.sleeping();
    assert_eq!(splice(&file, &p.w, 100, 0), Ok(100));
    s.wait_for(0, 2);
    child.sleeping();
    assert_eq!(splice(&file, &p.w, 100, 0), Ok(100));
    child.succeeds();
});

both_worlds!(a_writer_is_woken_when_a_splice_makes_room, {
    let (null, p, s) = (open("/dev/null", O_WRONLY).unwrap(), pipe(), Shared::new());
    write_all(&p.w, &stream(0, CAPACITY));
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(write(&p.w, b"room"), Ok(4));
    });
    s.wait_for(0, 1);
    child.sleeping();
    assert_eq!(splice(&p.r, &null, CAPACITY, 0), Ok(CAPACITY));
    child.succeeds();
    assert_eq!(read_n(&p.r, 9), Ok(b"room".to_vec()));
});
