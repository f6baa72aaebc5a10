//! Addresses that fault: what is returned, and that nothing is lost.
//!
//! A write copies page by page into fresh buffers: pages before the fault are written and count, the
//! page with the fault is not. Bytes that merge into the last buffer go in all or none. A read copies
//! buffer by buffer: those before the fault count, the one with the fault stays in the pipe whole.

use ringer_support::prelude::*;

/// Runs a check with memory behind which nothing is mapped, and with memory behind which nothing may
/// be accessed.
fn at_both_edges(pages: usize, check: impl Fn(&Cliff)) {
    check(&Cliff::unmapped(pages));
    check(&Cliff::protected(pages));
}

both_worlds!(a_bad_pointer_to_write_from_is_efault_and_writes_nothing, {
    at_both_edges(1, |cliff| {
        let p = nonblocking_pipe();
        for bad in [
            NULL,
            KERNEL,
            cliff.bad(1),
            Span {
                addr: usize::MAX,
                len: 1,
            },
        ] {
            for len in [1, 100, PAGE, 100_000] {
                assert_eq!(write_span(&p.w, bad.with_len(len)), Err(EFAULT), "{bad:?}");
            }
        }
        assert_eq!(bytes_waiting(&p.r), Ok(0));
        assert_eq!(read_n(&p.r, 1), Err(EAGAIN));
        assert_eq!(poll_now(&p.r), 0);
    });
});

both_worlds!(a_bad_pointer_to_read_into_is_efault_and_reads_nothing, {
    at_both_edges(1, |cliff| {
        let p = nonblocking_pipe();
        write_all(&p.w, &stream(0, 10_000));
        for bad in [
            NULL,
            KERNEL,
            cliff.bad(1),
            Span {
                addr: usize::MAX,
                len: 1,
            },
        ] {
            for len in [1, 100, PAGE, 100_000] {
                assert_eq!(read_span(&p.r, bad.with_len(len)), Err(EFAULT), "{bad:?}");
            }
        }
        assert!(drain(&p.r) == stream(0, 10_000));
    });
});

both_worlds!(
    memory_that_may_only_be_read_can_be_written_from_but_not_read_into,
    {
        static CONSTANT: [u8; 64] = [9; 64];
        let p = nonblocking_pipe();
        let constant = Span {
            addr: CONSTANT.as_ptr() as usize,
            len: 64,
        };
        assert_eq!(write_span(&p.w, constant), Ok(64));
        // The kernel's copy faults there, as a store of our own would.
        assert_eq!(read_span(&p.r, constant), Err(EFAULT));
        assert_eq!(read_n(&p.r, 99), Ok(vec![9; 64]));
    }
);

both_worlds!(
    an_impossible_length_is_efault_and_a_zero_length_needs_no_memory,
    {
        let (p, m) = (nonblocking_pipe(), Cliff::unmapped(1));
        write_all(&p.w, b"abc");
        let good = m.inside(0, 1);
        for len in [usize::MAX, 1 << 63, usize::MAX >> 1] {
            assert_eq!(read_span(&p.r, good.with_len(len)), Err(EFAULT), "{len:#x}");
            assert_eq!(
                write_span(&p.w, good.with_len(len)),
                Err(EFAULT),
                "{len:#x}"
            );
        }
        for none in [NULL, m.bad(1)] {
            assert_eq!(read_span(&p.r, none.with_len(0)), Ok(0));
            assert_eq!(write_span(&p.w, none.with_len(0)), Ok(0));
        }
        // Unless it is the kernel's.
        assert_eq!(read_span(&p.r, KERNEL.with_len(0)), Err(EFAULT));
        assert_eq!(write_span(&p.w, KERNEL.with_len(0)), Err(EFAULT));
        assert_eq!(read_n(&p.r, 9), Ok(b"abc".to_vec()));
    }
);

