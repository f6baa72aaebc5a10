//! sys/sem.h, sys/msg.h, sys/shm.h.

use libc::{c_int, c_long, c_ulong, c_void, key_t, sembuf, size_t, ssize_t, timespec};

use crate::arm::unarmed;
use crate::call::{sysv, sysv_msg, sysv_sem, sysv_shm};
use crate::entry::run;
use crate::hooks::{by_convention, test_cancel};
use crate::next::{next, result};
use crate::observe;

next! {
    fn semget(key: key_t, nsems: c_int, flags: c_int) -> c_int;
    fn semop(id: c_int, sops: *mut sembuf, n: size_t) -> c_int;
    fn semtimedop(id: c_int, sops: *mut sembuf, n: size_t, timeout: *const timespec) -> c_int;
    fn semctl(id: c_int, num: c_int, cmd: c_int, arg: c_ulong) -> c_int;
    fn msgget(key: key_t, flags: c_int) -> c_int;
    fn msgsnd(id: c_int, msg: *const c_void, len: size_t, flags: c_int) -> c_int;
    fn msgrcv(id: c_int, msg: *mut c_void, len: size_t, mtype: c_long, flags: c_int) -> ssize_t;
    fn msgctl(id: c_int, cmd: c_int, arg: *mut c_void) -> c_int;
    fn shmget(key: key_t, size: size_t, flags: c_int) -> c_int;
    fn shmat(id: c_int, at: *const c_void, flags: c_int) -> *mut c_void;
    fn shmdt(at: *const c_void) -> c_int;
    fn shmctl(id: c_int, cmd: c_int, arg: *mut c_void) -> c_int;
}

/// The real call, and its record.
macro_rules! by_kernel {
    ($name:ident, $($arg:expr),*) => {{
        // SAFETY: the program's own call.
        let real = || unarmed(|| unsafe { real::$name($($arg),*) });
        if observe::tells() {
            told(nr::$name, &[$($arg as usize),*], || real() as isize) as _
        } else {
            real()
        }
    }};
}

#[cold]
fn told(nr: c_long, given: &[usize], real: impl FnOnce() -> isize) -> isize {
    let mut args = [0; 6];
    for (to, from) in args.iter_mut().zip(given) {
        *to = *from;
    }
    let call = observe::sysv::before(nr, args);
    let ret = real();
    if let Some(call) = call {
        observe::sysv::after(call, by_convention(ret));
    }
    ret
}

mod nr {
    #![allow(non_upper_case_globals)]
    pub use libc::{
        SYS_msgctl as msgctl, SYS_msgget as msgget, SYS_msgrcv as msgrcv, SYS_msgsnd as msgsnd,
        SYS_semctl as semctl, SYS_semget as semget, SYS_semop as semop,
        SYS_semtimedop as semtimedop, SYS_shmat as shmat, SYS_shmctl as shmctl, SYS_shmdt as shmdt,
        SYS_shmget as shmget,
    };
}

redhook::hook! {
    unsafe fn semget(key: key_t, nsems: c_int, flags: c_int) -> c_int => ringer_semget {
        if sysv::serves() {
            if let Some(ret) = run(|e| sysv_sem::semget(e, key, nsems, flags)) {
                return result(ret) as c_int;
            }
        }
        by_kernel!(semget, key, nsems, flags)
    }
}

redhook::hook! {
    unsafe fn semop(id: c_int, sops: *mut sembuf, n: size_t) -> c_int => ringer_semop {
        if sysv::serves() {
            if let Some(ret) = run(|e| sysv_sem::semtimedop(e, id, sops as usize, n, 0)) {
                return result(ret) as c_int;
            }
        }
        by_kernel!(semop, id, sops, n)
    }
}

