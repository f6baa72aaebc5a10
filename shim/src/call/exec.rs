//! execve and its family: can the new program be reached? If not, what it inherits is demoted.
//! And the session goes along in the environment, also if the program cleared it.

use core::cell::Cell;
use core::sync::atomic::Ordering::*;

use ringer_kernel::log::{Cause, Kind};
use ringer_kernel::task::proc_state;

use crate::arm::FORCED;
use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::probe::{self, Program};
use crate::signal::{self, KSigaction};
use crate::tls::Tls;
use crate::{arm, attach, demotion, env, inbox, pending, trap, user};

/// execve(2), execveat(2), by trap.
pub fn execve(entry: &Entry, nr: i64, args: [usize; 6]) -> Verdict {
    let (dir, path, argv, envp, flags) = match nr {
        libc::SYS_execveat => {
            let [dir, path, argv, envp, flags, _] = args;
            (dir as i32, path, argv, envp, flags as i32)
        }
        _ => {
            let [path, argv, envp, ..] = args;
            (libc::AT_FDCWD, path, argv, envp, 0)
        }
    };
    let program = probe::look(dir, path, flags);
    if program == Program::Absent {
        return Verdict::Pass; // the kernel says why
    }
    let chosen = environment(envp);
    let cause = match (program, &chosen) {
        (Program::Unreachable(cause), _) => Some(cause),
        (_, Environment::Elsewhere) => Some(Cause::PreloadRemoved),
        _ if !session_is_open_to_us() => Some(Cause::NoAccess),
        _ => None,
    };
    // Whatever is noted happens before the new program, with the program's own mask.
    if entry.tls.noted() != 0 {
        let depth = entry.tls.depth.replace(0);
        let _ = signal::deliver_noted(entry.tls);
        entry.tls.depth.set(depth);
    }
    if let Some(cause) = cause {
        demotion::demote_inherited(entry, cause);
        super::sysv::after_exec(entry); // nobody will do it afterwards
    }
    let state = if cause.is_some() {
        proc_state::UNSHIMMED
    } else {
        proc_state::EXECING
    };
    if let Some(p) = entry.process() {
        super::announce::identify(p);
        // From here on others know that what will not be inherited is as good as closed.
        p.state.store(state, SeqCst);
    }
    demotion::before_exec(entry);
    let with = new_environment(entry.tls, envp, &chosen, cause);
    attach::log_event(
        entry,
        Kind::Exec,
        (
            i64::from(cause.is_none()),
            cause.map_or(0, |c| u64::from(c.raw())),
            0,
        ),
    );
    inbox::shut(entry.tls, false);
    let masked = prepare_signals(entry.tls);
    let ret = match nr {
        libc::SYS_execveat => sys!(libc::SYS_execveat, dir, path, argv, with, flags),
        _ => sys!(libc::SYS_execve, path, argv, with),
    };
    // Still here: it failed.
    restore_signals(masked);
    if entry.tls.in_vfork.get() == 0 {
        drop_scratch(entry.tls);
    }
    if let Some(p) = entry.process() {
        p.state.store(proc_state::LIVE, Release);
    }
    attach::log_event(entry, Kind::ExecFailed, (-(ret as i64), 0, 0));
    Verdict::Done(ret)
}

/// Whether the new image, with our credentials, will be able to join: the arena is its owner's, and
/// root's. (access(2) would not do: capabilities that are kept now are lost in exec.)
fn session_is_open_to_us() -> bool {
    let Some(path) = env::session_path() else {
        return true;
    };
    let euid = sys!(libc::SYS_geteuid);
    // SAFETY: all zero is a valid stat.
    let mut st: libc::stat = unsafe { core::mem::zeroed() };
    let known = sys!(
        libc::SYS_newfstatat,
        libc::AT_FDCWD,
        path.as_ptr(),
        &raw mut st,
        0
    ) == 0;
    // Not there: in another root.
    known && (euid == 0 || st.st_uid as isize == euid)
}

/// The new program takes the real mask over, what is pending, and ignored signals: all must be what
/// the program believes.
fn prepare_signals(tls: &Tls) -> Option<u64> {
    for sig in [libc::SIGSYS, libc::SIGSEGV, libc::SIGBUS] {
        if signal::action(sig as usize).handler == signal::SIG_IGN {
            let ignore = KSigaction {
                handler: signal::SIG_IGN,
                ..KSigaction::default()
            };
            signal::kernel_sigaction(sig as usize, Some(&ignore), None);
        }
    }
    let masked = tls.masked.get() & FORCED;
    (masked != 0).then(|| {
        let before = pending::block(masked);
        // Blocked before it is there: so it stays pending even if it is ignored.
        pending::send(tls, masked);
        before
    })
}

fn restore_signals(masked: Option<u64>) {
    for sig in [libc::SIGSYS, libc::SIGSEGV, libc::SIGBUS] {
        trap::install_for(sig as usize, &signal::action(sig as usize));
    }
    // What is pending comes back to us.
    if let Some(mask) = masked {
        arm::set_mask(mask);
    }
}

