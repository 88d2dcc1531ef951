//! Which test shows which requirement of the App Container specification.
//!
//! The requirements are lines of `tests/conformance/requirements.tsv`: number, level, text and, where no test shows it or
//! only a part of it is shown, the reason. A test names what it shows in a line of its own above its attribute, such as
//! `APPC-001, APPC-002` after two slashes. From both, docs/conformance.md is made.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

/// The root of the repository that this was built from.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The page, below the root.
pub const PAGE: &str = "docs/conformance.md";

const REQUIREMENTS: &str = "tests/conformance/requirements.tsv";
const CRATES: [&str; 7] = ["appc", "pod", "seccomp", "stage0", "stage1", "stage2-helpers", "tests"];
const MARK: &str = "// APPC-";

const INTRODUCTION: &str = "# Conformance

What the App Container specification 0.8.11 asks for, in numbered requirements, and the tests that show it. `make
conformance` makes this page from `tests/conformance/requirements.tsv` and from the tests, which name the requirements that
they show; `make check` fails where it is out of date, or where a requirement has neither a test nor a reason.

Requirements that come from the specification's text, from its reference library, and from hardening are in one list.
What is in italics is not there, or not shown.
";

/// A line of the requirements.
#[derive(Debug)]
struct Requirement {
    id: String,
    level: String,
    text: String,
    /// Why no test shows it, or not all of it. Empty where tests do.
    reason: String,
}

/// A heading and what is below it.
#[derive(Debug)]
struct Section {
    title: String,
    requirements: Vec<Requirement>,
}

/// The tests that show each requirement.
type Shown = BTreeMap<String, Vec<String>>;

/// The page, and what is wrong with it: markers of no test, unknown requirements, and those that nothing is said about.
///
/// # Errors
///
/// A file that cannot be read.
pub fn page() -> io::Result<(String, Vec<String>)> {
    let root = Path::new(ROOT);
    let mut problems = Vec::new();
    let sections = requirements(&fs::read_to_string(root.join(REQUIREMENTS))?, &mut problems);
    let mut files = Vec::new();
    for name in CRATES {
        sources(&root.join(name), &mut files)?;
    }
    files.sort();
    let mut shown = Shown::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        markers(&name, &fs::read_to_string(&file)?, &mut shown, &mut problems);
    }
    check(&sections, &shown, &mut problems);
    Ok((render(&sections, &shown), problems))
}

