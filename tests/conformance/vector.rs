//! readv(2), writev(2), preadv2(2), pwritev2(2) on pipes.

use libc::{RWF_DSYNC, RWF_HIPRI, RWF_NOWAIT, RWF_SYNC};
use ringer_support::prelude::*;

const IOV_MAX: usize = 1024;
/// "Prevent pipe and socket writes from raising SIGPIPE", since Linux 6.18; libc does not name it.
const RWF_NOSIGNAL: c_int = 0x100;

/// A span of readable memory with this content, which stays as long as the slice.
fn of(data: &[u8]) -> Span {
    Span {
        addr: data.as_ptr() as usize,
        len: data.len(),
    }
}

both_worlds!(writev_gathers_and_readv_scatters, {
    let (p, m) = (pipe(), Cliff::unmapped(4));
    let parts = [
        &stream(0, 100)[..],
        &[],
        &stream(100, 5000),
        &stream(5100, 1),
    ];
    assert_eq!(writev_slices(&p.w, &parts), Ok(5101));
    let to = [
        m.inside(0, 10),
        m.inside(10, 0),
        m.inside(10, 4090),
        m.inside(4100, 9000),
    ];
    assert_eq!(readv(&p.r, &to), Ok(5101));
    assert!(m.get(0, 5101) == stream(0, 5101));
});

both_worlds!(a_vector_is_one_write_it_merges_and_splits_by_its_total, {
    let p = nonblocking_pipe();
    let byte = [7u8];
    // 1000 single bytes are one write of 1000.
    assert_eq!(writev_slices(&p.w, &[&byte[..]; 1000]), Ok(1000));
    assert_eq!(writev_slices(&p.w, &[&byte[..]; 1000]), Ok(1000));
    for _ in 0..15 {
        write_all(&p.w, &stream(0, PAGE));
    }
    assert_eq!(write(&p.w, &stream(0, 2097)), Err(EAGAIN));
    // 100 + 3997 is 4097: its odd byte would not fit anywhere, so nothing of it does.
    let q = nonblocking_pipe();
    set_pipe_size(&q.w, PAGE).unwrap();
    write_all(&q.w, &stream(0, PAGE - 1));
    assert_eq!(
        writev_slices(&q.w, &[&stream(0, 100), &stream(0, 3998)]),
        Err(EAGAIN)
    );
    assert_eq!(
        writev_slices(&q.w, &[&stream(0, 100), &stream(0, 3997)]),
        Ok(1)
    );
});

both_worlds!(a_vector_up_to_pipe_buf_is_atomic, {
    let p = nonblocking_pipe();
    for _ in 0..15 {
        write_all(&p.w, &stream(0, PAGE));
    }
    write_all(&p.w, &stream(0, 3000));
    let half = stream(0, 600);
    assert_eq!(writev_slices(&p.w, &[&half, &half]), Err(EAGAIN));
    assert_eq!(bytes_waiting(&p.r), Ok(15 * PAGE + 3000));
});

both_worlds!(a_long_vector_is_written_in_part, {
    let p = nonblocking_pipe();
    let part = stream(0, 10_000);
    assert_eq!(writev_slices(&p.w, &[&part[..]; 10]), Ok(CAPACITY));
});

both_worlds!(readv_takes_what_is_there, {
    let (p, m) = (nonblocking_pipe(), Cliff::unmapped(1));
    write_all(&p.w, b"abcde");
    assert_eq!(
        readv(
            &p.r,
            &[m.inside(0, 2), m.inside(100, 100), m.inside(300, 9)]
        ),
        Ok(5)
    );
    assert_eq!(
        (m.get(0, 2), m.get(100, 4)),
        (b"ab".to_vec(), b"cde\0".to_vec())
    );
    assert_eq!(readv(&p.r, &[m.inside(0, 2)]), Err(EAGAIN));
    drop(p.w);
    assert_eq!(readv(&p.r, &[m.inside(0, 2)]), Ok(0));
});

both_worlds!(the_number_of_parts_is_limited, {
    let (p, byte) = (nonblocking_pipe(), [1u8]);
    let parts = vec![of(&byte); IOV_MAX + 1];
    assert_eq!(writev(&p.w, &parts[..IOV_MAX]), Ok(IOV_MAX));
    assert_eq!(writev(&p.w, &parts), Err(EINVAL));
    let m = Cliff::unmapped(1);
    let room: Vec<Span> = (0..=IOV_MAX).map(|i| m.inside(i, 1)).collect();
    assert_eq!(readv(&p.r, &room), Err(EINVAL));
    assert_eq!(readv(&p.r, &room[..IOV_MAX]), Ok(IOV_MAX));
    for count in [-1, i32::MIN, i32::MAX] {
        assert_eq!(writev_at(&p.w, of(&byte), count), Err(EINVAL), "{count}");
        assert_eq!(readv_at(&p.r, of(&byte), count), Err(EINVAL), "{count}");
    }
    // Counted before it is looked at.
    assert_eq!(writev_at(&p.w, NULL, IOV_MAX as c_int + 1), Err(EINVAL));
});

