//! Moving data without looking at it: splice(2), tee(2), vmsplice(2), sendfile(2).

use crate::bad::Span;
use crate::fd::Descriptor;
use crate::{check, Sys};
use libc::{c_uint, iovec};
use std::ptr::null_mut;

fn pointer(offset: &mut Option<i64>) -> *mut i64 {
    offset.as_mut().map_or(null_mut(), |o| o)
}

/// splice(2) from and to the current positions.
pub fn splice(from: impl Descriptor, to: impl Descriptor, len: usize, flags: c_uint) -> Sys {
    splice_at(from, None, to, None, len, flags).0
}

/// splice(2) with offsets. Returns them as the call left them.
pub fn splice_at(
    from: impl Descriptor,
    mut from_at: Option<i64>,
    to: impl Descriptor,
    mut to_at: Option<i64>,
    len: usize,
    flags: c_uint,
) -> (Sys, Option<i64>, Option<i64>) {
    let (a, b) = (pointer(&mut from_at), pointer(&mut to_at));
    // SAFETY: offsets valid or null.
    let n = unsafe { libc::splice(from.number(), a, to.number(), b, len, flags) };
    (check(n as i64), from_at, to_at)
}

pub fn tee(from: impl Descriptor, to: impl Descriptor, len: usize, flags: c_uint) -> Sys {
    // SAFETY: numbers.
    check(unsafe { libc::tee(from.number(), to.number(), len, flags) } as i64)
}

/// vmsplice(2) of memory that stays as it is until it has been read.
pub fn vmsplice(fd: impl Descriptor, parts: &[Span], flags: c_uint) -> Sys {
    let v: Vec<iovec> = parts
        .iter()
        .map(|s| iovec {
            iov_base: s.addr as *mut _,
            iov_len: s.len,
        })
        .collect();
    // SAFETY: a valid vector of spans.
    check(unsafe { libc::vmsplice(fd.number(), v.as_ptr(), v.len(), flags) } as i64)
}

pub fn sendfile(to: impl Descriptor, from: impl Descriptor, at: Option<i64>, len: usize) -> Sys {
    let mut at = at;
    let at = pointer(&mut at);
    // SAFETY: offset valid or null.
    check(unsafe { libc::sendfile(to.number(), from.number(), at, len) } as i64)
}

pub fn copy_file_range(from: impl Descriptor, to: impl Descriptor, len: usize) -> Sys {
    let (a, b) = (null_mut(), null_mut());
    // SAFETY: no offsets.
    check(unsafe { libc::copy_file_range(from.number(), a, to.number(), b, len, 0) } as i64)
}
