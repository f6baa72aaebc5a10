//! A counter that processes wait on. See eventfd(2).

use ringer_support::prelude::*;
use ringer_support::puppet::{Outsider, Scene};
use ringer_support::{check, errno, rights, transfer, uring};

const MAX: u64 = u64::MAX - 1;

fn make(initial: u32, flags: c_int) -> Result<Fd, i32> {
    // SAFETY: numbers.
    check(unsafe { libc::eventfd(initial, flags) }).map(Fd::own)
}

fn counter(initial: u32) -> Fd {
    make(initial, 0).unwrap()
}

fn nonblocking(initial: u32) -> Fd {
    make(initial, libc::EFD_NONBLOCK).unwrap()
}

fn add(fd: impl Descriptor, n: u64) -> Sys {
    write(fd, &n.to_ne_bytes())
}

fn take(fd: impl Descriptor) -> Sys<u64> {
    let mut bytes = [0; 8];
    assert_eq!(read(fd, &mut bytes)?, 8);
    Ok(u64::from_ne_bytes(bytes))
}

/// As eight bytes that a puppet can be told as text.
fn text(c: u8) -> u64 {
    u64::from_ne_bytes([c; 8])
}

both_worlds!(
    what_is_written_is_added_and_a_read_takes_all,
    worlds = all,
    {
        let e = nonblocking(3);
        assert_eq!(take(&e), Ok(3));
        assert_eq!(take(&e), Err(EAGAIN));
        assert_eq!((add(&e, 5), add(&e, 0), add(&e, 7)), (Ok(8), Ok(8), Ok(8)));
        assert_eq!(take(&e), Ok(12));
        assert_eq!((add(&e, 0), take(&e)), (Ok(8), Err(EAGAIN)));
    }
);

both_worlds!(a_semaphore_gives_one_at_a_time, {
    let e = make(2, libc::EFD_SEMAPHORE | libc::EFD_NONBLOCK).unwrap();
    assert_eq!(add(&e, 1), Ok(8));
    assert_eq!((take(&e), take(&e), take(&e)), (Ok(1), Ok(1), Ok(1)));
    assert_eq!(take(&e), Err(EAGAIN));
});

both_worlds!(the_counter_holds_up_to_the_maximum, {
    let e = nonblocking(0);
    assert_eq!(add(&e, u64::MAX), Err(EINVAL));
    assert_eq!(add(&e, MAX), Ok(8));
    assert_eq!(add(&e, 1), Err(EAGAIN));
    assert_eq!(add(&e, u64::MAX), Err(EINVAL));
    assert_eq!(add(&e, 0), Ok(8));
    assert_eq!(take(&e), Ok(MAX));
    let largest = nonblocking(u32::MAX);
    assert_eq!(take(&largest), Ok(u64::from(u32::MAX)));
});

both_worlds!(short_buffers_are_einval_and_a_long_one_takes_eight_bytes, {
    let e = nonblocking(1);
    for len in [0, 1, 7] {
        assert_eq!(read(&e, &mut vec![0; len]), Err(EINVAL), "{len}");
        assert_eq!(write(&e, &vec![1; len]), Err(EINVAL), "{len}");
    }
    let mut long = [0xff; 20];
    assert_eq!(read(&e, &mut long), Ok(8));
    assert_eq!(long[..8], 1u64.to_ne_bytes());
    assert!(long[8..].iter().all(|b| *b == 0xff));
    assert_eq!(read(&e, &mut [0; 7]), Err(EINVAL)); // before "there is nothing"
});

both_worlds!(a_bad_buffer_loses_what_was_read, {
    let e = nonblocking(5);
    let bad = NULL.with_len(8);
    assert_eq!(write_span(&e, bad), Err(EFAULT));
    assert_eq!(read_span(&e, bad), Err(EFAULT));
    assert_eq!(take(&e), Err(EAGAIN));
});

both_worlds!(unknown_flags_are_einval, {
    for flags in [2, libc::O_APPEND, 1 << 20] {
        assert_eq!(make(0, flags).map(drop), Err(EINVAL), "{flags:#o}");
    }
    let e = make(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK).unwrap();
    assert!(close_on_exec(&e));
    assert_eq!(status_flags(&e), O_RDWR | O_NONBLOCK);
    assert!(!close_on_exec(&counter(0)));
});

