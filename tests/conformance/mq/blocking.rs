//! Who waits, for how long, and who comes first. See mq_overview(7), signal(7).

use std::time::Duration;

use libc::ETIMEDOUT;
use ringer_support::mq::*;
use ringer_support::prelude::*;

both_worlds!(an_empty_or_full_queue_does_not_block_with_o_nonblock, {
    let name = Name::new();
    let q = name
        .create_with(O_RDWR | O_NONBLOCK, 0o600, Some((2, 8)))
        .unwrap();
    assert_eq!(take(&q), Err(EAGAIN));
    send(&q, b"1", 0).unwrap();
    send(&q, b"2", 0).unwrap();
    assert_eq!(send(&q, b"3", 0), Err(EAGAIN));
    assert_eq!(take(&q), Ok(b"1".to_vec()));
});

both_worlds!(a_receiver_is_woken_by_a_message, {
    let (_name, q) = queue();
    let child = fork_run(|| assert_eq!(receive(&q), Ok((b"wake up".to_vec(), 9))));
    child.sleeping();
    assert_eq!(send(&q, b"wake up", 9), Ok(0));
    assert_eq!(curmsgs(&q), 0, "it went straight to the receiver");
    child.succeeds();
});

both_worlds!(a_sender_is_woken_by_room, {
    let (_name, q) = queue_of(1, 8);
    send(&q, b"1", 0).unwrap();
    let child = fork_run(|| assert_eq!(send(&q, b"2", 7), Ok(0)));
    child.sleeping();
    assert_eq!(curmsgs(&q), 1);
    assert_eq!(take(&q), Ok(b"1".to_vec()));
    assert_eq!(curmsgs(&q), 1, "its message took the room at once");
    child.succeeds();
    assert_eq!(receive(&q), Ok((b"2".to_vec(), 7)));
});

both_worlds!(threads_wait_for_each_other, {
    let (_name, q) = queue_of(1, 8);
    let s = Shared::new();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            s.set(0, gettid() as u64);
            take(&q)
        });
        s.wait_for(0, 1);
        procfs::thread_sleeping(s.get(0) as i32);
        assert_eq!(send(&q, b"thread", 0), Ok(0));
        assert_eq!(receiver.join().unwrap(), Ok(b"thread".to_vec()));
    });
});

both_worlds!(who_waits_longest_is_first, {
    let (_name, q) = queue();
    let s = Shared::new();
    let children: Vec<Child> = (0..4)
        .map(|i| {
            let child = fork_run(|| s.set(i, 1 + u64::from(take(&q).unwrap()[0])));
            child.sleeping();
            child
        })
        .collect();
    for n in 0..4u8 {
        send(&q, &[n], 0).unwrap();
    }
    all_succeed(children);
    assert_eq!([0, 1, 2, 3].map(|i| s.get(i)), [1, 2, 3, 4]);
});

both_worlds!(who_has_a_higher_priority_is_served_before, {
    let (_name, q) = queue();
    let s = Shared::new();
    let nice = [5, 0, 10, 0];
    let children: Vec<Child> = nice
        .into_iter()
        .enumerate()
        .map(|(i, nice)| {
            let child = fork_run(|| {
                // SAFETY: numbers only.
                assert_eq!(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }, 0);
                s.set(i, 1 + u64::from(take(&q).unwrap()[0]));
            });
            child.sleeping();
            child
        })
        .collect();
    for n in 0..4u8 {
        send(&q, &[n], 0).unwrap();
    }
    all_succeed(children);
    assert_eq!([0, 1, 2, 3].map(|i| s.get(i)), [3, 1, 4, 2]);
});

both_worlds!(
    waiting_senders_get_room_in_their_order_whatever_the_messages_priority,
    {
        let (_name, q) = queue_of(1, 8);
        send(&q, b"0", 0).unwrap();
        let children: Vec<Child> = [(b"1", 1), (b"2", 9), (b"3", 5)]
            .map(|(text, prio)| {
                let child = fork_run(|| assert_eq!(send(&q, text, prio), Ok(0)));
                child.sleeping();
                child
            })
            .into();
        for text in [b"0", b"1", b"2", b"3"] {
            assert_eq!(take(&q), Ok(text.to_vec()));
        }
        all_succeed(children);
    }
);

