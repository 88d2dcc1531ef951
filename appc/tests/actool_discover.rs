//! `actool discover` against a web server, and beside the specification's own.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use appc::types::host_os_arch;
use common::{actool, original, run};

const IMAGE: &str = r#"<meta name="ac-discovery" content="localhost https://s.example.com/{name}-{version}-{os}-{arch}.{ext}">"#;
const KEYS: &str = r#"<meta name="ac-discovery-pubkeys" content="localhost https://s.example.com/keys.gpg">"#;

/// Serves what `answer` says to the path of each request, as long as the test runs.
fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve_one(stream.unwrap(), &answer);
        }
    });
    port.to_string()
}

fn serve_one(mut stream: TcpStream, answer: &impl Fn(&str) -> Vec<u8>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    // Who speaks TLS here is turned away.
    if reader.fill_buf().is_ok_and(|bytes| bytes.first() == Some(&0x16))
        || reader.read_line(&mut line).is_err()
    {
        return;
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    while reader.read_line(&mut line).is_ok_and(|length| length > 2) {}
    if stream.write_all(&answer(&path)).is_err() {
        // The client had enough.
    }
}

fn page(text: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len())
        .into_bytes()
}

fn status(status: &str, header: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{header}Connection: close\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

fn discover(port: &str, arguments: &[&str]) -> (i32, String, String) {
    run(actool().args(["discover", &format!("--port={port}")]).args(arguments))
}

// APPC-357, APPC-359, APPC-360, APPC-363, APPC-367, APPC-417
#[test]
fn what_is_found_is_what_the_original_finds() {
    let port = serve(|path| match path {
        "/app?ac-discovery=1" => page(&format!("<html><head>{IMAGE}{KEYS}")),
        "/other?ac-discovery=1" => page(&format!("{IMAGE}{IMAGE}")),
        "?ac-discovery=1" | "/?ac-discovery=1" => page(KEYS),
        "/moved?ac-discovery=1" => status("302 Found", "Location: /app?ac-discovery=1\r\n"),
        _ => status("404 Not Found", ""),
    });
    for name in [
        "localhost/app",
        "localhost/app:1.0,os=linux,arch=amd64",
        "localhost/other",
        "localhost/app/below/it",
        "localhost/moved",
    ] {
        let given = ["discover", "-insecure", "-port", &port, name];
        let (ours, theirs) = (run(actool().args(given)), run(original().args(given)));
        // What went wrong on the way is told in words of one's own.
        let found = |text: &str| {
            text.lines().filter(|line| !line.contains(" walk: ")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!((ours.0, found(&ours.1)), (theirs.0, found(&theirs.1)), "{name}\n{ours:?}\n{theirs:?}");
        assert_eq!(ours.0, 0, "{ours:?}");
        assert_eq!(ours.1.contains(" walk: "), theirs.1.contains(" walk: "), "{ours:?}\n{theirs:?}");
    }
    let (os, arch) = host_os_arch();
    let (code, output, _) = discover(&port, &["--insecure", "localhost/app"]);
    let url = format!("https://s.example.com/localhost/app-latest-{os}-{arch}.aci");
    assert_eq!(
        (code, output),
        (0, format!("ACI: {url}, ASC: {url}.asc\nPublicKeys: https://s.example.com/keys.gpg\n"))
    );
    let (code, output, _) = discover(&port, &["--insecure", "--json", "localhost/app"]);
    let want = format!(
        "{{\n    \"ACIEndpoints\": [\n        {{\n            \"ACI\": \"{url}\",\n            \"ASC\": \"{url}.asc\"\n        }}\n    ],\n    \"PublicKeys\": [\n        \"https://s.example.com/keys.gpg\"\n    ]\n}}\n"
    );
    assert_eq!((code, output), (0, want));
}

// APPC-418
#[test]
fn images_are_printed_even_where_there_are_no_keys() {
    let port = serve(|_| page(IMAGE));
    let (code, output, error) = discover(&port, &["--insecure", "localhost/app"]);
    assert_eq!(code, 1);
    assert!(output.starts_with("ACI: https://s.example.com/localhost/app-latest"), "{output}");
    assert_eq!(
        error,
        "discover: error fetching public keys for localhost/app: discovery failed: no public keys of \"localhost/app\"\n"
    );
    assert_eq!(discover(&port, &[]), (1, String::new(), "discover: at least one name required\n".to_owned()));
    let (code, _, error) = discover(&port, &["Foo"]);
    assert!(code == 1 && error.lines().count() == 1 && error.contains("Foo"), "{error}");
}

// APPC-364
#[test]
fn case_10_plain_http_is_never_used_unless_allowed() {
    let port = serve(|_| page(&format!("{IMAGE}{KEYS}")));
    let (code, output, error) = discover(&port, &["localhost/app"]);
    assert_eq!((code, output.as_str()), (1, ""));
    assert!(error.contains("https://localhost") && !error.contains("http://"), "{error}");
}

// APPC-351, APPC-366, APPC-374
#[test]
fn case_10_hostile_answers_end_in_an_error() {
    let loops = serve(|path| status("302 Found", &format!("Location: {path}&x\r\n")));
    let to_file = serve(|_| status("302 Found", "Location: file:///etc/passwd\r\n"));
    let huge = serve(|_| page(&" ".repeat(3 << 20)));
    let cut = serve(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n<meta".to_vec());
    let junk = serve(|_| b"\0\xff\r\n\r\n".to_vec());
    let partial = serve(|_| {
        let text = String::from_utf8(page(&format!("{IMAGE}{KEYS}"))).unwrap();
        text.replace("200 OK", "206 Partial Content").into_bytes()
    });
    let prefix = serve(|_| page(&IMAGE.replace("localhost", "example.org")));
    for (what, port) in [
        ("loops", loops),
        ("to_file", to_file),
        ("huge", huge),
        ("cut", cut),
        ("junk", junk),
        ("partial", partial),
        ("prefix", prefix),
    ] {
        let (code, output, error) = discover(&port, &["--insecure", "localhost/app"]);
        assert_eq!((code, output.as_str()), (1, ""), "{what}: {error}");
        assert!(error.starts_with("discover: error fetching endpoints"), "{what}: {error}");
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

// APPC-365
#[test]
fn case_10_certificates_are_checked_against_the_systems_authorities() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let config = "-x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    let made = run(Command::new("openssl").arg("req").args(config.split(' ')).current_dir(at));
    assert_eq!(made.0, 0, "apt-get install openssl: {made:?}");
    fs::write(at.join("app?ac-discovery=1"), format!("HTTP/1.0 200 OK\r\n\r\n{IMAGE}{KEYS}")).unwrap();
    let mut server = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "cert", "-key", "key", "-HTTP"])
        .current_dir(at)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap());
    let _server = Server(server);
    let mut line = String::new();
    while !line.starts_with("ACCEPT") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "openssl has ended");
    }
    let port = line.trim().rsplit(':').next().unwrap().to_owned();
    thread::spawn(move || {
        let mut rest = Vec::new();
        if said.read_to_end(&mut rest).is_err() {
            // It was killed.
        }
    });
    thread::sleep(Duration::from_millis(50));
    let (code, output, error) = discover(&port, &["localhost/app"]);
    assert_eq!((code, output.as_str()), (1, ""), "{error}");
    assert!(error.to_lowercase().contains("certificate"), "{error}");
    let insecure = discover(&port, &["--insecure", "localhost/app"]);
    assert_eq!(insecure.0, 0, "{insecure:?}");
    let trusted = run(actool()
        .args(["discover", &format!("--port={port}"), "localhost/app"])
        .env("SSL_CERT_FILE", at.join("cert")));
    assert_eq!((trusted.0, trusted.1), (0, insecure.1), "{}", trusted.2);
}
