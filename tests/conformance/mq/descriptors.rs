//! A queue's descriptor, as any descriptor.

use ringer_support::mq::*;
use ringer_support::prelude::*;

both_worlds!(the_lowest_number_and_close_on_exec, {
    let before = open("/dev/null", O_RDONLY).unwrap();
    let free = before.number();
    drop(before);
    let (_name, q) = queue();
    assert_eq!(q.number(), free);
    assert!(close_on_exec(&q));
});

both_worlds!(its_status_flags_are_those_of_mq_open, {
    let (name, q) = queue();
    assert_eq!(status_flags(&q), O_RDWR);
    for flags in [O_RDONLY, O_WRONLY, O_RDWR | O_NONBLOCK] {
        assert_eq!(status_flags(&name.open(flags).unwrap()), flags);
    }
});

both_worlds!(a_duplicate_is_the_same_description, {
    let (_name, q) = queue_of(1, 8);
    let twin = dup(&q).unwrap();
    assert!(!close_on_exec(&twin));
    setflags(&twin, i64::from(O_NONBLOCK)).unwrap();
    assert_eq!(take(&q), Err(EAGAIN));
    drop(q);
    assert_eq!(send(&twin, b"1", 0), Ok(0));
    assert_eq!(take(&twin), Ok(b"1".to_vec()));
    let at = dup2(&twin, 70).map(Fd::own).unwrap();
    drop(twin);
    assert_eq!(send(&at, b"2", 0), Ok(0));
    let high = fcntl(&at, libc::F_DUPFD_CLOEXEC, 80).map(Fd::own).unwrap();
    drop(at);
    assert_eq!(take(&high), Ok(b"2".to_vec()));
});

both_worlds!(what_is_closed_is_bad, {
    let (_name, q) = queue();
    let number = q.number();
    // SAFETY: a number.
    assert_eq!(unsafe { libc::mq_close(number) }, 0);
    std::mem::forget(q);
    let gone = std::mem::ManuallyDrop::new(Fd::own(number as usize));
    assert_eq!(send(&gone, b"1", 0), Err(EBADF));
    assert_eq!(take(&gone), Err(EBADF));
    assert_eq!(getattr(&gone), Err(EBADF));
    assert_eq!(notify(&gone, None), Err(EBADF));
    // SAFETY: a number.
    assert_eq!(unsafe { libc::mq_close(number) }, -1);
    assert_eq!(ringer_support::errno(), EBADF);
});

both_worlds!(another_descriptor_is_no_queue, {
    let p = pipe();
    let file = open("/dev/null", O_RDWR).unwrap();
    for fd in [&p.r, &p.w, &file] {
        assert_eq!(send(fd, b"1", 0), Err(EBADF));
        assert_eq!(take(fd), Err(EBADF));
    }
    let (_name, q) = queue();
    dup2(&p.w, &q).unwrap();
    assert_eq!(send(&q, b"1", 0), Err(EBADF), "replaced");
    assert_eq!(write(&q, b"1"), Ok(1));
});

both_worlds!(read_tells_how_the_queue_is, {
    let (name, q) = queue();
    send(&q, b"12345", 0).unwrap();
    send(&q, b"678", 0).unwrap();
    notify(&q, Some(&event(libc::SIGEV_SIGNAL, SIGUSR1, 0))).unwrap();
    let text = String::from_utf8(read_n(&q, 200).unwrap()).unwrap();
    let expected = format!(
        "QSIZE:{:<10} NOTIFY:{:<5} SIGNO:{:<5} NOTIFY_PID:{:<6}\n",
        8,
        0,
        SIGUSR1,
        getpid()
    );
    assert_eq!(text, expected);
    assert_eq!(read_n(&q, 200), Ok(vec![]), "the end");
    let w = name.open(O_WRONLY).unwrap();
    assert_eq!(read_n(&w, 200), Err(EBADF));
});

