//! What an image's configuration says, as an image manifest of ours.

use anyhow::{Context, Result};
use appc::{
    schema::{App, ImageManifest, MountPoint, Port},
    types::{AcIdentifier, AcName, Annotations, Labels, from_go},
};
use oci_spec::image::{Config, ImageConfiguration};

use super::{Digest, RegistryName, reference::Version};

/// What an image is called, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// The host, and its port.
    pub(super) registry: String,
    /// The repository.
    pub(super) repository: String,
    /// The tag.
    pub(super) tag: Option<String>,
    /// The name as the user wrote it, or as the archive has it.
    pub(super) original: String,
}

impl Origin {
    /// That of an image in a registry.
    pub(super) fn of(name: &RegistryName, original: &str) -> Origin {
        Origin {
            registry: name.registry.clone(),
            repository: name.repository.clone(),
            tag: match &name.version {
                Version::Tag(tag) => Some(tag.clone()),
                Version::Digest(_) => None,
            },
            original: original.to_owned(),
        }
    }

    /// The image's name.
    fn name(&self) -> Result<AcIdentifier> {
        let separator = if self.registry.is_empty() { "" } else { "/" };
        Ok(AcIdentifier::sanitize(&format!("{}{separator}{}", self.registry, self.repository))?)
    }
}

/// The manifest of an image with this configuration.
pub(super) fn manifest(
    origin: &Origin,
    config: &ImageConfiguration,
    config_digest: &Digest,
    manifest_digest: Option<&Digest>,
) -> Result<ImageManifest> {
    let (os, arch) = (config.os().to_string(), config.architecture().to_string());
    let variant = config.variant().clone().unwrap_or_default();
    let platform = from_go(&os, &arch, variant.trim_start_matches('v')).or_else(|| from_go(&os, &arch, ""));
    let (os, arch) = platform.with_context(|| format!("its platform {os}/{arch} has no name in appc"))?;
    let mut labels = Labels::default();
    if let Some(tag) = &origin.tag {
        labels.set("version", tag)?;
    }
    labels.set("os", os)?;
    labels.set("arch", arch)?;
    let none = Config::default();
    let settings = config.config().as_ref().unwrap_or(&none);
    Ok(ImageManifest {
        ac_version: appc::SPEC_VERSION.parse()?,
        name: origin.name()?,
        labels,
        app: app(settings)?,
        annotations: annotations(origin, config, config_digest, manifest_digest)?,
        dependencies: Vec::new(),
        path_whitelist: Vec::new(),
    })
}

fn app(config: &Config) -> Result<Option<App>> {
    let exec: Vec<String> =
        [config.entrypoint(), config.cmd()].into_iter().flatten().flatten().cloned().collect();
    if exec.is_empty() {
        return Ok(None);
    }
    let (user, group) = user(config.user().as_deref().unwrap_or_default());
    let mut app = App {
        exec,
        user,
        group,
        working_directory: config.working_dir().clone().filter(|directory| !directory.is_empty()),
        mount_points: mount_points(config.volumes().as_deref().unwrap_or_default())?,
        ports: config
            .exposed_ports()
            .iter()
            .flatten()
            .map(|port| self::port(port))
            .collect::<Result<Vec<Port>>>()?,
        user_labels: config.labels().clone().unwrap_or_default().into_iter().collect(),
        ..App::default()
    };
    if let Some(directory) = &app.working_directory
        && !directory.starts_with('/')
    {
        app.working_directory = Some(format!("/{directory}"));
    }
    for variable in config.env().iter().flatten() {
        // Docker drops what is no variable; a name that ours cannot have is left out, too.
        if let Some((name, value)) = variable.split_once('=')
            && app.set_variable(name, value).is_err()
        {
            crate::output::note("image", &format!("leaving out the variable {name:?} of the image"));
        }
    }
    app.ports.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    Ok(Some(app))
}

