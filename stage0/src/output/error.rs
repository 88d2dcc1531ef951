//! Errors on stderr: one line, or with `--debug` the whole chain.

/// Prints an error of the command `command`.
pub(crate) fn print_error(command: &str, error: &anyhow::Error, debug: bool) {
    if !debug {
        eprintln!("{command}: {}", one_line(error));
        return;
    }
    eprintln!("{command}: {error}");
    for (level, cause) in error.chain().skip(1).enumerate() {
        eprintln!("{:indent$}└─{cause}", "", indent = 2 * (level + 1));
    }
}

/// The message and its causes. A cause that the message already tells is not told again.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if line.is_empty() {
            line = text;
        } else if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
    }
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    #[test]
    fn causes_are_told_once() {
        let error = anyhow!("no such file").context("open x: no such file").context("fetch");
        assert_eq!(super::one_line(&error), "fetch: open x: no such file");
        assert_eq!(super::one_line(&anyhow!("two\nlines")), "two lines");
    }
}
