//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::TypedValueParser as _;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::check::small::Object as CheckObject;
use crate::fuzz::generate::Object;
use crate::{cmd, error, ui};

const EXAMPLES: &str = "\
Examples:
  ringer trace -- sh -c 'seq 1000 | sort -rn | head -n 3'   what happened, line by line
  ringer run -- make -j2                                    faster, nothing else
  ringer trace -o t.jsonl --format json -- python3 x.py     the same for programs to read
  ringer run --session build -- make & ringer ipcs          look into a running session

Exit status: 125 for trouble of ringer's own. Of run and trace: the command's, 128+n if signal n
killed it, 126 if it cannot be run, 127 if there is none.";

/// A user-space kernel for the signals and inter-process communication of unmodified programs: run them on it,
/// trace what they do.
#[derive(Parser)]
#[command(name = "ringer", version, before_help = EXAMPLES, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command on ringer; nothing else is to be seen
    Run(Run),
    /// Run a command and tell what its signals and IPC do, in the manner of strace
    Trace(Trace),
    /// List the processes of sessions, live or left over
    Ps(Ps),
    /// List the objects of sessions, live or left over
    Ipcs(Ipcs),
    /// Remove System V objects of a session
    Ipcrm(Ipcrm),
    /// List sessions, or remove one
    Sessions(Sessions),
    /// Measure the kernel against ringer, both in one run
    Bench(Bench),
    /// Run a command on the kernel and on ringer, and tell the first thing that differs
    Diff(Diff),
    /// Invent programs, run each on the kernel and on ringer, and show the first that differs
    Fuzz(Fuzz),
    #[command(hide = true)]
    FuzzWorker,
    #[command(hide = true)]
    FuzzActor(FuzzActor),
    /// Run all programs up to a length on the kernel and on ringer, and show the first that differs
    Check(Check),
    #[command(hide = true)]
    CheckWorker,
    /// Tell each rule that has to hold, its tests, and what they say on the kernel and on ringer
    Conform(Conform),
    /// Look into an arena; with --check, whether it is in order
    Inspect(Inspect),
    #[command(hide = true)]
    BenchWorker(BenchWorker),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Mode {
    /// ringer serves
    Emulate,
    /// the kernel serves, ringer only watches
    Observe,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Mechanism {
    Pipe,
    Signal,
    Eventfd,
    Sysv,
    Unix,
    Mq,
    Sem,
    Shm,
    All,
    None,
}

/// How the session is.
#[derive(Args, Clone)]
pub struct SessionOptions {
    /// Session to make or to join (without: one of its own)
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// Who serves
    #[arg(long, value_enum, default_value = "emulate")]
    pub mode: Mode,
    /// What is emulated, the rest being observed
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "all"
    )]
    pub emulate: Vec<Mechanism>,
    /// Another libringer.so than the one inside, of the same build
    #[arg(long, value_name = "FILE", hide = true)]
    pub shim: Option<PathBuf>,
}

#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    pub session: SessionOptions,
    /// Keep a log of the whole run, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Write how the command ended to FILE: a status alone does not tell a signal from an exit
    #[arg(long, value_name = "FILE", hide = true)]
    pub end: Option<PathBuf>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum TraceFormat {
    Text,
    Json,
    /// For ui.perfetto.dev
    Perfetto,
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").args(["command", "from", "summary_json", "session"]).required(true).multiple(true))]
pub struct Trace {
    #[command(flatten)]
    pub session: SessionOptions,
    /// Write to FILE, not to standard error
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    pub format: TraceFormat,
    /// Tell only some of it: read,write  %pipe %signal %process %desc %wait  pipe#3 sig#9
    /// pid=123  comm=sort  errno=EPIPE  signal=USR1; !... for the rest. Several -e must all agree
    #[arg(
        short = 'e',
        long = "expr",
        value_name = "EXPR",
        allow_hyphen_values = true
    )]
    pub expressions: Vec<String>,
    /// Sum up at the end (on a terminal: always)
    #[arg(short = 'c', long)]
    pub summary: bool,
    /// Follow children; ringer always does
    #[arg(short = 'f', hide = true)]
    pub follow: bool,
    /// Tell a log that was saved as JSON
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "session"])]
    pub from: Option<PathBuf>,
    /// Print the summary of a saved log, as JSON
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "session", "from"])]
    pub summary_json: Option<PathBuf>,
    /// The command and its arguments; without, a live session is listened to
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

