//! Pairs of sockets: streams and packets against plain queues, many threads, growing rings, demotion.

mod support;

use std::collections::VecDeque;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::pipe::mode;
use ringer_kernel::sys::Blocking;
use ringer_kernel::task::reap;
use ringer_kernel::unix::{self, cost, shut, Side};
use support::pattern::Rng;
use support::sockets::{Sockets, DGRAM, SEQPACKET, STREAM};
use support::{Others, Sleeps, TestHost, Watchdog, World};

const AGAIN: SysError = SysError::Errno(Errno::EAGAIN);

/// A lost wake-up is a hang here.
fn world() -> World {
    World::new(TestHost::new(Sleeps::ForEver, Others::Live))
}

fn below(rng: &mut Rng, n: u64) -> usize {
    rng.below(n) as usize
}

/// The stream's bytes from `at` on.
fn text(at: usize, n: usize) -> Vec<u8> {
    let byte = |i: usize| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8;
    (at..at + n).map(byte).collect()
}

/// A queue of messages and what they cost: what the ring must behave like.
#[derive(Default)]
struct Model {
    queue: VecDeque<(Vec<u8>, u64)>,
    charged: u64,
}

impl Model {
    fn send(&mut self, kind: u32, data: &[u8]) -> Option<usize> {
        let mut sent = 0;
        loop {
            let left = data.len() - sent;
            let len = match kind {
                STREAM => cost::stream_piece(left, cost::DEFAULT_SNDBUF),
                _ => left,
            };
            if !cost::has_room(self.charged, cost::DEFAULT_SNDBUF) {
                return (sent > 0).then_some(sent);
            }
            let cost = u64::from(match kind {
                STREAM => cost::of_stream(len),
                _ => cost::of_packet(len),
            });
            self.queue
                .push_back((data[sent..sent + len].to_vec(), cost));
            self.charged += cost;
            sent += len;
            if sent == data.len() {
                return Some(sent);
            }
        }
    }

    fn recv(&mut self, kind: u32, want: usize) -> Option<Vec<u8>> {
        let mut got = Vec::new();
        while let Some((message, cost)) = self.queue.front_mut() {
            let n = message.len().min(want - got.len());
            got.extend(message.drain(..n));
            if !message.is_empty() && kind == STREAM {
                return Some(got);
            }
            self.charged -= *cost;
            self.queue.pop_front();
            if kind != STREAM || got.len() == want {
                return Some(got);
            }
        }
        (!got.is_empty()).then_some(got)
    }
}

#[test]
fn a_queue_is_like_a_plain_one() {
    let world = world();
    for kind in [STREAM, DGRAM, SEQPACKET] {
        for seed in 1..20 {
            let s = Sockets::new(world, kind);
            let (mut model, mut rng, mut at) = (Model::default(), Rng::new(seed), 0u64);
            for _ in 0..600 {
                let len = match rng.below(4) {
                    0 => 1 + below(&mut rng, 20),
                    1 => 1 + below(&mut rng, 3000),
                    2 => 1 + below(&mut rng, 20_000),
                    _ => 1 + below(&mut rng, 120_000),
                };
                if rng.below(5) < 2 {
                    let data = &text(at as usize, len);
                    let sent = s.send(&s.me, &s.a, data, Blocking::No);
                    assert_eq!(sent.ok(), model.send(kind, data), "{kind} {seed}");
                    at += sent.unwrap_or(0) as u64;
                } else {
                    let got = s.recv(&s.me, &s.b, len, Blocking::No);
                    assert!(got.ok() == model.recv(kind, len), "{kind} {seed}");
                }
                assert_eq!(s.a.pair.from(Side::A).charged(), model.charged);
                let left: usize = model.queue.iter().map(|m| m.0.len()).sum();
                let first = model.queue.front().map_or(0, |m| m.0.len());
                let readable = unix::readable(&world.ctx(&s.me), s.a.pair, Side::B);
                assert_eq!(readable as usize, if kind == DGRAM { first } else { left });
            }
        }
    }
}

/// A long message finds memory for a part of it only: that part was sent, and nobody sends it again.
#[test]
fn what_was_sent_before_memory_ran_out_is_told() {
    let data = text(0, 120_000);
    let mut parts = 0;
    for pages in 0..120 {
        let world = world();
        let s = Sockets::new(world, STREAM);
        world.host.memory.store(pages * 4096, SeqCst);
        let sent = s.send(&s.me, &s.a, &data, Blocking::No).unwrap_or(0);
        let there = s.recv(&s.me, &s.b, data.len(), Blocking::No);
        let there = there.unwrap_or_default();
        assert!(
            there == data[..sent],
            "{pages} pages: {sent}, {}",
            there.len()
        );
        parts += u32::from(sent > 0 && sent < data.len());
    }
    assert!(parts > 0, "memory never ran out in the middle");
}

