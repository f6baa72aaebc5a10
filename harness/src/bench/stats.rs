//! A few numbers about many.

#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Stats {
    pub median: f64,
    pub mean: f64,
    /// Standard deviation of the sample.
    pub sd: f64,
}

pub fn of(samples: &[f64]) -> Stats {
    let n = samples.len();
    if n == 0 {
        return Stats::default();
    }
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |i: usize| sorted.get(i).copied().unwrap_or(0.0);
    let median = if n % 2 == 1 {
        at(n / 2)
    } else {
        (at(n / 2 - 1) + at(n / 2)) / 2.0
    };
    let mean = samples.iter().sum::<f64>() / n as f64;
    let squares: f64 = samples.iter().map(|s| (s - mean).powi(2)).sum();
    let sd = if n > 1 {
        (squares / (n - 1) as f64).sqrt()
    } else {
        0.0
    };
    Stats { median, mean, sd }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_outlier_does_not_move_the_median() {
        let s = of(&[3.0, 1.0, 2.0, 2.0, 100.0]);
        assert_eq!(s.median, 2.0);
        assert_eq!(s.mean, 21.6);
        assert!((s.sd - 43.83).abs() < 0.01, "{}", s.sd);
        assert_eq!(of(&[1.0, 2.0]).median, 1.5);
        assert_eq!(of(&[]), Stats::default());
    }
}
