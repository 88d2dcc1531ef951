//! Messages on stderr. Errors are one line, or with `--debug` the whole chain.

use std::io::{self, Write};

use rkt_pod::message::plain;

/// Tells the user something about the command `command`. Nothing is done about a stderr that cannot be written: there
/// is no other place to say so, and what the command was doing matters more.
pub(crate) fn note(command: &str, message: &str) {
    // One write, so that messages of several processes do not mix.
    if io::stderr().write_all(format!("{command}: {message}\n").as_bytes()).is_err() {
        // See above.
    }
}

/// Prints an error of the command `command`.
pub(crate) fn print_error(command: &str, error: &anyhow::Error, debug: bool) {
    note(command, &if debug { whole_chain(error) } else { one_line(error) });
}

fn whole_chain(error: &anyhow::Error) -> String {
    let causes = error.chain().skip(1).enumerate();
    let causes = causes.map(|(level, cause)| format!("\n{:indent$}└─{cause}", "", indent = 2 * (level + 1)));
    std::iter::once(error.to_string()).chain(causes).collect()
}

/// The message and its causes. A cause that the message already tells is not told again.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = plain(&cause.to_string());
        if line.is_empty() {
            line = text;
        } else if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    #[test]
    fn the_chain_has_a_line_for_each_cause() {
        let error = anyhow!("no such file").context("open x").context("fetch");
        assert_eq!(super::whole_chain(&error), "fetch\n  └─open x\n    └─no such file");
    }

    #[test]
    fn causes_are_told_once() {
        let error = anyhow!("no such file").context("open x: no such file").context("fetch");
        assert_eq!(super::one_line(&error), "fetch: open x: no such file");
        assert_eq!(super::one_line(&anyhow!("two\nlines")), "two lines");
        let error = std::io::Error::from_raw_os_error(2);
        assert_eq!(super::one_line(&anyhow!(error).context("x")), "x: No such file or directory");
    }
}
