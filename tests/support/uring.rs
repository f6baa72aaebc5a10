//! Just enough of io_uring(7) to read and write behind every library's back.

use crate::bad::Span;
use crate::fd::{Descriptor, Fd};
use crate::{check, Sys};
use std::sync::atomic::{AtomicU32, Ordering};

const ENTRIES: u32 = 8;
const SQE_BYTES: usize = 64;
const IORING_OFF_SQES: i64 = 0x1000_0000;
const IORING_OP_POLL_ADD: u8 = 6;
const IORING_OP_READ: u8 = 22;
const IORING_OP_WRITE: u8 = 23;
const IORING_ENTER_GETEVENTS: u32 = 1;
const IORING_FEAT_SINGLE_MMAP: u32 = 1;

/// `struct io_uring_params`: 30 words. Those of the two rings' offsets follow the first ten.
type Params = [u32; 30];
const FEATURES: usize = 5;
const SQ_OFF: usize = 10;
const CQ_OFF: usize = 20;

/// One ring, for one request at a time.
pub struct Uring {
    fd: Fd,
    rings: Mapping,
    sqes: Mapping,
    params: Params,
}

struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    fn new(fd: &Fd, len: usize, offset: i64) -> Mapping {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd.number(), offset) };
        assert_ne!(at, libc::MAP_FAILED, "mmap of an io_uring");
        Mapping { at: at.cast(), len }
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset + 4 <= self.len && offset.is_multiple_of(4));
        // SAFETY: in bounds and aligned, mapped as long as `self`; shared with the kernel.
        unsafe { &*self.at.add(offset).cast::<AtomicU32>() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping; `word` lends no longer than `self` lives.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

impl Uring {
    /// `None` where the system has no io_uring, or forbids it.
    pub fn new() -> Option<Uring> {
        let mut params: Params = [0; 30];
        // SAFETY: room for the parameters.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, params.as_mut_ptr()) };
        let fd = match check(fd) {
            Ok(fd) => Fd::own(fd),
            Err(libc::ENOSYS | libc::EPERM) => return None,
            Err(e) => panic!("io_uring_setup: errno {e}"),
        };
        assert!(
            params[FEATURES] & IORING_FEAT_SINGLE_MMAP != 0,
            "Linux 5.4 or later"
        );
        let sq_bytes = params[SQ_OFF + 6] + params[0] * 4; // array
        let cq_bytes = params[CQ_OFF + 5] + params[1] * 16; // cqes
        let rings = Mapping::new(&fd, sq_bytes.max(cq_bytes) as usize, 0);
        let sqes = Mapping::new(&fd, params[0] as usize * SQE_BYTES, IORING_OFF_SQES);
        Some(Uring {
            fd,
            rings,
            sqes,
            params,
        })
    }

    fn ring_word(&self, offset: u32) -> &AtomicU32 {
        self.rings.word(offset as usize)
    }

    /// Queues one request and lets the kernel begin with it.
    fn submit(&self, opcode: u8, fd: i32, addr: usize, len: usize, op_flags: u32) {
        // A pipe has no offset: -1. A poll must not have one either: 0.
        let offset = if opcode == IORING_OP_POLL_ADD {
            0
        } else {
            u64::MAX
        };
        let sqe = [
            u32::from(opcode),
            fd as u32,
            offset as u32,
            (offset >> 32) as u32,
            addr as u32,
            (addr as u64 >> 32) as u32,
            len as u32,
            op_flags,
        ];
        for i in 0..SQE_BYTES / 4 {
            let value = sqe.get(i).copied().unwrap_or(0);
            self.sqes.word(i * 4).store(value, Ordering::Relaxed);
        }
        let tail = self.ring_word(self.params[SQ_OFF + 1]);
        let mask = self
            .ring_word(self.params[SQ_OFF + 2])
            .load(Ordering::Relaxed);
        let at = tail.load(Ordering::Relaxed);
        self.ring_word(self.params[SQ_OFF + 6] + (at & mask) * 4)
            .store(0, Ordering::Relaxed);
        tail.store(at.wrapping_add(1), Ordering::Release);
        assert_eq!(self.enter(1, 0, 0), Ok(1));
    }

    fn enter(&self, submit: u32, complete: u32, flags: u32) -> Sys {
        let (nr, none) = (libc::SYS_io_uring_enter, 0usize);
        let fd = self.fd.number();
        // SAFETY: numbers, and no signal mask.
        check(unsafe { libc::syscall(nr, fd, submit, complete, flags, none, none) })
    }

    /// Whether a request is complete.
    pub fn is_complete(&self) -> bool {
        let head = self.ring_word(self.params[CQ_OFF]).load(Ordering::Relaxed);
        head != self
            .ring_word(self.params[CQ_OFF + 1])
            .load(Ordering::Acquire)
    }

    /// Waits for the request's completion, and gives its result.
    pub fn complete(&self) -> Sys {
        while !self.is_complete() {
            match self.enter(0, 1, IORING_ENTER_GETEVENTS) {
                Ok(_) | Err(libc::EINTR) => {}
                Err(e) => panic!("io_uring_enter: errno {e}"),
            }
        }
        let head = self.ring_word(self.params[CQ_OFF]);
        let at = head.load(Ordering::Relaxed);
        let mask = self
            .ring_word(self.params[CQ_OFF + 2])
            .load(Ordering::Relaxed);
        let cqe = self.params[CQ_OFF + 5] + (at & mask) * 16;
        let result = self.ring_word(cqe + 8).load(Ordering::Relaxed) as i32;
        head.store(at.wrapping_add(1), Ordering::Release);
        if result < 0 {
            Err(-result)
        } else {
            Ok(result as usize)
        }
    }

    /// Begins a read. The span must stay as long as it is under way.
    pub fn begin_read(&self, fd: impl Descriptor, to: Span) {
        self.submit(IORING_OP_READ, fd.number(), to.addr, to.len, 0);
    }

    pub fn begin_write(&self, fd: impl Descriptor, from: Span) {
        self.submit(IORING_OP_WRITE, fd.number(), from.addr, from.len, 0);
    }

    pub fn begin_poll(&self, fd: impl Descriptor, events: i16) {
        self.submit(IORING_OP_POLL_ADD, fd.number(), 0, 0, events as u32);
    }
}
