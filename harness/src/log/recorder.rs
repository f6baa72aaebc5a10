//! Keeps a log while the command runs: one thread takes records out of the rings, in time; another
//! tells them, as slowly as its output is.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringer_kernel::arena::Arena;
use ringer_kernel::log::ring;

use super::decode::Decoder;
use super::drain::{Batch, Drainer};
use super::entry::Entry;
use super::filter::Filter;
use super::flow::Flow;
use super::json::{self, Header};
pub use super::merge::Begin;
use super::merge::{Merged, Merger};
use super::perfetto::Perfetto;
use super::sigstory::SigStory;
use super::story::Story;
use super::summary::{Accounts, Summary};
use super::taken::Taken;
use super::text;
pub use super::text::Color;
use crate::error::{Error, Result};
use crate::sys::clock::{self, Clock};

const BUSY: Duration = Duration::from_micros(300);
const IDLE: Duration = Duration::from_millis(5);
/// Records that may wait to be told. When more do, rings fill up, and what is lost is counted:
/// the command never waits for its log.
const MAX_BACKLOG: u64 = 4_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Text,
    Json,
    Perfetto,
}

pub enum Target {
    Stderr,
    File(File, PathBuf),
}

pub struct Settings {
    pub format: Format,
    pub target: Target,
    pub filter: Filter,
    pub color: Color,
    pub header: Header,
}

pub struct Recorder {
    stop: Arc<AtomicBool>,
    drainer: JoinHandle<()>,
    teller: JoinHandle<(Summary, Result<()>)>,
}

impl Recorder {
    /// Signals must be blocked: they are the supervisor's.
    pub fn start(arena: Arena, settings: Settings, begin: Begin) -> Recorder {
        let stop = Arc::new(AtomicBool::new(false));
        let backlog = Arc::new(AtomicU64::new(0));
        let (to, from) = mpsc::channel();
        let drainer = {
            let (stop, backlog) = (stop.clone(), backlog.clone());
            thread::spawn(move || drain(arena, begin, &stop, &backlog, &to))
        };
        let teller =
            thread::spawn(move || Teller::new(arena, settings, begin).tell(&from, &backlog));
        Recorder {
            stop,
            drainer,
            teller,
        }
    }

    /// Takes out and tells what is left. The summary, and whether the output took everything.
    pub fn finish(self) -> (Summary, Result<()>) {
        self.stop.store(true, Release);
        self.drainer.thread().unpark();
        let _ = self.drainer.join();
        // A panic aborts, so there is always a result.
        self.teller
            .join()
            .unwrap_or_else(|_| (Summary::default(), Ok(())))
    }
}

fn drain(arena: Arena, begin: Begin, stop: &AtomicBool, backlog: &AtomicU64, to: &Sender<Batch>) {
    let mut drainer = Drainer::new(arena, begin.tsc);
    let mut pause = BUSY;
    loop {
        let last = stop.load(Acquire);
        if last {
            drainer.forget_patience();
        }
        if last || backlog.load(Relaxed) < MAX_BACKLOG {
            let batch = drainer.sweep(clock::tsc());
            let n = batch.records.len() as u64;
            backlog.fetch_add(n, Relaxed);
            if to.send(batch).is_err() || last {
                return;
            }
            pause = if n > 0 { BUSY } else { (pause * 2).min(IDLE) };
        }
        if drainer.fullest < ring::RECORDS / 4 {
            thread::park_timeout(pause);
        }
    }
}

/// Takes records out as fast as a log would, and tells nobody: for benchmarks.
pub fn discard(arena: Arena, stop: &AtomicBool) {
    let mut drainer = Drainer::new(arena, 0);
    while !stop.load(Acquire) {
        drainer.sweep(clock::tsc());
        if drainer.fullest < ring::RECORDS / 4 {
            thread::sleep(BUSY);
        }
    }
}

struct Teller {
    decoder: Decoder,
    merger: Merger,
    signals: SigStory,
    voice: Voice,
}

impl Teller {
    fn new(arena: Arena, settings: Settings, begin: Begin) -> Teller {
        let clock = Clock::of(arena.header());
        Teller {
            decoder: Decoder::new(clock),
            merger: Merger::new(begin, &clock),
            signals: SigStory::default(),
            voice: Voice::new(settings),
        }
    }

    fn tell(mut self, from: &Receiver<Batch>, backlog: &AtomicU64) -> (Summary, Result<()>) {
        self.voice.header();
        let mut ready = Vec::new();
        for batch in from {
            backlog.fetch_sub(batch.records.len() as u64, Relaxed);
            batch.met.iter().for_each(|who| self.decoder.meet(who));
            if batch.lossy {
                self.merger.expect_losses();
            }
            batch
                .records
                .into_iter()
                .for_each(|raw| self.merger.push(raw));
            self.merger.release(batch.horizon, |m| ready.push(m));
            self.say(&mut ready);
            self.voice.flush();
        }
        self.merger.finish(|m| ready.push(m));
        self.say(&mut ready);
        self.voice.finish()
    }

    fn say(&mut self, ready: &mut Vec<Merged>) {
        for merged in ready.drain(..) {
            let mut entry = self.decoder.decode(&merged);
            let (decoder, voice) = (&self.decoder, &mut self.voice);
            self.signals.follow(&mut entry, |e| {
                let id = decoder.own_id();
                voice.entry(Entry { id, ..e });
            });
            self.voice.entry(entry);
        }
    }
}