both_worlds!(what_a_waiting_sender_sends_is_what_it_was_when_it_called, {
    let (_name, q) = queue_of(1, 8);
    send(&q, b"1", 0).unwrap();
    let s = Shared::new();
    s.set(0, 7);
    let child = fork_run(|| {
        let page: *const u64 = std::ptr::from_ref(s.word(0)).cast();
        // SAFETY: eight bytes of the page.
        let ret = unsafe { libc::mq_send(q.number(), page.cast(), 8, 0) };
        assert_eq!(ret, 0);
    });
    child.sleeping();
    s.set(0, 8);
    take(&q).unwrap();
    assert_eq!(take(&q), Ok(7u64.to_ne_bytes().to_vec()));
    child.succeeds();
});

both_worlds!(a_deadline_ends_a_wait, {
    let (_name, q) = queue_of(1, 8);
    assert_eq!(timedreceive(&q, &in_ms(30)), Err(ETIMEDOUT));
    assert_eq!(timedreceive(&q, &in_ms(-1000)), Err(ETIMEDOUT));
    send(&q, b"1", 0).unwrap();
    assert_eq!(timedsend(&q, b"2", 0, &in_ms(30)), Err(ETIMEDOUT));
    assert_eq!(timedsend(&q, b"2", 0, &in_ms(-1000)), Err(ETIMEDOUT));
    assert_eq!(
        timedreceive(&q, &in_ms(-1000)),
        Ok(b"1".to_vec()),
        "no wait"
    );
    assert_eq!(timedsend(&q, b"3", 0, &in_ms(-1000)), Ok(0));
    assert_eq!(
        take(&q),
        Ok(b"3".to_vec()),
        "what came too late was not sent"
    );
});

both_worlds!(a_deadline_does_not_come_early, {
    let (_name, q) = queue_of(1, 8);
    let start = std::time::Instant::now();
    assert_eq!(timedreceive(&q, &in_ms(60)), Err(ETIMEDOUT));
    assert!(start.elapsed() >= Duration::from_millis(59));
});

both_worlds!(a_message_in_time_ends_a_timed_wait, {
    let (_name, q) = queue_of(1, 8);
    let child = fork_run(|| assert_eq!(timedreceive(&q, &in_ms(60_000)), Ok(b"1".to_vec())));
    child.sleeping();
    send(&q, b"1", 0).unwrap();
    child.succeeds();
});

both_worlds!(a_bad_deadline_is_found_before_anything_else, {
    let (_name, q) = queue_of(1, 8);
    send(&q, b"1", 0).unwrap();
    let bad = [(0, -1), (0, 1_000_000_000), (-1, 0)]
        .map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
    for at in &bad {
        assert_eq!(
            timedreceive(&q, at),
            Err(EINVAL),
            "though nobody would wait"
        );
        assert_eq!(timedsend(&q, b"", 0, at), Err(EINVAL));
        assert_eq!(timedsend(&q, b"", 99999, at), Err(EINVAL));
    }
    let p = pipe();
    assert_eq!(timedreceive(&p.r, &bad[0]), Err(EINVAL));
    let null = std::ptr::null_mut();
    // SAFETY: the kernel judges the address.
    let n =
        unsafe { libc::mq_timedreceive(q.number(), null, 0, null.cast(), std::ptr::dangling()) };
    assert_eq!((n, ringer_support::errno()), (-1, EFAULT));
    assert_eq!(take(&q), Ok(b"1".to_vec()));
});

both_worlds!(a_null_deadline_is_none, {
    let (_name, q) = queue_of(1, 8);
    let child = fork_run(|| {
        let mut buf = [0u8; 8];
        let null: *const libc::timespec = std::ptr::null();
        // SAFETY: a valid buffer.
        let n = unsafe {
            libc::mq_timedreceive(
                q.number(),
                buf.as_mut_ptr().cast(),
                8,
                std::ptr::null_mut(),
                null,
            )
        };
        assert_eq!(n, 1);
    });
    child.sleeping();
    send(&q, b"1", 0).unwrap();
    child.succeeds();
});

