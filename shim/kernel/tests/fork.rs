//! Two processes, each with the arena at an address of its own, stream both ways; the child is
//! killed by SIGKILL at random moments, again and again. No record is torn, none that was
//! acknowledged is lost, and the survivor never hangs.

mod support;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ringer_kernel::abi::SysResult;
use ringer_kernel::file::{fd_table, PipeEnd};
use ringer_kernel::pipe::slot::Kind;
use ringer_kernel::sys::{pipe_read, pipe_write, Blocking};
use support::pattern::{self, Rng};
use support::shared::{enter_for_real, fork, kill_and_wait, shared_page, wait, Memfd};
use support::world::dump;
use support::{Dst, FakeTwin, Me, Others, Sleeps, Src, TestHost, Watchdog, World};

const KILLS: u32 = 200;

/// What both sides know apart from the arena. A twin's hang-up, and how far the child is.
struct Control {
    down_closed: AtomicU32,
    up_closed: AtomicU32,
    never: AtomicU32,
    /// Last record that a child has seen; last one that it knows to have written.
    down_seen: AtomicU64,
    up_written: AtomicU64,
    /// Records that a child found missing: at most one for each death.
    gaps: AtomicU64,
}

/// Length of a record's head: number, incarnation, length.
const HEAD: usize = 16;

fn record(number: u64, incarnation: u32) -> Vec<u8> {
    let len = (number.wrapping_mul(2_654_435_761) >> 7) as usize % (4096 - HEAD)
        / (1 + number as usize % 7);
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend(incarnation.to_le_bytes());
    bytes.extend((len as u32).to_le_bytes());
    bytes.extend(pattern::bytes(number * 31, len));
    bytes
}

/// The first record of `bytes`: its number, incarnation and length. `None`: not all there yet.
fn parse(bytes: &[u8]) -> Option<(u64, u32, usize)> {
    let number = u64::from_le_bytes(bytes.get(..8)?.try_into().unwrap());
    let incarnation = u32::from_le_bytes(bytes.get(8..12)?.try_into().unwrap());
    let len = u32::from_le_bytes(bytes.get(12..16)?.try_into().unwrap()) as usize;
    let whole = record(number, incarnation);
    assert_eq!(whole.len(), HEAD + len, "record {number} is torn");
    assert!(
        bytes.get(..whole.len())? == whole,
        "record {number} is torn"
    );
    Some((number, incarnation, whole.len()))
}

/// One process's view of the session.
struct Side {
    world: World,
    me: Me,
    control: &'static Control,
    down: u32,
    up: u32,
}

impl Side {
    fn end(&self, file: u32) -> PipeEnd {
        fd_table::pipe_end(self.world.arena, file).unwrap()
    }

    fn write(&self, file: u32, data: &[u8], kind: Kind) -> SysResult {
        let twin = FakeTwin::of(&self.control.never);
        let (k, e) = (self.world.ctx(&self.me), self.end(file));
        pipe_write(
            &k,
            &e,
            &twin,
            Blocking::Yes,
            kind,
            &mut Src::new(data),
            data.len(),
        )
        .result()
    }

    fn read(&self, file: u32, gone: &'static AtomicU32, buf: &mut [u8]) -> usize {
        let (k, e, twin) = (self.world.ctx(&self.me), self.end(file), FakeTwin::of(gone));
        let want = buf.len();
        pipe_read(&k, &e, &twin, Blocking::Yes, &mut Dst::new(buf), want).unwrap()
    }

    /// The child: takes packets from above, and sends records up.
    fn serve(&self, incarnation: u32) {
        let c = self.control;
        let mut buf = [0; 4096];
        loop {
            let n = self.read(self.down, &c.down_closed, &mut buf);
            if n == 0 {
                break;
            }
            let (number, _, len) = parse(&buf[..n]).expect("a packet is whole");
            assert_eq!(len, n);
            let last = c.down_seen.load(SeqCst);
            assert!(number > last, "{number} after {last}");
            c.gaps.fetch_add(number - last - 1, SeqCst);
            c.down_seen.store(number, SeqCst);
            for _ in 0..number % 3 {
                let next = c.up_written.load(SeqCst) + 1;
                let bytes = record(next, incarnation);
                assert_eq!(self.write(self.up, &bytes, Kind::Stream), Ok(bytes.len()));
                c.up_written.store(next, SeqCst);
            }
        }
    }
}

