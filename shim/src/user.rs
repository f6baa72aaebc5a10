//! Guest memory as cursors over fault-safe copies. No reference to it is ever made.

use ringer_kernel::abi::limits::{IOV_MAX, MAX_RW_COUNT};
use ringer_kernel::host::{UserRead, UserWrite};

use crate::gate;

/// End of user space's half of the addresses. (TASK_SIZE_MAX, four-level paging)
const TASK_SIZE: usize = 0x7fff_ffff_f000;

/// `access_ok`: whether the kernel would even try these addresses.
pub fn access_ok(p: usize, len: usize) -> bool {
    p.checked_add(len).is_some_and(|end| end <= TASK_SIZE)
}

/// One buffer of the guest's.
pub struct Flat {
    base: usize,
    at: usize,
}

impl Flat {
    pub fn new(p: usize) -> Flat {
        Flat { base: p, at: 0 }
    }
}

impl UserRead for Flat {
    #[inline(always)]
    fn copy_in(&mut self, dst: *mut u8, len: usize) -> bool {
        let ok = gate::copy(dst, (self.base + self.at) as *const u8, len);
        if ok {
            self.at += len;
        }
        ok
    }

    fn rewind(&mut self, to: usize) {
        self.at = to;
    }

    #[inline(always)]
    fn position(&self) -> usize {
        self.at
    }
}

impl UserWrite for Flat {
    #[inline(always)]
    fn copy_out(&mut self, src: *const u8, len: usize) -> bool {
        let ok = gate::copy((self.base + self.at) as *mut u8, src, len);
        if ok {
            self.at += len;
        }
        ok
    }
}

/// struct iovec.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Iovec {
    pub base: usize,
    pub len: usize,
}

/// A vector of buffers. Its parts are fetched one by one when they are needed: this may run on a
/// small signal stack, where 1024 of them would not fit.
pub struct Vectored {
    iov: usize,
    count: usize,
    /// Bytes in all, at most MAX_RW_COUNT.
    pub total: usize,
    /// Position from the start; and the same as a part and an offset in it.
    at: usize,
    part: usize,
    offset: usize,
}

impl Vectored {
    /// Linux v6.18 lib/iov_iter.c `__import_iovec`: EINVAL above 1024 parts or for a negative
    /// length, EFAULT for bad addresses; longer totals are cut.
    pub fn import(iov: usize, count: usize) -> Result<Vectored, isize> {
        if count > IOV_MAX {
            return Err(-(libc::EINVAL as isize));
        }
        let mut v = Vectored {
            iov,
            count,
            total: 0,
            at: 0,
            part: 0,
            offset: 0,
        };
        for i in 0..count {
            let Some(part) = v.fetch(i) else {
                return Err(-(libc::EFAULT as isize));
            };
            if (part.len as isize) < 0 {
                return Err(-(libc::EINVAL as isize));
            }
        }
        for i in 0..count {
            let part = v.fetch(i).unwrap_or_default();
            // A lone part is cut down first, and then looked at (`__import_iovec_ubuf`).
            let len = if count == 1 {
                part.len.min(MAX_RW_COUNT)
            } else {
                part.len
            };
            if !access_ok(part.base, len) {
                return Err(-(libc::EFAULT as isize));
            }
            v.total = v.total.saturating_add(len).min(MAX_RW_COUNT);
        }
        Ok(v)
    }

    fn fetch(&self, i: usize) -> Option<Iovec> {
        fetch(self.iov.checked_add(i * core::mem::size_of::<Iovec>())?)
    }

    /// The next piece: its address and length. `None`: the end, or bad memory.
    fn piece(&mut self) -> Option<(usize, usize)> {
        while self.part < self.count {
            let part = self.fetch(self.part)?;
            if self.offset < part.len {
                return Some((part.base + self.offset, part.len - self.offset));
            }
            self.part += 1;
            self.offset = 0;
        }
        None
    }

    /// Calls `f(address, done, length)` for the pieces of the next `len` bytes.
    fn pieces(&mut self, len: usize, mut f: impl FnMut(usize, usize, usize) -> bool) -> bool {
        let (part, offset) = (self.part, self.offset);
        let mut done = 0;
        while done < len {
            let copied = match self.piece() {
                Some((base, n)) => {
                    let n = n.min(len - done);
                    f(base, done, n).then_some(n)
                }
                None => None,
            };
            let Some(n) = copied else {
                self.part = part;
                self.offset = offset;
                return false;
            };
            self.offset += n;
            done += n;
        }
        self.at += len;
        true
    }

