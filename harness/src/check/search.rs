//! The whole tree, in both worlds; down to the first sequence that differs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use std::sync::Mutex;
use std::time::Duration;

use super::small::{Object, Small};
use super::world::Pair;
use super::Part;
use crate::error::Result;

/// What does not differ again so often is the machine's doing.
const AGAIN: usize = 2;

pub struct Search {
    pub object: Object,
    letters: usize,
    most_of_a_part: usize,
    shim: Option<PathBuf>,
    /// One pair of workers for each thread.
    pairs: Vec<Pair>,
    /// Sequences that both worlds have run.
    pub sequences: AtomicU64,
    /// Parts that differed, and did not again.
    pub once: u64,
}

/// What differs.
#[derive(Debug, PartialEq)]
pub enum Differs {
    /// This sequence, by itself.
    Sequence(Vec<u8>),
    /// A part as a whole, none of its sequences by itself: something is left behind by one.
    Part(Part),
}

impl Search {
    pub fn new(object: Object, jobs: usize, shim: Option<PathBuf>) -> Result<Search> {
        let pairs: Result<Vec<Pair>> = (0..jobs).map(|_| Pair::start(shim.as_deref())).collect();
        let small = Small::of(object);
        Ok(Search {
            object,
            letters: small.letters.len(),
            most_of_a_part: small.most_of_a_part(),
            shim,
            pairs: pairs?,
            sequences: AtomicU64::new(0),
            once: 0,
        })
    }

    /// How many sequences of this length there are.
    pub fn width(&self, depth: usize) -> u64 {
        (self.letters as u64).saturating_pow(depth as u32)
    }

    /// All sequences of this length. `watch` is called now and then, with how many are done.
    pub fn level(&mut self, depth: usize, watch: impl Fn(u64) + Sync) -> Result<Option<Differs>> {
        let parts = self.parts(depth);
        let mut from = 0;
        while let Some(at) = self.first_different(&parts[from..], &watch) {
            let at = from + at;
            if let Some(differs) = self.look_into(&parts[at])? {
                return Ok(Some(differs));
            }
            self.once += 1;
            from = at + 1;
        }
        Ok(None)
    }

    fn parts(&self, depth: usize) -> Vec<Part> {
        let mut more = 0;
        while more < depth && self.letters.pow(more as u32 + 1) <= self.most_of_a_part {
            more += 1;
        }
        let prefixes = self.letters.pow((depth - more) as u32);
        let part = |number| Part {
            object: self.object,
            prefix: digits(number, self.letters, depth - more),
            more,
        };
        (0..prefixes).map(part).collect()
    }

    fn first_different(&mut self, parts: &[Part], watch: &(impl Fn(u64) + Sync)) -> Option<usize> {
        let (next, first) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        let sequences = &self.sequences;
        let told = Mutex::new(std::time::Instant::now());
        std::thread::scope(|scope| {
            for pair in &mut self.pairs {
                scope.spawn(|| loop {
                    let at = next.fetch_add(1, AcqRel);
                    if at >= parts.len() || at > first.load(Acquire) {
                        break;
                    }
                    let [kernel, ringer] = pair.sums(&parts[at]);
                    if kernel.is_none() || kernel != ringer {
                        first.fetch_min(at, AcqRel);
                        break;
                    }
                    let more = kernel.map_or(0, |sum| sum.sequences);
                    let done = sequences.fetch_add(more, AcqRel) + more;
                    if let Ok(mut last) = told.try_lock() {
                        if last.elapsed() > Duration::from_millis(200) {
                            *last = std::time::Instant::now();
                            watch(done);
                        }
                    }
                });
            }
        });
        let first = first.load(Acquire);
        (first != usize::MAX).then_some(first)
    }

    /// Down to a sequence, with new workers. `None`: it does not differ again.
    fn look_into(&mut self, part: &Part) -> Result<Option<Differs>> {
        for pair in &mut self.pairs {
            *pair = Pair::start(self.shim.as_deref())?;
        }
        if !self.differs_again(part)? {
            return Ok(None);
        }
        let mut part = part.clone();
        'down: while part.more > 0 {
            for letter in 0..self.letters as u8 {
                let mut prefix = part.prefix.clone();
                prefix.push(letter);
                let child = Part {
                    prefix,
                    more: part.more - 1,
                    ..part
                };
                if self.differs_again(&child)? {
                    part = child;
                    continue 'down;
                }
            }
            return Ok(Some(Differs::Part(part)));
        }
        Ok(Some(Differs::Sequence(part.prefix)))
    }

    /// With new workers whenever one differs: what it left behind is not the next one's.
    fn differs_again(&mut self, part: &Part) -> Result<bool> {
        for _ in 0..AGAIN {
            let [kernel, ringer] = self.pairs[0].sums(part);
            if kernel.is_some() && kernel == ringer {
                return Ok(false);
            }
            self.pairs[0] = Pair::start(self.shim.as_deref())?;
        }
        Ok(true)
    }
}

/// A number, in this base, with so many digits.
fn digits(mut number: usize, base: usize, count: usize) -> Vec<u8> {
    let mut digits = vec![0; count];
    for digit in digits.iter_mut().rev() {
        *digit = (number % base) as u8;
        number /= base;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_the_whole_tree() {
        let search = Search {
            object: Object::Signal,
            letters: 16,
            most_of_a_part: 4000,
            shim: None,
            pairs: vec![],
            sequences: AtomicU64::new(0),
            once: 0,
        };
        for depth in 1..6 {
            let parts = search.parts(depth);
            let all: u64 = parts.iter().map(|p| search.width(p.more)).sum();
            assert_eq!(all, search.width(depth));
            assert!(parts.windows(2).all(|two| two[0].prefix < two[1].prefix));
        }
    }
}
