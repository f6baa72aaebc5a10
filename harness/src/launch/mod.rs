//! Starting the command and staying with it.
//!
//! ```text
//! ringer ── fork ── exec COMMAND (LD_PRELOAD, RINGER_SESSION; everything else as inherited)
//!   │                  │
//!   │ pidfds, 25 ms    ├── its children, their children ...   all in the session's arena
//!   └── supervisor ────┘   whoever dies without cleaning up is reaped
//! ```

pub mod child;
pub mod environment;
pub mod inherited;
pub mod library;
pub mod reach;
pub mod supervisor;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::Ordering::*;

use ringer_kernel::arena::header::flag;
use ringer_kernel::arena::Header;

use crate::cli::{Mechanism, Mode, SessionOptions};
use crate::error::{Error, Result};
use crate::log::recorder::Begin;
use crate::log::summary::Summary;
use crate::log::{json, Recorder, Settings};
use crate::session::{self, leftover, Access, Name, Session};
use crate::sys;
use crate::sys::clock::{self, Clock};
use crate::sys::process::State;
use crate::ui::human;

pub use child::Child;
pub use supervisor::{Signals, Supervisor};

/// What to run, and how.
pub struct Order<'a> {
    pub options: &'a SessionOptions,
    pub command: &'a [OsString],
    pub log: Option<Settings>,
    /// Something may have to be said in the end.
    pub keeps_stderr: bool,
}

/// What came of it.
pub struct Outcome {
    pub exit_status: u8,
    pub end: State,
    pub summary: Summary,
    /// Whether the log could be written.
    pub log: Result<()>,
}

/// Runs a command in a session and stays with it.
pub fn command(order: Order<'_>) -> Result<Outcome> {
    leftover::remove();
    let (library, session) = match prepare(&order) {
        Ok(prepared) => prepared,
        Err(e) if order.can_do_without(&e) => {
            let headline = e.to_string();
            let headline = headline.lines().next().unwrap_or_default();
            crate::ui::say(&format!(
                "ringer: {headline}; the command runs on the kernel\n"
            ));
            return Err(Child::instead_of_us(order.command));
        }
        Err(e) => return Err(e),
    };
    let outcome = in_session(order, &session, library);
    if outcome.is_err() && !session.is_named() {
        session.unlink();
    }
    outcome
}

/// What the command is to be started with.
fn prepare(order: &Order<'_>) -> Result<(PathBuf, Session)> {
    let name = match &order.options.session {
        Some(name) => Name::given(name)?,
        None => Name::unnamed(),
    };
    let library = match &order.options.shim {
        Some(file) => absolute(file)?,
        None => library::unpack()?,
    };
    Ok((library, Session::join(&name, flags(order))?))
}

impl Order<'_> {
    /// A program never breaks because ringer can not have what it needs; but who asked for a
    /// log, or for a certain session, is told that there is none.
    fn can_do_without(&self, e: &Error) -> bool {
        let of_the_surroundings = matches!(
            e,
            Error::CannotMakeSession { .. } | Error::NowhereToUnpack { .. }
        );
        of_the_surroundings && self.log.is_none() && self.options.session.is_none()
    }
}

fn in_session(order: Order<'_>, session: &Session, library: PathBuf) -> Result<Outcome> {
    let log_switch = match &order.log {
        None => None,
        Some(_) => Some(LogSwitch::on(session)?),
    };
    let signals = Signals::take()?;
    let mut supervisor = Supervisor::new(session, order.log.is_some())?;
    let environment = match order.command.first() {
        Some(command) if reach::is_to_be_left_alone(command) => {
            environment::without_shim(std::env::vars_os())
        }
        _ => environment::with_shim(std::env::vars_os(), &library, &session.path),
    };
    let begin = Begin::now(session.header());
    let child = Child::start(order.command, environment)?;
    // The command's descriptors are the command's: whoever waits for it to close one must not
    // wait for us.
    let kept = if order.keeps_stderr { 0..2 } else { 0..3 };
    kept.for_each(sys::let_go);
    sys::raise_descriptor_limit();
    let recorder = order.log.map(|mut settings| {
        settings.header = header(session, order.command);
        Recorder::start(session.arena, settings, begin)
    });
    let end = supervisor.stay_with(child, &signals);
    drop(log_switch);
    let (summary, log) = recorder.map_or_else(|| (Summary::default(), Ok(())), Recorder::finish);
    say_unlogged(session);
    if !session.is_named() && session.is_deserted() {
        session.unlink();
    }
    let end = end?;
    Ok(Outcome {
        exit_status: child::exit_status(end),
        end,
        summary,
        log,
    })
}

