//! The table of docs/differential.md tells of the commands of commands.txt, of each, and that it is the same.

#[test]
fn the_table_of_the_docs_is_of_these_commands() {
    let commands = include_str!("commands.txt").lines();
    let commands = commands.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let expected: Vec<String> = commands
        .map(|line| format!("| `` {} `` | same |", line.replace('|', r"\|")))
        .collect();
    let page = include_str!("../../docs/differential.md").lines();
    let rows: Vec<&str> = page.filter(|line| line.starts_with("| `` ")).collect();
    assert!(rows.len() >= 30 && rows.len() == expected.len());
    for (row, expected) in rows.iter().zip(&expected) {
        assert!(row.starts_with(expected), "{row}\nis not about\n{expected}");
    }
}
