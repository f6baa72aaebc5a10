//! Duplicates, flags and reopening: what belongs to the number, and what to the open file description.
//! See dup(2), fcntl(2), close_range(2), ioctl(2), proc(5).

use libc::{FD_CLOEXEC, F_DUPFD, F_DUPFD_CLOEXEC, O_APPEND, O_ASYNC, O_NOATIME};
use ringer_support::prelude::*;

both_worlds!(a_duplicate_is_the_same_end, {
    let p = pipe();
    let (r, w) = (dup(&p.r).unwrap(), dup(&p.w).unwrap());
    assert_eq!(write(&w, b"abc"), Ok(3));
    assert_eq!(read_n(&p.r, 1), Ok(b"a".to_vec()));
    assert_eq!(write(&p.w, b"d"), Ok(1));
    assert_eq!(read_n(&r, 9), Ok(b"bcd".to_vec()));
    assert_eq!(read_n(&w, 1), Err(EBADF));
});

both_worlds!(dup_takes_the_lowest_number_and_no_descriptor_flag, {
    let p = pipe2(O_CLOEXEC).unwrap();
    let hole = pipe().r;
    let expected = hole.number();
    drop(hole);
    let copy = dup(&p.r).unwrap();
    assert_eq!(copy.number(), expected);
    assert!(close_on_exec(&p.r) && !close_on_exec(&copy));
});

both_worlds!(dup2_replaces_what_was_open, {
    let (p, q) = (pipe(), pipe());
    write_all(&p.w, b"p");
    write_all(&q.w, b"q");
    let q_r = q.r.number();
    assert_eq!(dup2(&p.r, q_r), Ok(q_r as usize));
    assert_eq!(read_n(q_r, 9), Ok(b"p".to_vec()));
    // The last read end of q is gone.
    assert_eq!(write(&q.w, b"x"), Err(EPIPE));
});

both_worlds!(dup2_of_the_last_write_end_over_another_ends_that_stream, {
    let (p, q) = (nonblocking_pipe(), nonblocking_pipe());
    assert_eq!(dup2(&p.w, &q.w), Ok(q.w.number() as usize));
    assert_eq!(read_n(&q.r, 1), Ok(vec![]));
    assert_eq!(write(&q.w, b"to p"), Ok(4));
    assert_eq!(read_n(&p.r, 9), Ok(b"to p".to_vec()));
});

both_worlds!(dup2_onto_itself_does_nothing, {
    let p = pipe2(O_CLOEXEC).unwrap();
    assert_eq!(dup2(&p.r, &p.r), Ok(p.r.number() as usize));
    assert!(close_on_exec(&p.r));
    assert_eq!(write(&p.w, b"x"), Ok(1));
    assert_eq!(read_n(&p.r, 1), Ok(b"x".to_vec()));
});

both_worlds!(dup2_clears_close_on_exec_and_dup3_sets_it, {
    let p = pipe2(O_CLOEXEC).unwrap();
    assert_eq!(dup2(&p.r, 50), Ok(50));
    assert!(!close_on_exec(50));
    assert_eq!(dup3(&p.r, 50, O_CLOEXEC), Ok(50));
    assert!(close_on_exec(50));
    assert_eq!(dup3(&p.r, 50, 0), Ok(50));
    assert!(!close_on_exec(50));
});

both_worlds!(dup2_and_dup3_refuse_what_is_not_open, {
    let p = pipe();
    assert_eq!(dup2(99, 50), Err(EBADF));
    assert_eq!(dup2(99, 99), Err(EBADF));
    assert_eq!(dup2(99, &p.r), Err(EBADF));
    assert_eq!(dup2(&p.r, -1), Err(EBADF));
    assert_eq!(dup2(&p.r, 1 << 30), Err(EBADF));
    assert_eq!(dup3(&p.r, &p.r, 0), Err(EINVAL));
    assert_eq!(dup3(&p.r, 50, O_NONBLOCK), Err(EINVAL));
    assert_eq!(dup3(99, 50, 0), Err(EBADF));
    assert_eq!(dup3(&p.r, -1, 0), Err(EBADF));
    assert_eq!(write(&p.w, b"x"), Ok(1), "a failed dup2 closes nothing");
    assert!(!is_open(50));
});

