//! Docker and OCI images for tests, blob by blob.

use std::{collections::BTreeMap, fs, io::Write, path::Path};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    archive::{Archive, Header},
    place::host_busybox,
};

/// A layer with busybox and what a root file system needs.
pub fn busybox_layer() -> Archive {
    let mut layer = Archive::new()
        .entry(Header::directory("bin"), "")
        .entry(Header::file("bin/busybox").mode(0o755), fs::read(host_busybox()).unwrap());
    for applet in ["sh", "cat", "ls", "id", "echo", "sleep", "stat", "touch"] {
        layer = layer.entry(Header::symlink(&format!("bin/{applet}"), "busybox"), "");
    }
    layer
        .entry(Header::directory("etc"), "")
        .entry(Header::file("etc/passwd"), "root:x:0:0::/:/bin/sh\nalice:x:1000:1001::/:/bin/sh\n")
        .entry(Header::file("etc/group"), "root:x:0:\nalice:x:1001:\n")
        .entry(Header::directory("tmp").mode(0o1777), "")
}

/// An image of layers.
#[derive(Debug, Clone)]
pub struct OciImage {
    /// Blobs by their digests.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The configuration's digest.
    pub config: String,
    /// The layers' digests.
    pub layers: Vec<String>,
}

/// The digest of bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// This machine's architecture in Docker's words.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Compresses a layer.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl OciImage {
    /// An image of these layers, whose app runs a shell script. `config` is added to the configuration's settings.
    pub fn new(layers: &[Archive], script: &str, config: &Value) -> OciImage {
        let layers: Vec<Vec<u8>> = layers.iter().map(|layer| layer.clone().finish()).collect();
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let mut settings = json!({"Entrypoint": ["/bin/sh", "-c"], "Cmd": [script]});
        for (name, value) in config.as_object().unwrap() {
            settings[name] = value.clone();
        }
        let config = json!({
            "architecture": architecture(), "os": "linux", "config": settings,
            "created": "2026-01-02T03:04:05Z", "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        OciImage::of_blobs(&layers.iter().map(|layer| gzip(layer)).collect::<Vec<_>>(), &config)
    }

    /// An image of these blobs, whatever they are.
    pub fn of_blobs(layers: &[Vec<u8>], config: &Value) -> OciImage {
        let mut blobs = BTreeMap::new();
        let mut add = |bytes: Vec<u8>, kind: &str| {
            let (name, size) = (digest(&bytes), bytes.len());
            blobs.insert(name.clone(), bytes);
            json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": name, "size": size})
        };
        let config = add(config.to_string().into_bytes(), "config.v1+json");
        let layers: Vec<Value> = layers.iter().map(|layer| add(layer.clone(), "layer.v1.tar+gzip")).collect();
        let name = |descriptor: &Value| descriptor["digest"].as_str().unwrap().to_owned();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": layers,
        });
        OciImage {
            config: name(&config),
            layers: layers.iter().map(name).collect(),
            manifest: manifest.to_string().into_bytes(),
            blobs,
        }
    }

    /// Writes a layout with this image, under these tags.
    pub fn lay_out(&self, directory: &Path, tags: &[&str]) {
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let manifest = (digest(&self.manifest), self.manifest.clone());
        for (name, bytes) in self.blobs.clone().into_iter().chain([manifest.clone()]) {
            fs::write(blobs.join(name.strip_prefix("sha256:").unwrap()), bytes).unwrap();
        }
        let index = directory.join("index.json");
        let mut entries = fs::read(&index).map_or_else(
            |_| Vec::new(),
            |text| serde_json::from_slice::<Value>(&text).unwrap()["manifests"].as_array().unwrap().clone(),
        );
        for tag in tags {
            entries.push(json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest.0,
                "size": self.manifest.len(), "annotations": {"org.opencontainers.image.ref.name": tag},
            }));
        }
        fs::write(index, json!({"schemaVersion": 2, "manifests": entries}).to_string()).unwrap();
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    }

    /// What `docker save` writes.
    pub fn save(&self, tags: &[&str], uncompressed: &[Archive]) -> Vec<u8> {
        let mut archive = Archive::new();
        let mut names = Vec::new();
        for layer in uncompressed {
            let bytes = layer.clone().finish();
            let name = format!("{}/layer.tar", &digest(&bytes)[7..]);
            archive = archive.entry(Header::file(&name), &bytes);
            names.push(name);
        }
        let config = format!("{}.json", &self.config[7..]);
        let manifest = json!([{"Config": config, "RepoTags": tags, "Layers": names}]).to_string();
        archive
            .entry(Header::file(&config), &self.blobs[&self.config])
            .entry(Header::file("manifest.json"), manifest)
            .finish()
    }
}
