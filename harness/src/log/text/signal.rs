//! Entries about signals.
//!
//! ```text
//!     412 a.out        kill(413, SIGUSR1) = 0               sig#91 pending: blocked there by sigprocmask 2.1 ms ago
//!     413 a.out        sigprocmask(SIG_UNBLOCK, [USR1]) = 0 lets sig#91 through
//!     413 a.out        --- SIGUSR1 {SI_USER, pid=412} handler=0x55d --- <= sig#91 412:a.out kill, pending 3.1 ms
//!     413 a.out        +++ handler of SIGUSR1 returned after 840 ns, mask restored +++
//! ```

use std::fmt::{Result, Write};

use super::super::entry::{Entry, Object, Op};
use super::super::signals::{Became, Number, Signal, Upon};
use super::super::story::Story;
use super::ret;
use crate::ui::human;

/// Whether the entry is a call that the program made.
pub fn is_call(op: Op) -> bool {
    matches!(
        op,
        Op::Kill | Op::Sigprocmask | Op::Sigaction | Op::Sigtimedwait
    )
}

pub fn what(out: &mut String, e: &Entry, story: &Story) -> Result {
    let none = Signal::default();
    let s = e.signal.as_deref().unwrap_or(&none);
    let name = s.name.unwrap_or_default();
    match e.op {
        Op::Kill => {
            sender(out, e, s, name)?;
            if e.ret.is_some() {
                ret(out, e)?;
            }
            Ok(())
        }
        Op::Sigprocmask => {
            let how = s.how.as_deref().unwrap_or("?");
            write!(out, "sigprocmask({how}, {})", s.set.unwrap_or_default())?;
            ret(out, e)
        }
        Op::Sigaction => {
            let handler = s.handler.as_deref().unwrap_or("?");
            match e.flags.as_deref() {
                Some(flags) if flags != "0" => {
                    write!(out, "sigaction({name}, {{{handler}, {flags}}})")?;
                }
                _ => write!(out, "sigaction({name}, {{{handler}}})")?,
            }
            ret(out, e)
        }
        Op::Sigtimedwait => {
            write!(out, "sigtimedwait(...) = {name}")?;
            if s.code.is_some() {
                out.push_str(" {");
                origin(out, s)?;
                out.push('}');
            }
            Ok(())
        }
        Op::SignalWait => match (s.mask, s.set) {
            (Some(mask), _) => write!(out, "--- waits in sigsuspend with mask {mask} ---"),
            (_, set) => write!(out, "--- waits for one of {} ---", set.unwrap_or_default()),
        },
        Op::Handler => {
            write!(out, "--- {name} {{")?;
            origin(out, s)?;
            let handler = s.handler.as_deref().unwrap_or("?");
            write!(out, "}} handler={handler} ---")?;
            cause(out, e, s, story);
            if let Some(wait) = s.interrupts {
                interrupts(out, story, wait)?;
            } else {
                upon(out, s)?;
            }
            chosen(out, e, s)
        }
        Op::HandlerReturn => {
            let ran = human::duration(s.ran_ns.unwrap_or(0));
            write!(out, "+++ handler of {name} returned after {ran}, mask ")?;
            match (s.restored, s.mask) {
                (Some(true), _) => write!(out, "restored +++"),
                (Some(false), Some(mask)) => write!(out, "becomes {mask} +++"),
                (_, mask) => write!(out, "{} +++", mask.unwrap_or_default()),
            }
        }
        Op::HandlerLeft => match e.why.as_deref().unwrap_or("?") {
            "longjmp" => write!(out, "+++ handler of {name} was left by longjmp +++"),
            end => write!(out, "+++ handler of {name} had not returned at {end} +++"),
        },
        Op::Killed => {
            let who = e.who.unwrap_or(0);
            let core = if s.core { ", core dumped" } else { "" };
            let likely = if s.likely { ", as it seems," } else { "" };
            write!(out, "+++ {who} was killed{likely} by {name}{core} +++")?;
            cause(out, e, s, story);
            Ok(())
        }
        _ => write!(
            out,
            "--- {name} came from outside while blocked: goes back to the kernel, pending ---"
        ),
    }
}

