//! Pods, and what is written as a string of parameters.

use appc::schema::{Volume, VolumeKind};
use serde_json::{Value, json};

use crate::{pod, refused};

// APPC-173, APPC-177, APPC-202
#[test]
fn pods_name_their_apps_and_mounts() {
    let apps = |app: Value| json!({"apps": [app]});
    let template = pod(&apps(json!({"name": "a", "image": {"name": "example.com/a"}}))).unwrap();
    assert_eq!(template.apps[0].image.id, None);
    for name in ["A", "a.b", "", "-a"] {
        refused(pod, "apps[0].name", [apps(json!({"name": name, "image": {}}))]);
    }
    let mount = |mount: Value| apps(json!({"name": "a", "image": {}, "mounts": [mount]}));
    refused(pod, "apps[0].mounts[0].volume", [mount(json!({"path": "/a"})), mount(json!({"volume": ""}))]);
    refused(
        pod,
        "apps[0].mounts[0].path",
        [mount(json!({"volume": "a"})), mount(json!({"volume": "a", "path": ""}))],
    );
    let nested = json!({"volume": "a", "path": "/a", "appVolume": {"name": "b", "kind": "host"}});
    refused(pod, "apps[0].mounts[0].appVolume", [mount(nested)]);
}

// APPC-182, APPC-183, APPC-184, APPC-186, APPC-188
#[test]
fn volumes_are_of_two_kinds_with_members_of_their_own() {
    let volume = |volume: Value| json!({"volumes": [volume]});
    let read = pod(&volume(json!({"name": "v", "kind": "empty", "recursive": true}))).unwrap();
    assert_eq!(read.volumes[0].kind, VolumeKind::Empty { mode: 0o755, uid: 0, gid: 0 });
    assert_eq!(read.volumes[0].read_only, None);
    assert_eq!(read.volumes[0], "v,kind=empty".parse::<Volume>().unwrap());
    for kind in ["", "Host", "nfs", "tmpfs"] {
        refused(pod, "volumes[0]: unrecognized", [volume(json!({"name": "v", "kind": kind}))]);
    }
    for bad in [
        json!({"name": "v", "kind": "host"}),
        json!({"name": "v", "kind": "host", "source": "a"}),
        json!({"name": "v", "kind": "host", "source": "/a", "mode": "0755"}),
        json!({"name": "v", "kind": "host", "source": "/a", "uid": 0}),
        json!({"name": "v", "kind": "host", "source": "/a", "gid": 0}),
        json!({"name": "v", "kind": "empty", "source": "/a"}),
        json!({"name": "v", "kind": "empty", "mode": "0888"}),
        json!({"name": "v", "kind": "empty", "mode": "17777"}),
        json!({"name": "v", "kind": "empty", "mode": "rwx"}),
        json!({"name": "v", "kind": "empty", "uid": -1}),
        json!({"name": "v", "kind": "empty", "gid": 4_294_967_295_u32}),
    ] {
        refused(pod, "volumes[0]", [volume(bad)]);
    }
    let one = json!({"name": "v", "kind": "empty"});
    refused(pod, "volumes: duplicate", [json!({"volumes": [one, one]})]);
}

// APPC-190, APPC-192, APPC-193
#[test]
fn exposed_ports_have_a_port_and_an_address_of_the_host() {
    let port = |port: Value| json!({"ports": [port]});
    let read = pod(&port(json!({"name": "p", "hostPort": 65535}))).unwrap();
    assert_eq!((read.ports[0].host_port, read.ports[0].host_ip), (65535, None));
    for number in [json!(null), json!(0), json!(65536), json!(-1)] {
        refused(pod, "ports[0].hostPort", [port(json!({"name": "p", "hostPort": number}))]);
    }
    for ip in ["::1", "1.2.3", "1.2.3.4.5", "localhost", "1.2.3.256"] {
        refused(pod, "ports[0].hostIP", [port(json!({"name": "p", "hostPort": 1, "hostIP": ip}))]);
    }
    refused(pod, "ports[0].podPort", [port(json!({"name": "p", "hostPort": 1, "podPort": {"name": "q"}}))]);
}

// APPC-196, APPC-197, APPC-198
#[test]
fn strings_of_parameters_are_split_at_commas_and_first_equal_signs() {
    for word in ["1", "t", "T", "TRUE", "true", "True"] {
        let volume: Volume = format!("v,kind=host,source=/a=b%20&+ c,readOnly={word}").parse().unwrap();
        assert_eq!(volume.read_only, Some(true), "{word}");
        let source = "/a=b%20&+ c".to_owned();
        assert_eq!(volume.kind, VolumeKind::Host { source, recursive: None });
    }
    for word in ["0", "f", "F", "FALSE", "false", "False"] {
        let volume: Volume = format!("v,kind=empty,readOnly={word}").parse().unwrap();
        assert_eq!(volume.read_only, Some(false), "{word}");
    }
    for bad in
        ["readOnly=yes", "readOnly=", "readOnly=tRUE", "readOnly", "x=1", "kind=empty", "Kind=empty", ""]
    {
        assert!(format!("v,kind=empty,{bad}").parse::<Volume>().is_err(), "{bad}");
    }
}
