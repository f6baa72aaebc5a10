//! eventfd(2), and read and write on one.

use core::sync::atomic::Ordering::*;

use ringer_kernel::abi::{SysError, SysResult};
use ringer_kernel::arena::header::flag;
use ringer_kernel::eventfd::{self, Mode, New};
use ringer_kernel::file::{self, fd_table, role, EventfdFile, FileRef};
use ringer_kernel::log::{Cause, Kind};
use ringer_kernel::pipe::{mode, Ctx};
use ringer_kernel::sys::{eventfd_read, eventfd_write, Blocking};
use ringer_kernel::task::reap::forget_descriptor;
use ringer_kernel::task::Process;

use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::host::Shim;
use crate::twin::TwinEnd;
use crate::user::{access_ok, Flat};
use crate::{arm, attach, demotion, procfs};

use super::{by_kernel, count_hook, io, verdict};

/// eventfd2(2). The real one is made first: the kernel judges flags, limits and numbers. While ringer
/// serves it, the real counter is 0.
pub fn eventfd2(entry: &Entry, initial: u32, flags: i32) -> Verdict {
    let fd = sys!(libc::SYS_eventfd2, 0, flags);
    if fd < 0 {
        return Verdict::Done(fd);
    }
    let fd = fd as i32;
    if emulate(entry, fd, initial, flags).is_none() && initial != 0 {
        add(fd, u64::from(initial));
    }
    Verdict::Done(fd as isize)
}

/// Adds to a real counter.
pub fn add(fd: i32, n: u64) -> bool {
    sys!(libc::SYS_write, fd, &raw const n, size_of::<u64>()) == size_of::<u64>() as isize
}

/// Puts a counter of ringer's on a new eventfd. Where that fails, the kernel's serves.
fn emulate(entry: &Entry, fd: i32, initial: u32, flags: i32) -> Option<()> {
    if demotion::is_apart() || !attach::ensure_process() || !arm::arm(entry) {
        return None;
    }
    let k = entry.ctx(fd)?;
    let p = entry.process()?;
    let serves = attach::emulates(flag::EMULATE_EVENTFD);
    let new = New {
        count: if serves { u64::from(initial) } else { 0 },
        how: match flags & libc::EFD_SEMAPHORE {
            0 => Mode::Counter,
            _ => Mode::Semaphore,
        },
        twin: procfs::eventfd_id(fd)?,
        mode: if serves { mode::RING } else { mode::KERNEL },
    };
    let slot = eventfd::create(&k, new).ok()?;
    let e = eventfd::get(k.arena, slot)?;
    let keep = (flags & libc::O_NONBLOCK) as u32;
    let file = file::new_file_of(k.arena, k.me, k.host, (role::EVENTFD, slot), keep).ok();
    let installed = file.map(|f| fd_table::install(k.arena, k.me, k.host, p, fd, f));
    match installed {
        Some(Ok(0)) => {}
        // Closed behind our back, and its number used again.
        Some(Ok(stale)) => forget_descriptor(&k, stale, |_| false),
        Some(Err(_)) | None => {
            if let Some(f) = file {
                file::close_ref(k.arena, k.me, k.host, f);
            }
            eventfd::release_if(&k, slot, e.generation.load(Acquire));
            return None;
        }
    }
    let made = (i64::from(fd), u64::from(initial), flags as u64);
    k.log.about(e, Kind::EventfdCreate, 0, made);
    if !serves {
        e.demote_cause.store(Cause::Observed.raw(), Relaxed);
        return None; // the kernel's own counter gets the initial value
    }
    Some(())
}

fn blocking(e: &EventfdFile) -> Blocking {
    match e.file.has(libc::O_NONBLOCK as u32) {
        true => Blocking::No,
        false => Blocking::Yes,
    }
}

fn twin(p: &'static Process, e: &EventfdFile, fd: i32) -> TwinEnd {
    TwinEnd {
        fd,
        file_slot: e.file_slot(),
        process: p,
        end: None,
    }
}

/// `call` is carried out if ringer serves the eventfd; otherwise it is the kernel's.
#[inline(always)]
fn serve(
    entry: &Entry,
    (p, e): (&'static Process, EventfdFile),
    fd: i32,
    (buf, len): (usize, usize),
    call: impl FnOnce(&Ctx<'_, Shim>, &EventfdFile, &TwinEnd) -> SysResult,
) -> Verdict {
    if !access_ok(buf, len) {
        return Verdict::errno(libc::EFAULT);
    }
    let Some(k) = entry.ctx(fd) else {
        return Verdict::Pass;
    };
    if !e.eventfd.is_served() {
        return by_kernel(&k, fd, &FileRef::Eventfd(e));
    }
    count_hook(entry);
    let result = call(&k, &e, &twin(p, &e, fd));
    if result == Err(SysError::Demoted) {
        return by_kernel(&k, fd, &FileRef::Eventfd(e)); // what was kept for the call is still of use
    }
    io::settle(entry, &k);
    verdict(result)
}

/// read(2).
pub fn read(
    entry: &Entry,
    found: (&'static Process, EventfdFile),
    fd: i32,
    buf: usize,
    len: usize,
) -> Verdict {
    serve(entry, found, fd, (buf, len), |k, e, twin| {
        eventfd_read(k, e, twin, blocking(e), &mut Flat::new(buf), len)
    })
}

/// write(2).
pub fn write(
    entry: &Entry,
    found: (&'static Process, EventfdFile),
    fd: i32,
    buf: usize,
    len: usize,
) -> Verdict {
    serve(entry, found, fd, (buf, len), |k, e, twin| {
        eventfd_write(k, e, twin, blocking(e), &mut Flat::new(buf), len)
    })
}
