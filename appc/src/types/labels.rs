//! Labels: what distinguishes images of one name.

use super::{AcIdentifier, TypeError, check_os_arch};

/// One label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The name; never `name`.
    pub name: AcIdentifier,
    /// The value, which may be empty.
    pub value: String,
}

/// Labels in the order in which they were given, each name once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(Vec<Label>);

impl Labels {
    /// Checks and takes labels.
    ///
    /// # Errors
    /// Where a name occurs twice or is `name`, or `os` and `arch` are no known pair (spec, image manifest).
    pub fn new(labels: Vec<Label>) -> Result<Labels, TypeError> {
        for (index, label) in labels.iter().enumerate() {
            let name = label.name.as_str();
            if name == "name" {
                return Err(TypeError::new(name, "a label cannot be called \"name\""));
            }
            if labels[..index].iter().any(|earlier| earlier.name == label.name) {
                return Err(TypeError::new(name, "duplicate label"));
            }
        }
        let labels = Labels(labels);
        if let Some(os) = labels.get("os") {
            check_os_arch(os, labels.get("arch"))?;
        }
        Ok(labels)
    }

    /// The value of the label called `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|label| label.name.as_str() == name).map(|label| label.value.as_str())
    }

    /// The labels, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every label of `wanted` is here with the same value (spec, discovery and dependencies).
    pub fn contains(&self, wanted: &Labels) -> bool {
        wanted.iter().all(|label| self.get(label.name.as_str()) == Some(&label.value))
    }

    /// Sets a label, in place where it exists.
    ///
    /// # Errors
    /// As [`Labels::new`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), TypeError> {
        let mut labels = self.0.clone();
        match labels.iter_mut().find(|label| label.name.as_str() == name) {
            Some(label) => value.clone_into(&mut label.value),
            None => labels.push(Label { name: name.parse()?, value: value.to_owned() }),
        }
        *self = Labels::new(labels)?;
        Ok(())
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Result<Labels, TypeError> {
        Labels::new(
            pairs
                .iter()
                .map(|(name, value)| Label { name: name.parse().unwrap(), value: (*value).to_owned() })
                .collect(),
        )
    }

    // APPC-015, APPC-016, APPC-103
    #[test]
    fn labels_are_unique_and_name_a_known_platform() {
        for good in [&[][..], &[("version", "")], &[("os", "linux"), ("arch", "amd64")], &[("arch", "any")]] {
            assert!(labels(good).is_ok(), "{good:?}");
        }
        for bad in [
            &[("name", "x")][..],
            &[("a", "1"), ("a", "2")],
            &[("os", "plan9")],
            &[("os", "")],
            &[("os", "linux"), ("arch", "sparc")],
        ] {
            assert!(labels(bad).is_err(), "{bad:?}");
        }
    }

    // APPC-371
    #[test]
    fn wanted_labels_are_a_subset() {
        let have = labels(&[("version", "1"), ("os", "linux")]).unwrap();
        assert!(have.contains(&labels(&[("version", "1")]).unwrap()));
        assert!(!have.contains(&labels(&[("version", "2")]).unwrap()));
        assert!(!have.contains(&labels(&[("channel", "beta")]).unwrap()));
    }
}