both_worlds!(it_has_no_position_and_no_bytes_waiting, {
    let e = nonblocking(1);
    assert_eq!(pread(&e, &mut [0; 8], 0), Err(ESPIPE));
    assert_eq!(pwrite(&e, &[0; 8], 0), Err(ESPIPE));
    assert_eq!(seek(&e, 0, libc::SEEK_SET), Ok(0));
    assert_eq!(bytes_waiting(&e), Err(libc::ENOTTY));
    assert_eq!(reopen(&e, O_RDWR).map(drop), Err(libc::ENXIO));
    assert_eq!(take(&e), Ok(1));
});

both_worlds!(nonblocking_is_a_flag_of_the_description, {
    let e = counter(0);
    let other = dup(&e).unwrap();
    set_nonblocking(&other, true);
    assert_eq!(take(&e), Err(EAGAIN));
    let mut on = 0;
    assert_eq!(ioctl_int(&e, libc::FIONBIO, &mut on), Ok(0));
    let child = fork_run(|| assert_eq!(take(&other), Ok(9)));
    child.sleeping();
    assert_eq!(add(&e, 9), Ok(8));
    child.succeeds();
});

both_worlds!(a_blocked_read_is_woken_by_a_write, worlds = all, {
    let e = counter(0);
    let child = fork_run(|| assert_eq!(take(&e), Ok(4)));
    child.sleeping();
    assert_eq!(add(&e, 4), Ok(8));
    child.succeeds();
});

both_worlds!(a_blocked_write_is_woken_by_a_read, {
    let e = counter(0);
    assert_eq!(add(&e, MAX), Ok(8));
    let child = fork_run(|| assert_eq!(add(&e, 4), Ok(8)));
    child.sleeping();
    assert_eq!(take(&e), Ok(MAX));
    child.succeeds();
    assert_eq!(take(&e), Ok(4));
});

both_worlds!(threads_wait_for_each_other, {
    let (there, back) = (counter(0), counter(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 1..1000 {
                assert_eq!(take(&there), Ok(i));
                assert_eq!(add(&back, i + 1), Ok(8));
            }
        });
        for i in 1..1000 {
            assert_eq!(add(&there, i), Ok(8));
            assert_eq!(take(&back), Ok(i + 1));
        }
    });
});

both_worlds!(each_of_many_sleepers_gets_one_of_a_semaphore, {
    let e = make(0, libc::EFD_SEMAPHORE).unwrap();
    let children: Vec<Child> = (0..5)
        .map(|_| fork_run(|| assert_eq!(take(&e), Ok(1))))
        .collect();
    children.iter().for_each(Child::sleeping);
    assert_eq!(add(&e, 5), Ok(8));
    children.into_iter().for_each(Child::succeeds);
    set_nonblocking(&e, true);
    assert_eq!(take(&e), Err(EAGAIN));
});

both_worlds!(a_signal_ends_a_wait_or_restarts_it, {
    let e = counter(0);
    let child = fork_run(|| {
        signal::count(SIGUSR1, 0);
        signal::count(SIGUSR2, SA_RESTART);
        assert_eq!(take(&e), Err(EINTR));
        assert_eq!(add(&e, 1), Ok(8));
        assert_eq!(take(&e), Ok(1));
        assert_eq!(take(&e), Ok(7));
        assert_eq!(signal::seen(SIGUSR2), 1);
    });
    child.sleeping();
    child.kill(SIGUSR1);
    wait_until(|| procfs::state(child.pid()) == Some('S'));
    child.sleeping();
    child.kill(SIGUSR2);
    child.sleeping();
    assert_eq!(add(&e, 7), Ok(8));
    child.succeeds();
});

both_worlds!(libcs_own_functions_read_and_write_it, {
    let e = nonblocking(0);
    let mut value = 0;
    // SAFETY: a number, and room for one.
    unsafe {
        assert_eq!(libc::eventfd_write(e.number(), 6), 0);
        assert_eq!(libc::eventfd_read(e.number(), &mut value), 0);
        assert_eq!(value, 6);
        assert_eq!(libc::eventfd_read(e.number(), &mut value), -1);
    }
    assert_eq!(errno(), EAGAIN);
});