#[derive(Args)]
pub struct Ps {
    /// Only this session
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// Processes that have ended or were killed, too
    #[arg(long)]
    pub all: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Ipcs {
    /// Only this session
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    #[arg(long)]
    pub json: bool,
}

/// A key, as ipcs(1) prints it: hexadecimal with 0x, or decimal.
#[derive(Clone, Copy, Debug)]
pub struct Key(pub u32);

impl std::str::FromStr for Key {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Key, Self::Err> {
        let key = match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16)?,
            None => text.parse::<i32>()? as u32,
        };
        Ok(Key(key))
    }
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("object").required(true).multiple(true)
    .args(["queue_id", "queue_key", "shm_id", "shm_key", "sem_id", "sem_key",
           "posix_mqueue", "posix_semaphore", "posix_shmem"]))]
pub struct Ipcrm {
    /// The session, as `ringer ps` has it
    #[arg(long, value_name = "NAME")]
    pub session: String,
    #[arg(short = 'q', long, value_name = "ID")]
    pub queue_id: Vec<i32>,
    #[arg(short = 'Q', long, value_name = "KEY")]
    pub queue_key: Vec<Key>,
    #[arg(short = 'm', long, value_name = "ID")]
    pub shm_id: Vec<i32>,
    #[arg(short = 'M', long, value_name = "KEY")]
    pub shm_key: Vec<Key>,
    #[arg(short = 's', long, value_name = "ID")]
    pub sem_id: Vec<i32>,
    #[arg(short = 'S', long, value_name = "KEY")]
    pub sem_key: Vec<Key>,
    /// As mq_unlink(3) does
    #[arg(long, value_name = "NAME")]
    pub posix_mqueue: Vec<String>,
    /// As sem_unlink(3) does
    #[arg(long, value_name = "NAME")]
    pub posix_semaphore: Vec<String>,
    /// As shm_unlink(3) does
    #[arg(long, value_name = "NAME")]
    pub posix_shmem: Vec<String>,
}

#[derive(Args)]
pub struct Sessions {
    /// Remove this session, in which nobody may be, and all that it has
    #[arg(long, value_name = "NAME")]
    pub remove: Option<String>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Bench {
    /// As JSON: a list of {name, regime, kernel_ns, ringer_ns, ratio, samples}
    #[arg(long)]
    pub json: bool,
    /// Three pairs of runs instead of seven, and shorter ones
    #[arg(long)]
    pub quick: bool,
    /// Only rows of these names (`pipe` for all that begin so)
    pub names: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Export {
    Json,
}

/// Exit status: 0 the same, 1 different, 2 trouble.
#[derive(Args)]
pub struct Diff {
    /// So many runs in each world; what varies on the kernel is learnt, and not compared
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// Seconds that a run may take
    #[arg(long, value_name = "S", default_value = "60", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// What each run reads as standard input
    #[arg(long, value_name = "FILE", default_value = "/dev/null")]
    pub stdin: PathBuf,
    /// Run in an empty directory each time, and compare the files that are left there
    #[arg(long)]
    pub files: bool,
    /// Do not compare the logs of `--mode observe` and `--mode emulate`
    #[arg(long)]
    pub no_logs: bool,
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub export: Option<Export>,
    #[arg(long, value_name = "FILE", hide = true)]
    pub shim: Option<PathBuf>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Exit status: 0 all the same, 1 one differs.
#[derive(Args)]
pub struct Fuzz {
    /// Seconds
    #[arg(long, value_name = "S", default_value = "60")]
    pub time: u64,
    /// So many programs, however long it takes
    #[arg(long, value_name = "N", conflicts_with = "time")]
    pub programs: Option<u64>,
    /// The first program's seed; the next one has the next (without: any)
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// What they use (without: all)
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST")]
    pub objects: Vec<Object>,
    /// Calls of a program
    #[arg(long, value_name = "K", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=250).map(|n| n as usize))]
    pub steps: usize,
    /// Do not invent any: run those of FILE, or of the files in a directory, one a line as JSON
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "objects", "print"])]
    pub replay: Option<PathBuf>,
    /// Show a program that can be compiled, not only its calls
    #[arg(long)]
    pub c: bool,
    /// Only print the programs, as --replay takes them
    #[arg(long)]
    pub print: bool,
    /// Do not make a program that differs smaller
    #[arg(long)]
    pub as_it_is: bool,
    #[arg(long, value_name = "FILE", hide = true)]
    pub shim: Option<PathBuf>,
}

#[derive(Args)]
pub struct FuzzActor {
    pub legacy: String,
    pub program: String,
}

