//! Signals among threads: who gets what is for the process, and nothing lost nor reordered.
//! See pthreads(7), signal(7), pthread_kill(3).

use libc::{SA_NODEFER, SIGHUP, SIGTERM};
use ringer_support::prelude::*;
use sig::{bit, bits, RTMIN};
use std::thread::JoinHandle;

const SENDERS: u64 = 4;
const EACH: u64 = 500;

/// A thread that is there until word 511 says otherwise; its number is in the word `i`.
fn idle(s: Shared, i: usize, mask: u64) -> JoinHandle<()> {
    let thread = std::thread::spawn(move || {
        sig::set_mask(mask);
        s.set(i, gettid() as u64);
        s.wait_for(511, 1);
    });
    s.wait_for(i, 1);
    thread
}

/// Sends EACH values, until they are taken.
fn send_values(sender: u64, mut send: impl FnMut(u64) -> bool) {
    for n in 0..EACH {
        while !send(sender << 32 | n) {
            pause(std::time::Duration::from_micros(50));
        }
    }
}

/// Fails unless each sender's values came all, and in their order.
#[track_caller]
fn complete(values: &[u64], senders: u64) {
    assert_eq!(values.len() as u64, senders * EACH);
    for sender in 0..senders {
        let own = values
            .iter()
            .filter(|v| *v >> 32 == sender)
            .map(|v| v & 0xffff_ffff);
        assert!(own.eq(0..EACH), "of sender {sender}");
    }
}

fn journal_values() -> Vec<u64> {
    journal::events().iter().map(|e| e.value()).collect()
}

cases!(real_time_signals_of_four_threads_to_one, {
    "by pthread_sigqueue to a handler" => {
        journal::on(RTMIN, 0);
        let to = sig::me() as u64;
        let threads: Vec<_> = (0..SENDERS)
            .map(|i| std::thread::spawn(move || {
                sig::block(bit(RTMIN));
                send_values(i, |v| sig::thread_sigqueue(to as _, RTMIN, v) == 0);
            }))
            .collect();
        journal::wait_for((SENDERS * EACH) as usize);
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert!(journal::events().iter().all(|e| e.tid == gettid()));
        complete(&journal_values(), SENDERS);
    }
    "by pthread_sigqueue to a handler, amidst calls" => {
        journal::on(RTMIN, 0);
        let to = sig::me() as u64;
        let p = pipe();
        let threads: Vec<_> = (0..SENDERS)
            .map(|i| std::thread::spawn(move || {
                sig::block(bit(RTMIN));
                send_values(i, |v| sig::thread_sigqueue(to as _, RTMIN, v) == 0);
            }))
            .collect();
        while journal::count() < (SENDERS * EACH) as usize {
            let _ = write(&p.w, b"x");
            let _ = read(&p.r, &mut [0]);
        }
        threads.into_iter().for_each(|t| t.join().unwrap());
        complete(&journal_values(), SENDERS);
    }
    "by sigqueue to a handler of the only thread that does not block it" => {
        journal::on(RTMIN, 0);
        sig::block(bit(RTMIN));
        let threads: Vec<_> = (0..SENDERS)
            .map(|i| std::thread::spawn(move || {
                send_values(i, |v| sig::sigqueue(getpid(), RTMIN, v).is_ok());
            }))
            .collect();
        sig::unblock(bit(RTMIN));
        threads.into_iter().for_each(|t| t.join().unwrap());
        journal::wait_for((SENDERS * EACH) as usize);
        complete(&journal_values(), SENDERS);
    }
    "by sigqueue to sigwaitinfo" => {
        sig::block(bit(RTMIN));
        let threads: Vec<_> = (0..SENDERS)
            .map(|i| std::thread::spawn(move || {
                send_values(i, |v| sig::sigqueue(getpid(), RTMIN, v).is_ok());
            }))
            .collect();
        let wait = || sig::wait_info(bit(RTMIN), None).unwrap().value();
        let values: Vec<u64> = (0..SENDERS * EACH).map(|_| wait()).collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        complete(&values, SENDERS);
        assert_eq!(sig::pending(), 0);
    }
    "by sigqueue to a signalfd" => {
        let fd = {
            sig::block(bit(RTMIN));
            signal::signalfd(RTMIN, 0)
        };
        let threads: Vec<_> = (0..SENDERS)
            .map(|i| std::thread::spawn(move || {
                send_values(i, |v| sig::sigqueue(getpid(), RTMIN, v).is_ok());
            }))
            .collect();
        let mut values = Vec::new();
        while (values.len() as u64) < SENDERS * EACH {
            for record in read_n(&fd, 128 * 16).unwrap().chunks(128) {
                values.push(u64::from_ne_bytes(record[48..56].try_into().unwrap()));
            }
        }
        threads.into_iter().for_each(|t| t.join().unwrap());
        complete(&values, SENDERS);
    }
    "of four processes" => {
        let to = getpid();
        journal::on(RTMIN, 0);
        let children: Vec<Child> = (0..SENDERS)
            .map(|i| fork_run(move || {
                send_values(i, |v| sig::sigqueue(to, RTMIN, v).is_ok());
            }))
            .collect();
        journal::wait_for((SENDERS * EACH) as usize);
        all_succeed(children);
        complete(&journal_values(), SENDERS);
    }
    "to four threads that wait together, each once" => {
        sig::block(bit(RTMIN));
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| {
                let mut values = Vec::new();
                loop {
                    match sig::wait_info(bit(RTMIN), None) {
                        Ok(info) if info.value() == u64::MAX => return values,
                        Ok(info) => values.push(info.value()),
                        Err(e) => assert_eq!(e, EINTR),
                    }
                }
            }))
            .collect();
        send_values(0, |v| sig::sigqueue(getpid(), RTMIN, v).is_ok());
        for _ in 0..4 {
            sig::sigqueue(getpid(), RTMIN, u64::MAX).unwrap();
        }
        let lists: Vec<Vec<u64>> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert!(lists.iter().all(|values| values.is_sorted()));
        let mut all = lists.concat();
        all.sort_unstable();
        complete(&all, 1);
    }
});

