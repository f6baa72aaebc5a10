//! What stands in for the real descriptor under a pipe.

use std::sync::atomic::{AtomicU32, Ordering::*};
use std::sync::Mutex;

use ringer_kernel::host::Twin;
use ringer_kernel::pipe::demote::Flush;
use ringer_kernel::pipe::watch::Tokens;

/// Says that the peer is gone when the test has said so, and keeps tokens if it was given where.
#[derive(Clone, Copy)]
pub struct FakeTwin {
    pub gone: &'static AtomicU32,
    kernel: Option<&'static FakeKernel>,
}

impl FakeTwin {
    pub fn new() -> FakeTwin {
        FakeTwin::of(Box::leak(Box::new(AtomicU32::new(0))))
    }

    /// With a hang-up somewhere else.
    pub fn of(gone: &'static AtomicU32) -> FakeTwin {
        FakeTwin { gone, kernel: None }
    }

    pub fn on(kernel: &'static FakeKernel) -> FakeTwin {
        FakeTwin {
            kernel: Some(kernel),
            ..FakeTwin::new()
        }
    }

    pub fn hang_up(&self) {
        self.gone.store(1, SeqCst);
    }
}

impl Twin for FakeTwin {
    fn peer_gone(&self) -> bool {
        self.gone.load(SeqCst) != 0
    }

    fn is_open(&self) -> bool {
        true
    }
}

impl Tokens for FakeTwin {
    fn add(&self, n: u32) -> u32 {
        self.kernel.map_or(0, |k| k.add(n))
    }

    fn take(&self, n: u32) -> u32 {
        self.kernel.map_or(0, |k| k.take(n))
    }

    fn count(&self) -> Option<u32> {
        self.kernel.and_then(|k| k.count())
    }

    fn poke(&self) {
        if let Some(k) = self.kernel {
            k.poke();
        }
    }
}

/// Both ends of a twin, as far as tokens and demotion are concerned: a few slots that hold tokens
/// or bytes.
pub struct FakeKernel {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    slots: u32,
    tokens: u32,
    pokes: u64,
    refuse_from: Option<usize>,
    data: Vec<(Vec<u8>, bool)>,
    /// Bytes of the first slot that were taken out again.
    dropped: usize,
}

impl FakeKernel {
    pub fn new(slots: u32) -> FakeKernel {
        FakeKernel {
            inside: Mutex::new(Inside {
                slots,
                ..Inside::default()
            }),
        }
    }

    /// Takes no more than `n` slots of bytes until this is called again.
    pub fn refuse_from(&self, n: Option<usize>) {
        self.inside.lock().unwrap().refuse_from = n;
    }

    pub fn tokens(&self) -> u32 {
        self.inside.lock().unwrap().tokens
    }

    pub fn pokes(&self) -> u64 {
        self.inside.lock().unwrap().pokes
    }

    /// What was flushed: each slot's bytes, and whether it is a packet.
    pub fn slots(&self) -> Vec<(Vec<u8>, bool)> {
        self.inside.lock().unwrap().data.clone()
    }

    pub fn dropped(&self) -> usize {
        self.inside.lock().unwrap().dropped
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.slots()
            .into_iter()
            .flat_map(|(bytes, _)| bytes)
            .collect()
    }

    /// (readable, writable), as poll(2) would say of the twin.
    pub fn readiness(&self) -> (bool, bool) {
        let inside = self.inside.lock().unwrap();
        let used = inside.tokens + inside.data.len() as u32;
        (used > 0, used < inside.slots)
    }

    pub fn resize(&self, slots: u32) {
        self.inside.lock().unwrap().slots = slots;
    }
}

impl Tokens for FakeKernel {
    fn add(&self, n: u32) -> u32 {
        let mut inside = self.inside.lock().unwrap();
        let n = n.min(inside.slots.saturating_sub(inside.tokens));
        inside.tokens += n;
        n
    }

    fn take(&self, n: u32) -> u32 {
        let mut inside = self.inside.lock().unwrap();
        let n = n.min(inside.tokens);
        inside.tokens -= n;
        n
    }

    fn count(&self) -> Option<u32> {
        let inside = self.inside.lock().unwrap();
        let bytes: usize = inside.data.iter().map(|(slot, _)| slot.len()).sum();
        Some(inside.tokens + bytes as u32)
    }

    fn poke(&self) {
        self.inside.lock().unwrap().pokes += 1;
    }
}

impl Flush for FakeKernel {
    fn write_slot(&self, from: *const u8, len: usize, packet: bool) -> bool {
        let mut inside = self.inside.lock().unwrap();
        if inside.refuse_from.is_some_and(|n| inside.data.len() >= n) {
            return false;
        }
        assert!((1..=4096).contains(&len));
        // SAFETY: `from` has `len` bytes, by the trait's contract.
        let bytes = unsafe { std::slice::from_raw_parts(from, len) }.to_vec();
        inside.data.push((bytes, packet));
        true
    }
    fn drop_first(&self, len: usize) -> bool {
        let mut inside = self.inside.lock().unwrap();
        assert_eq!(inside.data.len(), 1, "before anything else is there");
        let (slot, packet) = &mut inside.data[0];
        assert!(len < slot.len() && !*packet);
        slot.drain(..len);
        inside.dropped += len;
        true
    }
}
