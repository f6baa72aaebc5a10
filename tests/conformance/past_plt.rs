//! Calls that do not come through the program's PLT: libc's own, syscall(2), and `syscall`
//! instructions in the program.

use raw::{by_libc, inline};
use ringer_support::prelude::*;

fn stdio(part: &str) {
    run(&program("stdio", Linkage::Dynamic), &[part]).succeeds();
}

fn spawn(part: &str) {
    run(&program("spawn", Linkage::Dynamic), &[part]).succeeds();
}

both_worlds!(stdio_formats_and_parses, { stdio("formats") });
both_worlds!(stdio_buffers_as_it_was_told, { stdio("buffering") });
both_worlds!(getline_reads_what_another_process_printed, {
    stdio("lines")
});
both_worlds!(fread_and_fwrite_move_large_blocks, { stdio("blocks") });
both_worlds!(stdio_opens_pipes_by_their_names, { stdio("names") });
both_worlds!(stdio_reports_errors, { stdio("errors") });
both_worlds!(standard_output_may_be_a_pipe, { stdio("standard_output") });
both_worlds!(unflushed_output_is_duplicated_by_fork_and_lost_by_exit, {
    stdio("fork")
});
both_worlds!(popen_works_both_ways, { stdio("popen") });
both_worlds!(system_inherits_pipes, { stdio("system") });

both_worlds!(programs_started_by_fork_and_exec_talk_through_pipes, {
    spawn("fork")
});
both_worlds!(programs_started_by_vfork_and_exec_talk_through_pipes, {
    spawn("vfork")
});
both_worlds!(programs_started_without_environment_talk_through_pipes, {
    spawn("environment")
});
both_worlds!(a_failed_exec_changes_nothing, { spawn("failed") });
both_worlds!(programs_started_by_posix_spawn_talk_through_pipes, {
    spawn("posix_spawn")
});
both_worlds!(posix_spawn_may_reopen_pipes, {
    spawn("posix_spawn_reopens")
});
both_worlds!(exec_keeps_what_was_written_before, { spawn("keeps_data") });

both_worlds!(syscall_reads_and_writes_the_same_pipe, {
    let p = pipe();
    let mut buf = [0; 8];
    assert_eq!(by_libc::write(&p.w, b"syscall"), Ok(7));
    assert_eq!(read_n(&p.r, 99), Ok(b"syscall".to_vec()));
    assert_eq!(write(&p.w, b"libc"), Ok(4));
    assert_eq!(by_libc::read(&p.r, &mut buf), Ok(4));
    assert_eq!(&buf[..4], b"libc");
});

both_worlds!(syscall_instructions_read_and_write_the_same_pipe, {
    let p = pipe();
    let mut buf = [0; 8];
    assert_eq!(inline::write(&p.w, b"inline"), Ok(6));
    assert_eq!(read_n(&p.r, 99), Ok(b"inline".to_vec()));
    assert_eq!(write(&p.w, b"libc"), Ok(4));
    assert_eq!(inline::read(&p.r, &mut buf), Ok(4));
    assert_eq!(&buf[..4], b"libc");
});

both_worlds!(all_ways_to_call_see_one_stream_in_order, {
    let p = nonblocking_pipe();
    let writers: [fn(c_int, &[u8]) -> Sys; 3] = [write, by_libc::write, inline::write];
    let readers: [fn(c_int, &mut [u8]) -> Sys; 3] = [read, by_libc::read, inline::read];
    let (mut rng, mut written, mut taken) = (Rng::new(1), 0, 0);
    for _ in 0..3000 {
        let n = rng.within(1, 6000);
        if let Ok(n) = rng.pick(&writers)(p.w.number(), &stream(written, n)) {
            written += n;
        }
        let mut buf = vec![0; rng.within(1, 6000)];
        if let Ok(n) = rng.pick(&readers)(p.r.number(), &mut buf) {
            assert!(buf[..n] == stream(taken, n), "at {taken}");
            taken += n;
        }
    }
    assert_eq!(bytes_waiting(&p.r), Ok(written - taken));
});

both_worlds!(errors_past_the_plt_are_the_same, {
    signal::ignore(SIGPIPE);
    let p = nonblocking_pipe();
    let mut buf = [0; 8];
    assert_eq!(by_libc::read(&p.r, &mut buf), Err(EAGAIN));
    assert_eq!(inline::read(&p.r, &mut buf), Err(EAGAIN));
    assert_eq!(inline::read(&p.w, &mut buf), Err(EBADF));
    fill(&p.w);
    assert_eq!(by_libc::write(&p.w, b"x"), Err(EAGAIN));
    assert_eq!(inline::write(&p.w, b"x"), Err(EAGAIN));
    drop(p.r);
    assert_eq!(by_libc::write(&p.w, b"x"), Err(EPIPE));
    assert_eq!(inline::write(&p.w, b"x"), Err(EPIPE));
    let q = pipe();
    drop(q.w);
    assert_eq!(by_libc::read(&q.r, &mut buf), Ok(0));
    assert_eq!(inline::read(&q.r, &mut buf), Ok(0));
});

