//! Changing a pipe's capacity. See fcntl(2) F_SETPIPE_SZ, pipe(7) "/proc files".

use ringer_support::prelude::*;

fn max_size() -> usize {
    let text = std::fs::read_to_string("/proc/sys/fs/pipe-max-size").unwrap();
    text.trim().parse().unwrap()
}

both_worlds!(the_size_is_rounded_up_to_a_power_of_two_pages, {
    let p = pipe();
    assert_eq!((pipe_size(&p.r), pipe_size(&p.w)), (CAPACITY, CAPACITY));
    let cases = [
        (0, 1),
        (1, 1),
        (4095, 1),
        (4096, 1),
        (4097, 2),
        (8193, 4),
        (12_288, 4),
        (12_289, 4),
        (16_385, 8),
        (65_536, 16),
        (65_537, 32),
        (1_000_000, 256),
        (1_048_576, 256),
    ];
    for (asked, pages) in cases {
        assert_eq!(set_pipe_size(&p.r, asked), Ok(pages * PAGE), "{asked}");
        assert_eq!(
            (pipe_size(&p.r), pipe_size(&p.w)),
            (pages * PAGE, pages * PAGE)
        );
    }
});

both_worlds!(sizes_that_no_pipe_can_have_are_einval, {
    let p = pipe();
    for size in [
        (1 << 31) + 1,
        (1 << 31) + PAGE,
        u32::MAX as usize,
        usize::MAX,
    ] {
        assert_eq!(set_pipe_size(&p.w, size), Err(EINVAL), "{size}");
    }
    assert_eq!(pipe_size(&p.w), CAPACITY);
});

// The kernel looks at the lower 32 bits only.
both_worlds!(the_size_is_an_unsigned_int, {
    let p = pipe();
    assert_eq!(set_pipe_size(&p.w, (1 << 32) | 8192), Ok(8192));
});

both_worlds!(more_than_pipe_max_size_is_eperm_for_the_unprivileged, {
    let p = pipe();
    fork_run(|| {
        if is_root() {
            become_nobody();
        }
        let max = max_size();
        assert_eq!(set_pipe_size(&p.w, max + 1), Err(EPERM));
        assert_eq!(set_pipe_size(&p.w, 1 << 31), Err(EPERM));
        assert_eq!(pipe_size(&p.w), CAPACITY);
        assert_eq!(set_pipe_size(&p.w, max), Ok(max));
        // "... unless it does not grow".
        assert_eq!(set_pipe_size(&p.w, 2 * PAGE), Ok(2 * PAGE));
    })
    .succeeds();
    assert_eq!(pipe_size(&p.r), 2 * PAGE);
});

both_worlds!(shrinking_below_the_buffers_in_use_is_ebusy, {
    let p = nonblocking_pipe();
    for _ in 0..3 {
        write_all(&p.w, &stream(0, 4000));
    }
    assert_eq!(set_pipe_size(&p.w, 2 * PAGE), Err(EBUSY));
    assert_eq!(pipe_size(&p.w), CAPACITY);
    assert_eq!(set_pipe_size(&p.w, 3 * PAGE), Ok(4 * PAGE));
    assert_eq!(set_pipe_size(&p.w, 2 * PAGE), Err(EBUSY));
    assert_eq!(read_n(&p.r, 4000).map(|v| v.len()), Ok(4000));
    assert_eq!(set_pipe_size(&p.w, 2 * PAGE), Ok(2 * PAGE));
    assert_eq!(write(&p.w, &stream(0, 4000)), Err(EAGAIN));
    assert!(drain(&p.r) == [stream(0, 4000), stream(0, 4000)].concat());
});

both_worlds!(a_few_bytes_in_many_buffers_keep_a_pipe_large, {
    let p = nonblocking_pipe();
    // 16 buffers of 2049 bytes: half of the capacity, all of the buffers.
    for _ in 0..16 {
        write_all(&p.w, &stream(0, 2049));
    }
    assert_eq!(set_pipe_size(&p.w, 12 * PAGE), Ok(CAPACITY));
    assert_eq!(set_pipe_size(&p.w, 8 * PAGE), Err(EBUSY));
});

both_worlds!(a_full_pipe_can_be_set_to_its_own_size, {
    let p = nonblocking_pipe();
    fill(&p.w);
    assert_eq!(set_pipe_size(&p.w, CAPACITY), Ok(CAPACITY));
    assert!(drain(&p.r) == stream(0, CAPACITY));
});

