//! Queues between processes: fork, exec, death.

use ringer_support::mq::*;
use ringer_support::prelude::*;

both_worlds!(a_forked_child_has_the_queue, worlds = all, {
    let (_name, q) = queue();
    let child = fork_run(|| {
        assert_eq!(take(&q), Ok(b"to the child".to_vec()));
        assert_eq!(send(&q, b"to the parent", 0), Ok(0));
    });
    send(&q, b"to the child", 0).unwrap();
    child.succeeds();
    assert_eq!(take(&q), Ok(b"to the parent".to_vec()));
});

both_worlds!(processes_meet_by_name, worlds = all, {
    let (name, q) = queue();
    let child = fork_run(|| {
        close_range(3, u32::MAX, 0).unwrap();
        let own = name.open(O_RDWR).unwrap();
        assert_eq!(take(&own), Ok(b"1".to_vec()));
        assert_eq!(send(&own, b"2", 0), Ok(0));
    });
    send(&q, b"1", 0).unwrap();
    child.succeeds();
    assert_eq!(take(&q), Ok(b"2".to_vec()));
});

both_worlds!(a_child_that_made_it_leaves_it_behind, {
    let name = Name::new();
    fork_run(|| {
        let q = name.create(4, 16).unwrap();
        send(&q, b"left", 3).unwrap();
    })
    .succeeds();
    let q = name.open(O_RDONLY).unwrap();
    assert_eq!(receive(&q), Ok((b"left".to_vec(), 3)));
});

both_worlds!(a_killed_process_leaves_the_queue_in_order, worlds = all, {
    let (_name, q) = queue_of(4, 16);
    for n in 0..20 {
        let child = fork_run(|| loop {
            let _ = send(&q, b"message", 1);
            let _ = take(&q);
        });
        pause(std::time::Duration::from_micros(300 * n));
        child.kill_9();
    }
    setflags(&q, i64::from(O_NONBLOCK)).unwrap();
    while let Ok(message) = take(&q) {
        assert_eq!(message, b"message");
    }
    for n in 0..4u8 {
        assert_eq!(send(&q, &[n], 0), Ok(0));
    }
    assert_eq!(send(&q, b"", 0), Err(EAGAIN));
    for n in 0..4u8 {
        assert_eq!(take(&q), Ok(vec![n]));
    }
});

both_worlds!(many_senders_and_receivers, timeout = 60, {
    let (_name, q) = queue_of(5, 16);
    let s = Shared::new();
    let each = 3000u64;
    let mut all = Vec::new();
    for who in 0..3u64 {
        all.push(fork_run(|| {
            for n in 0..each {
                let data = [who.to_ne_bytes(), n.to_ne_bytes()].concat();
                assert_eq!(send(&q, &data, (n % 2) as u32), Ok(0));
            }
        }));
        all.push(fork_run(|| {
            for _ in 0..each {
                let data = take(&q).unwrap();
                assert_eq!(data.len(), 16);
                let n = u64::from_ne_bytes(data[8..].try_into().unwrap());
                s.word(1).fetch_add(n, SeqCst);
                s.bump(0);
            }
        }));
    }
    all_succeed(all);
    assert_eq!(s.get(0), 3 * each);
    assert_eq!(s.get(1), 3 * (0..each).sum::<u64>());
    assert_eq!(curmsgs(&q), 0);
});

both_worlds!(exec_closes_it_unless_it_was_told_not_to, {
    let (_name, q) = queue();
    let script = |fd: i32| format!("test -e /proc/self/fd/{fd}");
    for keep in [false, true] {
        let child = fork_run(|| {
            fcntl(&q, F_SETFD, usize::from(!keep)).unwrap();
            exec("/bin/sh".as_ref(), &["-c", &script(q.number())]);
        });
        child.exits_with(i32::from(!keep));
    }
});

both_worlds!(a_program_that_was_execed_with_it_uses_it, {
    let (_name, q) = queue();
    let child = fork_run(|| {
        fcntl(&q, F_SETFD, 0).unwrap();
        dup2(&q, 50).unwrap();
        exec(&program("mq_child", Linkage::Dynamic), &["50"]);
    });
    send(&q, b"ping", 1).unwrap();
    child.succeeds();
    assert_eq!(receive(&q), Ok((b"pong".to_vec(), 2)));
});

both_worlds!(exec_leaves_the_registration_but_nobody_is_told, {
    let (_name, q) = queue();
    let s = Shared::new();
    let child = fork_run(|| {
        notify(&q, Some(&event(libc::SIGEV_SIGNAL, SIGUSR1, 0))).unwrap();
        fcntl(&q, F_SETFD, 0).unwrap();
        s.set(0, 1);
        exec("/bin/sh".as_ref(), &["-c", "kill -STOP $$; exit 7"]);
    });
    s.wait_for(0, 1);
    procfs::stopped(child.pid());
    let mine = || notify(&q, Some(&event(libc::SIGEV_NONE, 0, 0)));
    assert_eq!(mine(), Err(EBUSY));
    let text = String::from_utf8(read_n(&q, 200).unwrap()).unwrap();
    assert!(text.contains(" NOTIFY:0     SIGNO:10 "), "{text}");
    send(&q, b"1", 0).unwrap();
    assert_eq!(mine(), Ok(0));
    child.kill(SIGCONT);
    child.exits_with(7);
});
