//! One row: native, ringer, native, ringer ...

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::*};

use ringer_kernel::arena::header::flag;

use super::report::{Figures, Samples};
use super::row::{Logging, Processors, Row, Signals};
use super::stats;
use crate::error::{Error, Result};
use crate::launch::{inherited, library};
use crate::log::discard;
use crate::session::{Name, Session};
use crate::sys;

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub pairs: usize,
    /// Iterations are divided by this.
    pub divisor: u64,
}

pub const FULL: Plan = Plan {
    pairs: 7,
    divisor: 1,
};
pub const QUICK: Plan = Plan {
    pairs: 3,
    divisor: 4,
};

pub fn measure(row: &Row, plan: Plan) -> Result<Figures> {
    let library = library::unpack()?;
    let log = if row.logging == Logging::On {
        flag::LOG
    } else {
        0
    };
    let session = Session::join(&Name::unnamed(), flag::EMULATE_ALL | log)?;
    // A session without a supervisor goes with its first process.
    session
        .header()
        .supervisor
        .store(std::process::id(), Release);
    let measured = in_session(row, plan, &library, &session);
    session.unlink();
    measured
}

fn in_session(row: &Row, plan: Plan, library: &Path, session: &Session) -> Result<Figures> {
    let mut samples = Samples {
        kernel: Vec::new(),
        ringer: Vec::new(),
    };
    let mut served = true;
    let stop = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        if row.logging == Logging::On {
            // Somebody must take the records out: a full ring is cheaper than a log.
            scope.spawn(|| discard(session.arena, &stop));
        }
        let result = (0..plan.pairs).try_for_each(|_| {
            samples.kernel.push(worker(row, plan, None)?);
            let before = Traces::of(session);
            samples
                .ringer
                .push(worker(row, plan, Some((library, session)))?);
            served &= Traces::of(session).show_service_since(&before, row);
            Ok(())
        });
        stop.store(true, Release);
        result
    });
    result?;
    let (kernel, ringer) = (stats::of(&samples.kernel), stats::of(&samples.ringer));
    Ok(Figures {
        name: row.name,
        regime: row.regime,
        kernel_ns: kernel.median,
        ringer_ns: ringer.median,
        ratio: if ringer.median > 0.0 {
            kernel.median / ringer.median
        } else {
            0.0
        },
        target: row.target,
        samples,
        served,
    })
}

/// What a worker that was really served leaves behind in its session.
struct Traces {
    processes: u32,
    pipes: u32,
    demotions: u32,
    signals: u32,
    queued: u32,
}

impl Traces {
    fn of(session: &Session) -> Traces {
        let h = session.header();
        Traces {
            processes: h.proc_events.load(Relaxed),
            pipes: h.object_ids.load(Relaxed),
            demotions: h.demotions.load(Relaxed),
            signals: h.signals_opened.load(Relaxed),
            queued: h.signals_queued.load(Relaxed),
        }
    }

    fn show_service_since(&self, before: &Traces, row: &Row) -> bool {
        self.processes != before.processes
            && self.demotions.wrapping_sub(before.demotions) <= row.demotions
            && (!row.pipes || self.pipes != before.pipes)
            && match row.signals {
                Signals::None => true,
                Signals::Delivered => self.signals != before.signals,
                Signals::Queued => self.queued != before.queued,
            }
    }
}

/// Nanoseconds for one operation, as the worker measured them.
fn worker(row: &Row, plan: Plan, shim: Option<(&Path, &Session)>) -> Result<f64> {
    let trouble = |why: String| Error::Bench {
        what: row.name.to_owned(),
        why,
    };
    let io = |why: std::io::Error| trouble(sys::error_text(&why));
    let mut command = Command::new(std::env::current_exe().map_err(io)?);
    command
        .arg("bench-worker")
        .arg(row.workload)
        .arg((row.iterations / plan.divisor).to_string());
    command
        .env_remove("LD_PRELOAD")
        .env_remove("RINGER_SESSION");
    if let Some((library, session)) = shim {
        command
            .env("LD_PRELOAD", library)
            .env("RINGER_SESSION", &session.path);
    }
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let one = row.processors == Processors::One;
    let inherited = inherited::take();
    // SAFETY: only system calls, no allocation, between fork and exec.
    unsafe {
        command.pre_exec(move || {
            inherited.restore();
            if one {
                sys::pin_to_one_processor()?;
            }
            Ok(())
        });
    }
    let output = command.output().map_err(io)?;
    if !output.status.success() {
        let world = if shim.is_some() {
            "under ringer"
        } else {
            "natively"
        };
        return Err(trouble(format!(
            "the worker failed {world}: {}",
            output.status
        )));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim()
        .parse()
        .map_err(|_| trouble(format!("the worker said {said:?}")))
}
