//! Annotations: extra metadata, some of whose names have rules.

use super::{AcIdentifier, TypeError, check_timestamp, check_url};

/// One annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// The name.
    pub name: AcIdentifier,
    /// The value.
    pub value: String,
}

/// Annotations in the order in which they were given, each name once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations(Vec<Annotation>);

impl Annotations {
    /// Checks and takes annotations.
    ///
    /// # Errors
    /// Where a name occurs twice, `created` is no timestamp, or `homepage` or `documentation` is no http(s) URL.
    pub fn new(annotations: Vec<Annotation>) -> Result<Annotations, TypeError> {
        for (index, annotation) in annotations.iter().enumerate() {
            if annotations[..index].iter().any(|earlier| earlier.name == annotation.name) {
                return Err(TypeError::new(annotation.name.as_str(), "duplicate annotation"));
            }
            check(annotation.name.as_str(), &annotation.value)?;
        }
        Ok(Annotations(annotations))
    }

    /// The value of the annotation called `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|annotation| annotation.name.as_str() == name)
            .map(|annotation| annotation.value.as_str())
    }

    /// Sets an annotation, in place where it exists.
    ///
    /// # Errors
    /// As [`Annotations::new`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), TypeError> {
        check(name, value)?;
        match self.0.iter_mut().find(|annotation| annotation.name.as_str().eq_ignore_ascii_case(name)) {
            Some(annotation) => value.clone_into(&mut annotation.value),
            None => self.0.push(Annotation { name: name.parse()?, value: value.to_owned() }),
        }
        Ok(())
    }

    /// The annotations, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Annotation> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Annotations {
    type Item = &'a Annotation;
    type IntoIter = std::slice::Iter<'a, Annotation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn check(name: &str, value: &str) -> Result<(), TypeError> {
    match name {
        "created" => check_timestamp(value),
        "homepage" | "documentation" => check_url(value),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-013, APPC-014
    #[test]
    fn annotations_with_rules_are_checked() {
        let one = |name: &str, value: &str| {
            Annotations::new(vec![Annotation { name: name.parse().unwrap(), value: value.to_owned() }])
        };
        assert!(one("created", "2024-01-02T03:04:05Z").is_ok());
        assert!(one("created", "yesterday").is_err());
        assert!(one("homepage", "https://example.com").is_ok());
        assert!(one("documentation", "ftp://example.com").is_err());
        assert!(one("authors", "").is_ok());
    }

    #[test]
    fn setting_replaces_in_place() {
        let mut annotations = Annotations::default();
        annotations.set("a", "1").unwrap();
        annotations.set("b", "2").unwrap();
        annotations.set("a", "3").unwrap();
        assert_eq!(annotations.get("a"), Some("3"));
        assert_eq!(annotations.iter().next().unwrap().name.as_str(), "a");
    }
}
