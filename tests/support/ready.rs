//! Readiness: poll(2), select(2), epoll(7).

use crate::fd::{Descriptor, Fd};
use crate::{check, Sys};
use libc::{c_int, epoll_event, pollfd, timespec};
use std::mem::MaybeUninit;
use std::ptr::null_mut;

pub use libc::{
    EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLL_CTL_ADD, EPOLL_CTL_DEL,
    EPOLL_CTL_MOD, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLRDNORM, POLLWRNORM,
};

pub fn poll(fds: &mut [pollfd], timeout_ms: c_int) -> Sys {
    // SAFETY: a valid array.
    check(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) })
}

pub fn pollfd(fd: impl Descriptor, events: i16) -> libc::pollfd {
    libc::pollfd {
        fd: fd.number(),
        events,
        revents: 0,
    }
}

/// `revents` of one descriptor, asked for everything, now.
pub fn poll_now(fd: impl Descriptor) -> i16 {
    let everything = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | libc::POLLPRI | libc::POLLRDHUP;
    let mut p = [pollfd(fd, everything)];
    let n = poll(&mut p, 0).expect("poll");
    assert_eq!(
        n,
        usize::from(p[0].revents != 0),
        "poll counts those with revents"
    );
    p[0].revents
}

/// `revents` of one descriptor, when there are any.
pub fn poll_until(fd: impl Descriptor, events: i16) -> i16 {
    let mut p = [pollfd(fd, events)];
    assert_eq!(poll(&mut p, -1), Ok(1));
    p[0].revents
}

pub fn milliseconds(ms: i64) -> timespec {
    timespec {
        tv_sec: ms / 1000,
        tv_nsec: ms % 1000 * 1_000_000,
    }
}

pub fn ppoll(fds: &mut [pollfd], timeout: Option<timespec>, mask: Option<libc::sigset_t>) -> Sys {
    let timeout = timeout.as_ref().map_or(std::ptr::null(), |t| t);
    let mask = mask.as_ref().map_or(std::ptr::null(), |m| m);
    // SAFETY: a valid array; timeout and mask valid or null.
    check(unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout, mask) })
}

/// A set for select(2).
#[derive(Clone, Copy)]
pub struct FdSet(libc::fd_set);

impl FdSet {
    pub fn of(fds: &[c_int]) -> FdSet {
        let mut set = MaybeUninit::<libc::fd_set>::zeroed();
        for fd in fds {
            assert!((0..libc::FD_SETSIZE as c_int).contains(fd));
            // SAFETY: zeroed is empty; the number is in range.
            unsafe { libc::FD_SET(*fd, set.as_mut_ptr()) };
        }
        // SAFETY: an array of integers.
        FdSet(unsafe { set.assume_init() })
    }

    pub fn has(&self, fd: impl Descriptor) -> bool {
        // SAFETY: a valid set, and a number that was put in, so in range.
        unsafe { libc::FD_ISSET(fd.number(), &self.0) }
    }
}

/// What select(2) left in the three sets.
pub struct Selected {
    pub count: Sys,
    pub read: FdSet,
    pub write: FdSet,
    pub except: FdSet,
}

/// select(2) or pselect(2) of descriptors to read and to write; each of them also for exceptions.
pub fn select(read: &[c_int], write: &[c_int], ms: Option<i64>, how: Select) -> Selected {
    let all: Vec<c_int> = [read, write].concat();
    let n = all.iter().max().map_or(0, |fd| fd + 1);
    let (mut r, mut w, mut e) = (FdSet::of(read), FdSet::of(write), FdSet::of(&all));
    let count = match how {
        Select::Timeval => {
            let mut tv = ms.map(|ms| libc::timeval {
                tv_sec: ms / 1000,
                tv_usec: ms % 1000 * 1000,
            });
            let tv = tv.as_mut().map_or(null_mut(), |t| t as *mut _);
            // SAFETY: three valid sets, and a valid time or null.
            unsafe { libc::select(n, &mut r.0, &mut w.0, &mut e.0, tv) }
        }
        Select::Timespec => {
            let ts = ms.map(milliseconds);
            let ts = ts.as_ref().map_or(std::ptr::null(), |t| t);
            let mask = std::ptr::null();
            // SAFETY: three valid sets, and a valid time or null.
            unsafe { libc::pselect(n, &mut r.0, &mut w.0, &mut e.0, ts, mask) }
        }
    };
    Selected {
        count: check(count),
        read: r,
        write: w,
        except: e,
    }
}

#[derive(Clone, Copy)]
pub enum Select {
    /// select(2)
    Timeval,
    /// pselect(2)
    Timespec,
}

/// An epoll(7) instance.
pub struct Epoll(pub Fd);

impl Default for Epoll {
    fn default() -> Self {
        Epoll::new()
    }
}

impl Epoll {
    pub fn new() -> Epoll {
        // SAFETY: a number.
        Epoll(Fd::own(
            check(unsafe { libc::epoll_create1(0) }).expect("epoll_create1"),
        ))
    }

    pub fn ctl(&self, op: c_int, fd: impl Descriptor, events: c_int, data: u64) -> Sys {
        let mut event = epoll_event {
            events: events as u32,
            u64: data,
        };
        // SAFETY: a valid event.
        check(unsafe { libc::epoll_ctl(self.0.number(), op, fd.number(), &mut event) })
    }

    /// Adds a descriptor; its number is the event's data.
    pub fn add(&self, fd: impl Descriptor, events: c_int) {
        self.ctl(EPOLL_CTL_ADD, fd, events, fd.number() as u64)
            .expect("EPOLL_CTL_ADD");
    }

    pub fn modify(&self, fd: impl Descriptor, events: c_int) {
        self.ctl(EPOLL_CTL_MOD, fd, events, fd.number() as u64)
            .expect("EPOLL_CTL_MOD");
    }

    /// Events and data, in the order in which epoll_wait(2) gave them.
    pub fn wait(&self, timeout_ms: c_int) -> Result<Vec<(c_int, u64)>, i32> {
        let mut events = [epoll_event { events: 0, u64: 0 }; 16];
        let (at, room) = (events.as_mut_ptr(), events.len() as c_int);
        // SAFETY: room for that many events.
        let n = check(unsafe { libc::epoll_wait(self.0.number(), at, room, timeout_ms) })?;
        Ok(events[..n]
            .iter()
            .map(|e| (e.events as c_int, e.u64))
            .collect())
    }

    /// The events of the only descriptor in it, or 0: without waiting.
    pub fn now(&self) -> c_int {
        let events = self.wait(0).expect("epoll_wait");
        assert!(events.len() <= 1, "{events:?}");
        events.first().map_or(0, |e| e.0)
    }
}

/// eventfd(2).
pub fn eventfd(initial: u32) -> Fd {
    // SAFETY: numbers.
    Fd::own(check(unsafe { libc::eventfd(initial, libc::EFD_NONBLOCK) }).expect("eventfd"))
}
