//! Messages for users.

/// A message in one line and in words, without the numbers that the system has for its errors, and without anything that
/// a terminal would obey.
pub fn plain(message: &str) -> String {
    let shown = |character: char| match character {
        '\n' | '\t' => ' ',
        character if character.is_control() => char::REPLACEMENT_CHARACTER,
        character => character,
    };
    let mut text: String = message.chars().map(shown).collect();
    while let Some(start) = text.find(" (os error ")
        && let Some(length) = text[start..].find(')')
    {
        text.replace_range(start..=start + length, "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_message_is_one_line_without_numbers() {
        let error = std::io::Error::from_raw_os_error(2);
        assert_eq!(plain(&format!("open x: {error}, open y:\n{error}")), {
            "open x: No such file or directory, open y: No such file or directory"
        });
        assert_eq!(plain("odd (os error 2"), "odd (os error 2");
        assert_eq!(plain("a\x1b[2Jb\u{9b}c\r"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
    }
}
