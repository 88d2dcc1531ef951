//! Values of every type.

use std::path::Path;

use appc::{
    isolator::Isolator,
    schema::{
        App, Dependency, EnvironmentVariable, EventHandler, ExposedPort, HandlerName, ImageManifest, Mount,
        MountPoint, PodManifest, Port, RuntimeApp, RuntimeImage, Volume, VolumeKind,
    },
    types::{AcIdentifier, AcName, Annotation, Annotations, ImageId, Label, Labels, SemVer},
};
use proptest::{collection, option, prelude::*};
use serde_json::{Value, json};

/// Texts that the grammar of a type describes, as values of it.
fn read<T>(pattern: &'static str) -> impl Strategy<Value = T>
where
    T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug,
{
    pattern.prop_map(|text| text.parse::<T>().unwrap())
}

pub(crate) fn name() -> impl Strategy<Value = AcName> {
    read("[a-z0-9]{1,4}(-[a-z0-9]{1,4}){0,2}")
}

pub(crate) fn identifier() -> impl Strategy<Value = AcIdentifier> {
    read("[a-z0-9]{1,4}([-._~/][a-z0-9]{1,4}){0,3}")
}

pub(crate) fn image_id() -> impl Strategy<Value = ImageId> {
    read("sha512-[0-9a-f]{2,128}")
}

pub(crate) fn version() -> impl Strategy<Value = SemVer> {
    let suffix =
        || option::of("[0-9A-Za-z]{1,4}(\\.[0-9A-Za-z]{1,4}){0,2}").prop_map(Option::unwrap_or_default);
    (1..=u64::MAX, any::<u64>(), any::<u64>(), suffix(), suffix()).prop_map(
        |(major, minor, patch, pre_release, metadata)| SemVer { major, minor, patch, pre_release, metadata },
    )
}

/// Any text, often an unpleasant one.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ -~]{0,12}", Just("\u{2028}<&>\"\\\n\u{7f}".to_owned())]
}

/// Text that a list separated by commas can hold.
fn value_text() -> impl Strategy<Value = String> {
    "[^,:\\x00]{1,10}"
}

fn absolute_path() -> impl Strategy<Value = String> {
    "/[^,\\x00]{0,12}"
}

/// Labels, with known platforms.
pub(crate) fn labels(value: impl Strategy<Value = String>) -> impl Strategy<Value = Labels> {
    let platform = prop_oneof![
        Just(vec![]),
        Just(vec![("os", "linux")]),
        Just(vec![("os", "linux"), ("arch", "amd64")]),
        Just(vec![("os", "freebsd"), ("arch", "arm")]),
        Just(vec![("arch", "whatever")]),
    ];
    let others = collection::btree_map(identifier(), value, 0..4);
    (platform, others).prop_map(|(platform, others)| {
        let mut labels: Vec<Label> = platform
            .into_iter()
            .map(|(name, value)| Label { name: name.parse().unwrap(), value: value.to_owned() })
            .collect();
        labels.extend(
            others
                .into_iter()
                .filter(|(name, _)| !["name", "os", "arch"].contains(&name.as_str()))
                .map(|(name, value)| Label { name, value }),
        );
        Labels::new(labels).unwrap()
    })
}

pub(crate) fn image_name() -> impl Strategy<Value = appc::types::ImageName> {
    (identifier(), labels(value_text())).prop_map(|(name, labels)| appc::types::ImageName { name, labels })
}

fn annotations() -> impl Strategy<Value = Annotations> {
    let known = prop_oneof![
        Just(vec![]),
        Just(vec![("created", "2024-02-29T23:59:59.123456+01:00"), ("homepage", "https://example.com/")]),
    ];
    (known, collection::btree_map(identifier(), text(), 0..3)).prop_map(|(known, others)| {
        let known = known.into_iter().map(|(name, value)| (name.parse().unwrap(), value.to_owned()));
        let others = others
            .into_iter()
            .filter(|(name, _)| !["created", "homepage", "documentation"].contains(&name.as_str()));
        let all = known.chain(others).map(|(name, value)| Annotation { name, value }).collect();
        Annotations::new(all).unwrap()
    })
}

