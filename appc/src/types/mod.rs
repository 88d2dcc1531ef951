//! The specification's types: each with its grammar, its limits, a parser (`FromStr`) and a printer (`Display`).

mod annotations;
mod comma;
mod image_id;
mod image_name;
mod labels;
mod names;
mod os_arch;
mod quantity;
mod timestamp;
mod url;
mod uuid;
mod version;

pub use annotations::{Annotation, Annotations};
pub(crate) use comma::Parameters;
pub use image_id::ImageId;
pub use image_name::ImageName;
pub use labels::{Label, Labels};
pub use names::{AcIdentifier, AcName};
pub use os_arch::{check_os_arch, from_go, host_os_arch, to_go};
pub use quantity::Quantity;
pub use timestamp::check_timestamp;
pub use url::check_url;
pub use uuid::Uuid;
pub use version::SemVer;

/// A value that breaks a type's rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?}: {rule}")]
pub struct TypeError {
    /// The value, as it was given.
    pub value: String,
    /// The rule that it breaks.
    pub rule: String,
}

impl TypeError {
    pub(crate) fn new(value: impl Into<String>, rule: impl Into<String>) -> TypeError {
        TypeError { value: value.into(), rule: rule.into() }
    }
}
