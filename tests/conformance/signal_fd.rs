//! signalfd(2): signals that are read.

use libc::{SFD_CLOEXEC, SFD_NONBLOCK, SIGCHLD, SIGHUP, SIGTERM, SI_QUEUE, SI_TIMER, SI_USER};
use ringer_support::check;
use ringer_support::prelude::*;
use sig::{bit, bits, RTMAX, RTMIN};

const SIZE: usize = 128;

fn signalfd(fd: c_int, set: u64, flags: c_int) -> Sys {
    // SAFETY: a valid set.
    check(unsafe { libc::signalfd(fd, &sig::set(set), flags) })
}

/// For these signals, which are blocked.
fn watching(numbers: &[c_int], flags: c_int) -> Fd {
    sig::block(bits(numbers));
    Fd::own(signalfd(-1, bits(numbers), flags).unwrap())
}

/// One record, by its words of 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Record([u32; 32]);

impl Record {
    fn number(&self) -> c_int {
        self.0[0] as c_int
    }
    fn code(&self) -> c_int {
        self.0[2] as c_int
    }
    fn pid(&self) -> i32 {
        self.0[3] as i32
    }
    fn uid(&self) -> u32 {
        self.0[4]
    }
    /// `ssi_status`, and `ssi_int`.
    fn status(&self) -> i32 {
        self.0[10] as i32
    }
    fn int(&self) -> i32 {
        self.0[11] as i32
    }
    fn pointer(&self) -> u64 {
        u64::from(self.0[12]) | u64::from(self.0[13]) << 32
    }
}

fn records(bytes: &[u8]) -> Vec<Record> {
    assert_eq!(bytes.len() % SIZE, 0);
    let word = |four: &[u8]| u32::from_ne_bytes(four.try_into().unwrap());
    bytes
        .chunks(SIZE)
        .map(|one| Record(std::array::from_fn(|i| word(&one[4 * i..4 * i + 4]))))
        .collect()
}

fn take(fd: &Fd, most: usize) -> Result<Vec<Record>, i32> {
    read_n(fd, most * SIZE).map(|bytes| records(&bytes))
}

fn numbers(records: &[Record]) -> Vec<c_int> {
    records.iter().map(Record::number).collect()
}

cases!(signalfd_and_its_errors, {
    "flags" => {
        for (flags, blocks, on_exec) in [
            (0, true, false),
            (SFD_NONBLOCK, false, false),
            (SFD_CLOEXEC, true, true),
            (SFD_NONBLOCK | SFD_CLOEXEC, false, true),
        ] {
            let fd = watching(&[SIGUSR1], flags);
            assert_eq!(status_flags(&fd) & O_NONBLOCK == 0, blocks);
            assert_eq!(close_on_exec(&fd), on_exec);
        }
    }
    "other flags" => {
        for flags in [1, 2, 0x400, -1] {
            assert_eq!(signalfd(-1, 0, flags), Err(EINVAL), "{flags}");
        }
    }
    "descriptors that are none of its own" => {
        assert_eq!(signalfd(999, 0, 0), Err(EBADF));
        assert_eq!(signalfd(-2, 0, 0), Err(EBADF));
        assert_eq!(signalfd(pipe().r.number(), 0, 0), Err(EINVAL));
    }
    "bad pointers and sizes" => {
        let word = 0u64;
        let at = std::ptr::from_ref(&word) as usize;
        let call = |fd: i32, at: usize, size: usize| {
            // SAFETY: the kernel copies, and says EFAULT.
            check(unsafe { libc::syscall(libc::SYS_signalfd4, fd, at, size, 0) })
        };
        assert_eq!(call(-1, 8, 8), Err(EFAULT));
        for size in [0, 4, 16] {
            assert_eq!(call(-1, at, size), Err(EINVAL));
        }
    }
    "a changed mask is the old descriptor's" => {
        let fd = watching(&[SIGUSR1, SIGUSR2], SFD_NONBLOCK);
        sig::raise(SIGUSR2).unwrap();
        assert_eq!(signalfd(fd.number(), bit(SIGUSR1), 0), Ok(fd.number() as usize));
        assert_eq!(take(&fd, 1), Err(EAGAIN));
        assert_eq!(signalfd(fd.number(), bit(SIGUSR2), 0), Ok(fd.number() as usize));
        assert_eq!(numbers(&take(&fd, 1).unwrap()), [SIGUSR2]);
    }
    "KILL and STOP are left out without a word" => {
        let fd = watching(&[SIGKILL, SIGSTOP], SFD_NONBLOCK);
        assert_eq!(take(&fd, 1), Err(EAGAIN));
    }
    "short buffers" => {
        let fd = watching(&[SIGUSR1], SFD_NONBLOCK);
        sig::raise(SIGUSR1).unwrap();
        for size in [0, 1, 64, 127] {
            assert_eq!(read_n(&fd, size), Err(EINVAL), "{size}");
        }
        assert_eq!(read_n(&fd, 200).map(|b| b.len()), Ok(SIZE));
    }
    "it can not be written" => {
        let fd = watching(&[SIGUSR1], 0);
        assert_eq!(write(&fd, &[0; SIZE]), Err(EINVAL));
    }
    "a bad buffer loses the signal" => {
        let fd = watching(&[SIGUSR1], SFD_NONBLOCK);
        sig::raise(SIGUSR1).unwrap();
        let cliff = Cliff::unmapped(1);
        assert_eq!(read_span(&fd, cliff.bad(SIZE)), Err(EFAULT));
        assert_eq!(take(&fd, 1), Err(EAGAIN));
    }
});

