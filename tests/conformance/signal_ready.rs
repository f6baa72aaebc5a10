//! The masks of ppoll(2), pselect(2) and epoll_pwait(2): in force exactly while the call waits.

use libc::{SIGHUP, SIGTERM};
use ringer_support::check;
use ringer_support::prelude::*;
use sig::{bit, bits, RTMIN};

/// A call that waits for this descriptor, or for ever, with a mask.
type Wait = fn(&Fd, u64) -> Sys;

fn by_ppoll(fd: &Fd, mask: u64) -> Sys {
    ppoll(&mut [pollfd(fd, POLLIN)], None, Some(sig::set(mask)))
}

fn by_pselect(fd: &Fd, mask: u64) -> Sys {
    // SAFETY: all zero bits are an empty set.
    let mut set: libc::fd_set = unsafe { std::mem::zeroed() };
    // SAFETY: a valid set.
    unsafe { libc::FD_SET(fd.number(), &mut set) };
    let none = std::ptr::null_mut();
    // SAFETY: valid sets, no timeout.
    check(unsafe {
        let time = std::ptr::null();
        libc::pselect(fd.number() + 1, &mut set, none, none, time, &sig::set(mask))
    })
}

fn by_epoll_pwait(fd: &Fd, mask: u64) -> Sys {
    // SAFETY: numbers.
    let epoll = Fd::own(check(unsafe { libc::epoll_create1(0) })?);
    let mut event = libc::epoll_event {
        events: EPOLLIN as u32,
        u64: 0,
    };
    // SAFETY: a valid event.
    check(unsafe {
        libc::epoll_ctl(epoll.number(), libc::EPOLL_CTL_ADD, fd.number(), &mut event)
    })?;
    // SAFETY: room for an event.
    check(unsafe { libc::epoll_pwait(epoll.number(), &mut event, 1, -1, &sig::set(mask)) })
}

fn by_epoll_pwait2(fd: &Fd, mask: u64) -> Sys {
    // SAFETY: numbers.
    let epoll = Fd::own(check(unsafe { libc::epoll_create1(0) })?);
    let mut event = libc::epoll_event {
        events: EPOLLIN as u32,
        u64: 0,
    };
    // SAFETY: a valid event.
    check(unsafe {
        libc::epoll_ctl(epoll.number(), libc::EPOLL_CTL_ADD, fd.number(), &mut event)
    })?;
    let (room, no_time) = (std::ptr::from_mut(&mut event), std::ptr::null::<()>());
    // SAFETY: room for an event.
    check(unsafe {
        let number = libc::SYS_epoll_pwait2;
        libc::syscall(
            number,
            epoll.number(),
            room,
            1,
            no_time,
            &sig::set(mask),
            8usize,
        )
    })
}

const WAITS: [(&str, Wait); 4] = [
    ("ppoll", by_ppoll),
    ("pselect", by_pselect),
    ("epoll_pwait", by_epoll_pwait),
    ("epoll_pwait2", by_epoll_pwait2),
];

fn each(test: impl Fn(Wait)) {
    for (name, wait) in WAITS {
        eprintln!("call: {name}");
        journal::start();
        sig::set_mask(0);
        test(wait);
    }
}

