//! `ringer fuzz`: programs that nobody has written, in both worlds.

use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cli;
use crate::error::{Error, Result};
use crate::fuzz::generate::{self, ALL};
use crate::fuzz::program::{Differs, Program};
use crate::fuzz::world::Worlds;
use crate::fuzz::{emit_c, exec, image, shrink};
use crate::launch::inherited;
use crate::{sys, ui};

/// A difference that does not come again so often is the machine's, not the program's.
const AGAIN: usize = 3;

pub fn main(args: cli::Fuzz) -> Result<u8> {
    let mut worlds = Worlds::new(args.shim.as_deref());
    match &args.replay {
        Some(path) => replay(&mut worlds, path, args.c),
        None => invent(&mut worlds, &args),
    }
}

fn invent(worlds: &mut Worlds, args: &cli::Fuzz) -> Result<u8> {
    let first = args.seed.unwrap_or_else(|| sys::random() >> 32);
    let objects = if args.objects.is_empty() {
        &ALL[..]
    } else {
        &args.objects[..]
    };
    let (since, mut told) = (Instant::now(), Instant::now());
    let mut done = 0;
    let mut once: Vec<String> = Vec::new();
    for seed in first.. {
        let enough = match args.programs {
            Some(programs) => done == programs,
            None => since.elapsed() >= Duration::from_secs(args.time),
        };
        if enough {
            break;
        }
        let program = generate::program(seed, objects, args.steps);
        if args.print {
            ui::print(&if args.c {
                emit_c::whole(&program)
            } else {
                json(&program)?
            })?;
        } else if let Some(seen) = worlds.differs(&program)? {
            match worlds.differs_always(&program, AGAIN)? {
                Some(differs) if args.as_it_is => {
                    tell(&program, &differs, args.c)?;
                    return Ok(1);
                }
                Some(differs) => return found(worlds, &program, &differs, args.c),
                None => once.push(format!("seed {seed} once: {seen}\n")),
            }
        }
        done += 1;
        if ui::is_watched() && told.elapsed() > Duration::from_millis(500) {
            told = Instant::now();
            ui::say(&format!(
                "\r{done} programs, {} s ",
                since.elapsed().as_secs()
            ));
        }
    }
    if !args.print {
        let again = if once.is_empty() {
            "all the same".to_owned()
        } else {
            format!("{} differed once and not again", once.len())
        };
        ui::say(&format!(
            "{}{done} programs of {} steps from seed {first} on, {again}\n",
            once.concat(),
            args.steps
        ));
    }
    Ok(0)
}

/// Makes it small, and shows it.
fn found(worlds: &mut Worlds, program: &Program, differs: &Differs, as_c: bool) -> Result<u8> {
    ui::say(&format!(
        "\nseed {} differs at step {}; shrinking\n",
        program.seed, differs.step
    ));
    let mut trouble = None;
    let least = shrink::shrink(program, differs.step, |part| {
        worlds.differs_always(part, 2).map_or_else(
            |e| {
                trouble = Some(e);
                false
            },
            |differs| differs.is_some(),
        )
    });
    if let Some(e) = trouble {
        return Err(e);
    }
    let differs = worlds
        .differs_always(&least, 1)?
        .unwrap_or_else(|| differs.clone());
    tell(&least, &differs, as_c)?;
    Ok(1)
}

pub fn json(value: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_string(value).map_err(|e| Error::Stdout(e.into()))?;
    Ok(text + "\n")
}

pub fn tell(program: &Program, differs: &Differs, as_c: bool) -> Result<()> {
    let json = json(program)?;
    let c = if as_c {
        emit_c::whole(program)
    } else {
        emit_c::calls(program)
    };
    ui::print(&format!(
        "/* Found with seed {}. {differs} */\n{c}\n{json}",
        program.seed
    ))
}

/// Files of programs, one a line; all of them, whatever differs.
fn replay(worlds: &mut Worlds, path: &Path, as_c: bool) -> Result<u8> {
    let input = |why| Error::Input {
        path: path.to_owned(),
        why,
    };
    let mut files: Vec<PathBuf> = if path.is_dir() {
        let entries = fs::read_dir(path).map_err(input)?;
        entries.filter_map(|e| Some(e.ok()?.path())).collect()
    } else {
        vec![path.to_owned()]
    };
    files.sort();
    let (mut programs, mut different) = (0, 0);
    for file in files {
        let trouble = |why| Error::Input {
            path: file.clone(),
            why,
        };
        let text = fs::read(&file).map_err(trouble)?;
        for (line, number) in text.lines().zip(1..) {
            let line = line.map_err(trouble)?;
            if line.trim().is_empty() {
                continue;
            }
            let program: Program = serde_json::from_str(&line).map_err(|e| Error::Fuzz {
                what: format!("{}, line {number}", file.display()),
                why: e.to_string(),
            })?;
            programs += 1;
            if worlds.differs(&program)?.is_none() {
                continue;
            }
            if let Some(differs) = worlds.differs_always(&program, 2)? {
                different += 1;
                ui::say(&format!("{}, line {number}: differs\n", file.display()));
                tell(&program, &differs, as_c)?;
            }
        }
    }
    ui::say(&format!("{programs} programs, {different} differ\n"));
    Ok(u8::from(different > 0))
}

/// What an actor becomes by execve.
pub fn actor(args: &cli::FuzzActor) -> Result<u8> {
    inherited::take().restore();
    image::go_on(&args.legacy, &args.program)
}

/// The hidden half: programs on standard input, what they did on standard output.
pub fn worker() -> Result<u8> {
    inherited::take().restore();
    let stage = exec::Stage::new().ok_or_else(|| Error::System {
        call: "mmap",
        why: std::io::Error::last_os_error(),
    })?;
    for line in std::io::stdin().lock().lines() {
        let program: Option<Program> = line.ok().and_then(|l| serde_json::from_str(&l).ok());
        let Some(program) = program else { break };
        ui::print(&json(&stage.run(&program))?)?;
    }
    Ok(0)
}
