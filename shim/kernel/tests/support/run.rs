//! One run of many threads on a pipe, and the judgement of what came out.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ringer_kernel::abi::{Errno, Restart, SysError};
use ringer_kernel::file::End;
use ringer_kernel::log::{ring, Kind};
use ringer_kernel::pipe::watch::watched;
use ringer_kernel::pipe::{self, slot};
use ringer_kernel::sync::wait_queue::Processors;
use ringer_kernel::sys::{pipe_read, pipe_write, Blocking};
use ringer_kernel::task::reap;

use super::host::{note, signal, take_signal, tsc};
use super::pattern::Rng;
use super::stream::{assemble, judge, Stream};
use super::world::dump;
use super::{Dst, FakeTwin, Me, Others, PipePair, Sleeps, Src, TestHost, Watchdog, World};

pub const MB: usize = 1 << 20;

pub struct Plan {
    pub writers: usize,
    pub readers: usize,
    pub bytes: usize,
    pub slots: u32,
    pub longest: usize,
    /// Longest read.
    pub want: usize,
    pub cpus: Processors,
    pub signals: Signals,
    pub resize: bool,
    pub polled: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Signals {
    None,
    /// They come at random; the call is made again.
    Restart,
    /// A reader that gets one never comes back, unless it is the last: so a wake-up that it took
    /// with it is missed by the others.
    Leave,
}

pub const PLAN: Plan = Plan {
    writers: 2,
    readers: 2,
    bytes: 24 * MB,
    slots: 16,
    longest: 5000,
    want: 20_000,
    cpus: Processors::Many,
    signals: Signals::None,
    resize: false,
    polled: false,
};

/// One run: its pipe, its threads' notes, and what the readers got.
pub struct Run {
    plan: Plan,
    world: World,
    pub pair: PipePair,
    streams: Vec<Stream>,
    twin_of_readers: FakeTwin,
    twin_of_writers: FakeTwin,
    writers_left: AtomicUsize,
    readers_left: AtomicUsize,
    notes: Mutex<Vec<&'static AtomicU32>>,
    chunks: Mutex<Vec<(u64, Vec<u8>)>>,
    pub progress: Arc<AtomicU64>,
    pub restarts: AtomicU64,
    over: AtomicBool,
}

fn populate(_: *mut u8, _: usize) -> bool {
    true
}

impl Run {
    pub fn new(plan: Plan) -> Run {
        let mut host = TestHost::new(Sleeps::ForEver, Others::Live);
        host.cpus = plan.cpus;
        let world = World::new(host);
        let pair = world.pipe(&world.enter(), plan.slots);
        if plan.polled {
            pair.pipe.watched.store(watched::LEVEL, Relaxed);
        }
        let streams = (0..plan.writers)
            .map(|w| Stream::new(w, plan.bytes / plan.writers, plan.longest))
            .collect();
        Run {
            world,
            pair,
            streams,
            twin_of_readers: FakeTwin::new(),
            twin_of_writers: FakeTwin::new(),
            writers_left: AtomicUsize::new(plan.writers),
            readers_left: AtomicUsize::new(plan.readers),
            notes: Mutex::default(),
            chunks: Mutex::default(),
            progress: Arc::default(),
            restarts: AtomicU64::new(0),
            over: AtomicBool::new(false),
            plan,
        }
    }

    fn close(&self, me: &Me, end: End) {
        let (file, twin) = match end {
            End::Read => (self.pair.read_file, &self.twin_of_writers),
            End::Write => (self.pair.write_file, &self.twin_of_readers),
        };
        twin.hang_up(); // as the kernel does when the last real descriptor is closed
        reap::forget_descriptor(&self.world.ctx(me), file, |_| false);
    }

    pub fn write_all(&self, w: usize) -> Result<usize, SysError> {
        let me = self.world.enter();
        self.notes.lock().unwrap().push(note());
        let k = self.world.ctx(&me);
        let stream = &self.streams[w];
        let mut at = 0;
        for record in &stream.records {
            let end = at + record;
            while at < end {
                let mut src = Src::new(&stream.bytes[at..end]);
                let (p, twin, kind) = (&self.pair.write, &self.twin_of_writers, slot::Kind::Stream);
                let got = pipe_write(&k, p, twin, Blocking::Yes, kind, &mut src, end - at);
                at += got.bytes;
                self.progress.fetch_add(1, Relaxed);
                match got.end {
                    Ok(()) => assert_eq!(at, end, "a blocking write is partial only with a cause"),
                    Err(SysError::Restart(Restart::Sys)) => {
                        assert!(
                            got.bytes == 0 || *record > 4096,
                            "an atomic write is never partial"
                        );
                        assert!(take_signal());
                        self.restarts.fetch_add(1, Relaxed);
                    }
                    Err(e) => {
                        self.leave(&me, End::Write);
                        return if got.raises_sigpipe() {
                            Err(e)
                        } else {
                            panic!("{e:?}")
                        };
                    }
                }
            }
        }
        self.leave(&me, End::Write);
        Ok(at)
    }