both_worlds!(dup2_onto_standard_output_redirects_it, {
    let p = pipe();
    let saved = dup(1).unwrap();
    assert_eq!(dup2(&p.w, 1), Ok(1));
    assert_eq!(write(1, b"redirected"), Ok(10));
    assert_eq!(dup2(&saved, 1), Ok(1));
    assert_eq!(read_n(&p.r, 99), Ok(b"redirected".to_vec()));
    drop(p.w);
    assert_eq!(read_n(&p.r, 1), Ok(vec![]));
});

both_worlds!(a_file_can_take_the_place_of_a_pipe_and_back, {
    let (p, file) = (pipe(), temp_file());
    let number = p.w.number();
    let saved = dup(&p.w).unwrap();
    assert_eq!(dup2(&file, number), Ok(number as usize));
    assert_eq!(write(number, b"to the file"), Ok(11));
    assert_eq!(bytes_waiting(&p.r), Ok(0));
    assert_eq!(fstat(&file).unwrap().st_size, 11);
    assert_eq!(dup2(&saved, number), Ok(number as usize));
    assert_eq!(write(number, b"to the pipe"), Ok(11));
    assert_eq!(read_n(&p.r, 99), Ok(b"to the pipe".to_vec()));
});

both_worlds!(f_dupfd_takes_the_lowest_number_from_a_bound_on, {
    let p = pipe();
    let copy = |command, from| fcntl(&p.w, command, from).map(Fd::own);
    let (a, b) = (
        copy(F_DUPFD, 100).unwrap(),
        copy(F_DUPFD_CLOEXEC, 100).unwrap(),
    );
    assert_eq!((a.number(), b.number()), (100, 101));
    assert!(!close_on_exec(&a) && close_on_exec(&b));
    drop(a);
    assert_eq!(copy(F_DUPFD, 90).unwrap().number(), 90);
    assert_eq!(copy(F_DUPFD, 100).unwrap().number(), 100);
    assert_eq!(write(&b, b"x"), Ok(1));
    for bound in [usize::MAX, 1 << 30] {
        assert_eq!(copy(F_DUPFD, bound).map(drop), Err(EINVAL));
        assert_eq!(copy(F_DUPFD_CLOEXEC, bound).map(drop), Err(EINVAL));
    }
});

both_worlds!(
    o_nonblock_belongs_to_the_description_and_is_shared_by_duplicates,
    {
        let p = pipe();
        let (r, w) = (dup(&p.r).unwrap(), dup(&p.w).unwrap());
        set_nonblocking(&r, true);
        assert_eq!(status_flags(&p.r), O_RDONLY | O_NONBLOCK);
        assert_eq!(read_n(&p.r, 1), Err(EAGAIN));
        // The other end is another description.
        assert_eq!((status_flags(&p.w), status_flags(&w)), (O_WRONLY, O_WRONLY));
        set_nonblocking(&p.r, false);
        assert_eq!(status_flags(&r), O_RDONLY);
    }
);

both_worlds!(o_nonblock_is_shared_with_the_child, {
    let (p, s) = (pipe(), Shared::new());
    let child = fork_run(|| {
        s.wait_for(0, 1);
        assert_eq!(read_n(&p.r, 1), Err(EAGAIN));
        set_nonblocking(&p.w, true);
    });
    set_nonblocking(&p.r, true);
    s.set(0, 1);
    child.succeeds();
    assert_eq!(status_flags(&p.w), O_WRONLY | O_NONBLOCK);
});

both_worlds!(close_on_exec_belongs_to_the_number, {
    let p = pipe();
    let copy = dup(&p.r).unwrap();
    assert_eq!(fcntl(&p.r, F_SETFD, FD_CLOEXEC as usize), Ok(0));
    assert!(close_on_exec(&p.r) && !close_on_exec(&copy));
    assert_eq!(fcntl(&copy, F_SETFD, 0xFF), Ok(0));
    assert_eq!(fcntl(&copy, F_GETFD, 0), Ok(1));
    fork_run(|| assert_eq!(fcntl(&p.r, F_SETFD, 0), Ok(0))).succeeds();
    assert!(close_on_exec(&p.r), "the child's table is its own");
});