pub(crate) fn volume() -> impl Strategy<Value = Volume> {
    let kind = prop_oneof![
        (absolute_path(), option::of(any::<bool>()))
            .prop_map(|(source, recursive)| VolumeKind::Host { source, recursive }),
        (0..=0o7777_u32, 0..u32::MAX, 0..u32::MAX).prop_map(|(mode, uid, gid)| VolumeKind::Empty {
            mode,
            uid,
            gid
        }),
    ];
    (name(), kind, option::of(any::<bool>())).prop_map(|(name, kind, read_only)| Volume {
        name,
        kind,
        read_only,
    })
}

pub(crate) fn mount_point() -> impl Strategy<Value = MountPoint> {
    (name(), absolute_path(), any::<bool>()).prop_map(|(name, path, read_only)| MountPoint {
        name,
        path,
        read_only,
    })
}

pub(crate) fn port() -> impl Strategy<Value = Port> {
    (name(), prop_oneof!["tcp", "udp", "sctp"], 1..=u16::MAX, 1..=u16::MAX, any::<bool>()).prop_map(
        |(name, protocol, port, count, socket_activated)| {
            let count = count.min(u16::MAX - port + 1).max(1);
            Port { name, protocol, port, count, socket_activated }
        },
    )
}

/// Names of isolators, and values that they take.
pub(crate) fn isolator() -> impl Strategy<Value = Isolator> {
    let quantity = "[1-9][0-9]{0,5}(m|k|M|G|Ki|Mi|Gi)?";
    let known = prop_oneof![
        quantity.prop_map(|limit| ("resource/cpu", json!({"limit": limit}))),
        quantity.prop_map(|both| ("resource/memory", json!({"limit": both, "request": both}))),
        quantity.prop_map(|limit| ("resource/block-bandwidth", json!({"default": true, "limit": limit}))),
        quantity.prop_map(|limit| ("resource/block-iops", json!({"default": true, "limit": limit}))),
        quantity.prop_map(|limit| ("resource/network-bandwidth", json!({"default": true, "limit": limit}))),
        Just(("os/linux/no-new-privileges", json!(true))),
        (-1000..=1000_i32).prop_map(|score| ("os/linux/oom-score-adj", json!(score))),
        (2..=262_144_u32).prop_map(|shares| ("os/linux/cpu-shares", json!(shares))),
        Just(("os/linux/capabilities-retain-set", json!({"set": ["CAP_KILL", "CAP_CHOWN"]}))),
        Just(("os/linux/seccomp-remove-set", json!({"set": ["@appc.io/all", "mount"], "errno": "ENOSYS"}))),
        "[a-z:]{1,9}".prop_map(|level| (
            "os/linux/selinux-context",
            json!({"user": "u", "role": "r", "type": "t", "level": level})
        )),
        "[a-z-]{1,9}".prop_map(|profile| ("os/linux/apparmor-profile", json!({"profile": profile}))),
        text().prop_map(|value| ("os/unix/sysctl", json!({"kernel.x": value, "net.y": "1"}))),
        json_value().prop_map(|value| ("example.com/unknown", value)),
    ];
    known.prop_map(|(name, value)| Isolator::new(name, value).unwrap())
}

