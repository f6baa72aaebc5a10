//! The queue of pending signals: order, coalescing, limits, two sides that race, and deaths.

mod support;

use std::sync::atomic::Ordering::SeqCst;

use ringer_kernel::signal::sigqueue::Sending;
use ringer_kernel::signal::{self, bit, Pushed, Sent, Siginfo, State};
use ringer_kernel::task;
use support::{Me, Others, Sleeps, TestHost, World};

fn info(value: u64) -> Siginfo {
    let mut info = [0; 16];
    info[3] = value;
    info
}

struct Kit {
    world: World,
    me: Me,
    state: &'static State,
}

impl Kit {
    fn new() -> Kit {
        let world = World::new(TestHost::new(Sleeps::Bounded, Others::Live));
        let me = world.enter();
        let state = &task::process(world.arena, 1).unwrap().signals;
        signal::open(world.arena, me.owner, world.host, state, 1, 0);
        state.publish(!0);
        Kit { world, me, state }
    }

    fn push(&self, sig: i32, private: bool, value: u64) -> Pushed {
        push(&self.world, &self.me, self.state, sig, private, value)
    }

    fn take(&self, set: u64) -> Option<(i32, u64)> {
        let w = &self.world;
        signal::take(w.arena, self.me.owner, w.host, self.state, set).map(|t| (t.sig, t.info[3]))
    }
}

fn sending(sig: i32, private: bool, info: &Siginfo) -> Sending<'_> {
    Sending {
        sig,
        private,
        info,
        id: 0,
        cause: 0,
        limit: 1000,
        opened: 1,
    }
}

fn push(w: &World, me: &Me, s: &State, sig: i32, private: bool, value: u64) -> Pushed {
    let info = info(value);
    signal::push(w.arena, me.owner, w.host, s, &sending(sig, private, &info))
}

fn is_queued(p: Pushed) -> bool {
    matches!(p, Pushed::Queued(_))
}

#[test]
fn the_first_siginfo_of_a_standard_signal_is_kept() {
    let kit = Kit::new();
    assert!(is_queued(kit.push(10, false, 1)));
    assert_eq!(kit.push(10, false, 2), Pushed::Coalesced);
    assert!(
        is_queued(kit.push(10, true, 3)),
        "the thread's own is another queue"
    );
    assert_eq!(kit.state.pending(), bit(10));
    assert_eq!(kit.take(!0), Some((10, 3)), "private before shared");
    assert_eq!(kit.take(!0), Some((10, 1)));
    assert_eq!((kit.take(!0), kit.state.pending()), (None, 0));
}

#[test]
fn realtime_signals_queue_in_order_and_the_lowest_number_goes_first() {
    let kit = Kit::new();
    for value in 0..100 {
        assert!(is_queued(kit.push(40 - (value % 2) as i32, false, value)));
    }
    let order: Vec<_> = std::iter::from_fn(|| kit.take(!0)).collect();
    let want: Vec<_> = (0..100)
        .filter(|v| v % 2 == 1)
        .map(|v| (39, v))
        .chain((0..100).filter(|v| v % 2 == 0).map(|v| (40, v)))
        .collect();
    assert_eq!(order, want);
}

#[test]
fn only_what_is_asked_for_comes_out_and_memory_is_used_again() {
    let kit = Kit::new();
    for round in 0..2000 {
        assert!(is_queued(kit.push(12, false, round)));
        assert!(is_queued(kit.push(34, true, round)));
        assert_eq!(kit.take(bit(34)), Some((34, round)));
        assert_eq!(kit.take(bit(34)), None);
        assert_eq!(kit.take(bit(12)), Some((12, round)));
    }
    assert_eq!(
        kit.state.count.load(std::sync::atomic::Ordering::Relaxed),
        0
    );
}

/// A peer has scribbled on the bits: whoever waits until nothing is pending comes to an end.
#[test]
fn a_bit_without_its_signal_goes_when_it_is_looked_for() {
    use std::sync::atomic::Ordering::Relaxed;
    let kit = Kit::new();
    assert!(is_queued(kit.push(12, false, 7)));
    kit.state.private.store(!0, Relaxed);
    kit.state.shared.store(!0, Relaxed);
    assert_eq!(kit.take(!0), Some((12, 7)));
    assert_eq!(kit.take(!0), None);
    assert_eq!(kit.state.pending(), 0);
}

#[test]
fn a_full_queue_refuses_realtime_signals_only() {
    let kit = Kit::new();
    let info = info(0);
    let few = |sig| Sending {
        limit: 3,
        ..sending(sig, false, &info)
    };
    let w = &kit.world;
    let push = |sig| signal::push(w.arena, kit.me.owner, w.host, kit.state, &few(sig));
    assert!((0..3).all(|_| is_queued(push(40))));
    assert_eq!(push(40), Pushed::Full);
    assert!(is_queued(push(10)));
}