/// What a program's environment says about us.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Library and session are both there.
    Ours,
    /// One of them, or both, are missing altogether: they are put back.
    Missing { preload: bool, session: bool },
    /// LD_PRELOAD or RINGER_SESSION are there, and say something else: that is meant.
    Elsewhere,
}

/// Looks through an environment. A bad pointer is the kernel's to complain about.
pub fn environment(envp: usize) -> Environment {
    let mut preload = None;
    let mut session = None;
    let mut at = envp;
    while at != 0 {
        let Some(entry) = user::fetch::<usize>(at).filter(|&e| e != 0) else {
            break;
        };
        let mut head = [0u8; 512];
        let _ = user::fetch_str(entry, &mut head);
        if head.starts_with(env::PRELOAD) && preload.is_none() {
            preload = Some(contains(&head, env::LIBRARY));
        } else if head.starts_with(env::SESSION) && session.is_none() {
            let mine = env::session_entry().unwrap_or(&[]);
            session =
                Some(head.get(..mine.len()) == Some(mine) && head.get(mine.len()) == Some(&0));
        }
        at += 8;
    }
    match (preload, session) {
        (Some(true), Some(true)) => Environment::Ours,
        (Some(false), _) | (_, Some(false)) => Environment::Elsewhere,
        (preload, session) => Environment::Missing {
            preload: preload.is_none(),
            session: session.is_none(),
        },
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|w| w == part)
}

/// The environment to hand over: the program's own, or a copy with what is missing.
fn new_environment(tls: &Tls, envp: usize, chosen: &Environment, cause: Option<Cause>) -> usize {
    match (*chosen, cause) {
        // Another C library would complain about ours.
        (Environment::Ours, Some(Cause::ForeignLibc | Cause::Sanitizer)) => {
            copy_environment(tls, envp, [None, None], &[env::PRELOAD])
        }
        // Nor is it to complain that it can not join, or not even find the library.
        (Environment::Ours, Some(Cause::NoAccess)) => {
            copy_environment(tls, envp, [None, None], &[env::PRELOAD, env::SESSION])
        }
        (Environment::Missing { preload, session }, None | Some(Cause::StaticProgram)) => {
            let preload = env::preload_entry().filter(|_| preload);
            let session = env::session_entry().filter(|_| session);
            copy_environment(tls, envp, [preload, session], &[])
        }
        _ => envp,
    }
}

/// A copy of the array in a mapping of its own, with `add` in front. On trouble, the original.
fn copy_environment(
    tls: &Tls,
    envp: usize,
    add: [Option<&'static [u8]>; 2],
    without: &[&[u8]],
) -> usize {
    let mut count = 0;
    while envp != 0 && user::fetch::<usize>(envp + count * 8).is_some_and(|e| e != 0) {
        count += 1;
    }
    let len = (count + 3) * 8;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let page = sys!(libc::SYS_mmap, 0, len, prot, flags, -1isize, 0);
    if page < 0 {
        return envp;
    }
    let new = page as usize;
    let mut n = 0;
    let mut push = |entry: usize| {
        user::put(new + n * 8, &entry);
        n += 1;
    };
    for entry in add.into_iter().flatten() {
        push(entry.as_ptr() as usize);
    }
    for i in 0..count {
        let Some(entry) = user::fetch::<usize>(envp + i * 8) else {
            break;
        };
        let mut head = [0u8; 16];
        let _ = user::fetch_str(entry, &mut head);
        if !without.iter().any(|w| head.starts_with(w)) {
            push(entry);
        }
    }
    tls.scratch.set((new, len));
    new
}

/// Unmaps what the last exec needed: after a failure, or in the parent of a vfork child.
pub fn drop_scratch(tls: &Tls) {
    let (at, len) = Cell::replace(&tls.scratch, (0, 0));
    if at != 0 {
        sys!(libc::SYS_munmap, at, len);
    }
}

/// For hooks of the exec family, armed or not: the environment to call on with.
pub fn fixed_environment(tls: &Tls, envp: usize) -> usize {
    match environment_plain(envp) {
        Environment::Ours if !arm::is_armed() && !session_is_open_to_us() => {
            let without = [env::PRELOAD, env::SESSION];
            copy_environment(tls, envp, [None, None], &without)
        }
        chosen @ Environment::Missing { .. } => new_environment(tls, envp, &chosen, None),
        _ => envp,
    }
}

/// As [`environment`], but outside a trap: a bad pointer is left to the real call.
fn environment_plain(envp: usize) -> Environment {
    if envp == 0 || !arm::is_armed() && !plausible(envp) {
        return if envp == 0 {
            Environment::Missing {
                preload: true,
                session: true,
            }
        } else {
            Environment::Ours
        };
    }
    environment(envp)
}

/// Fault-safe copies need ringer's fault handler, which an unarmed process does not have: the
/// kernel is asked whether the address can be read (mincore-free: access(2) of it as a path).
fn plausible(p: usize) -> bool {
    sys!(libc::SYS_access, p, 0) != -(libc::EFAULT as isize)
}
