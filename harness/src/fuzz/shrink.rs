//! The smallest part of a program that still differs.

use super::program::{Program, Step};

/// Drops steps, many at first, then one by one, as long as `still` says so; what is behind the
/// step that differs goes first.
pub fn shrink(program: &Program, at: usize, mut still: impl FnMut(&Program) -> bool) -> Program {
    let part = |steps: &[Step]| Program {
        seed: program.seed,
        steps: steps.to_vec(),
    };
    let mut best = program.clone();
    let ahead = part(best.steps.get(..=at).unwrap_or(&best.steps));
    if still(&ahead) {
        best = ahead;
    }
    let mut size = (best.steps.len() / 2).max(1);
    loop {
        let mut shorter = false;
        let mut from = 0;
        while from < best.steps.len() {
            let to = (from + size).min(best.steps.len());
            let mut steps = best.steps.clone();
            steps.drain(from..to);
            let tried = part(&steps);
            if !steps.is_empty() && still(&tried) {
                best = tried;
                shorter = true;
            } else {
                from = to;
            }
        }
        if size > 1 {
            size /= 2;
        } else if !shorter {
            return best;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::program::Call;
    use super::*;

    #[test]
    fn what_matters_is_left() {
        let step = |fd| Step {
            who: 0,
            call: Call::Close { fd },
        };
        let program = Program {
            seed: 1,
            steps: (0..40).map(step).collect(),
        };
        let has = |p: &Program, fd| p.steps.contains(&step(fd));
        let least = shrink(&program, 30, |p| has(p, 3) && has(p, 17) && has(p, 30));
        assert_eq!(least.steps, [step(3), step(17), step(30)]);
    }
}
