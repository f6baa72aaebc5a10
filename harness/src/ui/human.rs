//! Numbers as a person says them.

/// `1.2 ms`, `3.45 s`
pub fn duration(ns: u64) -> String {
    let ns = ns as f64;
    match ns {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.1} us", n / 1e3),
        n if n < 1e9 => format!("{:.1} ms", n / 1e6),
        n if n < 120e9 => format!("{:.2} s", n / 1e9),
        n => format!("{:.1} min", n / 60e9),
    }
}

/// `12 bytes`, `1.5 MiB`
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return bytes_exactly(n);
    }
    let mut size = n as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS.get(unit).unwrap_or(&"PiB"))
}

pub fn bytes_exactly(n: u64) -> String {
    plural(n, "byte")
}

pub fn plural(n: u64, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{s}")
}

pub fn plural_es(n: u64, noun: &str) -> String {
    let es = if n == 1 { "" } else { "es" };
    format!("{n} {noun}{es}")
}

/// The first `most` of them, and how many more there are.
pub fn list(items: &[String], most: usize) -> String {
    let shown = items
        .iter()
        .take(most)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match items.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let durations: Vec<String> = [7, 1_500, 1_234_567, 2_500_000_000, 200_000_000_000]
            .map(duration)
            .to_vec();
        assert_eq!(durations, ["7 ns", "1.5 us", "1.2 ms", "2.50 s", "3.3 min"]);
        let sizes: Vec<String> = [0, 1, 1023, 1024, 1 << 20, 104_857_600, u64::MAX]
            .map(bytes)
            .to_vec();
        assert_eq!(
            sizes,
            [
                "0 bytes",
                "1 byte",
                "1023 bytes",
                "1.0 KiB",
                "1.0 MiB",
                "100.0 MiB",
                "16384.0 PiB"
            ]
        );
        assert_eq!(plural_es(1, "process"), "1 process");
        assert_eq!(plural_es(2, "process"), "2 processes");
    }

    #[test]
    fn long_lists_are_cut() {
        let items = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(list(&items, 3), "a, b, c");
        assert_eq!(list(&items, 2), "a, b and 1 more");
    }
}