both_worlds!(growing_keeps_the_data_and_makes_room, {
    let p = nonblocking_pipe();
    fill(&p.w);
    read_exactly(&p.r, 10_000);
    write_all(&p.w, &stream(CAPACITY, PAGE));
    assert_eq!(set_pipe_size(&p.r, 2 * CAPACITY), Ok(2 * CAPACITY));
    assert_eq!(bytes_waiting(&p.r), Ok(CAPACITY + PAGE - 10_000));
    let more = write(&p.w, &stream(CAPACITY + PAGE, 200_000)).unwrap();
    // 15 of 32 buffers were in use, the first of them half read.
    assert_eq!(more, 17 * PAGE);
    assert!(drain(&p.r) == stream(10_000, CAPACITY + PAGE + more - 10_000));
});

both_worlds!(merging_goes_on_after_a_resize, {
    let p = nonblocking_pipe();
    write_all(&p.w, &stream(0, 3000));
    assert_eq!(set_pipe_size(&p.w, 1 << 20), Ok(1 << 20));
    write_all(&p.w, &stream(3000, 1000));
    assert_eq!(set_pipe_size(&p.w, PAGE), Ok(PAGE));
    assert_eq!(write(&p.w, &stream(4000, 96)), Ok(96));
    assert_eq!(write(&p.w, b"x"), Err(EAGAIN));
    assert!(drain(&p.r) == stream(0, PAGE));
});

both_worlds!(a_resized_pipe_has_exactly_that_many_buffers, {
    for pages in [1, 2, 8, 32, 256] {
        let p = nonblocking_pipe();
        set_pipe_size(&p.r, pages * PAGE).unwrap();
        assert_eq!(write(&p.w, &stream(0, 2 << 20)), Ok(pages * PAGE));
        assert_eq!(write(&p.w, b"x"), Err(EAGAIN));
        assert!(drain(&p.r) == stream(0, pages * PAGE));
        for i in 0..pages {
            assert_eq!(write(&p.w, &stream(0, 4095)), Ok(4095), "{i} of {pages}");
        }
        assert_eq!(write(&p.w, &stream(0, 4095)), Err(EAGAIN));
    }
});

both_worlds!(growing_wakes_a_blocked_writer, {
    let (p, s) = (pipe(), Shared::new());
    write_all(&p.w, &stream(0, CAPACITY));
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(write(&p.w, &stream(CAPACITY, 2 * PAGE)), Ok(2 * PAGE));
        s.set(0, 2);
    });
    s.wait_for(0, 1);
    child.sleeping();
    assert_eq!(set_pipe_size(&p.r, 2 * CAPACITY), Ok(2 * CAPACITY));
    s.wait_for(0, 2);
    child.succeeds();
    assert!(read_exactly(&p.r, CAPACITY + 2 * PAGE) == stream(0, CAPACITY + 2 * PAGE));
});

both_worlds!(a_child_sees_the_size_its_parent_set, {
    let p = pipe();
    set_pipe_size(&p.w, 8 * PAGE).unwrap();
    fork_run(|| {
        assert_eq!(pipe_size(&p.r), 8 * PAGE);
        set_pipe_size(&p.r, 4 * PAGE).unwrap();
    })
    .succeeds();
    assert_eq!(pipe_size(&p.w), 4 * PAGE);
});

both_worlds!(only_pipes_have_a_pipe_size, {
    for fd in [temp_file(), eventfd(0), open("/dev/null", O_RDWR).unwrap()] {
        assert_eq!(fcntl(&fd, F_GETPIPE_SZ, 0), Err(EBADF));
        assert_eq!(fcntl(&fd, F_SETPIPE_SZ, 4096), Err(EBADF));
    }
});

both_worlds!(the_unprivileged_get_small_pipes_beyond_their_soft_limit, {
    if !is_root() {
        return;
    }
    let text = std::fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").unwrap();
    let limit: usize = text.trim().parse().unwrap();
    if limit == 0 || limit > 20_000 {
        return;
    }
    fork_run(|| {
        limit_descriptors(4000);
        become_nobody();
        // Others may be nobody too: the limit is reached at this number of pipes, or before.
        let pipes: Vec<Pipe> = (0..limit / PIPE_DEF_BUFFERS + 1).map(|_| pipe()).collect();
        let last = pipes.last().unwrap();
        assert_eq!(pipe_size(&last.r), 2 * PAGE);
        assert_eq!(set_pipe_size(&last.r, 4 * PAGE), Err(EPERM));
        set_nonblocking(&last.w, true);
        assert_eq!(write(&last.w, &stream(0, 100_000)), Ok(2 * PAGE));
    })
    .succeeds();
});
