//! sys/mman.h and semaphore.h: what has a name. The objects themselves are libc's and the kernel's.

use libc::{c_char, c_int, c_uint, mode_t, sem_t};
use ringer_kernel::log::Kind as Record;
use ringer_kernel::planted::{planted, Bug};

use crate::call::named::{map, Kind, Mapped};
use crate::env::bytes_of;
use crate::next::next;

next! {
    fn shm_open(name: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    fn shm_unlink(name: *const c_char) -> c_int;
    fn sem_open(name: *const c_char, flags: c_int, mode: mode_t, value: c_uint) -> *mut sem_t;
    fn sem_unlink(name: *const c_char) -> c_int;
    fn memfd_create(name: *const c_char, flags: c_uint) -> c_int;
}

/// The name that libc is to be given instead, if there is one.
///
/// # Safety
///
/// `name` is a C string, as libc's function demands.
#[inline(always)]
unsafe fn session_name(kind: Kind, name: *const c_char) -> Option<Mapped> {
    // SAFETY: the caller's.
    map(kind, unsafe { bytes_of(name.cast()) })
}

fn or(mapped: &Option<Mapped>, name: *const c_char) -> *const c_char {
    mapped.as_ref().map_or(name, Mapped::as_ptr)
}

redhook::hook! {
    unsafe fn shm_open(name: *const c_char, flags: c_int, mode: mode_t) -> c_int
        => ringer_shm_open {
        // SAFETY: the program's string.
        let mapped = unsafe { session_name(Kind::Memory, name) };
        let n = or(&mapped, name);
        // SAFETY: the program's own call, by another name.
        let fd = unsafe { real::shm_open(n, flags, mode) };
        // SAFETY: the program's string.
        unsafe { super::log_name(Record::ShmOpen, fd as isize, name) };
        fd
    }
}

redhook::hook! {
    unsafe fn shm_unlink(name: *const c_char) -> c_int => ringer_shm_unlink {
        // SAFETY: the program's string.
        let mapped = unsafe { session_name(Kind::Memory, name) };
        let n = or(&mapped, name);
        // SAFETY: the program's own call, by another name.
        let ret = unsafe { real::shm_unlink(n) };
        // SAFETY: the program's string.
        unsafe { super::log_name(Record::ShmUnlink, ret as isize, name) };
        ret
    }
}

redhook::hook! {
    unsafe fn sem_open(name: *const c_char, flags: c_int, mode: mode_t, value: c_uint)
        -> *mut sem_t => ringer_sem_open {
        let flags = if planted(Bug::PosixOpensExisting) { flags & !libc::O_EXCL } else { flags };
        // (Without O_CREAT the program gives no more arguments, and libc looks at none.)
        // SAFETY: the program's string.
        let mapped = unsafe { session_name(Kind::Semaphore, name) };
        let n = or(&mapped, name);
        // SAFETY: the program's own call, by another name.
        let sem = unsafe { real::sem_open(n, flags, mode, value) };
        let ret = if sem == libc::SEM_FAILED { -1 } else { sem as isize };
        // SAFETY: the program's string.
        unsafe { super::log_name(Record::SemOpen, ret, name) };
        sem
    }
}

redhook::hook! {
    unsafe fn sem_unlink(name: *const c_char) -> c_int => ringer_sem_unlink {
        // SAFETY: the program's string.
        let mapped = unsafe { session_name(Kind::Semaphore, name) };
        let n = or(&mapped, name);
        // SAFETY: the program's own call, by another name.
        let ret = unsafe { real::sem_unlink(n) };
        // SAFETY: the program's string.
        unsafe { super::log_name(Record::SemUnlink, ret as isize, name) };
        ret
    }
}

redhook::hook! {
    unsafe fn memfd_create(name: *const c_char, flags: c_uint) -> c_int => ringer_memfd_create {
        // SAFETY: the program's own call.
        let fd = unsafe { real::memfd_create(name, flags) };
        if fd >= 0 {
            // SAFETY: a string that the kernel has just read.
            unsafe { super::log_name(Record::MemfdCreate, fd as isize, name) };
        }
        fd
    }
}
