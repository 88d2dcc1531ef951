//! Downloads that break and are continued, and servers that do not want them to end well.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rkt_tests::{
    Outcome, Rkt, args,
    hostile::{Act, HostileServer},
    run, server, wait_until,
};
use sha2::{Digest, Sha256};

const ETAG: &str = "\"one\"";
const TAGGED: &str = "ETag: \"one\"";

/// Fetches a URL with a server's patience of a second and a half, images of at most 64 MiB, and a gibibyte of addresses.
fn fetch(rkt: &Rkt, url: &str, more: &[&str]) -> Outcome {
    let inner = rkt.command(args!["fetch", "--full"]);
    let mut command = Command::new("prlimit");
    command.arg("--as=1073741824").arg(inner.get_program()).args(inner.get_args()).args(more).arg(url);
    command.env("TMPDIR", rkt.base().join("tmp")).stdin(Stdio::null());
    command.env("RKT_DEBUG_PATIENCE", "1500").env("RKT_DEBUG_LARGEST", (64 << 20).to_string());
    let start = Instant::now();
    let end = run(&mut command);
    assert!(start.elapsed() < Duration::from_secs(25), "it took {:?}", start.elapsed());
    end
}

/// An image, and what its ID is.
fn image(rkt: &Rkt, name: &str) -> (Vec<u8>, String) {
    let path = rkt.image(name, |image| image.sh(&format!("echo {name}")));
    let other = Rkt::new();
    let id = other.rkt(args!["fetch", "--full", &path]).success().stdout;
    (fs::read(path).unwrap(), id)
}