/// The call, as its si_code tells it.
fn sender(out: &mut String, e: &Entry, s: &Signal, name: Number) -> Result {
    let to = s.to.unwrap_or(0);
    match s.code.as_deref() {
        Some("SI_TKILL") if s.thread.unwrap_or(e.tid) == e.tid && to == i64::from(e.pid) => {
            write!(out, "raise({name})")
        }
        Some("SI_TKILL") => match s.thread {
            Some(tid) => write!(out, "tgkill({to}, {tid}, {name})"),
            None => write!(out, "tgkill({to}, ..., {name})"),
        },
        Some("SI_QUEUE") => write!(out, "sigqueue({to}, {name}, ...)"),
        _ => write!(out, "kill({to}, {name})"),
    }
}

/// `SI_USER, pid=412`
fn origin(out: &mut String, s: &Signal) -> Result {
    out.push_str(s.code.as_deref().unwrap_or("?"));
    match s.from {
        Some(pid) => write!(out, ", pid={pid}"),
        None => Ok(()),
    }
}

/// ` <= sig#91 412:sh kill, pending 3.1 ms`. One that was not sent by a process of the session has
/// no cause.
fn cause(out: &mut String, e: &Entry, s: &Signal, story: &Story) {
    if let Some(words) = cause_words(e, s, story) {
        out.push(' ');
        out.push_str(&words);
    }
}

fn cause_words(e: &Entry, s: &Signal, story: &Story) -> Option<String> {
    let sent = e.cause?;
    let mut words = String::from("<=");
    if let Some(obj) = e.obj {
        let _ = write!(words, " {obj}");
    }
    if let Some(seen) = story.get(sent) {
        let _ = write!(words, " {}:{} {}", seen.pid, seen.comm, seen.op.name());
    }
    if let Some(pending) = s.pending_ns {
        let _ = write!(words, ", pending {}", human::duration(pending));
    }
    Some(words)
}

/// `, interrupts clock_nanosleep`
fn upon(out: &mut String, s: &Signal) -> Result {
    let call = s.call.as_deref().unwrap_or("a system call");
    match s.upon {
        Some(Upon::Interrupted) => write!(out, ", interrupts {call}"),
        Some(Upon::ToBeMade) => write!(out, ", before {call} goes on"),
        _ => Ok(()),
    }
}

/// `, as 412 blocks it`
fn chosen(out: &mut String, e: &Entry, s: &Signal) -> Result {
    let tids: Vec<String> = s.passed_over.iter().map(u32::to_string).collect();
    if tids.is_empty() || e.tid == e.pid {
        return Ok(());
    }
    let block = if tids.len() == 1 { "blocks" } else { "block" };
    write!(
        out,
        ", in {}, as {} {block} it",
        e.tid,
        human::list(&tids, 3)
    )
}

fn interrupts(out: &mut String, story: &Story, wait: u64) -> Result {
    match story.get(wait) {
        Some(seen) if seen.op == Op::SignalWait => write!(out, ", ends the wait"),
        Some(seen) => match seen.obj {
            Some(obj) => write!(out, ", interrupts a call on {obj}"),
            None => write!(out, ", interrupts a call"),
        },
        None => Ok(()),
    }
}

