//! Registries that lie, break off, or want what is not theirs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Write,
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rkt_tests::{
    Outcome, Rkt,
    archive::{Archive, Header},
    layers::{OciImage, architecture, busybox_layer, digest},
    run,
    server::{Request, send, send_body, serve},
};
use serde_json::json;

fn image(script: &str) -> OciImage {
    OciImage::new(&[busybox_layer()], script, &json!({}))
}

/// A registry of one image that answers as `lie` wants; where that is `false`, as it should.
fn fake(
    image: &OciImage,
    lie: impl Fn(&Request, &mut TcpStream) -> bool + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<Request>>>) {
    let image = image.clone();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let (address, _) = serve(move |request, stream| {
        log.lock().unwrap().push(request.clone());
        if lie(request, stream) {
            return;
        }
        let last = request.path.rsplit('/').next().unwrap_or_default();
        if request.path.contains("/manifests/") {
            send_body(stream, "200 OK", &image.manifest);
        } else if let Some(blob) = image.blobs.get(last) {
            send_body(stream, "200 OK", blob);
        } else {
            send(stream, "404 Not Found", b"");
        }
    });
    (address, seen)
}

fn fetch(rkt: &Rkt, address: &str) -> Outcome {
    let start = Instant::now();
    let name = format!("docker://{address}/team/app:v1");
    let end = rkt.rkt(["--insecure-options=image,http", "fetch", "--quiet", &name]);
    assert!(start.elapsed() < Duration::from_secs(30), "it took {:?}", start.elapsed());
    end
}

fn refused(rkt: &Rkt, address: &str, reason: &str) {
    let end = fetch(rkt, address).exits(254).stderr_has(reason);
    assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
    for place in ["tmp", "blob", "tree"] {
        let left = fs::read_dir(rkt.data().join("cas").join(place)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "something is left in cas/{place}");
    }
}

fn is_layer(image: &OciImage, request: &Request) -> bool {
    request.path.ends_with(&image.layers[0])
}