    fn leave(&self, me: &Me, end: End) {
        let left = match end {
            End::Read => &self.readers_left,
            End::Write => &self.writers_left,
        };
        if left.fetch_sub(1, SeqCst) == 1 {
            self.close(me, end);
        }
        me.die();
    }

    /// Reads until end of file, or until `limit` bytes.
    pub fn read_all(&self, r: usize, limit: usize) -> usize {
        let me = self.world.enter();
        self.notes.lock().unwrap().push(note());
        let (arena, host) = (self.world.arena, self.world.host);
        let ring = ring::claim(arena, me.owner, host, 1, me.tid, [0; 16], populate, tsc).unwrap();
        let k = self.world.logged(&me, &ring);
        let head = self.world.ring_of(&me);
        let mut rng = Rng::new(r as u64);
        let mut mine = Vec::new();
        let mut total = 0;
        while total < limit {
            let want = 1 + rng.below(self.plan.want as u64) as usize;
            let mut buf = vec![0; want];
            let mut dst = Dst::new(&mut buf);
            let (p, twin) = (&self.pair.read, &self.twin_of_readers);
            let got = pipe_read(&k, p, twin, Blocking::Yes, &mut dst, want);
            self.progress.fetch_add(1, Relaxed);
            match got {
                Ok(0) => break,
                Ok(n) => {
                    buf.truncate(n);
                    mine.push((self.position(head, n), buf));
                    total += n;
                }
                Err(SysError::Restart(Restart::Sys)) => {
                    assert!(take_signal());
                    self.restarts.fetch_add(1, Relaxed);
                    let last = || {
                        self.readers_left
                            .fetch_update(SeqCst, SeqCst, |n| (n > 1).then(|| n - 1))
                    };
                    if self.plan.signals == Signals::Leave && last().is_ok() {
                        self.chunks.lock().unwrap().append(&mut mine);
                        me.die();
                        return total;
                    }
                }
                Err(e) => panic!("{e:?}"),
            }
        }
        self.chunks.lock().unwrap().append(&mut mine);
        self.leave(&me, End::Read);
        total
    }

    /// Where the bytes of the latest read come from in the stream: the log says.
    fn position(&self, head: &ring::RingHead, bytes: usize) -> u64 {
        let last = head.head.load(Relaxed);
        let record = (head.drained.load(Relaxed)..last)
            .rev()
            .filter_map(|i| ring::read(self.world.arena, head, i))
            .find(|r| Kind::from_raw(r.kind) == Kind::Read)
            .expect("each read is logged");
        head.drained.store(last, Release);
        assert_eq!(record.a, bytes as i64);
        record.b
    }

    fn disturb(&self) {
        let me = self.world.enter();
        let mut rng = Rng::new(4711);
        while !self.over.load(Relaxed) {
            thread::sleep(Duration::from_micros(rng.below(300)));
            if self.plan.signals != Signals::None {
                let notes = self.notes.lock().unwrap();
                if !notes.is_empty() {
                    signal(notes[rng.below(notes.len() as u64) as usize]);
                }
            }
            if self.plan.resize {
                let slots = 1 << rng.below(7);
                match pipe::set_size(&self.world.ctx(&me), self.pair.pipe, slots) {
                    Ok(()) | Err(SysError::Errno(Errno::EBUSY)) => {}
                    Err(e) => panic!("{e:?}"),
                }
            }
        }
    }

    pub fn all(plan: Plan, name: &'static str) -> Arc<Run> {
        let run = Arc::new(Run::new(plan));
        let _watchdog = {
            let pipe = run.pair.pipe;
            Watchdog::new(name, run.progress.clone(), move || dump(pipe))
        };
        thread::scope(|s| {
            let run = &run;
            let readers: Vec<_> = (0..run.plan.readers)
                .map(|r| s.spawn(move || run.read_all(r, usize::MAX)))
                .collect();
            let writers: Vec<_> = (0..run.plan.writers)
                .map(|w| s.spawn(move || run.write_all(w)))
                .collect();
            s.spawn(|| run.disturb());
            for (w, thread) in writers.into_iter().enumerate() {
                assert_eq!(thread.join().unwrap(), Ok(run.streams[w].bytes.len()));
            }
            for thread in readers {
                thread.join().unwrap();
            }
            run.over.store(true, Relaxed);
        });
        run.check();
        run
    }

    fn check(&self) {
        let mixed = assemble(std::mem::take(&mut self.chunks.lock().unwrap())).unwrap();
        let counts = judge(&self.streams, &mixed).unwrap();
        let all: Vec<_> = self.streams.iter().map(|s| s.bytes.len()).collect();
        assert_eq!(counts, all, "every byte arrives");
        assert!(self.pair.pipe.looks_empty());
    }
}
