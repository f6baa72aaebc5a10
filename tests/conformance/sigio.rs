//! O_ASYNC: which signals come, with which siginfo, to whom. See fcntl(2) "Managing signals"; fcntl(2)
//! F_SETSIG: real-time signals queue, so each one that the kernel sends is seen.

use libc::{F_SETOWN, O_ASYNC};
use ringer_support::prelude::*;
use ringer_support::things::{Kind, Thing};

/// (uapi/asm-generic/fcntl.h; libc has no names for them here)
const F_SETSIG: c_int = 10;
const F_SETOWN_EX: c_int = 15;
const FIOASYNC: libc::c_ulong = 0x5452;

const IN: c_int = 1; // POLL_IN: si_code, see sigaction(2)
const OUT: c_int = 2; // POLL_OUT
const HUP: c_int = 6; // POLL_HUP

const WITH_SIGIO: [Kind; 5] = [
    Kind::Pipe,
    Kind::Fifo,
    Kind::Stream,
    Kind::Datagram,
    Kind::Seqpacket,
];

fn number() -> c_int {
    libc::SIGRTMIN() + 7
}

/// Signals of this descriptor, to this process, from now on. They are blocked.
fn ask(fd: &Fd) {
    sig::block(sig::bit(number()));
    fcntl(fd, F_SETSIG, number() as usize).unwrap();
    fcntl(fd, F_SETOWN, getpid() as usize).unwrap();
    set_status_flags(fd, status_flags(fd) | O_ASYNC).unwrap();
    let _ = came();
}

/// si_code of those that are pending, one after the other. Which descriptor and which band is checked.
fn came_of(fd: Option<&Fd>) -> Vec<c_int> {
    let mut all = Vec::new();
    while let Ok(info) = sig::poll_info(sig::bit(number())) {
        if let Some(fd) = fd {
            assert_eq!(info.value() as c_int, fd.number(), "si_fd");
        }
        let band = i64::from(match info.code {
            IN => POLLIN | POLLRDNORM,
            OUT => POLLOUT | POLLWRNORM | libc::POLLWRBAND,
            HUP => POLLHUP | POLLERR,
            other => panic!("si_code {other}"),
        });
        assert_eq!(info.payload[0] as i64, band, "si_band");
        all.push(info.code);
    }
    all
}

fn came() -> Vec<c_int> {
    came_of(None)
}

both_worlds!(
    each_put_is_a_signal_to_the_reader,
    worlds = armed,
    timeout = 60,
    {
        for kind in WITH_SIGIO {
            let t = Thing::new(kind);
            ask(&t.r);
            for _ in 0..3 {
                t.put().unwrap();
                assert_eq!(came_of(Some(&t.r)), [IN], "{kind:?}");
            }
            t.take().unwrap();
            assert_eq!(came(), [], "{kind:?}");
            fork_run(|| (0..4).for_each(|_| assert!(t.put().is_ok()))).succeeds();
            assert_eq!(came_of(Some(&t.r)), [IN; 4], "{kind:?}");
        }
    }
);

both_worlds!(
    room_is_a_signal_to_the_writer,
    worlds = armed,
    timeout = 60,
    {
        for kind in WITH_SIGIO {
            let t = Thing::new(kind);
            ask(&t.w);
            t.fill();
            let _ = came();
            fork_run(|| t.make_room()).succeeds();
            let codes = came_of(Some(&t.w));
            assert!(codes.contains(&OUT), "{kind:?}: {codes:?}");
            assert!(codes.iter().all(|c| *c == OUT), "{kind:?}: {codes:?}");
        }
    }
);

both_worlds!(
    the_end_of_the_other_side_is_a_signal,
    worlds = armed,
    timeout = 60,
    {
        for kind in WITH_SIGIO {
            let t = Thing::new(kind);
            ask(&t.r);
            drop(t.w);
            let codes = came();
            match kind {
                Kind::Pipe | Kind::Fifo => assert_eq!(codes, [IN], "{kind:?}"),
                Kind::Datagram => assert_eq!(codes, [], "{kind:?}"),
                _ => assert_eq!(codes, [HUP], "{kind:?}"),
            }
        }
    }
);

