//! Who takes part: the victim, a survivor that writes, a survivor that reads.

use crate::ledger::{words, Ledger, Reader, Writer, MAX, WORD};
use ringer_support::prelude::*;
use ringer_support::shared::pause;
use ringer_support::world::World;
use std::env;
use std::time::Duration;

/// What the survivors go on with after a death.
pub const MEGABYTE: usize = 1 << 20;
/// What the victim's description is passed in.
const VICTIM: &str = "RINGER_CRASH_VICTIM";

/// Sizes of writes: they merge, fill slots, and take more than one.
const WRITES: [usize; 6] = [40, 200, 4096, 1000, 5000, 8];
/// Sizes of reads.
const READS: [usize; 5] = [8, 4096, 1000, 9000, 16];
/// Capacities that the resizer goes through: growing most of the time.
const SIZES: [usize; 6] = [1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 16, 1 << 15];

/// What the victim is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    Write,
    Read,
    /// F_SETPIPE_SZ, to one size after the other.
    Resize,
    /// F_SETPIPE_SZ, to less than there is: EBUSY.
    Shrink,
    /// It execs a static program.
    Demote,
}

const ACTS: [Act; 5] = [Act::Write, Act::Read, Act::Resize, Act::Shrink, Act::Demote];

/// Who waits for whom while the victim lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Writers are slow: the pipe is empty, readers sleep.
    Scarce,
    /// Readers are slow: the pipe is full, writers sleep most of the time.
    Plenty,
    /// Readers wait for the victim's death: writers sleep as long as there is no more room.
    Stuck,
}

const FLOWS: [Flow; 3] = [Flow::Scarce, Flow::Plenty, Flow::Stuck];

/// How the survivors know that it is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finish {
    /// The writer goes; the reader sees end of file.
    Eof,
    /// The reader goes; the writer sees EPIPE.
    Epipe,
}

/// What all parts share.
#[derive(Clone, Copy)]
pub struct Cast {
    pub r: c_int,
    pub w: c_int,
    pub ledger: Ledger,
    pub flow: Flow,
}

impl Cast {
    /// Slows down who shall be slow, as long as the victim lives.
    fn tarry(&self, slow: Flow) {
        if self.flow == slow && !self.ledger.is_dead() {
            pause(Duration::from_micros(100));
        }
    }

    /// Until the writer has not written anything for a while: it sleeps.
    fn wait_for_rest(&self) {
        let mut seen = (self.ledger.sent(Writer::Survivor), 0);
        while seen.1 < 5 {
            pause(Duration::from_millis(1));
            let sent = self.ledger.sent(Writer::Survivor);
            seen = (sent, if sent == seen.0 { seen.1 + 1 } else { 0 });
        }
    }

    /// Writes its megabyte after the victim's death, and whatever it likes before.
    pub fn survive_writing(&self, finish: Finish) {
        signal::ignore(SIGPIPE);
        let (mut at, mut end) = (0, None);
        for size in WRITES.iter().cycle() {
            if end.is_none() && self.ledger.is_dead() {
                end = Some(at + MEGABYTE);
            }
            let left = end.unwrap_or(MAX - MEGABYTE) - at;
            match (end, left) {
                (Some(_), 0) => break,
                (None, 0) => pause(Duration::from_millis(1)),
                _ => {}
            }
            let n = left.min(*size);
            assert_eq!(write(self.w, &words(Writer::Survivor, at, n)), Ok(n));
            at += n;
            self.ledger.set_sent(Writer::Survivor, at);
            self.tarry(Flow::Scarce);
        }
        if finish == Finish::Epipe {
            self.write_until_epipe(Writer::Filler);
        }
    }

    /// Writes until nobody is left who could read it.
    pub fn write_until_epipe(&self, as_who: Writer) {
        signal::ignore(SIGPIPE);
        let mut at = 0;
        for size in WRITES.iter().cycle() {
            match write(self.w, &words(as_who, at, *size)) {
                // The readers may go in the midst of a write.
                Ok(n) => at = (at + n) % (MAX / 2),
                Err(e) => return assert_eq!(e, EPIPE),
            }
            self.tarry(Flow::Scarce);
        }
    }

    /// Reads and checks until end of file, or until there are only fillers left.
    pub fn survive_reading(&self, finish: Finish) {
        if self.flow == Flow::Stuck {
            wait_until(|| self.ledger.is_dead());
        }
        let mut reader = Reader::new(self.ledger);
        for size in READS.iter().cycle() {
            let got = read_n(self.r, *size).expect("read");
            if got.is_empty() {
                return assert_eq!(finish, Finish::Eof, "end of file before its time");
            }
            if reader.take(&got) {
                return assert_eq!(finish, Finish::Epipe, "a filler before its time");
            }
            self.tarry(Flow::Plenty);
        }
    }
}

