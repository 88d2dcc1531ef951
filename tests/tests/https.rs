//! Servers with certificates of an authority of the test's own, and what only they get to see.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use hmac::{Hmac, KeyInit, Mac};
use rkt_tests::{Launcher, Outcome, Rkt, run, server::tunnel, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};

/// The host of S3 that the test's server pretends to be.
const BUCKET: &str = "bucket.s3-eu-west-1.amazonaws.com";

const CONFIGURATION: &str = "
daemon off; worker_processes 1; pid BASE/nginx.pid; error_log BASE/error.log;
events { }
http {
    log_format seen '$request_uri $host $http_x_amz_date $http_x_amz_content_sha256 $http_authorization';
    access_log BASE/access.log seen;
    client_body_temp_path BASE/t1; proxy_temp_path BASE/t2; fastcgi_temp_path BASE/t3;
    uwsgi_temp_path BASE/t4; scgi_temp_path BASE/t5;
    server {
        listen 127.0.0.1:PORT ssl; root BASE/www;
        ssl_certificate BASE/server.pem; ssl_certificate_key BASE/server.key;
        location = /moved.aci { return 302 https://test.invalid/image.aci; }
    }
}
";

/// An nginx that a proxy takes for all hosts there are.
struct Https {
    base: PathBuf,
    proxy: String,
    nginx: Child,
}

impl Https {
    fn new(rkt: &Rkt) -> Https {
        let base = rkt.files();
        fs::create_dir_all(base.join("www/a dir")).unwrap();
        let openssl = |args: &[&str]| run(Command::new("openssl").args(args).current_dir(&base)).success();
        let certificate = |more: &[&str]| {
            let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
            openssl(&[&["req", "-x509", "-nodes", "-days", "2"], &curve[..], more].concat())
        };
        for name in ["ca", "strange"] {
            let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
            certificate(&["-subj", &format!("/CN={name}"), "-keyout", &key, "-out", &pem]);
        }
        let names = format!("subjectAltName=DNS:test.invalid,DNS:{BUCKET}");
        let issuer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "server.key", "-out", "server.pem"];
        let subject =
            ["-subj", "/CN=test", "-addext", &names, "-addext", "basicConstraints=critical,CA:FALSE"];
        certificate(&[&subject[..], &issuer].concat());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = CONFIGURATION.replace("BASE", base.to_str().unwrap()).replace("PORT", &port.to_string());
        fs::write(base.join("nginx.conf"), text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-c").arg(base.join("nginx.conf")).stdin(Stdio::null()).stderr(Stdio::null());
        let nginx = command.spawn().unwrap();
        let address = format!("127.0.0.1:{port}");
        wait_until("nginx", || TcpStream::connect(&address).is_ok());
        Https { proxy: tunnel(&address).0, base, nginx }
    }

    /// Makes a file that is served.
    fn serve(&self, image: &Path, name: &str) {
        fs::copy(image, self.base.join("www").join(name)).unwrap();
    }

    /// A command that reaches the server, and trusts the authority that `variable` names.
    fn run(&self, rkt: &Rkt, insecure: &str, arguments: &[&str], variable: &str, authority: &str) -> Outcome {
        let mut command = rkt.command([&[insecure][..], arguments].concat());
        command.env("https_proxy", format!("http://{}", self.proxy));
        command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        run(command.env(variable, self.base.join(authority)))
    }

    /// What the server has seen: path, host, date, hash and authorization of each request.
    fn seen(&self) -> Vec<Vec<String>> {
        let text = fs::read_to_string(self.base.join("access.log")).unwrap();
        text.lines().map(|line| line.splitn(5, ' ').map(str::to_owned).collect()).collect()
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.nginx);
        kill_process(pid, Signal::TERM).ok();
        self.nginx.wait().ok();
    }
}