both_worlds!(a_handler_ends_a_wait, {
    let (_name, q) = queue_of(1, 8);
    let child = fork_run(|| {
        signal::count(SIGUSR1, 0);
        assert_eq!(take(&q), Err(EINTR));
        send(&q, b"1", 0).unwrap();
        assert_eq!(send(&q, b"2", 0), Err(EINTR));
        assert_eq!(timedsend(&q, b"2", 0, &in_ms(60_000)), Err(EINTR));
        assert_eq!(signal::seen(SIGUSR1), 3);
        assert_eq!(curmsgs(&q), 1);
    });
    for _ in 0..3 {
        child.sleeping();
        child.kill(SIGUSR1);
        // The next sleep must be another one.
        pause(Duration::from_millis(20));
    }
    child.succeeds();
});

both_worlds!(a_handler_with_sa_restart_does_not, {
    let (_name, q) = queue_of(1, 8);
    let s = Shared::new();
    let child = fork_run(|| {
        signal::publish(s.word(0));
        signal::count(SIGUSR1, SA_RESTART);
        assert_eq!(take(&q), Ok(b"1".to_vec()));
        assert_eq!(timedreceive(&q, &in_ms(60_000)), Ok(b"2".to_vec()));
    });
    for (n, text) in [(1, b"1"), (2, b"2")] {
        child.sleeping();
        child.kill(SIGUSR1);
        s.wait_for(0, n);
        child.sleeping();
        send(&q, text, 0).unwrap();
        wait_until(|| curmsgs(&q) == 0);
    }
    child.succeeds();
});

both_worlds!(a_timed_wait_that_is_restarted_keeps_its_deadline, {
    let (_name, q) = queue_of(1, 8);
    let s = Shared::new();
    let child = fork_run(|| {
        signal::publish(s.word(0));
        signal::count(SIGUSR1, SA_RESTART);
        assert_eq!(timedreceive(&q, &in_ms(300)), Err(ETIMEDOUT));
    });
    child.sleeping();
    child.kill(SIGUSR1);
    child.succeeds();
});

both_worlds!(a_stopped_receiver_gets_its_message_when_it_goes_on, {
    let (_name, q) = queue_of(1, 8);
    let child = fork_run(|| assert_eq!(take(&q), Ok(b"1".to_vec())));
    child.sleeping();
    child.kill(SIGSTOP);
    procfs::stopped(child.pid());
    send(&q, b"1", 0).unwrap();
    child.kill(SIGCONT);
    child.succeeds();
});

both_worlds!(the_message_of_a_killed_sender_is_not_sent, worlds = all, {
    let (_name, q) = queue_of(1, 8);
    send(&q, b"1", 0).unwrap();
    let child = fork_run(|| {
        let _ = send(&q, b"dead", 0);
    });
    child.sleeping();
    child.kill_9();
    let other = fork_run(|| assert_eq!(send(&q, b"2", 0), Ok(0)));
    other.sleeping();
    assert_eq!(take(&q), Ok(b"1".to_vec()));
    other.succeeds();
    assert_eq!(take(&q), Ok(b"2".to_vec()));
    assert_eq!(curmsgs(&q), 0);
});

both_worlds!(a_killed_receiver_gets_no_message, worlds = all, {
    let (_name, q) = queue_of(1, 8);
    let child = fork_run(|| {
        let _ = take(&q);
    });
    child.sleeping();
    let other = fork_run(|| assert_eq!(take(&q), Ok(b"1".to_vec())));
    other.sleeping();
    child.kill_9();
    send(&q, b"1", 0).unwrap();
    other.succeeds();
});

both_worlds!(a_waiting_thread_can_be_cancelled, {
    fork_run(|| exec(&program("mq_cancel", Linkage::Dynamic), &[])).succeeds();
});
