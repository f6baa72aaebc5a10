//! The verdict, for a person or as JSON.

use serde::Serialize;

use super::compare::{Difference, Excerpt};
use super::run::{End, Plan};
use super::Verdict;

#[derive(Serialize)]
pub struct Report {
    pub same: bool,
    pub command: Vec<String>,
    pub native_runs: usize,
    pub ringer_runs: usize,
    pub logged: [usize; 2],
    pub varies: Vec<String>,
    pub difference: Option<Differs>,
    pub reproduce: String,
}

#[derive(Serialize)]
pub struct Differs {
    /// "end", "stdout", "stderr", "file NAME" or "log of PROCESS"
    pub what: String,
    /// What the manual says about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    pub kernel: Side,
    pub ringer: Side,
}

#[derive(Serialize)]
pub struct Side {
    /// Number of the line that differs, from 1.
    pub line: Option<usize>,
    /// Number of the first line below.
    pub first: usize,
    pub lines: Vec<String>,
}

impl Report {
    pub fn new(plan: &Plan, verdict: Verdict) -> Report {
        let command: Vec<String> = plan
            .command
            .iter()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
        let stdin = quoted(&plan.stdin.to_string_lossy());
        let line = words.join(" ");
        Report {
            same: verdict.difference.is_none(),
            native_runs: verdict.native_runs,
            ringer_runs: verdict.ringer_runs,
            logged: verdict.logged,
            varies: verdict.varies,
            reproduce: match &verdict.difference {
                Some(Difference::Log { .. }) => format!(
                    "for mode in observe emulate; do ringer trace --mode $mode -- {line} < {stdin}; done"
                ),
                _ => format!("ringer run -- {line} < {stdin}"),
            },
            difference: verdict.difference.map(differs),
            command,
        }
    }

    pub fn text(&self) -> String {
        let mut runs = format!(
            "{} runs natively, {} on ringer",
            self.native_runs, self.ringer_runs
        );
        let [observed, emulated] = self.logged;
        if observed > 0 {
            runs += &format!("; logs of {observed} and {emulated}");
        }
        let varies: String = self
            .varies
            .iter()
            .map(|v| format!("  varies natively: {v}\n"))
            .collect();
        match &self.difference {
            None => format!("same: {runs}\n{varies}"),
            Some(d) => format!(
                "different: {}{} ({runs})\n{varies}{}kernel\n{}ringer\n{}to see it: {}\n",
                d.what,
                d.kernel
                    .line
                    .map_or_else(String::new, |n| format!(", line {n}")),
                d.rule.map_or_else(String::new, |r| format!("rule: {r}\n")),
                d.kernel.text(),
                d.ringer.text(),
                self.reproduce,
            ),
        }
    }
}

impl Side {
    fn text(&self) -> String {
        let mut text = String::new();
        for (i, line) in self.lines.iter().enumerate() {
            let number = self.first + i;
            let mark = if self.line == Some(number) { '>' } else { ' ' };
            match self.line {
                Some(_) => text += &format!("{mark} {number:>5}  {line}\n"),
                None => text += &format!("  {line}\n"),
            }
        }
        if self
            .line
            .is_some_and(|n| n >= self.first + self.lines.len())
        {
            text += ">        (nothing more)\n";
        }
        text
    }
}

fn differs(difference: Difference) -> Differs {
    match difference {
        Difference::End { kernel, ringer } => Differs {
            what: "end".into(),
            rule: None,
            kernel: words(kernel.iter().flat_map(end).collect()),
            ringer: words(end(&ringer)),
        },
        Difference::Output {
            name,
            kernel,
            ringer,
        } => Differs {
            what: name,
            rule: None,
            kernel: side(&kernel),
            ringer: side(&ringer),
        },
        Difference::Log {
            lane,
            rule,
            kernel,
            ringer,
        } => Differs {
            what: format!("log of {lane}"),
            rule,
            kernel: side(&kernel),
            ringer: side(&ringer),
        },
    }
}

fn words(lines: Vec<String>) -> Side {
    Side {
        line: None,
        first: 1,
        lines,
    }
}

fn side(excerpt: &Excerpt) -> Side {
    Side {
        line: Some(excerpt.at + 1),
        first: excerpt.first + 1,
        lines: excerpt.lines.iter().map(|line| visible(line)).collect(),
    }
}

fn end(end: &End) -> Vec<String> {
    match end {
        End::Exited(status) => vec![format!("exits with {status}")],
        End::Killed(signal) => vec![format!("is killed by signal {signal}")],
        End::Hung(waits) => {
            let mut lines = vec!["does not end in time:".to_owned()];
            lines.extend(waits.lines().map(str::to_owned));
            lines
        }
    }
}

/// A line as it can be printed: what is no text is escaped, and a missing newline is said.
fn visible(line: &[u8]) -> String {
    const MOST: usize = 200;
    let (body, end) = match line.strip_suffix(b"\n") {
        Some(body) => (body, ""),
        None => (line, " (no newline)"),
    };
    let text: String = String::from_utf8_lossy(body)
        .chars()
        .flat_map(|c| match c {
            c if c.is_control() && c != '\t' => c.escape_default().collect::<Vec<_>>(),
            c => vec![c],
        })
        .collect();
    if text.chars().count() > MOST {
        let cut: String = text.chars().take(MOST).collect();
        return format!("{cut} ... ({} bytes){end}", line.len());
    }
    text + end
}

/// As a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_command_back() {
        assert_eq!(quoted("a-b/c.d"), "a-b/c.d");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("it's $x"), r"'it'\''s $x'");
    }

    #[test]
    fn what_is_no_text_is_escaped() {
        assert_eq!(visible(b"a\tb\x1b[0m\n"), "a\tb\\u{1b}[0m");
        assert_eq!(visible(b"a"), "a (no newline)");
    }

    #[test]
    fn the_line_is_marked_on_both_sides() {
        let excerpt = |lines: &[&str], at| Excerpt {
            first: 1,
            lines: lines.iter().map(|l| l.as_bytes().to_vec()).collect(),
            at,
        };
        assert_eq!(
            side(&excerpt(&["b\n", "c\n"], 2)).text(),
            "      2  b\n>     3  c\n"
        );
        assert_eq!(
            side(&excerpt(&["b\n"], 2)).text(),
            "      2  b\n>        (nothing more)\n"
        );
    }
}
