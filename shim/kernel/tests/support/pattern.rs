//! Bytes that tell where in a stream they belong.

use std::sync::OnceLock;

const LEN: usize = 1 << 20;

fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut x = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 32) as u8
        };
        (0..LEN).map(|_| next()).collect()
    })
}

/// `len` bytes (at most half a megabyte) of the stream from position `pos` on.
pub fn bytes(pos: u64, len: usize) -> &'static [u8] {
    let start = pos as usize % (LEN / 2);
    &table()[start..start + len]
}

/// A small deterministic generator: xorshift64.
pub struct Rng(pub u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
