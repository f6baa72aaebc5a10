//! signalfd(2). The descriptor is the kernel's, and so is what it says to poll and epoll: once it is asked,
//! its signals are left to the kernel for good. Until then a read takes from the inbox what is there.

use core::sync::atomic::Ordering::*;

use ringer_kernel::arena::header::flag;
use ringer_kernel::file::{self, fd_table, role, FileRef, SignalfdFile};
use ringer_kernel::signal::{Siginfo, Taken};

use crate::entry::{Entry, Verdict};
use crate::tls::tls;
use crate::{adopt, attach, inbox, observe, procfs, siglog, signal, user};

use super::{lookup, rights};

/// struct signalfd_siginfo: bytes, and where the fields are that a signal from a process has.
const RECORD: usize = 128;
type Record = [u32; RECORD / 4];

/// A descriptor was made, or has this mask from now on.
pub fn made(fd: i32, mask: u64) {
    let tls = tls();
    inbox::gains(tls);
    let mask = mask & !signal::UNBLOCKABLE;
    if attach::has(flag::OBSERVE) {
        if attach::has(flag::LOG) && observe::begin() {
            let entry = Entry::enter();
            let _ = name(&entry, fd, mask);
            let _ = entry.leave();
        }
        return;
    }
    if inbox::is_open(tls) {
        let entry = Entry::enter();
        let known = name(&entry, fd, mask);
        let _ = entry.leave();
        if known.is_some() {
            return;
        }
    }
    inbox::leave_to_kernel(tls, mask);
}

/// recvmsg(2) has filled in `message`: a signalfd that came with it is to be known as well.
pub fn received(message: usize) {
    if !inbox::is_open(tls()) {
        inbox::look_again();
        return;
    }
    rights::each_right(message, |fd| {
        let is_anonymous = adopt::identity(fd).is_some_and(|(_, _, mode)| mode & libc::S_IFMT == 0);
        if !is_anonymous {
            return;
        }
        if let Some(mask) = procfs::signalfd_mask(fd) {
            made(fd, mask);
        }
    });
}

/// Puts it into the table, so that a read finds it.
fn name(entry: &Entry, fd: i32, mask: u64) -> Option<()> {
    match lookup(entry, fd) {
        Some((_, FileRef::Signalfd(s))) => {
            s.set_mask(mask);
            return Some(());
        }
        Some(_) => return None,
        None => {}
    }
    let (k, p) = (entry.ctx(fd)?, entry.process()?);
    let names = (role::SIGNALFD, mask as u32);
    let slot = file::new_file_of(k.arena, k.me, k.host, names, 0).ok()?;
    let file = file::file(k.arena, slot)?;
    file.generation.store((mask >> 32) as u32, Relaxed);
    match fd_table::install(k.arena, k.me, k.host, p, fd, slot) {
        Ok(_) => Some(()),
        Err(_) => {
            file::close_ref(k.arena, k.me, k.host, slot);
            None
        }
    }
}

/// read(2).
///
/// - a buffer shorter than a record: EINVAL. [signalfd(2), the kernel]
/// - as many records as there are signals and room. [signalfd(2)]
pub fn read(entry: &Entry, s: &SignalfdFile, buf: usize, len: usize) -> Verdict {
    let tls = entry.tls;
    let mask = s.mask();
    if len < RECORD || !inbox::is_open(tls) || inbox::is_by_kernel(mask) {
        return Verdict::Pass;
    }
    let kernel_first = inbox::kernel_is_first(tls, mask);
    inbox::reopen(tls);
    let mut done = 0;
    while !kernel_first && done + RECORD <= len {
        let Some(taken) = inbox::take_inside(tls, mask) else {
            break;
        };
        siglog::accepted(&taken);
        if !user::put(buf.wrapping_add(done), &record(&taken)) {
            // The kernel, too, has taken it by then.
            if done == 0 {
                return Verdict::errno(libc::EFAULT);
            }
            break;
        }
        done += RECORD;
    }
    if done > 0 {
        return Verdict::Done(done as isize);
    }
    // The kernel waits, and has everything meanwhile. It stays shut until the next read.
    inbox::hand_over(tls);
    Verdict::Pass
}

/// (Linux v6.18 fs/signalfd.c signalfd_copyinfo: of a signal that a process has sent)
fn record(taken: &Taken) -> Record {
    let info: &Siginfo = &taken.info;
    let [first, code, sender, value, ..] = *info;
    let mut record: Record = [0; RECORD / 4];
    let fields = [
        (0, first as u32),          // ssi_signo
        (1, (first >> 32) as u32),  // ssi_errno
        (2, code as u32),           // ssi_code
        (3, sender as u32),         // ssi_pid
        (4, (sender >> 32) as u32), // ssi_uid
    ];
    for (i, word) in fields {
        if let Some(to) = record.get_mut(i) {
            *to = word;
        }
    }
    // Of kill(2)'s there is no more; sigqueue(3)'s and tgkill(2)'s have a value. (SIL_KILL, SIL_RT)
    if (code as i32) < 0 {
        let value = [
            (11, value as u32),
            (12, value as u32),
            (13, (value >> 32) as u32),
        ];
        for (i, word) in value {
            if let Some(to) = record.get_mut(i) {
                *to = word; // ssi_int, ssi_ptr
            }
        }
    }
    record
}
