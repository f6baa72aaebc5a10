//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{cmd, error, ui};

const EXAMPLES: &str = "\
Examples:
  ringer trace -- sh -c 'seq 1000 | sort -rn | head -n 3'   what its pipes did, line by line
  ringer run -- make -j2                                    faster pipes, nothing else
  ringer trace -o t.jsonl --format json -- python3 x.py     the same for programs to read
  ringer run --session build -- make & ringer ipcs          look into a running session

Exit status: 125 for trouble of ringer's own. Of run and trace: the command's, 128+n if signal n
killed it, 126 if it cannot be run, 127 if there is none.";

/// A user-space kernel for the pipes of unmodified programs: run them on it, trace what they do.
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
    /// Run a command and tell what its pipes do, in the manner of strace
    Trace(Trace),
    /// List the processes of sessions, live or left over
    Ps(Ps),
    /// List the pipes of sessions, live or left over
    Ipcs(Ipcs),
    /// Measure the kernel against ringer, both in one run
    Bench(Bench),
    /// Look into an arena; with --check, whether it is in order
    Inspect(Inspect),
    #[command(hide = true)]
    BenchWorker(BenchWorker),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Mode {
    /// ringer serves the pipes
    Emulate,
    /// the kernel serves, ringer only watches
    Observe,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Mechanism {
    Pipe,
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
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum TraceFormat {
    Text,
    Json,
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
    /// Tell only some of it: read,write  %pipe %process %desc %wait  pipe#3  pid=123  comm=sort
    /// errno=EPIPE; !... for the rest. Several -e must all agree
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
        Command::Bench(args) => cmd::bench::main(args),
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