#[test]
fn who_does_not_block_it_gets_it_from_the_kernel() {
    let kit = Kit::new();
    let info = info(0);
    let w = &kit.world;
    let send = |sig| {
        let what = sending(sig, false, &info);
        signal::send(w.arena, kit.me.owner, w.host, kit.state, &what)
    };
    kit.state.publish(bit(10) | bit(19) | bit(20));
    assert_eq!((send(10), send(10)), (Sent::Queued, Sent::Coalesced));
    assert_eq!(
        (send(12), send(9), send(19), send(20)),
        (Sent::Kernel, Sent::Kernel, Sent::Kernel, Sent::Kernel)
    );
    signal::close(kit.state);
    assert_eq!(send(10), Sent::Kernel);
    assert_eq!(
        kit.take(!0),
        Some((10, 0)),
        "what was pending comes out of a closed one"
    );
}

#[test]
fn nothing_is_left_for_the_next_process_of_a_slot() {
    let kit = Kit::new();
    let info = info(0);
    let w = &kit.world;
    let send = |opened| {
        let mut what = sending(10, false, &info);
        what.opened = opened;
        signal::send(w.arena, kit.me.owner, w.host, kit.state, &what)
    };
    let looked_up = kit.state.opened.load(SeqCst);
    assert_eq!(send(looked_up), Sent::Queued);
    signal::open(w.arena, kit.me.owner, w.host, kit.state, 1, 0);
    kit.state.publish(!0);
    assert_eq!(send(looked_up), Sent::Kernel);
    assert_eq!(kit.state.pending(), 0);
    assert_eq!(send(looked_up + 1), Sent::Queued);
    assert_eq!(
        send(looked_up),
        Sent::Kernel,
        "it does not meet one of its number"
    );
}

/// The target opens and shuts its mask while another sends: each signal is there once.
#[test]
fn none_is_lost_between_the_arena_and_the_kernel() {
    let kit = Kit::new();
    let (w, state) = (kit.world, kit.state);
    const N: u64 = 30_000;
    let by_kernel = std::thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let me = w.enter();
            let mut by_kernel = 0u64;
            for value in 0..N {
                let info = info(value);
                let mut what = sending(40, false, &info);
                what.limit = u32::MAX;
                match signal::send(w.arena, me.owner, w.host, state, &what) {
                    Sent::Queued => {}
                    Sent::Kernel => by_kernel += 1,
                    other => panic!("{other:?}"),
                }
            }
            by_kernel
        });
        let mut got = Vec::new();
        let mut open = false;
        while !sender.is_finished() || state.pending() != 0 {
            state.publish(if open { 0 } else { bit(40) });
            open = !open;
            while let Some((_, value)) = kit.take(bit(40)) {
                got.push(value);
            }
        }
        assert!(got.windows(2).all(|w| w[0] < w[1]), "in order, each once");
        sender.join().unwrap() + got.len() as u64
    });
    assert_eq!(by_kernel, N);
}

#[cfg(feature = "crash-points")]
mod death {
    use super::*;
    use support::victim::{names_in_the_sources, Victim};

    #[test]
    fn every_crash_point_of_the_queue_is_covered() {
        let names = names_in_the_sources("sigqueue.");
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            ["sigqueue.link", "sigqueue.linked", "sigqueue.unlinked"]
        );
    }

    /// What was acknowledged is there, in order; the rest works on.
    #[test]
    fn a_sender_or_taker_that_dies_leaves_the_queue_in_order() {
        for before in 0..3u64 {
            for (name, takes) in [
                ("sigqueue.link", false),
                ("sigqueue.linked", false),
                ("sigqueue.unlinked", true),
            ] {
                if takes && before == 0 {
                    continue;
                }
                let kit = Kit::new();
                for value in 0..before {
                    assert!(is_queued(kit.push(40, false, value)));
                }
                let (w, state) = (kit.world, kit.state);
                assert!(Victim::kill_at(&w, name, move |me| {
                    if takes {
                        signal::take(w.arena, me.owner, w.host, state, !0);
                    } else {
                        let _ = push(&w, me, state, 40, false, 100);
                    }
                }));
                assert!(is_queued(kit.push(40, false, 200)));
                let order: Vec<_> = std::iter::from_fn(|| kit.take(!0)).map(|t| t.1).collect();
                let mut want: Vec<_> = (u64::from(takes)..before).collect();
                want.extend((name == "sigqueue.linked").then_some(100));
                want.push(200);
                assert_eq!(order, want, "{name} behind {before}");
                assert_eq!(kit.state.pending(), 0);
            }
        }
    }
}
