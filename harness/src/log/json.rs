//! JSON lines: a header, the entries, a summary. See docs/log.md.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::summary::Summary;

/// Of the schema, not of ringer. A reader that knows 1 can read all that is called 1: fields may
/// come, none changes its meaning or goes.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Always `log`.
    pub ringer: String,
    pub version: u32,
    pub session: String,
    /// ISO 8601, UTC.
    pub started: String,
    /// `emulate` or `observe`.
    pub mode: String,
    /// What is emulated.
    pub emulate: Vec<String>,
    /// The command, absent for a session that others run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

/// The last line.
#[derive(Serialize, Deserialize)]
pub struct Footer {
    pub summary: Summary,
}

/// Any line of a log, told by its first field.
#[allow(clippy::large_enum_variant)] // most lines are of the largest kind
pub enum Line {
    Header(Header),
    Entry(Entry),
    Footer(Footer),
}

impl Line {
    pub fn parse(text: &[u8]) -> serde_json::Result<Line> {
        if text.starts_with(b"{\"ringer\"") {
            serde_json::from_slice(text).map(Line::Header)
        } else if text.starts_with(b"{\"summary\"") {
            serde_json::from_slice(text).map(Line::Footer)
        } else {
            serde_json::from_slice(text).map(Line::Entry)
        }
    }
}

pub fn write(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::super::entry::{End, Layer, Object, Op};
    use super::*;

    #[test]
    fn an_entry_is_one_flat_object_without_empty_fields() {
        let e = Entry {
            id: 12,
            t_ns: 5,
            pid: 1,
            tid: 1,
            comm: "cat".into(),
            layer: Some(Layer::Hook),
            op: Op::Read,
            obj: Some(Object(3)),
            end: Some(End::Read),
            seq: Some(4),
            fd: Some(0),
            ret: Some(8),
            bytes: Some(8),
            pos: Some([0, 8]),
            queued: Some(0),
            from: vec![11],
            ..Entry::default()
        };
        let mut out = Vec::new();
        write(&mut out, &e).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"id\":12,\"t_ns\":5,\"pid\":1,\"tid\":1,\"comm\":\"cat\",\"layer\":\"hook\",\
             \"op\":\"read\",\"obj\":\"pipe#3\",\"end\":\"r\",\"seq\":4,\"fd\":0,\"ret\":8,\
             \"bytes\":8,\"pos\":[0,8],\"queued\":0,\"from\":[11]}\n"
        );
    }
}
