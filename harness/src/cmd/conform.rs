//! `ringer conform`: every rule, its tests, and what they say in both worlds.

use std::fs;
use std::path::Path;

use crate::conform::report::{self, Worlds};
use crate::conform::rules::Rules;
use crate::conform::verdicts::Verdicts;
use crate::error::{Error, Result};
use crate::{cli, ui};

/// Where ringer's sources are, seen from where it is run.
const PAGE: &str = "docs/conformance.md";

pub fn main(args: cli::Conform) -> Result<u8> {
    let rules = Rules::load(&release());
    let worlds = match (&args.native, &args.ringer) {
        (Some(native), Some(ringer)) => Some(Worlds {
            native: said(native)?,
            ringer: said(ringer)?,
        }),
        _ if args.run => Some(run(&rules)?),
        _ => None,
    };
    let worlds = worlds.as_ref();
    if args.write {
        let page = report::markdown(&rules, worlds);
        fs::write(PAGE, page).map_err(|why| Error::Input {
            path: PAGE.into(),
            why,
        })?;
    }
    ui::print(&report::text(&rules, worlds))?;
    let fails = |rule| report::verdict(&rules, rule, worlds) == report::Verdict::Fails;
    Ok(u8::from(rules.rules.iter().any(fails)))
}

fn run(rules: &Rules) -> Result<Worlds> {
    let targets = rules.targets();
    ui::say("ringer: running the tests on the kernel; that takes minutes\n");
    let native = Verdicts::of(&targets, "native")?;
    ui::say("ringer: running the tests on ringer\n");
    let ringer = Verdicts::of(&targets, "shim,run")?;
    Ok(Worlds { native, ringer })
}

fn said(path: &Path) -> Result<Verdicts> {
    let text = fs::read(path).map_err(|why| Error::Input {
        path: path.to_owned(),
        why,
    })?;
    Ok(Verdicts::parse(&String::from_utf8_lossy(&text)))
}

/// The kernel that runs, as uname(2) calls it.
fn release() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}
