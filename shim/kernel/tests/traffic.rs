//! Traffic in other ways than blocking streams: packets, polling by the twin's readiness, and a
//! pipe that goes to the kernel while everybody is at it.

mod support;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::file::End;
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::{demote, mode, slot, watch};
use ringer_kernel::sys::{pipe_read, pipe_write, Blocking};
use ringer_kernel::task::reap;
use support::pattern::Rng;
use support::real_twin::RealTwin;
use support::stream::{judge, Stream};
use support::world::dump;
use support::{Dst, Me, Others, PipePair, Sleeps, Src, TestHost, Watchdog, World};

fn world() -> World {
    World::new(TestHost::new(Sleeps::ForEver, Others::Live))
}

fn watchdog(name: &'static str, pair: &PipePair) -> (Watchdog, Arc<AtomicU64>) {
    let (progress, pipe) = (Arc::new(AtomicU64::new(0)), pair.pipe);
    (
        Watchdog::new(name, progress.clone(), move || dump(pipe)),
        progress,
    )
}

/// A pipe with a real twin, and two writers' streams.
struct Traffic {
    world: World,
    pair: PipePair,
    twin: &'static RealTwin,
    streams: Vec<Stream>,
    writers: AtomicUsize,
    progress: Arc<AtomicU64>,
}

impl Traffic {
    fn new(
        slots: u32,
        bytes: usize,
        longest: usize,
        progress: Arc<AtomicU64>,
        world: World,
        pair: PipePair,
    ) -> Traffic {
        Traffic {
            world,
            pair,
            twin: RealTwin::new(slots),
            streams: (0..2).map(|w| Stream::new(w, bytes, longest)).collect(),
            writers: AtomicUsize::new(2),
            progress,
        }
    }

    fn write_some(
        &self,
        me: &Me,
        data: &[u8],
        blocking: Blocking,
    ) -> (usize, Result<(), SysError>) {
        let (k, e, twin) = (
            self.world.ctx(me),
            &self.pair.write,
            self.twin.end(End::Write),
        );
        let kind = slot::Kind::Stream;
        let got = pipe_write(
            &k,
            e,
            &twin,
            blocking,
            kind,
            &mut Src::new(data),
            data.len(),
        );
        (got.bytes, got.end)
    }

    fn read_some(&self, me: &Me, buf: &mut [u8], blocking: Blocking) -> Result<usize, SysError> {
        let (k, e, twin) = (
            self.world.ctx(me),
            &self.pair.read,
            self.twin.end(End::Read),
        );
        let want = buf.len();
        pipe_read(&k, e, &twin, blocking, &mut Dst::new(buf), want)
    }

    fn last_writer_closes(&self, me: &Me) {
        if self.writers.fetch_sub(1, SeqCst) == 1 {
            self.twin.close(End::Write);
            reap::forget_descriptor(&self.world.ctx(me), self.pair.write_file, |_| false);
        }
    }

    fn check(&self, mixed: &[u8]) {
        let counts = judge(&self.streams, mixed).unwrap();
        assert!(self
            .streams
            .iter()
            .zip(counts)
            .all(|(s, n)| s.bytes.len() == n));
    }

    /// Writes and waits by poll(2) on the twin.
    fn write_polling(&self, w: usize) {
        let me = self.world.enter();
        let (mut at, stream) = (0, &self.streams[w]);
        for record in &stream.records {
            let end = at + record;
            while at < end {
                let (n, why) = self.write_some(&me, &stream.bytes[at..end], Blocking::No);
                at += n;
                self.progress.fetch_add(1, Relaxed);
                if let Err(e) = why {
                    assert_eq!(e, SysError::Errno(Errno::EAGAIN));
                    self.twin.wait_for(End::Write);
                }
            }
        }
        self.last_writer_closes(&me);
    }