fn host() -> TestHost {
    TestHost::new(Sleeps::Bounded, Others::AskKernel)
}

#[test]
fn a_child_killed_again_and_again() {
    let memfd = Memfd::new();
    let world = memfd.map(host());
    world.initialise();
    let control: &'static Control = shared_page();
    let maker = world.enter();
    let (down, up) = (world.pipe(&maker, 4), world.pipe(&maker, 16));
    let progress = Arc::new(AtomicU64::new(0));
    let _watchdog = Watchdog::new("fork", progress.clone(), move || {
        dump(down.pipe);
        dump(up.pipe);
    });

    let side = move || Side {
        world,
        me: world.enter(),
        control,
        down: down.write_file,
        up: up.read_file,
    };
    let stop = AtomicU32::new(0);
    let (sent, seen) = thread::scope(|s| {
        let sender = s.spawn(|| {
            let side = side();
            let mut number = 0;
            while stop.load(SeqCst) == 0 {
                number += 1;
                let bytes = record(number, 0);
                assert_eq!(side.write(side.down, &bytes, Kind::Packet), Ok(bytes.len()));
                progress.fetch_add(1, Relaxed);
            }
            control.down_closed.store(1, SeqCst);
            down.pipe.forget_witness(ringer_kernel::file::End::Write);
            down.pipe.wake_everybody(world.host, 0);
            side.me.die();
            number
        });
        let receiver = s.spawn(|| receive(&side(), &progress));

        let mut rng = Rng::new(std::process::id().into());
        for incarnation in 1..=KILLS + 1 {
            let child = fork(|| {
                child(
                    &memfd,
                    &world,
                    control,
                    incarnation,
                    [down.read_file, up.write_file],
                )
            });
            if incarnation <= KILLS {
                thread::sleep(Duration::from_micros(rng.below(6000)));
                let status = kill_and_wait(child);
                assert!(
                    libc::WIFSIGNALED(status),
                    "the child ended by itself: {status:#x}"
                );
            } else {
                thread::sleep(Duration::from_millis(20));
                stop.store(1, SeqCst);
                assert_eq!(wait(child), 0);
                control.up_closed.store(1, SeqCst);
                up.pipe.wake_everybody(world.host, 0);
            }
        }
        (sender.join().unwrap(), receiver.join().unwrap())
    });
    assert_eq!(
        control.down_seen.load(SeqCst),
        sent,
        "the last child has seen all"
    );
    assert!(
        control.gaps.load(SeqCst) <= KILLS.into(),
        "one packet may die with its reader"
    );
    assert_eq!(
        seen,
        control.up_written.load(SeqCst),
        "what was acknowledged came, to the last"
    );
    let orphaned = world.arena.header().orphaned.load(SeqCst);
    println!("{sent} packets down, {seen} records up, {orphaned} locks of dead owners");
    assert!(sent > 1000 && seen > 1000);
}

fn child(
    memfd: &Memfd,
    parents: &World,
    control: &'static Control,
    incarnation: u32,
    ends: [u32; 2],
) {
    let world = memfd.map(host());
    assert_ne!(world.arena.base(), parents.arena.base());
    Memfd::forbid(parents);
    let [down, up] = ends;
    Side {
        world,
        me: enter_for_real(&world),
        control,
        down,
        up,
    }
    .serve(incarnation);
}

/// The parent's end of the stream from below. The number of the last record.
fn receive(side: &Side, progress: &AtomicU64) -> u64 {
    let mut stream = Vec::new();
    let (mut last, mut last_incarnation) = (0, 0);
    let mut buf = vec![0; 10_000];
    loop {
        let n = side.read(side.up, &side.control.up_closed, &mut buf);
        if n == 0 {
            assert!(stream.is_empty(), "the stream ends with a torn record");
            return last;
        }
        stream.extend_from_slice(&buf[..n]);
        let mut at = 0;
        while let Some((number, incarnation, len)) = parse(&stream[at..]) {
            // A record whose writer died before it knew is written again by its successor.
            let again = number == last && incarnation > last_incarnation;
            assert!(
                number == last + 1 || again,
                "{number} ({incarnation}) after {last} ({last_incarnation})"
            );
            (last, last_incarnation) = (number, incarnation);
            at += len;
            progress.fetch_add(1, Relaxed);
        }
        stream.drain(..at);
    }
}
