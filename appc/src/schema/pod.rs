//! The pod manifest.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde_json::Value;

use super::{
    App, Kind, Port, Volume,
    common::{
        check_kind, check_unique, list_or_null, read_annotations, read_isolators, read_labels, read_version,
        write_annotations, write_labels, write_map,
    },
};
use crate::{
    isolator::Isolator,
    json::{Node, Object, SchemaError, document, to_bytes, to_pretty},
    types::{AcIdentifier, AcName, Annotations, ImageId, Labels, SemVer},
};

/// What a pod is made of (spec, pod manifest).
#[derive(Debug, Clone, PartialEq)]
pub struct PodManifest {
    /// The version of the specification it was written for.
    pub ac_version: SemVer,
    /// The apps, in order.
    pub apps: Vec<RuntimeApp>,
    /// What they share.
    pub volumes: Vec<Volume>,
    /// Limits of the whole pod.
    pub isolators: Vec<Isolator>,
    /// Further metadata.
    pub annotations: Annotations,
    /// Ports that the host forwards.
    pub ports: Vec<ExposedPort>,
    /// For users; no effect on execution.
    pub user_annotations: BTreeMap<String, String>,
    /// For users; no effect on execution.
    pub user_labels: BTreeMap<String, String>,
}

/// An app of a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeApp {
    /// Its name in the pod.
    pub name: AcName,
    /// Its image.
    pub image: RuntimeImage,
    /// What it executes; replaces the image's own section as a whole.
    pub app: Option<App>,
    /// Whether its root is read-only.
    pub read_only_root_fs: bool,
    /// Where volumes are in it.
    pub mounts: Vec<Mount>,
    /// Metadata, which wins over the image's.
    pub annotations: Annotations,
}

/// The image of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeImage {
    /// Its name, for people.
    pub name: Option<AcIdentifier>,
    /// Its ID; absent in a template, which cannot be executed.
    pub id: Option<ImageId>,
    /// Its labels, for people.
    pub labels: Labels,
}

/// A volume's place in an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The volume's name.
    pub volume: AcName,
    /// Absolute path in the app.
    pub path: String,
    /// A volume of this app alone, which wins over the name.
    pub app_volume: Option<Volume>,
}

/// A port that the host forwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposedPort {
    /// Name of an app's port.
    pub name: AcName,
    /// The host's port, 1 to 65535.
    pub host_port: u16,
    /// The host's address; all where absent.
    pub host_ip: Option<Ipv4Addr>,
    /// The port in the pod, which wins over the name.
    pub pod_port: Option<Port>,
}

impl PodManifest {
    /// Reads a manifest, or a template of one.
    ///
    /// # Errors
    /// Names the first member that breaks a rule.
    pub fn from_slice(bytes: &[u8]) -> Result<PodManifest, SchemaError> {
        let value = document(bytes)?;
        let node = Node::root(&value);
        if node.object()?.is_none() {
            return Err(node.error("must be an object"));
        }
        check_kind(&node, Kind::Pod)?;
        let apps = node.member("apps", |n| {
            let apps = n.list(|app| RuntimeApp::read(&app))?;
            check_unique(apps.iter().map(|app| &app.name), "app name").map_err(|rule| n.error(rule))?;
            Ok(apps)
        })?;
        let volumes = node.member("volumes", |n| {
            let volumes = n.list(|volume| Volume::read(&volume))?;
            check_unique(volumes.iter().map(|volume| &volume.name), "volume name")
                .map_err(|rule| n.error(rule))?;
            Ok(volumes)
        })?;
        Ok(PodManifest {
            ac_version: read_version(&node)?,
            apps,
            volumes,
            isolators: read_isolators(&node)?,
            annotations: read_annotations(&node)?,
            ports: node.member("ports", |n| n.list(|port| ExposedPort::read(&port)))?,
            user_annotations: node.member("userAnnotations", |n| n.string_map())?,
            user_labels: node.member("userLabels", |n| n.string_map())?,
        })
    }

