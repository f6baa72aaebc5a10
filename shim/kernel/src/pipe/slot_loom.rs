//! A ring of one or two slots as `write.rs` and `read.rs` use it, step for step, in loom: the
//! writer's append by CAS against the reader's CLOSED, `head` and `tail` against the pages. Loom
//! reports a page that is read while it is written, and the tests any byte lost, repeated or out
//! of order.
//!
//! Each half of the protocol is also left out once, and then loom must find a fault.

use super::*;
use crate::sync::atomic::{AtomicU64, Ordering::*};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// One cell of the model stands for half a page, so that the real rules apply.
const HALF: usize = PAGE_SIZE / 2;

/// What is left out.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    /// The writer appends by a plain store.
    AppendCas,
    /// The writer's CAS is by the word as it is then, not as it was when the bytes were copied.
    OldWord,
    /// The reader closes the last slot by a plain store.
    CloseCas,
    /// The reader leaves the last slot behind without closing it.
    Close,
    /// The reader does not look at END again when the writer has gone on.
    SecondLook,
    /// The writer's CAS releases nothing.
    AppendRelease,
    HeadRelease,
    TailRelease,
}

struct Ring {
    head: AtomicU64,
    tail: AtomicU64,
    words: Vec<AtomicU64>,
    pages: Vec<[UnsafeCell<u8>; 2]>,
    without: Without,
}

impl Ring {
    fn new(slots: usize, without: Without) -> Ring {
        Ring {
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            words: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            pages: (0..slots)
                .map(|_| [UnsafeCell::new(0), UnsafeCell::new(0)])
                .collect(),
            without,
        }
    }

    fn word(&self, seq: u64) -> &AtomicU64 {
        &self.words[seq as usize % self.words.len()]
    }

    fn release_unless(&self, without: Without) -> loom::sync::atomic::Ordering {
        if self.without == without {
            Relaxed
        } else {
            Release
        }
    }

    fn copy_in(&self, seq: u64, at: usize, data: &[u8]) {
        for (i, byte) in data.iter().enumerate() {
            // SAFETY: loom reports whoever else is there.
            self.pages[seq as usize % self.pages.len()][at + i].with_mut(|p| unsafe { *p = *byte });
        }
    }

    fn copy_out(&self, seq: u64, at: usize) -> u8 {
        // SAFETY: loom reports whoever writes there.
        self.pages[seq as usize % self.pages.len()][at].with(|p| unsafe { *p })
    }

    /// write.rs `fill`: how many bytes went in. `head` is the writer's own (P3), and so need not be
    /// loaded; loom sees more orders when each side only loads what the other stores.
    fn write(&self, own: &mut u64, data: &[u8], merge: bool) -> usize {
        let head = *own;
        let mut last = None;
        if let Some(seq) = head.checked_sub(1).filter(|_| merge) {
            let word = SlotWord(self.word(seq).load(Acquire));
            let n = word.merges(data.len() * HALF) / HALF;
            if word.is_of(seq) && n > 0 {
                self.copy_in(seq, word.end() / HALF, &data[..n]);
                last = Some((seq, word, n));
            }
        }
        let odd = last.map_or(0, |l| l.2);
        let (mut at, mut done) = (head, odd);
        while done < data.len() {
            let tail = Tail::from_raw(self.tail.load(Acquire)).seq;
            assert!(tail <= at, "P1");
            if is_full(at, tail, self.words.len() as u32) {
                break;
            }
            let n = (data.len() - done).min(2);
            self.copy_in(at, 0, &data[done..done + n]);
            self.word(at)
                .store(SlotWord::new(at, n * HALF, Kind::Stream).0, Relaxed);
            at += 1;
            done += n;
        }
        if let Some((seq, word, odd)) = last {
            if !self.append(seq, word, odd * HALF) {
                return self.write(own, data, false);
            }
        }
        if at != head {
            self.head
                .store(at, self.release_unless(Without::HeadRelease));
            *own = at;
        }
        done
    }

    fn append(&self, seq: u64, word: SlotWord, by: usize) -> bool {
        let word = match self.without {
            Without::OldWord => SlotWord(self.word(seq).load(Relaxed)),
            _ => word,
        };
        let grown = word.grown(by).0;
        match self.without {
            Without::AppendCas => self.word(seq).store(grown, Release),
            _ => {
                let release = self.release_unless(Without::AppendRelease);
                let cas = self
                    .word(seq)
                    .compare_exchange(word.0, grown, release, Relaxed);
                return word.is_open() && cas.is_ok();
            }
        }
        true
    }