redhook::hook! {
    unsafe fn semtimedop(id: c_int, sops: *mut sembuf, n: size_t, timeout: *const timespec) -> c_int
        => ringer_semtimedop {
        if sysv::serves() {
            let at = timeout as usize;
            if let Some(ret) = run(|e| sysv_sem::semtimedop(e, id, sops as usize, n, at)) {
                return result(ret) as c_int;
            }
        }
        by_kernel!(semtimedop, id, sops, n, timeout)
    }
}

redhook::hook! {
    unsafe fn semctl(id: c_int, num: c_int, cmd: c_int, arg: c_ulong) -> c_int => ringer_semctl {
        if sysv::serves() {
            if let Some(ret) = run(|e| sysv_sem::semctl(e, id, num, cmd, arg as usize)) {
                return result(ret) as c_int;
            }
        }
        // (On x86-64 the optional argument is the fourth register.)
        by_kernel!(semctl, id, num, cmd, arg)
    }
}

redhook::hook! {
    unsafe fn msgget(key: key_t, flags: c_int) -> c_int => ringer_msgget {
        if sysv::serves() {
            if let Some(ret) = run(|e| sysv_msg::msgget(e, key, flags)) {
                return result(ret) as c_int;
            }
        }
        by_kernel!(msgget, key, flags)
    }
}

redhook::hook! {
    unsafe fn msgsnd(id: c_int, msg: *const c_void, len: size_t, flags: c_int) -> c_int
        => ringer_msgsnd {
        if sysv::serves() {
            test_cancel();
            if let Some(ret) = run(|e| sysv_msg::msgsnd(e, id, msg as usize, len, flags)) {
                return result(ret) as c_int;
            }
        }
        by_kernel!(msgsnd, id, msg, len, flags)
    }
}

redhook::hook! {
    unsafe fn msgrcv(id: c_int, msg: *mut c_void, len: size_t, mtype: c_long, flags: c_int)
        -> ssize_t => ringer_msgrcv {
        if sysv::serves() {
            test_cancel();
            if let Some(ret) = run(|e| sysv_msg::msgrcv(e, id, msg as usize, len, mtype, flags)) {
                return result(ret);
            }
        }
        by_kernel!(msgrcv, id, msg, len, mtype, flags)
    }
}

redhook::hook! {
    unsafe fn msgctl(id: c_int, cmd: c_int, arg: *mut c_void) -> c_int => ringer_msgctl {
        if sysv::serves() {
            if let Some(ret) = run(|e| sysv_msg::msgctl(e, id, cmd, arg as usize)) {
                return result(ret) as c_int;
            }
        }
        by_kernel!(msgctl, id, cmd, arg)
    }
}

redhook::hook! {
    unsafe fn shmget(key: key_t, size: size_t, flags: c_int) -> c_int => ringer_shmget {
        if sysv::serves() {
            if let Some(ret) = run(|e| sysv_shm::shmget(e, key, size, flags)) {
                return result(ret) as c_int;
            }
        }
        by_kernel!(shmget, key, size, flags)
    }
}

redhook::hook! {
    unsafe fn shmat(id: c_int, at: *const c_void, flags: c_int) -> *mut c_void => ringer_shmat {
        if sysv::serves() {
            if let Some(ret) = run(|e| sysv_shm::shmat(e, id, at as usize, flags)) {
                return result(ret) as *mut c_void;
            }
        }
        by_kernel!(shmat, id, at, flags)
    }
}

redhook::hook! {
    unsafe fn shmdt(at: *const c_void) -> c_int => ringer_shmdt {
        if sysv::serves() {
            if let Some(ret) = run(|e| sysv_shm::shmdt(e, at as usize)) {
                return result(ret) as c_int;
            }
        }
        by_kernel!(shmdt, at)
    }
}

redhook::hook! {
    unsafe fn shmctl(id: c_int, cmd: c_int, arg: *mut c_void) -> c_int => ringer_shmctl {
        if sysv::serves() {
            if let Some(ret) = run(|e| sysv_shm::shmctl(e, id, cmd, arg as usize)) {
                return result(ret) as c_int;
            }
        }
        by_kernel!(shmctl, id, cmd, arg)
    }
}
