//! A new program image finds the descriptors that came through exec: each is checked against its
//! twin, by st_dev and st_ino.

use ringer_kernel::arena::Arena;
use ringer_kernel::file::{self, fd_table, End};
use ringer_kernel::log::Kind;
use ringer_kernel::pipe::{self, Ctx};
use ringer_kernel::task::reap::forget_descriptor;

use core::sync::atomic::Ordering::*;

use crate::entry::Entry;
use crate::gate::sys;
use crate::host::Shim;
use crate::{arm, rescue};

/// st_dev, st_ino and the access mode of a descriptor. `None`: it is closed.
pub fn identity(fd: i32) -> Option<(u64, u64, u32)> {
    // SAFETY: all zero is a valid stat.
    let mut st: libc::stat = unsafe { core::mem::zeroed() };
    (sys!(libc::SYS_fstat, fd, &raw mut st) == 0).then_some((st.st_dev, st.st_ino, st.st_mode))
}

/// The table stayed in the arena: what exec closed is taken out.
pub fn from_table(entry: &Entry) {
    let Some(p) = entry.process() else { return };
    if p.fd_count.load(Relaxed) == 0 {
        return;
    }
    let Some(k) = entry.ctx(-1) else { return };
    if !arm::arm(entry) {
        return no_dispatch(entry);
    }
    fd_table::for_each(k.arena, p, 0, fd_table::MAX_FDS, |fd, slot| {
        let still = fd_table::pipe_end(k.arena, slot)
            .is_some_and(|e| identity(fd).is_some_and(|(dev, ino, _)| e.pipe.is_twin(dev, ino)));
        if still {
            log_adoption(&k, fd, slot);
        } else {
            let slot = fd_table::take(k.arena, p, fd);
            if slot != 0 {
                forget_descriptor(&k, slot, |_| true);
            }
        }
    });
}

/// Nobody announced this process: its open descriptors are compared with the session's pipes.
pub fn from_descriptors(entry: &Entry) {
    match entry.ctx(-1) {
        Some(k) => each_descriptor(|fd| adopt(entry, &k, fd)),
        None => rescue::descriptors(),
    }
}

/// Calls `f` for every descriptor that is open.
pub fn each_descriptor(mut f: impl FnMut(i32)) {
    let dir = sys!(
        libc::SYS_openat,
        libc::AT_FDCWD,
        c"/proc/self/fd".as_ptr(),
        libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC,
        0
    );
    if dir < 0 {
        (0..256).for_each(f);
        return;
    }
    let mut buf = [0u8; 2048];
    loop {
        let n = sys!(libc::SYS_getdents64, dir, buf.as_mut_ptr(), buf.len());
        let Some(mut entries) = usize::try_from(n).ok().and_then(|n| buf.get(..n)) else {
            break;
        };
        if entries.is_empty() {
            break;
        }
        // struct linux_dirent64: 8 ino, 8 off, 2 reclen, 1 type, name
        while let (Some(&[lo, hi]), Some(name)) = (entries.get(16..18), entries.get(19..)) {
            let digits = name.iter().take_while(|b| b.is_ascii_digit());
            let (fd, any) = digits.fold((0i64, false), |(n, _), b| {
                (n.wrapping_mul(10).wrapping_add(i64::from(b - b'0')), true)
            });
            if any && fd as isize != dir {
                f(fd as i32);
            }
            let len = usize::from(u16::from_ne_bytes([lo, hi])).max(19);
            entries = entries.get(len..).unwrap_or(&[]);
        }
    }
    sys!(libc::SYS_close, dir);
}

/// Which of the session's pipes `fd` is an end of, its end, and its status flags. `None`: of none.
pub fn pipe_of(arena: &Arena, fd: i32) -> Option<(u32, Option<End>, i32)> {
    let (dev, ino, file_mode) = identity(fd)?;
    if file_mode & libc::S_IFMT != libc::S_IFIFO {
        return None;
    }
    let used = arena.header().pipes_used.load(Relaxed);
    let pipe_slot = (1..used).find(|&slot| {
        pipe::get(arena, slot)
            .is_some_and(|p| p.mode.load(Acquire) != pipe::mode::FREE && p.is_twin(dev, ino))
    })?;
    let flags = sys!(libc::SYS_fcntl, fd, libc::F_GETFL) as i32;
    if flags & libc::O_PATH != 0 {
        return None; // names the pipe, opens nothing
    }
    let end = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => Some(End::Read),
        libc::O_WRONLY => Some(End::Write),
        // Both at once (O_RDWR on /proc/self/fd/N): the ring has no such description.
        _ => None,
    };
    Some((pipe_slot, end, flags))
}

/// Takes `fd` up if it is an end of one of the session's pipes. Its description is a new one
/// unless there is one of that end already.
pub fn adopt(entry: &Entry, k: &Ctx<'_, Shim>, fd: i32) {
    let (Some((pipe_slot, end, flags)), Some(process)) = (pipe_of(k.arena, fd), entry.process())
    else {
        return;
    };
    let Some(end) = end else {
        crate::demotion::demote_slot(k, fd, pipe_slot, ringer_kernel::log::Cause::Transfer);
        return;
    };
    if !arm::arm(entry) {
        return no_dispatch(entry);
    }
    let keep = (libc::O_NONBLOCK | libc::O_DIRECT | libc::O_ASYNC) as u32;
    let Ok(slot) = file::new_file(k.arena, k.me, k.host, pipe_slot, end, flags as u32 & keep)
    else {
        crate::demotion::demote_slot(k, fd, pipe_slot, ringer_kernel::log::Cause::NoMemory);
        return;
    };
    match fd_table::install(k.arena, k.me, k.host, process, fd, slot) {
        Ok(0) => {}
        Ok(old) => {
            file::close_ref(k.arena, k.me, k.host, old);
        }
        Err(_) => {
            file::close_ref(k.arena, k.me, k.host, slot);
            crate::demotion::demote_slot(k, fd, pipe_slot, ringer_kernel::log::Cause::NoMemory);
            return;
        }
    }
    log_adoption(k, fd, slot);
}

fn log_adoption(k: &Ctx<'_, Shim>, fd: i32, slot: u32) {
    if let (true, Some(e)) = (k.log.is_on(), fd_table::pipe_end(k.arena, slot)) {
        let mut log = k.log;
        log.fd = fd;
        log.layer = ringer_kernel::log::layer::OWN;
        log.pipe(
            e.pipe,
            Kind::Adopt,
            0,
            (i64::from(e.end == End::Write), 0, 0),
        );
    }
}

/// Without dispatch nothing may be emulated: what came through exec goes to the kernel.
fn no_dispatch(entry: &Entry) {
    crate::demotion::demote_all(entry, ringer_kernel::log::Cause::NoDispatch);
}