both_worlds!(past_the_plt_it_is_the_same, {
    let e = nonblocking(0);
    assert_eq!(raw::inline::write(&e, &5u64.to_ne_bytes()), Ok(8));
    assert_eq!(take(&e), Ok(5));
    assert_eq!(add(&e, 6), Ok(8));
    let mut bytes = [0; 8];
    assert_eq!(raw::inline::read(&e, &mut bytes), Ok(8));
    assert_eq!(u64::from_ne_bytes(bytes), 6);
    // SAFETY: numbers.
    let old = unsafe { libc::syscall(libc::SYS_eventfd, 3) };
    let old = Fd::own(check(old).unwrap());
    assert_eq!((take(&old), status_flags(&old)), (Ok(3), O_RDWR));
});

both_worlds!(duplicates_and_children_share_the_counter, {
    let e = nonblocking(1);
    let twin = dup(&e).unwrap();
    assert_eq!(add(&twin, 1), Ok(8));
    let high = fcntl(&e, libc::F_DUPFD_CLOEXEC, 300).map(Fd::own).unwrap();
    drop(e);
    fork_run(|| assert_eq!(add(&high, 1), Ok(8))).succeeds();
    drop(twin);
    assert_eq!(take(&high), Ok(3));
    let other = nonblocking(70);
    dup2(&other, &high).unwrap();
    assert_eq!((take(&high), take(&other)), (Ok(70), Err(EAGAIN)));
    let p = pipe();
    dup2(&p.r, &other).unwrap();
    write_all(&p.w, b"pipe");
    assert_eq!(read_n(&other, 10), Ok(b"pipe".to_vec()));
    dup2(&high, &p.r).unwrap();
    assert_eq!((add(&p.r, 2), take(&high)), (Ok(8), Ok(2)));
});

both_worlds!(a_closed_one_is_ebadf_and_its_number_is_used_again, {
    let e = nonblocking(1);
    let number = e.leak();
    close(number).unwrap();
    assert_eq!(take(number), Err(EBADF));
    assert_eq!(add(number, 1), Err(EBADF));
    let next = nonblocking(0);
    assert_eq!((next.number(), take(&next)), (number, Err(EAGAIN)));
    for _ in 0..1000 {
        let e = nonblocking(9);
        assert_eq!(take(&e), Ok(9));
    }
    close_range(3, u32::MAX, 0).unwrap();
    assert_eq!(take(next.leak()), Err(EBADF));
});

both_worlds!(a_read_goes_on_when_its_descriptor_is_closed_meanwhile, {
    let (e, s) = (counter(0), Shared::new());
    let other = dup(&e).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            s.set(0, gettid() as u64);
            take(e.number())
        });
        s.wait_for(0, 1);
        procfs::thread_sleeping(s.get(0) as i32);
        close(e.number()).unwrap();
        assert_eq!(add(&other, 3), Ok(8));
        assert_eq!(reader.join().unwrap(), Ok(3));
    });
    e.leak();
});

both_worlds!(a_new_program_finds_the_counter, worlds = all, {
    for how in [Outsider::Dynamic, Outsider::Static, Outsider::EmptyPreload] {
        let e = nonblocking(0);
        assert_eq!(add(&e, text(b'A')), Ok(8));
        let scene = Scene::new(how).unwrap();
        let fd = e.number();
        let orders = format!("read:{fd}:AAAAAAAA write:{fd}:BBBBBBBB");
        scene.start(&[], &orders).succeeds();
        assert_eq!(take(&e), Ok(text(b'B')), "{how:?}");
        assert_eq!(take(&e), Err(EAGAIN));
        // And it is still shared by those who stay.
        fork_run(|| assert_eq!(add(&e, 2), Ok(8))).succeeds();
        assert_eq!(take(&e), Ok(2));
    }
});

both_worlds!(exec_closes_it_if_asked, {
    let e = make(1, libc::EFD_CLOEXEC).unwrap();
    let scene = Scene::new(Outsider::Dynamic).unwrap();
    let orders = format!("closed:{}", e.number());
    scene.start(&[], &orders).succeeds();
    assert_eq!(take(&e), Ok(1));
});

both_worlds!(kill_9_leaves_a_whole_counter, {
    let (e, s) = (nonblocking(0), Shared::new());
    let mut taken = 0;
    for _ in 0..20 {
        let before = s.get(0);
        let child = fork_run(|| loop {
            assert_eq!(add(&e, 1), Ok(8));
            s.set(0, s.get(0) + 1);
        });
        s.wait_for(0, before + 200);
        child.kill_9();
        taken += take(&e).unwrap();
        let told = s.get(0);
        assert!(taken == told || taken == told + 1, "{taken}, {told}");
        s.set(0, taken);
    }
});