cases!(what_signalfd_reads, {
    "kill" => {
        let fd = watching(&[SIGUSR1], 0);
        sig::kill(getpid(), SIGUSR1).unwrap();
        let r = take(&fd, 1).unwrap()[0];
        assert_eq!((r.number(), r.0[1], r.code(), r.pid()), (SIGUSR1, 0, SI_USER, getpid()));
        // SAFETY: no argument.
        assert_eq!(r.uid(), unsafe { libc::getuid() });
        assert!(r.0[5..].iter().all(|word| *word == 0), "{r:?}");
    }
    "tgkill" => {
        let fd = watching(&[SIGUSR1], 0);
        sig::raise(SIGUSR1).unwrap();
        let r = take(&fd, 1).unwrap()[0];
        assert_eq!((r.code(), r.pid()), (libc::SI_TKILL, getpid()));
    }
    "sigqueue" => {
        let fd = watching(&[RTMIN], 0);
        sig::sigqueue(getpid(), RTMIN, 0x1234_5678_9abc_def0).unwrap();
        let r = take(&fd, 1).unwrap()[0];
        assert_eq!((r.number(), r.code(), r.pid()), (RTMIN, SI_QUEUE, getpid()));
        assert_eq!((r.pointer(), r.int()), (0x1234_5678_9abc_def0, 0x9abc_def0_u32 as i32));
    }
    "the death of a child" => {
        let fd = watching(&[SIGCHLD], 0);
        let child = fork_child(|| 42);
        let r = take(&fd, 1).unwrap()[0];
        assert_eq!((r.number(), r.code()), (SIGCHLD, libc::CLD_EXITED));
        assert_eq!((r.pid(), r.status()), (child.pid(), 42));
        child.exits_with(42);
    }
    "a timer" => {
        let fd = watching(&[RTMIN], 0);
        // SAFETY: zeroes are a valid event.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        (event.sigev_notify, event.sigev_signo) = (libc::SIGEV_SIGNAL, RTMIN);
        event.sigev_value.sival_ptr = 77 as *mut c_void;
        let mut id = std::ptr::null_mut();
        // SAFETY: a valid event, and room.
        unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut id) };
        // SAFETY: zeroes are a valid time.
        let mut time: libc::itimerspec = unsafe { std::mem::zeroed() };
        time.it_value.tv_nsec = 1000;
        // SAFETY: a timer of ours.
        unsafe { libc::timer_settime(id, 0, &time, std::ptr::null_mut()) };
        let r = take(&fd, 1).unwrap()[0];
        assert_eq!((r.code(), r.int(), r.0[8]), (SI_TIMER, 77, 0));
    }
    "what is ready on a descriptor" => {
        let fd = watching(&[RTMIN], 0);
        let (a, b) = ringer_support::rights::socketpair(libc::SOCK_STREAM);
        fcntl(&a, sig::F_SETSIG, RTMIN as usize).unwrap();
        fcntl(&a, libc::F_SETOWN, getpid() as usize).unwrap();
        set_status_flags(&a, libc::O_ASYNC).unwrap();
        write_all(&b, b"x");
        let r = take(&fd, 1).unwrap()[0];
        assert_eq!((r.number(), r.code(), r.0[5] as i32), (RTMIN, 1, a.number()));
        assert_ne!(r.0[7] as i16 & POLLIN, 0);
    }
    "several at once, in order" => {
        let all = [SIGHUP, SIGUSR1, SIGTERM, RTMIN, RTMAX];
        let fd = watching(&all, SFD_NONBLOCK);
        for number in [RTMAX, SIGTERM, RTMIN, SIGUSR1, RTMIN, SIGHUP, SIGUSR1] {
            sig::kill(getpid(), number).unwrap();
        }
        let first = take(&fd, 4).unwrap();
        assert_eq!(numbers(&first), [SIGHUP, SIGUSR1, SIGTERM, RTMIN]);
        assert_eq!(numbers(&take(&fd, 100).unwrap()), [RTMIN, RTMAX]);
        assert_eq!(take(&fd, 1), Err(EAGAIN));
    }
    "the thread's before the process's" => {
        let fd = watching(&[SIGHUP, SIGUSR1], SFD_NONBLOCK);
        sig::kill(getpid(), SIGHUP).unwrap();
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(numbers(&take(&fd, 5).unwrap()), [SIGUSR1, SIGHUP]);
    }
    "only what is in its mask" => {
        let fd = watching(&[SIGUSR1], SFD_NONBLOCK);
        sig::block(bit(SIGUSR2));
        sig::raise(SIGUSR2).unwrap();
        assert_eq!(take(&fd, 1), Err(EAGAIN));
        assert_eq!(sig::pending(), bit(SIGUSR2));
    }
    "what is not blocked goes to the handler" => {
        journal::on(SIGUSR1, 0);
        let fd = watching(&[SIGUSR1], SFD_NONBLOCK);
        sig::unblock(bit(SIGUSR1));
        sig::raise(SIGUSR1).unwrap();
        assert_eq!((journal::count(), take(&fd, 1)), (1, Err(EAGAIN)));
    }
    "what is taken by sigwait is gone, and the reverse" => {
        let fd = watching(&[SIGUSR1], SFD_NONBLOCK);
        sig::raise(SIGUSR1).unwrap();
        assert!(sig::poll_info(bit(SIGUSR1)).is_ok());
        assert_eq!(take(&fd, 1), Err(EAGAIN));
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(take(&fd, 1).map(|r| r.len()), Ok(1));
        assert_eq!(sig::pending(), 0);
    }
    "two descriptors share what comes" => {
        let (a, b) = (watching(&[RTMIN], SFD_NONBLOCK), watching(&[RTMIN], SFD_NONBLOCK));
        for value in 1..=4 {
            sig::sigqueue(getpid(), RTMIN, value).unwrap();
        }
        let got = [&a, &b, &b, &a].map(|fd| take(fd, 1).unwrap()[0].int());
        assert_eq!(got, [1, 2, 3, 4]);
        assert_eq!((take(&a, 1), take(&b, 1)), (Err(EAGAIN), Err(EAGAIN)));
    }
    "thousands" => {
        let fd = watching(&[RTMIN], SFD_NONBLOCK);
        for value in 0..3000 {
            sig::sigqueue(getpid(), RTMIN, value).unwrap();
        }
        let mut got = Vec::new();
        while let Ok(some) = take(&fd, 37) {
            got.extend(some.iter().map(Record::int));
        }
        assert_eq!(got, (0..3000).collect::<Vec<_>>());
    }
});