both_worlds!(an_empty_vector_does_nothing, {
    let p = pipe(); // would block
    assert_eq!(readv_at(&p.r, NULL, 0), Ok(0));
    assert_eq!(writev_at(&p.w, NULL, 0), Ok(0));
    assert_eq!(readv(&p.r, &[NULL.with_len(0)]), Ok(0));
    assert_eq!(readv(&p.r, &[NULL.with_len(0), of(b"").with_len(0)]), Ok(0));
    assert_eq!(writev(&p.w, &[NULL.with_len(0); 3]), Ok(0));
});

both_worlds!(a_vector_that_can_not_be_read_is_efault, {
    let (p, cliff) = (pipe(), Cliff::unmapped(1));
    for at in [NULL, KERNEL, cliff.bad(16), cliff.across(8, 16)] {
        assert_eq!(readv_at(&p.r, at, 1), Err(EFAULT), "{at:?}");
        assert_eq!(writev_at(&p.w, at, 1), Err(EFAULT), "{at:?}");
        assert_eq!(
            writev_at(&p.r, at, 1),
            Err(EBADF),
            "the direction comes first"
        );
    }
    assert_eq!(bytes_waiting(&p.r), Ok(0));
});

both_worlds!(a_negative_length_is_einval, {
    let (p, byte) = (nonblocking_pipe(), [1u8]);
    let good = of(&byte);
    for len in [usize::MAX, 1 << 63] {
        let bad = good.with_len(len);
        for parts in [&[bad][..], &[good, bad], &[bad, good], &[KERNEL, bad]] {
            assert_eq!(writev(&p.w, parts), Err(EINVAL), "{parts:?}");
            assert_eq!(readv(&p.r, parts), Err(EINVAL), "{parts:?}");
        }
    }
    assert_eq!(bytes_waiting(&p.r), Ok(0));
});

// One part is first cut down to MAX_RW_COUNT (2 GiB - 4096), and then looked at.
both_worlds!(
    a_length_beyond_the_address_space_is_efault_unless_it_is_the_only_one,
    {
        let (p, memory) = (nonblocking_pipe(), Cliff::unmapped(20));
        let good = memory.inside(0, 1);
        let bad = good.with_len(usize::MAX >> 1);
        for parts in [&[good, bad][..], &[bad, good]] {
            assert_eq!(writev(&p.w, parts), Err(EFAULT));
            assert_eq!(readv(&p.r, parts), Err(EFAULT));
        }
        assert_eq!(bytes_waiting(&p.r), Ok(0));
        assert_eq!(writev(&p.w, &[bad]), Ok(CAPACITY));
        assert_eq!(readv(&p.r, &[bad]), Ok(CAPACITY));
    }
);

both_worlds!(a_total_beyond_the_limit_is_cut_down_to_whole_pages, {
    let (p, memory) = (nonblocking_pipe(), Cliff::unmapped(20));
    write_all(&p.w, b"x");
    let parts = [
        memory.inside(0, 10),
        memory.inside(0, 1).with_len(0x7FFF_FFFF),
    ];
    // MAX_RW_COUNT has no odd bytes: nothing merges, and 15 buffers are free.
    assert_eq!(writev(&p.w, &parts), Ok(15 * PAGE));
});

both_worlds!(kernel_addresses_are_refused_before_anything_is_done, {
    let p = nonblocking_pipe();
    let data = stream(0, 2 * PAGE);
    assert_eq!(writev(&p.w, &[of(&data), KERNEL]), Err(EFAULT));
    assert_eq!(writev(&p.w, &[of(&data), KERNEL.with_len(0)]), Err(EFAULT));
    assert_eq!(bytes_waiting(&p.r), Ok(0));
    write_all(&p.w, &data);
    let m = Cliff::unmapped(2);
    assert_eq!(readv(&p.r, &[m.inside(0, PAGE), KERNEL]), Err(EFAULT));
    assert_eq!(bytes_waiting(&p.r), Ok(2 * PAGE));
});

