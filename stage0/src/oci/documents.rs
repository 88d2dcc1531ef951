//! Indexes, manifests and configurations: what of them an image consists of.

use anyhow::{Context, Result, bail};
use appc::types::{host_os_arch, to_go};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use serde::Deserialize;
use serde_json::Value;

use super::Digest;

/// Largest document, in bytes.
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;

/// Indexes that may be inside each other.
pub(crate) const MAX_DEPTH: usize = 4;

/// Media types of documents that are asked for.
pub(crate) const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// A part of an image, by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    /// What it hashes to.
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
    /// What it is said to be.
    pub(crate) media_type: String,
}

impl Blob {
    /// Reads a descriptor.
    pub(crate) fn new(descriptor: &Descriptor) -> Result<Blob> {
        Ok(Blob {
            digest: descriptor.digest().to_string().parse()?,
            size: descriptor.size(),
            media_type: descriptor.media_type().to_string(),
        })
    }
}

/// A document that leads to an image.
#[derive(Debug)]
pub(crate) enum Document {
    /// The same image for several platforms, or several images.
    Index(Box<ImageIndex>),
    /// One image: its configuration and its layers, the lowest first.
    Image { config: Blob, layers: Vec<Blob> },
}

impl Document {
    /// Reads a document, whatever its media type is said to be.
    pub(crate) fn read(bytes: &[u8]) -> Result<Document> {
        let value: Value = serde_json::from_slice(bytes).context("it is no JSON")?;
        if value.get("schemaVersion").and_then(Value::as_u64) == Some(1) {
            bail!(
                "it is of Docker's schema 1, which is not supported; push the image again with a newer tool"
            );
        }
        if value.get("manifests").is_some() {
            let index = ImageIndex::deserialize(value).context("it is no image index")?;
            return Ok(Document::Index(Box::new(index)));
        }
        let manifest = ImageManifest::deserialize(value).context("it is no image manifest")?;
        let config = Blob::new(manifest.config())?;
        let known =
            ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
        if !known.contains(&config.media_type.as_str()) {
            bail!("it is no image, but an artifact of type {:?}", config.media_type);
        }
        let layers = manifest.layers().iter().map(Blob::new).collect::<Result<Vec<Blob>>>()?;
        for layer in &layers {
            let kind = &layer.media_type;
            if kind.contains("encrypted") {
                bail!("its layer {} is encrypted, which is not supported", layer.digest);
            }
            if !kind.contains("tar") {
                bail!("its layer {} is of type {kind:?}, which is no layer of an image", layer.digest);
            }
        }
        Ok(Document::Image { config, layers })
    }
}

/// The entry of an index for this machine.
pub(crate) fn choose<'a>(entries: impl Iterator<Item = &'a Descriptor>) -> Result<&'a Descriptor> {
    let (os, arch) = host_os_arch();
    let (os, arch, variant) = to_go(os, arch).context("this machine has no name in Docker's words")?;
    let mut offered = Vec::new();
    let mut best: Option<(u8, &Descriptor)> = None;
    for entry in entries {
        let rank = match entry.platform() {
            // Not said: it has to be tried.
            None => 1,
            Some(platform) => {
                let (its_os, its_arch) = (platform.os().to_string(), platform.architecture().to_string());
                let its_variant = platform.variant().clone().unwrap_or_default();
                let rank = match (its_os == os, its_arch.as_str()) {
                    (true, name) if name == arch && fits(arch, variant, &its_variant) => {
                        if its_variant == variant { 5 } else { 4 }
                    }
                    (true, "386") if arch == "amd64" => 2,
                    _ => 0,
                };
                let slash = if its_variant.is_empty() { "" } else { "/" };
                offered.push(format!("{its_os}/{its_arch}{slash}{its_variant}"));
                rank
            }
        };
        if rank > best.map_or(0, |(best, _)| best) {
            best = Some((rank, entry));
        }
    }
    offered.retain(|platform| platform != "unknown/unknown");
    match best {
        Some((_, entry)) => Ok(entry),
        None => bail!("there is none for this machine ({os}/{arch}), only for: {}", offered.join(", ")),
    }
}

