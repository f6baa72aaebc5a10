//! What the logs of all runs on the kernel have in common, and the first step of a run on ringer that
//! lies outside.

use std::collections::BTreeMap;

use similar::{capture_diff_slices, Algorithm, DiffOp};

use super::step::Step;
use super::story::{Lanes, Story, Uses};

/// What a lane may be.
#[derive(Debug)]
enum Shape {
    /// Step by step.
    Exact(Vec<Step>),
    /// At least these, in this order.
    AtLeast(Vec<Step>),
}

pub struct Known<'a> {
    first: Lanes,
    shapes: BTreeMap<String, Shape>,
    kernel: &'a [Story],
    uses: Uses,
}

/// The first step that differs: its lane, and where in it on each side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    pub lane: String,
    pub comm: String,
    pub kernel: (Vec<Step>, usize),
    pub ringer: (Vec<Step>, usize),
}

impl<'a> Known<'a> {
    /// The runs on ringer only tell who shares which object.
    pub fn from(kernel: &'a [Story], ringer: &[Story]) -> Known<'a> {
        let mut uses = Uses::new();
        kernel
            .iter()
            .chain(ringer)
            .for_each(|story| story.uses(&mut uses));
        let all = kernel
            .iter()
            .map(|story| story.lanes(&uses))
            .collect::<Vec<_>>();
        let mut shapes = BTreeMap::new();
        for lane in all.iter().flat_map(Lanes::keys) {
            if shapes.contains_key(lane) {
                continue;
            }
            let each: Option<Vec<&[Step]>> = all
                .iter()
                .map(|lanes| lanes.get(lane).map(Vec::as_slice))
                .collect();
            if let Some(each) = each {
                shapes.insert(lane.clone(), Shape::of(&each));
            }
        }
        Known {
            first: all.into_iter().next().unwrap_or_default(),
            shapes,
            kernel,
            uses,
        }
    }

    pub fn differs(&self, ringer: &Story) -> Option<Found> {
        let lanes = ringer.lanes(&self.uses);
        let empty = Vec::new();
        let found = self.shapes.iter().filter_map(|(name, shape)| {
            let lane = lanes.get(name).unwrap_or(&empty);
            let first = self.first.get(name).unwrap_or(&empty);
            let (kernel_at, ringer_at) = shape.first_difference(first, lane)?;
            let when = lane
                .get(ringer_at)
                .or(lane.last())
                .map_or(usize::MAX, |s| s.at);
            let comm = self.kernel.first().map_or("", |story| story.comm(name));
            let found = Found {
                lane: name.clone(),
                comm: comm.to_owned(),
                kernel: (first.clone(), kernel_at),
                ringer: (lane.clone(), ringer_at),
            };
            Some((when, found))
        });
        found.min_by_key(|(when, _)| *when).map(|(_, found)| found)
    }

    /// Lanes that are not compared step by step.
    pub fn varies(&self) -> Option<String> {
        let loose = self
            .shapes
            .values()
            .filter(|s| matches!(s, Shape::AtLeast(_)));
        match (loose.count(), self.shapes.len()) {
            (0, _) => None,
            (n, all) => Some(format!("log: steps of {n} of {all} lanes vary")),
        }
    }
}

impl Shape {
    fn of(all: &[&[Step]]) -> Shape {
        let Some((first, others)) = all.split_first() else {
            return Shape::AtLeast(Vec::new());
        };
        let mut exact = first.to_vec();
        let same = others.iter().all(|other| {
            other.len() == exact.len() && exact.iter_mut().zip(*other).all(|(a, b)| a.unify(b))
        });
        if same {
            return Shape::Exact(exact);
        }
        let common = others
            .iter()
            .fold(first.to_vec(), |common, other| in_common(&common, other));
        Shape::AtLeast(common)
    }

    /// Indices: in the first run on the kernel, and in the run on ringer.
    fn first_difference(&self, first: &[Step], lane: &[Step]) -> Option<(usize, usize)> {
        match self {
            Shape::Exact(known) => {
                let differs = known.iter().zip(lane).position(|(a, b)| !a.admits(b));
                let shorter = known.len().min(lane.len());
                differs
                    .or((known.len() != lane.len()).then_some(shorter))
                    .map(|at| (at, at))
            }
            Shape::AtLeast(known) => {
                let (missing, after) = walk(known, lane).err()?;
                let before = known.get(..=missing).unwrap_or_default();
                let at = walk_all(before, first).unwrap_or_default();
                Some((at, after))
            }
        }
    }
}

/// Whether the known steps are in `lane`, in order; else which is missing, and behind which place.
fn walk(known: &[Step], lane: &[Step]) -> Result<(), (usize, usize)> {
    let mut at = 0;
    for (i, step) in known.iter().enumerate() {
        let rest = lane.get(at..).unwrap_or_default();
        match rest.iter().position(|s| s.key() == step.key()) {
            Some(n) => at += n + 1,
            None => return Err((i, at)),
        }
    }
    Ok(())
}

/// Where the last of them is.
fn walk_all(known: &[Step], lane: &[Step]) -> Option<usize> {
    let mut at = 0;
    for step in known {
        at += lane.get(at..)?.iter().position(|s| s.key() == step.key())? + 1;
    }
    at.checked_sub(1)
}

/// The steps of `a` that `b` has, too, in order.
fn in_common(a: &[Step], b: &[Step]) -> Vec<Step> {
    let keys = |steps: &[Step]| -> Vec<String> {
        steps.iter().map(|s| format!("{:?}", s.key())).collect()
    };
    capture_diff_slices(Algorithm::Myers, &keys(a), &keys(b))
        .into_iter()
        .filter_map(|op| match op {
            DiffOp::Equal { old_index, len, .. } => a.get(old_index..old_index + len),
            _ => None,
        })
        .flatten()
        .cloned()
        .collect()
}
