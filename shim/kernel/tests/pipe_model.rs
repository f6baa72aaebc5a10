//! Random sequences of calls on three pipes at once: ringer's, the running kernel's, and a model
//! of Linux's pipe. All three must answer alike, byte for byte.

mod support;

use proptest::prelude::*;
use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::pipe::{self, slot};
use ringer_kernel::sys::{pipe_read, pipe_write, Blocking};
use support::trio::{world, Op, Trio};
use support::world::filled;
use support::{Dst, FakeTwin, Src};

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => prop::sample::select(vec![
            0usize, 1, 2, 4094, 4095, 4096, 4097, 8191, 8192, 8193, 12288, 65535, 65536, 65537, 100_000,
        ]),
        3 => 0usize..5000,
        2 => 0usize..300,
        1 => 0usize..140_000,
    ]
}

/// Where memory ends, if it does: anywhere, but often next to a page's border.
fn bad() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![
        6 => Just(None),
        1 => (0usize..70_000).prop_map(Some),
        1 => (0usize..17, 0usize..3).prop_map(|(page, d)| Some((page * 4096 + d).saturating_sub(1))),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (size(), bad()).prop_map(|(len, bad)| Op::Write { len, bad }),
        10 => (size(), bad()).prop_map(|(want, bad)| Op::Read { want, bad }),
        1 => any::<bool>().prop_map(Op::Packets),
        2 => (0u32..7).prop_map(|log2| Op::Resize { log2 }),
    ]
}

fn last_op() -> impl Strategy<Value = Vec<Op>> {
    prop_oneof![
        2 => Just(vec![]),
        1 => (size(), bad(), size()).prop_map(|(len, bad, want)| vec![
            Op::CloseReader,
            Op::Write { len, bad },
            Op::Write { len: want, bad: None },
        ]),
        1 => (size(), bad()).prop_map(|(want, bad)| vec![
            Op::CloseWriter,
            Op::Read { want, bad },
            Op::Read { want: 200_000, bad: None },
            Op::Read { want: 1, bad: None },
            Op::Read { want: 0, bad: None },
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000,
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn ringer_the_kernel_and_the_model_agree(
        log2 in prop_oneof![3 => Just(4u32), 2 => 0u32..6],
        ops in prop::collection::vec(op(), 1..40),
        last in last_op(),
        polled in any::<bool>(),
    ) {
        let mut trio = if polled { Trio::polled(log2) } else { Trio::new(log2) };
        for op in ops.iter().chain(&last) {
            trio.step(op)?;
        }
    }
}

/// Every pair of sizes around the borders: what merges with what, and when the ring is full.
#[test]
fn all_pairs_of_sizes_agree() {
    let sizes = [
        0, 1, 2, 4094, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 100_000,
    ];
    for first in sizes {
        for second in sizes {
            for want in [1, 4096, 70_000, 200_000] {
                let mut trio = Trio::new(4);
                for op in [
                    Op::Write {
                        len: first,
                        bad: None,
                    },
                    Op::Write {
                        len: second,
                        bad: None,
                    },
                    Op::Read { want, bad: None },
                    Op::Write {
                        len: second,
                        bad: None,
                    },
                    Op::Read { want, bad: None },
                ] {
                    trio.step(&op)
                        .unwrap_or_else(|e| panic!("{first} {second} {want}: {op:?}: {e}"));
                }
            }
        }
    }
}

/// The last buffer's flag decides, not the descriptor's: a packet is appended to what was written
/// before O_DIRECT was set, and its bounds are lost.
#[test]
fn a_packet_is_merged_into_a_stream_but_nothing_into_a_packet() {
    let mut trio = Trio::new(4);
    let write = |len| Op::Write { len, bad: None };
    let read = Op::Read {
        want: 100,
        bad: None,
    };
    for op in [
        write(10),
        Op::Packets(true),
        write(5),
        write(6),
        Op::Packets(false),
        write(7),
        read.clone(),
        read.clone(),
        read,
    ] {
        trio.step(&op).unwrap();
    }
}

/// A gift (spliced in) is never merged into.
#[test]
fn nothing_is_merged_into_a_gift() {
    let (world, me) = world();
    let mut trio = Trio::new(4);
    trio.kind = slot::Kind::Gift;
    assert_eq!(trio.ringer_write(b"gift", None), Ok(4));
    trio.kind = slot::Kind::Stream;
    assert_eq!(trio.ringer_write(b"own", None), Ok(3));
    assert_eq!(filled(trio.pair.pipe), 2);
    assert_eq!(trio.ringer_write(b"more", None), Ok(4));
    assert_eq!(filled(trio.pair.pipe), 2);
    assert_eq!(trio.ringer_read(100, None), Ok(b"giftownmore".to_vec()));
    assert_eq!(pipe::queued_bytes(&world.ctx(me), trio.pair.pipe), Ok(0));
}

#[test]
fn the_wrong_end_is_a_bad_descriptor() {
    let (world, me) = world();
    let trio = Trio::new(4);
    let (k, twin) = (world.ctx(me), FakeTwin::new());
    let mut byte = [0];
    let got = pipe_read(
        &k,
        &trio.pair.write,
        &twin,
        Blocking::No,
        &mut Dst::new(&mut byte),
        1,
    );
    assert_eq!(got, Err(SysError::Errno(Errno::EBADF)));
    let kind = slot::Kind::Stream;
    let got = pipe_write(
        &k,
        &trio.pair.read,
        &twin,
        Blocking::No,
        kind,
        &mut Src::new(b"x"),
        1,
    )
    .result();
    assert_eq!(got, Err(SysError::Errno(Errno::EBADF)));
}
