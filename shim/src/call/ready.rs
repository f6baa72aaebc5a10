//! poll, select, epoll: whatever is asked about is watched from then on, and the kernel answers
//! by the twins.

use core::sync::atomic::Ordering::*;

use ringer_kernel::file::PipeEnd;
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::watch::{self, watched};
use ringer_kernel::pipe::Ctx;

use crate::demotion;
use crate::entry::{Entry, Verdict};
use crate::host::Shim;
use crate::twin::Ends;
use crate::user;

use super::{has_ours, lookup};

/// Mirrors the pipe's readiness into its twin from now on. Where its other end can not be opened,
/// the pipe goes to the kernel, and if not even that is possible, it stays as it is.
pub fn watch_pipe(k: &Ctx<'_, Shim>, fd: i32, e: &PipeEnd, how: u32) {
    if !e.pipe.is_ring() {
        let _ = super::by_kernel(k, fd, e);
        return;
    }
    match Ends::both(e, fd) {
        Some(twin) => watch::watch(k, e.pipe, &twin, how),
        None => {
            demotion::demote(k, fd, e, Cause::Transfer);
        }
    }
}

/// One descriptor is about to be asked about.
pub fn will_ask(entry: &Entry, fd: i32, how: u32) {
    if let Some((_, e)) = lookup(entry, fd) {
        super::count_hook(entry);
        if e.pipe.watched.load(Acquire) & how != how || !e.pipe.is_ring() {
            if let Some(k) = entry.ctx(fd) {
                watch_pipe(&k, fd, &e, how);
            }
        }
    }
}

/// poll(2), ppoll(2): `fds` is the program's array.
pub fn poll(entry: &Entry, fds: usize, count: usize) -> Verdict {
    if has_ours() {
        for i in 0..count.min(1 << 20) {
            // struct pollfd: int fd; short events, revents.
            let Some(fd) = user::fetch::<i32>(fds.wrapping_add(i * 8)) else {
                break;
            };
            if fd >= 0 {
                will_ask(entry, fd, watched::LEVEL);
            }
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
