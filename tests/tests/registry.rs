//! Images out of registries: Debian's own, filled by the tools that people use.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use rkt_tests::{
    Outcome, Rkt,
    archive::{Archive, Header},
    args,
    layers::{OciImage, busybox_layer, digest},
    run, wait_until,
};
use serde_json::json;

/// The password `p` of the user `ci`, as htpasswd writes it.
const USERS: &str = "ci:$2b$04$MJ4s7phXKEJLKkjf.Ni6e.zC95UmRndb9K9vemT0ZzJqANHlINROa\n";

/// Debian's docker-registry, by https with a certificate of a CA of its own, for the user `ci`.
struct Registry {
    process: Child,
    address: String,
    base: PathBuf,
}

impl Registry {
    fn start(rkt: &Rkt) -> Registry {
        let base = rkt.files().join("registry");
        fs::create_dir(&base).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let openssl = |args: &[&str]| run(Command::new("openssl").args(args).current_dir(&base)).success();
        let certificate = |more: &[&str]| {
            let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
            openssl(&[&["req", "-x509", "-nodes", "-days", "2"], &curve[..], more].concat())
        };
        certificate(&["-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.pem"]);
        let issuer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "server.key", "-out", "server.pem"];
        let name = ["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1"];
        certificate(&[&name[..], &["-addext", "basicConstraints=critical,CA:FALSE"], &issuer].concat());
        fs::write(base.join("users"), USERS).unwrap();
        let configuration = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {0}/store}}}}\n\
             http: {{addr: '{address}', tls: {{certificate: {0}/server.pem, key: {0}/server.key}}}}\n\
             auth: {{htpasswd: {{realm: test, path: {0}/users}}}}\n",
            base.display()
        );
        fs::write(base.join("config.yml"), configuration).unwrap();
        let process = Command::new("docker-registry")
            .args(["serve", "config.yml"])
            .current_dir(&base)
            .stdout(Stdio::null())
            .stderr(fs::File::create(base.join("log")).unwrap())
            .spawn()
            .unwrap();
        let registry = Registry { process, address, base };
        wait_until("the registry listens", || TcpStream::connect(&registry.address).is_ok());
        registry
    }

    /// Copies an image that skopeo finds at `from` to a name of the registry.
    fn push(&self, from: &str, to: &str) {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--dest-creds=ci:p"]);
        skopeo.arg(format!("--dest-cert-dir={}", self.certificates().display()));
        run(skopeo.args([from, &format!("docker://{}/{to}", self.address)])).success();
    }

    /// A directory as skopeo and its kin want certificates.
    fn certificates(&self) -> PathBuf {
        let directory = self.base.join("certificates");
        fs::create_dir_all(&directory).unwrap();
        fs::copy(self.base.join("ca.pem"), directory.join("ca.crt")).unwrap();
        directory
    }

    fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }

    /// Says in the configuration what the registry wants to see.
    fn configure(&self, rkt: &Rkt) {
        let auth = rkt.base().join("local/auth.d");
        fs::create_dir_all(&auth).unwrap();
        let text = json!({
            "rktKind": "dockerAuth", "rktVersion": "v1", "registries": [self.address],
            "credentials": {"user": "ci", "password": "p"},
        });
        fs::write(auth.join("registry.json"), text.to_string()).unwrap();
    }

    fn rkt(&self, rkt: &Rkt, words: &[&str]) -> Outcome {
        let mut command = rkt.command(words);
        command.env("SSL_CERT_FILE", self.base.join("ca.pem")).env("HOME", rkt.files());
        for name in ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        run(&mut command)
    }

    fn runs(&self, rkt: &Rkt, image: &str) -> Outcome {
        self.rkt(rkt, &["run", "--net=none", "--supervisor=direct", image]).success()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn image(script: &str) -> OciImage {
    let own = Archive::new().entry(Header::directory("own"), "").entry(Header::file("own/x"), "own\n");
    OciImage::new(&[busybox_layer(), own], script, &json!({}))
}

#[test]
fn a_tag_is_followed_as_the_policy_says_and_a_digest_never_changes() {
    let rkt = Rkt::new();
    let registry = Registry::start(&rkt);
    registry.configure(&rkt);
    let publish = |word: &str| {
        let path = rkt.files().join(word);
        image(&format!("echo {word}; cat /own/x")).lay_out(&path, &["x"]);
        registry.push(&format!("oci:{}:x", path.display()), "team/app:v1");
    };
    publish("first");
    let name = registry.image("team/app:v1");
    let never = registry.rkt(&rkt, &["fetch", "--pull-policy=never", &name]).exits(254);
    never.stderr_has("--pull-policy=never forbids");
    registry.runs(&rkt, &name).stdout_is("first\nown\n");
    let first = registry.rkt(&rkt, &["fetch", &name]).success().stdout;
    publish("second");
    registry.runs(&rkt, &name).stdout_is("first\nown\n");
    let second = registry.rkt(&rkt, &["fetch", &name]).success().stdout;
    assert_ne!(first, second);
    registry.runs(&rkt, &name).stdout_is("second\nown\n");
    // Known by its own name, too.
    let short = format!("{}/team/app:v1", registry.address.replace(':', "_"));
    rkt.run_pod(args!["--supervisor=direct", &short]).success().stdout_is("second\nown\n");
    let exact = digest(&image("echo first; cat /own/x").manifest);
    let exact = registry.image(&format!("team/app@{exact}"));
    registry.runs(&rkt, &exact).stdout_is("first\nown\n");
    registry.rkt(&rkt, &["fetch", &registry.image("team/app:v2")]).exits(254).stderr_has("no such image");
    registry.rkt(&rkt, &["fetch", &registry.image("other")]).exits(254).stderr_has("no such image");
    // Layers that are there are not got again: two images, three layers.
    let trees = fs::read_dir(rkt.data().join("cas/tree")).unwrap().count();
    assert_eq!(trees, 2);
}

#[test]
fn credentials_come_from_our_configuration_or_docker_s() {
    let rkt = Rkt::new();
    let registry = Registry::start(&rkt);
    let path = rkt.files().join("layout");
    image("true").lay_out(&path, &["x"]);
    registry.push(&format!("oci:{}:x", path.display()), "private");
    let name = registry.image("private");
    let fetch = || registry.rkt(&rkt, &["fetch", &name]);
    fetch().exits(254).stderr_has("wants credentials").stderr_has("dockerAuth");
    let docker = rkt.files().join(".docker");
    fs::create_dir(&docker).unwrap();
    let write = |value: serde_json::Value| {
        fs::write(docker.join("config.json"), value.to_string()).unwrap();
        fs::remove_dir_all(rkt.data()).ok();
    };
    write(json!({"auths": {&registry.address: {"auth": "Y2k6d3Jvbmc="}}}));
    fetch().exits(254).stderr_has("does not accept the credentials").stderr_lacks("wrong");
    write(json!({"auths": {&registry.address: {"auth": "Y2k6cA=="}}}));
    fetch().success();
    write(json!({"auths": {"127.0.0.1": {"auth": "Y2k6cA=="}}}));
    fetch().exits(254);
    write(json!({"auths": 7}));
    fetch().exits(254).stderr_has(".docker/config.json");
    // A helper, which is asked for this registry.
    let bin = rkt.files().join("bin");
    fs::create_dir(&bin).unwrap();
    let script = format!(
        "#!/bin/sh\nread -r host || :\n[ \"$1 $host\" = \"get {}\" ] || exit 9\n\
         echo '{{\"ServerURL\": \"x\", \"Username\": \"ci\", \"Secret\": \"p\"}}'\n",
        registry.address
    );
    fs::write(bin.join("docker-credential-test"), script).unwrap();
    fs::set_permissions(bin.join("docker-credential-test"), fs::Permissions::from_mode(0o755)).unwrap();
    for configuration in [
        json!({"credHelpers": {&registry.address: "test"}}),
        json!({"credsStore": "test", "auths": {&registry.address: {}}}),
    ] {
        write(configuration);
        let mut command = rkt.command(["fetch", &name]);
        command.env("SSL_CERT_FILE", registry.base.join("ca.pem")).env("HOME", rkt.files());
        command.env_remove("XDG_RUNTIME_DIR").env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        run(&mut command).success();
    }
    write(json!({"credHelpers": {&registry.address: "missing"}}));
    fetch().exits(254).stderr_has("docker-credential-missing");
}

#[test]
fn images_of_buildah_umoci_and_podman_run_unchanged() {
    let rkt = Rkt::new();
    let registry = Registry::start(&rkt);
    registry.configure(&rkt);
    let base = rkt.files();
    let tool = |name: &str, words: &[&str]| {
        let mut command = Command::new(name);
        command.current_dir(&base).env("STORAGE_DRIVER", "vfs").env("HOME", &base);
        if name != "umoci" {
            command.args(["--root", "storage", "--runroot", "run"]);
        }
        run(command.args(words)).success()
    };
    let busybox = rkt_tests::host_busybox();
    let busybox = busybox.to_str().unwrap();
    let container = tool("buildah", &["from", "scratch"]).stdout.trim().to_owned();
    tool("buildah", &["add", &container, busybox, "/bin/busybox"]);
    let command = r#"["/bin/busybox", "sh", "-c", "echo buildah: $WHAT; id -u"]"#;
    tool("buildah", &["config", "--cmd", command, "--env", "WHAT=ran", "--user", "1000:1000", &container]);
    tool("buildah", &["commit", "--quiet", &container, "localhost/built"]);
    tool("buildah", &["push", "--quiet", "localhost/built", "oci:built:x"]);
    registry.push(&format!("oci:{}/built:x", base.display()), "buildah");
    registry.runs(&rkt, &registry.image("buildah")).stdout_is("buildah: ran\n1000\n");
    // What podman saves, in both of its formats.
    for (format, prefix) in [("docker-archive", "docker-archive:"), ("oci-archive", "oci-archive:")] {
        let file = base.join(format).to_str().unwrap().to_owned();
        tool("podman", &["save", "--quiet", "--format", format, "--output", &file, "localhost/built"]);
        for image in [file.clone(), format!("{prefix}{file}")] {
            rkt.run_pod(args!["--supervisor=direct", image]).success().stdout_is("buildah: ran\n1000\n");
        }
        registry.push(&format!("{prefix}{file}"), &format!("podman/{format}"));
        registry.runs(&rkt, &registry.image(&format!("podman/{format}")));
    }
    tool("umoci", &["init", "--layout", "made"]);
    tool("umoci", &["new", "--image", "made:x"]);
    tool("umoci", &["insert", "--image", "made:x", busybox, "/bin/busybox"]);
    let entry = ["--config.entrypoint=/bin/busybox", "--config.cmd=echo", "--config.cmd=umoci: ran"];
    tool("umoci", &[&["config", "--image", "made:x"], &entry[..]].concat());
    registry.push(&format!("oci:{}/made:x", base.display()), "umoci");
    registry.runs(&rkt, &registry.image("umoci")).stdout_is("umoci: ran\n");
    // Schema 2 of Docker's, with zstd.
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--dest-creds=ci:p", "--format=v2s2"]);
    skopeo.arg(format!("--dest-cert-dir={}", registry.certificates().display()));
    skopeo.arg(format!("oci:{}/made:x", base.display()));
    run(skopeo.arg(format!("docker://{}/schema2", registry.address))).success();
    registry.runs(&rkt, &registry.image("schema2")).stdout_is("umoci: ran\n");
}