both_worlds!(a_sleeper_that_is_killed_takes_nothing_along, {
    let e = counter(0);
    let child = fork_run(|| {
        let _ = take(&e);
    });
    child.sleeping();
    child.kill_9();
    assert_eq!(add(&e, 5), Ok(8));
    assert_eq!(take(&e), Ok(5));
});

both_worlds!(polled_it_tells_what_is_true, {
    let e = nonblocking(0);
    assert_eq!(poll_now(&e), POLLOUT);
    add(&e, 1).unwrap();
    assert_eq!(poll_now(&e), POLLIN | POLLOUT);
    add(&e, MAX - 1).unwrap();
    assert_eq!(poll_now(&e), POLLIN);
    assert_eq!(take(&e), Ok(MAX));
    assert_eq!(poll_now(&e), POLLOUT);
    // The counter is there when somebody asks for the first time.
    let later = nonblocking(0);
    add(&later, 17).unwrap();
    assert_eq!(poll_now(&later), POLLIN | POLLOUT);
    assert_eq!(take(&later), Ok(17));
});

both_worlds!(epoll_tells_every_write_by_an_edge, {
    let (e, epoll) = (nonblocking(0), Epoll::new());
    add(&e, 2).unwrap();
    epoll.add(&e, libc::EPOLLIN | libc::EPOLLET);
    assert_eq!(epoll.now(), libc::EPOLLIN);
    assert_eq!(epoll.now(), 0);
    add(&e, 1).unwrap();
    assert_eq!(epoll.now(), libc::EPOLLIN);
    let child = fork_run(|| assert_eq!(add(&e, 1), Ok(8)));
    child.succeeds();
    assert_eq!(epoll.now(), libc::EPOLLIN);
    assert_eq!(take(&e), Ok(4));
});

both_worlds!(who_sleeps_in_a_read_is_woken_although_another_polls, {
    let (e, s) = (counter(0), Shared::new());
    let reader = fork_run(|| assert_eq!(take(&e), Ok(3)));
    reader.sleeping();
    let poller = fork_run(|| {
        s.set(0, 1);
        assert_eq!(poll_until(&e, POLLOUT), POLLOUT);
        s.set(0, 2);
    });
    s.wait_for(0, 2);
    poller.succeeds();
    assert_eq!(add(&e, 3), Ok(8));
    reader.succeeds();
});

both_worlds!(vectors_are_the_kernels, {
    let e = nonblocking(0);
    add(&e, 300).unwrap();
    let m = Cliff::protected(1);
    assert_eq!(readv(&e, &[m.inside(0, 3), m.inside(10, 5)]), Ok(8));
    let bytes = [m.get(0, 3), m.get(10, 5)].concat();
    assert_eq!(bytes, 300u64.to_ne_bytes());
    let one = 1u64.to_ne_bytes();
    let (first, rest) = one.split_at(3);
    assert_eq!(writev_slices(&e, &[first, rest]), Err(EINVAL)); // each part is a write
    assert_eq!(writev_slices(&e, &[&one, &one]), Ok(16));
    assert_eq!(take(&e), Ok(2));
});

both_worlds!(it_can_be_sent_to_another_process, {
    let e = nonblocking(0);
    add(&e, 5).unwrap();
    let (a, b) = rights::socketpair(libc::SOCK_STREAM);
    let child = fork_run(|| {
        let got = rights::receive_fds(&b).unwrap();
        assert_eq!(take(&got[0]), Ok(5));
        assert_eq!(add(&got[0], 6), Ok(8));
    });
    rights::send_fds(&a, &[e.number()]).unwrap();
    child.succeeds();
    assert_eq!(take(&e), Ok(6));
});

both_worlds!(splice_refuses_it, {
    let (e, p) = (nonblocking(1), pipe());
    assert_eq!(transfer::splice(&e, &p.w, 8, 0), Err(EINVAL));
    assert_eq!(take(&e), Ok(1));
});

both_worlds!(io_uring_finds_the_counter, {
    let e = nonblocking(0);
    add(&e, 5).unwrap();
    let Some(ring) = uring::Uring::new() else {
        return;
    };
    let m = Cliff::protected(1);
    ring.begin_read(&e, m.inside(0, 8));
    assert_eq!(ring.complete(), Ok(8));
    assert_eq!(m.get(0, 8), 5u64.to_ne_bytes());
});
