//! `ringer run`: the command, on ringer, and nothing else to be seen.

use std::fs::File;

use crate::cli;
use crate::error::{Error, Result};
use crate::launch::{self, Order};
use crate::log::recorder::Color;
use crate::log::{json, Filter, Format, Settings, Target};

pub fn main(args: cli::Run) -> Result<u8> {
    let log = match &args.log {
        None => None,
        Some(path) => Some(Settings {
            format: Format::Json,
            target: create(path)?,
            filter: Filter::default(),
            color: Color::No,
            header: json::Header::default(),
        }),
    };
    let order = Order {
        options: &args.session,
        command: &args.command,
        keeps_stderr: log.is_some(),
        log,
    };
    let outcome = launch::command(order)?;
    if let Err(e) = outcome.log {
        crate::ui::say(&format!("ringer: {e}\n"));
    }
    if let Some(path) = &args.end {
        let end = format!("{:?}", outcome.end);
        std::fs::write(path, end).map_err(|why| Error::Output {
            path: path.clone(),
            why,
        })?;
    }
    Ok(outcome.exit_status)
}

/// The file of a log; what it held is gone.
pub fn create(path: &std::path::Path) -> Result<Target> {
    match File::create(path) {
        Ok(file) => Ok(Target::File(file, path.to_owned())),
        Err(why) => Err(Error::Output {
            path: path.to_owned(),
            why,
        }),
    }
}
