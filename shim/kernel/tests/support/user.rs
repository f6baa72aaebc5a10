//! Guest memory as slices that fault at a byte of the test's choice.

use ringer_kernel::host::{UserRead, UserWrite};

/// Source of a write(2).
pub struct Src<'a> {
    data: &'a [u8],
    at: usize,
    fault_at: Option<usize>,
}

impl<'a> Src<'a> {
    pub fn new(data: &'a [u8]) -> Src<'a> {
        Src {
            data,
            at: 0,
            fault_at: None,
        }
    }

    /// The byte at `fault_at` and all after it can not be read.
    pub fn faulting(data: &'a [u8], fault_at: Option<usize>) -> Src<'a> {
        Src {
            data,
            at: 0,
            fault_at,
        }
    }
}

impl UserRead for Src<'_> {
    fn copy_in(&mut self, dst: *mut u8, len: usize) -> bool {
        // As a real copy would, it moves what comes before the bad byte.
        let good = self
            .fault_at
            .map_or(len, |f| f.saturating_sub(self.at).min(len));
        let from = &self.data[self.at..self.at + good];
        // SAFETY: `dst` has room for `len` bytes, by the trait's contract.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), dst, good) };
        if good < len {
            return false;
        }
        self.at += len;
        true
    }

    fn rewind(&mut self, to: usize) {
        assert!(to <= self.at);
        self.at = to;
    }

    fn position(&self) -> usize {
        self.at
    }
}

/// Destination of a read(2).
pub struct Dst<'a> {
    data: &'a mut [u8],
    at: usize,
    fault_at: Option<usize>,
}

impl<'a> Dst<'a> {
    pub fn new(data: &'a mut [u8]) -> Dst<'a> {
        Dst {
            data,
            at: 0,
            fault_at: None,
        }
    }

    /// The byte at `fault_at` and all after it can not be written.
    pub fn faulting(data: &'a mut [u8], fault_at: Option<usize>) -> Dst<'a> {
        Dst {
            data,
            at: 0,
            fault_at,
        }
    }
}

impl UserWrite for Dst<'_> {
    fn copy_out(&mut self, src: *const u8, len: usize) -> bool {
        let good = self
            .fault_at
            .map_or(len, |f| f.saturating_sub(self.at).min(len));
        let to = &mut self.data[self.at..self.at + good];
        // SAFETY: `src` has `len` bytes, by the trait's contract.
        unsafe { std::ptr::copy_nonoverlapping(src, to.as_mut_ptr(), good) };
        if good < len {
            return false;
        }
        self.at += len;
        true
    }
}