/// `USER[:GROUP]`. A group that is not given is looked for by the user's name when the app starts.
fn user(text: &str) -> (String, String) {
    match text.split_once(':') {
        Some((user, group)) => (or_root(user), or_root(group)),
        None => (or_root(text), or_root(text)),
    }
}

fn or_root(text: &str) -> String {
    if text.is_empty() { "0".to_owned() } else { text.to_owned() }
}

fn mount_points(volumes: &[String]) -> Result<Vec<MountPoint>> {
    let mut volumes = volumes.to_vec();
    volumes.sort();
    let mut points: Vec<MountPoint> = Vec::new();
    for path in &volumes {
        let name = AcName::sanitize(&format!("volume/{}", path.trim_start_matches('/')))?;
        let taken = |name: &AcName| points.iter().any(|point| point.name == *name);
        let mut unique = name.clone();
        let mut number = 1;
        while taken(&unique) {
            unique = format!("{name}-{number}").parse()?;
            number += 1;
        }
        let path = if path.starts_with('/') { path.clone() } else { format!("/{path}") };
        points.push(MountPoint { name: unique, path, read_only: false });
    }
    Ok(points)
}

/// `80`, `80/tcp`.
fn port(text: &str) -> Result<Port> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    // A range is its first port and how many follow.
    let (first, last) = number.split_once('-').unwrap_or((number, number));
    let parse = |text: &str| text.parse::<u16>().with_context(|| format!("{text:?} is no port"));
    let (first, last) = (parse(first)?, parse(last)?);
    Ok(Port {
        name: format!("{number}-{}", protocol.to_lowercase()).parse()?,
        protocol: protocol.to_lowercase(),
        port: first,
        count: last.checked_sub(first).map_or(1, |more| more.saturating_add(1)),
        socket_activated: false,
    })
}

fn annotations(
    origin: &Origin,
    config: &ImageConfiguration,
    config_digest: &Digest,
    manifest_digest: Option<&Digest>,
) -> Result<Annotations> {
    let mut annotations = Annotations::default();
    let settings = config.config().as_ref();
    let list = |words: Option<&Vec<String>>| {
        words.filter(|words| !words.is_empty()).map(|words| serde_json::json!(words).to_string())
    };
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let pairs = [
        ("authors", text(config.author())),
        ("created", text(config.created()).filter(|time| is_time(time))),
        ("appc.io/docker/originalname", Some(origin.original.clone())),
        ("appc.io/docker/registryurl", Some(origin.registry.clone())),
        ("appc.io/docker/repository", Some(origin.repository.clone())),
        ("appc.io/docker/tag", origin.tag.clone()),
        ("appc.io/docker/imageid", Some(config_digest.to_string())),
        ("appc.io/docker/manifesthash", manifest_digest.map(ToString::to_string)),
        ("appc.io/docker/entrypoint", list(settings.and_then(|config| config.entrypoint().as_ref()))),
        ("appc.io/docker/cmd", list(settings.and_then(|config| config.cmd().as_ref()))),
        ("appc.io/docker/stopsignal", settings.and_then(|config| text(config.stop_signal()))),
    ];
    for (name, value) in pairs {
        if let Some(value) = value {
            annotations.set(name, &value)?;
        }
    }
    // Whoever builds images says more about them in labels; those of the specification are what our annotations are.
    let labels = settings.and_then(|config| config.labels().as_ref());
    for (label, name) in [
        ("org.opencontainers.image.url", "homepage"),
        ("org.opencontainers.image.documentation", "documentation"),
    ] {
        if let Some(url) = labels.and_then(|labels| labels.get(label))
            && annotations.set(name, url).is_err()
        {
            crate::output::note("image", &format!("leaving out the image's {label}, which is no URL"));
        }
    }
    Ok(annotations)
}

fn is_time(text: &str) -> bool {
    Annotations::default().set("created", text).is_ok()
}