both_worlds!(a_bad_part_spoils_its_page_and_what_comes_behind, {
    let (cliff, data) = (Cliff::unmapped(1), stream(0, 3 * PAGE));
    let good = |len: usize| of(&data[..len]);
    let bad = cliff.bad(10);
    // (parts, result): whole pages before the one with the bad part are written.
    let cases: [(&[Span], Sys); 8] = [
        (&[bad], Err(EFAULT)),
        (&[good(10), bad, good(10)], Err(EFAULT)),
        (&[good(PAGE), bad], Ok(PAGE)),
        (&[good(PAGE), good(100), bad], Ok(PAGE)),
        (&[good(PAGE - 1), bad], Err(EFAULT)),
        (&[good(100), good(2 * PAGE), bad], Ok(2 * PAGE)),
        (&[bad, good(3 * PAGE)], Err(EFAULT)),
        (&[good(10), bad.with_len(0), good(10)], Ok(20)),
    ];
    for (parts, expected) in cases {
        let p = nonblocking_pipe();
        assert_eq!(writev(&p.w, parts), expected, "{parts:?}");
        assert_eq!(bytes_waiting(&p.r), Ok(expected.unwrap_or(0)), "{parts:?}");
    }
});

both_worlds!(a_bad_part_to_read_into_leaves_its_buffer_unread, {
    let (m, cliff) = (Cliff::unmapped(2), Cliff::unmapped(1));
    let p = nonblocking_pipe();
    write_all(&p.w, &stream(0, 5000));
    let bad = cliff.bad(10);
    assert_eq!(
        readv(&p.r, &[m.inside(0, 10), bad, m.inside(10, 10)]),
        Err(EFAULT)
    );
    assert_eq!(bytes_waiting(&p.r), Ok(5000));
    // Exactly a buffer before the bad part: that one is read.
    assert_eq!(
        readv(&p.r, &[m.inside(0, 0), m.inside(0, PAGE), bad]),
        Ok(PAGE)
    );
    assert!(m.get(0, PAGE) == stream(0, PAGE));
    // More room before the bad part than there is data: it is not needed.
    assert_eq!(readv(&p.r, &[m.inside(0, PAGE), bad]), Ok(904));
    assert!(m.get(0, 904) == stream(PAGE, 904));
    assert_eq!(
        readv(&p.r, &[bad]),
        Err(EAGAIN),
        "emptiness is noticed first"
    );
});

both_worlds!(preadv2_and_pwritev2_at_minus_one_read_and_write, {
    let (p, m) = (nonblocking_pipe(), Cliff::unmapped(1));
    assert_eq!(pwritev2(&p.w, &[of(b"ab"), of(b"cd")], -1, 0), Ok(4));
    assert_eq!(
        preadv2(&p.r, &[m.inside(0, 3), m.inside(3, 9)], -1, 0),
        Ok(4)
    );
    assert_eq!(m.get(0, 4), b"abcd");
    assert_eq!(preadv2(&p.r, &[m.inside(0, 3)], -1, 0), Err(EAGAIN));
    assert_eq!(preadv2(&p.w, &[m.inside(0, 3)], -1, 0), Err(EBADF));
    assert_eq!(pwritev2(&p.r, &[of(b"ab")], -1, 0), Err(EBADF));
    assert_eq!(pwritev2(&p.w, &[], -1, 0), Ok(0));
});

both_worlds!(any_other_offset_is_espipe_or_einval, {
    let (p, m) = (nonblocking_pipe(), Cliff::unmapped(1));
    write_all(&p.w, b"abc");
    let to = [m.inside(0, 3)];
    for at in [0, 5, i64::MAX] {
        assert_eq!(preadv2(&p.r, &to, at, 0), Err(ESPIPE), "{at}");
        assert_eq!(pwritev2(&p.w, &to, at, 0), Err(ESPIPE), "{at}");
        assert_eq!(
            preadv2(&p.w, &to, at, 0),
            Err(ESPIPE),
            "the offset comes before the direction"
        );
    }
    for at in [-2, i64::MIN] {
        assert_eq!(preadv2(&p.r, &to, at, 0), Err(EINVAL), "{at}");
        assert_eq!(pwritev2(&p.w, &to, at, 0), Err(EINVAL), "{at}");
    }
    assert_eq!(bytes_waiting(&p.r), Ok(3));
});

both_worlds!(preadv_and_pwritev_are_espipe, {
    let (p, m) = (nonblocking_pipe(), Cliff::unmapped(1));
    let v = libc::iovec {
        iov_base: m.inside(0, 1).addr as *mut _,
        iov_len: 1,
    };
    for fd in [p.r.number(), p.w.number()] {
        for (at, expected) in [(0, ESPIPE), (7, ESPIPE), (-1, EINVAL)] {
            // SAFETY: a valid vector.
            let n = unsafe { libc::preadv(fd, &v, 1, at) };
            assert_eq!(ringer_support::check(n as i64), Err(expected));
            // SAFETY: a valid vector.
            let n = unsafe { libc::pwritev(fd, &v, 1, at) };
            assert_eq!(ringer_support::check(n as i64), Err(expected));
        }
    }
});

