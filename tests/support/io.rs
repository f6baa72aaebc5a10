//! Reading and writing, by libc's public functions. See read(2), write(2), readv(2).

use crate::bad::Span;
use crate::fd::Descriptor;
use crate::{check, Sys};
use libc::{c_int, iovec, off_t};

pub fn read(fd: impl Descriptor, buf: &mut [u8]) -> Sys {
    // SAFETY: `buf` is writable for its length.
    check(unsafe { libc::read(fd.number(), buf.as_mut_ptr().cast(), buf.len()) } as i64)
}

pub fn write(fd: impl Descriptor, buf: &[u8]) -> Sys {
    // SAFETY: `buf` is readable for its length.
    check(unsafe { libc::write(fd.number(), buf.as_ptr().cast(), buf.len()) } as i64)
}

pub fn pread(fd: impl Descriptor, buf: &mut [u8], at: off_t) -> Sys {
    let (to, len) = (buf.as_mut_ptr().cast(), buf.len());
    // SAFETY: `buf` is writable for its length.
    check(unsafe { libc::pread(fd.number(), to, len, at) } as i64)
}

pub fn pwrite(fd: impl Descriptor, buf: &[u8], at: off_t) -> Sys {
    let (from, len) = (buf.as_ptr().cast(), buf.len());
    // SAFETY: `buf` is readable for its length.
    check(unsafe { libc::pwrite(fd.number(), from, len, at) } as i64)
}

/// One read(2) of at most `max` bytes: what came.
pub fn read_n(fd: impl Descriptor, max: usize) -> Result<Vec<u8>, i32> {
    static UNTOUCHED: [u8; 65536] = [0xEE; 65536];
    let mut buf = vec![0xEE; max];
    let n = read(fd, &mut buf)?;
    for rest in buf[n..].chunks(UNTOUCHED.len()) {
        assert!(
            rest == &UNTOUCHED[..rest.len()],
            "read touched bytes beyond those it returned"
        );
    }
    buf.truncate(n);
    Ok(buf)
}

/// As many read(2)s as it takes to get `len` bytes.
pub fn read_exactly(fd: impl Descriptor, len: usize) -> Vec<u8> {
    let mut buf = vec![0; len];
    let mut have = 0;
    while have < len {
        match read(fd, &mut buf[have..]) {
            Ok(0) => panic!("end of file after {have} of {len} bytes"),
            Ok(n) => have += n,
            Err(libc::EINTR) => {}
            Err(e) => panic!("read: errno {e} after {have} of {len} bytes"),
        }
    }
    buf
}

/// Everything until end of file.
pub fn read_to_end(fd: impl Descriptor) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buf = vec![0; 65536];
    loop {
        match read(fd, &mut buf) {
            Ok(0) => return all,
            Ok(n) => all.extend_from_slice(&buf[..n]),
            Err(libc::EINTR) => {}
            Err(e) => panic!("read: errno {e} after {} bytes", all.len()),
        }
    }
}

/// As many write(2)s as it takes.
pub fn write_all(fd: impl Descriptor, mut data: &[u8]) {
    while !data.is_empty() {
        match write(fd, data) {
            Ok(n) => data = &data[n..],
            Err(libc::EINTR) => {}
            Err(e) => panic!("write: errno {e}, {} bytes left", data.len()),
        }
    }
}

/// Fills a nonblocking pipe to the brim, page by page and then byte by byte. Returns the count.
pub fn fill(fd: impl Descriptor) -> usize {
    let mut total = 0;
    for size in [4096, 1] {
        while let Ok(n) = write(fd, &crate::rng::stream(total, size)) {
            total += n;
        }
    }
    assert_eq!(write(fd, b"x"), Err(libc::EAGAIN), "a full pipe");
    total
}

/// Empties a nonblocking pipe. Returns what was in it.
pub fn drain(fd: impl Descriptor) -> Vec<u8> {
    let mut all = Vec::new();
    while let Ok(more) = read_n(fd, 65536) {
        if more.is_empty() {
            break;
        }
        all.extend(more);
    }
    all
}

/// read(2) into memory that may not be there.
pub fn read_span(fd: impl Descriptor, to: Span) -> Sys {
    // SAFETY: a span is memory that no Rust object lives in.
    check(unsafe { libc::read(fd.number(), to.addr as *mut _, to.len) } as i64)
}

/// write(2) from memory that may not be there.
pub fn write_span(fd: impl Descriptor, from: Span) -> Sys {
    // SAFETY: the kernel only reads, and says EFAULT.
    check(unsafe { libc::write(fd.number(), from.addr as *const _, from.len) } as i64)
}

/// Spans as the kernel wants them.
fn vector(spans: &[Span]) -> Vec<iovec> {
    spans
        .iter()
        .map(|s| iovec {
            iov_base: s.addr as *mut _,
            iov_len: s.len,
        })
        .collect()
}

pub fn readv(fd: impl Descriptor, to: &[Span]) -> Sys {
    let v = vector(to);
    // SAFETY: `v` is valid, and spans are memory that no Rust object lives in.
    check(unsafe { libc::readv(fd.number(), v.as_ptr(), v.len() as c_int) } as i64)
}

pub fn writev(fd: impl Descriptor, from: &[Span]) -> Sys {
    let v = vector(from);
    // SAFETY: `v` is valid; the kernel only reads what it points at.
    check(unsafe { libc::writev(fd.number(), v.as_ptr(), v.len() as c_int) } as i64)
}

pub fn preadv2(fd: impl Descriptor, to: &[Span], offset: off_t, flags: c_int) -> Sys {
    let v = vector(to);
    let n = v.len() as c_int;
    // SAFETY: as readv.
    check(unsafe { libc::preadv2(fd.number(), v.as_ptr(), n, offset, flags) } as i64)
}

pub fn pwritev2(fd: impl Descriptor, from: &[Span], offset: off_t, flags: c_int) -> Sys {
    let v = vector(from);
    let n = v.len() as c_int;
    // SAFETY: as writev.
    check(unsafe { libc::pwritev2(fd.number(), v.as_ptr(), n, offset, flags) } as i64)
}

/// readv(2) with any pointer to the vector and any count.
pub fn readv_at(fd: impl Descriptor, vector: Span, count: c_int) -> Sys {
    // SAFETY: the vector lies in a span, and what it points at too.
    check(unsafe { libc::readv(fd.number(), vector.addr as *const _, count) } as i64)
}

/// writev(2) with any pointer to the vector and any count.
pub fn writev_at(fd: impl Descriptor, vector: Span, count: c_int) -> Sys {
    // SAFETY: the kernel only reads, and says EFAULT.
    check(unsafe { libc::writev(fd.number(), vector.addr as *const _, count) } as i64)
}

/// writev(2) of plain buffers.
pub fn writev_slices(fd: impl Descriptor, parts: &[&[u8]]) -> Sys {
    let spans: Vec<Span> = parts
        .iter()
        .map(|p| Span {
            addr: p.as_ptr() as usize,
            len: p.len(),
        })
        .collect();
    writev(fd, &spans)
}
