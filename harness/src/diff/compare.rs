//! A run on ringer against what the native runs have in common.

use std::collections::{BTreeMap, BTreeSet};

use similar::{capture_diff_slices, Algorithm, DiffOp};

use super::normalize::{lines, masked, Line};
use super::run::{End, Ran};

/// The first thing that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Difference {
    End {
        kernel: Vec<End>,
        ringer: End,
    },
    Output {
        name: String,
        kernel: Excerpt,
        ringer: Excerpt,
    },
    /// The logs: in which lane, and what the manual says.
    Log {
        lane: String,
        rule: Option<&'static str>,
        kernel: Excerpt,
        ringer: Excerpt,
    },
}

/// Some lines, and which of them it is about (an index; one behind the last: it is missing).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Excerpt {
    pub first: usize,
    pub lines: Vec<Vec<u8>>,
    pub at: usize,
}

const CONTEXT: usize = 3;

impl Excerpt {
    pub fn around(all: &[&[u8]], at: usize) -> Excerpt {
        let first = at.saturating_sub(CONTEXT).min(all.len());
        let end = (at + CONTEXT + 1).min(all.len());
        let lines = all.get(first..end).unwrap_or_default();
        Excerpt {
            first,
            lines: lines.iter().map(|l| l.to_vec()).collect(),
            at,
        }
    }
}

/// What is known of an output.
#[derive(Debug)]
enum Shape {
    /// Line by line.
    Lines(Vec<Line>),
    /// These lines, in any order (sorted here).
    AnyOrder(Vec<Line>),
    /// At least these lines, masked, in this order.
    AtLeast(Vec<Vec<u8>>),
    /// Some native runs have it, some have not.
    Sometimes,
}

pub struct Known<'a> {
    native: &'a [Ran],
    outputs: BTreeMap<&'a str, Shape>,
}

impl<'a> Known<'a> {
    pub fn from(native: &'a [Ran]) -> Known<'a> {
        let names: BTreeSet<&str> = native
            .iter()
            .flat_map(|ran| ran.outputs.keys().map(String::as_str))
            .collect();
        let shape = |name: &'a str| {
            let all: Option<Vec<&[u8]>> = native
                .iter()
                .map(|ran| ran.outputs.get(name).map(Vec::as_slice))
                .collect();
            (name, all.map_or(Shape::Sometimes, |all| Shape::of(&all)))
        };
        Known {
            native,
            outputs: names.into_iter().map(shape).collect(),
        }
    }

    pub fn differs(&self, ran: &Ran) -> Option<Difference> {
        let ends: Vec<&End> = self.native.iter().map(|n| &n.end).collect();
        if matches!(ran.end, End::Hung(_)) {
            return Some(self.end(ran)); // what it has written so far is no news
        }
        let output = |name: &str| self.output(name, ran.outputs.get(name).map(Vec::as_slice));
        // What it says on stdout or stderr tells more than its status.
        let more = ran.outputs.keys().map(String::as_str);
        let names: BTreeSet<&str> = self.outputs.keys().copied().chain(more).collect();
        ["stdout", "stderr"]
            .into_iter()
            .find_map(&output)
            .or_else(|| (!ends.contains(&&ran.end)).then(|| self.end(ran)))
            .or_else(|| names.into_iter().find_map(output))
    }

    fn end(&self, ran: &Ran) -> Difference {
        let mut kernel: Vec<End> = Vec::new();
        for native in self.native {
            if !kernel.contains(&native.end) {
                kernel.push(native.end.clone());
            }
        }
        Difference::End {
            kernel,
            ringer: ran.end.clone(),
        }
    }

    fn output(&self, name: &str, bytes: Option<&[u8]>) -> Option<Difference> {
        let known = self.outputs.get(name);
        let at = match (known, bytes) {
            (None, None) | (Some(Shape::Sometimes), _) => return None,
            (Some(_), None) | (None, Some(_)) => (0, 0),
            (Some(shape), Some(bytes)) => shape.first_difference(&lines(bytes))?,
        };
        let native = self.native.first().and_then(|n| n.outputs.get(name));
        let at = match (known, native) {
            (Some(Shape::AtLeast(known)), Some(native)) => {
                let places = walk(known, &lines(native)).unwrap_or_default();
                (places.get(at.0).copied().unwrap_or_default(), at.1)
            }
            _ => at,
        };
        let excerpt = |bytes: Option<&[u8]>, at| {
            let mut lines = lines(bytes.unwrap_or_default());
            if matches!(known, Some(Shape::AnyOrder(_))) {
                lines.sort_unstable();
            }
            Excerpt::around(&lines, at)
        };
        Some(Difference::Output {
            name: name.to_owned(),
            kernel: excerpt(native.map(Vec::as_slice), at.0),
            ringer: excerpt(bytes, at.1),
        })
    }

    pub fn varies(&self) -> Vec<String> {
        self.outputs
            .iter()
            .filter_map(|(name, shape)| Some(format!("{name}: {}", shape.varies()?)))
            .collect()
    }
}

