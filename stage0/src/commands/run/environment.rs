//! Environment variables for all apps.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use super::arguments::pair;

/// Our own environment, as far as it is UTF-8.
pub(super) fn own() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The variables of files, then those of the command line, which win.
pub(super) fn set(files: &[PathBuf], variables: &[String]) -> Result<Vec<(String, String)>> {
    let mut from_files = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        parse(&text, &mut from_files).with_context(|| format!("--set-env-file={}", file.display()))?;
    }
    let mut given = Vec::new();
    for variable in variables {
        add(&mut given, pair(variable).context("--set-env")?).context("--set-env")?;
    }
    from_files.extend(given);
    Ok(from_files)
}

/// Lines of `KEY=VALUE`; empty ones and those that start with `#` or `;` are passed over.
fn parse(text: &str, variables: &mut Vec<(String, String)>) -> Result<()> {
    let lines = text.lines().map(str::trim_start).enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(['#', ';'])) {
        let variable = pair(line).with_context(|| format!("line {}", number + 1))?;
        add(variables, variable)?;
    }
    Ok(())
}

fn add(variables: &mut Vec<(String, String)>, variable: (String, String)) -> Result<()> {
    if variables.iter().any(|(name, _)| *name == variable.0) {
        bail!("environment variable {:?} is set twice", variable.0);
    }
    variables.push(variable);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_a_variable_a_line() {
        let mut variables = Vec::new();
        parse("# comment\n\nA=1\n; other\n  B=x=y \n", &mut variables).unwrap();
        assert_eq!(variables, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "x=y ".to_owned())]);
        for text in ["A\n", "=1\n", "A=1\n"] {
            assert!(parse(text, &mut variables.clone()).is_err(), "{text:?}");
        }
    }
}
