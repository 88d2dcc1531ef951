//! What an image argument means.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use appc::types::ImageName;

use crate::oci::{Place, RegistryName};

/// A reference to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    /// The ID of an image of the store, or the beginning of one.
    Id(String),
    /// A file.
    File(PathBuf),
    /// The URL of an image.
    Url(String),
    /// A name, with labels.
    Name(ImageName),
    /// An image of Docker's or OCI's kind.
    Other(Place),
}

impl Reference {
    /// Reads an argument as rkt always did: by its scheme, else as a file where it looks like one, else as a name.
    ///
    /// # Errors
    /// Where it is none of these.
    pub(crate) fn read(text: &str) -> Result<Reference> {
        if text.strip_prefix("sha512-").is_some_and(|hex| !hex.is_empty() && !hex.contains('-')) {
            return Ok(Reference::Id(text.to_owned()));
        }
        if let Some(path) = text.strip_prefix("file://") {
            return Ok(Reference::File(path.into()));
        }
        for scheme in ["https://", "http://"] {
            if text.starts_with(scheme) {
                let path = text.split(['?', '#']).next().unwrap_or_default();
                if !path.ends_with(".aci") {
                    bail!("invalid image string {text:?}: the path of an image's URL ends with .aci");
                }
                return Ok(Reference::Url(text.to_owned()));
            }
        }
        if let Some(place) = place(text)? {
            return Ok(Reference::Other(place));
        }
        if is_path(Path::new(text)) {
            return Ok(Reference::File(text.into()));
        }
        match text.parse() {
            Ok(name) => Ok(Reference::Name(name)),
            Err(error) => bail!("invalid image string: {error}"),
        }
    }
}

/// What the schemes for Docker's and OCI's images mean.
fn place(text: &str) -> Result<Option<Place>> {
    for scheme in ["docker://", "oci://", "docker:"] {
        if let Some(name) = text.strip_prefix(scheme) {
            let name = RegistryName::read(name).with_context(|| format!("invalid image string {text:?}"))?;
            return Ok(Some(Place::Registry(name, text.to_owned())));
        }
    }
    type Make = fn(PathBuf, Option<String>) -> Place;
    let kinds: [(&str, Make); 3] = [
        ("oci:", Place::Layout),
        ("oci-archive:", Place::OciArchive),
        ("docker-archive:", Place::DockerArchive),
    ];
    for (scheme, make) in kinds {
        if let Some(rest) = text.strip_prefix(scheme) {
            if rest.is_empty() {
                bail!("invalid image string {text:?}: the path is missing");
            }
            // A path may have a colon; what exists counts.
            let (path, tag) = match rest.split_once(':') {
                Some((path, tag)) if !Path::new(rest).exists() => (path, Some(tag.to_owned())),
                _ => (rest, None),
            };
            return Ok(Some(make(path.into(), tag)));
        }
    }
    Ok(None)
}

/// Whether an argument without a scheme means a file: as rkt guesses it, the first that fits.
fn is_path(image: &Path) -> bool {
    let text = image.to_string_lossy();
    if image.is_absolute() || image.is_file() {
        return true;
    }
    !text.contains(':') && (text.contains("./") || text.ends_with(".aci"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_told_apart() {
        let kind = |text: &str| match Reference::read(text) {
            Ok(Reference::Id(_)) => "id",
            Ok(Reference::File(_)) => "file",
            Ok(Reference::Url(_)) => "url",
            Ok(Reference::Name(_)) => "name",
            Ok(Reference::Other(Place::Registry(..))) => "registry",
            Ok(Reference::Other(Place::Layout(..))) => "layout",
            Ok(Reference::Other(Place::OciArchive(..))) => "oci archive",
            Ok(Reference::Other(Place::DockerArchive(..))) => "docker archive",
            Err(_) => "nothing",
        };
        for (text, want) in [
            ("/a/b.aci", "file"),
            ("file:///a/b.aci", "file"),
            ("./b", "file"),
            ("b.aci", "file"),
            ("../b.aci", "file"),
            ("example.com/app", "name"),
            ("example.com/app:1.0", "name"),
            ("example.com/app:1.0,os=linux", "name"),
            ("my-app:v1", "name"),
            ("busybox", "name"),
            ("https://example.com/a.aci", "url"),
            ("http://example.com/a.aci?x=y", "url"),
            ("https://example.com/a", "nothing"),
            ("docker://busybox", "registry"),
            ("docker:busybox", "registry"),
            ("docker://Busybox", "nothing"),
            ("oci://localhost:5000/a:b", "registry"),
            ("oci:/a/b", "layout"),
            ("oci:/a/b:tag", "layout"),
            ("oci:", "nothing"),
            ("oci-archive:/a/b.tar:tag", "oci archive"),
            ("docker-archive:b.tar", "docker archive"),
            ("sha512-ab", "id"),
            ("sha512-", "nothing"),
            ("Example.com/a", "nothing"),
            ("a:b:c", "nothing"),
        ] {
            assert_eq!(kind(text), want, "{text}");
        }
    }
}