// APPC-365
#[test]
fn case_10_certificates_are_checked_against_authorities_that_the_environment_names() {
    let rkt = Rkt::new();
    // It needs nginx and openssl, which the machine that runs the tests has.
    if rkt.launcher() == Launcher::Systemd {
        return;
    }
    let server = Https::new(&rkt);
    server.serve(&rkt.image("secure", |image| image), "image.aci");
    let directory = server.base.join("authorities");
    fs::create_dir(&directory).unwrap();
    fs::copy(server.base.join("ca.pem"), directory.join("ca.pem")).unwrap();
    run(Command::new("openssl").arg("rehash").arg(&directory)).success();
    let url = "https://test.invalid/image.aci";
    let image = "--insecure-options=image";
    for (variable, authority, host, insecure, fine) in [
        ("SSL_CERT_FILE", "ca.pem", "test.invalid", image, true),
        ("SSL_CERT_DIR", "authorities", "test.invalid", image, true),
        ("SSL_CERT_FILE", "strange.pem", "test.invalid", image, false),
        ("SSL_CERT_FILE", "ca.pem", "other.invalid", image, false),
        ("SSL_CERT_FILE", "strange.pem", "other.invalid", "--insecure-options=image,tls", true),
    ] {
        let rkt = Rkt::new();
        let url = url.replace("test.invalid", host);
        let end = server.run(&rkt, insecure, &["fetch", "--quiet", &url], variable, authority);
        if fine {
            end.success();
        } else {
            let end = end.exits(254).stderr_has("certificate");
            assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
        }
    }
}

// APPC-370
#[test]
fn requests_to_s3_are_signed_and_nobody_else_sees_the_signature() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Systemd {
        return;
    }
    let server = Https::new(&rkt);
    let image = rkt.image("bucket", |image| image);
    server.serve(&image, "a dir/image.aci");
    server.serve(&image, "image.aci");
    let auth = rkt.base().join("local/auth.d");
    fs::create_dir_all(&auth).unwrap();
    let credentials = format!(
        r#"{{"rktKind": "auth", "rktVersion": "v1", "domains": ["{BUCKET}"], "type": "aws",
        "credentials": {{"accessKeyID": "AKEXAMPLE", "secretAccessKey": "s3cret"}}}}"#
    );
    fs::write(auth.join("s3.json"), credentials).unwrap();
    let fetch = |insecure: &str, what: &str| {
        let insecure = format!("--insecure-options={insecure}");
        server.run(&rkt, &insecure, &["fetch", what], "SSL_CERT_FILE", "ca.pem").stderr_lacks("s3cret")
    };
    fetch("image", &format!("https://{BUCKET}/a%20dir/image.aci")).success();
    fetch("image", &format!("https://{BUCKET}/moved.aci")).success();
    fetch("none", &format!("https://{BUCKET}/a%20dir/image.aci")).exits(254).stderr_has("404");
    fetch("image", &format!("{BUCKET}/name")).exits(254).stderr_has("discovery failed");
    let seen = server.seen();
    let mut signed = Vec::new();
    for line in &seen {
        let [path, host, time, hash, authorization] = &line[..] else { panic!("{line:?}") };
        if authorization == "-" {
            assert_eq!((time.as_str(), hash.as_str()), ("-", "-"), "{line:?}");
            continue;
        }
        assert_eq!(authorization, &signature(path, host, time, hash), "{line:?}");
        signed.push(path.as_str());
    }
    // The last one is the image at the place that its own name is, where no page names it.
    let by_name = signed.pop().unwrap_or_default();
    assert!(by_name.starts_with("/name-latest-linux-") && by_name.ends_with(".aci"), "{seen:?}");
    assert_eq!(signed, ["/a%20dir/image.aci", "/moved.aci", "/a%20dir/image.aci.asc"], "{seen:?}");
    // Where it was redirected, and the pages of a discovery.
    assert!(seen.iter().any(|line| line[0] == "/image.aci" && line[1] == "test.invalid"), "{seen:?}");
    assert!(seen.iter().any(|line| line[0].ends_with("?ac-discovery=1")), "{seen:?}");
}

/// What S3 computes for a request.
fn signature(path: &str, host: &str, time: &str, hash: &str) -> String {
    let keyed = |key: &[u8], text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let names = "host;x-amz-content-sha256;x-amz-date";
    let request = format!(
        "GET\n{path}\n\nhost:{host}\nx-amz-content-sha256:{hash}\nx-amz-date:{time}\n\n{names}\n{}",
        hex(&Sha256::digest(b""))
    );
    let scope = format!("{}/eu-west-1/s3/aws4_request", &time[..8]);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let key = scope.split('/').fold(b"AWS4s3cret".to_vec(), |key, part| keyed(&key, part));
    let signature = hex(&keyed(&key, &text));
    format!("AWS4-HMAC-SHA256 Credential=AKEXAMPLE/{scope},SignedHeaders={names},Signature={signature}")
}
