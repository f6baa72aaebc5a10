//! A worker in each world: parts in, sums out, a line each.

use std::path::Path;

use super::{Part, Sum};
use crate::error::Result;
use crate::fuzz::world::Worker;

/// The same worker in both worlds.
pub struct Pair {
    kernel: Option<Worker>,
    ringer: Option<Worker>,
}

impl Pair {
    pub fn start(shim: Option<&Path>) -> Result<Pair> {
        Ok(Pair {
            kernel: Some(Worker::start(false, "check-worker", None)?),
            ringer: Some(Worker::start(true, "check-worker", shim)?),
        })
    }

    /// What the part gave in each; `None` if the worker died. Both run at once.
    pub fn sums(&mut self, part: &Part) -> [Option<Sum>; 2] {
        let mut workers = [&mut self.kernel, &mut self.ringer];
        for worker in &mut workers {
            if worker.as_mut().is_some_and(|w| w.tell(part).is_none()) {
                **worker = None;
            }
        }
        workers.map(|worker| {
            let sum = worker.as_mut()?.hear();
            if sum.is_none() {
                *worker = None;
            }
            sum
        })
    }
}