fn left(rkt: &Rkt, place: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(rkt.data().join("cas").join(place)).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Nothing of an image is there.
fn nothing_left(rkt: &Rkt, what: &str) {
    assert_eq!(rkt.rkt(["image", "list", "--no-legend"]).success().stdout.trim(), "", "{what}");
    for place in ["tmp", "blob", "tree", "partial"] {
        assert_eq!(left(rkt, place), Vec::<PathBuf>::new(), "{what}");
    }
}

fn ranges(server: &HostileServer) -> Vec<Option<String>> {
    server.requests().iter().map(|request| request.header("range").map(str::to_owned)).collect()
}

#[test]
fn case_08_a_download_that_breaks_is_continued() {
    let rkt = Rkt::new();
    let (bytes, id) = image(&rkt, "broken");
    let (half, most) = (bytes.len() / 2, bytes.len() - 1);
    let good = || Act::Good(ETAG.to_owned(), bytes.clone());
    let rest: Vec<u8> = bytes[half..].to_vec();
    let again = format!(
        "206 Partial Content\r\n{TAGGED}\r\nContent-Range: bytes {half}-{most}/{}\r\nContent-Length: {}",
        bytes.len(),
        rest.len()
    );
    for (what, script, places) in [
        ("cut", vec![Act::cut(TAGGED, &bytes, half), good()], vec![half]),
        ("cut at the end", vec![Act::cut(TAGGED, &bytes, most), good()], vec![most]),
        ("reset", vec![Act::reset(TAGGED, &bytes, half), good()], vec![half]),
        ("stalled", vec![Act::stall(TAGGED, &bytes, half), good()], vec![half]),
        (
            "twice",
            vec![Act::cut(TAGGED, &bytes, half), Act::Send(again, rest[..rest.len() / 2].to_vec()), good()],
            vec![half, half + rest.len() / 2],
        ),
        (
            "by date",
            vec![
                Act::cut(
                    "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\nDate: Sun, 06 Nov 1994 09:00:00 GMT",
                    &bytes,
                    half,
                ),
                Act::Good("Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), bytes.clone()),
            ],
            vec![half],
        ),
    ] {
        let rkt = Rkt::new();
        let server = HostileServer::new(script);
        let end = fetch(&rkt, &server.url("image.aci"), &[]).success();
        assert_eq!(end.stdout, id, "{what}");
        let mut wanted = vec![None];
        wanted.extend(places.iter().map(|place| Some(format!("bytes={place}-"))));
        assert_eq!(ranges(&server), wanted, "{what}");
        assert!(
            server.requests().iter().all(|request| request.header("accept-encoding") == Some("identity"))
        );
        assert_eq!(left(&rkt, "partial"), Vec::<PathBuf>::new(), "{what}");
        end.stderr_has("trying again");
    }
}

#[test]
fn case_08_what_changed_while_it_came_is_got_from_its_beginning() {
    let rkt = Rkt::new();
    let (old, _) = image(&rkt, "before");
    let (new, id) = image(&rkt, "after");
    let half = old.len() / 2;
    let end = new.len() - 1;
    let part = |etag: &str, range: &str| {
        let head = format!(
            "206 Partial Content\r\nETag: {etag}\r\nContent-Range: {range}\r\nContent-Length: {}",
            new.len() - half
        );
        Act::Send(head, new[half..].to_vec())
    };
    let good = || Act::Good("\"two\"".to_owned(), new.clone());
    for (what, answer, requests) in [
        ("it says so", good(), 2),
        ("it knows no ranges", Act::whole("ETag: \"two\"", &new), 2),
        ("another tag", part("\"two\"", &format!("bytes {half}-{end}/{}", new.len())), 3),
        ("another place", part(ETAG, &format!("bytes {}-{end}/{}", half - 1, new.len())), 3),
        ("another length", part(ETAG, &format!("bytes {half}-{}/{}", old.len(), old.len() + 1)), 3),
        ("no place", part(ETAG, "bytes"), 3),
        ("no such range", Act::status("416 Range Not Satisfiable"), 3),
    ] {
        let rkt = Rkt::new();
        let server = HostileServer::new(vec![Act::cut(TAGGED, &old, half), answer, good()]);
        assert_eq!(fetch(&rkt, &server.url("image.aci"), &[]).success().stdout, id, "{what}");
        let ranges = ranges(&server);
        assert_eq!(ranges.len(), requests, "{what}: {ranges:?}");
        assert!(ranges[1].is_some() && ranges.get(2).is_none_or(Option::is_none), "{what}: {ranges:?}");
    }
    // What the server does not describe is not continued.
    for headers in ["", "ETag: W/\"one\"", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"] {
        let rkt = Rkt::new();
        let server = HostileServer::new(vec![Act::cut(headers, &old, half), good()]);
        assert_eq!(fetch(&rkt, &server.url("image.aci"), &[]).success().stdout, id, "{headers}");
        assert_eq!(ranges(&server), [None, None], "{headers}");
    }
}

#[test]
fn case_08_what_a_killed_rkt_had_is_continued_by_the_next() {
    let rkt = Rkt::new();
    let (bytes, id) = image(&rkt, "killed");
    let half = bytes.len() / 2;
    let server =
        HostileServer::new(vec![Act::stall(TAGGED, &bytes, half), Act::Good(ETAG.to_owned(), bytes.clone())]);
    let url = server.url("image.aci");
    let mut child = rkt.command(args!["fetch", &url]).stderr(Stdio::null()).spawn().unwrap();
    let came = || {
        let data = left(&rkt, "partial").first().map(|path| path.join("data"));
        data.and_then(|data| fs::metadata(data).ok()).is_some_and(|data| data.len() == half as u64)
    };
    wait_until("half of the image", came);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(came());
    let end = fetch(&rkt, &url, &[]).success();
    assert_eq!(end.stdout, id);
    assert_eq!(ranges(&server), [None, Some(format!("bytes={half}-"))]);
    assert_eq!(left(&rkt, "partial"), Vec::<PathBuf>::new());
    end.stderr_has(&format!("image: continuing after {half} bytes: {url}"));
}

#[test]
fn case_08_a_download_that_never_ends_well_is_given_up_and_kept() {
    let rkt = Rkt::new();
    let (bytes, id) = image(&rkt, "stubborn");
    let half = bytes.len() / 2;
    let bad = HostileServer::new(vec![Act::cut(TAGGED, &bytes, half)]);
    let end = fetch(&rkt, &bad.url("image.aci"), &["--quiet"]).exits(254);
    assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
    assert_eq!(bad.requests().len(), 3);
    assert_eq!(left(&rkt, "partial").len(), 1);
    // It is old after a day, and then the next download removes it.
    let kept = left(&rkt, "partial").remove(0);
    let yesterday = std::time::SystemTime::now() - Duration::from_secs(25 * 3600);
    fs::File::options().write(true).open(kept.join("data")).unwrap().set_modified(yesterday).unwrap();
    let good = HostileServer::new(vec![Act::Good(ETAG.to_owned(), bytes)]);
    assert_eq!(fetch(&rkt, &good.url("other.aci"), &[]).success().stdout, id);
    assert!(!kept.exists());
}

#[test]
fn case_08_wrong_lengths_are_never_stored() {
    let rkt = Rkt::new();
    let (bytes, _) = image(&rkt, "length");
    let short = format!("200 OK\r\nContent-Length: {}", bytes.len() - 10);
    let long = format!("200 OK\r\nContent-Length: {}", bytes.len() + 10);
    let absurd = "200 OK\r\nContent-Length: 99999999999999".to_owned();
    let negative = "200 OK\r\nContent-Length: -1".to_owned();
    let rkt = Rkt::new();
    for head in [short, long, absurd, negative] {
        let server = HostileServer::new(vec![Act::Send(head.clone(), bytes.clone())]);
        let end = fetch(&rkt, &server.url("image.aci"), &["--quiet"]).exits(254);
        assert_eq!(end.stderr.lines().count(), 1, "{head}: {end:?}");
        nothing_left(&rkt, &head);
    }
}

// APPC-374
#[test]
fn case_10_servers_that_lie_end_in_one_line_and_leave_nothing() {
    let rkt = Rkt::new();
    let (bytes, _) = image(&rkt, "lies");
    let mut plain = Vec::new();
    std::io::copy(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut plain).ok();
    let plain = if plain.is_empty() { bytes.clone() } else { plain };
    let dot = Duration::from_millis(100);
    let ok = || "200 OK".to_owned();
    let rkt = Rkt::new();
    for (what, act, reason) in [
        ("a byte at a time", Act::Drip(ok(), bytes.clone(), dot), "too slow"),
        ("a head at a time", Act::DripHead(dot), "timeout"),
        ("a silent server", Act::Stall("200 OK".to_owned(), Vec::new()), "timeout"),
        ("headers without an end", Act::EndlessHead, "header"),
        ("zeros without an end", Act::Endless(ok(), plain, vec![0; 64 << 10]), "more than 67108864 bytes"),
        ("garbage without an end", Act::Endless(ok(), Vec::new(), vec![b'x'; 64 << 10]), "not an image"),
        ("html", Act::whole("Content-Type: text/html", b"<html>no</html>"), "not an image"),
        (
            "a wish for credentials",
            Act::status("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\""),
            "401",
        ),
        ("no http", Act::Send("999999".to_owned(), Vec::new()), "get http://"),
        ("a redirect without a place", Act::status("302 Found"), "302"),
        ("a redirect to nowhere", Act::status("302 Found\r\nLocation: http:///x"), "redirect"),
        ("a redirect to a file", Act::status("302 Found\r\nLocation: file:///etc/passwd"), "bad redirect"),
        ("a redirect to itself", Act::status("302 Found\r\nLocation: image.aci"), "more than 10 redirects"),
        ("a name for a terminal", Act::status("302 Found\r\nLocation: /\x1b]0;owned\x07"), "get http://"),
    ] {
        let server = HostileServer::new(vec![act]);
        let end = fetch(&rkt, &server.url("image.aci"), &["--quiet"]).exits(254).stderr_has(reason);
        assert_eq!(end.stderr.lines().count(), 1, "{what}: {end:?}");
        assert!(!end.stderr.contains('\x1b'), "{what}: {end:?}");
        assert!(server.requests().len() <= 12, "{what}: {} requests", server.requests().len());
        nothing_left(&rkt, what);
    }
}

// APPC-351, APPC-364, APPC-374
#[test]
fn case_10_discovery_that_leads_in_circles_ends() {
    let rkt = Rkt::new();
    let pages = Arc::new(Mutex::new(String::new()));
    let page = Arc::clone(&pages);
    let (address, requests) = server::serve(move |_, stream| {
        let page = page.lock().unwrap().clone();
        server::send_body(stream, "200 OK\r\nContent-Type: text/html", page.as_bytes());
    });
    let meta = |content: &str| format!("<meta name=\"ac-discovery\" content=\"{content}\">\n");
    let proxied = |rkt: &Rkt, insecure: &str| {
        let mut command = rkt.command(args![insecure, "fetch", "--quiet", "test.invalid/app"]);
        // The name is nobody's: the proxy is asked for it.
        let proxy = server::tunnel(&address).0;
        command.env("http_proxy", format!("http://{proxy}")).env("https_proxy", "http://127.0.0.1:1");
        let start = Instant::now();
        let end = run(&mut command).exits(254);
        assert!(start.elapsed() < Duration::from_secs(25));
        assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
        nothing_left(rkt, insecure);
        end
    };
    for (text, reason) in [
        (meta("test.invalid/app http://test.invalid/{name}.{ext}"), "not an image"),
        (meta("test.invalid/app http://test.invalid/app.{ext}?ac-discovery=1").repeat(1000), "not an image"),
        (meta("test.invalid/app file:///etc/passwd"), "test.invalid"),
        (meta("other.invalid/app http://other.invalid/{name}.{ext}"), "discovery"),
        ("<p>".repeat(2 << 20), "discovery"),
    ] {
        *pages.lock().unwrap() = text;
        proxied(&rkt, "--insecure-options=image,http").stderr_has(reason);
    }
    // Nobody asks over http who was not told to.
    let before = requests.load(std::sync::atomic::Ordering::SeqCst);
    proxied(&rkt, "--insecure-options=image");
    assert_eq!(requests.load(std::sync::atomic::Ordering::SeqCst), before);
}

#[test]
fn proxies_are_asked_as_the_environment_says() {
    let rkt = Rkt::new();
    let (bytes, id) = image(&rkt, "proxied");
    let server = HostileServer::new(vec![Act::Good(ETAG.to_owned(), bytes)]);
    for (variables, through) in [
        (&[("http_proxy", "http://user:word@PROXY")][..], true),
        (&[("HTTP_PROXY", "PROXY")], true),
        (&[("all_proxy", "http://PROXY")], true),
        (&[("http_proxy", "http://PROXY"), ("no_proxy", "other.invalid")], true),
        (&[("https_proxy", "http://PROXY")], false),
        (&[("http_proxy", "http://PROXY"), ("no_proxy", "x, invalid")], false),
        (&[("http_proxy", "http://PROXY"), ("NO_PROXY", "*")], false),
    ] {
        let rkt = Rkt::new();
        let (proxy, asked) = server::tunnel(server.address());
        let mut command = rkt.command(args!["fetch", "--full", "http://test.invalid/image.aci"]);
        for (name, value) in variables {
            command.env(name, value.replace("PROXY", &proxy));
        }
        let end = run(&mut command);
        let asked = asked.lock().unwrap().clone();
        if through {
            assert_eq!(end.success().stdout, id, "{variables:?}");
            assert_eq!(asked[0], "CONNECT test.invalid:80 HTTP/1.1");
            let credentials = asked.iter().any(|line| line == "Proxy-Authorization: Basic dXNlcjp3b3Jk");
            assert_eq!(credentials, variables[0].1.contains("word"), "{asked:?}");
        } else {
            // Nobody has that name.
            end.exits(254).stderr_has("test.invalid");
            assert_eq!(asked, Vec::<String>::new(), "{variables:?}");
        }
    }
}

#[test]
fn case_33_a_download_that_fills_the_disk_frees_it() {
    let rkt = Rkt::new();
    // Nothing that could be compressed.
    let noise: Vec<u8> = (0..100_000_u32).flat_map(|n| Sha256::digest(n.to_le_bytes()).to_vec()).collect();
    let image = fs::read(rkt.image("noise", |image| image.file("noise", noise, 0o644))).unwrap();
    assert!(image.len() > 3 << 20, "{}", image.len());
    let server = HostileServer::new(vec![Act::Good(ETAG.to_owned(), image)]);
    // A disk of its own, which is full of half an image.
    fs::create_dir(rkt.data()).unwrap();
    let inner = rkt.command(args!["fetch", "--quiet", server.url("image.aci")]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c"]).arg(format!(
        "mount -t tmpfs -o size=2m none {0} && \"$@\"; status=$?; find {0}/cas/partial {0}/cas/tmp {0}/cas/blob -type f; exit $status",
        rkt.data().display()
    ));
    let end = run(command.arg("sh").arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null()));
    let end = end.exits(254).stderr_has("No space left on device");
    assert_eq!(end.stdout, "");
    assert_eq!(server.requests().len(), 1);
}
