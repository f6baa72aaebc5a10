//! sys/mman.h: mlockall.

use libc::c_int;

use crate::call::mlock;
use crate::next::{next, result};

next! {
    fn mlockall(flags: c_int) -> c_int;
}

redhook::hook! {
    unsafe fn mlockall(flags: c_int) -> c_int => ringer_mlockall {
        match mlock::mlockall(flags as usize) {
            Some(ret) => result(ret) as c_int,
            // SAFETY: the program's own call.
            None => unsafe { real::mlockall(flags) },
        }
    }
}
