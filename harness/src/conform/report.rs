//! Rules and verdicts, for people.

use std::fmt::Write;

use super::rules::{Deviation, Rule, Rules};
use super::verdicts::{Score, Verdicts};

/// What the tests said, if they were run.
pub struct Worlds {
    pub native: Verdicts,
    pub ringer: Verdicts,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Holds,
    /// But for what deviations.toml explains.
    Deviates,
    Fails,
    Untested,
    /// There are tests, but nobody ran them.
    NotRun,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Deviates => "deviates",
            Verdict::Fails => "FAILS",
            Verdict::Untested => "untested",
            Verdict::NotRun => "not run",
        }
    }
}

pub fn verdict(rules: &Rules, rule: &Rule, worlds: Option<&Worlds>) -> Verdict {
    if rule.tests.is_empty() {
        return Verdict::Untested;
    }
    let Some(worlds) = worlds else {
        return Verdict::NotRun;
    };
    let all = [&worlds.native, &worlds.ringer];
    if (all.iter()).any(|w| rule.tests.iter().any(|t| w.score(t) == Score::default())) {
        return Verdict::NotRun;
    }
    if all.iter().any(|w| w.of_all(&rule.tests).failed > 0) {
        return Verdict::Fails;
    }
    match rules.deviations_of(rule).next() {
        None => Verdict::Holds,
        Some(_) => Verdict::Deviates,
    }
}

fn score(verdicts: Option<&Verdicts>, rule: &Rule) -> String {
    let Some(verdicts) = verdicts else {
        return "-".into();
    };
    let Score { passed, failed } = verdicts.of_all(&rule.tests);
    match passed + failed {
        0 => "-".into(),
        all => format!("{passed}/{all}"),
    }
}

/// So many rules of each kind.
fn sums(rules: &Rules, worlds: Option<&Worlds>) -> String {
    let kinds = [
        Verdict::Holds,
        Verdict::Deviates,
        Verdict::Fails,
        Verdict::Untested,
        Verdict::NotRun,
    ];
    let count = |kind| {
        (rules.rules.iter())
            .filter(|r| verdict(rules, r, worlds) == kind)
            .count()
    };
    let one = |kind: &Verdict| match count(*kind) {
        0 => None,
        n => Some(format!("{n} {}", kind.word())),
    };
    let all: Vec<String> = kinds.iter().filter_map(one).collect();
    format!("{} rules: {}", rules.rules.len(), all.join(", "))
}

pub fn text(rules: &Rules, worlds: Option<&Worlds>) -> String {
    let mut text = String::new();
    for area in &rules.areas {
        let _ = writeln!(text, "{}", area.title);
        for rule in rules.rules.iter().filter(|rule| rule.area == area.id) {
            let word = verdict(rules, rule, worlds).word();
            let native = score(worlds.map(|w| &w.native), rule);
            let ringer = score(worlds.map(|w| &w.ringer), rule);
            let _ = writeln!(
                text,
                "  {:<22} {word:<9} native {native:<8} ringer {ringer:<8} {}",
                rule.id, rule.text
            );
        }
    }
    text + &sums(rules, worlds) + "\n"
}

pub fn markdown(rules: &Rules, worlds: Option<&Worlds>) -> String {
    let mut text = format!(
        "# What holds\n\n\
         Written by `ringer conform --write` from `tests/spec.toml` and `tests/deviations.toml`, on Linux {kernel}.\n\
         *native* and *ringer*: how many of a rule's tests passed on the kernel and under ringer, of how many. \
         A deviation's test passes if it still shows the deviation.\n\n{}.\n",
        sums(rules, worlds),
        kernel = version(&rules.release),
    );
    for area in &rules.areas {
        let _ = write!(text, "\n## {}\n\n", area.title);
        if !area.calls.is_empty() {
            let _ = write!(text, "{}\n\n", area.calls);
        }
        text +=
            "| rule | source | verdict | native | ringer | tests |\n|---|---|---|---|---|---|\n";
        for rule in rules.rules.iter().filter(|rule| rule.area == area.id) {
            let mut word = verdict(rules, rule, worlds).word().to_owned();
            for Deviation { id, .. } in rules.deviations_of(rule) {
                let _ = write!(word, " [{id}](#{id})");
            }
            let native = score(worlds.map(|w| &w.native), rule);
            let ringer = score(worlds.map(|w| &w.ringer), rule);
            let tests: Vec<String> = rule.tests.iter().map(|t| format!("`{t}`")).collect();
            let _ = writeln!(
                text,
                "| {} | {} | {word} | {native} | {ringer} | {} |",
                rule.text,
                rule.source,
                tests.join(" ")
            );
        }
    }
    text += "\n## Deviations\n";
    for deviation in &rules.deviations {
        let (id, rule, reason) = (&deviation.id, &deviation.rule, &deviation.reason);
        let linux = match &*deviation.kernel_range {
            "any" => "Linux".to_owned(),
            range => format!("Linux {range}"),
        };
        let _ = write!(text, "\n### {id}\n\n{linux}: {rule}\n\nringer: {reason}\n");
    }
    text
}

/// 6.18.44-x: 6.18
fn version(release: &str) -> String {
    let mut parts = release.split(['.', '-']);
    let mut next = || parts.next().unwrap_or_default().to_owned();
    format!("{}.{}", next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_claimed_that_was_not_run() {
        let rules = Rules::load("6.18.0");
        let untested = rules.rules.iter().filter(|r| r.tests.is_empty()).count();
        for rule in &rules.rules {
            let expected = match rule.tests.is_empty() {
                true => Verdict::Untested,
                false => Verdict::NotRun,
            };
            assert_eq!(verdict(&rules, rule, None), expected);
            let nothing = Worlds {
                native: Verdicts::default(),
                ringer: Verdicts::default(),
            };
            assert_eq!(verdict(&rules, rule, Some(&nothing)), expected);
        }
        let told = sums(&rules, None).contains(&format!("{untested} untested"));
        assert_eq!(told, untested != 0);
        let all = markdown(&rules, None);
        assert!(rules.rules.iter().all(|rule| all.contains(&rule.text)));
        assert!(rules.deviations.iter().all(|d| all.contains(&d.reason)));
    }
}