    /// read.rs `drain`, with `want` beyond all that can be there. `tail` is the reader's own (P4).
    fn read(&self, own: &mut Tail, out: &mut Vec<u8>) {
        let from = *own;
        let (mut at, mut head) = (from, 0);
        loop {
            if at.seq >= head {
                head = self.head.load(Acquire);
                if at.seq >= head {
                    break;
                }
                assert!(
                    head - at.seq <= self.words.len() as u64 + at.seq - from.seq,
                    "P1"
                );
            }
            let word = SlotWord(self.word(at.seq).load(Acquire));
            while at.off < word.end() {
                out.push(self.copy_out(at.seq, at.off / HALF));
                at.off += HALF;
            }
            if self.retire(word, at.seq, &mut head) {
                at = Tail {
                    seq: at.seq + 1,
                    off: 0,
                };
            }
        }
        if at != from {
            self.tail
                .store(at.raw(), self.release_unless(Without::TailRelease));
            *own = at;
        }
    }

    /// read.rs `retire`.
    fn retire(&self, word: SlotWord, seq: u64, head: &mut u64) -> bool {
        if !word.is_open() {
            return true;
        }
        if *head == seq + 1 {
            *head = self.head.load(Acquire);
        }
        if *head > seq + 1 {
            return self.without == Without::SecondLook
                || SlotWord(self.word(seq).load(Acquire)).end() == word.end();
        }
        match self.without {
            Without::Close => true,
            Without::CloseCas => {
                self.word(seq).store(word.closed().0, Relaxed);
                true
            }
            _ => self
                .word(seq)
                .compare_exchange(word.0, word.closed().0, Acquire, Relaxed)
                .is_ok(),
        }
    }
}

const START: Tail = Tail { seq: 0, off: 0 };

/// A reader against a writer that makes these writes, each of which may be cut short by a full
/// ring. What was written is what is read.
fn explore(slots: usize, without: Without, writes: &'static [&'static [u8]]) {
    for reader_first in [false, true] {
        let mut b = loom::model::Builder::new();
        b.preemption_bound = Some(4);
        b.check(move || run(Arc::new(Ring::new(slots, without)), writes, reader_first));
    }
}

/// Loom begins with the order in which one thread comes after the other, and looks for others from
/// there: so each gets to be the first.
fn run(ring: Arc<Ring>, writes: &'static [&'static [u8]], reader_first: bool) {
    let (mut head, mut written) = (0, Vec::new());
    let first = ring.write(&mut head, b"a", true);
    written.extend(&b"a"[..first]);
    let write = {
        let ring = ring.clone();
        move || {
            for data in writes {
                let n = ring.write(&mut head, data, true);
                written.extend(&data[..n]);
            }
            written
        }
    };
    let read = {
        let ring = ring.clone();
        move || {
            let (mut tail, mut out) = (START, Vec::new());
            ring.read(&mut tail, &mut out);
            ring.read(&mut tail, &mut out);
            (tail, out)
        }
    };
    let (written, (mut tail, mut out)) = if reader_first {
        let writer = thread::spawn(write);
        let got = read();
        (writer.join().unwrap(), got)
    } else {
        let reader = thread::spawn(read);
        let written = write();
        (written, reader.join().unwrap())
    };
    ring.read(&mut tail, &mut out);
    assert_eq!(out, written, "every byte once, in order");
}

const MERGED: &[&[u8]] = &[b"b"];
const MERGED_AND_FRESH: &[&[u8]] = &[b"bcd"];
const MANY: &[&[u8]] = &[b"b", b"c", b"def"];
/// Longer than the ring: the last slot of the write may be the one that it meant to merge into.
const ROUND: &[&[u8]] = &[b"bcdef"];

#[test]
fn no_byte_is_lost_in_one_slot() {
    for writes in [MERGED, MERGED_AND_FRESH, ROUND, MANY] {
        explore(1, Without::Nothing, writes);
    }
}

#[test]
fn no_byte_is_lost_in_two_slots() {
    for writes in [MERGED, MERGED_AND_FRESH, ROUND, MANY] {
        explore(2, Without::Nothing, writes);
    }
}

macro_rules! loom_finds {
    ($($name:ident: $slots:literal, $without:ident, $writes:ident;)*) => {$(
        #[test]
        #[should_panic]
        fn $name() {
            explore($slots, Without::$without, $writes);
        }
    )*};
}

loom_finds! {
    loom_finds_an_append_without_cas: 2, AppendCas, MERGED;
    loom_finds_an_append_by_the_new_word: 1, OldWord, MERGED_AND_FRESH;
    loom_finds_the_same_in_two_slots: 2, OldWord, ROUND;
    loom_finds_a_close_without_cas: 2, CloseCas, MERGED;
    loom_finds_a_slot_left_open: 2, Close, MERGED;
    loom_finds_a_missing_second_look: 2, SecondLook, MERGED_AND_FRESH;
    loom_finds_an_append_that_releases_nothing: 2, AppendRelease, MERGED;
    loom_finds_a_head_that_releases_nothing: 2, HeadRelease, MERGED_AND_FRESH;
    loom_finds_a_tail_that_releases_nothing: 1, TailRelease, MERGED_AND_FRESH;
}
