//! The little of TOML that the lists of these tests are written in: tables, arrays of tables, and
//! keys with a string or a list of strings. Values of other kinds are kept as they are written.

/// `[name]` or `[[name]]` and its keys, in order. What comes before the first has no name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    pub name: String,
    pub keys: Vec<(String, Vec<String>)>,
}

impl Table {
    /// All values of a key; none if it is not there.
    pub fn list(&self, key: &str) -> &[String] {
        let found = self.keys.iter().find(|(name, _)| name == key);
        found.map_or(&[], |(_, values)| values)
    }

    /// The one value of a key.
    #[track_caller]
    pub fn text(&self, key: &str) -> &str {
        match self.list(key) {
            [one] => one,
            other => panic!("[{}] {key}: one value is wanted: {other:?}", self.name),
        }
    }
}

/// Splits a text into its tables.
pub fn parse(text: &str) -> Vec<Table> {
    let mut tables = vec![Table::default()];
    let mut lines = text.lines().map(|line| without_comment(line).trim());
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let name = name.trim_matches(['[', ']', '"']).to_owned();
            tables.push(Table {
                name,
                keys: Vec::new(),
            });
            continue;
        }
        let (key, value) = line
            .split_once('=')
            .unwrap_or_else(|| panic!("neither a table nor a key: {line}"));
        let mut value = value.trim().to_owned();
        while value.starts_with('[') && !value.ends_with(']') {
            value += lines.next().expect("the end of a list");
        }
        let key = key.trim().trim_matches('"').to_owned();
        let last = tables.last_mut().expect("at least the nameless one");
        last.keys.push((key, values(&value)));
    }
    tables
}

/// A `#` begins a comment unless it is in quotes.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let end = line.find(|c| {
        quoted ^= c == '"';
        c == '#' && !quoted
    });
    &line[..end.unwrap_or(line.len())]
}

fn values(value: &str) -> Vec<String> {
    if value.starts_with(['"', '[']) {
        assert!(!value.contains('\\'), "no escapes, please: {value}");
        let strings = value.split('"').skip(1).step_by(2);
        return strings.map(str::to_owned).collect();
    }
    vec![value.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_keys_lists_and_comments() {
        let text =
            "a = 1 # one\n[b.c]\n\"R1\" = [\"x\", # first\n  \"y # z\",\n]\n[[d]]\nid = \"e\"\n";
        let tables = parse(text);
        assert_eq!(tables[0].text("a"), "1");
        assert_eq!(tables[1].name, "b.c");
        assert_eq!(tables[1].list("R1"), ["x", "y # z"]);
        assert_eq!((&*tables[2].name, tables[2].text("id")), ("d", "e"));
        assert!(tables[2].list("nothing").is_empty());
    }
}
