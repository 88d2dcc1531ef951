//! What the documentation promises about tests.

use std::{collections::BTreeSet, fs, path::Path};

/// The names of all functions in the files of a directory.
fn functions(directory: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(directory).expect("read a directory").flatten().map(|entry| entry.path());
    let text: String = files.filter_map(|path| fs::read_to_string(path).ok()).collect();
    let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
    names.map(str::to_owned).collect()
}

#[test]
fn every_attack_in_the_documentation_has_its_tests() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut known = functions(&tests.join("tests"));
    known.extend(functions(&tests.join("../stage2-helpers/tests/it")));
    let text = fs::read_to_string(tests.join("../docs/security.md")).unwrap();
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| ") && line != &"| attack | what stops it | tests |")
        .collect();
    assert!(rows.len() > 30, "{rows:?}");
    for row in rows {
        let column = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
        let named: Vec<&str> = column.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() || column == "the same", "no test: {row}");
        for name in named {
            let is_there = match name.strip_suffix('…') {
                Some(beginning) => known.iter().any(|known| known.starts_with(beginning)),
                None => known.contains(name),
            };
            assert!(is_there, "{name}: no such test: {row}");
        }
    }
}
