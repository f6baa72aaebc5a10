//! The sources themselves: how long they are, and what the shim's must not have.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// See docs and STYLE: files aim at 100 to 300 lines.
const MOST_LINES: usize = 500;

/// In a guest nothing may panic: a program would die of a bug that is not its own.
const FORBIDDEN: [&str; 6] = [
    ".unwrap()",
    ".expect(",
    "panic!",
    "todo!",
    "unimplemented!",
    "unreachable!",
];

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All Rust sources under a directory of the workspace.
pub fn rust_files(under: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![workspace().join(under)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.expect("a directory of sources").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                dirs.push(path);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn no_file_is_too_long() {
    let files = rust_files(".");
    assert!(files.len() > 50, "only {files:?}");
    let long: Vec<_> = files
        .iter()
        .map(|path| (path, read(path).lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .collect();
    assert!(long.is_empty(), "more than {MOST_LINES} lines: {long:?}");
}

#[test]
fn nothing_in_the_shim_can_panic() {
    let mut files = rust_files("shim/src");
    files.extend(rust_files("shim/kernel/src"));
    assert!(files.len() > 20, "only {files:?}");
    let mut in_tests_only = BTreeSet::new();
    let mut codes = Vec::new();
    for path in files {
        let text = read(&path);
        let (code, modules) = without_tests(&text);
        in_tests_only.extend(modules.iter().flat_map(|m| m.files(&path)));
        codes.push((path, code));
    }
    let mut found = Vec::new();
    for (path, code) in codes {
        if in_tests_only.contains(&path) {
            continue;
        }
        for (line, text) in code.lines().zip(1..).map(|(text, line)| (line, text)) {
            if FORBIDDEN.iter().any(|word| text.contains(word)) {
                found.push(format!("{}:{line}: {}", path.display(), text.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// `mod name;` with its `#[path]`.
struct Module {
    name: String,
    path: Option<String>,
}

impl Module {
    /// Where its source may be, seen from the file that declares it.
    fn files(&self, from: &Path) -> Vec<PathBuf> {
        let dir = from.parent().expect("a file in a directory");
        if let Some(path) = &self.path {
            return vec![dir.join(path)];
        }
        let name = &self.name;
        let own = dir.join(from.file_stem().unwrap_or_default());
        let dirs = [dir.to_owned(), own];
        let file = |dir: &PathBuf| {
            [
                dir.join(format!("{name}.rs")),
                dir.join(name).join("mod.rs"),
            ]
        };
        dirs.iter().flat_map(file).collect()
    }
}

/// A source with nothing but blanks where comments, strings and test-only items were, and the
/// modules that are for tests only.
fn without_tests(text: &str) -> (String, Vec<Module>) {
    let mut code = code_only(text);
    let mut modules = Vec::new();
    let mut from = 0;
    while let Some(at) = code[from..].find("#[cfg(").map(|i| i + from) {
        let attribute_end = end_of(&code, at + 1);
        let condition = &code[at..attribute_end];
        from = attribute_end;
        if !condition.replace("not(test", "").contains("test") {
            continue;
        }
        let end = end_of_item(&code, attribute_end);
        let item = &code[attribute_end..end];
        if let Some((_, rest)) = item.split_once("mod ").filter(|_| item.ends_with(';')) {
            let path = text[at..end].split_once("#[path = \"");
            modules.push(Module {
                name: rest.trim_end_matches(';').trim().to_owned(),
                path: path.and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned())),
            });
        }
        let blank: String = code[at..end].chars().map(blank).collect();
        code.replace_range(at..end, &blank);
        from = end;
    }
    (code, modules)
}

fn blank(c: char) -> char {
    if c == '\n' {
        c
    } else {
        ' '
    }
}

/// Behind the bracket that closes the first one at or after `at`.
fn end_of(code: &str, at: usize) -> usize {
    let mut depth = 0;
    for (i, c) in code[at..].char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at + i + 1;
        }
    }
    code.len()
}

/// Behind the item that begins at `at`: its `;`, or its closing brace.
fn end_of_item(code: &str, mut at: usize) -> usize {
    while let Some(c) = code[at..].chars().next() {
        match c {
            ';' => return at + 1,
            '{' => return end_of(code, at),
            '(' | '[' => at = end_of(code, at),
            _ => at += c.len_utf8(),
        }
    }
    at
}

/// Blanks out comments and the contents of strings and characters. Every byte that stays, stays
/// in its place.
fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut i = 0;
    while i < bytes.len() {
        let end = match bytes[i] {
            b'/' if bytes[i..].starts_with(b"//") => find(bytes, i, b"\n"),
            b'/' if bytes[i..].starts_with(b"/*") => find(bytes, i, b"*/") + 2,
            b'r' if !is_word(bytes, i) && raw_hashes(bytes, i + 1).is_some() => {
                let hashes = raw_hashes(bytes, i + 1).unwrap_or(0);
                let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
                find(bytes, i + 2 + hashes, &close) + close.len()
            }
            b'"' => end_of_string(bytes, i + 1, b'"'),
            b'\'' if bytes.get(i + 1) == Some(&b'\\') => end_of_string(bytes, i + 1, b'\''),
            b'\'' if bytes.get(i + 2) == Some(&b'\'') => i + 3,
            _ => {
                i += 1;
                continue;
            }
        };
        let end = end.min(bytes.len());
        for b in &mut out[i..end] {
            if *b != b'\n' {
                *b = b' ';
            }
        }
        i = end;
    }
    String::from_utf8(out).expect("what was blanked out, was so as a whole")
}

fn is_word(bytes: &[u8], i: usize) -> bool {
    let before = i.checked_sub(1).and_then(|i| bytes.get(i));
    // `br"..."` is a raw string too.
    before.is_some_and(|b| (b.is_ascii_alphanumeric() && *b != b'b') || *b == b'_')
}

/// `###"` behind the `r` of a raw string: how many.
fn raw_hashes(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at..].iter().take_while(|b| **b == b'#').count();
    (bytes.get(at + hashes) == Some(&b'"')).then_some(hashes)
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let found = bytes[from..].windows(what.len()).position(|w| w == what);
    found.map_or(bytes.len(), |i| from + i)
}

fn end_of_string(bytes: &[u8], mut i: usize, quote: u8) -> usize {
    while i < bytes.len() && bytes[i] != quote {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    i + 1
}

#[test]
fn the_scanner_knows_code_from_tests_comments_and_strings() {
    let text = r##"
        // a.unwrap()
        fn f<'a>(x: &'a str) -> char { g("panic!", r#"todo! " "#, b'"', '\'', '"') }
        /* unreachable! */
        #[cfg(not(test))] fn kept() { a.expect(b) }
        #[cfg(all(test, not(loom)))]
        mod tests { fn t(x: [u8; 3]) { x.unwrap(); } }
        #[cfg(test)]
        #[path = "elsewhere.rs"]
        mod more;
        fn last() {}
    "##;
    let (code, modules) = without_tests(text);
    for word in [".unwrap()", "panic!", "todo!", "unreachable!"] {
        assert!(!code.contains(word), "{word} in {code}");
    }
    for word in ["fn f<'a>", ".expect(b)", "fn last()"] {
        assert!(code.contains(word), "no {word} in {code}");
    }
    assert_eq!(code.lines().count(), text.lines().count());
    let [module] = &modules[..] else {
        panic!("{}", modules.len())
    };
    assert_eq!(
        module.files(Path::new("a/b.rs")),
        [Path::new("a/elsewhere.rs")]
    );
}

/// In a model they are loom's: whatever goes past the door is not checked.
#[test]
fn atomics_of_the_kernel_crate_come_through_one_door() {
    let door = Path::new("sync/atomic.rs");
    let past: Vec<_> = rust_files("shim/kernel/src")
        .into_iter()
        .filter(|path| !path.ends_with(door))
        .filter(|path| {
            let text = read(path);
            text.contains("core::sync::atomic") || text.contains("std::sync::atomic")
        })
        .collect();
    assert!(past.is_empty(), "use crate::sync::atomic: {past:?}");
}