cases!(a_signalfd_that_waits, {
    "a blocked read gets what comes" => {
        let s = Shared::new();
        let child = fork_run(|| {
            let fd = watching(&[SIGUSR1], 0);
            for _ in 0..20 {
                s.bump(0);
                let r = take(&fd, 4).unwrap();
                assert_eq!((r.len(), r[0].pid()), (1, getppid()));
            }
        });
        for n in 1..=20 {
            s.wait_for(0, n);
            child.sleeping();
            child.kill(SIGUSR1);
        }
        child.succeeds();
    }
    "select and a signal from a child" => {
        let fd = watching(&[SIGCHLD], 0);
        let child = fork_run(|| {});
        assert_eq!(select(&[fd.number()], &[], None, Select::Timeval).count, Ok(1));
        assert_eq!(take(&fd, 1).unwrap()[0].pid(), child.pid());
        child.succeeds();
    }
    "a thread reads its own and the process's, not another's" => {
        let fd = watching(&[SIGUSR1, SIGUSR2], SFD_NONBLOCK);
        sig::raise(SIGUSR1).unwrap();
        let number = fd.number();
        std::thread::spawn(move || {
            assert_eq!(poll_now(number), 0);
            assert_eq!(read_n(number, SIZE), Err(EAGAIN));
            sig::kill(getpid(), SIGUSR2).unwrap();
            assert_eq!(poll_now(number), POLLIN);
            assert_eq!(numbers(&records(&read_n(number, 9 * SIZE).unwrap())), [SIGUSR2]);
            sig::raise(SIGUSR2).unwrap();
            assert_eq!(numbers(&records(&read_n(number, 9 * SIZE).unwrap())), [SIGUSR2]);
        })
        .join()
        .unwrap();
        assert_eq!(numbers(&take(&fd, 9).unwrap()), [SIGUSR1]);
    }
    "after a fork each process reads its own" => {
        let fd = watching(&[SIGUSR1], SFD_NONBLOCK);
        sig::raise(SIGUSR1).unwrap();
        fork_run(|| {
            assert_eq!(take(&fd, 1), Err(EAGAIN));
            sig::raise(SIGUSR1).unwrap();
            assert_eq!(take(&fd, 1).unwrap()[0].pid(), getpid());
        })
        .succeeds();
        assert_eq!(take(&fd, 1).unwrap()[0].pid(), getpid());
    }
    "sent over a socket, too" => {
        let fd = watching(&[SIGUSR1], SFD_NONBLOCK);
        let (a, b) = ringer_support::rights::socketpair(libc::SOCK_STREAM);
        let child = fork_run(|| {
            let got = ringer_support::rights::receive_fds(&b).unwrap();
            sig::raise(SIGUSR1).unwrap();
            assert_eq!(take(&got[0], 1).unwrap()[0].pid(), getpid());
        });
        ringer_support::rights::send_fds(&a, &[fd.number()]).unwrap();
        child.succeeds();
    }
});

cases!(a_signalfd_in_epoll, {
    "poll and epoll" => {
        let fd = watching(&[SIGUSR1, RTMIN], 0);
        let (level, edge) = (Epoll::new(), Epoll::new());
        level.add(&fd, EPOLLIN);
        edge.add(&fd, EPOLLIN | EPOLLET);
        assert_eq!((poll_now(&fd), level.now(), edge.now()), (0, 0, 0));
        sig::kill(getpid(), RTMIN).unwrap();
        assert_eq!((poll_now(&fd), level.now()), (POLLIN, EPOLLIN));
        assert_eq!((level.now(), edge.now(), edge.now()), (EPOLLIN, EPOLLIN, 0));
        sig::kill(getpid(), RTMIN).unwrap();
        assert_eq!((edge.now(), edge.now()), (EPOLLIN, 0));
        assert_eq!(take(&fd, 9).map(|r| r.len()), Ok(2));
        assert_eq!((poll_now(&fd), level.now(), edge.now()), (0, 0, 0));
        sig::raise(SIGUSR1).unwrap();
        assert_eq!((poll_now(&fd), level.now(), edge.now()), (POLLIN, EPOLLIN, EPOLLIN));
    }
});
