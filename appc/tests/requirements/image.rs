//! What an image says of itself.

use appc::schema::{App, ImageManifest, Kind, kind_of};
use serde_json::{Value, json};

use crate::{app, common::MANIFEST, image, pod, refused};

// APPC-007, APPC-008, APPC-101, APPC-172
#[test]
fn kind_version_and_name_must_be_there() {
    refused(image, "acKind: ", [json!({"acKind": null}), json!({"acKind": "imageManifest"})]);
    refused(image, "acVersion: ", [json!({"acVersion": null}), json!({"acVersion": "0.0.0"})]);
    refused(image, "name: ", [json!({"name": null}), json!({"name": ""})]);
    refused(pod, "acKind: ", [json!({"acKind": ""}), json!({"acKind": "ImageManifest"})]);
    refused(pod, "acVersion: ", [json!({"acVersion": ""}), json!({"acVersion": "1"})]);
    assert_eq!(kind_of(MANIFEST.as_bytes()).unwrap(), Kind::Image);
    assert_eq!(kind_of(br#"{"acVersion":"0.8.11","acKind":"PodManifest"}"#).unwrap(), Kind::Pod);
    assert!(kind_of(br#"{"acKind":"Manifest"}"#).is_err());
}

// APPC-010
#[test]
fn manifests_of_other_versions_are_read() {
    for version in ["0.1.0", "0.5.2", "0.8.11+git", "0.9.0", "1.0.0"] {
        assert!(image(&json!({"acVersion": version})).is_ok(), "{version}");
    }
}

// APPC-013, APPC-014, APPC-020, APPC-194
#[test]
fn annotations_are_checked_on_images_pods_and_apps() {
    let pod_app = |members: &Value| {
        pod(&json!({"apps": [{"name": "a", "image": {}, "annotations": members["annotations"]}]}))
    };
    for (name, value) in [
        ("created", "yesterday"),
        ("created", "2024-01-01 00:00:00Z"),
        ("homepage", "example.com"),
        ("documentation", "ftp://example.com"),
        ("Upper", "x"),
    ] {
        let bad = || [json!({"annotations": [{"name": name, "value": value}]})];
        refused(image, "annotations", bad());
        refused(pod, "annotations", bad());
        for members in bad() {
            assert!(pod_app(&members).unwrap_err().starts_with("apps[0].annotations"));
        }
    }
    let twice = json!({"annotations": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]});
    assert!(image(&twice).is_err() && pod(&twice).is_err() && pod_app(&twice).is_err());
}

// APPC-130
#[test]
fn the_annotations_of_the_specification_are_read() {
    let all = json!({"annotations": [
        {"name": "created", "value": "2024-01-02T03:04:05Z"},
        {"name": "authors", "value": "A <a@example.com>"},
        {"name": "homepage", "value": "https://example.com"},
        {"name": "documentation", "value": "http://example.com/doc"},
        {"name": "appc.io/executor/supports-systemd-notify", "value": "true"},
    ]});
    let annotations = image(&all).unwrap().annotations;
    assert_eq!(annotations.get("appc.io/executor/supports-systemd-notify"), Some("true"));
    assert_eq!(annotations.iter().count(), 5);
}

// APPC-021
#[test]
fn what_is_for_users_is_text_under_any_name() {
    let all = json!({"": "x", "a b": "", "UPPER/ü": "\n"});
    let app_of = app(&json!({"userAnnotations": all, "userLabels": all})).unwrap();
    assert_eq!((app_of.user_annotations.len(), app_of.user_labels.len()), (3, 3));
    assert_eq!(pod(&json!({"userAnnotations": all, "userLabels": all})).unwrap().user_labels.len(), 3);
    for name in ["userAnnotations", "userLabels"] {
        for value in [json!({"a": 1}), json!({"a": null}), json!(["a"]), json!("a")] {
            let members = json!({name: value});
            assert!(app(&members).is_err() && pod(&members).is_err(), "{members}");
        }
    }
}

// APPC-033, APPC-034
#[test]
fn unknown_members_are_ignored_everywhere_and_the_last_of_a_name_counts() {
    let x = json!({"x": [1]});
    let with = |mut value: Value| {
        value["other"] = x.clone();
        value
    };
    let app_value = json!({"user": "0", "group": "0",
        "eventHandlers": [with(json!({"name": "pre-start", "exec": []}))],
        "environment": [with(json!({"name": "A", "value": "b"}))],
        "mountPoints": [with(json!({"name": "m", "path": "/m"}))],
        "ports": [with(json!({"name": "p", "protocol": "tcp", "port": 1}))],
        "isolators": [with(json!({"name": "resource/cpu", "value": with(json!({"limit": "1"}))}))]});
    assert!(app(&with(app_value)).is_ok());
    let labels = json!([with(json!({"name": "l", "value": ""}))]);
    let dependencies = json!([with(json!({"imageName": "a"}))]);
    assert!(image(&with(json!({"labels": labels, "dependencies": dependencies}))).is_ok());
    let volume = with(json!({"name": "v", "kind": "empty"}));
    let mount = with(json!({"volume": "v", "path": "/v"}));
    let runtime = with(json!({"name": "a", "image": with(json!({})), "mounts": [mount]}));
    let port = with(json!({"name": "p", "hostPort": 1}));
    assert!(pod(&with(json!({"apps": [runtime], "volumes": [volume], "ports": [port]}))).is_ok());
    let twice = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"first","name":"last","labels":[{"name":"a"}],"labels":[]}"#;
    let manifest = ImageManifest::from_slice(twice.as_bytes()).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.labels.is_empty()), ("last", true));
}

