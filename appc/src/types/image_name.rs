//! Image names as users write them: `NAME[:VERSION][,label=value…]`.

use std::{fmt, str::FromStr};

use super::{AcIdentifier, Label, Labels, Parameters, TypeError};

/// A name and the labels that select one of its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// The name.
    pub name: AcIdentifier,
    /// The labels asked for.
    pub labels: Labels,
}

impl FromStr for ImageName {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<ImageName, TypeError> {
        let (head, tail) = text.split_once(',').map_or((text, None), |(head, tail)| (head, Some(tail)));
        if text.matches(':').count() > head.matches(':').count() || head.matches(':').count() > 1 {
            return Err(TypeError::new(
                text,
                "a colon may stand only once, between the name and its version",
            ));
        }
        let (name, version) =
            head.split_once(':').map_or((head, None), |(name, version)| (name, Some(version)));
        let mut labels = Vec::new();
        if let Some(version) = version {
            labels.push(Label { name: "version".parse()?, value: version.to_owned() });
        }
        if let Some(tail) = tail {
            // The first place is the name's, which is read already.
            let rest = format!("-,{tail}");
            let parameters = Parameters::parse(&rest)?;
            for (key, value) in &parameters.pairs()[1..] {
                labels.push(Label { name: key.parse()?, value: (*value).to_owned() });
            }
        }
        Ok(ImageName { name: name.parse()?, labels: Labels::new(labels)? })
    }
}

impl fmt::Display for ImageName {
    /// Prints every label by its name, the version among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        self.labels.iter().try_for_each(|label| write!(f, ",{}={}", label.name, label.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-200
    #[test]
    fn names_carry_a_version_and_labels() {
        for (text, want) in [
            ("example.com/app", "example.com/app"),
            ("example.com/app:1.0", "example.com/app,version=1.0"),
            ("example.com/app:1.0,os=linux,arch=amd64", "example.com/app,version=1.0,os=linux,arch=amd64"),
            ("app,version=2", "app,version=2"),
            ("app,a=b=c", "app,a=b=c"),
        ] {
            let name: ImageName = text.parse().unwrap();
            assert_eq!(name.to_string(), want);
            assert_eq!(name.to_string().parse::<ImageName>().unwrap(), name);
        }
    }

    // APPC-015, APPC-197, APPC-200, APPC-355
    #[test]
    fn malformed_names_are_refused() {
        for text in [
            "",
            ":1",
            "a:b:c",
            "a,b",
            "a:1,version=2",
            "a,os=linux:x",
            "A",
            "a,name=b",
            "a,os=plan9",
            "a,b=1,b=2",
        ] {
            assert!(text.parse::<ImageName>().is_err(), "{text:?}");
        }
    }
}
