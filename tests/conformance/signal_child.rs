//! SIGCHLD, and whatever else a kernel sends: to parents, to children of the dead, for limits and for
//! descriptors. See sigaction(2), clone(2), prctl(2), fcntl(2) F_SETSIG, mq_notify(3).

use libc::{
    CLD_CONTINUED, CLD_DUMPED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, SA_NOCLDSTOP, SIGCHLD, SIGTERM,
    SIGTSTP, SIGXFSZ, SI_USER,
};
use ringer_support::check;
use ringer_support::prelude::*;
use ringer_support::rights::socketpair;
use sig::{bit, RTMIN};

fn sleeper() -> Child {
    fork_run(|| {
        sig::own_group();
        loop {
            let _ = sig::pause();
        }
    })
}

/// Waits until the child is a zombie, and the signal for that has come.
fn dead(child: &Child, events: usize) {
    procfs::gone(child.pid());
    journal::wait_for(events);
}

cases!(sigchld_says_what_happened, {
    "exited" => {
        journal::on(SIGCHLD, 0);
        for (n, code) in [0, 1, 7, 255].into_iter().enumerate() {
            let child = fork_child(move || code);
            dead(&child, n + 1);
            let e = journal::last();
            assert_eq!((e.number, e.errno, e.code), (SIGCHLD, 0, CLD_EXITED));
            // SAFETY: no argument.
            let uid = unsafe { libc::getuid() };
            assert_eq!((e.pid(), e.status(), e.uid()), (child.pid(), code, uid));
            child.exits_with(code);
        }
    }
    "killed" => {
        journal::on(SIGCHLD, SA_NOCLDSTOP);
        for (n, number) in [SIGTERM, SIGKILL, SIGUSR1, RTMIN].into_iter().enumerate() {
            let child = sleeper();
            child.kill(number);
            dead(&child, n + 1);
            let e = journal::last();
            assert_eq!((e.code, e.status(), e.pid()), (CLD_KILLED, number, child.pid()));
            assert_eq!(child.wait().signal(), Some(number));
        }
    }
    "killed without a core where a core was due" => {
        journal::on(SIGCHLD, 0);
        let child = fork_run(|| {
            sig::no_core();
            sig::raise(libc::SIGQUIT).unwrap();
        });
        dead(&child, 1);
        let e = journal::last();
        assert_eq!((e.code, e.status()), (CLD_KILLED, libc::SIGQUIT));
        assert_ne!(e.code, CLD_DUMPED);
        child.wait();
    }
    "stopped and continued" => {
        journal::on(SIGCHLD, 0);
        let child = sleeper();
        child.sleeping();
        for (n, stop) in [SIGSTOP, SIGTSTP].into_iter().enumerate() {
            child.kill(stop);
            journal::wait_for(2 * n + 1);
            let e = journal::last();
            assert_eq!((e.code, e.status(), e.pid()), (CLD_STOPPED, stop, child.pid()));
            child.kill(SIGCONT);
            journal::wait_for(2 * n + 2);
            let e = journal::last();
            assert_eq!((e.code, e.status(), e.pid()), (CLD_CONTINUED, SIGCONT, child.pid()));
        }
        child.kill_9();
    }
    "the child's real user" => {
        if is_root() {
            journal::on(SIGCHLD, 0);
            let child = fork_run(|| sig::set_users(1234, 0, 0));
            dead(&child, 1);
            assert_eq!(journal::last().uid(), 1234);
            child.succeeds();
        }
    }
    "several coalesce while it is blocked, and the first is told" => {
        journal::on(SIGCHLD, 0);
        sig::block(bit(SIGCHLD));
        let first = fork_child(|| 3);
        procfs::gone(first.pid());
        let second = fork_child(|| 4);
        procfs::gone(second.pid());
        sig::unblock(bit(SIGCHLD));
        assert_eq!((journal::only().pid(), journal::only().status()), (first.pid(), 3));
        first.exits_with(3);
        second.exits_with(4);
    }
    "it comes before wait returns" => {
        journal::on(SIGCHLD, 0);
        for n in 1..=50 {
            fork_run(|| {}).succeeds();
            assert_eq!(journal::count(), n);
        }
    }
    "by sigwaitinfo" => {
        sig::block(bit(SIGCHLD));
        let child = fork_child(|| 9);
        let info = sig::wait_info(bit(SIGCHLD), None).unwrap();
        assert_eq!((info.code, info.pid(), info.payload[1] as i32), (CLD_EXITED, child.pid(), 9));
        child.exits_with(9);
    }
    "a handler that waits for all" => {
        static REAPED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        extern "C" fn reap(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            // SAFETY: numbers.
            while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {
                REAPED.fetch_add(1, SeqCst);
            }
        }
        signal::handle(SIGCHLD, SA_RESTART, reap);
        for _ in 0..100 {
            fork_run(|| {}).leak();
        }
        wait_until(|| REAPED.load(SeqCst) == 100);
    }
    "waitid tells the same" => {
        let child = sleeper();
        // SAFETY: zeroes are a valid siginfo.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let mut ask = |options| {
            // SAFETY: a valid siginfo.
            check(unsafe { libc::waitid(libc::P_PID, child.pid() as u32, &mut info, options) })
                .unwrap();
            // SAFETY: it is one of SIGCHLD.
            let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
            assert_eq!((info.si_signo, pid), (SIGCHLD, child.pid()));
            (info.si_code, status)
        };
        child.kill(SIGSTOP);
        assert_eq!(ask(libc::WSTOPPED), (CLD_STOPPED, SIGSTOP));
        child.kill(SIGCONT);
        assert_eq!(ask(libc::WCONTINUED), (CLD_CONTINUED, SIGCONT));
        child.kill(SIGTERM);
        assert_eq!(ask(libc::WEXITED | libc::WNOWAIT), (CLD_KILLED, SIGTERM));
        assert_eq!(child.wait().signal(), Some(SIGTERM));
    }
});