/// Entries in, text or JSON out. Counts all of them, tells those that the filter admits.
pub struct Voice {
    out: BufWriter<Box<dyn Write + Send>>,
    path: PathBuf,
    settings: Settings,
    flow: Flow,
    story: Story,
    taken: Taken,
    accounts: Accounts,
    line: String,
    perfetto: Perfetto,
    /// The first trouble; after it nothing is written.
    trouble: Option<io::Error>,
}

impl Voice {
    pub fn new(mut settings: Settings) -> Voice {
        let target = std::mem::replace(&mut settings.target, Target::Stderr);
        let (out, path): (Box<dyn Write + Send>, _) = match target {
            Target::Stderr => (Box::new(io::stderr()), PathBuf::from("standard error")),
            Target::File(file, path) => (Box::new(file), path),
        };
        Voice {
            out: BufWriter::with_capacity(64 * 1024, out),
            path,
            flow: Flow::default(),
            story: Story::default(),
            taken: Taken::default(),
            accounts: Accounts::new(&settings.header),
            settings,
            line: String::new(),
            perfetto: Perfetto::default(),
            trouble: None,
        }
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(e) = result {
            self.trouble.get_or_insert(e);
        }
    }

    pub fn header(&mut self) {
        let result = match self.settings.format {
            Format::Text => Ok(()),
            Format::Json => json::write(&mut self.out, &self.settings.header),
            Format::Perfetto => self.perfetto.begin(&mut self.out),
        };
        self.note(result);
    }

    pub fn entry(&mut self, mut e: Entry) {
        let shares = self.flow.follow(&mut e);
        self.story.remember(&e);
        self.taken.follow(&mut e);
        self.accounts.count(&e, &shares);
        if self.trouble.is_some() || !self.settings.filter.admits(&e) {
            return;
        }
        let result = match self.settings.format {
            Format::Json => json::write(&mut self.out, &e),
            Format::Perfetto => self.perfetto.entry(&mut self.out, &e, &self.story),
            Format::Text => {
                self.line.clear();
                text::line(&mut self.line, &e, &self.story, self.settings.color);
                self.out.write_all(self.line.as_bytes())
            }
        };
        self.note(result);
    }

    pub fn flush(&mut self) {
        if self.trouble.is_none() {
            let result = self.out.flush();
            self.note(result);
        }
    }

    pub fn finish(mut self) -> (Summary, Result<()>) {
        let summary = self.accounts.sum();
        if self.trouble.is_none() {
            let footer = json::Footer {
                summary: summary.clone(),
            };
            let result = match self.settings.format {
                Format::Text => Ok(()),
                Format::Json => json::write(&mut self.out, &footer),
                Format::Perfetto => self.perfetto.end(&mut self.out),
            };
            self.note(result);
        }
        self.flush();
        let result = match self.trouble {
            Some(why) if why.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output {
                path: self.path,
                why,
            }),
            _ => Ok(()),
        };
        (summary, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::Temporary;
    use crate::sys::{host, Here};
    use ringer_kernel::log::{record::layer, Kind, Record};
    use ringer_kernel::task;

    /// Two threads of this process pass numbers through one pipe, by records alone.
    #[test]
    fn a_whole_log_is_complete_and_in_order() {
        let made = Temporary::new(1);
        let arena = made.0.arena;
        let dir = std::env::temp_dir().join(format!("ringer-unit-log-{}", std::process::id()));
        let settings = Settings {
            format: Format::Json,
            target: Target::File(File::create(&dir).unwrap(), dir.clone()),
            filter: Filter::default(),
            color: Color::No,
            header: Header {
                ringer: "log".into(),
                version: json::VERSION,
                ..Header::default()
            },
        };
        let recorder = Recorder::start(arena, settings, Begin::now(arena.header()));
        let seq = std::sync::atomic::AtomicU32::new(0);
        const EACH: u32 = 20_000;
        thread::scope(|scope| {
            for tid in 1..=2u32 {
                let seq = &seq;
                scope.spawn(move || {
                    let me = std::process::id();
                    let start = crate::sys::procfs::start_of(me);
                    let (_, owner) = task::claim_task(&arena, &Here, 0, me, me, start).unwrap();
                    let comm = *b"pusher\0\0\0\0\0\0\0\0\0\0";
                    let ring = ring::claim(
                        &arena,
                        owner,
                        &Here,
                        me,
                        tid,
                        comm,
                        host::populate,
                        clock::tsc,
                    );
                    let ring = ring.unwrap();
                    for n in 0..EACH {
                        if n % 100 == 0 {
                            thread::sleep(Duration::from_micros(200));
                        }
                        let seq = seq.fetch_add(1, SeqCst);
                        ring.put(Record {
                            kind: Kind::Write.raw(),
                            object: 1,
                            seq,
                            a: 1,
                            b: u64::from(seq),
                            aux: layer::HOOK,
                            fd: 1,
                            ..Record::default()
                        });
                    }
                    ring.retire();
                });
            }
        });
        let (summary, result) = recorder.finish();
        result.unwrap();
        assert_eq!(summary.entries + summary.lost, u64::from(2 * EACH));
        assert_eq!(summary.missing, summary.lost);
        let text = std::fs::read_to_string(&dir).unwrap();
        std::fs::remove_file(&dir).unwrap();
        let seqs: Vec<u32> = text
            .lines()
            .filter_map(|l| serde_json::from_str::<Entry>(l).ok())
            .filter_map(|e| e.seq)
            .collect();
        assert!(
            seqs.windows(2).all(|w| w[0] < w[1]),
            "in the object's order"
        );
        assert!(text.lines().last().unwrap().starts_with("{\"summary\":{"));
    }
}