/// Listens to a session that others run, until a signal comes.
pub fn listen(name: &str, mut settings: Settings) -> Result<(Summary, Result<()>)> {
    let path = session::name::resolve(name)?;
    if !path.exists() {
        return Err(Error::NoSuchSession {
            name: name.to_owned(),
        });
    }
    let session = Session::open(&path, Access::Member)?;
    let log_switch = LogSwitch::on(&session)?;
    let running = leftover::live_processes(&session.arena).count() as u64;
    if running > 0 {
        let them = human::plural_es(running, "process");
        crate::ui::say(&format!(
            "ringer: {them} of session '{name}' started before its log was on: \
             what is told begins with the next one\n"
        ));
    }
    let signals = Signals::take()?;
    let mut supervisor = Supervisor::new(&session, true)?;
    settings.header = header(&session, &[]);
    let recorder = Recorder::start(session.arena, settings, Begin::now(session.header()));
    let looked = supervisor.look_on(&signals);
    drop(log_switch);
    let told = recorder.finish();
    say_unlogged(&session);
    looked.map(|()| told)
}

/// A thread without a ring can not say itself that it is missing from the log.
fn say_unlogged(session: &Session) {
    let unlogged = u64::from(session.header().unlogged.swap(0, AcqRel));
    if unlogged > 0 {
        let threads = human::plural(unlogged, "thread");
        crate::ui::say(&format!(
            "ringer: {threads} found no memory in /dev/shm for a log; the log is not complete\n"
        ));
    }
}

/// A session keeps a log as long as somebody reads it. Programs look when they start.
struct LogSwitch(&'static Header);

impl LogSwitch {
    /// Claims the log, so that nobody else takes records out, and switches it on.
    fn on(session: &Session) -> Result<LogSwitch> {
        session.claim_log()?;
        session.header().flags.fetch_or(flag::LOG, AcqRel);
        Ok(LogSwitch(session.header()))
    }
}

impl Drop for LogSwitch {
    fn drop(&mut self) {
        self.0.flags.fetch_and(!flag::LOG, AcqRel);
    }
}

/// `--emulate`: the word, its bit in the session, and the word in a log's header.
const MECHANISMS: &[(Mechanism, u32, &str)] = &[
    (Mechanism::Pipe, flag::EMULATE_PIPE, "pipe"),
    (Mechanism::Signal, flag::EMULATE_SIGNAL, "signal"),
    (Mechanism::Eventfd, flag::EMULATE_EVENTFD, "eventfd"),
    (Mechanism::Sysv, flag::EMULATE_SYSV, "sysv"),
    (Mechanism::Unix, flag::EMULATE_UNIX, "unix"),
    (Mechanism::Mq, flag::EMULATE_MQ, "mq"),
    (Mechanism::Sem, flag::EMULATE_SEM, "sem"),
    (Mechanism::Shm, flag::EMULATE_SHM, "shm"),
];

fn flags(order: &Order<'_>) -> u32 {
    let options = order.options;
    let has = |m| options.emulate.contains(&m);
    let mut flags = 0;
    if options.mode == Mode::Observe {
        flags |= flag::OBSERVE;
    }
    if options.session.is_some() {
        flags |= flag::NAMED;
    }
    if has(Mechanism::All) && !has(Mechanism::None) {
        flags |= flag::EMULATE_ALL;
    }
    for &(mechanism, bit, _) in MECHANISMS {
        if has(mechanism) && !has(Mechanism::None) {
            flags |= bit;
        }
    }
    flags
}

fn header(session: &Session, command: &[OsString]) -> json::Header {
    let h = session.header();
    let emulates = |bit| h.has(bit) && !h.has(flag::OBSERVE);
    json::Header {
        ringer: "log".into(),
        version: json::VERSION,
        session: session.name(),
        started: clock::iso_8601(Clock::of(h).started()),
        mode: if h.has(flag::OBSERVE) {
            "observe"
        } else {
            "emulate"
        }
        .into(),
        emulate: (MECHANISMS.iter())
            .filter(|(_, bit, _)| emulates(*bit))
            .map(|(_, _, word)| (*word).into())
            .collect(),
        command: command
            .iter()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect(),
    }
}

/// The command may change its directory; the library stays where it is.
fn absolute(file: &std::path::Path) -> Result<PathBuf> {
    file.canonicalize().map_err(|why| Error::Input {
        path: file.to_owned(),
        why,
    })
}