/// What follows a call.
pub fn detail(words: &mut Vec<String>, e: &Entry, story: &Story) {
    let Some(s) = e.signal.as_deref() else { return };
    match s.became {
        Some(Became::Pending) => words.push(format!("pending{}", blocked(e, s, story))),
        Some(Became::Coalesced) => {
            let with = s.with.map_or_else(|| "one".to_owned(), |o| o.to_string());
            let blocked = blocked(e, s, story);
            words.push(format!("coalesced with {with}, which is pending{blocked}"));
        }
        Some(Became::Full) => words.push("no more may be queued".to_owned()),
        Some(Became::AtOnce) => words.push("handled at once".to_owned()),
        Some(Became::Ignored) => words.push("by the kernel: ignored there".to_owned()),
        Some(Became::Kernel) => words.push(match s.name.map(|n| n.0) {
            Some(libc::SIGKILL) => "by the kernel, which ends it".to_owned(),
            Some(libc::SIGSTOP) => "by the kernel, which stops it".to_owned(),
            Some(libc::SIGCONT) => "by the kernel, which lets it go on".to_owned(),
            _ => "by the kernel".to_owned(),
        }),
        Some(Became::Unknown) | None => {}
    }
    if let Some(mask) = s
        .mask
        .filter(|m| e.op == Op::Sigprocmask && s.set != Some(*m))
    {
        words.push(format!("mask {mask}"));
    }
    if !s.frees.is_empty() {
        let names: Vec<String> = s.frees.iter().map(Object::to_string).collect();
        let names = human::list(&names, 5);
        words.push(match e.op {
            Op::Sigaction => format!("discards {names}"),
            _ => format!("lets {names} through"),
        });
    }
    if e.op == Op::Sigtimedwait {
        words.extend(cause_words(e, s, story));
    }
}

/// `: blocked there by sigprocmask 2.1 ms ago`
fn blocked(e: &Entry, s: &Signal, story: &Story) -> String {
    let Some(seen) = s.blocked_by.and_then(|id| story.get(id)) else {
        return ": blocked there".to_owned();
    };
    let who = match i64::from(seen.pid) {
        pid if Some(pid) == s.to => String::new(),
        pid => format!("{pid}:{} ", seen.comm), // before it forked
    };
    let ago = human::duration(e.t_ns.saturating_sub(seen.t_ns));
    format!(": blocked there by {who}{} {ago} ago", seen.op.name())
}

#[cfg(test)]
mod tests {
    use super::super::super::signals::{Mask, Number};
    use super::super::{line, Color};
    use super::*;
    use ringer_kernel::log::object;

    fn told(op: Op, signal: Signal, more: Entry) -> String {
        let mut story = Story::default();
        for (id, pid, op) in [
            (5, 412, Op::Kill),
            (6, 413, Op::Sigprocmask),
            (7, 413, Op::SignalWait),
        ] {
            story.remember(&Entry {
                id,
                pid,
                op,
                comm: "a.out".into(),
                t_ns: 1_000_000,
                ..Entry::default()
            });
        }
        let e = Entry {
            op,
            signal: Some(Box::new(signal)),
            pid: 413,
            tid: 413,
            comm: "a.out".into(),
            t_ns: 3_500_000,
            ..more
        };
        let mut out = String::new();
        line(&mut out, &e, &story, Color::No);
        out.trim_start_matches("    413 a.out           ")
            .trim_end()
            .to_owned()
    }

    fn usr1() -> Signal {
        Signal {
            name: Some(Number(10)),
            ..Signal::default()
        }
    }

    fn sig91() -> Entry {
        Entry {
            obj: Some(Object(object::SIGNAL | 91)),
            ret: Some(0),
            ..Entry::default()
        }
    }

