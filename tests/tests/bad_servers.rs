//! Servers that lie, and what is left of an image that came from them: nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rkt_tests::{
    Outcome, Rkt, args,
    server::{self, send},
};

/// Serves every request with `answer`. Returns the URL of an image, and a counter of requests.
fn serve(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let (address, requests) = server::serve(move |_, stream| answer(stream));
    (format!("http://{address}/image.aci"), requests)
}

fn fetch(rkt: &Rkt, url: &str) -> Outcome {
    let start = Instant::now();
    let end = rkt.rkt(args!["fetch", "--quiet", url]);
    assert!(start.elapsed() < Duration::from_secs(20), "it took {:?}", start.elapsed());
    end
}

fn refused(rkt: &Rkt, url: &str, reason: &str) {
    let end = fetch(rkt, url).exits(254).stderr_has(reason);
    assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
    assert_eq!(rkt.rkt(["image", "list", "--no-legend"]).success().stdout.trim(), "");
    for place in ["tmp", "blob", "tree"] {
        let left = fs::read_dir(rkt.data().join("cas").join(place)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "something is left in cas/{place}");
    }
}

#[test]
fn case_08_a_body_that_ends_early_is_never_stored() {
    let rkt = Rkt::new();
    let image = fs::read(rkt.image("cut", |image| image)).unwrap();
    for part in [0, 1, image.len() / 2, image.len() - 1] {
        let (all, cut) = (image.len(), image[..part].to_vec());
        let (url, _) = serve(move |stream| send(stream, &format!("200 OK\r\nContent-Length: {all}"), &cut));
        refused(&rkt, &url, "");
    }
    let chunked = image[..100].to_vec();
    let (url, _) = serve(move |stream| {
        let mut body = b"64\r\n".to_vec();
        body.extend(&chunked);
        send(stream, "200 OK\r\nTransfer-Encoding: chunked", &body);
    });
    refused(&rkt, &url, "");
}

#[test]
fn case_08_what_is_whole_is_stored_and_known_again() {
    let rkt = Rkt::new();
    let image = fs::read(rkt.image("whole", |image| image.sh("echo ran"))).unwrap();
    let (url, requests) = serve(move |stream| {
        send(stream, &format!("200 OK\r\nETag: \"one\"\r\nContent-Length: {}", image.len()), &image);
    });
    fetch(&rkt, &url).success();
    rkt.run_pod([&url]).success().stdout_is("ran\n");
    assert_eq!(requests.load(Ordering::SeqCst), 1, "run takes what the store has");
    let never = rkt.rkt(args!["fetch", "--pull-policy=never", &url.replace("image.aci", "other.aci")]);
    never.exits(254).stderr_has("--pull-policy=never");
}

#[test]
fn case_11_many_fetches_of_one_url_download_it_once() {
    let rkt = Rkt::new();
    let image = fs::read(rkt.image("many", |image| image)).unwrap();
    let (url, requests) =
        serve(move |stream| send(stream, &format!("200 OK\r\nContent-Length: {}", image.len()), &image));
    let fetches: Vec<_> = (0..6)
        .map(|_| {
            rkt.command(args!["fetch", "--pull-policy=new", &url]).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for fetch in fetches {
        assert!(fetch.wait_with_output().unwrap().status.success());
    }
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    assert_eq!(rkt.rkt(["image", "list", "--no-legend"]).success().lines().len(), 1);
}

#[test]
fn an_image_that_has_not_changed_is_not_sent_again() {
    let rkt = Rkt::new();
    let image = fs::read(rkt.image("same", |image| image)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/image.aci", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut answers = Vec::new();
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            let known = head.iter().any(|line| line.eq_ignore_ascii_case("if-none-match: \"one\""));
            if known {
                send(&mut stream, "304 Not Modified\r\nContent-Length: 0", b"");
            } else {
                let head = format!("200 OK\r\nETag: \"one\"\r\nContent-Length: {}", image.len());
                send(&mut stream, &head, &image);
            }
            answers.push(known);
        }
        answers
    });
    let first = fetch(&rkt, &url).success().stdout;
    assert_eq!(fetch(&rkt, &url).success().stdout, first);
    assert_eq!(server.join().unwrap(), [false, true]);
}

// APPC-374
#[test]
fn case_10_redirects_lead_to_no_file_and_end() {
    let rkt = Rkt::new();
    for to in ["file:///etc/passwd", "/image.aci", "ftp://127.0.0.1/image.aci", "http://127.0.0.1:1/x.aci"] {
        let head = format!("302 Found\r\nContent-Length: 0\r\nLocation: {to}");
        let (url, requests) = serve(move |stream| send(stream, &head, b""));
        refused(&rkt, &url, "get http://");
        assert!(requests.load(Ordering::SeqCst) < 50, "{to}");
    }
}

// APPC-366
#[test]
fn statuses_are_told_and_what_may_pass_is_tried_again() {
    let rkt = Rkt::new();
    for (status, tries) in
        [("404 Not Found", 1), ("403 Forbidden", 1), ("503 Unavailable", 3), ("206 Partial", 1)]
    {
        let head = format!("{status}\r\nContent-Length: 0");
        let (url, requests) = serve(move |stream| send(stream, &head, b""));
        refused(&rkt, &url, &format!("bad HTTP status code: {}", &status[..3]));
        assert_eq!(requests.load(Ordering::SeqCst), tries, "{status}");
    }
}

#[test]
fn what_is_no_image_is_left_at_once() {
    let rkt = Rkt::new();
    let (url, _) = serve(|stream| send(stream, "200 OK\r\nContent-Length: 15", b"<html>no</html>"));
    refused(&rkt, &url, "not an image");
    // A body without an end.
    let (url, _) = serve(|stream| {
        send(stream, "200 OK", b"");
        let garbage = [b'x'; 64 * 1024];
        while stream.write_all(&garbage).is_ok() {}
    });
    refused(&rkt, &url, "not an image");
}