impl Shape {
    fn of(all: &[&[u8]]) -> Shape {
        let mut all: Vec<Vec<&[u8]>> = all.iter().map(|bytes| lines(bytes)).collect();
        let count = all.first().map_or(0, Vec::len);
        if all.iter().all(|lines| lines.len() == count) {
            let in_place = unify(&all, count);
            if !in_place.contains(&Line::Any) {
                return Shape::Lines(in_place);
            }
            let first = all.clone();
            all.iter_mut().for_each(|lines| lines.sort_unstable());
            let sorted = unify(&all, count);
            if !sorted.contains(&Line::Any) {
                return Shape::AnyOrder(sorted);
            }
            all = first;
        }
        let mut all = all
            .into_iter()
            .map(|lines| lines.into_iter().map(masked).collect());
        let first: Vec<Vec<u8>> = all.next().unwrap_or_default();
        Shape::AtLeast(all.fold(first, |common, next| in_common(&common, &next)))
    }

    /// Line numbers, on the kernel's and on ringer's side.
    fn first_difference(&self, lines: &[&[u8]]) -> Option<(usize, usize)> {
        let place = |known: &[Line], lines: &[&[u8]]| {
            let both = known.iter().zip(lines);
            let differs = both
                .into_iter()
                .position(|(known, line)| !known.admits(line));
            let shorter = known.len().min(lines.len());
            differs
                .or((known.len() != lines.len()).then_some(shorter))
                .map(|at| (at, at))
        };
        match self {
            Shape::Sometimes => None,
            Shape::Lines(known) => place(known, lines),
            Shape::AnyOrder(known) => {
                let mut sorted = lines.to_vec();
                sorted.sort_unstable();
                place(known, &sorted)
            }
            Shape::AtLeast(known) => {
                let missing = walk(known, lines).err()?;
                Some((missing, lines.len()))
            }
        }
    }

    fn varies(&self) -> Option<String> {
        match self {
            Shape::Lines(known) => match known.iter().filter(|l| l.varies()).count() {
                0 => None,
                1 => Some("words of 1 line vary".into()),
                n => Some(format!("words of {n} lines vary")),
            },
            Shape::AnyOrder(_) => Some("the order of lines varies".into()),
            Shape::AtLeast(known) => Some(format!(
                "lines vary; {} are in all runs, numbers apart",
                known.len()
            )),
            Shape::Sometimes => Some("is there or not".into()),
        }
    }
}

/// Where in `lines` the known ones are; or which of them is the first that is missing.
fn walk(known: &[Vec<u8>], lines: &[&[u8]]) -> Result<Vec<usize>, usize> {
    let mut rest = lines.iter().map(|line| masked(line)).enumerate();
    let place = |(i, known)| {
        rest.find(|(_, line)| line == known)
            .map(|(at, _)| at)
            .ok_or(i)
    };
    known.iter().enumerate().map(place).collect()
}

fn unify(all: &[Vec<&[u8]>], count: usize) -> Vec<Line> {
    let line = |i: usize| -> Vec<&[u8]> { all.iter().filter_map(|l| l.get(i).copied()).collect() };
    (0..count).map(|i| Line::of(&line(i))).collect()
}

/// The lines of `a` that are also in `b`, in order.
fn in_common(a: &[Vec<u8>], b: &[Vec<u8>]) -> Vec<Vec<u8>> {
    capture_diff_slices(Algorithm::Myers, a, b)
        .into_iter()
        .filter_map(|op| match op {
            DiffOp::Equal { old_index, len, .. } => a.get(old_index..old_index + len),
            _ => None,
        })
        .flatten()
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(end: End, stdout: &str) -> Ran {
        let outputs = [("stdout".to_owned(), stdout.into())].into();
        Ran { end, outputs }
    }

    fn exits(stdout: &str) -> Ran {
        ran(End::Exited(0), stdout)
    }

    fn differs(native: &[&str], ringer: &str) -> Option<(usize, usize)> {
        let native: Vec<Ran> = native.iter().map(|s| exits(s)).collect();
        match Known::from(&native).differs(&exits(ringer))? {
            Difference::Output { kernel, ringer, .. } => Some((kernel.at, ringer.at)),
            end => panic!("{end:?}"),
        }
    }

    #[test]
    fn a_line_that_is_missing_or_other_or_more() {
        assert_eq!(differs(&["a\nb\n", "a\nb\n"], "a\nb\n"), None);
        assert_eq!(differs(&["a\nb\n", "a\nb\n"], "a\n"), Some((1, 1)));
        assert_eq!(differs(&["a\nb\n", "a\nb\n"], "a\nc\n"), Some((1, 1)));
        assert_eq!(differs(&["a\nb\n", "a\nb\n"], "a\nb\nc\n"), Some((2, 2)));
    }

    #[test]
    fn an_order_that_varies_is_not_reported_but_a_line_is() {
        let native = ["a!\nb?\nc\n", "b?\na!\nc\n"];
        assert_eq!(differs(&native, "c\nb?\na!\n"), None);
        assert!(differs(&native, "c\nb?\nd!\n").is_some());
        assert!(differs(&native, "c\nb?\n").is_some());
    }

    #[test]
    fn lines_that_come_and_go_are_not_reported_but_others_are() {
        let native = ["start\nx x\nend 1\n", "start\nend 2\n"];
        assert_eq!(differs(&native, "start\ny\nz\nend 3\n"), None);
        assert!(differs(&native, "start\n").is_some());
    }

    #[test]
    fn a_signal_is_no_exit_status() {
        let native = [exits("a"), exits("a")];
        let killed = ran(End::Killed(13), "a");
        let found = Known::from(&native).differs(&killed);
        let end = Difference::End {
            kernel: vec![End::Exited(0)],
            ringer: End::Killed(13),
        };
        assert_eq!(found, Some(end));
    }
}