both_worlds!(pipes_made_past_the_plt_are_pipes, {
    for make in [by_libc::pipe2, inline::pipe2] {
        let p = make(O_NONBLOCK).unwrap();
        assert_eq!(read_n(&p.r, 1), Err(EAGAIN));
        assert_eq!(write(&p.w, &stream(0, 100_000)), Ok(CAPACITY));
        assert_eq!(bytes_waiting(&p.r), Ok(CAPACITY));
        assert!(drain(&p.r) == stream(0, CAPACITY));
        fork_run(|| assert_eq!(write(&p.w, b"child"), Ok(5))).succeeds();
        assert_eq!(read_n(&p.r, 9), Ok(b"child".to_vec()));
        assert_eq!(make(libc::O_APPEND).map(drop), Err(EINVAL));
    }
});

both_worlds!(descriptors_closed_and_copied_past_the_plt_are_so_for_all, {
    let p = pipe();
    for dup in [by_libc::dup, inline::dup] {
        let copy = dup(&p.w).unwrap();
        assert_eq!(write(&copy, b"copy"), Ok(4));
        assert_eq!(read_n(&p.r, 9), Ok(b"copy".to_vec()));
        let number = copy.leak();
        assert_eq!(inline::close(number), Ok(0));
        assert_eq!(write(number, b"x"), Err(EBADF));
        assert_eq!(by_libc::close(number), Err(EBADF));
    }
    let q = nonblocking_pipe();
    assert_eq!(by_libc::dup2(&p.w, &q.w), Ok(q.w.number() as usize));
    assert_eq!(read_n(&q.r, 1), Ok(vec![]));
    assert_eq!(write(&q.w, b"moved"), Ok(5));
    assert_eq!(read_n(&p.r, 9), Ok(b"moved".to_vec()));
    assert_eq!(by_libc::fcntl(&p.r, F_SETFL, O_NONBLOCK as usize), Ok(0));
    assert_eq!(read_n(&p.r, 9), Err(EAGAIN));
    let w = p.w.leak();
    assert_eq!(by_libc::close(w), Ok(0));
    assert_eq!(inline::close(q.w.leak()), Ok(0));
    assert_eq!(read_n(&p.r, 9), Ok(vec![]));
});

both_worlds!(poll_past_the_plt_sees_pipes, {
    let p = pipe();
    let mut fds = [pollfd(&p.r, POLLIN), pollfd(&p.w, POLLOUT)];
    assert_eq!(by_libc::poll(&mut fds, 0), Ok(1));
    write_all(&p.w, b"x");
    assert_eq!(inline::poll(&mut fds, -1), Ok(2));
    assert_eq!([fds[0].revents, fds[1].revents], [POLLIN, POLLOUT]);
});

both_worlds!(blocked_calls_past_the_plt_are_woken_and_interrupted, {
    let calls: [fn(c_int, &mut [u8]) -> Sys; 2] = [by_libc::read, inline::read];
    for call in calls {
        let (p, s) = (pipe(), Shared::new());
        let child = fork_run(|| {
            let mut buf = [0; 8];
            signal::count(SIGUSR1, 0);
            s.set(0, 1);
            assert_eq!(call(p.r.number(), &mut buf), Err(EINTR));
            assert_eq!(signal::seen(SIGUSR1), 1);
            signal::count(SIGUSR1, SA_RESTART);
            s.set(0, 2);
            assert_eq!(call(p.r.number(), &mut buf), Ok(4));
            assert_eq!(signal::seen(SIGUSR1), 2);
        });
        s.wait_for(0, 1);
        child.sleeping();
        child.kill(SIGUSR1);
        s.wait_for(0, 2);
        child.sleeping();
        child.kill(SIGUSR1);
        child.sleeping();
        write_all(&p.w, b"data");
        child.succeeds();
    }
});

both_worlds!(a_thread_may_call_past_the_plt_too, {
    let p = pipe();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut buf = [0; 100];
            let mut have = 0;
            while have < 100 {
                have += inline::read(&p.r, &mut buf[have..]).unwrap();
            }
            buf.to_vec()
        });
        for chunk in stream(0, 100).chunks(7) {
            assert_eq!(by_libc::write(&p.w, chunk), Ok(chunk.len()));
        }
        assert_eq!(reader.join().unwrap(), stream(0, 100));
    });
});
