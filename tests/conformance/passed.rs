//! Pipe ends that travel over a Unix socket, or are used by io_uring. See unix(7) SCM_RIGHTS,
//! io_uring(7).

use libc::{SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};
use ringer_support::prelude::*;
use ringer_support::rights::{receive_fds, send_fds, socketpair};
use ringer_support::uring::Uring;

both_worlds!(a_read_end_is_passed_with_data_waiting, {
    for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
        let (here, there) = socketpair(kind);
        let child = fork_run(|| {
            let fds = receive_fds(&there).unwrap();
            assert!(read_exactly(&fds[0], 10_000) == stream(0, 10_000));
            assert_eq!(read_to_end(&fds[0]), b"and more");
        });
        let p = pipe();
        write_all(&p.w, &stream(0, 10_000));
        assert_eq!(send_fds(&here, &[p.r.number()]), Ok(1));
        write_all(&p.w, b"and more");
        drop(p);
        child.succeeds();
    }
});

both_worlds!(a_write_end_is_passed, {
    let (here, there) = socketpair(SOCK_STREAM);
    let child = fork_run(|| {
        let fds = receive_fds(&there).unwrap();
        write_all(&fds[0], b" and theirs");
    });
    let p = pipe();
    write_all(&p.w, b"our words");
    send_fds(&here, &[p.w.number()]).unwrap();
    drop(p.w);
    assert_eq!(read_to_end(&p.r), b"our words and theirs");
    child.succeeds();
});

both_worlds!(both_ends_are_passed_and_shared, {
    let (here, there) = socketpair(SOCK_STREAM);
    let child = fork_run(|| {
        let fds = receive_fds(&there).unwrap();
        let [r, w] = &fds[..] else {
            panic!("{} descriptors", fds.len())
        };
        assert_eq!(read_n(r, 3), Ok(b"one".to_vec()));
        write_all(w, b"three");
        assert_eq!(fstat(r).unwrap().st_ino, fstat(w).unwrap().st_ino);
    });
    let p = pipe();
    write_all(&p.w, b"onetwo");
    send_fds(&here, &[p.r.number(), p.w.number()]).unwrap();
    child.succeeds();
    assert_eq!(read_n(&p.r, 99), Ok(b"twothree".to_vec()));
});

both_worlds!(an_end_in_flight_is_alive, {
    let (here, there) = socketpair(SOCK_STREAM);
    let p = nonblocking_pipe();
    write_all(&p.w, b"x");
    send_fds(&here, &[p.w.number()]).unwrap();
    drop(p.w);
    assert_eq!(read_n(&p.r, 9), Ok(b"x".to_vec()));
    assert_eq!(read_n(&p.r, 9), Err(EAGAIN), "the writer is in the socket");
    let w = receive_fds(&there).unwrap().remove(0);
    assert_eq!(write(&w, b"y"), Ok(1));
    assert_eq!(read_n(&p.r, 9), Ok(b"y".to_vec()));
    drop(w);
    assert_eq!(read_n(&p.r, 9), Ok(vec![]));
});

both_worlds!(an_end_that_nobody_receives_is_closed_with_the_socket, {
    let (here, there) = socketpair(SOCK_STREAM);
    let p = nonblocking_pipe();
    send_fds(&here, &[p.w.number()]).unwrap();
    drop(p.w);
    drop(here);
    assert_eq!(read_n(&p.r, 9), Err(EAGAIN));
    drop(there);
    assert_eq!(read_n(&p.r, 9), Ok(vec![]));
});

both_worlds!(an_end_outlives_the_sender_that_was_killed, {
    let (here, there) = socketpair(SOCK_STREAM);
    let s = Shared::new();
    let child = fork_run(|| {
        let p = pipe();
        write_all(&p.w, &stream(0, 30_000));
        send_fds(&there, &[p.r.number()]).unwrap();
        s.set(0, 1);
        s.wait_for(0, 2);
    });
    s.wait_for(0, 1);
    child.kill_9();
    let r = receive_fds(&here).unwrap().remove(0);
    assert!(read_to_end(&r) == stream(0, 30_000));
});