both_worlds!(f_setfl_changes_what_can_be_changed_and_ignores_the_rest, {
    let p = pipe();
    assert_eq!(
        set_status_flags(&p.w, O_APPEND | O_NOATIME | O_NONBLOCK),
        Ok(0)
    );
    assert_eq!(
        status_flags(&p.w),
        O_WRONLY | O_APPEND | O_NOATIME | O_NONBLOCK
    );
    let ignored = O_RDWR | libc::O_SYNC | libc::O_TRUNC | libc::O_CREAT | O_CLOEXEC;
    assert_eq!(set_status_flags(&p.w, ignored), Ok(0));
    assert_eq!(status_flags(&p.w), O_WRONLY);
    assert!(!close_on_exec(&p.w));
    // The read end may have O_DIRECT as well; it means nothing there.
    assert_eq!(set_status_flags(&p.r, O_DIRECT), Ok(0));
    assert_eq!(status_flags(&p.r), O_RDONLY | O_DIRECT);
});

both_worlds!(ioctl_sets_the_same_flags, {
    let p = pipe();
    let (mut on, mut off) = (1, 0);
    assert_eq!(ioctl_int(&p.r, libc::FIONBIO, &mut on), Ok(0));
    assert_eq!(read_n(&p.r, 1), Err(EAGAIN));
    assert_eq!(status_flags(&p.r), O_NONBLOCK);
    assert_eq!(ioctl_int(&p.r, libc::FIONBIO, &mut off), Ok(0));
    assert_eq!(status_flags(&p.r), O_RDONLY);
    assert_eq!(ioctl_int(&p.r, libc::FIOASYNC, &mut on), Ok(0));
    assert_eq!(status_flags(&p.r), O_ASYNC);
    assert_eq!(ioctl_int(&p.r, libc::FIOASYNC, &mut off), Ok(0));
    assert_eq!(ioctl_int(&p.r, libc::FIOCLEX, &mut off), Ok(0));
    assert!(close_on_exec(&p.r));
    assert_eq!(ioctl_int(&p.r, libc::FIONCLEX, &mut off), Ok(0));
    assert!(!close_on_exec(&p.r));
});

both_worlds!(fcntl_commands_that_pipes_do_not_have_are_refused, {
    let p = pipe();
    for command in [9999, -1, libc::F_ADD_SEALS, libc::F_GET_SEALS] {
        assert_eq!(fcntl(&p.w, command, 0), Err(EINVAL), "{command}");
    }
    assert_eq!(fcntl(&p.w, libc::F_NOTIFY, 4), Err(libc::ENOTDIR));
    assert_eq!(fcntl(&p.w, libc::F_GETLEASE, 0), Ok(libc::F_UNLCK as usize));
});

both_worlds!(close_range_closes_what_is_in_it, {
    let pipes: Vec<Pipe> = (0..4).map(|_| pipe()).collect();
    let first = pipes[0].r.number() as u32;
    // The second and the third pipe.
    assert_eq!(close_range(first + 2, first + 5, 0), Ok(0));
    let open: Vec<bool> = (0..8).map(|i| is_open((first + i) as c_int)).collect();
    assert_eq!(open, [true, true, false, false, false, false, true, true]);
    assert_eq!(write(&pipes[3].w, b"x"), Ok(1));
    assert_eq!(write(&pipes[1].w, b"x"), Err(EBADF));
    let fresh = pipe();
    assert_eq!(fresh.r.number() as u32, first + 2);
    assert_eq!(close_range(5, 4, 0), Err(EINVAL));
    assert_eq!(close_range(3, 3, 8), Err(EINVAL));
    assert_eq!(close_range(first, u32::MAX, 0), Ok(0));
    assert!(!is_open(&fresh.r) && !is_open(&pipes[0].r));
});

both_worlds!(close_range_can_set_close_on_exec_instead, {
    let p = pipe();
    let flag = libc::CLOSE_RANGE_CLOEXEC as c_int;
    assert_eq!(close_range(p.w.number() as u32, u32::MAX, flag), Ok(0));
    assert!(!close_on_exec(&p.r) && close_on_exec(&p.w));
    assert_eq!(write(&p.w, b"x"), Ok(1));
});