both_worlds!(write_is_refused, {
    let (name, q) = queue();
    assert_eq!(write(&q, b"x"), Err(EINVAL));
    let r = name.open(O_RDONLY).unwrap();
    assert_eq!(write(&r, b"x"), Err(EBADF));
    assert_eq!(curmsgs(&q), 0);
});

both_worlds!(another_thread_closes_it_while_one_waits, {
    let (name, q) = queue();
    let number = q.leak();
    let s = Shared::new();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            s.set(0, gettid() as u64);
            let q = std::mem::ManuallyDrop::new(Fd::own(number as usize));
            take(&q)
        });
        s.wait_for(0, 1);
        procfs::thread_sleeping(s.get(0) as i32);
        close(number).unwrap();
        let other = name.open(O_RDWR).unwrap();
        send(&other, b"late", 0).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(b"late".to_vec()));
    });
});

both_worlds!(calls_past_the_plt_work_as_well, {
    let (name, q) = queue();
    // Without the slash, as the kernel has it.
    let kernels = name.text.to_str().unwrap()[1..].to_owned() + "\0";
    // SAFETY: a C string.
    let fd = unsafe { libc::syscall(libc::SYS_mq_open, kernels.as_ptr(), O_RDWR, 0, 0) };
    let own = Fd::own(ringer_support::check(fd).unwrap());
    let text = b"past";
    // SAFETY: a valid buffer.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_mq_timedsend,
            own.number(),
            text.as_ptr(),
            4usize,
            3u64,
            0usize,
        )
    };
    assert_eq!(sent, 0);
    assert_eq!(receive(&q), Ok((b"past".to_vec(), 3)));
    send(&q, b"back", 4).unwrap();
    let mut buf = [0u8; 64];
    let mut prio = 0u32;
    // SAFETY: valid buffers.
    let n = unsafe {
        let buf = buf.as_mut_ptr();
        libc::syscall(
            libc::SYS_mq_timedreceive,
            own.number(),
            buf,
            64usize,
            &mut prio,
            0usize,
        )
    };
    assert_eq!((n, &buf[..4], prio), (4, &b"back"[..], 4));
    // SAFETY: a C string.
    let gone = unsafe { libc::syscall(libc::SYS_mq_unlink, kernels.as_ptr()) };
    assert_eq!(gone, 0);
    assert_eq!(name.open(O_RDWR).unwrap_err(), libc::ENOENT);
});

both_worlds!(it_is_no_pipe, {
    let (_name, q) = queue();
    assert_eq!(fcntl(&q, libc::F_GETPIPE_SZ, 0), Err(EBADF));
    assert_eq!(fcntl(&q, libc::F_SETPIPE_SZ, 4096), Err(EBADF));
});

both_worlds!(it_is_a_file_of_eighty_bytes_with_less_in_it, {
    let (_name, q) = queue();
    assert_eq!(bytes_waiting(&q), Ok(80));
    let whole = read_n(&q, 100).unwrap();
    assert_eq!(bytes_waiting(&q), Ok(80 - whole.len()));
});

both_worlds!(its_text_can_be_read_in_pieces, {
    let (name, q) = queue();
    let whole = read_n(&q, 100).unwrap();
    let again = name.open(O_RDONLY).unwrap();
    let mut pieces = [[0u8; 9]; 3];
    let spans: Vec<Span> = pieces
        .iter_mut()
        .map(|p| Span {
            addr: p.as_mut_ptr() as usize,
            len: p.len(),
        })
        .collect();
    assert_eq!(readv(&again, &spans), Ok(27));
    assert_eq!(pieces.concat(), whole[..27]);
    assert_eq!(readv(&name.open(O_WRONLY).unwrap(), &spans), Err(EBADF));
});

both_worlds!(its_text_is_copied_as_far_as_there_is_memory, {
    let (_name, q) = queue();
    let cliff = Cliff::unmapped(1);
    assert_eq!(read_span(&q, cliff.across(4, 8)), Ok(4));
    assert_eq!(read_n(&q, 2), Ok(b"E:".to_vec()));
});