both_worlds!(an_end_comes_back_to_its_sender, {
    let (here, there) = socketpair(SOCK_STREAM);
    let p = nonblocking_pipe();
    write_all(&p.w, b"round");
    send_fds(&here, &[p.r.number()]).unwrap();
    let r = receive_fds(&there).unwrap().remove(0);
    assert_ne!(r.number(), p.r.number());
    // The same description: its flags are shared.
    set_nonblocking(&r, false);
    assert_eq!(status_flags(&p.r), O_RDONLY);
    assert_eq!(read_n(&r, 2), Ok(b"ro".to_vec()));
    assert_eq!(read_n(&p.r, 9), Ok(b"und".to_vec()));
});

both_worlds!(a_static_program_receives_a_read_end_with_data_waiting, {
    let (here, there) = socketpair(SOCK_STREAM);
    let socket = there.number();
    let child = fork_run(|| {
        let recv = format!("recv:{socket}:50");
        let puppet = program("puppet", Linkage::Static);
        exec(
            &puppet,
            &[&recv, "want:50:0:40000", "read:50:later", "eof:50"],
        );
    });
    let p = pipe();
    write_all(&p.w, &stream(0, 40_000));
    send_fds(&here, &[p.r.number()]).unwrap();
    wait_until(|| bytes_waiting(&p.r) == Ok(0));
    child.sleeping();
    write_all(&p.w, b"later");
    drop(p);
    child.succeeds();
});

both_worlds!(a_static_program_receives_a_write_end, {
    let (here, there) = socketpair(SOCK_STREAM);
    let socket = there.number();
    let child = fork_run(|| {
        let recv = format!("recv:{socket}:50");
        exec(
            &program("puppet", Linkage::Static),
            &[&recv, "give:50:0:200000"],
        );
    });
    let p = pipe();
    let Pipe { r, w } = p;
    send_fds(&here, &[w.number()]).unwrap();
    drop(w);
    assert!(read_to_end(&r) == stream(0, 200_000));
    child.succeeds();
});

both_worlds!(a_static_program_gives_back_what_it_received, {
    let (here, there) = socketpair(SOCK_STREAM);
    let socket = there.number();
    let child = fork_run(|| {
        let orders = [format!("recv:{socket}:50"), format!("send:{socket}:50")];
        exec(
            &program("puppet", Linkage::Static),
            &[&orders[0], "read:50:a", &orders[1]],
        );
    });
    let p = pipe();
    write_all(&p.w, b"a");
    send_fds(&here, &[p.r.number()]).unwrap();
    child.succeeds();
    let back = receive_fds(&here).unwrap().remove(0);
    write_all(&p.w, b"b");
    assert_eq!(read_n(&back, 9), Ok(b"b".to_vec()));
});

both_worlds!(
    a_reader_that_was_blocked_before_gets_what_the_receiver_writes,
    {
        let (here, there) = socketpair(SOCK_STREAM);
        let (p, s, socket) = (pipe(), Shared::new(), there.number());
        let reader = fork_run(|| {
            s.set(0, 1);
            assert_eq!(read_n(&p.r, 9), Ok(b"hello".to_vec()));
        });
        s.wait_for(0, 1);
        reader.sleeping();
        let child = fork_run(|| {
            close(&p.w).unwrap();
            let recv = format!("recv:{socket}:50");
            exec(
                &program("puppet", Linkage::Static),
                &[&recv, "write:50:hello"],
            );
        });
        send_fds(&here, &[p.w.number()]).unwrap();
        child.succeeds();
        reader.succeeds();
    }
);

both_worlds!(io_uring_reads_what_is_waiting, {
    let Some(ring) = Uring::new() else { return };
    let (p, memory) = (pipe(), Cliff::unmapped(4));
    write_all(&p.w, &stream(0, 10_000));
    ring.begin_read(&p.r, memory.inside(0, 12_000));
    assert_eq!(ring.complete(), Ok(10_000));
    assert!(memory.get(0, 10_000) == stream(0, 10_000));
    write_all(&p.w, b"and on");
    assert_eq!(read_n(&p.r, 9), Ok(b"and on".to_vec()));
});

