//! The figures, and what to think of them.

use std::fmt;

use serde::Serialize;

use super::stats::{self, Stats};
use crate::sys;
use crate::ui::table::{Align, Table};

#[derive(Clone, Debug, Serialize)]
pub struct Samples {
    pub kernel: Vec<f64>,
    pub ringer: Vec<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub name: &'static str,
    pub regime: &'static str,
    /// Medians, for one operation.
    pub kernel_ns: f64,
    pub ringer_ns: f64,
    /// How many times faster ringer is.
    pub ratio: f64,
    /// How many times it should be; 0 for no promise.
    pub target: f64,
    pub samples: Samples,
    #[serde(skip)]
    pub served: bool,
}

impl Figures {
    fn sides(&self) -> (Stats, Stats) {
        (
            stats::of(&self.samples.kernel),
            stats::of(&self.samples.ringer),
        )
    }
}

pub fn table(all: &[Figures]) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("NAME", Left),
        ("REGIME", Left),
        ("KERNEL ns", Right),
        ("+-", Right),
        ("RINGER ns", Right),
        ("+-", Right),
        ("TIMES", Right),
        ("WANTED", Right),
    ]);
    for f in all {
        let (kernel, ringer) = f.sides();
        let number = |n: f64| {
            if n < 1000.0 {
                format!("{n:.1}")
            } else {
                format!("{n:.0}")
            }
        };
        let wanted = if f.target > 0.0 {
            format!(">= {}", f.target)
        } else {
            "-".into()
        };
        table.row(vec![
            f.name.into(),
            f.regime.into(),
            number(kernel.mean),
            number(kernel.sd),
            number(ringer.mean),
            number(ringer.sd),
            format!("{:.2}", f.ratio),
            wanted,
        ]);
    }
    table.text()
}

/// What makes the figures less than they seem; each with a next step.
#[derive(Clone, PartialEq, Debug)]
pub enum Warning {
    OneProcessor,
    Noisy {
        name: &'static str,
        regime: &'static str,
        percent: f64,
    },
    NotServed {
        name: &'static str,
        regime: &'static str,
    },
    Few {
        samples: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::OneProcessor => write!(
                f,
                "only one processor is to be had: rows for two say nothing; \
                 run it where taskset(1) does not forbid the others"
            ),
            Warning::Noisy {
                name,
                regime,
                percent,
            } => write!(
                f,
                "{name} ({regime}) varies by {percent:.0} %: end other programs, then \
                 `ringer bench {name}`"
            ),
            Warning::NotServed { name, regime } => write!(
                f,
                "{name} ({regime}): the kernel served ringer's side, too; \
                 `ringer trace -- ringer bench-worker ...` tells why"
            ),
            Warning::Few { samples } => {
                write!(
                    f,
                    "{samples} pairs are a hint, not a result: leave --quick away"
                )
            }
        }
    }
}

const NOISE_PERCENT: f64 = 15.0;

pub fn warnings(all: &[Figures]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if sys::processors() < 2 {
        warnings.push(Warning::OneProcessor);
    }
    for f in all {
        let (name, regime) = (f.name, f.regime);
        let (kernel, ringer) = f.sides();
        let percent = |s: Stats| {
            if s.mean > 0.0 {
                100.0 * s.sd / s.mean
            } else {
                0.0
            }
        };
        let percent = percent(kernel).max(percent(ringer));
        if percent > NOISE_PERCENT {
            warnings.push(Warning::Noisy {
                name,
                regime,
                percent,
            });
        }
        if !f.served {
            warnings.push(Warning::NotServed { name, regime });
        }
    }
    let samples = all
        .iter()
        .map(|f| f.samples.kernel.len())
        .min()
        .unwrap_or(0);
    if samples < 5 && !all.is_empty() {
        warnings.push(Warning::Few { samples });
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(kernel: &[f64], served: bool) -> Figures {
        let samples = Samples {
            kernel: kernel.to_vec(),
            ringer: vec![10.0; kernel.len()],
        };
        Figures {
            name: "pipe.x",
            regime: "y",
            kernel_ns: 100.0,
            ringer_ns: 10.0,
            ratio: 10.0,
            target: 6.0,
            samples,
            served,
        }
    }

    #[test]
    fn noise_and_a_row_that_was_not_served_are_named() {
        let quiet = figures(&[100.0; 7], true);
        let rows = |w: &[Warning]| w.iter().filter(|w| **w != Warning::OneProcessor).count();
        assert_eq!(rows(&warnings(std::slice::from_ref(&quiet))), 0);
        assert_eq!(
            rows(&warnings(&[figures(
                &[100.0, 200.0, 100.0, 90.0, 80.0],
                true
            )])),
            1
        );
        assert_eq!(rows(&warnings(&[figures(&[100.0; 7], false)])), 1);
        assert_eq!(rows(&warnings(&[figures(&[100.0; 3], true)])), 1);
    }

    #[test]
    fn the_table_has_a_line_for_each_row() {
        let text = table(&[figures(&[100.0; 7], true)]);
        assert_eq!(text.lines().count(), 2);
        let words: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            words,
            ["pipe.x", "y", "100.0", "0.0", "10.0", "0.0", "10.00", ">=", "6"]
        );
    }
}
