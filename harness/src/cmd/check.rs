//! `ringer check`: all programs up to a length, over a small world, in both worlds.

use std::io::BufRead;
use std::sync::atomic::Ordering::*;
use std::time::Instant;

use clap::ValueEnum;

use crate::check::search::{Differs, Search};
use crate::check::small::{Object, Small};
use crate::check::{Part, Runner};
use crate::error::{Error, Result};
use crate::fuzz::emit_c;
use crate::fuzz::world::Worlds;
use crate::launch::inherited;
use crate::{cli, sys, ui};

/// Times that a program has to differ by itself.
const AGAIN: usize = 2;

pub fn main(args: cli::Check) -> Result<u8> {
    let objects = match args.objects.is_empty() {
        true => Object::value_variants(),
        false => &args.objects[..],
    };
    let mut different = false;
    for object in objects {
        let depth = args.depth.unwrap_or_else(|| object.usual_depth());
        different |= check(
            *object,
            depth,
            args.jobs.unwrap_or_else(|| jobs(*object)),
            &args,
        )?;
    }
    Ok(u8::from(different))
}

/// Pairs of workers. Where calls wait, most of the time is spent on seeing that who sleeps does sleep.
fn jobs(object: Object) -> usize {
    match Small::of(object).waits {
        true => sys::processors() * 2,
        false => (sys::processors() / 2).max(1),
    }
}

fn name(object: Object) -> String {
    let value = object.to_possible_value();
    value.map_or_else(String::new, |v| v.get_name().to_owned())
}

/// Whether it differs.
fn check(object: Object, depth: usize, jobs: usize, args: &cli::Check) -> Result<bool> {
    let since = Instant::now();
    let mut search = Search::new(object, jobs, args.shim.clone())?;
    let letters = Small::of(object).letters.len();
    for level in 1..=depth {
        let all: u64 = (1..=level).map(|l| search.width(l)).sum();
        let watch = |done: u64| tell_progress(object, level, done, all, since);
        if let Some(differs) = search.level(level, watch)? {
            show(object, level, &differs, args)?;
            return Ok(true);
        }
    }
    if ui::is_watched() {
        ui::say("\r\x1b[K");
    }
    let once = match search.once {
        0 => String::new(),
        n => format!("; {n} parts differed once and not again"),
    };
    ui::print(&format!(
        "{}: depth {depth}, {letters} calls, {} sequences, all the same, {:.1} s{once}\n",
        name(object),
        search.sequences.load(Acquire),
        since.elapsed().as_secs_f64()
    ))?;
    Ok(false)
}

fn tell_progress(object: Object, level: usize, done: u64, all: u64, since: Instant) {
    if ui::is_watched() {
        let rate = done as f64 / since.elapsed().as_secs_f64();
        let percent = done as f64 * 100.0 / all as f64;
        let name = name(object);
        ui::say(&format!(
            "\r\x1b[K{name}: depth {level}, {done} of {all} sequences, {percent:.0} %, {rate:.0}/s"
        ));
    }
}

fn show(object: Object, level: usize, differs: &Differs, args: &cli::Check) -> Result<()> {
    let name = name(object);
    let sequence = match differs {
        Differs::Sequence(sequence) => sequence,
        Differs::Part(part) => {
            return ui::print(&format!(
                "{name}: depth {level}: sequences after {:?} differ, together but not by themselves\n",
                part.prefix
            ));
        }
    };
    let program = Small::of(object).program(sequence);
    ui::say(&format!("\n{name}: depth {level}: {sequence:?} differs\n"));
    match Worlds::new(args.shim.as_deref()).differs_always(&program, AGAIN)? {
        Some(differs) => super::fuzz::tell(&program, &differs, args.c),
        None => ui::print(&format!(
            "/* Differs after other sequences in one process, not by itself. */\n{}\n{}",
            emit_c::calls(&program),
            super::fuzz::json(&program)?
        )),
    }
}

/// The hidden half: parts on standard input, what they gave on standard output.
pub fn worker() -> Result<u8> {
    inherited::take().restore();
    let mut runner = Runner::new().ok_or_else(|| Error::System {
        call: "mmap",
        why: std::io::Error::last_os_error(),
    })?;
    for line in std::io::stdin().lock().lines() {
        let part: Option<Part> = line.ok().and_then(|l| serde_json::from_str(&l).ok());
        let Some(part) = part else { break };
        ui::print(&super::fuzz::json(&runner.run(&part))?)?;
    }
    Ok(0)
}