cases!(the_mask_while_a_call_waits, {
    "what is pending and let in ends it at once" => {
        each(|wait| {
            let p = pipe();
            journal::on(SIGUSR1, SA_RESTART);
            sig::block(bits(&[SIGUSR1, SIGHUP]));
            sig::raise(SIGUSR1).unwrap();
            assert_eq!(wait(&p.r, bit(SIGTERM)), Err(EINTR));
            let e = journal::only();
            assert_eq!(e.blocked, bits(&[SIGTERM, SIGUSR1]));
            assert_eq!((e.saved, sig::mask()), (bits(&[SIGUSR1, SIGHUP]), bits(&[SIGUSR1, SIGHUP])));
        });
    }
    "if something is ready it does not wait, and the signal stays" => {
        each(|wait| {
            let p = pipe();
            write_all(&p.w, b"x");
            journal::on(SIGUSR1, 0);
            sig::block(bit(SIGUSR1));
            sig::raise(SIGUSR1).unwrap();
            assert_eq!(wait(&p.r, 0), Ok(1));
            assert_eq!((journal::count(), sig::pending()), (0, bit(SIGUSR1)));
            sig::unblock(bit(SIGUSR1));
        });
    }
    "what its mask blocks waits until it is over" => {
        each(|wait| {
            let (p, s) = (pipe(), Shared::new());
            let child = fork_run(|| {
                journal::on(SIGUSR1, 0);
                s.set(0, 1);
                assert_eq!(wait(&p.r, bit(SIGUSR1)), Ok(1));
                assert_eq!((journal::count(), sig::mask()), (1, 0));
            });
            s.wait_for(0, 1);
            child.sleeping();
            child.kill(SIGUSR1);
            child.sleeping();
            assert_eq!(journal::count(), 0);
            write_all(&p.w, b"x");
            child.succeeds();
        });
    }
    "what comes while it waits ends it" => {
        each(|wait| {
            let (p, s) = (pipe(), Shared::new());
            let child = fork_run(|| {
                journal::on(RTMIN, SA_RESTART);
                sig::block(bit(RTMIN));
                s.set(0, 1);
                assert_eq!(wait(&p.r, 0), Err(EINTR));
                assert_eq!((journal::count(), sig::mask()), (1, bit(RTMIN)));
            });
            s.wait_for(0, 1);
            child.sleeping();
            child.kill(RTMIN);
            child.succeeds();
        });
    }
    "there is no window: a signal is either handled before or ends it" => {
        each(|wait| {
            const ROUNDS: u64 = 500;
            let (p, s) = (pipe(), Shared::new());
            let child = fork_run(|| {
                journal::on(SIGUSR1, 0);
                sig::block(bit(SIGUSR1));
                for round in 1..=ROUNDS {
                    s.set(0, round);
                    // Nothing but the signal ends it. It may come before the call, or within.
                    assert_eq!(wait(&p.r, 0), Err(EINTR));
                    assert_eq!(journal::count() as u64, round);
                }
            });
            for round in 1..=ROUNDS {
                while s.get(0) < round {
                    std::hint::spin_loop();
                    assert!(!ringer_support::shared::failed());
                }
                for _ in 0..round % 64 * 20 {
                    std::hint::spin_loop();
                }
                child.kill(SIGUSR1);
            }
            child.succeeds();
        });
    }
    "without a mask nothing changes" => {
        let p = pipe();
        journal::on(SIGUSR1, 0);
        sig::block(bit(SIGUSR1));
        sig::raise(SIGUSR1).unwrap();
        let soon = ringer_support::ready::milliseconds(1);
        assert_eq!(ppoll(&mut [pollfd(&p.r, POLLIN)], Some(soon), None), Ok(0));
        assert_eq!(journal::count(), 0);
    }
    "a timeout restores the mask" => {
        let p = pipe();
        let soon = ringer_support::ready::milliseconds(1);
        sig::block(bit(SIGUSR1));
        assert_eq!(ppoll(&mut [pollfd(&p.r, POLLIN)], Some(soon), Some(sig::set(0))), Ok(0));
        assert_eq!(sig::mask(), bit(SIGUSR1));
    }
    "bad masks" => {
        let p = pipe();
        let mut fd = pollfd(&p.r, POLLIN);
        let mut call = |set: usize, size: usize| {
            let (at, none) = (std::ptr::from_mut(&mut fd), std::ptr::null::<()>());
            // SAFETY: the kernel copies, and says EFAULT.
            check(unsafe { libc::syscall(libc::SYS_ppoll, at, 1, none, set, size) })
        };
        assert_eq!(call(8, 8), Err(EFAULT));
        assert_eq!(call(8, 16), Err(EINVAL));
        assert_eq!(call(8, 0), Err(EINVAL));
    }
    "the self-pipe trick, in the handler of a waiting call" => {
        static TO: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);
        extern "C" fn tell(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            let _ = write(TO.load(SeqCst), b"!");
        }
        each(|wait| {
            let (p, s) = (pipe(), Shared::new());
            TO.store(p.w.number(), SeqCst);
            let child = fork_run(|| {
                signal::handle(SIGUSR1, 0, tell);
                sig::block(bit(SIGUSR1));
                s.set(0, 1);
                assert_eq!(wait(&p.r, 0), Err(EINTR));
                assert_eq!(wait(&p.r, 0), Ok(1));
                assert_eq!(read_n(&p.r, 9), Ok(b"!".to_vec()));
            });
            s.wait_for(0, 1);
            child.kill(SIGUSR1);
            child.succeeds();
        });
    }
});
