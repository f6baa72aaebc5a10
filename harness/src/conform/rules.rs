//! The lists.

use super::kernel_range::in_range;
use super::table::{self, Table};

const SPEC: &str = include_str!("../../../tests/spec.toml");
const DEVIATIONS: &str = include_str!("../../../tests/deviations.toml");

pub struct Area {
    pub id: String,
    pub title: String,
    pub calls: String,
}

pub struct Rule {
    pub id: String,
    pub area: String,
    pub text: String,
    pub source: String,
    /// target::path::name, or target::*.
    pub tests: Vec<String>,
    pub deviations: Vec<String>,
}

pub struct Deviation {
    pub id: String,
    pub rule: String,
    /// Of kernels: "any", or comparisons.
    pub kernel_range: String,
    pub reason: String,
}

pub struct Rules {
    /// The kernel that runs, as uname(2) calls it: what deviates depends on it.
    pub release: String,
    pub areas: Vec<Area>,
    pub rules: Vec<Rule>,
    pub deviations: Vec<Deviation>,
}

impl Rules {
    pub fn load(release: &str) -> Rules {
        let spec = table::parse(SPEC);
        let named = |name: &'static str| spec.iter().filter(move |t| t.name == name);
        let deviations = table::parse(DEVIATIONS);
        Rules {
            release: release.to_owned(),
            areas: named("area").map(area).collect(),
            rules: named("rule").map(rule).collect(),
            deviations: (deviations.iter())
                .filter(|t| t.name == "deviation")
                .map(deviation)
                .collect(),
        }
    }

    /// A rule's deviations that are any on the kernel that runs.
    pub fn deviations_of<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = &'a Deviation> {
        (self.deviations.iter())
            .filter(|d| rule.deviations.contains(&d.id))
            .filter(|d| in_range(&d.kernel_range, &self.release))
    }

    /// The test targets that rules name.
    pub fn targets(&self) -> Vec<String> {
        let target = |test: &String| test.split("::").next().map(str::to_owned);
        let tests = self.rules.iter().flat_map(|rule| &rule.tests);
        let mut targets: Vec<String> = tests.filter_map(target).collect();
        targets.sort();
        targets.dedup();
        targets
    }
}

fn text(table: &Table, key: &str) -> String {
    table.text(key).to_owned()
}

fn area(table: &Table) -> Area {
    Area {
        id: text(table, "id"),
        title: text(table, "title"),
        calls: text(table, "calls"),
    }
}

fn rule(table: &Table) -> Rule {
    Rule {
        id: text(table, "id"),
        area: text(table, "area"),
        text: text(table, "text"),
        source: text(table, "source"),
        tests: table.list("tests").to_vec(),
        deviations: table.list("deviations").to_vec(),
    }
}

fn deviation(table: &Table) -> Deviation {
    Deviation {
        id: text(table, "id"),
        rule: text(table, "rule"),
        kernel_range: text(table, "kernel_range"),
        reason: text(table, "reason"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_area_has_rules_and_each_rule_an_area() {
        let rules = Rules::load("6.18.0");
        let areas: BTreeSet<&str> = rules.areas.iter().map(|a| &*a.id).collect();
        let used: BTreeSet<&str> = rules.rules.iter().map(|r| &*r.area).collect();
        assert_eq!(areas, used);
        let ids: BTreeSet<&str> = rules.rules.iter().map(|r| &*r.id).collect();
        assert_eq!(ids.len(), rules.rules.len(), "an id twice");
    }

    #[test]
    fn each_deviation_is_some_rules() {
        let rules = Rules::load("6.18.0");
        let known: BTreeSet<&str> = rules.deviations.iter().map(|d| &*d.id).collect();
        let cited: BTreeSet<&str> = (rules.rules.iter())
            .flat_map(|rule| &rule.deviations)
            .map(|id| &**id)
            .collect();
        assert_eq!(known, cited);
    }

    #[test]
    fn what_newer_kernels_do_as_ringer_is_no_deviation_there() {
        let count = |release| {
            let rules = Rules::load(release);
            let of = |rule| rules.deviations_of(rule).count();
            rules.rules.iter().map(of).sum::<usize>()
        };
        let rules = Rules::load("6.14.9");
        let bounded = (rules.deviations.iter()).find(|d| d.kernel_range == "< 6.15");
        assert!(bounded.is_some(), "or take another for this test");
        assert!(count("6.14.9") > count("6.15.0-rc1"));
        assert!(count("6.15.0-rc1") > 0, "others are on any");
    }
}