/// A child whose death is told by another signal, or by none.
fn clone_with(number: c_int) -> i32 {
    // SAFETY: as fork.
    let pid = unsafe { libc::syscall(libc::SYS_clone, number, 0, 0, 0, 0) } as i32;
    if pid == 0 {
        // SAFETY: ends the process.
        unsafe { libc::_exit(5) };
    }
    pid
}

cases!(other_signals_of_parents_and_children, {
    "a child whose exit signal is another" => {
        journal::on(SIGUSR1, 0);
        journal::on(SIGCHLD, 0);
        let pid = clone_with(SIGUSR1);
        journal::wait_for(1);
        let e = journal::only();
        assert_eq!((e.number, e.code, e.pid(), e.status()), (SIGUSR1, CLD_EXITED, pid, 5));
        let mut status = 0;
        // SAFETY: a valid int.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, libc::__WALL) }, pid);
    }
    "a child without one" => {
        journal::on(SIGCHLD, 0);
        let pid = clone_with(0);
        procfs::gone(pid);
        // SAFETY: no status wanted.
        assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) }, pid);
        assert_eq!(journal::count(), 0);
    }
    "PR_SET_PDEATHSIG" => {
        journal::start();
        let s = Shared::new();
        let parent = fork_run(|| {
            fork_run(|| {
                journal::on(SIGUSR1, 0);
                // SAFETY: numbers.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, SIGUSR1) };
                s.set(0, 1);
                for _ in 0..100_000 {
                    if journal::count() > 0 {
                        break;
                    }
                    pause(std::time::Duration::from_micros(200));
                }
            })
            .leak();
            s.wait_for(0, 1);
        });
        let pid = parent.pid();
        parent.succeeds();
        journal::wait_for(1);
        assert_eq!((journal::only().code, journal::only().pid()), (SI_USER, pid));
    }
    "SIGHUP and SIGCONT for a stopped group that is orphaned" => {
        journal::start();
        let s = Shared::new();
        let parent = fork_run(|| {
            sig::own_group();
            let child = fork_run(|| {
                journal::on(libc::SIGHUP, 0);
                journal::on(SIGCONT, 0);
                // A group of its own that its parent, of the same session, keeps from being orphaned.
                // SAFETY: numbers.
                unsafe { libc::setpgid(0, 0) };
                sig::raise(SIGSTOP).unwrap();
                s.set(0, 1);
            });
            wait_pid(child.pid(), libc::WUNTRACED).unwrap();
            child.leak();
        });
        parent.succeeds();
        s.wait_for(0, 1);
        journal::wait_for(2);
        let mut numbers = journal::numbers();
        numbers.sort_unstable();
        assert_eq!(numbers, [libc::SIGHUP, SIGCONT]);
    }
    "SIGPIPE" => {
        journal::on(SIGPIPE, 0);
        let p = pipe();
        close(&p.r).unwrap();
        for n in 1..=10 {
            assert_eq!(write(&p.w, b"x"), Err(EPIPE));
            assert_eq!(journal::count(), n);
        }
        let e = journal::last();
        assert_eq!((e.code, e.pid(), e.tid), (SI_USER, getpid(), gettid()));
        let _ = p.r.leak();
    }
    "SIGXFSZ" => {
        journal::on(SIGXFSZ, 0);
        let limit = libc::rlimit { rlim_cur: 100, rlim_max: 100 };
        // SAFETY: a valid limit.
        unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) };
        let file = temp_file();
        assert_eq!(write(&file, &[0; 200]), Ok(100));
        assert_eq!(write(&file, &[0; 200]), Err(libc::EFBIG));
        assert_eq!((journal::only().number, journal::only().code), (SIGXFSZ, SI_USER));
    }
    "SIGXCPU" => {
        journal::on(libc::SIGXCPU, 0);
        let limit = libc::rlimit { rlim_cur: 1, rlim_max: 100 };
        // SAFETY: a valid limit.
        unsafe { libc::setrlimit(libc::RLIMIT_CPU, &limit) };
        while journal::count() == 0 {
            std::hint::spin_loop();
        }
        assert_eq!(journal::last().code, 0x80);
    }
});