both_worlds!(a_reopened_end_is_a_description_of_its_own, {
    let p = pipe();
    let r = reopen(&p.r, O_RDONLY | O_NONBLOCK).unwrap();
    // The kernel's O_LARGEFILE, which open(2) sets and pipe(2) does not; libc's is 0.
    const O_LARGEFILE: c_int = 0o100_000;
    assert_eq!(status_flags(&r), O_RDONLY | O_NONBLOCK | O_LARGEFILE);
    assert_eq!(status_flags(&p.r), O_RDONLY);
    assert_eq!(read_n(&r, 1), Err(EAGAIN));
    write_all(&p.w, b"abc");
    assert_eq!(read_n(&r, 1), Ok(b"a".to_vec()));
    assert_eq!(read_n(&p.r, 9), Ok(b"bc".to_vec()));
    let (a, b) = (fstat(&r).unwrap(), fstat(&p.w).unwrap());
    assert_eq!((a.st_dev, a.st_ino), (b.st_dev, b.st_ino));
});

both_worlds!(either_link_opens_for_either_direction, {
    let p = pipe();
    let (r, w) = (
        reopen(&p.w, O_RDONLY).unwrap(),
        reopen(&p.r, O_WRONLY).unwrap(),
    );
    assert_eq!(write(&w, b"crossed"), Ok(7));
    assert_eq!(read_n(&r, 99), Ok(b"crossed".to_vec()));
    assert_eq!(read_n(&w, 1), Err(EBADF));
    assert_eq!(write(&r, b"x"), Err(EBADF));
});

both_worlds!(a_pipe_opened_for_both_directions_keeps_both_ends_alive, {
    let p = nonblocking_pipe();
    let both = reopen(&p.r, O_RDWR | O_NONBLOCK).unwrap();
    let Pipe { r, w } = p;
    drop(w);
    assert_eq!(read_n(&r, 1), Err(EAGAIN));
    drop(r);
    assert_eq!(write(&both, b"to myself"), Ok(9));
    assert_eq!(poll_now(&both), POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM);
    assert_eq!(read_n(&both, 99), Ok(b"to myself".to_vec()));
    assert_eq!(read_n(&both, 1), Err(EAGAIN));
});

both_worlds!(reopened_writers_keep_end_of_file_away, {
    let p = nonblocking_pipe();
    let again = reopen(&p.w, O_WRONLY).unwrap();
    let Pipe { r, w } = p;
    drop(w);
    assert_eq!(read_n(&r, 1), Err(EAGAIN));
    drop(again);
    assert_eq!(read_n(&r, 1), Ok(vec![]));
    // A writer may come back, unlike with dup.
    let late = reopen(&r, O_WRONLY).unwrap();
    assert_eq!(read_n(&r, 1), Err(EAGAIN));
    assert_eq!(write(&late, b"back"), Ok(4));
    assert_eq!(read_n(&r, 9), Ok(b"back".to_vec()));
});

both_worlds!(reopening_obeys_open, {
    let p = pipe();
    assert_eq!(
        reopen(&p.r, libc::O_DIRECTORY).map(drop),
        Err(libc::ENOTDIR)
    );
    assert_eq!(reopen(&p.r, libc::O_NOFOLLOW).map(drop), Err(libc::ELOOP));
    assert_eq!(reopen(&p.w, O_WRONLY | O_DIRECT).map(drop), Err(EINVAL));
    assert_eq!(reopen(99, O_RDONLY).map(drop), Err(libc::ENOENT));
    let path_only = reopen(&p.r, libc::O_PATH).unwrap();
    assert_eq!(read_n(&path_only, 1), Err(EBADF));
    let appended = reopen(&p.w, O_WRONLY | O_APPEND | libc::O_TRUNC | libc::O_CREAT).unwrap();
    assert_eq!(write(&appended, b"x"), Ok(1));
    let private = reopen(&p.w, O_WRONLY | O_CLOEXEC).unwrap();
    assert!(close_on_exec(&private));
});

both_worlds!(dev_stdin_and_dev_fd_open_the_pipe, {
    let p = pipe();
    let saved = dup(0).unwrap();
    assert_eq!(dup2(&p.r, 0), Ok(0));
    let stdin = open("/dev/stdin", O_RDONLY).unwrap();
    let numbered = open(&format!("/dev/fd/{}", p.r.number()), O_RDONLY).unwrap();
    write_all(&p.w, b"abcdef");
    assert_eq!(read_n(&stdin, 2), Ok(b"ab".to_vec()));
    assert_eq!(read_n(&numbered, 2), Ok(b"cd".to_vec()));
    assert_eq!(read_n(0, 2), Ok(b"ef".to_vec()));
    assert_eq!(dup2(&saved, 0), Ok(0));
});