// APPC-037
#[test]
fn what_could_not_be_read_is_not_written() {
    let mut manifest = image(&json!({})).unwrap();
    manifest.app = Some(App::default());
    assert!(manifest.to_vec().unwrap_err().to_string().starts_with("app.user"));
    assert!(manifest.to_vec_pretty(" ").is_err());
    let apps = json!([{"name": "a", "image": {}}, {"name": "b", "image": {}}]);
    let mut manifest = pod(&json!({"apps": apps})).unwrap();
    manifest.apps[1].name = manifest.apps[0].name.clone();
    assert!(manifest.to_vec().unwrap_err().to_string().starts_with("apps: duplicate"));
}

// APPC-038
#[test]
fn elements_without_a_name_are_refused_where_they_are_read() {
    refused(image, "labels[0].name", [json!({"labels": [{"value": "x"}]})]);
    refused(image, "annotations[0].name", [json!({"annotations": [{"value": "x"}]})]);
    refused(image, "dependencies[0].imageName", [json!({"dependencies": [{"size": 1}]})]);
    refused(app, "app.environment[0].name", [json!({"environment": [{"value": "x"}]})]);
    refused(app, "app.mountPoints[0].name", [json!({"mountPoints": [{"path": "/x"}]})]);
    refused(app, "app.ports[0].name", [json!({"ports": [{"protocol": "tcp", "port": 1}]})]);
    refused(pod, "volumes[0].name", [json!({"volumes": [{"kind": "empty"}]})]);
    refused(pod, "ports[0].name", [json!({"ports": [{"hostPort": 1}]})]);
}

// APPC-103
#[test]
fn images_may_be_for_every_platform() {
    for labels in
        [json!([]), json!([{"name": "os", "value": "linux"}]), json!([{"name": "arch", "value": "any"}])]
    {
        assert!(image(&json!({"labels": labels})).is_ok(), "{labels}");
    }
}

// APPC-125, APPC-129
#[test]
fn dependencies_keep_their_order_and_an_empty_whitelist_is_none() {
    let dependency = |name: &str| json!({"imageName": name, "imageID": "sha512-ab", "size": 1});
    let list = json!([dependency("b"), dependency("a"), dependency("b")]);
    let read = image(&json!({"dependencies": list, "pathWhitelist": []})).unwrap();
    let names: Vec<&str> = read.dependencies.iter().map(|each| each.image_name.as_str()).collect();
    assert_eq!(names, ["b", "a", "b"]);
    assert!(!String::from_utf8(read.to_vec().unwrap()).unwrap().contains("pathWhitelist"));
    for (place, bad) in [
        ("dependencies[0].imageName", json!({"imageID": "sha512-ab"})),
        ("dependencies[0].imageID", json!({"imageName": "a", "imageID": "sha256-ab"})),
        ("dependencies[0].imageID", json!({"imageName": "a", "imageID": ""})),
        ("dependencies[0].size", json!({"imageName": "a", "size": -1})),
    ] {
        refused(image, place, [json!({"dependencies": [bad]})]);
    }
}