    #[test]
    fn sending() {
        let sent = |code: &'static str, became, more: Signal| {
            let signal = Signal {
                code: Some(code.into()),
                to: Some(413),
                became: Some(became),
                ..more
            };
            told(
                Op::Kill,
                Signal {
                    name: Some(Number(10)),
                    ..signal
                },
                sig91(),
            )
        };
        let blocked = Signal {
            blocked_by: Some(6),
            ..Signal::default()
        };
        assert_eq!(
            sent("SI_USER", Became::Pending, blocked.clone()),
            "kill(413, SIGUSR1) = 0                sig#91 pending: blocked there by sigprocmask 2.5 ms ago"
        );
        let with = Signal {
            with: Some(Object(object::SIGNAL | 90)),
            ..blocked
        };
        assert_eq!(
            sent("SI_QUEUE", Became::Coalesced, with),
            "sigqueue(413, SIGUSR1, ...) = 0       sig#91 coalesced with sig#90, which is pending: \
             blocked there by sigprocmask 2.5 ms ago"
        );
        assert_eq!(
            sent("SI_TKILL", Became::AtOnce, Signal::default()),
            "raise(SIGUSR1) = 0                    sig#91 handled at once"
        );
        let refused = Entry {
            ret: Some(-1),
            errno: Some(super::super::super::entry::ErrorNumber(1)),
            ..Entry::default()
        };
        let to_init = Signal {
            to: Some(1),
            ..usr1()
        };
        assert_eq!(
            told(Op::Kill, to_init, refused),
            "kill(1, SIGUSR1) = -1 EPERM (Operation not permitted)"
        );
    }

    #[test]
    fn receiving() {
        let came = Signal {
            code: Some("SI_USER".into()),
            from: Some(412),
            handler: Some("0x55d0".into()),
            pending_ns: Some(3_100_000),
            interrupts: Some(7),
            ..usr1()
        };
        let caused = Entry {
            cause: Some(5),
            ..sig91()
        };
        assert_eq!(
            told(Op::Handler, came.clone(), caused.clone()),
            "--- SIGUSR1 {SI_USER, pid=412} handler=0x55d0 --- <= sig#91 412:a.out kill, \
             pending 3.1 ms, ends the wait"
        );
        assert_eq!(
            told(Op::Sigtimedwait, came, caused),
            "sigtimedwait(...) = SIGUSR1 {SI_USER, pid=412}  <= sig#91 412:a.out kill, pending 3.1 ms"
        );
        let over = |restored| Signal {
            ran_ns: Some(840),
            restored,
            mask: Some(Mask(1 << 14)),
            ..usr1()
        };
        assert_eq!(
            told(Op::HandlerReturn, over(Some(true)), Entry::default()),
            "+++ handler of SIGUSR1 returned after 840 ns, mask restored +++"
        );
        assert_eq!(
            told(Op::HandlerReturn, over(Some(false)), Entry::default()),
            "+++ handler of SIGUSR1 returned after 840 ns, mask becomes [TERM] +++"
        );
        let longjmp = Entry {
            why: Some("longjmp".into()),
            ..Entry::default()
        };
        assert_eq!(
            told(Op::HandlerLeft, usr1(), longjmp),
            "+++ handler of SIGUSR1 was left by longjmp +++"
        );
        let dead = Entry {
            who: Some(414),
            cause: Some(5),
            ..Entry::default()
        };
        let core = Signal {
            core: true,
            ..usr1()
        };
        assert_eq!(
            told(Op::Killed, core, dead),
            "+++ 414 was killed by SIGUSR1, core dumped +++ <= 412:a.out kill"
        );
    }

    #[test]
    fn masks_and_actions() {
        let unblock = Signal {
            how: Some("SIG_UNBLOCK".into()),
            set: Some(Mask(1 << 9)),
            mask: Some(Mask(1 << 14)),
            frees: vec![Object(object::SIGNAL | 91)],
            ..Signal::default()
        };
        let ok = Entry {
            ret: Some(0),
            ..Entry::default()
        };
        assert_eq!(
            told(Op::Sigprocmask, unblock, ok.clone()),
            "sigprocmask(SIG_UNBLOCK, [USR1]) = 0  mask [TERM] lets sig#91 through"
        );
        let action = Signal {
            handler: Some("SIG_IGN".into()),
            ..usr1()
        };
        let restart = Entry {
            flags: Some("SA_RESTART".into()),
            ..ok
        };
        assert_eq!(
            told(Op::Sigaction, action, restart),
            "sigaction(SIGUSR1, {SIG_IGN, SA_RESTART}) = 0"
        );
    }
}
