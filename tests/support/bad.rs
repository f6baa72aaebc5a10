//! Memory at the border of what is mapped, to see where EFAULT comes and what it costs.

use libc::{MAP_ANONYMOUS, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const PAGE: usize = 4096;
const FAR_AWAY: usize = 0x2000_0000_0000;

/// An address and a length, for the kernel to judge. Never memory of a Rust object, unless it is
/// only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub addr: usize,
    pub len: usize,
}

/// The null page.
pub const NULL: Span = Span { addr: 0, len: 1 };
/// An address of the kernel's half: rejected before anything is copied.
pub const KERNEL: Span = Span {
    addr: 0xFFFF_8000_0000_0000,
    len: 1,
};

impl Span {
    pub fn with_len(self, len: usize) -> Span {
        Span { len, ..self }
    }
}

/// Some good pages, and behind them one that nobody may touch.
pub struct Cliff {
    base: usize,
    good: usize,
    mapped: usize,
}

impl Cliff {
    /// The page behind is mapped `PROT_NONE`.
    pub fn protected(pages: usize) -> Cliff {
        Cliff::new(pages, false)
    }

    /// The page behind is not mapped.
    pub fn unmapped(pages: usize) -> Cliff {
        Cliff::new(pages, true)
    }

    fn new(pages: usize, unmap: bool) -> Cliff {
        let (good, mapped) = (pages * PAGE, (pages + 1) * PAGE);
        // Far from where the kernel puts mappings by itself: nobody shall fill the hole by chance.
        static NEXT: AtomicUsize = AtomicUsize::new(FAR_AWAY);
        let base = NEXT.fetch_add(1 << 30, Relaxed);
        let (prot, flags) = (PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        let flags = flags | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: a new anonymous mapping that replaces nothing.
        let at = unsafe { libc::mmap(base as *mut _, mapped, prot, flags, -1, 0) };
        assert_eq!(
            at as usize,
            base,
            "mmap: {}",
            std::io::Error::last_os_error()
        );
        // SAFETY: the last page of the mapping just made.
        let done = unsafe {
            match unmap {
                true => libc::munmap((base + good) as *mut _, PAGE),
                false => libc::mprotect((base + good) as *mut _, PAGE, PROT_NONE),
            }
        };
        assert_eq!(done, 0);
        Cliff {
            base,
            good,
            mapped: if unmap { good } else { mapped },
        }
    }

    /// The good bytes before the edge.
    pub fn len(&self) -> usize {
        self.good
    }

    pub fn is_empty(&self) -> bool {
        self.good == 0
    }

    /// `before` good bytes, then bad ones; `len` in all.
    pub fn across(&self, before: usize, len: usize) -> Span {
        assert!(before <= self.good);
        Span {
            addr: self.base + self.good - before,
            len,
        }
    }

    /// Nothing but good bytes, from `offset` on.
    pub fn inside(&self, offset: usize, len: usize) -> Span {
        assert!(offset + len <= self.good);
        Span {
            addr: self.base + offset,
            len,
        }
    }

    /// The bad byte behind the edge.
    pub fn bad(&self, len: usize) -> Span {
        self.across(0, len)
    }

    /// Puts data at the end of the good bytes.
    pub fn put_before_edge(&self, data: &[u8]) {
        self.put(self.good - data.len(), data);
    }

    pub fn put(&self, offset: usize, data: &[u8]) {
        let to = self.inside(offset, data.len());
        // SAFETY: in bounds of the good part, which is mapped as long as `self` lives.
        unsafe { std::ptr::copy(data.as_ptr(), to.addr as *mut u8, data.len()) };
    }

    pub fn get(&self, offset: usize, len: usize) -> Vec<u8> {
        let from = self.inside(offset, len);
        let mut data = vec![0; len];
        // SAFETY: in bounds of the good part, which is mapped as long as `self` lives.
        unsafe { std::ptr::copy(from.addr as *const u8, data.as_mut_ptr(), len) };
        data
    }

    /// The last `len` good bytes.
    pub fn get_before_edge(&self, len: usize) -> Vec<u8> {
        self.get(self.good - len, len)
    }
}

impl Drop for Cliff {
    fn drop(&mut self) {
        // SAFETY: our own mapping; spans of it are only numbers.
        unsafe { libc::munmap(self.base as *mut _, self.mapped) };
    }
}
