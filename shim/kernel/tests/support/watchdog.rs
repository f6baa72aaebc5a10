//! Ends the test with a picture when nothing moves any more.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

pub struct Watchdog {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Aborts the process when `progress` stands still for half a minute.
    pub fn new(
        name: &'static str,
        progress: Arc<AtomicU64>,
        dump: impl Fn() + Send + 'static,
    ) -> Watchdog {
        let over = Arc::new(AtomicBool::new(false));
        let thread = {
            let over = over.clone();
            thread::spawn(move || {
                let (mut seen, mut since) = (progress.load(Relaxed), Instant::now());
                while !over.load(Relaxed) {
                    thread::park_timeout(Duration::from_millis(100));
                    let now = progress.load(Relaxed);
                    if now != seen {
                        (seen, since) = (now, Instant::now());
                    }
                    if since.elapsed() > PATIENCE {
                        // Not by eprintln: libtest keeps that until the test ends.
                        let _ = writeln!(io::stderr(), "watchdog: {name} stands still at {now}");
                        dump();
                        std::process::abort();
                    }
                }
            })
        };
        Watchdog {
            over,
            thread: Some(thread),
        }
    }

    /// For one step that must end.
    pub fn step(name: &'static str) -> Watchdog {
        Watchdog::new(name, Arc::default(), || ())
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
