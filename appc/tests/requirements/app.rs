//! How an image is executed.

use appc::schema::Port;
use serde_json::{Value, json};

use crate::{app, image, refused};

// APPC-104, APPC-105, APPC-112
#[test]
fn an_app_has_a_user_and_a_group_and_may_have_a_command() {
    assert!(image(&json!({})).unwrap().app.is_none());
    refused(image, "app.user", [json!({"app": {"group": "0"}}), json!({"app": {"user": "", "group": "0"}})]);
    refused(image, "app.group", [json!({"app": {"user": "0"}}), json!({"app": {"user": "0", "group": 0}})]);
    for exec in [json!(null), json!([])] {
        assert!(app(&json!({"exec": exec})).unwrap().exec.is_empty());
    }
    assert_eq!(
        app(&json!({"supplementaryGIDs": [0, 4_294_967_294_u32]})).unwrap().supplementary_gids.len(),
        2
    );
    let bad = [json!(-1), json!(4_294_967_295_u32), json!(1_u64 << 32), json!("5"), json!(1.0), json!(null)];
    refused(app, "app.supplementaryGIDs[0]", bad.map(|gid| json!({"supplementaryGIDs": [gid]})));
}

// APPC-113
#[test]
fn there_is_one_handler_for_each_of_two_events() {
    let handler = |name: &str| json!({"name": name, "exec": ["/a"]});
    let both = json!({"eventHandlers": [handler("post-stop"), handler("pre-start")]});
    assert_eq!(app(&both).unwrap().event_handlers.len(), 2);
    for other in ["start", "Pre-Start", "post-start", ""] {
        refused(app, "app.eventHandlers[0].name", [json!({"eventHandlers": [handler(other)]})]);
    }
    for name in ["pre-start", "post-stop"] {
        refused(app, "app.eventHandlers: ", [json!({"eventHandlers": [handler(name), handler(name)]})]);
    }
}

// APPC-116, APPC-117
#[test]
fn variables_have_their_grammar_and_are_there_once() {
    let variable = |name: &str| json!({"environment": [{"name": name, "value": "$X `x` \\"}]});
    for name in ["A", "_", "a.b-c_9", "lower"] {
        assert_eq!(app(&variable(name)).unwrap().variable(name), Some("$X `x` \\"));
    }
    for name in ["", "1A", ".a", "-a", "a b", "a=b", "ä", "a/b"] {
        refused(app, "app.environment[0].name", [variable(name)]);
    }
    let twice = json!({"environment": [{"name": "A", "value": "1"}, {"name": "A", "value": "1"}]});
    refused(app, "app.environment: duplicate", [twice]);
}

// APPC-114, APPC-118, APPC-119
#[test]
fn mount_points_and_directories_are_absolute_and_mount_points_unique() {
    let points = |list: Value| json!({"mountPoints": list});
    let read =
        app(&points(json!([{"name": "a", "path": "/a"}, {"name": "b", "path": "/b", "readOnly": true}])));
    let read_only: Vec<bool> = read.unwrap().mount_points.iter().map(|point| point.read_only).collect();
    assert_eq!(read_only, [false, true]);
    refused(app, "app.mountPoints[0].name", [points(json!([{"name": "A.b", "path": "/a"}]))]);
    for path in [json!(""), json!(null), json!("a"), json!("./a")] {
        refused(app, "app.mountPoints[0].path", [points(json!([{"name": "a", "path": path}]))]);
    }
    let point = |name: &str, path: &str| json!({"name": name, "path": path});
    for list in [
        json!([point("a", "/a"), point("a", "/b")]),
        json!([point("a", "/a"), point("b", "/a")]),
        json!([point("a", "/a/b"), point("b", "/a//./b/")]),
    ] {
        refused(app, "app.mountPoints: duplicate", [points(list)]);
    }
    refused(
        app,
        "app.workingDirectory",
        [json!({"workingDirectory": "a"}), json!({"workingDirectory": "./"})],
    );
    assert_eq!(app(&json!({})).unwrap().working_directory, None);
}

// APPC-120, APPC-121, APPC-123
#[test]
fn ports_are_in_their_range() {
    let port = |port: Value, count: Value| json!({"ports": [{"name": "p", "protocol": "tcp", "port": port, "count": count}]});
    for (number, count, want) in [(1, json!(null), 1), (65535, json!(0), 1), (1, json!(65535), 65535)] {
        let read: Port = app(&port(json!(number), count)).unwrap().ports.remove(0);
        assert_eq!((read.port, read.count, read.socket_activated), (number, want, false));
    }
    for number in [json!(0), json!(-1), json!(65536), json!(null), json!("80"), json!(80.0)] {
        refused(app, "app.ports[0].port", [port(number, json!(1))]);
    }
    for count in [json!(2), json!(65536), json!(i64::MAX), json!(u64::MAX), json!(-1)] {
        refused(app, "app.ports[0].count", [port(json!(65535), count)]);
    }
    refused(app, "app.ports[0].protocol", [json!({"ports": [{"name": "p", "port": 1}]})]);
}