/// Any JSON, not very deep.
pub(crate) fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            collection::btree_map(text(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// At most one isolator of a name.
fn isolators() -> impl Strategy<Value = Vec<Isolator>> {
    collection::vec(isolator(), 0..4).prop_map(|mut isolators| {
        let mut seen = std::collections::HashSet::new();
        isolators.retain(|isolator| seen.insert(isolator.name.clone()));
        isolators
    })
}

fn app() -> impl Strategy<Value = App> {
    let handlers = prop_oneof![
        Just(vec![]),
        collection::vec(text(), 1..3).prop_map(|exec| vec![
            EventHandler { name: HandlerName::PreStart, exec: exec.clone() },
            EventHandler { name: HandlerName::PostStop, exec },
        ]),
    ];
    let environment = collection::btree_map("[A-Za-z_][A-Za-z_0-9.-]{0,6}", text(), 0..4);
    let command = (collection::vec(text(), 0..4), handlers, "[a-z0-9/]{1,5}", "[a-z0-9/]{1,5}");
    let process = (collection::vec(0..u32::MAX, 0..3), option::of(absolute_path()), environment);
    let outside = (
        collection::btree_map(name(), mount_point(), 0..3),
        collection::btree_map(name(), port(), 0..3),
        isolators(),
        collection::btree_map(text(), text(), 0..3),
        collection::btree_map(text(), text(), 0..3),
    );
    (command, process, outside).prop_map(|(command, process, outside)| App {
        exec: absolute_first(command.0),
        event_handlers: command.1.into_iter().map(with_absolute_command).collect(),
        user: command.2,
        group: command.3,
        supplementary_gids: process.0,
        working_directory: process.1,
        environment: process.2.into_iter().map(|(name, value)| EnvironmentVariable { name, value }).collect(),
        mount_points: unlike(outside.0.into_iter().map(|(name, point)| MountPoint { name, ..point })),
        ports: outside.1.into_iter().map(|(name, port)| Port { name, ..port }).collect(),
        isolators: outside.2,
        user_annotations: outside.3,
        user_labels: outside.4,
    })
}

/// Mount points are at different places.
fn unlike(points: impl Iterator<Item = MountPoint>) -> Vec<MountPoint> {
    let mut kept: Vec<MountPoint> = Vec::new();
    for point in points {
        if !kept.iter().any(|earlier| Path::new(&earlier.path) == Path::new(&point.path)) {
            kept.push(point);
        }
    }
    kept
}

/// A command starts with a program.
fn absolute_first(mut exec: Vec<String>) -> Vec<String> {
    if let Some(first) = exec.first_mut() {
        "/bin/program".clone_into(first);
    }
    exec
}

fn with_absolute_command(handler: EventHandler) -> EventHandler {
    EventHandler { exec: absolute_first(handler.exec), ..handler }
}

fn dependency() -> impl Strategy<Value = Dependency> {
    (identifier(), option::of(image_id()), labels(text()), 0..=u64::MAX >> 1)
        .prop_map(|(image_name, image_id, labels, size)| Dependency { image_name, image_id, labels, size })
}

pub(crate) fn image_manifest() -> impl Strategy<Value = ImageManifest> {
    (
        version(),
        identifier(),
        labels(text()),
        option::of(app()),
        annotations(),
        collection::vec(dependency(), 0..3),
        collection::vec(absolute_path(), 0..3),
    )
        .prop_map(|(ac_version, name, labels, app, annotations, dependencies, path_whitelist)| {
            ImageManifest { ac_version, name, labels, app, annotations, dependencies, path_whitelist }
        })
}

fn runtime_app() -> impl Strategy<Value = RuntimeApp> {
    let image = (option::of(identifier()), option::of(image_id()), labels(text()))
        .prop_map(|(name, id, labels)| RuntimeImage { name, id, labels });
    let mount = (name(), absolute_path(), option::of(volume()))
        .prop_map(|(volume, path, app_volume)| Mount { volume, path, app_volume });
    (name(), image, option::of(app()), any::<bool>(), collection::vec(mount, 0..3), annotations()).prop_map(
        |(name, image, app, read_only_root_fs, mounts, annotations)| RuntimeApp {
            name,
            image,
            app,
            read_only_root_fs,
            mounts,
            annotations,
        },
    )
}

pub(crate) fn pod_manifest() -> impl Strategy<Value = PodManifest> {
    let exposed = (name(), 1..=u16::MAX, option::of(any::<std::net::Ipv4Addr>()), option::of(port()))
        .prop_map(|(name, host_port, host_ip, pod_port)| ExposedPort { name, host_port, host_ip, pod_port });
    (
        version(),
        collection::btree_map(name(), runtime_app(), 0..3),
        collection::btree_map(name(), volume(), 0..3),
        isolators(),
        annotations(),
        collection::vec(exposed, 0..3),
        collection::btree_map(text(), text(), 0..3),
        collection::btree_map(text(), text(), 0..3),
    )
        .prop_map(
            |(ac_version, apps, volumes, isolators, annotations, ports, user_annotations, user_labels)| {
                PodManifest {
                    ac_version,
                    apps: apps.into_iter().map(|(name, app)| RuntimeApp { name, ..app }).collect(),
                    volumes: volumes.into_iter().map(|(name, volume)| Volume { name, ..volume }).collect(),
                    isolators,
                    annotations,
                    ports,
                    user_annotations,
                    user_labels,
                }
            },
        )
}
