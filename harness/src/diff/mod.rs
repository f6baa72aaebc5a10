//! One program in both worlds.
//!
//! ```text
//! run         a run, native or on ringer: how it ended, what it wrote
//! normalize   several native runs -> what all of them have in common
//! compare     a run on ringer against that
//! report      the first difference, for a person or as JSON
//! ```

pub mod compare;
pub mod normalize;
pub mod report;
pub mod run;

use crate::error::Result;
use crate::ui;

use compare::{Difference, Known};
use run::{Place, Ran};

pub struct Verdict {
    pub native_runs: usize,
    pub ringer_runs: usize,
    /// What was not compared in full, in words.
    pub varies: Vec<String>,
    pub difference: Option<Difference>,
}

/// Turn by turn, the kernel first and last: what has changed meanwhile (the time, a cache) has
/// changed natively as well. Before something is reported, the kernel is asked as often again.
pub fn worlds(place: &Place, runs: u32) -> Result<Verdict> {
    let mut native = vec![place.native()?];
    let mut ringer: Vec<Ran> = Vec::new();
    for run in 1..=runs {
        progress(run, runs);
        ringer.push(place.ringer()?);
        native.push(place.native()?);
    }
    let mut difference = first(&native, &ringer);
    if difference.is_some() {
        for _ in 0..runs {
            native.push(place.native()?);
        }
        difference = first(&native, &ringer);
    }
    Ok(Verdict {
        native_runs: native.len(),
        ringer_runs: ringer.len(),
        varies: Known::from(&native).varies(),
        difference,
    })
}

fn first(native: &[Ran], ringer: &[Ran]) -> Option<Difference> {
    let known = Known::from(native);
    ringer.iter().find_map(|ran| known.differs(ran))
}

fn progress(run: u32, runs: u32) {
    if ui::is_watched() {
        ui::say(&format!("\rrun {run} of {runs} "));
        if run == runs {
            ui::say("\r              \r");
        }
    }
}