    fn value(&self) -> Value {
        let list = |values: Vec<Value>| list_or_null(values);
        Object::default()
            .set("acVersion", self.ac_version.to_string())
            .set("acKind", Kind::Pod.as_str())
            .set("apps", list(self.apps.iter().map(RuntimeApp::write).collect()))
            .set("volumes", list(self.volumes.iter().map(Volume::write).collect()))
            .set("isolators", list(self.isolators.iter().map(Isolator::write).collect()))
            .set("annotations", list(write_annotations(&self.annotations)))
            .set("ports", list(self.ports.iter().map(ExposedPort::write).collect()))
            .set_some("userAnnotations", write_map(&self.user_annotations))
            .set_some("userLabels", write_map(&self.user_labels))
            .into()
    }

    /// Writes the manifest in one line.
    ///
    /// # Errors
    /// What reading it back would say.
    pub fn to_vec(&self) -> Result<Vec<u8>, SchemaError> {
        let bytes = to_bytes(&self.value());
        PodManifest::from_slice(&bytes).map(|_| bytes)
    }

    /// Writes the manifest for people, each level indented by `indent`.
    ///
    /// # Errors
    /// As [`PodManifest::to_vec`].
    pub fn to_vec_pretty(&self, indent: &str) -> Result<Vec<u8>, SchemaError> {
        self.to_vec().map(|_| to_pretty(&self.value(), indent))
    }
}

impl RuntimeApp {
    fn read(node: &Node<'_>) -> Result<RuntimeApp, SchemaError> {
        Ok(RuntimeApp {
            name: node.member("name", |n| n.parse())?,
            image: node.member("image", |n| {
                Ok(RuntimeImage {
                    name: n.member("name", |n| n.parse_optional())?,
                    id: n.member("id", |n| n.parse_optional())?,
                    labels: read_labels(&n)?,
                })
            })?,
            app: node.member("app", |n| if n.is_present() { App::read(&n).map(Some) } else { Ok(None) })?,
            read_only_root_fs: node.member("readOnlyRootFS", |n| n.boolean())?.unwrap_or(false),
            mounts: node.member("mounts", |n| n.list(|mount| Mount::read(&mount)))?,
            annotations: read_annotations(node)?,
        })
    }

    fn write(&self) -> Value {
        let image = Object::default()
            .set_option("name", self.image.name.as_ref().map(AcIdentifier::as_str))
            .set_option("id", self.image.id.as_ref().map(ImageId::as_str))
            .set_some("labels", write_labels(&self.image.labels));
        Object::default()
            .set("name", self.name.as_str())
            .set("image", image)
            .set_option("app", self.app.as_ref().map(App::write))
            .set_some("readOnlyRootFS", self.read_only_root_fs)
            .set_some("mounts", self.mounts.iter().map(Mount::write).collect::<Vec<Value>>())
            .set_some("annotations", write_annotations(&self.annotations))
            .into()
    }
}

impl Mount {
    fn read(node: &Node<'_>) -> Result<Mount, SchemaError> {
        Ok(Mount {
            volume: node.member("volume", |n| n.parse())?,
            path: node.member("path", |n| match n.required()? {
                path if path.starts_with('/') => Ok(path.to_owned()),
                _ => Err(n.error("must be an absolute path")),
            })?,
            app_volume: node.member("appVolume", |n| {
                if n.is_present() { Volume::read(&n).map(Some) } else { Ok(None) }
            })?,
        })
    }

    fn write(&self) -> Value {
        Object::default()
            .set("volume", self.volume.as_str())
            .set("path", self.path.as_str())
            .set_option("appVolume", self.app_volume.as_ref().map(Volume::write))
            .into()
    }
}

