//! One slot of a pipe: Linux's `struct pipe_buffer` in one word, and the rules about it.
//!
//! ```text
//! 63..32 low 32 bits of the slot's sequence number
//! 31..19 PAGE    which page of the ring's memory its bytes are in
//! 18     PACKET  one write(2) in packet mode (PIPE_BUF_FLAG_PACKET)
//! 17     MERGE   later writes may be appended (PIPE_BUF_FLAG_CAN_MERGE)
//! 16     CLOSED  read empty while it was the last slot: nothing may be appended any more
//! 15..0  END     bytes written, 0..=4096
//! ```
//!
//! In Linux one mutex makes "the reader empties the last buffer" and "the writer appends to it"
//! exclude each other. Here the two sides have a lock each, and meet in this word: the writer
//! appends by a CAS on END, the reader retires the *last* slot by a CAS that sets CLOSED. Only
//! one can win; the other sees it and does what Linux would do in that order.
//! See Linux v6.18 fs/pipe.c, `pipe_write` ("chars && !was_empty") and `pipe_update_tail`.
//!
//! The slots' pages follow each other, so that no two filled slots have the same; but a polled pipe that was
//! read empty begins again with the page that it had last, as Linux does (`tmp_page`): hundreds of
//! pipes with a few bytes each would go through all of their pages otherwise, and find none in a cache.
//!
//! # Crash points
//!
//! - C1. Reader killed between CLOSED and the new tail: the next reader finds a closed slot whose
//!   bytes it reads again (nobody was told of them); only merging is lost.

use crate::abi::limits::PAGE_SIZE;
use crate::planted::{planted, Bug};

const END: u64 = 0xffff;
const CLOSED: u64 = 1 << 16;
const MERGE: u64 = 1 << 17;
const PACKET: u64 = 1 << 18;
const PAGE_SHIFT: u32 = 19;
const PAGE: u64 = 0x1fff << PAGE_SHIFT;

/// How a write fills a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// write(2): later writes may be appended.
    Stream,
    /// write(2) with O_DIRECT: a packet.
    Packet,
    /// Spliced in: a page of somebody else's, nothing is appended.
    Gift,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotWord(pub u64);

impl SlotWord {
    pub fn new(seq: u64, len: usize, kind: Kind) -> SlotWord {
        let flags = match kind {
            Kind::Stream => MERGE,
            Kind::Packet => PACKET,
            Kind::Gift => 0,
        };
        SlotWord(seq << 32 | flags | len.min(PAGE_SIZE) as u64)
    }

    /// Bytes written. Never more than a page, whatever the word says.
    #[inline(always)]
    pub fn end(self) -> usize {
        ((self.0 & END) as usize).min(PAGE_SIZE)
    }

    /// As this, with its bytes in that page of the ring.
    #[inline(always)]
    pub fn in_page(self, page: usize) -> SlotWord {
        SlotWord(self.0 & !PAGE | (page as u64) << PAGE_SHIFT & PAGE)
    }

    /// Any number up to 8191, whatever the word says.
    #[inline(always)]
    pub fn page(self) -> usize {
        ((self.0 & PAGE) >> PAGE_SHIFT) as usize
    }

    #[inline(always)]
    pub fn is_of(self, seq: u64) -> bool {
        self.0 >> 32 == seq & 0xffff_ffff
    }

    pub fn is_packet(self) -> bool {
        self.0 & PACKET != 0 && !planted(Bug::PipePacketsMerge)
    }

    /// Whether a writer might still append: retiring this slot needs the CAS.
    #[inline(always)]
    pub fn is_open(self) -> bool {
        self.0 & (MERGE | CLOSED) == MERGE
    }

    pub fn closed(self) -> SlotWord {
        SlotWord(self.0 | CLOSED)
    }

    pub fn grown(self, by: usize) -> SlotWord {
        SlotWord(self.0 + by as u64)
    }

    /// Linux's merge rule: of `total` bytes, the odd ones (`total % PAGE_SIZE`) go into the last
    /// buffer, first, if they all fit there and the buffer is not empty-read. How many.
    /// (fs/pipe.c `pipe_write`: "If it wasn't empty, try to merge new data into the last buffer")
    #[inline(always)]
    pub fn merges(self, total: usize) -> usize {
        let odd = total % PAGE_SIZE;
        if self.is_open() && self.end() + odd <= PAGE_SIZE && !planted(Bug::PipeNeverMerges) {
            odd
        } else {
            0
        }
    }
}

/// `pipe_full`: `head - tail >= slots`. Sequence numbers are 48 bits wide and do not wrap in
/// practice (2^48 slots are a year of a million a second, times nine).
#[inline(always)]
pub fn is_full(head: u64, tail: u64, slots: u32) -> bool {
    let slots = u64::from(slots);
    head.wrapping_sub(tail) >= slots - u64::from(planted(Bug::PipeFullOneEarly))
}

/// Where the reader is: slot sequence and offset in that slot, in one word, so that both move by
/// one store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tail {
    pub seq: u64,
    pub off: usize,
}

impl Tail {
    #[inline(always)]
    pub fn from_raw(raw: u64) -> Tail {
        Tail {
            seq: raw >> 16,
            off: ((raw & 0xffff) as usize).min(PAGE_SIZE),
        }
    }

    #[inline(always)]
    pub fn raw(self) -> u64 {
        self.seq << 16 | self.off as u64
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_the_odd_bytes_merge_and_only_if_all_fit() {
        let w = SlotWord::new(1, 1, Kind::Stream);
        assert_eq!(w.merges(1), 1);
        assert_eq!(w.merges(4095), 4095);
        assert_eq!(w.merges(4096), 0);
        assert_eq!(w.merges(4097), 1);
        assert_eq!(w.grown(4095).merges(1), 0);
    }

    #[test]
    fn a_closed_slot_a_packet_and_a_gift_never_merge() {
        assert_eq!(SlotWord::new(1, 1, Kind::Stream).closed().merges(1), 0);
        assert_eq!(SlotWord::new(1, 1, Kind::Packet).merges(1), 0);
        assert_eq!(SlotWord::new(1, 1, Kind::Gift).merges(1), 0);
    }

    #[test]
    fn a_scribbled_word_never_reaches_past_its_page() {
        assert_eq!(SlotWord(u64::MAX).end(), PAGE_SIZE);
        assert_eq!(Tail::from_raw(u64::MAX).off, PAGE_SIZE);
    }

    #[test]
    fn a_page_is_no_part_of_anything_else() {
        let w = SlotWord::new(7, 9, Kind::Stream);
        let there = w.in_page(8191);
        assert_eq!((there.page(), there.end()), (8191, 9));
        assert!(there.is_of(7) && there.is_open());
        assert_eq!(there.grown(1).closed().page(), 8191);
        assert_eq!(there.in_page(0), w);
    }

    #[test]
    fn tail_survives_a_round_trip() {
        let t = Tail {
            seq: 123_456_789,
            off: 4095,
        };
        assert_eq!(Tail::from_raw(t.raw()), t);
    }
}

#[cfg(all(test, loom))]
#[path = "slot_loom.rs"]
mod loom_tests;