    /// Piece by piece, until one is short, as for a file that knows no vectors.
    /// (fs/read_write.c do_loop_readv_writev)
    pub fn in_turn(&mut self, mut f: impl FnMut(usize, usize) -> isize) -> isize {
        let mut done = 0;
        while let Some((base, n)) = self.piece() {
            let got = f(base, n);
            if got < 0 {
                return if done == 0 { got } else { done };
            }
            done += got;
            self.offset += got as usize;
            if (got as usize) < n {
                break;
            }
        }
        done
    }

    /// Writes what is left with real calls, until one is short. Bytes written.
    pub fn write_rest(&mut self, fd: i32) -> isize {
        let mut done = 0;
        while self.at < self.total {
            let Some((base, n)) = self.piece() else { break };
            let n = n.min(self.total - self.at);
            let got = gate::sys!(libc::SYS_write, fd, base, n);
            if got <= 0 {
                break;
            }
            self.offset += got as usize;
            self.at += got as usize;
            done += got;
            if (got as usize) < n {
                break;
            }
        }
        done
    }
}

impl Vectored {
    /// Sends what comes after the first `done` bytes with real calls, until one is short. Bytes sent.
    pub fn send_rest(&mut self, fd: i32, done: usize, flags: i32) -> isize {
        self.rewind(done);
        let flags = flags | libc::MSG_NOSIGNAL; // a part was sent
        let left = self.total - done.min(self.total);
        let mut more = 0;
        while (more as usize) < left {
            let Some((base, n)) = self.piece() else { break };
            let n = n.min(left - more as usize);
            let got = gate::sys!(libc::SYS_sendto, fd, base, n, flags, 0, 0);
            if got <= 0 {
                break;
            }
            self.offset += got as usize;
            more += got;
            if (got as usize) < n {
                break;
            }
        }
        more
    }

    /// Reads what is still wanted with a real call. Bytes read.
    pub fn read_rest(&mut self, fd: i32) -> isize {
        match self.piece() {
            Some((base, n)) => gate::sys!(libc::SYS_read, fd, base, n.min(self.total - self.at)),
            None => 0,
        }
    }
}

impl UserRead for Vectored {
    fn copy_in(&mut self, dst: *mut u8, len: usize) -> bool {
        // `dst` is ringer's, `len` bytes of it.
        self.pieces(len, |at, done, n| {
            gate::copy(dst.wrapping_add(done), at as *const u8, n)
        })
    }

    fn rewind(&mut self, to: usize) {
        self.at = to;
        self.part = 0;
        self.offset = to;
        while let Some(part) = self.fetch(self.part) {
            if self.offset < part.len || self.part >= self.count {
                break;
            }
            self.offset -= part.len;
            self.part += 1;
        }
    }

    fn position(&self) -> usize {
        self.at
    }
}

impl UserWrite for Vectored {
    fn copy_out(&mut self, src: *const u8, len: usize) -> bool {
        self.pieces(len, |at, done, n| {
            gate::copy(at as *mut u8, src.wrapping_add(done), n)
        })
    }
}

/// Copies a value out to the guest. `false`: EFAULT.
pub fn put<T: Copy>(to: usize, value: &T) -> bool {
    let len = core::mem::size_of::<T>();
    access_ok(to, len) && gate::copy(to as *mut u8, core::ptr::from_ref(value).cast(), len)
}

/// Whether a `T` can be read there. (In an armed process.)
pub fn readable<T>(from: usize) -> bool {
    let mut room = core::mem::MaybeUninit::<T>::uninit();
    let size = core::mem::size_of::<T>();
    access_ok(from, size) && gate::copy(room.as_mut_ptr().cast(), from as *const u8, size)
}

/// Copies a plain value in from the guest. `None`: EFAULT. `T` must be valid for any bits.
pub fn fetch<T: Copy + Default>(from: usize) -> Option<T> {
    let mut value = T::default();
    let len = core::mem::size_of::<T>();
    (access_ok(from, len)
        && gate::copy(
            core::ptr::from_mut(&mut value).cast(),
            from as *const u8,
            len,
        ))
    .then_some(value)
}

/// Copies a NUL-terminated string into `into`. Its length, or `None` for EFAULT or too long.
pub fn fetch_str(from: usize, into: &mut [u8]) -> Option<usize> {
    for (i, to) in into.iter_mut().enumerate() {
        if !access_ok(from + i, 1) || !gate::copy(to, (from + i) as *const u8, 1) {
            return None;
        }
        if *to == 0 {
            return Some(i);
        }
    }
    None
}