both_worlds!(another_process_may_open_it_through_proc, {
    let (p, s) = (pipe(), Shared::new());
    let path = format!("/proc/{}/fd/{}", getpid(), p.w.number());
    let child = fork_run(|| {
        close_range(3, u32::MAX, 0).unwrap();
        let w = open(&path, O_WRONLY).unwrap();
        assert_eq!(write(&w, b"from outside"), Ok(12));
        s.set(0, 1);
    });
    s.wait_for(0, 1);
    child.succeeds();
    assert_eq!(read_n(&p.r, 99), Ok(b"from outside".to_vec()));
});

/// Both SIGIO tests: the signal and its flags are as F_SETSIG says.
fn set_async(fd: &Fd, signal: Option<c_int>) {
    assert_eq!(fcntl(fd, libc::F_SETOWN, getpid() as usize), Ok(0));
    assert_eq!(fcntl(fd, libc::F_GETOWN, 0), Ok(getpid() as usize));
    if let Some(signal) = signal {
        assert_eq!(fcntl(fd, F_SETSIG, signal as usize), Ok(0));
        assert_eq!(fcntl(fd, F_GETSIG, 0), Ok(signal as usize));
    }
    set_status_flags(fd, O_ASYNC | O_NONBLOCK).unwrap();
}

/// See fcntl(2) "Managing signals"; libc does not name them.
const F_SETSIG: c_int = 10;
const F_GETSIG: c_int = 11;

both_worlds!(o_async_on_the_read_end_sends_sigio_for_every_write, {
    signal::count(SIGIO, 0);
    let p = nonblocking_pipe();
    set_async(&p.r, None);
    for n in 1..=3 {
        write_all(&p.w, b"x");
        assert_eq!(signal::seen(SIGIO), n);
    }
    assert_eq!(signal::code(SIGIO), libc::SI_KERNEL);
    assert_eq!(write(&p.w, b""), Ok(0));
    assert_eq!(read_n(&p.r, 9).map(|v| v.len()), Ok(3));
    assert_eq!(signal::seen(SIGIO), 3);
    drop(p.w);
    assert_eq!(signal::seen(SIGIO), 4, "end of file");
});

both_worlds!(f_setsig_tells_which_descriptor_can_be_read, {
    signal::count(SIGUSR1, 0);
    let p = nonblocking_pipe();
    set_async(&p.r, Some(SIGUSR1));
    write_all(&p.w, b"x");
    assert_eq!(signal::seen(SIGUSR1), 1);
    assert_eq!(
        (signal::code(SIGUSR1), signal::fd(SIGUSR1)),
        (1, p.r.number())
    ); // POLL_IN
    assert_eq!(signal::band(SIGUSR1), c_int::from(POLLIN | POLLRDNORM));
});

both_worlds!(o_async_on_the_write_end_sends_a_signal_for_every_read, {
    signal::count(SIGUSR1, 0);
    let p = nonblocking_pipe();
    write_all(&p.w, b"abc");
    set_async(&p.w, Some(SIGUSR1));
    for n in 1..=3 {
        assert_eq!(read_n(&p.r, 1).map(|v| v.len()), Ok(1));
        assert_eq!(signal::seen(SIGUSR1), n);
    }
    assert_eq!(
        (signal::code(SIGUSR1), signal::fd(SIGUSR1)),
        (2, p.w.number())
    ); // POLL_OUT
});

both_worlds!(sigio_goes_to_the_owner_in_another_process, {
    let (p, s) = (pipe(), Shared::new());
    let child = fork_run(|| {
        signal::publish(s.word(1));
        signal::count(SIGIO, 0);
        set_async(&p.r, None);
        s.set(0, 1);
        s.wait_for(1, 1);
        assert_eq!(read_n(&p.r, 9), Ok(b"wake".to_vec()));
    });
    s.wait_for(0, 1);
    write_all(&p.w, b"wake");
    child.succeeds();
});
