//! The comma-separated form of volumes, mount points, ports and image names: `NAME,key=value,…`.

use super::TypeError;

/// The parameters of a string in that form, the first of which is called `name`. Values are taken literally: they may
/// hold anything but a comma.
#[derive(Debug)]
pub(crate) struct Parameters<'a> {
    text: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Parameters<'a> {
    /// Splits `text`.
    pub(crate) fn parse(text: &'a str) -> Result<Parameters<'a>, TypeError> {
        let mut parts = text.split(',');
        let mut pairs = vec![("name", parts.next().unwrap_or_default())];
        for part in parts {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| TypeError::new(text, format!("has a label without a value: {part:?}")))?;
            // "name=X" may also be given by key, where nothing stands in the first place.
            if key == "name" && pairs[0].1.is_empty() {
                pairs[0].1 = value;
                continue;
            }
            if pairs.iter().any(|(earlier, _)| *earlier == key) {
                return Err(TypeError::new(text, format!("label {key:?} with multiple values")));
            }
            pairs.push((key, value));
        }
        Ok(Parameters { text, pairs })
    }

    /// Refuses all keys but these.
    pub(crate) fn only(&self, known: &[&str], what: &str) -> Result<(), TypeError> {
        match self.pairs.iter().find(|(key, _)| !known.contains(key)) {
            Some((key, _)) => Err(TypeError::new(self.text, format!("unknown {what} parameter {key:?}"))),
            None => Ok(()),
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        self.pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// The value of a key, which must be there.
    pub(crate) fn required(&self, key: &str) -> Result<&'a str, TypeError> {
        self.get(key)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| TypeError::new(self.text, format!("{key} must be set")))
    }

    /// The value of a key as a boolean, in one of Go's spellings.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, TypeError> {
        match self.get(key) {
            None => Ok(None),
            Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(Some(false)),
            Some(_) => Err(TypeError::new(self.text, format!("{key} must be true or false"))),
        }
    }

    /// The value of a key as a decimal number.
    pub(crate) fn number<N: std::str::FromStr>(&self, key: &str) -> Result<Option<N>, TypeError> {
        self.get(key)
            .map(|value| {
                let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                let number = if digits { value.parse().ok() } else { None };
                number
                    .ok_or_else(|| TypeError::new(self.text, format!("{key} must be a number in its range")))
            })
            .transpose()
    }

    /// All pairs, `name` first.
    pub(crate) fn pairs(&self) -> &[(&'a str, &'a str)] {
        &self.pairs
    }
}
