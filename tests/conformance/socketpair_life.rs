//! Pairs of Unix sockets: their processes, their deaths, and their ways to the kernel.

use libc::{MSG_DONTWAIT, MSG_OOB, SHUT_WR};
use ringer_support::prelude::*;
use ringer_support::puppet::{Outsider, Scene};
use ringer_support::socket::*;
use ringer_support::{check, rights, transfer};

/// Readable, writable.
fn ready(fd: impl Descriptor) -> i16 {
    poll_now(fd) & (POLLIN | POLLOUT)
}

/// Who looks for a peer in vain gives up after a second.
const PROMPT: std::time::Duration = std::time::Duration::from_millis(900);

const CONNECTED: [c_int; 2] = [SOCK_STREAM, SOCK_SEQPACKET];

both_worlds!(parent_and_child_talk, worlds = all, {
    for kind in TYPES {
        let (a, b) = pair(kind);
        let child = fork_run(|| {
            close(&a).unwrap();
            for i in 0..500 {
                assert_eq!(recv(&b, 99, 0), Ok(format!("ask {i}").into_bytes()));
                send(&b, format!("answer {i}").as_bytes(), 0).unwrap();
            }
        });
        drop(b);
        for i in 0..500 {
            send(&a, format!("ask {i}").as_bytes(), 0).unwrap();
            assert_eq!(recv(&a, 99, 0), Ok(format!("answer {i}").into_bytes()));
        }
        child.succeeds();
    }
});

both_worlds!(a_flood_between_two_processes_comes_whole, timeout = 60, {
    let total = 20_000_000;
    let (a, b) = pair(SOCK_STREAM);
    let child = fork_run(|| {
        close(&b).unwrap();
        let (mut at, mut rng) = (0, Rng::new(11));
        while at < total {
            let n = rng.within(1, 9000).min(total - at);
            assert_eq!(write(&a, &stream(at, n)), Ok(n));
            at += n;
        }
    });
    drop(a);
    let (mut at, mut rng) = (0, Rng::new(12));
    while at < total {
        let got = read_n(&b, rng.within(1, 20_000)).unwrap();
        assert!(!got.is_empty() && got == stream(at, got.len()), "at {at}");
        at += got.len();
    }
    assert_eq!(read_n(&b, 9), Ok(vec![]));
    child.succeeds();
});

both_worlds!(end_of_file_comes_when_the_last_holder_goes, {
    for kind in CONNECTED {
        let (a, b) = pair(kind);
        let (s, held) = (Shared::new(), dup(&b).unwrap());
        let child = fork_run(|| {
            close(&a).unwrap();
            s.wait_for(0, 1);
            send(&b, b"last words", 0).unwrap();
        });
        drop(b);
        let reader = fork_run(|| {
            close(&held).unwrap();
            assert_eq!(recv(&a, 99, 0), Ok(b"last words".to_vec()));
            assert_eq!(recv(&a, 99, 0), Ok(vec![]));
        });
        drop(held);
        reader.sleeping();
        s.set(0, 1);
        child.succeeds();
        reader.succeeds();
    }
});

both_worlds!(kill_9_of_the_peer_is_an_end, {
    for kind in CONNECTED {
        let (a, b) = pair(kind);
        let child = fork_run(|| {
            close(&a).unwrap();
            send(&b, b"alive", 0).unwrap();
            signal::suspend(&[]).unwrap();
        });
        drop(b);
        assert_eq!(recv(&a, 9, 0), Ok(b"alive".to_vec()));
        child.sleeping();
        child.kill_9();
        assert_eq!(recv(&a, 9, 0), Ok(vec![]));
        signal::ignore(SIGPIPE);
        assert_eq!(send(&a, b"x", 0), Err(EPIPE));
    }
});

