//! Pipes that get into hands which no shim can guide: static and set-user-ID programs, and programs
//! whose LD_PRELOAD was emptied. They read what was waiting, and everybody goes on.
//! For descriptors that are passed or used by io_uring see passed.rs.

mod scenes;

use libc::EPOLLIN;
use ringer_support::prelude::*;
use ringer_support::transfer;
use scenes::scenes;

scenes!(static_program, Static);
scenes!(set_user_id_program, SetUserId);
scenes!(emptied_preload, EmptyPreload);

both_worlds!(static_and_other_programs_share_a_pipe, timeout = 60, {
    let (p, q, s) = (pipe(), pipe(), Shared::new());
    let children: Vec<Child> = [Linkage::Static, Linkage::Dynamic, Linkage::Static]
        .map(|linkage| {
            fork_run(|| {
                close(&p.w).unwrap();
                close(&q.r).unwrap();
                s.bump(0);
                let copy = format!("copy:{}:{}", p.r.number(), q.w.number());
                exec(&program("puppet", linkage), &[&copy]);
            })
        })
        .into();
    let Pipe { r, w: q_w } = q;
    let Pipe { r: p_r, w } = p;
    drop((p_r, q_w));
    s.wait_for(0, 3);
    let writer = fork_run(move || write_all(&w, &[7; 1_000_000]));
    assert!(read_to_end(&r) == vec![7; 1_000_000]);
    writer.succeeds();
    all_succeed(children);
});

both_worlds!(
    an_exec_in_the_midst_of_a_transfer_loses_nothing,
    timeout = 60,
    {
        for round in 0..20 {
            let (p, s) = (pipe(), Shared::new());
            let Pipe { r, w } = p;
            let holder = fork_run(|| {
                s.wait_for(0, 20_000 * (round % 5) + 1);
                exec(&program("puppet", Linkage::Static), &["open:1"]);
            });
            let writer = fork_run(|| {
                close(&r).unwrap();
                let (mut rng, mut at) = (Rng::new(round), 0);
                while at < 1_000_000 {
                    let n = rng.within(1, 10_000).min(1_000_000 - at);
                    assert_eq!(write(&w, &stream(at, n)), Ok(n));
                    at += n;
                    s.set(0, at as u64);
                }
            });
            drop(w);
            let (mut rng, mut at) = (Rng::new(round + 100), 0);
            loop {
                let got = read_n(&r, rng.within(1, 20_000)).unwrap();
                if got.is_empty() {
                    break;
                }
                assert!(got == stream(at, got.len()), "round {round}, at {at}");
                at += got.len();
            }
            assert_eq!(at, 1_000_000);
            writer.succeeds();
            holder.succeeds();
        }
    }
);

both_worlds!(a_pipe_that_was_polled_goes_there_by_either_end, {
    for len in [1, 5, 4095, 4096, 20_000] {
        for by_reader in [false, true] {
            let p = pipe();
            assert_eq!(poll_now(&p.r), 0);
            assert_eq!(write(&p.w, &stream(0, len)), Ok(len));
            // The kernel serves it from here on.
            let other = pipe();
            match by_reader {
                false => transfer::tee(&other.r, &p.w, 9, libc::SPLICE_F_NONBLOCK),
                true => transfer::tee(&p.r, &other.w, 9, libc::SPLICE_F_NONBLOCK),
            }
            .ok();
            assert!(read_n(&p.r, 99_999).unwrap() == stream(0, len));
            assert_eq!(poll_now(&p.r), 0);
        }
    }
});

both_worlds!(a_pipe_is_polled_by_an_end_that_was_opened_again, {
    let p = pipe();
    let again = reopen(&p.r, O_RDONLY).unwrap();
    let epoll = Epoll::new();
    epoll.add(&again, EPOLLIN);
    for round in 0..3 {
        for len in [1, 4097, 20_000] {
            assert_eq!(poll_now(&again), 0, "{round}, {len}");
            assert_eq!(epoll.now(), 0);
            assert_eq!(write(&p.w, &stream(0, len)), Ok(len));
            assert_eq!((poll_now(&again) & POLLIN, epoll.now()), (POLLIN, EPOLLIN));
            assert!(read_n(&again, 99_999).unwrap() == stream(0, len));
        }
    }
});

/// The kernel serves it from here on.
fn give(p: &Pipe, by_reader: bool) {
    let other = pipe();
    let flags = libc::SPLICE_F_NONBLOCK;
    let tried = match by_reader {
        false => transfer::tee(&other.r, &p.w, 9, flags),
        true => transfer::tee(&p.r, &other.w, 9, flags),
    };
    tried.ok();
}

both_worlds!(a_page_that_was_read_in_part_stays_as_full_as_it_was, {
    // (bytes of its page, read of them, then written, pages free for more)
    let cases = [
        (4000, 3000, 96, 15),
        (4000, 3000, 97, 14),
        (4096, 1, 1, 14),
        (4096, 4095, 4095, 14),
        (10, 9, 4086, 15),
        (10, 9, 4087, 14),
    ];
    for by_reader in [false, true] {
        for (page, read, more, free) in cases {
            let p = nonblocking_pipe();
            assert_eq!(write(&p.w, &stream(0, page)), Ok(page));
            assert!(read_n(&p.r, read).unwrap() == stream(0, read));
            give(&p, by_reader);
            assert_eq!(write(&p.w, &stream(page, more)), Ok(more));
            let pages = (0..).take_while(|_| write(&p.w, &[7; PAGE]).is_ok());
            assert_eq!(pages.count(), free, "{page}, {read}, {more}");
            let rest = read_n(&p.r, page - read + more).unwrap();
            assert!(rest == stream(read, page - read + more));
        }
    }
});

both_worlds!(packets_stay_what_they_were_written_as, {
    for by_reader in [false, true] {
        // So long that the packet does not go into the same page.
        let (p, long) = (nonblocking_pipe(), PAGE - 1);
        assert_eq!(write(&p.w, &stream(0, long)), Ok(long));
        assert_eq!(read_n(&p.r, 1), Ok(stream(0, 1)));
        set_status_flags(&p.w, O_NONBLOCK | O_DIRECT).unwrap();
        assert_eq!(write(&p.w, &stream(long, 20)), Ok(20));
        give(&p, by_reader);
        assert_eq!(read_n(&p.r, 3), Ok(stream(1, 3)));
        assert!(read_n(&p.r, long - 4).unwrap() == stream(4, long - 4));
        assert_eq!(read_n(&p.r, 3), Ok(stream(long, 3)), "the rest is lost");
        assert_eq!(read_n(&p.r, 3), Err(EAGAIN));

        let p = nonblocking_pipe();
        set_status_flags(&p.w, O_NONBLOCK | O_DIRECT).unwrap();
        assert_eq!(write(&p.w, &stream(0, 10)), Ok(10));
        set_status_flags(&p.w, O_NONBLOCK).unwrap();
        assert_eq!(write(&p.w, &stream(10, 20)), Ok(20));
        give(&p, by_reader);
        assert_eq!(read_n(&p.r, 3), Ok(stream(0, 3)), "the rest is lost");
        assert_eq!(read_n(&p.r, 99), Ok(stream(10, 20)));
    }
});
