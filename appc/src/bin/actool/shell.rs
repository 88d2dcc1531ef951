//! The original's command line: flags with one dash or two, their values behind `=` or in the next word, all of them
//! before the first operand.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use clap::Command;

/// Rewrites arguments so that clap, which knows other habits, reads them as the original did.
pub(crate) fn rewrite(arguments: impl Iterator<Item = OsString>, definition: &Command) -> Vec<OsString> {
    let mut arguments = arguments;
    let mut words: Vec<OsString> = arguments.by_ref().take(1).collect();
    let mut command = definition;
    while let Some(word) = arguments.next() {
        let Some(name) = flag(&word) else {
            let is_subcommand = std::ptr::eq(command, definition);
            match definition.get_subcommands().find(|known| *known.get_name() == *word) {
                Some(subcommand) if is_subcommand => {
                    words.push(word);
                    command = subcommand;
                    continue;
                }
                // Clap says what it thinks of an unknown command.
                _ if is_subcommand => words.push(word),
                _ if word == "--" => words.push(word),
                _ => words.extend([OsString::from("--"), word]),
            }
            words.extend(arguments);
            return words;
        };
        let mut flag = OsString::from("--");
        flag.push(name);
        if takes_value(command, name)
            && let Some(value) = arguments.next()
        {
            flag.push("=");
            flag.push(value);
        }
        words.push(flag);
    }
    words
}

/// A flag without its dashes, with its value where that is in the same word.
fn flag(word: &OsStr) -> Option<&OsStr> {
    let bytes = word.as_bytes();
    let name = bytes.strip_prefix(b"--").or_else(|| bytes.strip_prefix(b"-"))?;
    (!name.is_empty()).then(|| OsStr::from_bytes(name))
}

/// Whether the flag's value is in the next word.
fn takes_value(command: &Command, name: &OsStr) -> bool {
    let argument =
        command.get_arguments().find(|argument| argument.get_long().is_some_and(|long| *long == *name));
    argument.is_some_and(|argument| {
        argument.get_action().takes_values()
            && argument.get_num_args().is_none_or(|number| number.min_values() > 0)
    })
}

/// A boolean in one of Go's spellings.
pub(crate) fn boolean(word: &str) -> Result<bool, String> {
    match word {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// A list's text, which may be empty.
pub(crate) fn parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    text.split(separator).filter(|part| !part.is_empty())
}

/// An error of the system in words, without its number.
pub(crate) fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// A path with something appended to its last part.
pub(crate) fn beside(path: &std::path::Path, name: impl AsRef<OsStr>) -> std::path::PathBuf {
    path.with_file_name(OsString::from_vec(name.as_ref().as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_read_as_the_original_did() {
        let definition = super::super::Cli::command();
        let table = [
            ("actool", "actool"),
            ("actool -debug version", "actool --debug version"),
            ("actool build -overwrite a b.aci", "actool build --overwrite -- a b.aci"),
            ("actool build --overwrite=false a -b", "actool build --overwrite=false -- a -b"),
            ("actool patch-manifest -exec -c x y", "actool patch-manifest --exec=-c -- x y"),
            ("actool patch-manifest --user=0 -group 0 x", "actool patch-manifest --user=0 --group=0 -- x"),
            ("actool validate -- -x", "actool validate -- -x"),
            ("actool validate - x", "actool validate -- - x"),
            ("actool nope -x", "actool nope -x"),
            ("actool help build", "actool help -- build"),
            ("actool build -compression", "actool build --compression"),
        ];
        for (given, want) in table {
            let words = rewrite(given.split(' ').map(OsString::from), &definition);
            assert_eq!(words, want.split(' ').collect::<Vec<_>>(), "{given}");
        }
    }
}