both_worlds!(kill_9_in_the_midst_of_sending_leaves_whole_messages, {
    for kind in TYPES {
        let (a, b) = pair(kind);
        for _ in 0..10 {
            let s = Shared::new();
            let child = fork_run(|| loop {
                send(&a, &[7; 100], 0).unwrap();
                s.set(0, s.get(0) + 1);
            });
            while s.get(0) < 300 {
                let _ = recv(&b, 100, MSG_DONTWAIT);
            }
            child.kill_9();
            let left = std::iter::from_fn(|| recv(&b, 100, MSG_DONTWAIT).ok());
            assert!(left.map(|m| m.len()).all(|n| n == 100));
            assert_eq!(send(&a, b"next", 0), Ok(4));
            assert_eq!(recv(&b, 9, 0), Ok(b"next".to_vec()));
        }
    }
});

both_worlds!(a_dead_peer_of_a_datagram_socket_is_found_by_sending, {
    let (a, b) = pair(SOCK_DGRAM);
    let child = fork_run(|| {
        close(&a).unwrap();
        signal::suspend(&[]).unwrap();
    });
    drop(b);
    assert_eq!(send(&a, b"x", 0), Ok(1));
    child.sleeping();
    child.kill_9();
    assert_eq!(send(&a, b"x", 0), Err(libc::ECONNREFUSED));
    assert_eq!(send(&a, b"x", 0), Err(libc::ENOTCONN));
});

both_worlds!(
    the_last_of_several_dead_holders_is_found_by_the_next_datagram,
    {
        for used in [false, true] {
            let (a, b) = pair(SOCK_DGRAM);
            let holder = || {
                fork_run(|| {
                    close(&a).unwrap();
                    if used {
                        send(&b, b"hello", 0).unwrap();
                    }
                    signal::suspend(&[]).unwrap();
                })
            };
            let holders = [holder(), holder(), holder()];
            drop(b);
            for child in holders {
                child.sleeping();
                assert_eq!(send(&a, b"x", 0), Ok(1));
                child.kill_9();
            }
            assert_eq!(send(&a, b"x", 0), Err(libc::ECONNREFUSED));
        }
    }
);

both_worlds!(a_new_program_goes_on_with_it, {
    for kind in TYPES {
        for how in [Outsider::Dynamic, Outsider::Static, Outsider::EmptyPreload] {
            let (a, b) = pair(kind);
            send(&a, b"hello", 0).unwrap();
            let scene = Scene::new(how).unwrap();
            let fd = b.number();
            let orders = format!("read:{fd}:hello write:{fd}:world read:{fd}:bye");
            let child = scene.start(&[&a], &orders);
            assert_eq!(recv(&a, 9, 0), Ok(b"world".to_vec()));
            send(&a, b"bye", 0).unwrap();
            child.succeeds();
        }
    }
});

both_worlds!(a_new_program_finds_what_a_peer_that_is_gone_has_sent, {
    for kind in TYPES {
        for how in [Outsider::Dynamic, Outsider::Static] {
            let (a, b) = pair(kind);
            send(&a, b"hello", 0).unwrap();
            drop(a);
            let scene = Scene::new(how).unwrap();
            let fd = b.number();
            let end = if kind == SOCK_DGRAM {
                String::new()
            } else {
                format!("eof:{fd}")
            };
            scene
                .start(&[], &format!("read:{fd}:hello {end}"))
                .succeeds();
        }
    }
});

both_worlds!(polled_it_goes_on, worlds = all, {
    for kind in TYPES {
        let (a, b) = pair(kind);
        send(&a, b"one", 0).unwrap();
        send(&a, b"two", 0).unwrap();
        send(&b, b"back", 0).unwrap();
        assert_eq!(ready(&b), POLLIN | POLLOUT);
        assert_eq!(recv(&b, 3, 0), Ok(b"one".to_vec()));
        assert_eq!(recv(&b, 3, 0), Ok(b"two".to_vec()));
        assert_eq!(ready(&b), POLLOUT);
        assert_eq!(recv(&a, 9, 0), Ok(b"back".to_vec()));
        send(&b, b"more", 0).unwrap();
        assert_eq!(recv(&a, 9, 0), Ok(b"more".to_vec()));
    }
});