both_worlds!(a_length_may_exceed_the_memory_if_the_data_does_not, {
    let (p, m) = (nonblocking_pipe(), Cliff::unmapped(1));
    for len in [5, PAGE, PAGE + 1, 100_000, 0x7FFF_FFFF, 1 << 32] {
        write_all(&p.w, b"hello");
        assert_eq!(
            read_span(&p.r, m.inside(0, 1).with_len(len)),
            Ok(5),
            "{len}"
        );
        assert_eq!(m.get(0, 5), b"hello");
    }
});

both_worlds!(states_are_noticed_before_addresses, {
    signal::ignore(SIGPIPE);
    let (p, cliff) = (nonblocking_pipe(), Cliff::unmapped(1));
    assert_eq!(read_span(&p.r, cliff.bad(1)), Err(EAGAIN));
    fill(&p.w);
    assert_eq!(write_span(&p.w, cliff.bad(1)), Err(EAGAIN));
    // But not before those that can not be addresses of a program.
    assert_eq!(write_span(&p.w, KERNEL), Err(EFAULT));
    drop(p.r);
    assert_eq!(write_span(&p.w, cliff.bad(1)), Err(EPIPE));
    let q = pipe();
    drop(q.w);
    assert_eq!(read_span(&q.r, cliff.bad(1)), Ok(0));
    assert_eq!(read_span(&q.r, KERNEL), Err(EFAULT));
});

both_worlds!(
    a_write_into_an_empty_pipe_counts_the_pages_before_the_fault,
    {
        at_both_edges(4, |cliff| {
            // (good bytes, length, result)
            let cases = [
                (1, 2, Err(EFAULT)),
                (100, PAGE, Err(EFAULT)),
                (PAGE - 1, PAGE, Err(EFAULT)),
                (PAGE, PAGE, Ok(PAGE)),
                (PAGE, PAGE + 1, Ok(PAGE)),
                (PAGE, 2 * PAGE, Ok(PAGE)),
                (5000, 2 * PAGE, Ok(PAGE)),
                (2 * PAGE - 1, 2 * PAGE, Ok(PAGE)),
                (2 * PAGE, 100_000, Ok(2 * PAGE)),
                (4 * PAGE, 65_536, Ok(4 * PAGE)),
            ];
            for (good, len, expected) in cases {
                let p = nonblocking_pipe();
                let data = stream(0, good);
                cliff.put_before_edge(&data);
                assert_eq!(
                    write_span(&p.w, cliff.across(good, len)),
                    expected,
                    "{good} of {len}"
                );
                assert!(
                    drain(&p.r) == data[..expected.unwrap_or(0)],
                    "{good} of {len}"
                );
            }
        });
    }
);

both_worlds!(bytes_that_merge_go_in_all_or_none, {
    at_both_edges(3, |cliff| {
        // 100 bytes wait in the last buffer. (good bytes, length, result)
        let cases = [
            (50, 100, Err(EFAULT)),
            (99, 100, Err(EFAULT)),
            (100, 100, Ok(100)),
            // The odd 100 merge; then the page faults.
            (100, PAGE + 100, Ok(100)),
            (99, PAGE + 100, Err(EFAULT)),
            (PAGE, PAGE + 100, Ok(100)),
            (PAGE + 100, PAGE + 100, Ok(PAGE + 100)),
            (PAGE + 100, 2 * PAGE + 100, Ok(PAGE + 100)),
            // Too many to merge: a buffer of their own, all or none.
            (3990, 3997, Err(EFAULT)),
            (3996, 3996, Ok(3996)),
        ];
        for (good, len, expected) in cases {
            let p = nonblocking_pipe();
            write_all(&p.w, &stream(0, 100));
            cliff.put_before_edge(&stream(100, good));
            assert_eq!(
                write_span(&p.w, cliff.across(good, len)),
                expected,
                "{good} of {len}"
            );
            let whole = 100 + expected.unwrap_or(0);
            assert_eq!(bytes_waiting(&p.r), Ok(whole), "{good} of {len}");
            // The next write follows on, as if nothing had been.
            write_all(&p.w, &stream(whole, 1000));
            assert!(drain(&p.r) == stream(0, whole + 1000), "{good} of {len}");
        }
    });
});

