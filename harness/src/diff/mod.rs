//! One program in both worlds.
//!
//! ```text
//! run         a run, native or on ringer: how it ended, what it wrote
//! normalize   several native runs -> what all of them have in common
//! compare     a run on ringer against that
//! log         the same for the logs of the kernel and of ringer
//! report      the first difference, for a person or as JSON
//! ```

pub mod compare;
pub mod log;
pub mod normalize;
pub mod report;
pub mod run;

use crate::cli::Mode;
use crate::error::Result;
use crate::ui;

use compare::{Difference, Excerpt, Known};
use log::{Found, Story};
use run::{Place, Ran};

pub struct Verdict {
    pub native_runs: usize,
    pub ringer_runs: usize,
    /// Runs with a log, in each world.
    pub logged: [usize; 2],
    /// What was not compared in full, in words.
    pub varies: Vec<String>,
    pub difference: Option<Difference>,
}

/// What was run so far.
#[derive(Default)]
struct Runs {
    native: Vec<Ran>,
    ringer: Vec<Ran>,
    observed: Vec<Story>,
    emulated: Vec<Story>,
}

/// Turn by turn, the kernel first and last: what has changed meanwhile (the time, a cache) has
/// changed natively as well. Before something is reported, the kernel is asked as often again.
pub fn worlds(place: &Place, runs: u32) -> Result<Verdict> {
    let mut all = Runs::default();
    all.native.push(place.native()?);
    for run in 1..=runs {
        progress(run, runs);
        all.turn(place)?;
    }
    let mut difference = all.output();
    if difference.is_some() {
        for _ in 0..runs {
            all.native.push(place.native()?);
        }
        difference = all.output();
    }
    if difference.is_none() && all.log().is_some() {
        for _ in 0..runs {
            all.turn(place)?;
        }
        difference = all.output().or_else(|| all.log());
    }
    Ok(all.verdict(difference))
}

impl Runs {
    fn turn(&mut self, place: &Place) -> Result<()> {
        self.ringer.push(place.ringer()?);
        if place.plan.logs {
            self.observed.push(place.logged(Mode::Observe)?.1);
            let (ran, story) = place.logged(Mode::Emulate)?;
            self.ringer.push(ran);
            self.emulated.push(story);
        }
        self.native.push(place.native()?);
        Ok(())
    }

    fn output(&self) -> Option<Difference> {
        let known = Known::from(&self.native);
        self.ringer.iter().find_map(|ran| known.differs(ran))
    }

    fn is_complete(&self) -> bool {
        !self.observed.iter().chain(&self.emulated).any(|s| s.lost)
    }

    /// What is seen once only is a matter of time; what is seen in the same lane again is reported.
    fn log(&self) -> Option<Difference> {
        if !self.is_complete() {
            return None;
        }
        let known = log::Known::from(&self.observed, &self.emulated);
        let found: Vec<Found> = self
            .emulated
            .iter()
            .filter_map(|s| known.differs(s))
            .collect();
        let again = |f: &&Found| {
            let same = found.iter().filter(|other| other.lane == f.lane);
            same.count() * 2 > self.emulated.len()
        };
        found.iter().find(again).map(in_words)
    }

    fn verdict(self, difference: Option<Difference>) -> Verdict {
        let mut varies = Known::from(&self.native).varies();
        match self.is_complete() {
            true => varies.extend(log::Known::from(&self.observed, &self.emulated).varies()),
            false => varies.push("log: records were lost, so it is not compared".to_owned()),
        }
        Verdict {
            native_runs: self.native.len(),
            ringer_runs: self.ringer.len(),
            logged: [self.observed.len(), self.emulated.len()],
            varies,
            difference,
        }
    }
}

fn in_words(found: &Found) -> Difference {
    let excerpt = |(steps, at): &(Vec<log::Step>, usize)| {
        let lines: Vec<String> = steps.iter().map(log::Step::text).collect();
        let lines: Vec<&[u8]> = lines.iter().map(|l| l.as_bytes()).collect();
        Excerpt::around(&lines, *at)
    };
    Difference::Log {
        lane: format!("{} ({})", found.lane, found.comm),
        rule: log::rule(found),
        kernel: excerpt(&found.kernel),
        ringer: excerpt(&found.ringer),
    }
}

fn progress(run: u32, runs: u32) {
    if ui::is_watched() {
        ui::say(&format!("\rrun {run} of {runs} "));
        if run == runs {
            ui::say("\r              \r");
        }
    }
}