impl ExposedPort {
    fn read(node: &Node<'_>) -> Result<ExposedPort, SchemaError> {
        Ok(ExposedPort {
            name: node.member("name", |n| n.parse())?,
            host_port: node.member("hostPort", |n| {
                let port = n.integer_in(1, 65535)?.and_then(|port| u16::try_from(port).ok());
                port.ok_or_else(|| n.error("must be set (1 to 65535)"))
            })?,
            host_ip: node.member("hostIP", |n| match n.string()? {
                "" => Ok(None),
                text => text.parse().map(Some).map_err(|_| n.error("must be an IPv4 address")),
            })?,
            pod_port: node
                .member("podPort", |n| if n.is_present() { Port::read(&n).map(Some) } else { Ok(None) })?,
        })
    }

    fn write(&self) -> Value {
        Object::default()
            .set("name", self.name.as_str())
            .set("hostPort", self.host_port)
            .set_option("hostIP", self.host_ip.map(|ip| ip.to_string()))
            .set_option("podPort", self.pod_port.as_ref().map(Port::write))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-036
    #[test]
    fn a_manifest_survives_reading_and_writing() {
        let empty = r#"{"acVersion":"0.8.11","acKind":"PodManifest","apps":null,"volumes":null,"isolators":null,"annotations":null,"ports":null}"#;
        let full = r#"{"acVersion":"0.8.11","acKind":"PodManifest","apps":[{"name":"web","image":{"name":"example.com/web","id":"sha512-ab","labels":[{"name":"version","value":"1"}]},"app":{"exec":[],"user":"0","group":"0"},"readOnlyRootFS":true,"mounts":[{"volume":"d","path":"/d","appVolume":{"name":"d","kind":"host","source":"/s","readOnly":false,"recursive":true}}],"annotations":[{"name":"a","value":"b"}]}],"volumes":[{"name":"d","kind":"empty","readOnly":true,"mode":"0755","uid":0,"gid":0}],"isolators":[{"name":"os/unix/sysctl","value":{"a":"b"}}],"annotations":[{"name":"a","value":"b"}],"ports":[{"name":"http","hostPort":8080,"hostIP":"127.0.0.1","podPort":{"name":"http","protocol":"tcp","port":80,"count":1,"socketActivated":false}}],"userAnnotations":{"x":"y"}}"#;
        for text in [empty, full] {
            let manifest = PodManifest::from_slice(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(manifest.to_vec().unwrap()).unwrap(), text);
        }
    }

    // APPC-173, APPC-182, APPC-192
    #[test]
    fn rules_are_checked_with_their_place() {
        let pod = |members: &str| format!(r#"{{"acVersion":"0.8.11","acKind":"PodManifest",{members}}}"#);
        for (members, want) in [
            (r#""apps":[{"name":"a","image":{}},{"name":"a","image":{}}]"#, "apps: duplicate app name"),
            (r#""apps":[{"image":{}}]"#, "apps[0].name: must be set"),
            (r#""apps":[{"name":"a","image":{"id":"sha256-1"}}]"#, "apps[0].image.id:"),
            (r#""apps":[{"name":"a","image":{},"app":{"group":"0"}}]"#, "apps[0].app.user: must be set"),
            (
                r#""apps":[{"name":"a","image":{},"mounts":[{"volume":"v","path":"x"}]}]"#,
                "apps[0].mounts[0].path:",
            ),
            (r#""volumes":[{"name":"v","kind":"empty"},{"name":"v","kind":"empty"}]"#, "volumes: duplicate"),
            (r#""volumes":[{"name":"v","kind":"host"}]"#, "volumes[0]: source must be set"),
            (r#""ports":[{"name":"p","hostPort":0}]"#, "ports[0].hostPort:"),
            (r#""ports":[{"name":"p","hostPort":1,"hostIP":"::1"}]"#, "ports[0].hostIP:"),
            (r#""apps":7"#, "apps: must be a list, is a number"),
        ] {
            let error = PodManifest::from_slice(pod(members).as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(want), "{members}: {error}");
        }
    }
}