#[test]
fn a_stream_between_threads_comes_whole() {
    let _watchdog = Watchdog::step("stream");
    let world = world();
    let s = Sockets::new(world, STREAM);
    const TOTAL: usize = 8_000_000;
    thread::scope(|scope| {
        scope.spawn(|| {
            let (me, mut rng, mut at) = (world.enter(), Rng::new(3), 0);
            while at < TOTAL {
                let n = (1 + below(&mut rng, 9000)).min(TOTAL - at);
                let data = &text(at, n);
                assert_eq!(s.send(&me, &s.a, data, Blocking::Yes), Ok(n));
                at += n;
            }
        });
        let (mut rng, mut at) = (Rng::new(4), 0);
        while at < TOTAL {
            let got = s
                .recv(&s.me, &s.b, 1 + below(&mut rng, 30_000), Blocking::Yes)
                .unwrap();
            assert!(got == text(at, got.len()), "at {at}");
            at += got.len();
        }
    });
}

#[test]
fn packets_of_many_threads_come_each_once() {
    let _watchdog = Watchdog::step("packets");
    let world = world();
    let s = Sockets::new(world, SEQPACKET);
    const EACH: u32 = 20_000;
    let counts = std::sync::Mutex::new(vec![0u32; 3]);
    thread::scope(|scope| {
        for sender in 0..3u32 {
            scope.spawn(move || {
                let me = world.enter();
                for i in 0..EACH {
                    let message = [sender.to_ne_bytes(), i.to_ne_bytes()].concat();
                    assert_eq!(s.send(&me, &s.a, &message, Blocking::Yes), Ok(8));
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let me = world.enter();
                for _ in 0..EACH / 2 * 3 {
                    let got = s.recv(&me, &s.b, 100, Blocking::Yes).unwrap();
                    assert_eq!(got.len(), 8);
                    counts.lock().unwrap()[got[0] as usize] += 1;
                }
            });
        }
    });
    assert_eq!(*counts.lock().unwrap(), [EACH; 3]);
}

#[test]
fn demotion_moves_both_directions_and_what_was_shut_down() {
    let world = world();
    for kind in [STREAM, DGRAM, SEQPACKET] {
        let s = Sockets::new(world, kind);
        for text in [b"one".as_slice(), b"two", b"three"] {
            s.send(&s.me, &s.a, text, Blocking::No).unwrap();
        }
        s.send(&s.me, &s.b, b"back", Blocking::No).unwrap();
        assert!(s.recv(&s.me, &s.b, 2, Blocking::No).is_ok());
        s.a.pair.shut_down(&world.ctx(&s.me), Side::A, shut::SEND);
        let first: &[u8] = if kind == STREAM { b"e" } else { b"two" };
        assert!(s.demote(&s.me).is_ok());
        assert_eq!(s.moved()[0], first);
        assert_eq!(s.moved().last().unwrap(), b"three");
        assert_eq!(s.real.sent[1].lock().unwrap().concat(), b"back");
        let shut = s.real.shut.lock().unwrap().clone();
        let crossed = kind != DGRAM;
        assert_eq!(shut[0], (0, shut::SEND));
        assert_eq!(shut.get(1).is_some(), crossed);
        assert_eq!(s.demote(&s.me), Err(SysError::Demoted));
        assert_eq!(s.recv(&s.me, &s.b, 9, Blocking::No), Err(SysError::Demoted));
    }
}

#[test]
fn a_real_pair_that_takes_nothing_changes_nothing() {
    let s = Sockets::new(world(), DGRAM);
    s.send(&s.me, &s.a, b"one", Blocking::No).unwrap();
    s.send(&s.me, &s.a, b"two", Blocking::No).unwrap();
    s.real.most.store(1, SeqCst);
    let eio = Err(SysError::Errno(Errno::EIO));
    assert_eq!(s.demote(&s.me), eio);
    // Half way: it is gone on with, from where it stopped.
    assert_eq!(s.recv(&s.me, &s.b, 9, Blocking::No), Err(SysError::Demoted));
    s.real.most.store(0, SeqCst);
    assert!(s.demote(&s.me).is_ok());
    assert_eq!(s.moved(), [b"one", b"two"]);
}

#[test]
fn the_last_close_frees_the_pair_and_its_rings() {
    let world = world();
    let s = Sockets::new(world, STREAM);
    s.send(&s.me, &s.a, &[7; 50_000], Blocking::No).unwrap();
    let k = world.ctx(&s.me);
    reap::forget_descriptor(&k, s.a.file_slot(), |_| true);
    assert_eq!(s.a.pair.mode.load(SeqCst), mode::RING);
    reap::forget_descriptor(&k, s.b.file_slot(), |_| true);
    assert_eq!(s.a.pair.mode.load(SeqCst), mode::FREE);
    let next = Sockets::new(world, SEQPACKET);
    assert_eq!(next.a.slot(), s.a.slot());
    assert_eq!(next.recv(&next.me, &next.b, 9, Blocking::No), Err(AGAIN));
    assert_eq!(next.a.pair.from(Side::A).charged(), 0);
}
