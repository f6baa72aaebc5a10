//! poll, select, epoll: whatever is asked about is watched from then on, and the kernel answers
//! by the twins.

use core::sync::atomic::Ordering::*;

use ringer_kernel::file::{FileRef, PipeEnd};
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::watch::{self, watched};
use ringer_kernel::pipe::Ctx;

use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::host::Shim;
use crate::twin::Ends;
use crate::user;
use crate::{demotion, fresh};

use super::{has_ours, lookup};

/// Mirrors the pipe's readiness into its twin from now on. Where its other end can not be opened,
/// the pipe goes to the kernel, and if not even that is possible, it stays as it is.
pub fn watch_pipe(k: &Ctx<'_, Shim>, fd: i32, e: &PipeEnd, how: u32) {
    if !e.pipe.is_ring() {
        let _ = super::by_kernel(k, fd, &FileRef::Pipe(*e));
        return;
    }
    match Ends::both(e, fd) {
        Some(twin) => watch::watch(k, e.pipe, &twin, how),
        None => {
            demotion::demote_pipe(k, fd, e, Cause::Transfer);
        }
    }
}

/// One descriptor is about to be asked about. A pipe is watched; of anything else the kernel tells
/// the readiness itself, and serves it: to mirror each change would cost a call of it each time.
pub fn will_ask(entry: &Entry, fd: i32, how: u32) {
    fresh::forget(fd);
    let Some((p, found)) = lookup(entry, fd) else {
        return;
    };
    super::count_hook(entry);
    if let FileRef::Mq(e) = &found {
        return super::mq::watch(entry, p, e, fd, how);
    }
    let ready = match &found {
        FileRef::Pipe(e) => e.pipe.watched.load(Acquire) & how == how && e.pipe.is_ring(),
        other => other.is_kernels(),
    };
    if ready {
        return;
    }
    let Some(k) = entry.ctx(fd) else { return };
    match &found {
        FileRef::Pipe(e) => watch_pipe(&k, fd, e, how),
        other => {
            if let FileRef::Socket(s) = other {
                super::accept::note_polled(&k, s.pair, s.side());
            }
            demotion::demote(&k, fd, other, Cause::Polled);
        }
    }
}

/// struct pollfd: int fd; short events, revents.
const POLLFD: usize = 8;
const REVENTS: usize = 6;

/// Whether it is to be told that the peer of this socket went without reading everything, which its
/// twin does not know.
fn has_reset(entry: &Entry, fd: i32) -> bool {
    let Some((_, FileRef::Socket(s))) = lookup(entry, fd) else {
        return false;
    };
    entry.ctx(fd).is_some_and(|k| {
        s.pair.is_served()
            && s.pair.has_reset(k.arena, s.side())
            && crate::peer::is_gone(&k, fd, &s.id())
    })
}

/// poll(2) of descriptors of which one has an error at least: there is nothing to wait for.
#[cold]
fn poll_resets(entry: &Entry, fds: usize, count: usize) -> Verdict {
    const POLLERR: i16 = 8;
    let n = sys!(libc::SYS_poll, fds, count, 0);
    for at in (0..count).map(|i| fds.wrapping_add(i * POLLFD)) {
        let Some(fd) = user::fetch::<i32>(at).filter(|_| n > 0) else {
            break;
        };
        if has_reset(entry, fd) {
            let told = user::fetch::<i16>(at + REVENTS).unwrap_or(0);
            user::put(at + REVENTS, &(told | POLLERR));
        }
    }
    Verdict::Done(n)
}

/// poll(2), ppoll(2): `fds` is the program's array.
pub fn poll(entry: &Entry, fds: usize, count: usize) -> Verdict {
    if has_ours() {
        let mut any_reset = false;
        for i in 0..count.min(1 << 20) {
            let Some(fd) = user::fetch::<i32>(fds.wrapping_add(i * POLLFD)) else {
                break;
            };
            if fd >= 0 {
                will_ask(entry, fd, watched::LEVEL);
                any_reset |= has_reset(entry, fd);
            }
        }
        if any_reset {
            return poll_resets(entry, fds, count);
        }
    }
    Verdict::Pass
}

/// select(2), pselect(2): three bit sets of `count` descriptors.
pub fn select(entry: &Entry, count: i32, sets: [usize; 3]) -> Verdict {
    if has_ours() {
        let words = (count.clamp(0, 1 << 20) as usize).div_ceil(64);
        for set in sets.into_iter().filter(|&s| s != 0) {
            for i in 0..words {
                let Some(bits) = user::fetch::<u64>(set.wrapping_add(i * 8)) else {
                    break;
                };
                for bit in (0..64).filter(|b| bits & 1 << b != 0) {
                    let fd = (i * 64 + bit) as i32;
                    if fd < count {
                        will_ask(entry, fd, watched::LEVEL);
                    }
                }
            }
        }
    }
    Verdict::Pass
}

/// epoll_ctl(2).
pub fn epoll_ctl(entry: &Entry, fd: i32) -> Verdict {
    will_ask(entry, fd, watched::LEVEL | watched::WRITES);
    Verdict::Pass
}