both_worlds!(polled_by_one_process_while_another_has_the_peer, {
    for kind in TYPES {
        let (a, b) = pair(kind);
        let s = Shared::new();
        let child = fork_run(|| {
            close(&a).unwrap();
            for part in [b"first".as_slice(), b"second"] {
                send(&b, part, 0).unwrap();
            }
            s.set(0, 1);
            assert_eq!(recv(&b, 9, 0), Ok(b"answer".to_vec()));
            send(&b, b"third", 0).unwrap();
        });
        drop(b);
        s.wait_for(0, 1);
        assert_eq!(poll_now(&a) & POLLIN, POLLIN);
        assert_eq!(recv(&a, 5, 0), Ok(b"first".to_vec()));
        assert_eq!(recv(&a, 6, 0), Ok(b"second".to_vec()));
        send(&a, b"answer", 0).unwrap();
        assert_eq!(poll_until(&a, POLLIN) & POLLIN, POLLIN);
        assert_eq!(recv(&a, 9, 0), Ok(b"third".to_vec()));
        child.succeeds();
    }
});

both_worlds!(polled_while_the_peer_is_just_born_or_just_dying, {
    for i in 0..300 {
        let (a, b) = pair(TYPES[i % 3]);
        send(&a, b"ask", 0).unwrap();
        let child = fork_run(|| {
            close(&a).unwrap();
            assert_eq!(recv(&b, 9, 0), Ok(b"ask".to_vec()));
            send(&b, b"answer", 0).unwrap();
        });
        drop(b);
        assert_eq!(poll_until(&a, POLLIN) & POLLIN, POLLIN);
        assert_eq!(recv(&a, 9, 0), Ok(b"answer".to_vec()));
        child.succeeds();
    }
});

both_worlds!(who_sleeps_in_it_is_woken_when_it_goes_to_the_kernel, {
    for kind in TYPES {
        let (a, b) = pair(kind);
        let reader = fork_run(|| assert_eq!(recv(&b, 9, 0), Ok(b"after".to_vec())));
        reader.sleeping();
        let poller = fork_run(|| assert_eq!(ready(&a), POLLOUT));
        poller.succeeds();
        send(&a, b"after", 0).unwrap();
        reader.succeeds();
    }
});

both_worlds!(a_peer_that_is_gone_can_be_polled_for, {
    for kind in CONNECTED {
        let (a, b) = pair(kind);
        send(&b, b"rest", 0).unwrap();
        drop(b);
        let told = poll_now(&a);
        assert_eq!(told & (POLLIN | libc::POLLHUP), POLLIN | libc::POLLHUP);
        assert_eq!(recv(&a, 9, 0), Ok(b"rest".to_vec()));
        assert_eq!(recv(&a, 9, 0), Ok(vec![]));
    }
});

both_worlds!(descriptors_travel_through_it, {
    for kind in TYPES {
        let (a, b) = pair(kind);
        send(&a, b"before", 0).unwrap();
        let p = pipe();
        write_all(&p.w, b"in the pipe");
        rights::send_fds(&a, &[p.r.number()]).unwrap();
        assert_eq!(recv(&b, 6, 0), Ok(b"before".to_vec()));
        let got = rights::receive_fds(&b).unwrap();
        assert_eq!(read_n(&got[0], 99), Ok(b"in the pipe".to_vec()));
    }
});

both_worlds!(it_can_be_sent_itself, {
    let (a, b) = pair(SOCK_STREAM);
    send(&b, b"unread", 0).unwrap();
    let (x, y) = pair(SOCK_DGRAM);
    let child = fork_run(|| {
        close_range(a.number() as u32, b.number() as u32, 0).unwrap();
        let got = rights::receive_fds(&y).unwrap();
        assert_eq!(recv(&got[0], 9, 0), Ok(b"unread".to_vec()));
        send(&got[0], b"thanks", 0).unwrap();
    });
    rights::send_fds(&x, &[a.number()]).unwrap();
    assert_eq!(recv(&b, 9, 0), Ok(b"thanks".to_vec()));
    child.succeeds();
});

