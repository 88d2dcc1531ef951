//! Images by their names: nginx serves pages, images and signatures.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    process::{Command, Stdio},
};

use rkt_tests::{Launcher, Rkt, args, gpg::Gpg, run};

const NGINX: &str = "
pid BASE/nginx.pid; error_log BASE/error.log; worker_processes 1; daemon on;
events { }
http {
    access_log off; client_body_temp_path BASE/t1; proxy_temp_path BASE/t2; fastcgi_temp_path BASE/t3;
    uwsgi_temp_path BASE/t4; scgi_temp_path BASE/t5;
    server {
        listen 443 ssl; server_name test.invalid; root BASE/www;
        ssl_certificate BASE/server.pem; ssl_certificate_key BASE/server.key;
        location / { default_type text/html; }
        location /images/ { add_header Cache-Control max-age=3600; }
        location /private/ { auth_basic private; auth_basic_user_file BASE/users; }
    }
}
";

/// The way of the specification's tutorial: build, sign, serve with a page of discovery, trust by discovery, run by name.
// APPC-067, APPC-350, APPC-352, APPC-353, APPC-365, APPC-368, APPC-369, APPC-371, APPC-372
// APPC-375
#[test]
fn an_image_is_discovered_verified_and_run_by_its_name() {
    let rkt = Rkt::new();
    // It needs nginx and gpg, which the machine that runs the tests has.
    if rkt.launcher() == Launcher::Systemd {
        return;
    }
    let base = rkt.files();
    let gpg = Gpg::new(&rkt, "gpg");
    let key = gpg.key("ed25519");
    let www = base.join("www");
    fs::create_dir_all(www.join("images/test.invalid")).unwrap();
    let built = rkt.image("hello", |image| image.label("version", "0.0.1").sh("echo hello from discovery"));
    let arch = if cfg!(target_arch = "aarch64") { "aarch64" } else { "amd64" };
    let image = www.join(format!("images/test.invalid/hello-0.0.1-linux-{arch}.aci"));
    fs::copy(&built, &image).unwrap();
    gpg.sign(&image, &[]);
    fs::copy(&key, www.join("keys.asc")).unwrap();
    fs::write(
        www.join("hello"),
        "<meta name=\"ac-discovery\" content=\"test.invalid/hello https://test.invalid/images/{name}-{version}-{os}-{arch}.{ext}\">\n\
         <meta name=\"ac-discovery-pubkeys\" content=\"test.invalid/hello https://test.invalid/keys.asc\">\n",
    )
    .unwrap();
    fs::write(base.join("nginx.conf"), NGINX.replace("BASE", base.to_str().unwrap())).unwrap();
    fs::write(base.join("hosts"), "127.0.0.1 test.invalid localhost\n").unwrap();
    let openssl = |args: &[&str]| run(Command::new("openssl").args(args).current_dir(&base)).success();
    let certificate = |more: &[&str]| {
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
        openssl(&[&["req", "-x509", "-nodes", "-days", "2"], &curve[..], more].concat())
    };
    certificate(&["-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.pem"]);
    let issuer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "server.key", "-out", "server.pem"];
    let name = ["-subj", "/CN=test.invalid", "-addext", "subjectAltName=DNS:test.invalid"];
    certificate(&[&name[..], &["-addext", "basicConstraints=critical,CA:FALSE"], &issuer].concat());
    // All in a network of its own, where the name leads to nginx.
    let inside_with = |authority: &str, insecure: &str, words: &[&str]| {
        let rkt_command = rkt.command([&[insecure][..], words].concat());
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-c"]).arg(format!(
            "ip link set lo up && mount --bind {0}/hosts /etc/hosts && nginx -c {0}/nginx.conf || exit 99
             until test -s {0}/nginx.pid; do sleep 0.01; done
             \"$@\"; status=$?; nginx -c {0}/nginx.conf -s stop; exit $status",
            base.display()
        ));
        command.arg("sh").arg(rkt_command.get_program()).args(rkt_command.get_args());
        command.env("SSL_CERT_FILE", base.join(authority)).stdin(Stdio::null());
        run(&mut command)
    };
    let inside = |insecure: &str, words: &[&str]| inside_with("ca.pem", insecure, words);
    let name = "test.invalid/hello:0.0.1";
    let run_it = ["run", "--net=none", "--supervisor=direct", name];
    let none = "--insecure-options=none";
    // Nobody is there to review the key, so it is not trusted, and the image not fetched.
    inside(none, &run_it).exits(254).stderr_has("--skip-fingerprint-review").stderr_has("not trusted");
    let trust = ["trust", "--prefix=test.invalid/hello", "--trust-keys-from-https"];
    inside(none, &trust)
        .success()
        .stderr_has("without fingerprint review")
        .stdout_has("gpg key fingerprint is: ");
    inside(none, &run_it).success().stdout_is("hello from discovery\n").stderr_has("signature verified:");
    // It is in the store now, and needs no server.
    rkt.rkt(args![none, "run", "--net=none", "--supervisor=direct", name]).success();
    // What has not expired is not asked for, and neither is its signature.
    fs::remove_file(format!("{}.asc", image.display())).unwrap();
    inside(none, &["fetch", name]).success().stderr_has("isn't expired, not fetching");
    inside(none, &["fetch", "test.invalid/hello:2"]).exits(254).stderr_has("404");
    inside(none, &["fetch", "test.invalid/nothing"]).exits(254).stderr_has("discovery failed");
    // The image of another name, though signed by a key that is trusted for both.
    let other = www.join(format!("images/test.invalid/hello-0.0.3-linux-{arch}.aci"));
    fs::copy(&built, &other).unwrap();
    gpg.sign(&other, &[]);
    inside(none, &["fetch", "test.invalid/hello:0.0.3"]).exits(254).stderr_has("label version");
    // No page says where this is: it is where its name says.
    let plain = rkt.image("simple", |image| image.label("version", "1").sh("echo found simply"));
    let at = www.join(format!("simple-1-linux-{arch}.aci"));
    fs::copy(&plain, &at).unwrap();
    inside(none, &["fetch", "test.invalid/simple:1"])
        .exits(254)
        .stderr_has("discovery failed")
        .stderr_has(".asc");
    gpg.sign(&at, &[]);
    inside(none, &["fetch", "test.invalid/simple:1"]).exits(254).stderr_has("key");
    inside(
        none,
        &[
            "trust",
            "--prefix=test.invalid/simple",
            "--skip-fingerprint-review",
            "https://test.invalid/keys.asc",
        ],
    )
    .success();
    let run_simple = ["run", "--net=none", "--supervisor=direct", "test.invalid/simple:1"];
    inside(none, &run_simple).success().stdout_is("found simply\n");
    inside(none, &["fetch", "test.invalid/simple:2"])
        .exits(254)
        .stderr_has("simple-2-linux")
        .stderr_has("404");
    // What is for some only, with the credentials that the configuration has for the host.
    let private = www.join("private");
    fs::create_dir(&private).unwrap();
    fs::copy(&built, private.join("hello.aci")).unwrap();
    gpg.sign(&private.join("hello.aci"), &[]);
    let hash = openssl(&["passwd", "-apr1", "s3cret"]).stdout;
    fs::write(base.join("users"), format!("ci:{hash}")).unwrap();
    let url = "https://test.invalid/private/hello.aci";
    inside(none, &["fetch", url]).exits(254).stderr_has("bad HTTP status code: 401");
    let auth = rkt.base().join("local/auth.d");
    fs::create_dir_all(&auth).unwrap();
    let credentials = r#"{"rktKind": "auth", "rktVersion": "v1", "domains": ["test.invalid"], "type": "basic",
        "credentials": {"user": "ci", "password": "s3cret"}}"#;
    fs::write(auth.join("ci.json"), credentials).unwrap();
    inside(none, &["fetch", url]).success().stderr_lacks("s3cret");
    // A certificate of nobody, for an image that the store does not have from there.
    certificate(&["-subj", "/CN=Strange CA", "-keyout", "strange.key", "-out", "strange.pem"]);
    let url = format!("https://test.invalid/images/test.invalid/hello-0.0.3-linux-{arch}.aci");
    for insecure in [none, "--insecure-options=image"] {
        inside_with("strange.pem", insecure, &["fetch", &url]).exits(254).stderr_has("certificate");
    }
    inside_with("strange.pem", "--insecure-options=image,tls", &["fetch", &url]).success();
}
