//! How far downloads are: bars on a terminal, lines elsewhere, nothing where nobody wants to know.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use rkt_tests::{Rkt, Terminal, server};

/// The URL of an image, served as often as it is asked for.
fn serve(rkt: &Rkt) -> String {
    let noise: Vec<u8> = (0..4_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let image = fs::read(rkt.image("large", |image| image.file("noise", noise, 0o644))).unwrap();
    let (address, _) = server::serve(move |_, stream| server::send_body(stream, "200 OK", &image));
    format!("http://{address}/large.aci")
}

#[test]
fn lines_tell_of_a_download_and_quiet_does_not() {
    let rkt = Rkt::new();
    let url = serve(&rkt);
    let end = rkt.rkt(["fetch", &url]).success();
    let lines: Vec<&str> = end.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{end:?}");
    assert_eq!(lines[0], format!("image: downloading {url}"));
    assert!(lines[1].starts_with(&format!("image: downloaded {url}: ")), "{end:?}");
    assert!(lines[1].contains(" MiB in ") && lines[1].ends_with(" s"), "{end:?}");
    let quiet = rkt.rkt(["fetch", "--quiet", &url]).success();
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_bar_shows_bytes_and_rate_on_a_terminal() {
    let rkt = Rkt::new();
    let url = serve(&rkt);
    let terminal = Terminal::start(&rkt.command(["fetch", &url]));
    terminal.wait_for("sha512-");
    let text = terminal.text();
    assert_eq!(terminal.wait(), 0);
    assert!(text.contains("/large.aci"), "{text:?}");
    assert!(text.contains("MiB/") && text.contains("/s"), "{text:?}");
    assert!(!text.contains("downloading"), "{text:?}");
}
