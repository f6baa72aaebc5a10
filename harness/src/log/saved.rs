//! A log that was saved as JSON lines, told again.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::entry::Entry;
use super::flow::Flow;
use super::json::{self, Header, Line};
use super::recorder::{Settings, Voice};
use super::summary::{Accounts, Summary};
use crate::error::{Error, Result};

/// Tells a saved log by `settings`. A log that was cut off (the machine went down) is told as far
/// as it goes.
pub fn tell(path: &Path, mut settings: Settings) -> Result<Summary> {
    let mut log = Saved::open(path)?;
    settings.header = log.header.clone();
    let mut voice = Voice::new(settings);
    voice.header();
    while let Some(e) = log.next()? {
        voice.entry(e);
    }
    let (summary, result) = voice.finish();
    result.map(|()| summary)
}

/// The summary that the log ends with; made anew from the entries if its end is missing.
pub fn summary(path: &Path) -> Result<Summary> {
    let mut log = Saved::open(path)?;
    let (mut accounts, mut flow) = (Accounts::new(&log.header), Flow::default());
    while let Some(mut e) = log.next()? {
        let shares = flow.follow(&mut e);
        accounts.count(&e, &shares);
    }
    Ok(log.summary.unwrap_or_else(|| accounts.sum()))
}

/// Gives each entry to `take`.
pub fn each(path: &Path, mut take: impl FnMut(Entry)) -> Result<()> {
    let mut log = Saved::open(path)?;
    while let Some(e) = log.next()? {
        take(e);
    }
    Ok(())
}

struct Saved {
    path: PathBuf,
    reader: BufReader<File>,
    header: Header,
    /// Of the last line, once it was read.
    summary: Option<Summary>,
    text: Vec<u8>,
    line: u64,
}

impl Saved {
    fn open(path: &Path) -> Result<Saved> {
        let file = File::open(path).map_err(|why| Error::Input {
            path: path.to_owned(),
            why,
        })?;
        let mut log = Saved {
            path: path.to_owned(),
            reader: BufReader::with_capacity(256 * 1024, file),
            header: Header::default(),
            summary: None,
            text: Vec::new(),
            line: 0,
        };
        match log.line()? {
            Some(Line::Header(h)) if h.ringer == "log" && h.version <= json::VERSION => {
                log.header = h;
                Ok(log)
            }
            Some(Line::Header(h)) => {
                Err(log.bad(format!("version {} of \"{}\"", h.version, h.ringer)))
            }
            Some(_) => Err(log.bad("the header is missing")),
            None => Err(log.bad("it is empty")),
        }
    }

    /// The next entry. `None`: that was all.
    fn next(&mut self) -> Result<Option<Entry>> {
        while let Some(line) = self.line()? {
            match line {
                Line::Entry(e) => return Ok(Some(e)),
                Line::Footer(footer) => self.summary = Some(footer.summary),
                Line::Header(_) => {}
            }
        }
        Ok(None)
    }

    fn line(&mut self) -> Result<Option<Line>> {
        self.text.clear();
        self.line += 1;
        let n = self.reader.read_until(b'\n', &mut self.text);
        if n.map_err(|why| Error::Input {
            path: self.path.clone(),
            why,
        })? == 0
        {
            return Ok(None);
        }
        match Line::parse(&self.text) {
            Ok(line) => Ok(Some(line)),
            // Half a line, at the end.
            Err(_) if self.line > 1 && self.text.last() != Some(&b'\n') => Ok(None),
            Err(why) => Err(self.bad(why)),
        }
    }

    fn bad(&self, why: impl ToString) -> Error {
        Error::NotALog {
            path: self.path.clone(),
            line: self.line,
            why: why.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Object, Op};
    use super::super::recorder::{Format, Target};
    use super::super::text::Color;
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, text: &str) -> Scratch {
            let name = format!("ringer-unit-saved-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, text).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    const HEADER: &str =
        "{\"ringer\":\"log\",\"version\":1,\"session\":\"x\",\"emulate\":[\"pipe\"]}\n";
    const ENTRY: &str =
        "{\"id\":1,\"t_ns\":5,\"pid\":9,\"tid\":9,\"comm\":\"sh\",\"op\":\"pipe2\",\
                         \"obj\":\"pipe#1\",\"ret\":0}\n";

    #[test]
    fn a_log_is_told_again() {
        let log = Scratch::new("again", &[HEADER, ENTRY, ENTRY].concat());
        let out = Scratch::new("again.txt", "");
        let settings = Settings {
            format: Format::Text,
            target: Target::File(File::create(&out.0).unwrap(), out.0.clone()),
            filter: Default::default(),
            color: Color::No,
            header: Default::default(),
        };
        assert_eq!(tell(&log.0, settings).unwrap().entries, 2);
        let text = std::fs::read_to_string(&out.0).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("pipe2([-1, -1], 0) = 0"), "{text}");
    }

    #[test]
    fn the_summary_is_taken_from_the_end_or_made() {
        let made = Scratch::new("made", &[HEADER, ENTRY].concat());
        assert_eq!(summary(&made.0).unwrap().pipes.emulated, 1);
        let footer = "{\"summary\":{\"pipes\":{\"emulated\":7,\"demoted\":2}}}\n";
        let taken = Scratch::new("taken", &[HEADER, ENTRY, footer].concat());
        assert_eq!(summary(&taken.0).unwrap().pipes.emulated, 7);
    }

    #[test]
    fn a_log_that_was_cut_off_is_good_as_far_as_it_goes() {
        let cut = Scratch::new("cut", &[HEADER, ENTRY, "{\"id\":2,\"t_n"].concat());
        assert_eq!(summary(&cut.0).unwrap().entries, 1);
    }

    #[test]
    fn other_files_are_refused_with_the_line() {
        let cases = [
            ("", 1),
            ("hello\n", 1),
            (ENTRY, 1),
            ("{\"ringer\":\"log\",\"version\":2}\n", 1),
            (&[HEADER, "{\"id\":\n", ENTRY].concat(), 2),
        ];
        for (i, (text, at)) in cases.into_iter().enumerate() {
            let log = Scratch::new(&format!("bad{i}"), text);
            match summary(&log.0) {
                Err(Error::NotALog { line, .. }) => assert_eq!(line, at, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn unknown_fields_and_operations_of_later_versions_are_passed_over() {
        let entry = "{\"id\":3,\"pid\":1,\"op\":\"splice\",\"obj\":\"pipe#2\",\"new\":[1]}\n";
        let log = Scratch::new("later", &[HEADER, entry].concat());
        let mut seen = Vec::new();
        let mut log = Saved::open(&log.0).unwrap();
        while let Some(e) = log.next().unwrap() {
            seen.push((e.op, e.obj));
        }
        assert_eq!(seen, [(Op::Unknown, Some(Object(2)))]);
    }
}