/// One who is going to die.
#[derive(Clone, Copy)]
pub struct Victim {
    pub act: Act,
    pub cast: Cast,
    /// At which of its calls it dies in a world without crash points.
    pub nth: u32,
    /// Bytes that are to be in the pipe before it is demoted.
    pub full_enough: usize,
}

impl Victim {
    /// Becomes the victim: a program of its own, which dies at `point`.
    pub fn exec(&self, point: &str) -> ! {
        env::set_var("RINGER_CRASH_AT", format!("{point}:{}", self.nth));
        let Cast { r, w, ledger, flow } = self.cast;
        let act = ACTS.iter().position(|act| *act == self.act);
        let flow = FLOWS.iter().position(|f| *f == flow);
        let numbers = [
            act.expect("one of all acts"),
            flow.expect("one of all flows"),
            ledger.fd() as usize,
            self.nth as usize,
            self.full_enough,
        ];
        let numbers = numbers.map(|n| n.to_string()).join(" ");
        env::set_var(VICTIM, format!("{numbers} {r} {w}"));
        let _ = dup2(&open("/dev/null", O_WRONLY).expect("/dev/null"), 1);
        let arguments = [
            "roles::victim",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ];
        let program = env::current_exe().expect("the path of this test binary");
        exec(&program, &arguments)
    }

    /// What [`Victim::exec`] passed on.
    fn passed() -> Option<Victim> {
        let text = env::var(VICTIM).ok()?;
        let mut numbers = text.split(' ').map(|n| n.parse::<i64>().expect("a number"));
        let mut next = || numbers.next().expect("seven numbers");
        let act = ACTS[next() as usize];
        let flow = FLOWS[next() as usize];
        let ledger = Ledger::inherited(next() as i32);
        let nth = next() as u32;
        let full_enough = next() as usize;
        let (r, w) = (next() as c_int, next() as c_int);
        Some(Victim {
            act,
            cast: Cast { r, w, ledger, flow },
            nth,
            full_enough,
        })
    }

    /// Natively there are no crash points: it dies after its call, as if at the end of it.
    fn dies_of(&self, calls: u32) {
        if World::current() == Some(World::Native) && calls == self.nth {
            signal::kill(getpid(), SIGKILL);
        }
    }

    fn live(&self) {
        match self.act {
            Act::Write => self.write(),
            Act::Read => self.read(),
            Act::Resize => self.resize(),
            Act::Shrink => {
                assert_eq!(set_pipe_size(self.cast.w, PAGE), Err(EBUSY));
                self.dies_of(1);
            }
            Act::Demote => {
                wait_until(|| self.cast.ledger.in_flight() >= self.full_enough);
                self.dies_of(self.nth);
                exec(&program("puppet", Linkage::Static), &["open:1"]);
            }
        }
    }

    fn write(&self) {
        let (Cast { w, ledger, .. }, mut at) = (self.cast, 0);
        for (size, calls) in WRITES.iter().cycle().zip(1..) {
            ledger.set_attempt(*size);
            at += write(w, &words(Writer::Victim, at, *size)).expect("write");
            ledger.set_sent(Writer::Victim, at);
            self.dies_of(calls);
            self.cast.tarry(Flow::Scarce);
        }
    }

    fn read(&self) {
        let Cast { r, ledger, .. } = self.cast;
        let mut reader = Reader::new(ledger);
        for (size, calls) in READS.iter().cycle().zip(1..) {
            ledger.set_attempt(*size);
            let got = read_n(r, *size).expect("read");
            assert!(!got.is_empty(), "end of file while the victim lives");
            reader.take(&got);
            self.dies_of(calls);
            self.cast.tarry(Flow::Plenty);
        }
    }

    fn resize(&self) {
        for (size, calls) in SIZES.iter().cycle().zip(1..) {
            if self.cast.flow == Flow::Stuck {
                self.cast.wait_for_rest();
            }
            let done = set_pipe_size(self.cast.w, *size);
            assert!(matches!(done, Ok(_) | Err(EBUSY)), "F_SETPIPE_SZ: {done:?}");
            self.dies_of(calls);
            pause(Duration::from_millis(1)); // who got room sleeps again
        }
    }
}

/// No test: what the victim's process runs. Without a victim's orders it does nothing.
#[test]
fn victim() {
    if let Some(victim) = Victim::passed() {
        victim.live();
        panic!("the victim has not met its death");
    }
}

const _: () = {
    let mut i = 0;
    while i < WRITES.len() {
        assert!(WRITES[i].is_multiple_of(WORD));
        i += 1;
    }
};
