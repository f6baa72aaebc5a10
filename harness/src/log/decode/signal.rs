//! Records about signals. What they say of each other is [`super::super::sigstory`]'s.

use ringer_kernel::log::record::{meets, sent};
use ringer_kernel::log::{object, Kind, Record};

use super::super::entry::{Entry, ErrorNumber, Object, Op};
use super::super::signals::{self, Became, Mask, Number, Signal, Upon};
use super::super::syscalls;
use crate::sys::clock::Clock;

/// `sig#N`; no number, no name.
fn sig(n: u64) -> Option<Object> {
    const NUMBERS: u64 = 0x0fff_ffff;
    (n & NUMBERS != 0).then_some(Object(object::SIGNAL | (n & NUMBERS) as u32))
}

/// si_pid and si_code as one word has them; 0: nobody knows.
fn origin(s: &mut Signal, name: Number, word: u64) {
    if word == 0 {
        return;
    }
    s.code = Some(signals::code(name, (word >> 32) as i32));
    s.from = Some(word as u32).filter(|pid| *pid != 0);
}

/// The system call that a handler is called upon.
fn upon(s: &mut Signal, word: u64) {
    let nr = (word >> 8) as i64;
    s.upon = match word & 0xff {
        meets::INTERRUPTED => Some(Upon::Interrupted),
        meets::TO_BE_MADE => Some(Upon::ToBeMade),
        _ => None,
    };
    if s.upon.is_some() && (nr != 0 || s.upon == Some(Upon::ToBeMade)) {
        s.call = Some(syscalls::name(nr));
    }
}

pub fn decode(e: &mut Entry, r: &Record, kind: Kind, clock: &Clock) {
    e.fd = None;
    let mut s = Signal::default();
    // Most name the signal there.
    let name = Number(match kind {
        Kind::SigHandler => r.a as i32 & 0xff,
        _ => r.a as i32,
    });
    match kind {
        Kind::SigSend | Kind::SigSendFailed => sending(e, &mut s, r, kind),
        Kind::SigAccept => {
            e.op = Op::Sigtimedwait;
            e.ret = Some(r.a);
            e.obj = sig(r.c);
            s.name = Some(name);
            origin(&mut s, name, r.b);
        }
        Kind::SigHandler => {
            e.op = Op::Handler;
            s.name = Some(name);
            s.handler = Some(signals::handler(r.b));
            s.frame = (r.fd >= 0).then_some(r.fd);
            upon(&mut s, r.a as u64 >> 8);
            origin(&mut s, name, r.c);
        }
        Kind::SigReturn => {
            e.op = Op::HandlerReturn;
            s.name = Some(name);
            s.ran_ns = Some(clock.ns(r.b));
            s.mask = Some(Mask(r.c));
        }
        Kind::SigMask => {
            e.op = Op::Sigprocmask;
            e.ret = Some(0);
            s.how = Some(signals::how(r.a));
            s.set = Some(Mask(match r.a {
                0 => r.c & !r.b,
                1 => r.b & !r.c,
                _ => r.c,
            }));
            s.mask = Some(Mask(r.c));
        }
        Kind::SigAction => {
            e.op = Op::Sigaction;
            e.ret = Some(0);
            e.flags = Some(signals::action_flags(r.c));
            s.name = Some(name);
            s.handler = Some(signals::handler(r.b));
        }
        Kind::SigWait => {
            e.op = Op::SignalWait;
            match r.a {
                0 => s.mask = Some(Mask(r.b)),
                _ => s.set = Some(Mask(r.b)),
            }
        }
        Kind::SigKilled => {
            e.op = Op::Killed;
            e.who = Some(r.b as u32);
            s.core = r.a & 0x80 != 0;
            s.likely = r.a & 0x100 != 0;
            s.name = Some(Number(r.a as i32 & 0x7f));
        }
        _ => {
            e.op = Op::Bounced;
            s.name = Some(name);
        }
    }
    e.signal = Some(Box::new(s));
}

/// The shim knows a call by the si_code that it gives. SI_TKILL is for a thread, SI_QUEUE has a
/// value.
fn sending(e: &mut Entry, s: &mut Signal, r: &Record, kind: Kind) {
    const SI_USER: i32 = 0;
    e.op = Op::Kill;
    let (code, name) = ((r.b >> 32) as i32, Number((r.b & 0xff) as i32));
    s.name = Some(name);
    s.code = Some(signals::code(name, code));
    if kind == Kind::SigSendFailed {
        e.ret = Some(-1);
        e.errno = Some(ErrorNumber(r.a as i32));
        s.to = Some(i64::from(r.c as u32 as i32));
        return;
    }
    s.to = Some(r.a);
    s.thread = u32::try_from(r.fd).ok().filter(|tid| *tid != 0);
    e.obj = sig(r.c);
    let became = match r.b >> 8 & 0xff {
        sent::BY_KERNEL => Became::Kernel,
        sent::BLOCKED => Became::Pending,
        sent::COALESCED => Became::Coalesced,
        sent::FULL => Became::Full,
        sent::AT_ONCE => Became::AtOnce,
        _ => Became::Unknown,
    };
    s.became = Some(became);
    match became {
        // The kernel's answer is not there yet; if it refuses, that is told.
        Became::Kernel | Became::Unknown => {}
        Became::Full if name.0 < ringer_kernel::signal::SIGRTMIN || code == SI_USER => {}
        Became::Full => {
            e.ret = Some(-1);
            e.errno = Some(ErrorNumber(libc::EAGAIN));
        }
        _ => e.ret = Some(0),
    }
}