both_worlds!(it_ends_with_the_flag, worlds = armed, timeout = 60, {
    for kind in WITH_SIGIO {
        let t = Thing::new(kind);
        ask(&t.r);
        let mut off = 0;
        ioctl_int(&t.r, FIOASYNC, &mut off).unwrap();
        assert_eq!(status_flags(&t.r) & O_ASYNC, 0);
        t.put().unwrap();
        assert_eq!(came(), [], "{kind:?}");
        let mut on = 1;
        ioctl_int(&t.r, FIOASYNC, &mut on).unwrap();
        assert_eq!(status_flags(&t.r) & O_ASYNC, O_ASYNC);
        t.put().unwrap();
        assert_eq!(came(), [IN], "{kind:?}");
    }
});

both_worlds!(
    another_process_may_be_the_owner,
    worlds = armed,
    timeout = 60,
    {
        for kind in WITH_SIGIO {
            let (t, s) = (Thing::new(kind), Shared::new());
            sig::block(sig::bit(number()));
            let owner = fork_run(|| {
                s.set(0, 1);
                let info = sig::wait_info(sig::bit(number()), None).unwrap();
                assert_eq!((info.code, info.value() as c_int), (IN, t.r.number()));
            });
            s.wait_for(0, 1);
            fcntl(&t.r, F_SETSIG, number() as usize).unwrap();
            fcntl(&t.r, F_SETOWN, owner.pid() as usize).unwrap();
            set_status_flags(&t.r, status_flags(&t.r) | O_ASYNC).unwrap();
            t.put().unwrap();
            owner.succeeds();
            assert_eq!(came(), [], "{kind:?}");
        }
    }
);

both_worlds!(
    a_group_or_one_thread_may_be_the_owner,
    worlds = armed,
    timeout = 60,
    {
        const F_OWNER_TID: c_int = 0;
        for kind in WITH_SIGIO {
            let t = Thing::new(kind);
            ask(&t.r);
            // SAFETY: no argument.
            let group = unsafe { libc::getpgrp() };
            fcntl(&t.r, F_SETOWN, -group as usize).unwrap();
            let child = fork_run(|| {
                assert_eq!(sig::wait_info(sig::bit(number()), None).unwrap().code, IN);
            });
            child.sleeping();
            // (The processes above this one block it not, and must not get it.)
            fcntl(&t.r, F_SETOWN, child.pid() as usize).unwrap();
            t.put().unwrap();
            child.succeeds();
            let me = [F_OWNER_TID, gettid()];
            fcntl(&t.r, F_SETOWN_EX, me.as_ptr() as usize).unwrap();
            t.put().unwrap();
            assert_eq!(came_of(Some(&t.r)), [IN], "{kind:?}");
        }
    }
);

both_worlds!(
    a_handler_drives_a_whole_transfer,
    worlds = armed,
    timeout = 60,
    {
        const BYTES: usize = 200_000;
        for kind in [Kind::Pipe, Kind::Fifo, Kind::Stream] {
            let t = Thing::new(kind);
            signal::count(SIGIO, SA_RESTART);
            fcntl(&t.r, F_SETOWN, getpid() as usize).unwrap();
            set_status_flags(&t.r, status_flags(&t.r) | O_ASYNC).unwrap();
            let writer = fork_run(|| {
                set_nonblocking(&t.w, false);
                write_all(&t.w, &stream(0, BYTES));
            });
            let (mut got, mut seen) = (Vec::new(), 0);
            while got.len() < BYTES {
                // Nothing tells of new bytes but the signal.
                wait_until(|| signal::seen(SIGIO) > seen);
                seen = signal::seen(SIGIO);
                got.extend(drain(&t.r));
            }
            assert_eq!(got, stream(0, BYTES), "{kind:?}");
            writer.succeeds();
        }
    }
);