both_worlds!(what_the_kernel_alone_can_do_it_does, {
    let (a, b) = pair(SOCK_STREAM | SOCK_NONBLOCK);
    send(&a, b"ab", 0).unwrap();
    assert_eq!(send(&a, b"!", MSG_OOB), Ok(1));
    assert_eq!(recv(&b, 9, 0), Ok(b"ab".to_vec()));
    assert_eq!(recv(&b, 9, MSG_OOB), Ok(b"!".to_vec()));
    let (a, b) = pair(SOCK_STREAM | SOCK_NONBLOCK);
    send(&a, b"before", 0).unwrap();
    set_option(&b, libc::SO_PASSCRED, 1).unwrap();
    send(&a, b"after", 0).unwrap();
    let told = recvmsg(&b, &mut [&mut [0; 6]], 0).unwrap();
    assert_eq!(told.bytes, 6);
    let told = recvmsg(&b, &mut [&mut [0; 9]], 0).unwrap();
    assert!(told.bytes == 5 && told.control_len >= 24, "{told:?}");
    let (a, b) = pair(SOCK_STREAM);
    send(&a, b"spliced", 0).unwrap();
    let p = pipe();
    assert_eq!(transfer::splice(&b, &p.w, 7, 0), Ok(7));
    assert_eq!(read_n(&p.r, 9), Ok(b"spliced".to_vec()));
});

both_worlds!(a_shutdown_goes_along_to_the_kernel, {
    for kind in CONNECTED {
        let (a, b) = pair(kind);
        send(&a, b"rest", 0).unwrap();
        shutdown(&a, SHUT_WR).unwrap();
        assert_eq!(poll_now(&b) & POLLIN, POLLIN);
        assert_eq!(recv(&b, 9, 0), Ok(b"rest".to_vec()));
        assert_eq!(recv(&b, 9, 0), Ok(vec![]));
        assert_eq!(send(&b, b"still", 0), Ok(5));
        assert_eq!(recv(&a, 9, 0), Ok(b"still".to_vec()));
    }
});

both_worlds!(a_name_can_be_given_to_it, {
    let (a, b) = pair(SOCK_DGRAM);
    send(&b, b"before", 0).unwrap();
    let mut name = [0u8; 16];
    name[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
    // Only the family: the kernel chooses an abstract name.
    // SAFETY: an address of two bytes.
    check(unsafe { libc::bind(a.number(), name.as_ptr().cast(), 2) }).unwrap();
    send(&a, b"named", 0).unwrap();
    let told = recvmsg(&b, &mut [&mut [0; 9]], 0).unwrap();
    assert_eq!((told.bytes, told.name_len > 2), (5, true));
    assert_eq!(recv(&a, 9, 0), Ok(b"before".to_vec()));
});

both_worlds!(
    a_descriptor_that_is_closed_under_a_reader_keeps_it_waiting,
    {
        let (a, b) = pair(SOCK_STREAM);
        let s = Shared::new();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                s.set(0, gettid() as u64);
                recv(b.number(), 9, 0)
            });
            s.wait_for(0, 1);
            procfs::thread_sleeping(s.get(0) as i32);
            close(b.number()).unwrap();
            assert_eq!(send(&a, b"late", 0), Ok(4));
            assert_eq!(reader.join().unwrap(), Ok(b"late".to_vec()));
            signal::ignore(SIGPIPE);
            wait_until(|| send(&a, b"x", 0) == Err(EPIPE));
        });
        b.leak();
    }
);

both_worlds!(a_peer_that_is_closed_under_a_reader_is_polled, {
    for kind in CONNECTED {
        let (a, b) = pair(kind);
        let s = Shared::new();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                s.set(0, gettid() as u64);
                recv(b.number(), 9, 0)
            });
            s.wait_for(0, 1);
            procfs::thread_sleeping(s.get(0) as i32);
            close(b.number()).unwrap();
            let began = std::time::Instant::now();
            assert_eq!(ready(&a), POLLOUT);
            assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
            assert_eq!(send(&a, b"late", 0), Ok(4));
            assert_eq!(reader.join().unwrap(), Ok(b"late".to_vec()));
            signal::ignore(SIGPIPE);
            wait_until(|| send(&a, b"x", 0) == Err(EPIPE));
        });
        b.leak();
    }
});