    fn read_polling(&self) -> Vec<u8> {
        let (me, mut rng, mut all) = (self.world.enter(), Rng::new(9), Vec::new());
        let mut buf = vec![0; 20_000];
        loop {
            let want = 1 + rng.below(20_000) as usize;
            match self.read_some(&me, &mut buf[..want], Blocking::No) {
                Ok(0) => return all,
                Ok(n) => all.extend_from_slice(&buf[..n]),
                Err(e) => {
                    assert_eq!(e, SysError::Errno(Errno::EAGAIN));
                    self.twin.wait_for(End::Read);
                }
            }
            self.progress.fetch_add(1, Relaxed);
        }
    }
}

/// Nobody sleeps but in poll(2) on the twin: a token too many or too few is a hang.
#[test]
fn pollers_of_the_twin_see_every_change() {
    for slots in [1, 2, 4, 16] {
        let world = world();
        let pair = world.pipe(&world.enter(), slots);
        let (_watchdog, progress) = watchdog("pollers", &pair);
        let t = Traffic::new(slots, 2 << 20, 6000, progress, world, pair);
        watch::watch(&world.ctx(&world.enter()), pair.pipe, &t.twin, 0);
        let mixed = thread::scope(|s| {
            let t = &t;
            for w in 0..2 {
                s.spawn(move || t.write_polling(w));
            }
            s.spawn(move || t.read_polling()).join().unwrap()
        });
        t.check(&mixed);
    }
}

impl Traffic {
    /// The shim's way: what the ring does not take any more goes to the kernel.
    fn kernel_serves(&self, me: &Me) {
        let p = self.pair.pipe;
        while p.mode.load(SeqCst) != mode::KERNEL {
            let done = demote::demote(&self.world.ctx(me), p, &self.twin, Cause::IoUring);
            assert!(done.is_ok() || done == Err(SysError::Demoted));
        }
    }

    fn write_anywhere(&self, w: usize) {
        let me = self.world.enter();
        let (mut at, stream) = (0, &self.streams[w]);
        for record in &stream.records {
            let end = at + record;
            while at < end {
                let (n, why) = self.write_some(&me, &stream.bytes[at..end], Blocking::Yes);
                at += n;
                self.progress.fetch_add(1, Relaxed);
                if why == Err(SysError::Demoted) {
                    self.kernel_serves(&me);
                    at += usize::try_from(self.twin.write(&stream.bytes[at..end])).unwrap();
                } else {
                    assert_eq!(why, Ok(()));
                }
            }
        }
        self.last_writer_closes(&me);
    }

    fn read_anywhere(&self) -> Vec<u8> {
        let (me, mut rng, mut all) = (self.world.enter(), Rng::new(8), Vec::new());
        let mut buf = vec![0; 20_000];
        loop {
            let want = 1 + rng.below(20_000) as usize;
            let n = match self.read_some(&me, &mut buf[..want], Blocking::Yes) {
                Ok(n) => n,
                Err(e) => {
                    assert_eq!(e, SysError::Demoted);
                    self.kernel_serves(&me);
                    usize::try_from(self.twin.read(&mut buf[..want])).unwrap()
                }
            };
            if n == 0 {
                return all;
            }
            all.extend_from_slice(&buf[..n]);
            self.progress.fetch_add(1, Relaxed);
        }
    }
}

#[test]
fn demotion_in_the_middle_of_traffic_loses_nothing() {
    let rng = Mutex::new(Rng::new(3));
    for round in 0..60 {
        let world = world();
        let pair = world.pipe(&world.enter(), 16);
        let (_watchdog, progress) = watchdog("demotion", &pair);
        let t = Traffic::new(16, 400_000, 6000, progress, world, pair);
        t.writers.store(3, SeqCst); // the demoter holds the ends, too
        let me = world.enter();
        if round % 2 == 0 {
            watch::watch(&world.ctx(&me), pair.pipe, &t.twin, 0);
        }
        let mixed = thread::scope(|s| {
            let t = &t;
            for w in 0..2 {
                s.spawn(move || t.write_anywhere(w));
            }
            let reader = s.spawn(move || t.read_anywhere());
            thread::sleep(Duration::from_micros(rng.lock().unwrap().below(1500)));
            t.kernel_serves(&me);
            t.last_writer_closes(&me);
            reader.join().unwrap()
        });
        t.check(&mixed);
    }
}
