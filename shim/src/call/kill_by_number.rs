//! Sending by a program's own `syscall` instruction: kill(2), tkill(2), tgkill(2), rt_sigqueueinfo(2),
//! rt_tgsigqueueinfo(2). What is blocked where it goes is left in the inbox there, as by libc's functions (kill.rs): so signals
//! of one number meet, and keep their order, however they were sent.

use ringer_kernel::arena::header::flag;
use ringer_kernel::signal::{bit, Siginfo, State};

use super::kill::{self, info};
use super::stop;
use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::tls::Tls;
use crate::{attach, blocked, inbox, procfs, siglog, user};

/// What such a call says. `tid`: 0 for the process.
struct Call {
    pid: i32,
    tid: i32,
    sig: i32,
    code: i32,
    /// The program's own siginfo, as far as the kernel takes it.
    given: Option<Siginfo>,
}

/// The first 48 bytes are the kernel's; what is behind is zero. (include/linux/signal_types.h kernel_siginfo)
const KEPT: usize = 6;

/// What a siginfo says that is not there: nothing that anybody may send. (EFAULT)
const UNREADABLE: i32 = i32::MAX;

fn given(at: usize, sig: usize) -> Option<Siginfo> {
    let mut info = user::fetch::<Siginfo>(at)?;
    info.iter_mut().skip(KEPT).for_each(|word| *word = 0);
    let [first, ..] = &mut info;
    *first = *first & !0xffff_ffff | sig as u64 & 0xffff_ffff;
    Some(info)
}

impl Call {
    fn of(nr: i64, [a, b, c, d, ..]: [usize; 6]) -> Call {
        let (pid, tid, sig, code, given) = match nr {
            libc::SYS_kill => (a, 0, b, libc::SI_USER, None),
            libc::SYS_tkill => (a, a, b, libc::SI_TKILL, None),
            libc::SYS_tgkill => (a, b, c, libc::SI_TKILL, None),
            libc::SYS_rt_sigqueueinfo => (a, 0, b, UNREADABLE, given(c, b)),
            _ => (a, b, c, UNREADABLE, given(d, c)),
        };
        Call {
            pid: pid as i32,
            tid: tid as i32,
            sig: sig as i32,
            code: given.as_ref().map_or(code, siglog::code),
            given,
        }
    }

    /// Leaves it where it is blocked. `None`: by the kernel.
    fn leave(&self, entry: &Entry) -> Option<isize> {
        let is_plain = match self.given {
            Some(_) => self.code == libc::SI_QUEUE,
            None => matches!(self.code, libc::SI_USER | libc::SI_TKILL),
        };
        let is_one = self.pid > 0 && (self.tid == 0 || self.tid == self.pid);
        if !is_plain || !is_one || !attach::emulates(flag::EMULATE_SIGNAL) {
            return None;
        }
        let me = attach::pid()?;
        let target = self.target(entry.tls, me)?;
        let sent = self
            .given
            .unwrap_or_else(|| info(self.sig, self.code, me, 0));
        kill::leave_in(entry, target, self.sig, self.tid != 0, &sent)
    }

    fn target(&self, tls: &Tls, me: u32) -> Option<(&'static State, u32)> {
        use core::sync::atomic::Ordering::*;
        if tls.in_vfork.get() != 0 {
            return None;
        }
        if self.pid as u32 == me {
            let blocks = inbox::is_open(tls) && blocked::mask(tls) & bit(self.sig) != 0;
            let s = inbox::state(tls).filter(|_| blocks)?;
            return Some((s, s.opened.load(Relaxed)));
        }
        inbox::of_other(self.pid as u32).filter(|(s, _)| s.uid.load(Relaxed) == kill::uid())
    }
}

pub fn call(entry: &Entry, nr: i64, args: [usize; 6]) -> Verdict {
    let call = Call::of(nr, args);
    if bit(call.sig) == 0 {
        return Verdict::Pass;
    }
    if let Some(ret) = call.leave(entry) {
        return Verdict::Done(ret);
    }
    kill::kernel_sends(call.pid, call.sig);
    siglog::passes(entry, (call.pid, call.tid), call.sig, call.code);
    unless_stopping(nr, args)
}

/// What stops nobody passes: a handler that it calls finds the program's own context. (pidfd_send_signal(2) comes here
/// at once.)
pub fn unless_stopping(nr: i64, args: [usize; 6]) -> Verdict {
    stopping(nr, args).map_or(Verdict::Pass, Verdict::Done)
}

/// Makes such a call, if it stops somebody of the session.
pub fn stopping(nr: i64, args: [usize; 6]) -> Option<isize> {
    const PIDFD_SIGNAL_PROCESS_GROUP: usize = 4;
    let [a, b, c, d, ..] = args;
    let (to, sig) = match nr {
        libc::SYS_kill | libc::SYS_tkill | libc::SYS_rt_sigqueueinfo => (a, b),
        libc::SYS_tgkill | libc::SYS_rt_tgsigqueueinfo => (a, c),
        libc::SYS_pidfd_send_signal => (a, b),
        _ => return None,
    };
    let (mut to, sig) = (to as i32, sig as i32);
    if !stop::is_one(sig) {
        return None;
    }
    if nr == libc::SYS_pidfd_send_signal {
        let pid = procfs::pidfd_of(to)?;
        to = if d & PIDFD_SIGNAL_PROCESS_GROUP != 0 {
            -pid
        } else {
            pid
        };
    } else if nr != libc::SYS_kill && to <= 0 {
        return None; // no number of a group
    }
    let told = stop::tell(to, sig)?;
    let ret = sys!(nr, a, b, c, d);
    told.end();
    Some(ret)
}