both_worlds!(a_read_counts_the_buffers_before_the_fault, {
    at_both_edges(3, |cliff| {
        // Three buffers of 3000 bytes wait. (good bytes, length, result)
        let cases = [
            (1, 2, Err(EFAULT)),
            (2999, 3000, Err(EFAULT)),
            (3000, 3000, Ok(3000)),
            (3000, 3001, Ok(3000)),
            (4000, 9000, Ok(3000)),
            (5999, 6000, Ok(3000)),
            (6000, 100_000, Ok(6000)),
            (8999, 100_000, Ok(6000)),
            (9000, 100_000, Ok(9000)),
        ];
        for (good, len, expected) in cases {
            let p = nonblocking_pipe();
            for i in 0..3 {
                write_all(&p.w, &stream(i * 3000, 3000));
            }
            assert_eq!(
                read_span(&p.r, cliff.across(good, len)),
                expected,
                "{good} of {len}"
            );
            let n = expected.unwrap_or(0);
            assert!(
                cliff.get(cliff.len() - good, n) == stream(0, n),
                "{good} of {len}"
            );
            assert!(drain(&p.r) == stream(n, 9000 - n), "{good} of {len}");
        }
    });
});

both_worlds!(a_buffer_read_in_part_faults_by_what_is_left_of_it, {
    let cliff = Cliff::unmapped(1);
    let p = nonblocking_pipe();
    write_all(&p.w, &stream(0, 10_000));
    read_exactly(&p.r, 4000);
    // 96 bytes are left of the first buffer.
    assert_eq!(read_span(&p.r, cliff.across(95, 200)), Err(EFAULT));
    assert_eq!(read_span(&p.r, cliff.across(96, 200)), Ok(96));
    assert_eq!(read_span(&p.r, cliff.across(1000, 1000)), Ok(1000));
    assert!(drain(&p.r) == stream(5096, 4904));
});

both_worlds!(a_packet_that_faults_stays_whole, {
    let (cliff, p) = (Cliff::unmapped(1), pipe2(O_DIRECT | O_NONBLOCK).unwrap());
    write_all(&p.w, b"abc");
    write_all(&p.w, b"def");
    assert_eq!(read_span(&p.r, cliff.across(2, 3)), Err(EFAULT));
    assert_eq!(bytes_waiting(&p.r), Ok(6));
    assert_eq!(read_span(&p.r, cliff.across(2, 2)), Ok(2));
    assert_eq!(read_n(&p.r, 9), Ok(b"def".to_vec()));
    cliff.put_before_edge(&stream(0, PAGE));
    assert_eq!(write_span(&p.w, cliff.across(2, 3)), Err(EFAULT));
    assert_eq!(write_span(&p.w, cliff.across(PAGE, PAGE + 4)), Ok(PAGE));
    assert!(read_n(&p.r, 9999).unwrap() == stream(0, PAGE));
    assert_eq!(read_n(&p.r, 9), Err(EAGAIN));
});

both_worlds!(a_blocking_write_returns_what_went_in_before_the_fault, {
    let cliff = Cliff::unmapped(20);
    cliff.put(0, &stream(0, 20 * PAGE));
    let (p, s) = (pipe(), Shared::new());
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(
            write_span(&p.w, cliff.across(20 * PAGE, 30 * PAGE)),
            Ok(20 * PAGE)
        );
    });
    s.wait_for(0, 1);
    child.sleeping();
    assert!(read_exactly(&p.r, 20 * PAGE) == stream(0, 20 * PAGE));
    child.succeeds();
});

