//! nginx in a pod, reached from everywhere: another pod, the host itself, and a neighbour of the host.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use rkt_tests::{Lan, Rkt, args, wait_until};

/// As in the demonstration, but for where it listens.
const CONFIGURATION: &str =
    "daemon off; user www-data; worker_processes 1; pid /run/nginx.pid; error_log stderr warn;
    events { worker_connections 64; }
    http { access_log off; server { listen 80; listen [::]:80; root /usr/share/nginx/html; } }";

const PAGE: &str = "<title>Welcome to nginx!</title>";

fn page(url: &str) -> String {
    format!("busybox wget -q -O - {url} | grep -o '<title>.*'")
}

#[test]
fn nginx_is_reached_from_another_pod_from_the_host_and_from_its_neighbour() {
    let rkt = Rkt::on_lan();
    let images: PathBuf = std::env::var_os("RKT_DEMO_IMAGES").expect("RKT_DEMO_IMAGES").into();
    let conf = rkt.file("nginx.conf", CONFIGURATION);
    let pod = rkt.start_net(args![
        "--pod-name=shop",
        "--port=http:8080",
        format!("--volume=conf,kind=host,readOnly=true,source={}", conf.display()),
        images.join("nginx.aci"),
        "--name=nginx",
        "--mount=volume=conf,target=/etc/nginx/nginx.conf"
    ]);
    let (host4, host6) = (format!("http://{}:8080/", Lan::HOST), format!("http://[{}]:8080/", Lan::HOST6));
    wait_until("nginx", || rkt.lan().host_sh(&page(&host4)).stdout.contains(PAGE));
    let found = format!("{PAGE}\n");
    for url in [&host4, &host6, "http://127.0.0.1:8080/", "http://[::1]:8080/"] {
        rkt.lan().host_sh(&page(url)).success().stdout_is(&found);
    }
    for url in [&host4, &host6] {
        rkt.lan().peer_sh(&page(url)).success().stdout_is(&found);
    }
    let status = pod.status();
    let networks = status.value("networks").unwrap();
    let address = |kind: &str| {
        let start = format!("default:{kind}=");
        networks.split(", ").find_map(|item| item.strip_prefix(&start)).unwrap().to_owned()
    };
    let urls = [
        format!("http://{}/", address("ip4")),
        format!("http://[{}]/", address("ip6")),
        "http://shop/".to_owned(),
        host4.clone(),
        host6.clone(),
    ];
    let script: Vec<String> =
        urls.iter().map(|url| format!("wget -q -O - '{url}' | grep -o '<title>.*'")).collect();
    let client = rkt.image("client", |image| image.sh(&script.join("; ")));
    rkt.run_net(args![&client]).success().stdout_is(&found.repeat(urls.len()));
    rkt.rkt(["stop", pod.uuid()]).success();
    pod.wait();
}
