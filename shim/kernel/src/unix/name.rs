//! What a connection was made to: the address that the listener is bound to. See unix(7), "Address
//! format".

use crate::arena::Arena;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

/// sun_path.
pub const LONGEST: usize = 108;
const WORDS: usize = 15;

/// In the arena. Written before anybody else knows the pair.
#[repr(C)]
pub struct Name {
    bytes: [AtomicU64; WORDS],
    len: AtomicU32,
    _pad: AtomicU32,
}

impl Name {
    /// The name as bind(2) was given it: a path without its zero, or a zero and an abstract name.
    pub fn set(&self, name: &[u8]) {
        let name = name.get(..LONGEST).unwrap_or(name);
        for (word, chunk) in self.bytes.iter().zip(name.chunks(8)) {
            let mut bytes = [0; 8];
            for (to, from) in bytes.iter_mut().zip(chunk) {
                *to = *from;
            }
            word.store(u64::from_le_bytes(bytes), Relaxed);
        }
        self.len.store(name.len() as u32, Release);
    }

    /// The name, and how long it is.
    pub fn get(&self) -> ([u8; 8 * WORDS], usize) {
        let mut all = [0; 8 * WORDS];
        for (to, word) in all.chunks_mut(8).zip(&self.bytes) {
            to.copy_from_slice(&word.load(Relaxed).to_le_bytes());
        }
        (all, (self.len.load(Acquire) as usize).min(LONGEST))
    }

    /// Its first bytes, for a record.
    pub fn start(&self) -> [u64; 2] {
        let [first, second, ..] = &self.bytes;
        [first.load(Relaxed), second.load(Relaxed)]
    }

    pub fn clear(&self) {
        self.bytes.iter().for_each(|word| word.store(0, Relaxed));
        self.len.store(0, Relaxed);
    }
}

/// Of a path its last part, by whatever directory it is reached.
fn key(name: &[u8]) -> &[u8] {
    match name.first() {
        Some(0) | None => name,
        Some(_) => name.rsplit(|&b| b == b'/').next().unwrap_or(name),
    }
}

/// Which bit of [`crate::arena::Header::listeners`] is this name's: several names may share one.
/// (FNV-1a)
fn bit(name: &[u8]) -> (usize, u32) {
    let start = 0xcbf2_9ce4_8422_2325u64;
    let hash = (key(name).iter()).fold(start, |h, &b| {
        (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
    });
    let hash = (hash ^ hash >> 32) as usize % 512;
    (hash / 32, 1 << (hash % 32))
}

/// A process of the session listens on this name.
pub fn listens(arena: &Arena, name: &[u8]) {
    let (word, bit) = bit(name);
    if let Some(word) = arena.header().listeners.get(word) {
        word.fetch_or(bit, AcqRel);
    }
}

/// Whether one may. `false`: none that ringer has seen does.
pub fn may_be_listened_to(arena: &Arena, name: &[u8]) -> bool {
    let (word, bit) = bit(name);
    let words = &arena.header().listeners;
    (words.get(word)).is_some_and(|word| word.load(Acquire) & bit != 0)
}

const _: () = assert!(core::mem::size_of::<Name>() == 128);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_by_its_last_part() {
        assert_eq!(bit(b"/run/x/bus"), bit(b"bus"));
        assert_ne!(bit(b"\0/run/x/bus"), bit(b"\0bus"));
    }
}