/// Has the descriptor send signals to this process.
fn asynchronous(fd: &Fd, number: c_int) {
    if number != 0 {
        fcntl(fd, sig::F_SETSIG, number as usize).unwrap();
    }
    fcntl(fd, libc::F_SETOWN, getpid() as usize).unwrap();
    set_status_flags(fd, libc::O_ASYNC | O_NONBLOCK).unwrap();
}

cases!(signals_for_descriptors, {
    "SIGIO without a wish" => {
        journal::on(SIGIO, 0);
        let (a, b) = socketpair(libc::SOCK_STREAM);
        asynchronous(&a, 0);
        write_all(&b, b"x");
        journal::wait_for(1);
        assert_eq!(journal::last().number, SIGIO);
        assert_eq!(journal::last().code, 0x80);
    }
    "the signal that was wished for, and the descriptor" => {
        journal::on(RTMIN + 2, 0);
        let (a, b) = socketpair(libc::SOCK_STREAM);
        asynchronous(&a, RTMIN + 2);
        write_all(&b, b"x");
        journal::wait_for(1);
        let e = journal::last();
        assert_eq!((e.number, e.status(), e.code), (RTMIN + 2, a.number(), 1));
        assert_ne!(e.payload[0] as i16 & POLLIN, 0);
    }
    "of a pipe" => {
        journal::on(RTMIN + 2, 0);
        let p = pipe();
        asynchronous(&p.r, RTMIN + 2);
        for n in 1..=5 {
            write_all(&p.w, b"x");
            journal::wait_for(n);
            assert_eq!((journal::last().status(), drain(&p.r).len()), (p.r.number(), 1));
        }
    }
    "for a group" => {
        let group = sig::own_group();
        journal::start();
        let child = journal::listener(&[SIGIO], || {});
        journal::on(SIGIO, 0);
        let (a, b) = socketpair(libc::SOCK_STREAM);
        asynchronous(&a, 0);
        fcntl(&a, libc::F_SETOWN, -group as usize).unwrap();
        write_all(&b, b"x");
        journal::wait_for(2);
        assert!(journal::events().iter().any(|e| e.tid == child.pid()));
    }
    "for one thread" => {
        #[repr(C)]
        struct Owner(c_int, i32);
        journal::on(RTMIN + 2, 0);
        let s = Shared::new();
        let thread = std::thread::spawn(move || {
            s.set(0, gettid() as u64);
            s.wait_for(1, 1);
        });
        s.wait_for(0, 1);
        let (a, b) = socketpair(libc::SOCK_STREAM);
        asynchronous(&a, RTMIN + 2);
        let owner = Owner(0, s.get(0) as i32);
        const F_SETOWN_EX: c_int = 15;
        fcntl(&a, F_SETOWN_EX, std::ptr::from_ref(&owner) as usize).unwrap();
        write_all(&b, b"x");
        journal::wait_for(1);
        assert_eq!(journal::only().tid, s.get(0) as i32);
        s.set(1, 1);
        thread.join().unwrap();
    }
    "of a message queue" => {
        journal::on(SIGUSR1, 0);
        let name = std::ffi::CString::new(format!("/ringer-notify-{}", getpid())).unwrap();
        // SAFETY: zeroes are valid attributes.
        let mut attr: libc::mq_attr = unsafe { std::mem::zeroed() };
        (attr.mq_maxmsg, attr.mq_msgsize) = (2, 8);
        // SAFETY: a valid name and attributes.
        let q = unsafe { libc::mq_open(name.as_ptr(), libc::O_CREAT | O_RDWR, 0o600, &attr) };
        // SAFETY: a valid name.
        unsafe { libc::mq_unlink(name.as_ptr()) };
        // SAFETY: zeroes are a valid event.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = SIGUSR1;
        event.sigev_value.sival_ptr = 4711 as *mut c_void;
        // SAFETY: a valid event.
        assert_eq!(unsafe { libc::mq_notify(q, &event) }, 0);
        for _ in 0..2 {
            // SAFETY: one byte.
            assert_eq!(unsafe { libc::mq_send(q, c"x".as_ptr(), 1, 0) }, 0);
        }
        let e = journal::only();
        assert_eq!((e.code, e.value(), e.pid()), (libc::SI_MESGQ, 4711, getpid()));
    }
});
