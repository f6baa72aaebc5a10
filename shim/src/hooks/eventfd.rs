//! sys/eventfd.h. (libc's own eventfd_read and eventfd_write call the kernel past the PLT.)

use libc::{c_int, c_uint};

use crate::call;
use crate::entry::run;
use crate::next::{next, result};

use super::io::{ringer_read, ringer_write};

next! {
    fn eventfd(initial: c_uint, flags: c_int) -> c_int;
}

redhook::hook! {
    unsafe fn eventfd(initial: c_uint, flags: c_int) -> c_int => ringer_eventfd {
        if !crate::attach::ensure_process() {
            // SAFETY: the program's own call.
            return unsafe { real::eventfd(initial, flags) };
        }
        match run(|e| call::eventfd::eventfd2(e, initial, flags)) {
            Some(ret) => result(ret) as c_int,
            // SAFETY: the program's own call.
            None => unsafe { real::eventfd(initial, flags) },
        }
    }
}

redhook::hook! {
    unsafe fn eventfd_read(fd: c_int, value: *mut u64) -> c_int => ringer_eventfd_read {
        // SAFETY: as read(2), whose contract the caller keeps.
        let n = unsafe { ringer_read(fd, value.cast(), size_of::<u64>()) };
        if n == size_of::<u64>() as isize { 0 } else { -1 }
    }
}

redhook::hook! {
    unsafe fn eventfd_write(fd: c_int, value: u64) -> c_int => ringer_eventfd_write {
        // SAFETY: the value is ours, eight bytes of it.
        let n = unsafe { ringer_write(fd, (&raw const value).cast(), size_of::<u64>()) };
        if n == size_of::<u64>() as isize { 0 } else { -1 }
    }
}
