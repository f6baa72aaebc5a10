//! What a program's calls did, and where that differs between two worlds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What calls did.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// As many as there are steps.
    pub steps: Vec<Seen>,
    pub handlers: Vec<Ran>,
    /// Calls that waited: their step, and the one in which they ended.
    #[serde(default)]
    pub woken: Vec<(usize, usize)>,
    /// The step that did not end.
    pub hangs: Option<usize>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Seen {
    /// The actor was not there.
    Nobody,
    Returned {
        value: i64,
        errno: i32,
        data: Vec<u8>,
        hash: u64,
    },
    /// It ended the one who did it.
    Died,
    /// It waited until the program's end.
    Waits,
}

/// A handler that ran.
#[derive(Clone, PartialEq, Eq, Debug, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ran {
    pub step: usize,
    pub who: u8,
    pub signal: i32,
    pub code: i32,
    pub value: i32,
    /// An actor, or 255.
    pub from: u8,
    pub blocked: u64,
}

/// The first thing that differs: the step, and both in words.
#[derive(Clone, PartialEq, Debug)]
pub struct Differs {
    pub step: usize,
    pub kernel: String,
    pub ringer: String,
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (step, kernel, ringer) = (self.step, &self.kernel, &self.ringer);
        write!(
            f,
            "Step {step} differs:\nkernel {kernel}\nringer {ringer}\n"
        )
    }
}

impl Outcome {
    pub fn differs(&self, ringer: &Outcome) -> Option<Differs> {
        let steps = self.steps.len().max(ringer.steps.len());
        (0..steps).find_map(|step| {
            let (kernel, ringer) = (self.at(step), ringer.at(step));
            (kernel != ringer).then_some(Differs {
                step,
                kernel,
                ringer,
            })
        })
    }

    /// All that is known of a step, in words.
    fn at(&self, step: usize) -> String {
        let mut text = match self.steps.get(step) {
            _ if self.hangs == Some(step) => "does not end".to_owned(),
            None | Some(Seen::Nobody) => "not done".to_owned(),
            Some(Seen::Died) => "ends its process".to_owned(),
            Some(Seen::Waits) => "waits for ever".to_owned(),
            Some(Seen::Returned {
                value,
                errno: 0,
                data,
                ..
            }) if data.is_empty() => {
                format!("= {value}")
            }
            Some(Seen::Returned {
                value,
                errno: 0,
                data,
                hash,
            }) => {
                format!("= {value}, data {data:02x?} hash {hash:x}")
            }
            Some(Seen::Returned { value, errno, .. }) => {
                format!("= {value} ({})", crate::sys::strerror(*errno))
            }
        };
        for (_, until) in self.woken.iter().filter(|(from, _)| *from == step) {
            text += &format!(", having waited until step {until}");
        }
        for ran in self.handlers.iter().filter(|ran| ran.step == step) {
            text += &format!("\n  {} runs its handler: {ran:?}", ran.who);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_that_differs_is_told() {
        let returned = |value| Seen::Returned {
            value,
            errno: 0,
            data: vec![],
            hash: 0,
        };
        let outcome = |values: &[i64]| Outcome {
            steps: values.iter().map(|v| returned(*v)).collect(),
            ..Outcome::default()
        };
        assert_eq!(outcome(&[1, 2]).differs(&outcome(&[1, 2])), None);
        let differs = outcome(&[1, 2, 3]).differs(&outcome(&[1, 5, 6])).unwrap();
        assert_eq!(
            (
                differs.step,
                differs.kernel.as_str(),
                differs.ringer.as_str()
            ),
            (1, "= 2", "= 5")
        );
    }
}
