//! Ranges of kernels, as deviations.toml gives them.

/// Whether a kernel is in a range: "any", or comparisons such as ">= 5.11, < 6.15".
pub fn in_range(range: &str, release: &str) -> bool {
    let here = version(release);
    range == "any"
        || range.split(',').all(|part| {
            let (how, than) = part.trim().split_once(' ').expect("a comparison");
            match how {
                "<" => here < version(than),
                ">=" => here >= version(than),
                _ => panic!("deviations.toml: no comparison: {part}"),
            }
        })
}

/// The first two numbers of a version.
fn version(text: &str) -> (u32, u32) {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|n| n.parse().ok());
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_kernels() {
        assert!(in_range("any", "6.18.44-fc-v445"));
        assert!(in_range("< 6.15", "6.1.0-18-amd64"));
        assert!(!in_range("< 6.15", "6.18.44-fc-v445"));
        assert!(in_range(">= 5.11, < 6.15", "5.15.0"));
        assert!(!in_range(">= 5.11, < 6.15", "5.10.0"));
    }
}