both_worlds!(a_blocked_read_into_bad_memory_faults_when_data_come, {
    let (cliff, p, s) = (Cliff::unmapped(1), pipe(), Shared::new());
    let child = fork_run(|| {
        s.set(0, 1);
        assert_eq!(read_span(&p.r, cliff.bad(10)), Err(EFAULT));
        assert_eq!(read_n(&p.r, 10), Ok(b"safe".to_vec()));
    });
    s.wait_for(0, 1);
    child.sleeping();
    write_all(&p.w, b"safe");
    child.succeeds();
});

both_worlds!(a_fault_runs_no_handler, {
    signal::count(libc::SIGSEGV, 0);
    signal::count(libc::SIGBUS, 0);
    let (cliff, p) = (Cliff::protected(1), nonblocking_pipe());
    write_all(&p.w, b"abc");
    assert_eq!(read_span(&p.r, cliff.bad(3)), Err(EFAULT));
    assert_eq!(write_span(&p.w, cliff.bad(3)), Err(EFAULT));
    assert_eq!(read_span(&p.r, NULL), Err(EFAULT));
    assert_eq!(
        (signal::seen(libc::SIGSEGV), signal::seen(libc::SIGBUS)),
        (0, 0)
    );
    // Nor if the signals are blocked, which for a fault of the program would be death.
    signal::block(&[libc::SIGSEGV, libc::SIGBUS]);
    assert_eq!(read_span(&p.r, cliff.bad(3)), Err(EFAULT));
    assert!(!signal::is_pending(libc::SIGSEGV));
    assert_eq!(read_n(&p.r, 9), Ok(b"abc".to_vec()));
});

both_worlds!(a_file_mapping_beyond_its_end_is_efault_too, {
    let (file, p) = (temp_file(), nonblocking_pipe());
    write_all(&file, b"short");
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a new mapping; the second page of it would raise SIGBUS.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            2 * PAGE,
            prot,
            flags,
            file.number(),
            0,
        )
    };
    assert_ne!(at, libc::MAP_FAILED);
    let beyond = Span {
        addr: at as usize + PAGE,
        len: 10,
    };
    write_all(&p.w, b"data");
    assert_eq!(read_span(&p.r, beyond), Err(EFAULT));
    assert_eq!(write_span(&p.w, beyond), Err(EFAULT));
    assert_eq!(read_n(&p.r, 9), Ok(b"data".to_vec()));
});

both_worlds!(memory_mapped_in_the_meantime_is_good, {
    let (cliff, p) = (Cliff::protected(1), nonblocking_pipe());
    write_all(&p.w, b"twice");
    let bad = cliff.bad(5);
    assert_eq!(read_span(&p.r, bad), Err(EFAULT));
    // SAFETY: the last page of our own mapping.
    let done =
        unsafe { libc::mprotect(bad.addr as *mut _, PAGE, libc::PROT_READ | libc::PROT_WRITE) };
    assert_eq!(done, 0);
    assert_eq!(read_span(&p.r, bad), Ok(5));
    assert_eq!(write_span(&p.w, bad), Ok(5));
    assert_eq!(read_n(&p.r, 9), Ok(b"twice".to_vec()));
});

both_worlds!(other_calls_with_bad_pointers_are_efault, {
    let p = pipe();
    let (r, bad) = (p.r.number(), KERNEL.addr);
    let attempts = [
        fcntl(r, libc::F_GETLK, bad),
        // SAFETY: the kernel refuses the address.
        ringer_support::check(unsafe { libc::ioctl(r, libc::FIONREAD, bad) }),
        // SAFETY: the kernel refuses the address.
        ringer_support::check(unsafe { libc::ioctl(r, libc::FIONBIO, bad) }),
        // SAFETY: the kernel refuses the address.
        ringer_support::check(unsafe { libc::fstat(r, bad as *mut libc::stat) }),
        // SAFETY: the kernel refuses the address.
        ringer_support::check(unsafe { libc::poll(bad as *mut libc::pollfd, 1, 0) }),
    ];
    assert_eq!(attempts, [Err(EFAULT); 5]);
});
