//! `ringer trace`: what a command's signals and IPC did, line by line.

use std::os::fd::AsFd;

use crate::cli::{self, TraceFormat};
use crate::error::Result;
use crate::launch::{self, Order};
use crate::log::recorder::Color;
use crate::log::summary::Summary;
use crate::log::{json, saved, Filter, Format, Settings, Target};
use crate::{sys, ui};

pub fn main(args: cli::Trace) -> Result<u8> {
    if let Some(path) = &args.summary_json {
        return ui::print_json(&saved::summary(path)?).map(|()| 0);
    }
    let mut settings = settings(&args)?;
    if let Some(path) = &args.from {
        let stdout = std::io::stdout().as_fd().try_clone_to_owned();
        if let (Target::Stderr, Ok(stdout)) = (&settings.target, stdout) {
            // Data, this time: there is no command whose output it could disturb.
            settings.target = Target::File(stdout.into(), "standard output".into());
            settings.color = color(1);
        }
        let summary = saved::tell(path, settings)?;
        sum_up(&args, &summary);
        return Ok(0);
    }
    if args.command.is_empty() {
        return listen(&args, settings);
    }
    if let Some(why) = args.command.first().and_then(|c| launch::reach::why_not(c)) {
        let name = args
            .command
            .first()
            .map(|c| c.to_string_lossy())
            .unwrap_or_default();
        ui::say(&format!("ringer: sees nothing of '{name}': {why}\n"));
    }
    let order = Order {
        options: &args.session,
        command: &args.command,
        keeps_stderr: true,
        log: Some(settings),
    };
    let outcome = launch::command(order)?;
    finish(&args, outcome.log, &outcome.summary);
    Ok(outcome.exit_status)
}

fn listen(args: &cli::Trace, settings: Settings) -> Result<u8> {
    let name = args.session.session.as_deref().unwrap_or_default();
    let (summary, log) = launch::listen(name, settings)?;
    finish(args, log, &summary);
    Ok(0)
}

fn finish(args: &cli::Trace, log: Result<()>, summary: &Summary) {
    if let Err(e) = log {
        ui::say(&format!("ringer: {e}\n"));
    }
    sum_up(args, summary);
}

fn settings(args: &cli::Trace) -> Result<Settings> {
    let filter = Filter::parse(&args.expressions)?;
    let format = match args.format {
        TraceFormat::Text => Format::Text,
        TraceFormat::Json => Format::Json,
        TraceFormat::Perfetto => Format::Perfetto,
    };
    let (target, color) = match &args.output {
        Some(path) => (super::run::create(path)?, Color::No),
        None => (Target::Stderr, color(2)),
    };
    Ok(Settings {
        format,
        target,
        filter,
        color,
        header: json::Header::default(),
    })
}

/// "colour only on a tty"; and not where the user has said no (https://no-color.org).
fn color(fd: i32) -> Color {
    let no = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    if sys::is_terminal(fd) && !no {
        Color::Yes
    } else {
        Color::No
    }
}

fn sum_up(args: &cli::Trace, summary: &Summary) {
    if args.summary || sys::is_terminal(2) {
        ui::say(&format!("\n{}", summary.text()));
    }
}