both_worlds!(rwf_nowait_does_not_wait_on_a_blocking_descriptor, {
    let (p, m) = (pipe(), Cliff::unmapped(40));
    let data = stream(0, 100_000);
    let (all, room) = (of(&data), m.inside(0, 100_000));
    assert_eq!(preadv2(&p.r, &[room], -1, RWF_NOWAIT), Err(EAGAIN));
    assert_eq!(pwritev2(&p.w, &[all], -1, RWF_NOWAIT), Ok(CAPACITY));
    assert_eq!(pwritev2(&p.w, &[all], -1, RWF_NOWAIT), Err(EAGAIN));
    read_exactly(&p.r, PAGE);
    assert_eq!(
        pwritev2(&p.w, &[all.with_len(2 * PAGE)], -1, RWF_NOWAIT),
        Ok(PAGE)
    );
    assert_eq!(preadv2(&p.r, &[room], -1, RWF_NOWAIT), Ok(CAPACITY));
    assert_eq!(preadv2(&p.r, &[room], -1, RWF_NOWAIT), Err(EAGAIN));
    drop(p.w);
    assert_eq!(preadv2(&p.r, &[room], -1, RWF_NOWAIT), Ok(0));
});

both_worlds!(flags_about_files_are_ignored_and_unknown_ones_refused, {
    let (p, m) = (nonblocking_pipe(), Cliff::unmapped(1));
    let one = m.inside(0, 1);
    let append = 0x10; // RWF_APPEND
    for flags in [
        RWF_HIPRI,
        RWF_DSYNC,
        RWF_SYNC,
        append,
        RWF_SYNC | RWF_NOWAIT,
    ] {
        assert_eq!(pwritev2(&p.w, &[one], -1, flags), Ok(1), "{flags:#x}");
        assert_eq!(preadv2(&p.r, &[one], -1, flags), Ok(1), "{flags:#x}");
    }
    for flags in [1 << 20, 1 << 30, i32::MIN] {
        assert_eq!(
            pwritev2(&p.w, &[one], -1, flags),
            Err(EOPNOTSUPP),
            "{flags:#x}"
        );
        assert_eq!(
            preadv2(&p.r, &[one], -1, flags),
            Err(EOPNOTSUPP),
            "{flags:#x}"
        );
    }
});

both_worlds!(rwf_nosignal_gives_epipe_without_sigpipe, {
    signal::count(SIGPIPE, 0);
    let Pipe { r, w } = pipe();
    let probe = pwritev2(&w, &[of(b"x")], -1, RWF_NOSIGNAL);
    if probe == Err(EOPNOTSUPP) {
        return; // an older kernel
    }
    drop(r);
    assert_eq!(pwritev2(&w, &[of(b"x")], -1, RWF_NOSIGNAL), Err(EPIPE));
    assert_eq!(signal::seen(SIGPIPE), 0);
    assert_eq!(pwritev2(&w, &[of(b"x")], -1, 0), Err(EPIPE));
    assert_eq!(signal::seen(SIGPIPE), 1);
});

both_worlds!(writev_without_readers_is_epipe_and_sigpipe, {
    signal::count(SIGPIPE, 0);
    let Pipe { r, w } = pipe();
    drop(r);
    assert_eq!(writev_slices(&w, &[b"a", b"b"]), Err(EPIPE));
    assert_eq!(signal::seen(SIGPIPE), 1);
    assert_eq!(writev_slices(&w, &[b"", b""]), Ok(0));
    assert_eq!(signal::seen(SIGPIPE), 1);
});

both_worlds!(blocked_vectors_are_woken, {
    let (p, m, s) = (pipe(), Cliff::unmapped(1), Shared::new());
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(readv(&p.r, &[m.inside(0, 2), m.inside(2, 9)]), Ok(5));
        assert_eq!(m.get(0, 5), b"hello");
        s.set(0, 2);
        let part = stream(0, 1000);
        assert_eq!(writev_slices(&p.w, &[&part[..]; 100]), Ok(100_000));
    });
    s.wait_for(0, 1);
    child.sleeping();
    assert_eq!(writev_slices(&p.w, &[b"he", b"llo"]), Ok(5));
    s.wait_for(0, 2);
    child.sleeping();
    assert!(read_exactly(&p.r, 100_000) == stream(0, 1000).repeat(100));
    child.succeeds();
});
