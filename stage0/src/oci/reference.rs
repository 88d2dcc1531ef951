//! Names of images in registries, as Docker writes them: `[HOST[:PORT]/]NAME[:TAG|@DIGEST]`.

use std::fmt;

use anyhow::{Context, Result, bail};

use super::Digest;

/// The registry of names without one, and its other names.
pub(crate) const DEFAULT_REGISTRY: &str = "registry-1.docker.io";
const ALIASES: [&str; 2] = ["docker.io", "index.docker.io"];

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistryName {
    /// Host, with a port where one is given.
    pub(crate) registry: String,
    /// The repository in it.
    pub(crate) repository: String,
    /// Which of the repository's images.
    pub(crate) version: Version,
}

/// Which image of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Version {
    /// The one that has this tag now.
    Tag(String),
    /// This very one.
    Digest(Digest),
}

impl RegistryName {
    /// Reads a name.
    ///
    /// # Errors
    /// Where it has none of the forms.
    pub(crate) fn read(text: &str) -> Result<RegistryName> {
        let wrong = || format!("invalid image name {text:?} (must be [HOST[:PORT]/]NAME[:TAG|@DIGEST])");
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Digest>().with_context(wrong)?)),
            None => (text, None),
        };
        let (host, rest) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
            _ => (None, name),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        let registry = match host {
            None => DEFAULT_REGISTRY,
            Some(host) if ALIASES.contains(&host) => DEFAULT_REGISTRY,
            Some(host) => host,
        };
        if !is_host(registry) || !is_repository(repository) || tag.is_some_and(|tag| !is_tag(tag)) {
            bail!(wrong());
        }
        let short = registry == DEFAULT_REGISTRY && !repository.contains('/');
        Ok(RegistryName {
            registry: registry.to_owned(),
            repository: if short { format!("library/{repository}") } else { repository.to_owned() },
            version: match (digest, tag) {
                // What a digest says is exact; a tag beside it is for people.
                (Some(digest), _) => Version::Digest(digest),
                (None, tag) => Version::Tag(tag.unwrap_or("latest").to_owned()),
            },
        })
    }

    /// The part of a manifest's URL that says which.
    pub(crate) fn version(&self) -> String {
        match &self.version {
            Version::Tag(tag) => tag.clone(),
            Version::Digest(digest) => digest.to_string(),
        }
    }
}

/// The whole name, with all that may be left out.
impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if matches!(self.version, Version::Tag(_)) { ':' } else { '@' };
        write!(f, "{}/{}{separator}{}", self.registry, self.repository, self.version())
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let bracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_name = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        }),
    };
    is_name && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Parts of lower-case letters and digits with single dots, one or two underscores, or dashes between them.
fn is_repository(text: &str) -> bool {
    let is_part = |part: &str| {
        let words = part.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit()));
        let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let edges = part.bytes().next().zip(part.bytes().last());
        let clean = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        edges.is_some_and(|(first, last)| clean(first) && clean(last))
            && words.count() > 0
            && separators.filter(|between| !between.is_empty()).all(|between| {
                matches!(between, "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
            })
    };
    text.len() <= 255 && text.split('/').all(is_part)
}

/// Whether a text can be a tag.
pub(crate) fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_does() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, want) in [
            ("redis", "registry-1.docker.io/library/redis:latest"),
            ("redis:7", "registry-1.docker.io/library/redis:7"),
            ("grafana/grafana", "registry-1.docker.io/grafana/grafana:latest"),
            ("docker.io/library/redis", "registry-1.docker.io/library/redis:latest"),
            ("index.docker.io/redis", "registry-1.docker.io/library/redis:latest"),
            ("localhost/a", "localhost/a:latest"),
            ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
            ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
            ("quay.io/a/b-c/d__e.f", "quay.io/a/b-c/d__e.f:latest"),
            (&format!("a@{digest}"), &format!("registry-1.docker.io/library/a@{digest}")),
            (&format!("h.test/a:1@{digest}"), &format!("h.test/a@{digest}")),
        ] {
            let name = RegistryName::read(text).unwrap();
            assert_eq!(name.to_string(), want, "{text}");
            assert_eq!(RegistryName::read(want).unwrap(), name, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            ":tag",
            "Redis",
            "a/../b",
            "a//b",
            "/a",
            "a/",
            "a:",
            "a: b",
            "a@sha256:12",
            "h.test:port/a",
            "h..test/a",
            "h.test/",
            "user@h.test/a",
            "a.-b",
            "-a",
            "a:b:c",
            "a?b",
            &format!("a:{}", "x".repeat(129)),
            &"a".repeat(256),
        ] {
            assert!(RegistryName::read(text).is_err(), "{text}");
        }
    }
}
