//! The metadata service: what apps ask about themselves, and how pods are made known to it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use rkt_tests::{
    Outcome, Rkt, args,
    metadata::{SOCKET, Service, only_one},
};
use serde_json::{Value, json};

/// `rkt run` with the host's network, which wins over none.
fn pod(rkt: &Rkt, arguments: &[std::ffi::OsString]) -> Outcome {
    rkt.run_pod([&args!["--net=host"], arguments].concat())
}

const ASK: &str = "
    get() { wget -q -O - \"$AC_METADATA_URL/acMetadata/v1/$1\"; echo \" <- $1\"; }
    kind() { wget -S -O /dev/null \"$@\" 2>&1 | sed -n 's/.*Content-Type: *//p'; }
    for what in pod/uuid pod/annotations apps/asker/annotations apps/asker/annotations/color apps/asker/image/id; do get $what; done
    wget -q -O - $AC_METADATA_URL/acMetadata/v1/pod/manifest >/out/pod
    wget -q -O - $AC_METADATA_URL/acMetadata/v1/apps/asker/image/manifest >/out/image
    wget -q -O /out/signature --post-data 'content=a+word%26more' $AC_METADATA_URL/acMetadata/v1/pod/hmac/sign
    wget -q -O - $AC_METADATA_URL/acMetadata/v1/pod/uuid >/out/uuid
    kind $AC_METADATA_URL/acMetadata/v1/pod/manifest
    kind $AC_METADATA_URL/acMetadata/v1/pod/uuid
    kind --post-data 'content=a+word%26more' $AC_METADATA_URL/acMetadata/v1/pod/hmac/sign
    for what in pod/annotations/none pod/annotations/Bad apps/other/image/id pod/hmac/sign pod none; do
        wget -q -O - $AC_METADATA_URL/acMetadata/v1/$what 2>&1 | sed 's/.*\\(HTTP.*\\)/\\1/'
    done
    wget -q -O - ${AC_METADATA_URL%?}X/acMetadata/v1/pod/uuid 2>&1 | sed 's/.*\\(HTTP.*\\)/\\1/'
";

const VERIFY: &str = "
    verify() { wget -S -O - --post-data \"uuid=$1&content=$2&signature=$3\" $AC_METADATA_URL/acMetadata/v1/pod/hmac/verify 2>&1 \\
        | sed -n 's/.*HTTP\\/1.1 \\([0-9]*\\).*/\\1/p' | head -n 1; }
    verify $UUID a+word%26more $SIGNATURE
    verify $UUID another $SIGNATURE
    verify 5d0e1cb1-0000-4000-8000-000000000000 a+word%26more $SIGNATURE
    verify $UUID a+word%26more no+sense
";

// APPC-195, APPC-320, APPC-321, APPC-322, APPC-323, APPC-324, APPC-325, APPC-326, APPC-327, APPC-328
// APPC-329, APPC-330, APPC-331, APPC-332, APPC-333, APPC-334, APPC-335
#[test]
fn apps_ask_about_themselves_and_pods_know_each_others_signatures() {
    let only = only_one();
    let rkt = Rkt::new();
    let asker = rkt.image("asker", |image| {
        let annotations = json!([{"name": "color", "value": "red"}, {"name": "shape", "value": "round"}]);
        image.sh(ASK).field("annotations", annotations)
    });
    let verifier = rkt.image("verifier", |image| image.sh(VERIFY));
    // Without the service nothing is started.
    let register = "--mds-register";
    let end = pod(&rkt, &args![register, &asker]).exits(254);
    end.stderr_has("the metadata service does not run").stderr_has("rkt metadata-service");
    assert!(rkt.pods_on_disk().is_empty());

    let service = Service::start(&rkt, only);
    let second = rkt.rkt(["metadata-service"]).exits(254);
    second.stderr_has(SOCKET);
    let out = rkt.files();
    let volume = format!("--volume=out,kind=host,source={}", out.display());
    let mount = "--mount=volume=out,target=/out";
    let end = pod(
        &rkt,
        &args![register, &volume, &asker, mount, "--user-annotation=a=b", "--annotation=color=blue"],
    );
    let end = end.success();
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let uuid = read("uuid");
    let manifest: Value = serde_json::from_str(&read("pod")).unwrap();
    assert_eq!(manifest, rkt.rkt(["cat-manifest", &uuid]).success().json(), "the pod's own");
    let annotations = manifest.get("annotations").map_or("null".to_owned(), Value::to_string);
    let id = manifest["apps"][0]["image"]["id"].as_str().unwrap();
    let merged = r#"[{"name":"color","value":"blue"},{"name":"shape","value":"round"}]"#;
    let text = "text/plain; charset=us-ascii";
    let lines = [
        format!("{uuid} <- pod/uuid"),
        format!("{annotations} <- pod/annotations"),
        format!("{merged} <- apps/asker/annotations"),
        "blue <- apps/asker/annotations/color".to_owned(),
        format!("{id} <- apps/asker/image/id"),
        "application/json".to_owned(),
        text.to_owned(),
        text.to_owned(),
        "HTTP/1.1 404 Not Found".to_owned(),
        "HTTP/1.1 400 Bad Request".to_owned(),
        "HTTP/1.1 404 Not Found".to_owned(),
        "HTTP/1.1 404 Not Found".to_owned(),
        "HTTP/1.1 404 Not Found".to_owned(),
        "HTTP/1.1 404 Not Found".to_owned(),
        "HTTP/1.1 401 Unauthorized".to_owned(),
    ];
    assert_eq!(end.lines(), lines, "{end:?}");
    let image: Value = serde_json::from_str(&read("image")).unwrap();
    assert_eq!(image["app"]["exec"][2], ASK, "the image's, without what the pod changes: {image}");
    assert_eq!(image["annotations"][0]["value"], "red");
    let signature = read("signature");
    assert_eq!((signature.len(), signature.ends_with("==")), (88, true), "64 bytes as base64, no newline");

    // Another pod, and a service that was started anew.
    let (log, only) = service.end();
    assert!(log.contains("GET acMetadata/v1/pod/uuid - 200"), "{log}");
    let token = std::fs::read_to_string(rkt.data().join("pods/run").join(&uuid).join("mds-token")).unwrap();
    assert_eq!(token.len(), 32);
    assert!(!log.contains(&token), "tokens are no part of the log");
    let service = Service::start(&rkt, only);
    let encoded = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let end = pod(
        &rkt,
        &args![
            register,
            &verifier,
            format!("--environment=UUID={uuid}"),
            format!("--environment=SIGNATURE={encoded}")
        ],
    );
    end.success().stdout_is("200\n403\n403\n400\n");

    // A pod that runs on while the service is started anew is known to it, until it is removed.
    let sleeper = rkt.image("sleeper", |image| image.sh("echo up; exec sleep 1000"));
    let mut long = rkt.start(args!["--net=host", register, &sleeper]);
    long.wait_for("up");
    let token = long.read("mds-token").unwrap();
    let ask = || {
        let mut stream = TcpStream::connect("127.0.0.1:18112").unwrap();
        let request =
            format!("GET /{token}/acMetadata/v1/pod/uuid HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask().ends_with(long.uuid()), "{}", ask());
    let (_, only) = service.end();
    let service = Service::start(&rkt, only);
    assert!(ask().starts_with("HTTP/1.1 200"), "{}", ask());
    let uuid = long.uuid().to_owned();
    rkt.rkt(["stop", &uuid]).success();
    long.wait();
    rkt.rkt(["rm", &uuid]).success();
    assert!(ask().starts_with("HTTP/1.1 401"), "{}", ask());
    let (_, only) = service.end();
    drop(only);
    drop(rkt);
}

#[test]
fn a_pod_without_a_network_is_not_registered() {
    let rkt = Rkt::new();
    let image = rkt.image("none", |image| image.sh("echo \"${AC_METADATA_URL-unset}\""));
    rkt.run_pod(args!["--mds-register", &image]).exits(254).stderr_has("without a network");
    rkt.run_pod(args![&image]).success().stdout_is("unset\n");
}

#[test]
fn a_pod_with_a_network_of_its_own_asks_the_host() {
    let only = only_one();
    let rkt = Rkt::on_lan();
    let service = Service::start(&rkt, only);
    let image = rkt.image("asker", |image| {
        image.sh("echo $AC_METADATA_URL | cut -d/ -f3; wget -q -O - $AC_METADATA_URL/acMetadata/v1/pod/uuid")
    });
    let end = rkt.run_net(args!["--mds-register", &image]).success();
    end.stdout_is(&format!("172.16.28.1:18112\n{}", rkt.only_pod()));
    drop(service);
}
