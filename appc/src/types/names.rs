//! AC Identifiers and AC Names (spec, "types").
//!
//! The specification's pattern forbids two separators in a row, its reference library does not, and images in the
//! wild have them. So they are accepted; [`AcIdentifier::is_strict`] tells the difference.

use std::{fmt, str::FromStr};

use super::TypeError;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $separators:literal, $replacement:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Makes a valid one of any text: lower case, each forbidden character replaced, separators at the edges
            /// removed.
            ///
            /// # Errors
            /// Where no character remains.
            pub fn sanitize(text: &str) -> Result<Self, TypeError> {
                let replaced: String = text
                    .to_lowercase()
                    .chars()
                    .map(|c| if is_allowed(c, $separators) { c } else { $replacement })
                    .collect();
                let trimmed = replaced.trim_matches(|c: char| $separators.contains(c) || c == $replacement);
                if trimmed.is_empty() {
                    return Err(TypeError::new(text, "must contain at least one valid character"));
                }
                Ok($name(trimmed.to_owned()))
            }

            /// Whether it also matches the specification's own pattern, which forbids two separators in a row.
            pub fn is_strict(&self) -> bool {
                let bytes = self.0.as_bytes();
                !bytes.windows(2).any(|pair| pair.iter().all(|byte| !byte.is_ascii_alphanumeric()))
            }
        }

        impl FromStr for $name {
            type Err = TypeError;

            fn from_str(text: &str) -> Result<Self, TypeError> {
                if text.is_empty() {
                    return Err(TypeError::new(text, concat!($what, " cannot be empty")));
                }
                if !text.chars().all(|c| is_allowed(c, $separators)) {
                    return Err(TypeError::new(
                        text,
                        concat!($what, " may contain only a-z, 0-9 and the characters ", $separators),
                    ));
                }
                let edge = |c: Option<char>| c.is_some_and(|c| !c.is_ascii_alphanumeric());
                if edge(text.chars().next()) || edge(text.chars().next_back()) {
                    return Err(TypeError::new(text, concat!($what, " must start and end with a letter or digit")));
                }
                Ok($name(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// Names images, labels, isolators and annotations: `example.com/reduce-worker`.
    AcIdentifier,
    "-._~/",
    '_',
    "an AC identifier"
);
name_type!(
    /// Names apps, volumes, mount points and ports: `reduce-worker`.
    AcName,
    "-",
    '-',
    "an AC name"
);

fn is_allowed(c: char, separators: &str) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || separators.contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-001, APPC-002
    #[test]
    fn identifiers_follow_their_grammar() {
        let valid =
            ["a", "database", "my~database", "zab_rab_oof", "example.com/~bob/database", "a--b", "a//b", "0"];
        for text in valid {
            assert_eq!(text.parse::<AcIdentifier>().unwrap().as_str(), text);
        }
        for text in ["", "BAR", "foo#", "/app", "app/", "-app", ".app", "_app", "app~", "é", "a\0b", "a b"] {
            assert!(text.parse::<AcIdentifier>().is_err(), "{text:?}");
        }
        assert!(!"a--b".parse::<AcIdentifier>().unwrap().is_strict());
        assert!("a-b".parse::<AcIdentifier>().unwrap().is_strict());
    }

    // APPC-005
    #[test]
    fn names_follow_their_grammar() {
        for text in ["a", "reduce-worker", "a--b", "0"] {
            assert_eq!(text.parse::<AcName>().unwrap().as_str(), text);
        }
        for text in ["", "A", "a.b", "a_b", "a/b", "-a", "a-", ".."] {
            assert!(text.parse::<AcName>().is_err(), "{text:?}");
        }
    }

    // APPC-004, APPC-006
    #[test]
    fn sanitizers_make_valid_names() {
        let identifiers = [
            ("Foo Bar", "foo_bar"),
            ("foo#", "foo"),
            ("example.com/Foo:1", "example.com/foo_1"),
            ("foo__BAR", "foo__bar"),
        ];
        for (text, want) in identifiers {
            assert_eq!(AcIdentifier::sanitize(text).unwrap().as_str(), want);
        }
        for (text, want) in
            [("a/b.c", "a-b-c"), ("foo__BAR", "foo--bar"), ("example.com/Foo:1", "example-com-foo-1")]
        {
            assert_eq!(AcName::sanitize(text).unwrap().as_str(), want);
        }
        for text in ["!!!", "__", "É", ""] {
            assert!(AcIdentifier::sanitize(text).is_err(), "{text:?}");
        }
    }
}
