//! Reproducible randomness and data whose place in a stream can be told by looking at it.

use std::sync::OnceLock;

/// xorshift64*: good enough to choose sizes, and the same everywhere.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends, so there is no Option"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number in `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 16) % n as u64) as usize
    }

    /// A number in `low..=high`.
    pub fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// The test stream repeats after this many bytes: a prime, so that no page looks like another one
/// for a long time.
const PERIOD: usize = 65_521;

fn period() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut rng = Rng::new(1);
        (0..PERIOD).map(|_| (rng.next() >> 24) as u8).collect()
    })
}

/// The byte at place `at` of the test stream.
pub fn byte_at(at: usize) -> u8 {
    period()[at % PERIOD]
}

/// `len` bytes of the test stream from place `at` on.
pub fn stream(at: usize, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    let mut from = at % PERIOD;
    while bytes.len() < len {
        let n = (len - bytes.len()).min(PERIOD - from);
        bytes.extend_from_slice(&period()[from..from + n]);
        from = 0;
    }
    bytes
}

/// FNV-1a, continued from `state` (start with 0).
pub fn checksum(state: u64, data: &[u8]) -> u64 {
    let mut hash = state ^ 0xCBF2_9CE4_8422_2325;
    for byte in data {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    }
    hash ^ 0xCBF2_9CE4_8422_2325
}