cases!(what_is_for_the_process, {
    "goes to the first thread if that does not block it" => {
        journal::on(SIGUSR1, 0);
        let s = Shared::new();
        let threads = [idle(s, 0, 0), idle(s, 1, 0)];
        for n in 1..=20 {
            sig::kill(getpid(), SIGUSR1).unwrap();
            journal::wait_for(n);
            assert_eq!(journal::last().tid, getpid());
        }
        s.set(511, 1);
        threads.into_iter().for_each(|t| t.join().unwrap());
    }
    "goes to the first thread also while others make system calls" => {
        journal::on(SIGUSR1, SA_NODEFER);
        let s = Shared::new();
        let child = fork_run(|| {
            let busy: Vec<_> = [2, 3]
                .map(|word| std::thread::spawn(move || {
                    while s.get(1) == 0 {
                        // SAFETY: no arguments.
                        unsafe { libc::syscall(libc::SYS_getppid) };
                        s.bump(word);
                    }
                }))
                .into();
            // (A thread that begins changes its mask, and so looks at what is pending.)
            s.wait_for(2, 100);
            s.wait_for(3, 100);
            s.set(0, 1);
            s.wait_for(1, 1);
            busy.into_iter().for_each(|t| t.join().unwrap());
        });
        s.wait_for(0, 1);
        for n in 1..=200 {
            child.kill(SIGUSR1);
            journal::wait_for(n);
            let event = journal::last();
            assert_eq!((event.tid, event.pid()), (child.pid(), getpid()));
        }
        s.set(1, 1);
        child.succeeds();
    }
    "goes to another thread that makes system calls if the first blocks it" => {
        journal::on(SIGUSR1, SA_NODEFER);
        let s = Shared::new();
        sig::block(bit(SIGUSR1));
        let busy = std::thread::spawn(move || {
            sig::unblock(bit(SIGUSR1));
            s.set(0, gettid() as u64);
            while s.get(1) == 0 {
                // SAFETY: no arguments.
                unsafe { libc::syscall(libc::SYS_getppid) };
            }
        });
        s.wait_for(0, 1);
        for n in 1..=100 {
            sig::kill(getpid(), SIGUSR1).unwrap();
            journal::wait_for(n);
            assert_eq!(journal::last().tid, s.get(0) as i32);
        }
        s.set(1, 1);
        busy.join().unwrap();
    }
    "never goes to a thread that blocks it" => {
        journal::on(SIGUSR1, 0);
        let s = Shared::new();
        sig::block(bit(SIGUSR1));
        let blockers = [idle(s, 0, bit(SIGUSR1)), idle(s, 1, u64::MAX)];
        let open = idle(s, 2, bit(SIGUSR2));
        let to = getpid();
        fork_run(|| {
            for n in 1..=200 {
                sig::kill(to, SIGUSR1).unwrap();
                journal::wait_for(n);
            }
        })
        .succeeds();
        assert!(journal::events().iter().all(|e| e.tid == s.get(2) as i32));
        s.set(511, 1);
        blockers.into_iter().chain([open]).for_each(|t| t.join().unwrap());
    }
    "waits while all block it, and goes to the one that unblocks it" => {
        journal::on(SIGUSR1, 0);
        sig::block(bit(SIGUSR1));
        let s = Shared::new();
        let other = idle(s, 0, bit(SIGUSR1));
        let opens = std::thread::spawn(move || {
            s.set(1, gettid() as u64);
            s.wait_for(2, 1);
            sig::unblock(bit(SIGUSR1));
            assert_eq!(journal::only().tid, gettid());
        });
        s.wait_for(1, 1);
        sig::kill(getpid(), SIGUSR1).unwrap();
        assert_eq!(journal::count(), 0);
        s.set(2, 1);
        opens.join().unwrap();
        s.set(511, 1);
        other.join().unwrap();
    }
    "wakes one that waits for it, rather than nobody" => {
        sig::block(bits(&[SIGUSR1, SIGHUP]));
        let s = Shared::new();
        let others = [idle(s, 0, u64::MAX), idle(s, 1, u64::MAX)];
        let waits = std::thread::spawn(move || {
            s.set(2, gettid() as u64);
            for _ in 0..100 {
                sig::sigwait(bits(&[SIGUSR1, SIGHUP])).unwrap();
                s.bump(3);
            }
        });
        s.wait_for(2, 1);
        let to = getpid();
        fork_run(|| {
            for n in 1..=100 {
                sig::kill(to, if n % 2 == 0 { SIGUSR1 } else { SIGHUP }).unwrap();
                s.wait_for(3, n);
            }
        })
        .succeeds();
        waits.join().unwrap();
        s.set(511, 1);
        others.into_iter().for_each(|t| t.join().unwrap());
    }
    "is not lost when threads come and go" => {
        journal::on(RTMIN, 0);
        sig::block(bit(RTMIN));
        let to = getpid();
        let sender = fork_run(|| {
            send_values(0, |v| sig::sigqueue(to, RTMIN, v).is_ok());
        });
        // Each lets some in, and ends.
        while (journal::count() as u64) < EACH {
            std::thread::spawn(|| {
                sig::unblock(bit(RTMIN));
                std::thread::yield_now();
            })
            .join()
            .unwrap();
        }
        sender.succeeds();
        let mut values = journal_values();
        values.sort_unstable();
        complete(&values, 1);
    }
    "kills all threads if nobody handles it" => {
        let child = fork_run(|| {
            let s = Shared::new();
            let thread = idle(s, 0, 0);
            let _ = thread.join();
        });
        child.sleeping();
        child.kill(SIGTERM);
        assert_eq!(child.wait().signal(), Some(SIGTERM));
    }
    "finds the others when the first thread has ended" => {
        let s = Shared::new();
        journal::start();
        let child = fork_run(|| {
            journal::on(SIGUSR1, 0);
            std::thread::spawn(move || {
                s.set(0, gettid() as u64);
                journal::wait_for(5);
                // SAFETY: ends the process.
                unsafe { libc::_exit(0) };
            });
            s.wait_for(0, 1);
            // SAFETY: ends this thread, as the system call; nothing of it is needed any more.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        });
        s.wait_for(0, 1);
        wait_until(|| procfs::state(child.pid()) == Some('Z'));
        for n in 1..=5 {
            child.kill(SIGUSR1);
            journal::wait_for(n);
            assert_eq!(journal::last().tid, s.get(0) as i32);
        }
        child.succeeds();
    }
});

cases!(what_is_for_one_thread, {
    "is pending for that one alone" => {
        let s = Shared::new();
        let thread = std::thread::spawn(move || {
            sig::block(bit(SIGUSR1));
            s.set(0, gettid() as u64);
            s.wait_for(1, 1);
            assert_eq!(sig::pending(), bit(SIGUSR1));
            assert_eq!(sig::sigwait(bit(SIGUSR1)), Ok(SIGUSR1));
        });
        s.wait_for(0, 1);
        sig::tgkill(getpid(), s.get(0) as i32, SIGUSR1).unwrap();
        assert_eq!(sig::pending(), 0);
        s.set(1, 1);
        thread.join().unwrap();
    }
    "is gone with it" => {
        journal::on(SIGUSR1, 0);
        sig::block(bit(SIGUSR1));
        std::thread::spawn(|| sig::raise(SIGUSR1).unwrap()).join().unwrap();
        sig::unblock(bit(SIGUSR1));
        assert_eq!(journal::count(), 0);
    }
    "handlers run in several threads at once" => {
        static MEET: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        extern "C" fn meet(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            MEET.fetch_add(1, SeqCst);
            while MEET.load(SeqCst) < 3 {
                std::hint::spin_loop();
            }
        }
        signal::handle(SIGUSR1, 0, meet);
        let s = Shared::new();
        let threads = [idle(s, 0, 0), idle(s, 1, 0)];
        sig::tgkill(getpid(), s.get(0) as i32, SIGUSR1).unwrap();
        sig::tgkill(getpid(), s.get(1) as i32, SIGUSR1).unwrap();
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(MEET.load(SeqCst), 3);
        s.set(511, 1);
        threads.into_iter().for_each(|t| t.join().unwrap());
    }
    "threads that signal each other" => {
        const ROUNDS: usize = 1000;
        journal::on(SIGUSR1, 0);
        sig::block(bit(SIGUSR1));
        let first = gettid();
        let s = Shared::new();
        let thread = std::thread::spawn(move || {
            s.set(0, gettid() as u64);
            for _ in 0..ROUNDS {
                assert_eq!(sig::sigsuspend(0), Err(EINTR));
                sig::tgkill(getpid(), first, SIGUSR1).unwrap();
            }
        });
        s.wait_for(0, 1);
        for _ in 0..ROUNDS {
            sig::tgkill(getpid(), s.get(0) as i32, SIGUSR1).unwrap();
            assert_eq!(sig::sigsuspend(0), Err(EINTR));
        }
        thread.join().unwrap();
        assert_eq!(journal::count(), 2 * ROUNDS);
    }
});