both_worlds!(io_uring_writes_behind_what_is_waiting, {
    let Some(ring) = Uring::new() else { return };
    let (p, memory) = (pipe(), Cliff::unmapped(1));
    write_all(&p.w, b"first, ");
    memory.put(0, b"second, ");
    ring.begin_write(&p.w, memory.inside(0, 8));
    assert_eq!(ring.complete(), Ok(8));
    write_all(&p.w, b"third");
    assert_eq!(read_n(&p.r, 99), Ok(b"first, second, third".to_vec()));
});

both_worlds!(a_pending_read_of_io_uring_gets_the_next_write, {
    let Some(ring) = Uring::new() else { return };
    let (p, memory) = (pipe(), Cliff::unmapped(1));
    ring.begin_read(&p.r, memory.inside(0, 100));
    assert!(!ring.is_complete());
    write_all(&p.w, b"at last");
    assert_eq!(ring.complete(), Ok(7));
    assert_eq!(memory.get(0, 7), b"at last");
    assert_eq!(bytes_waiting(&p.r), Ok(0));
});

both_worlds!(a_pending_write_of_io_uring_gets_the_next_buffer, {
    let Some(ring) = Uring::new() else { return };
    let (p, memory) = (pipe(), Cliff::unmapped(1));
    write_all(&p.w, &stream(0, CAPACITY));
    memory.put(0, &stream(CAPACITY, PAGE));
    ring.begin_write(&p.w, memory.inside(0, PAGE));
    assert!(!ring.is_complete());
    assert!(read_exactly(&p.r, CAPACITY) == stream(0, CAPACITY));
    assert_eq!(ring.complete(), Ok(PAGE));
    assert!(read_exactly(&p.r, PAGE) == stream(CAPACITY, PAGE));
});

both_worlds!(io_uring_polls_pipes, {
    let Some(ring) = Uring::new() else { return };
    let p = pipe();
    ring.begin_poll(&p.r, POLLIN);
    assert!(!ring.is_complete());
    write_all(&p.w, b"x");
    assert_eq!(
        ring.complete().map(|events| events as i16 & POLLIN),
        Ok(POLLIN)
    );
    assert_eq!(read_n(&p.r, 9), Ok(b"x".to_vec()));
});

both_worlds!(io_uring_sees_end_of_file, {
    let Some(ring) = Uring::new() else { return };
    let (p, memory) = (pipe(), Cliff::unmapped(1));
    write_all(&p.w, b"last");
    drop(p.w);
    for expected in [4, 0, 0] {
        ring.begin_read(&p.r, memory.inside(0, 100));
        assert_eq!(ring.complete(), Ok(expected));
    }
});

/// pidfd_getfd(2): a descriptor out of another process's table.
fn take_descriptor(pid: c_int, number: c_int) -> Result<Fd, i32> {
    // SAFETY: numbers.
    let pidfd = ringer_support::check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let pidfd = Fd::own(pidfd);
    let (nr, from) = (libc::SYS_pidfd_getfd, pidfd.number());
    // SAFETY: numbers.
    ringer_support::check(unsafe { libc::syscall(nr, from, number, 0) }).map(Fd::own)
}

both_worlds!(an_end_is_taken_out_of_another_process_with_data_waiting, {
    let s = Shared::new();
    let child = fork_run(|| {
        let p = nonblocking_pipe();
        write_all(&p.w, &stream(0, 20_000));
        s.set(1, p.r.number() as u64);
        s.set(0, 1);
        s.wait_for(0, 2);
        write_all(&p.w, b"and more");
        s.set(0, 3);
        s.wait_for(0, 4);
    });
    s.wait_for(0, 1);
    let r = match take_descriptor(child.pid(), s.get(1) as c_int) {
        Ok(r) => r,
        Err(EPERM | libc::ENOSYS) => return,
        Err(e) => panic!("pidfd_getfd: errno {e}"),
    };
    assert!(read_n(&r, 99_999).unwrap() == stream(0, 20_000));
    assert_eq!(read_n(&r, 99), Err(EAGAIN));
    s.set(0, 2);
    s.wait_for(0, 3);
    assert_eq!(read_n(&r, 99), Ok(b"and more".to_vec()));
    s.set(0, 4);
    child.succeeds();
    assert_eq!(read_n(&r, 99), Ok(vec![]));
});
