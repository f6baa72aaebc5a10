//! Packets (O_DIRECT) from many threads to many.

mod support;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use std::sync::Arc;
use std::thread;

use ringer_kernel::pipe::slot;
use ringer_kernel::sys::Blocking;
use ringer_kernel::task::reap;
use support::kit::Kit;
use support::pattern;
use support::world::dump;
use support::{Others, Sleeps, TestHost, Watchdog, World};

/// A packet: who, its number, and bytes that depend on both.
fn packet(writer: u32, number: u32) -> Vec<u8> {
    let len = (number.wrapping_mul(2_654_435_761) >> 8) as usize % 4088;
    let mut bytes = writer.to_le_bytes().to_vec();
    bytes.extend(number.to_le_bytes());
    bytes.extend(pattern::bytes(u64::from(writer ^ (number * 7)), len));
    bytes
}

#[test]
fn packets_stay_whole_and_in_order() {
    const EACH: u32 = 4000;
    let world = World::new(TestHost::new(Sleeps::ForEver, Others::Live));
    let kit = Kit::new(world, 16);
    let progress = Arc::new(AtomicU64::new(0));
    let _watchdog = Watchdog::new("packets", progress.clone(), move || dump(kit.pair.pipe));
    let writers = AtomicUsize::new(3);
    let got: Vec<Vec<(u32, u32)>> = thread::scope(|s| {
        for writer in 0..3 {
            let (progress, writers) = (&progress, &writers);
            s.spawn(move || {
                let me = kit.world.enter();
                for number in 0..EACH {
                    let bytes = packet(writer, number);
                    let got = kit.write_as(&me, &bytes, slot::Kind::Packet, Blocking::Yes);
                    assert_eq!(got, Ok(bytes.len()));
                    progress.fetch_add(1, Relaxed);
                }
                if writers.fetch_sub(1, SeqCst) == 1 {
                    kit.twin.hang_up();
                    reap::forget_descriptor(&kit.world.ctx(&me), kit.pair.write_file, |_| false);
                }
            });
        }
        let readers: Vec<_> = (0..3)
            .map(|_| {
                s.spawn(move || {
                    let me = kit.world.enter();
                    let mut got = Vec::new();
                    loop {
                        let bytes = kit.read(&me, 5000, Blocking::Yes).unwrap();
                        if bytes.is_empty() {
                            return got;
                        }
                        let word = |at| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
                        assert!(bytes == packet(word(0), word(4)), "a packet is torn");
                        got.push((word(0), word(4)));
                    }
                })
            })
            .collect();
        readers.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for of_one_reader in &got {
        for writer in 0..3 {
            let numbers: Vec<_> = of_one_reader.iter().filter(|p| p.0 == writer).collect();
            assert!(numbers.windows(2).all(|w| w[0].1 < w[1].1), "in order");
        }
    }
    let mut all: Vec<_> = got.into_iter().flatten().collect();
    all.sort_unstable();
    let expected: Vec<_> = (0..3)
        .flat_map(|w| (0..EACH).map(move |n| (w, n)))
        .collect();
    assert!(all == expected, "each once");
}