#[test]
fn a_token_is_got_where_the_registry_says() {
    let rkt = Rkt::new();
    let image = image("true");
    let (address, seen) = fake(&image, |request, stream| {
        let host = request.header("host").unwrap().to_owned();
        if request.path.starts_with("/token?") {
            send_body(stream, "200 OK", br#"{"token": "t0ken"}"#);
        } else if request.header("authorization") != Some("Bearer t0ken") {
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
            send_body(stream, &format!("401 Unauthorized\r\nWWW-Authenticate: {challenge}"), b"");
        } else {
            return false;
        }
        true
    });
    fetch(&rkt, &address).success();
    let seen = seen.lock().unwrap();
    let tokens: Vec<&Request> = seen.iter().filter(|request| request.path.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 1, "one token does for all");
    assert_eq!(tokens[0].path, "/token?service=s&scope=repository:team/app:pull");
}

#[test]
fn case_12_credentials_do_not_go_where_a_registry_sends_us() {
    let rkt = Rkt::new();
    let image = image("true");
    let (other, stolen) = fake(&image, |_, stream| {
        send_body(stream, "200 OK", br#"{"token": "x"}"#);
        true
    });
    let realm = format!("http://{other}/token");
    let (address, _) = fake(&image, move |_, stream| {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
        send_body(stream, &format!("401 Unauthorized\r\nWWW-Authenticate: {challenge}"), b"");
        true
    });
    let auth = rkt.base().join("local/auth.d");
    fs::create_dir_all(&auth).unwrap();
    let text = json!({
        "rktKind": "dockerAuth", "rktVersion": "v1", "registries": [address],
        "credentials": {"user": "ci", "password": "s3cret"},
    });
    fs::write(auth.join("registry.json"), text.to_string()).unwrap();
    refused(&rkt, &address, "does not accept");
    let stolen = stolen.lock().unwrap();
    assert!(!stolen.is_empty());
    assert!(stolen.iter().all(|request| request.header("authorization").is_none()), "{stolen:?}");
}

#[test]
fn a_registry_that_lies_gets_a_clear_answer_and_leaves_nothing() {
    let rkt = Rkt::new();
    let image = image("true");
    let is_manifest = |request: &Request| request.path.contains("/manifests/");
    type Lie = Box<dyn Fn(&Request, &mut TcpStream) -> bool + Send + Sync>;
    let own = image.clone();
    let layer = move |request: &Request| is_layer(&own, request);
    let bytes = image.blobs[&image.layers[0]].clone();
    let manifest = |body: String| -> Lie {
        Box::new(move |request: &Request, stream: &mut TcpStream| {
            let it = is_manifest(request);
            if it {
                send_body(stream, "200 OK", body.as_bytes());
            }
            it
        })
    };
    let blob = |answer: Box<dyn Fn(&mut TcpStream) + Send + Sync>| -> Lie {
        let layer = layer.clone();
        Box::new(move |request: &Request, stream: &mut TcpStream| {
            let it = layer(request);
            if it {
                answer(stream);
            }
            it
        })
    };
    let (wrong, cut, endless) = (bytes.clone(), bytes.clone(), bytes.clone());
    let index = |entries: serde_json::Value| json!({"schemaVersion": 2, "manifests": entries}).to_string();
    let entry = |arch: &str| {
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(b"x"), "size": 1,
            "platform": {"architecture": arch, "os": "linux"}})
    };
    let cases: Vec<(&str, Lie, &str)> = vec![
        ("html", manifest("<html>hello</html>".to_owned()), "no JSON"),
        ("schema 1", manifest(json!({"schemaVersion": 1}).to_string()), "schema 1"),
        ("empty", manifest(String::new()), "no JSON"),
        ("platform", manifest(index(json!([entry("s390x")]))), "only for: linux/s390x"),
        ("no blob", manifest(index(json!([entry(architecture())]))), "404"),
        ("huge manifest", manifest(" ".repeat(5 << 20)), "more than 4194304 bytes"),
        (
            "redirect loop",
            Box::new(|request, stream| {
                send_body(stream, &format!("302 Found\r\nLocation: {}", request.path), b"");
                true
            }),
            "redirect",
        ),
        (
            "file",
            Box::new(|_, stream| {
                send_body(stream, "302 Found\r\nLocation: file:///etc/passwd", b"");
                true
            }),
            "",
        ),
        (
            "401 loop",
            Box::new(|request, stream| {
                let host = request.header("host").unwrap().to_owned();
                if request.path.starts_with("/t") {
                    send_body(stream, "200 OK", br#"{"token": "x"}"#);
                } else {
                    let challenge = format!("Bearer realm=\"http://{host}/t\"");
                    send_body(stream, &format!("401 No\r\nWWW-Authenticate: {challenge}"), b"");
                }
                true
            }),
            "wants credentials",
        ),
        (
            "wrong digest",
            blob(Box::new(move |stream| {
                let mut wrong = wrong.clone();
                let last = wrong.len() - 1;
                wrong[last] ^= 1;
                send_body(stream, "200 OK", &wrong);
            })),
            "layer 1",
        ),
        (
            "cut",
            blob(Box::new(move |stream| {
                let length = cut.len();
                send(stream, &format!("200 OK\r\nContent-Length: {length}"), &cut[..length / 2]);
            })),
            "layer 1",
        ),
        (
            "endless",
            blob(Box::new(move |stream| {
                send(stream, "200 OK", &endless);
                while stream.write_all(&[0; 4096]).is_ok() {}
            })),
            "layer 1",
        ),
        ("gone", blob(Box::new(|stream| send_body(stream, "404 Not Found", b""))), "404"),
    ];
    for (name, lie, reason) in cases {
        let (address, _) = fake(&image, lie);
        eprintln!("{name}");
        refused(&rkt, &address, reason);
    }
    // Without any lie it is fetched.
    let (address, _) = fake(&image, |_, _| false);
    fetch(&rkt, &address).success();
}

#[test]
fn case_08_a_layer_that_breaks_off_is_continued() {
    for ranges in [true, false] {
        let rkt = Rkt::new();
        let image = image("true");
        let layer = image.blobs[&image.layers[0]].clone();
        let own = image.clone();
        let (address, seen) = fake(&image, move |request, stream| {
            if !is_layer(&own, request) {
                return false;
            }
            let length = layer.len();
            match request.header("range").and_then(|range| range.strip_prefix("bytes=")) {
                Some(range) if ranges => {
                    let from: usize = range.strip_suffix('-').unwrap().parse().unwrap();
                    let head =
                        format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{length}", length - 1);
                    send_body(stream, &head, &layer[from..]);
                }
                Some(_) => send_body(stream, "200 OK", &layer),
                None => send(stream, &format!("200 OK\r\nContent-Length: {length}"), &layer[..length / 3]),
            }
            true
        });
        fetch(&rkt, &address).success();
        let seen = seen.lock().unwrap();
        assert!(seen.iter().any(|request| request.header("range").is_some()), "{seen:?}");
    }
}

#[test]
fn http_is_for_those_who_ask_for_it() {
    let rkt = Rkt::new();
    let (address, _) = fake(&image("true"), |_, _| false);
    let name = format!("docker://{address}/team/app:v1");
    rkt.rkt(["fetch", &name]).exits(254).stderr_has("--insecure-options=http");
    assert!(!Path::new(&rkt.data().join("cas/tree")).exists());
}

#[test]
fn case_07_a_layer_that_grows_without_end_frees_the_disk_and_takes_no_memory() {
    let rkt = Rkt::new();
    let zeros = Archive::new().entry(Header::file("zeros"), vec![b'0'; 256 << 20]);
    let image = OciImage::new(&[busybox_layer(), zeros], "true", &json!({}));
    assert!(image.blobs[&image.layers[1]].len() < 4 << 20, "it is small on its way");
    let (address, _) = fake(&image, |_, _| false);
    fs::create_dir(rkt.data()).unwrap();
    let name = format!("docker://{address}/team/app:v1");
    let inner = rkt.command(["--insecure-options=image,http", "fetch", "--quiet", &name]);
    let mut command = Command::new("unshare");
    // A disk of its own, and a quarter of what the layer unpacks to as memory.
    command.args(["--mount", "sh", "-c"]).arg(format!(
        "mount -t tmpfs -o size=48m none {0} && ulimit -d 65536 && \"$@\"; status=$?
         find {0}/cas/tmp {0}/cas/tree {0}/cas/blob -type f 2>/dev/null; exit $status",
        rkt.data().display()
    ));
    let end = run(command.arg("sh").arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null()));
    let end = end.exits(254).stderr_has("No space left on device").stderr_has("layer 2");
    assert_eq!((end.stdout.as_str(), end.stderr.lines().count()), ("", 1), "{end:?}");
}