fn sources(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if kind.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            sources(&path, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn requirements(table: &str, problems: &mut Vec<String>) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for (number, line) in (1..).zip(table.lines()) {
        if let Some(title) = line.strip_prefix("# ") {
            sections.push(Section { title: title.to_owned(), requirements: Vec::new() });
            continue;
        }
        let columns: Vec<&str> = line.split('\t').collect();
        match (columns.as_slice(), sections.last_mut()) {
            ([id, level @ ("MUST" | "SHOULD" | "MAY"), text, reason], Some(section)) if is_id(id) => {
                let [id, level, text, reason] = [*id, *level, *text, *reason].map(str::to_owned);
                section.requirements.push(Requirement { id, level, text, reason });
            }
            _ => problems.push(format!("{REQUIREMENTS}:{number}: not a number, level, text and reason")),
        }
    }
    sections
}

fn is_id(text: &str) -> bool {
    text.strip_prefix("APPC-").is_some_and(|digits| digits.len() == 3 && digits.parse::<u16>().is_ok())
}

/// Adds what the tests of a file show. A marker belongs to the next function, which must be a test: only comments and
/// attributes may stand between the two.
fn markers(file: &str, source: &str, shown: &mut Shown, problems: &mut Vec<String>) {
    let mut pending: Vec<String> = Vec::new();
    let mut is_test = false;
    // A line without anything ends the file, so that no marker is left.
    for (number, line) in (1..).zip(source.lines().chain([""])) {
        let line = line.trim();
        if line.starts_with(MARK) {
            let ids: Vec<&str> = line.trim_start_matches("// ").split(", ").collect();
            if ids.iter().all(|id| is_id(id)) {
                pending.extend(ids.into_iter().map(str::to_owned));
            } else {
                problems.push(format!("{file}:{number}: not numbers of requirements: {line}"));
            }
            continue;
        }
        if line == "#[test]" {
            is_test = true;
            continue;
        }
        let may_be_between = line.starts_with("//") || line.starts_with("#[");
        if may_be_between && !line.starts_with("#[ignore") {
            continue;
        }
        match line.strip_prefix("fn ").filter(|_| is_test) {
            Some(name) => {
                let name = name.split('(').next().unwrap_or(name);
                for id in pending.drain(..) {
                    shown.entry(id).or_default().push(format!("`{file}`: `{name}`"));
                }
            }
            None if pending.is_empty() => {}
            None => {
                let ids = pending.join(", ");
                problems.push(format!("{file}:{number}: {ids} is above no test that runs"));
            }
        }
        pending.clear();
        is_test = false;
    }
}

fn check(sections: &[Section], shown: &Shown, problems: &mut Vec<String>) {
    let mut known: Vec<&str> = Vec::new();
    for requirement in sections.iter().flat_map(|section| &section.requirements) {
        if known.contains(&requirement.id.as_str()) {
            problems.push(format!("{REQUIREMENTS}: {} is there twice", requirement.id));
        }
        known.push(&requirement.id);
        if requirement.reason.is_empty() && !shown.contains_key(&requirement.id) {
            problems.push(format!(
                "{} ({}) has neither a test nor a reason: {}",
                requirement.id, requirement.level, requirement.text
            ));
        }
    }
    for (id, tests) in shown {
        if !known.contains(&id.as_str()) {
            problems.push(format!("{}: {id} is no requirement", tests.join(", ")));
        }
    }
}

fn render(sections: &[Section], shown: &Shown) -> String {
    let mut page = INTRODUCTION.to_owned();
    let all = || sections.iter().flat_map(|section| &section.requirements);
    page.push_str("\n| | all | shown by tests | shown in part | not shown |\n|---|---|---|---|---|\n");
    for level in ["MUST", "SHOULD", "MAY"] {
        let count = |tests: Option<bool>, reason: Option<bool>| {
            all()
                .filter(|requirement| requirement.level == level)
                .filter(|requirement| tests.is_none_or(|want| want == shown.contains_key(&requirement.id)))
                .filter(|requirement| reason.is_none_or(|want| want != requirement.reason.is_empty()))
                .count()
        };
        put(
            &mut page,
            format_args!(
                "| {level} | {} | {} | {} | {} |\n",
                count(None, None),
                count(Some(true), Some(false)),
                count(Some(true), Some(true)),
                count(Some(false), None)
            ),
        );
    }
    for section in sections {
        put(
            &mut page,
            format_args!("\n## {}\n\n| | level | requirement | tests |\n|---|---|---|---|\n", section.title),
        );
        for Requirement { id, level, text, reason } in &section.requirements {
            let mut tests = shown.get(id).cloned().unwrap_or_default();
            if !reason.is_empty() {
                tests.push(format!("*{reason}*"));
            }
            let tests = tests.join("<br>");
            put(&mut page, format_args!("| {id} | {level} | {text} | {tests} |\n"));
        }
    }
    page
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> (Shown, Vec<String>) {
        let (mut shown, mut problems) = (Shown::new(), Vec::new());
        markers("a.rs", source, &mut shown, &mut problems);
        (shown, problems)
    }

    #[test]
    fn a_marker_belongs_to_the_test_below_it() {
        let (shown, problems) = read(
            "/// Words.\n    // APPC-001, APPC-002\n// APPC-003\n#[test]\nfn a() {\n}\n#[test]\nfn b() {}\n// APPC-001\n\
             #[test]\n#[cfg(unix)]\nfn c(x in y) {}\n",
        );
        assert_eq!(problems, [""; 0]);
        let tests = |id: &str| shown[id].join(" ");
        assert_eq!(tests("APPC-001"), "`a.rs`: `a` `a.rs`: `c`");
        assert_eq!((tests("APPC-002"), tests("APPC-003")), ("`a.rs`: `a`".into(), "`a.rs`: `a`".into()));
    }

    #[test]
    fn what_marks_no_test_is_a_problem() {
        for source in [
            "// APPC-001\nfn a() {}\n",
            "// APPC-001\n\n#[test]\nfn a() {}\n",
            "// APPC-001\n#[test]\n#[ignore]\nfn a() {}\n",
            "fn a() {}\n// APPC-001\n",
            "// APPC-1\n#[test]\nfn a() {}\n",
            "// APPC-001 APPC-002\n#[test]\nfn a() {}\n",
        ] {
            assert_eq!(read(source).1.len(), 1, "{source}");
        }
    }

    #[test]
    fn every_requirement_has_a_test_or_a_reason_and_is_known() {
        let (shown, _) = read("// APPC-001, APPC-009\n#[test]\nfn a() {}\n");
        let mut problems = Vec::new();
        let sections = requirements(
            "# A\nAPPC-001\tMUST\tOne\t\nAPPC-002\tMAY\tTwo\tnot there: later\nAPPC-003\tSHOULD\tThree\t\n",
            &mut problems,
        );
        assert_eq!(problems, [""; 0]);
        check(&sections, &shown, &mut problems);
        assert_eq!(
            problems,
            [
                "APPC-003 (SHOULD) has neither a test nor a reason: Three",
                "`a.rs`: `a`: APPC-009 is no requirement"
            ]
        );
        let page = render(&sections, &shown);
        assert!(page.contains("| APPC-001 | MUST | One | `a.rs`: `a` |\n"), "{page}");
        assert!(page.contains("| APPC-002 | MAY | Two | *not there: later* |\n"), "{page}");
        assert!(page.contains("| MUST | 1 | 1 | 0 | 0 |\n"), "{page}");
        requirements(
            "APPC-001\tMUST\tbefore a heading\t\n# A\nAPPC-1\tMUST\tx\t\nAPPC-001\tWILL\tx\t\n",
            &mut problems,
        );
        assert_eq!(problems.len(), 5);
    }
}