/// Exit status: 0 all the same, 1 one differs.
#[derive(Args)]
pub struct Check {
    /// Calls of a sequence (without: what takes minutes)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10).map(|n| n as usize))]
    pub depth: Option<usize>,
    /// Pairs of workers at a time (without: one for two processors; where calls wait, two for each)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256).map(|n| n as usize))]
    pub jobs: Option<usize>,
    /// Show a program that can be compiled, not only its calls
    #[arg(long)]
    pub c: bool,
    /// What they use (without: each)
    #[arg(value_enum, value_name = "OBJECT")]
    pub objects: Vec<CheckObject>,
    #[arg(long, value_name = "FILE", hide = true)]
    pub shim: Option<PathBuf>,
}

/// Exit status: 0, or 1 if a test of a rule fails.
#[derive(Args)]
pub struct Conform {
    /// Run the tests, by cargo, in ringer's sources: minutes
    #[arg(long)]
    pub run: bool,
    /// Do not run them: this is what `RINGER_WORLDS=native cargo test ... 2>&1` said
    #[arg(long, value_name = "FILE", requires = "ringer", conflicts_with = "run")]
    pub native: Option<PathBuf>,
    /// And this `RINGER_WORLDS=shim,run cargo test ... 2>&1`
    #[arg(long, value_name = "FILE", requires = "native")]
    pub ringer: Option<PathBuf>,
    /// Write docs/conformance.md, too
    #[arg(long)]
    pub write: bool,
}

#[derive(Args)]
pub struct Inspect {
    /// Check the invariants; exit status 1 if one does not hold
    #[arg(long)]
    pub check: bool,
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    pub session: Option<String>,
    #[arg(long)]
    pub json: bool,
    /// An arena file
    #[arg(required_unless_present = "session")]
    pub file: Option<PathBuf>,
}

#[derive(Args)]
pub struct BenchWorker {
    pub name: String,
    pub iterations: u64,
}

/// Runs the command that the command line says. The exit status.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return refuse(&e),
    };
    let result = match cli.command {
        Command::Run(args) => cmd::run::main(args),
        Command::Trace(args) => cmd::trace::main(args),
        Command::Ps(args) => cmd::ps::main(args),
        Command::Ipcs(args) => cmd::ipcs::main(args),
        Command::Ipcrm(args) => cmd::ipcrm::main(args),
        Command::Sessions(args) => cmd::sessions::main(args),
        Command::Bench(args) => cmd::bench::main(args),
        Command::Diff(args) => cmd::diff::main(args),
        Command::Fuzz(args) => cmd::fuzz::main(args),
        Command::FuzzWorker => cmd::fuzz::worker(),
        Command::FuzzActor(args) => cmd::fuzz::actor(&args),
        Command::Check(args) => cmd::check::main(args),
        Command::CheckWorker => cmd::check::worker(),
        Command::Conform(args) => cmd::conform::main(args),
        Command::Inspect(args) => cmd::inspect::main(args),
        Command::BenchWorker(args) => cmd::bench::worker(args),
    };
    result.unwrap_or_else(|e| {
        if !e.is_silent() {
            ui::say(&format!("ringer: {e}\n"));
        }
        e.exit_status()
    })
}

/// Bad options; or --help and --version, which are none.
fn refuse(e: &clap::Error) -> u8 {
    let _ = e.print(); // nobody listens: no trouble
    if e.use_stderr() {
        error::OWN_TROUBLE
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn command_of(args: &[&str]) -> Option<Vec<OsString>> {
        match Cli::try_parse_from([&["ringer"], args].concat())
            .ok()?
            .command
        {
            Command::Run(run) => Some(run.command),
            Command::Trace(trace) => Some(trace.command),
            _ => None,
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_commands_own_options_are_its_own() {
        let ls = Some(vec!["ls".into(), "-l".into(), "--session".into()]);
        assert_eq!(command_of(&["run", "--", "ls", "-l", "--session"]), ls);
        assert_eq!(
            command_of(&["run", "--mode", "observe", "ls", "-l", "--session"]),
            ls
        );
        assert_eq!(
            command_of(&["trace", "-c", "--", "ls", "-l", "--session"]),
            ls
        );
        assert_eq!(command_of(&["run", "--", "-x"]), Some(vec!["-x".into()]));
        assert_eq!(command_of(&["run"]), None);
        assert_eq!(command_of(&["trace"]), None);
        assert_eq!(command_of(&["trace", "--session", "a"]), Some(vec![]));
        assert_eq!(command_of(&["run", "--mode", "x", "ls"]), None);
    }

    #[test]
    fn help_starts_with_four_examples() {
        let help = Cli::command().render_help().to_string();
        let examples = help
            .lines()
            .skip(1)
            .take_while(|l| l.starts_with("  ringer "))
            .count();
        assert_eq!(examples, 4, "{help}");
    }
}
