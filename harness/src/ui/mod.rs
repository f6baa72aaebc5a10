//! What a person sees: words, numbers, tables.

pub mod human;
pub mod table;

use std::io::{self, Write};

use crate::error::{Error, Result};

/// Data for standard output, all at once.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Error::Stdout)
}

/// Talk for standard error. Nobody listening is no trouble.
pub fn say(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// Data as JSON, indented.
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::Stdout(e.into()))?;
    print(&(text + "\n"))
}

/// Whether a person sees standard error.
pub fn is_watched() -> bool {
    crate::sys::is_terminal(2)
}