/// Whether a variant runs here. Later ones of ARM run what was made for earlier ones.
fn fits(arch: &str, own: &str, its: &str) -> bool {
    match arch {
        "arm" => its.is_empty() || its.trim_start_matches('v') <= own.trim_start_matches('v'),
        "amd64" => matches!(its, "" | "v1"),
        _ => true,
    }
}

/// A configuration, with its layers counted.
pub(crate) fn configuration(bytes: &[u8], layers: usize) -> Result<(ImageConfiguration, Vec<String>)> {
    let value: Value = serde_json::from_slice(bytes).context("its configuration is no JSON")?;
    let config = ImageConfiguration::deserialize(value).context("its configuration")?;
    let diff_ids = config.rootfs().diff_ids();
    if diff_ids.len() != layers {
        bail!("it has {layers} layers, but its configuration names {}", diff_ids.len());
    }
    let mut hexes = Vec::new();
    for id in diff_ids {
        let digest: Digest = id.parse().context("its configuration")?;
        if digest.algorithm() != "sha256" {
            bail!(
                "its configuration names a layer by {}, where only sha256 is supported",
                digest.algorithm()
            );
        }
        hexes.push(digest.hex().to_owned());
    }
    Ok((config, hexes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(arch: &str, os: &str) -> Value {
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2, "digest":
            format!("sha256:{}", "0".repeat(64)), "platform": {"architecture": arch, "os": os}})
    }

    fn chosen(entries: &[Value]) -> Result<String> {
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        let Document::Index(index) = Document::read(index.as_bytes())? else { bail!("no index") };
        let entry = choose(index.manifests().iter())?;
        Ok(entry.platform().as_ref().map_or_else(String::new, |platform| platform.architecture().to_string()))
    }

    #[test]
    fn the_entry_for_this_machine_is_chosen() {
        let (_, arch, _) = to_go(host_os_arch().0, host_os_arch().1).unwrap();
        let others = [entry("s390x", "linux"), entry(arch, "windows"), entry("unknown", "unknown")];
        let error = chosen(&others).unwrap_err().to_string();
        assert!(error.ends_with(&format!("only for: linux/s390x, windows/{arch}")), "{error}");
        let mut all = others.to_vec();
        all.push(entry(arch, "linux"));
        assert_eq!(chosen(&all).unwrap(), arch);
        let mut unsaid = entry(arch, "linux");
        unsaid.as_object_mut().unwrap().remove("platform");
        assert_eq!(chosen(&[others[0].clone(), unsaid]).unwrap(), "");
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let blob = |kind: &str| json!({"mediaType": kind, "size": 2, "digest": format!("sha256:{}", "0".repeat(64))});
        let config = "application/vnd.oci.image.config.v1+json";
        let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
        let manifest = |config: &str, layer: &str| json!({"schemaVersion": 2, "config": blob(config), "layers": [blob(layer)]});
        assert!(Document::read(manifest(config, tar).to_string().as_bytes()).is_ok());
        for (text, reason) in [
            (manifest("application/vnd.cncf.helm.config.v1+json", tar).to_string(), "artifact"),
            (
                manifest(config, "application/vnd.oci.image.layer.v1.tar+gzip+encrypted").to_string(),
                "encrypted",
            ),
            (manifest(config, "text/plain").to_string(), "no layer"),
            (json!({"schemaVersion": 1, "fsLayers": []}).to_string(), "schema 1"),
            ("<html>".to_owned(), "no JSON"),
            ("{}".to_owned(), "no image manifest"),
            (r#"{"manifests": 7}"#.to_owned(), "no image index"),
        ] {
            let error = format!("{:#}", Document::read(text.as_bytes()).unwrap_err());
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
