//! What writers and readers tell each other beside the pipe, so that every word of every stream can
//! be accounted for: who wrote how far, which words were read and how often.
//!
//! A stream is a sequence of 64-bit words, each of which says whose it is and what place it has in
//! its stream. All writes and reads are of whole words, so none is ever torn.

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicU8, Ordering::SeqCst};

/// Bytes in a word.
pub const WORD: usize = 8;
/// Bytes that a stream may have.
pub const MAX: usize = 32 << 20;

/// Who writes. [`Writer::Filler`]'s words are not accounted for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writer {
    Victim = 0,
    Survivor = 1,
    Stage = 2,
    /// In the pipe before the victim came.
    Before = 3,
    Filler = 4,
}

const ACCOUNTED: [Writer; 4] = [
    Writer::Victim,
    Writer::Survivor,
    Writer::Stage,
    Writer::Before,
];

#[repr(C)]
struct Page {
    /// Bytes of each stream that were acknowledged by write(2).
    sent: [AtomicU64; 8],
    /// Bytes that were returned by read(2), to anybody.
    read: AtomicU64,
    /// Bytes that the victim's call asks for: the call in which it dies.
    attempt: AtomicU64,
    /// The victim is dead.
    dead: AtomicU64,
    /// How often each word was read.
    times: [[AtomicU8; MAX / WORD]; ACCOUNTED.len()],
}

/// A page of counts, common to all processes that hold its descriptor.
#[derive(Clone, Copy)]
pub struct Ledger {
    page: &'static Page,
    fd: i32,
}

impl Ledger {
    /// All counts are 0.
    pub fn new() -> Ledger {
        // SAFETY: a C string.
        let fd = unsafe { libc::memfd_create(c"ledger".as_ptr(), 0) };
        // SAFETY: numbers.
        let sized = unsafe { libc::ftruncate(fd, size_of::<Page>() as libc::off_t) };
        assert_eq!(sized, 0, "memfd: {}", std::io::Error::last_os_error());
        Ledger::inherited(fd)
    }

    /// The one behind this descriptor, after an exec.
    pub fn inherited(fd: i32) -> Ledger {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let nowhere = std::ptr::null_mut();
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
        let page = unsafe { libc::mmap(nowhere, size_of::<Page>(), prot, libc::MAP_SHARED, fd, 0) };
        assert_ne!(page, libc::MAP_FAILED, "mmap of the ledger");
        // SAFETY: zeroed, aligned, unmapped only by `close`; atomics bear any bits and sharing.
        let page = unsafe { &*page.cast::<Page>() };
        Ledger { page, fd }
    }

    pub fn fd(self) -> i32 {
        self.fd
    }

    /// The last use of it in this process.
    pub fn close(self) {
        let at = std::ptr::from_ref(self.page).cast_mut().cast();
        // SAFETY: the mapping that `inherited` made, and nobody looks at it any more.
        unsafe { libc::munmap(at, size_of::<Page>()) };
        // SAFETY: the descriptor is ours, and used no more.
        drop(unsafe { OwnedFd::from_raw_fd(self.fd) });
    }

    pub fn sent(self, by: Writer) -> usize {
        self.page.sent[by as usize].load(SeqCst) as usize
    }

    pub fn set_sent(self, by: Writer, bytes: usize) {
        self.page.sent[by as usize].store(bytes as u64, SeqCst);
    }

    /// Bytes acknowledged to writers and not yet to readers.
    pub fn in_flight(self) -> usize {
        let sent: usize = ACCOUNTED.map(|by| self.sent(by)).iter().sum();
        sent.saturating_sub(self.page.read.load(SeqCst) as usize)
    }

    pub fn attempt(self) -> usize {
        self.page.attempt.load(SeqCst) as usize
    }

    pub fn set_attempt(self, bytes: usize) {
        self.page.attempt.store(bytes as u64, SeqCst);
    }

    pub fn is_dead(self) -> bool {
        self.page.dead.load(SeqCst) != 0
    }

    pub fn set_dead(self) {
        self.page.dead.store(1, SeqCst);
    }

    fn times(self, by: Writer) -> &'static [AtomicU8; MAX / WORD] {
        &self.page.times[by as usize]
    }
}

/// `len` bytes of a stream from place `at` on.
pub fn words(by: Writer, at: usize, len: usize) -> Vec<u8> {
    assert!(at.is_multiple_of(WORD) && len.is_multiple_of(WORD) && at + len <= MAX);
    let word = |place: usize| ((by as u64) << 56 | place as u64).to_ne_bytes();
    (at..at + len).step_by(WORD).flat_map(word).collect()
}

/// One reader's view: what it reads is in order, and marked in the ledger.
pub struct Reader {
    ledger: Ledger,
    /// The place behind the last word of each stream.
    next: [usize; ACCOUNTED.len()],
}

impl Reader {
    pub fn new(ledger: Ledger) -> Reader {
        Reader {
            ledger,
            next: [0; ACCOUNTED.len()],
        }
    }

    /// What one read(2) returned. `true`: there was a filler among it, so all else was before.
    pub fn take(&mut self, bytes: &[u8]) -> bool {
        assert_eq!(bytes.len() % WORD, 0, "a torn word at the end of a read");
        let mut filler = false;
        for word in bytes.chunks_exact(WORD) {
            let word = u64::from_ne_bytes(word.try_into().expect("eight bytes"));
            let (by, place) = ((word >> 56) as usize, (word & ((1 << 56) - 1)) as usize);
            if by == Writer::Filler as usize {
                filler = true;
                continue;
            }
            let sound = by < ACCOUNTED.len() && place % WORD == 0 && place < MAX;
            assert!(sound, "nobody wrote the word {word:#x}");
            let next = &mut self.next[by];
            assert!(
                place >= *next,
                "word {place} of {:?} came behind word {next}",
                ACCOUNTED[by]
            );
            *next = place + WORD;
            self.ledger.times(ACCOUNTED[by])[place / WORD].fetch_add(1, SeqCst);
        }
        self.ledger.page.read.fetch_add(bytes.len() as u64, SeqCst);
        filler
    }
}

/// What became of a stream, by its words. Bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fate {
    /// Acknowledged to the writer, and never read.
    pub lost: usize,
    /// Read, and not acknowledged to the writer.
    pub beyond: usize,
}

impl Ledger {
    /// Looks at every word of a stream. What is lost, or beyond, must be of one piece.
    pub fn fate(self, by: Writer) -> Fate {
        let sent = self.sent(by) / WORD;
        let mut fate = Fate::default();
        let mut lost_from = None;
        // Nothing comes from further than one call beyond what was acknowledged.
        let end = (sent + (1 << 20) / WORD).min(MAX / WORD);
        for (i, times) in self.times(by)[..end].iter().enumerate() {
            let times = times.load(SeqCst);
            assert!(times <= 1, "word {i} of {by:?} was read {times} times");
            if times == 0 && i < sent {
                let first = *lost_from.get_or_insert(i);
                assert_eq!(
                    fate.lost,
                    (i - first) * WORD,
                    "two holes in {by:?}, at word {i}"
                );
                fate.lost += WORD;
            }
            if times > 0 && i >= sent {
                assert_eq!(
                    fate.beyond,
                    (i - sent) * WORD,
                    "{by:?} lacks words before {i}"
                );
                fate.beyond += WORD;
            }
        }
        fate
    }
}
