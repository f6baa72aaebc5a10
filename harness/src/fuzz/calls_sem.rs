//! Calls on POSIX semaphores: those that have names, and three in the shared page.

use std::ffi::CString;

use super::calls::Actor;
use super::program::{Call, Reg, SemWay, REGISTERS};

/// Two semaphores, the first of them by three names; the longest name that there is, one that is longer, and one
/// that is none.
pub const NAMES: u8 = 7;
/// Those that have no name.
pub const UNNAMED: usize = 3;

fn name(prefix: i32, name: u8) -> CString {
    let own = format!("ringer-fuzz-{prefix}");
    let text = match name % NAMES {
        n @ 0..=1 => format!("/{own}-sem{n}"),
        2 => format!("{own}-sem0"),
        3 => format!("//{own}-sem0"),
        4 => format!("/{own:x<251}"),
        5 => format!("/{own:x<252}"),
        _ => format!("/{own}/sem"),
    };
    CString::new(text).unwrap_or_default()
}

/// What programs have left behind.
pub fn unlink(prefix: i32) {
    for n in 0..NAMES {
        // SAFETY: a C string.
        unsafe { libc::sem_unlink(name(prefix, n).as_ptr()) };
    }
}

/// As in the beginning.
pub fn forget(actor: &mut Actor) {
    for sem in actor.sems.iter_mut().filter(|sem| **sem != 0) {
        // SAFETY: it was opened for this register.
        unsafe { libc::sem_close(*sem as *mut libc::sem_t) };
        *sem = 0;
    }
    if std::mem::take(&mut actor.has_sems) {
        unlink(actor.prefix);
        actor.page.clear_sems();
    }
}

/// The one that this register holds; if it holds none, one without a name.
fn at(actor: &Actor, reg: Reg) -> *mut libc::sem_t {
    let reg = usize::from(reg) % REGISTERS;
    match actor.sems[reg] {
        0 => actor.page.sem(reg % UNNAMED),
        address => address as *mut libc::sem_t,
    }
}

pub fn call(actor: &mut Actor, call: &Call, out: &mut Vec<u8>) -> i64 {
    match call {
        Call::SemInit { sem, shared, value } => {
            let sem = actor.page.sem(usize::from(*sem) % UNNAMED);
            // SAFETY: a semaphore in memory that stays; nobody waits for it.
            unsafe { libc::sem_init(sem, i32::from(*shared), *value).into() }
        }
        Call::SemOpen {
            to,
            name: n,
            flags,
            value,
        } => {
            let name = name(actor.prefix, *n);
            actor.has_sems = true;
            // SAFETY: a C string, and numbers.
            let sem = unsafe { libc::sem_open(name.as_ptr(), *flags, 0o600, *value) };
            if sem == libc::SEM_FAILED {
                return -1;
            }
            let to = &mut actor.sems[usize::from(*to) % REGISTERS];
            let was = std::mem::replace(to, sem as usize);
            if was != 0 {
                // SAFETY: it was opened for this register, and nobody else knows it.
                unsafe { libc::sem_close(was as *mut libc::sem_t) };
            }
            // Whether it is the same as another's here.
            let first = actor.sems.iter().position(|s| *s == sem as usize);
            out.extend(first.map(|at| at as u8));
            0
        }
        Call::SemClose { sem } => {
            // SAFETY: each register's is a semaphore that was opened once more; libc refuses others.
            let ret = unsafe { libc::sem_close(at(actor, *sem)) };
            if ret == 0 {
                actor.sems[usize::from(*sem) % REGISTERS] = 0;
            }
            ret.into()
        }
        Call::SemUnlink { name: n } => {
            let name = name(actor.prefix, *n);
            // SAFETY: a C string.
            unsafe { libc::sem_unlink(name.as_ptr()).into() }
        }
        Call::SemPost { sem } => {
            // SAFETY: a semaphore.
            unsafe { libc::sem_post(at(actor, *sem)).into() }
        }
        Call::SemWait { sem, way } => wait(at(actor, *sem), *way),
        Call::SemValue { sem } => {
            let mut value = 0;
            // SAFETY: a semaphore, and room for its value.
            let ret = unsafe { libc::sem_getvalue(at(actor, *sem), &mut value) };
            out.extend(value.to_le_bytes());
            ret.into()
        }
        _ => 0,
    }
}

fn wait(sem: *mut libc::sem_t, way: SemWay) -> i64 {
    let time = |tv_nsec| libc::timespec { tv_sec: 1, tv_nsec };
    let (past, bad) = (time(0), time(1_000_000_000));
    // SAFETY: a semaphore, and times that live as long as the call.
    let ret = unsafe {
        match way {
            SemWay::Wait => libc::sem_wait(sem),
            SemWay::Try => libc::sem_trywait(sem),
            SemWay::Past => libc::sem_timedwait(sem, &past),
            SemWay::BadTime => libc::sem_timedwait(sem, &bad),
            SemWay::BadClock => sem_clockwait(sem, 99, &past),
        }
    };
    ret.into()
}

unsafe extern "C" {
    fn sem_clockwait(s: *mut libc::sem_t, clock: libc::clockid_t, t: *const libc::timespec) -> i32;
}

const _: () = assert!(std::mem::size_of::<libc::sem_t>() == 32);
