//! Signatures, made by a real gpg, and whom they are trusted of.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Stdio};

use rkt_tests::{
    Outcome, Rkt, args,
    gpg::{Gpg, NOW},
    hostile::{Act, HostileServer},
    run,
};

fn trust(rkt: &Rkt, prefix: &str, key: &Path) -> Outcome {
    let prefix = format!("--prefix={prefix}");
    rkt.rkt(args!["--insecure-options=none", "trust", "--skip-fingerprint-review", prefix, key])
}

fn fetch(rkt: &Rkt, image: &Path) -> Outcome {
    rkt.rkt(args!["--insecure-options=none", "fetch", image])
}

// APPC-064, APPC-067
#[test]
fn a_signed_file_is_verified_and_runs() {
    for kind in ["ed25519", "rsa3072", "nistp256"] {
        let rkt = Rkt::new();
        let gpg = Gpg::new(&rkt, "gpg");
        let key = gpg.key(kind);
        let image = rkt.image("signed", |image| image.sh("echo ran"));
        gpg.sign(&image, &[]);
        let trusted = trust(&rkt, "test.invalid/signed", &key).success();
        trusted.stderr_has("Added key for prefix \"test.invalid/signed\" at ");
        let verified = fetch(&rkt, &image).success();
        verified.stderr_has("signature verified:").stderr_has("Builder <builder@example.com>");
        rkt.run_pod(args!["--insecure-options=none", &image]).success().stdout_is("ran\n");
    }
}

// APPC-067
#[test]
fn a_key_is_for_its_prefix_and_what_is_below() {
    let rkt = Rkt::new();
    let gpg = Gpg::new(&rkt, "gpg");
    let key = gpg.key("ed25519");
    let image = rkt.image("deep", |image| image);
    gpg.sign(&image, &[]);
    for other in ["test.invalid/dee", "other.invalid", "test.invalid/deep/er"] {
        trust(&rkt, other, &key).success();
        fetch(&rkt, &image).exits(254).stderr_has("not trusted").stderr_has("test.invalid/deep");
    }
    trust(&rkt, "test.invalid", &key).success();
    fetch(&rkt, &image).success();
}

#[test]
fn a_root_key_is_for_all_and_an_empty_file_masks_it() {
    let rkt = Rkt::new();
    let gpg = Gpg::new(&rkt, "gpg");
    let key = gpg.key("ed25519");
    let image = rkt.image("any", |image| image);
    gpg.sign(&image, &[]);
    let root = args!["--insecure-options=none", "trust", "--root", "--skip-fingerprint-review", &key];
    rkt.rkt(root).success().stderr_has("Added root key at ");
    let other = rkt.image("other", |image| image.sh("true"));
    gpg.sign(&other, &[]);
    fetch(&rkt, &image).success();
    let mask = rkt.base().join("local/trustedkeys/prefix.d/test.invalid");
    fs::create_dir_all(&mask).unwrap();
    fs::write(mask.join(gpg.fingerprint()), "").unwrap();
    fetch(&rkt, &other).exits(254).stderr_has("not trusted");
}

// APPC-066
#[test]
fn case_09_what_is_not_signed_well_is_refused_before_it_is_unpacked() {
    let rkt = Rkt::new();
    let (gpg, stranger) = (Gpg::new(&rkt, "gpg"), Gpg::new(&rkt, "stranger"));
    let key = gpg.key_until("rsa2048", "never", "--faked-system-time=20190101T000000!");
    stranger.key("ed25519");
    trust(&rkt, "test.invalid", &key).success();
    let image = rkt.image("bad", |image| image);
    let asc = image.with_extension("aci.asc");
    let refused = |reason: &str| {
        let end = fetch(&rkt, &image).exits(254).stderr_has(reason);
        assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
        let trees = fs::read_dir(rkt.data().join("cas/tree")).map_or(0, Iterator::count);
        assert_eq!(trees, 0, "{reason}: something was unpacked");
        assert_eq!(rkt.rkt(["image", "list", "--no-legend"]).success().stdout.trim(), "");
    };
    refused("bad.aci.asc cannot be read: No such file or directory");
    fs::write(&asc, "nonsense").unwrap();
    refused("not an OpenPGP signature");
    stranger.sign(&image, &[]);
    refused(&stranger.fingerprint());
    gpg.sign(&image, &["--digest-algo=SHA1", "--allow-weak-digest-algos"]);
    refused("weak hash SHA1");
    gpg.sign(&image, &["--default-sig-expire=2d", "--faked-system-time=20200101T000000!"]);
    refused("expired on 2020-01-03");
    gpg.sign(&image, &["--faked-system-time=20500101T000000!"]);
    refused("made in the future, on 2050-01-01");
    gpg.sign(&image, &[]);
    let mut bytes = fs::read(&image).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&image, &bytes).unwrap();
    refused("bad.aci: ");
    bytes[middle] ^= 1;
    bytes.extend([0; 512]);
    fs::write(&image, &bytes).unwrap();
    refused("bad.aci: ");
    // A signature of another image of the same name.
    let other = rkt.image("bad", |image| image.sh("true"));
    assert_eq!(other, image);
    refused("does not fit the image");
    gpg.sign(&image, &[]);
    fetch(&rkt, &image).success();
}

#[test]
fn weak_expired_and_revoked_keys_are_refused_by_name() {
    let rkt = Rkt::new();
    let image = rkt.image("keys", |image| image);
    for (name, kind, expires, made, reason) in [
        ("weak", "rsa1024", "never", NOW, "RSA of 1024 bits"),
        ("old", "ed25519", "2d", "--faked-system-time=20200101T000000!", "expired on 2020-01-03"),
    ] {
        let gpg = Gpg::new(&rkt, name);
        let key = gpg.key_until(kind, expires, made);
        gpg.sign(&image, &[made]);
        trust(&rkt, "test.invalid", &key).success();
        fetch(&rkt, &image).exits(254).stderr_has(reason).stderr_has(&gpg.fingerprint());
    }
    let gpg = Gpg::new(&rkt, "revoked");
    gpg.key("ed25519");
    gpg.sign(&image, &[]);
    let fingerprint = gpg.fingerprint();
    let path = gpg.home.join(format!("openpgp-revocs.d/{}.rev", fingerprint.to_uppercase()));
    // gpg keeps it harmless with a colon before its first line.
    let revocation = fs::read_to_string(&path).unwrap().replace(":-----BEGIN", "-----BEGIN");
    fs::write(&path, revocation).unwrap();
    gpg.run(&["--import", path.to_str().unwrap()]).success();
    trust(&rkt, "test.invalid", &gpg.export()).success();
    fetch(&rkt, &image).exits(254).stderr_has("was revoked").stderr_has(&fingerprint);
}

#[test]
fn a_signing_subkey_is_as_good_as_its_key() {
    let rkt = Rkt::new();
    let gpg = Gpg::new(&rkt, "gpg");
    gpg.run(&["--quick-gen-key", "Main <main@example.com>", "ed25519", "cert", "never"]).success();
    let fingerprint = gpg.fingerprint();
    gpg.run(&["--quick-add-key", &fingerprint, "ed25519", "sign", "never"]).success();
    let key = gpg.export();
    let trusted = trust(&rkt, "test.invalid", &key).success();
    trusted.stdout_has("Subkey fingerprint: ").stdout_has("\tMain <main@example.com>");
    let image = rkt.image("subkey", |image| image);
    gpg.sign(&image, &[]);
    fetch(&rkt, &image).success().stderr_has("Main <main@example.com>");
}

#[test]
fn keys_are_reviewed_and_nothing_is_trusted_by_mistake() {
    let rkt = Rkt::new();
    let gpg = Gpg::new(&rkt, "gpg");
    let key = gpg.key("ed25519");
    let trust = |words: &[&str]| {
        let mut all = vec!["--insecure-options=none", "trust"];
        all.extend(words);
        let mut command = rkt.command(&all);
        run(command.arg(&key).stdin(Stdio::null())).exits(254)
    };
    trust(&["--prefix=a.test"]).stderr_has("--skip-fingerprint-review");
    trust(&[]).stderr_has("--root");
    trust(&["--root", "--prefix=a.test"]).stderr_has("exclude each other");
    trust(&["--prefix=https://a.test"]).stderr_has("leave out the scheme");
    trust(&["--prefix=../../etc"]).stderr_has("--prefix");
    trust(&["--insecure-options=image", "--root"]).stderr_has("--insecure-options=image");
    for bad in ["/etc/passwd", "/no/such/file", "/dev/null", "/"] {
        let end = rkt.rkt(["--insecure-options=none", "trust", "--skip-fingerprint-review", "--root", bad]);
        end.exits(254).stderr_has(bad);
    }
    assert!(!rkt.base().join("local/trustedkeys").exists());
}

#[test]
fn a_key_file_that_was_renamed_is_an_error_that_says_so() {
    let rkt = Rkt::new();
    let gpg = Gpg::new(&rkt, "gpg");
    let key = gpg.key("ed25519");
    let image = rkt.image("renamed", |image| image);
    gpg.sign(&image, &[]);
    trust(&rkt, "test.invalid", &key).success();
    let directory = rkt.base().join("local/trustedkeys/prefix.d/test.invalid");
    fs::rename(directory.join(gpg.fingerprint()), directory.join("0".repeat(40))).unwrap();
    fetch(&rkt, &image).exits(254).stderr_has(&gpg.fingerprint());
}

#[test]
fn a_deferred_signature_is_got_after_the_image_and_only_once() {
    let rkt = Rkt::new();
    let gpg = Gpg::new(&rkt, "gpg");
    let key = gpg.key("ed25519");
    let image = rkt.image("deferred", |image| image);
    gpg.sign(&image, &[]);
    trust(&rkt, "test.invalid", &key).success();
    let asc = fs::read(image.with_extension("aci.asc")).unwrap();
    let image = fs::read(image).unwrap();
    let later = || Act::status("202 Accepted");
    let tag = "\"one\"";
    let good = || Act::Good(tag.to_owned(), image.clone());
    // In the middle the image breaks, and is continued.
    let cut = Act::cut("ETag: \"one\"", &image, image.len() / 2);
    let fetch = |script: Vec<Act>| {
        let server = HostileServer::new(script);
        let end = rkt.rkt(args!["--insecure-options=none", "fetch", server.url("image.aci")]);
        let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
        (end.stderr_has("image: server requested deferring the signature download\n"), paths)
    };
    let (end, paths) = fetch(vec![later(), good(), later()]);
    end.exits(254).stderr_has("defers its signature").stderr_lacks("trying again");
    assert_eq!(paths, ["/image.aci.asc", "/image.aci", "/image.aci.asc"]);
    for place in ["tmp", "blob", "tree", "partial"] {
        let left = fs::read_dir(rkt.data().join("cas").join(place)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "something is left in cas/{place}");
    }
    let (end, _) = fetch(vec![later(), good(), Act::whole("", b"nonsense")]);
    end.exits(254).stderr_has("not an OpenPGP signature");
    let (end, paths) = fetch(vec![later(), cut, good(), Act::whole("", &asc)]);
    end.success().stderr_has("signature verified:").stderr_has("trying again");
    assert_eq!(paths, ["/image.aci.asc", "/image.aci", "/image.aci", "/image.aci.asc"]);
}

#[test]
fn case_08_parts_that_do_not_belong_together_are_got_anew() {
    let rkt = Rkt::new();
    let gpg = Gpg::new(&rkt, "gpg");
    let key = gpg.key("ed25519");
    let image = rkt.image("patchwork", |image| image);
    gpg.sign(&image, &[]);
    trust(&rkt, "test.invalid", &key).success();
    let asc = fs::read(image.with_extension("aci.asc")).unwrap();
    let image = fs::read(image).unwrap();
    let mut other = image.clone();
    let half = image.len() / 2;
    other[half - 100] ^= 1;
    // The server calls two images the same.
    let good = Act::Good("\"one\"".to_owned(), image.clone());
    let server = HostileServer::new(vec![
        Act::whole("", &asc),
        Act::cut("ETag: \"one\"", &other, half),
        good.clone(),
        good,
    ]);
    let end = rkt.rkt(args!["--insecure-options=none", "fetch", server.url("image.aci")]).success();
    end.stderr_has("downloading it anew");
    let ranges: Vec<bool> =
        server.requests().iter().map(|request| request.header("range").is_some()).collect();
    assert_eq!(ranges, [false, false, true, false]);
}

#[test]
fn case_32_killed_while_an_image_is_verified() {
    if !cfg!(debug_assertions) {
        // Only debug builds can be killed at a step.
        return;
    }
    let rkt = Rkt::new();
    let gpg = Gpg::new(&rkt, "gpg");
    let key = gpg.key("ed25519");
    let image = rkt.image("killed", |image| image.sh("echo ran"));
    gpg.sign(&image, &[]);
    trust(&rkt, "test.invalid/killed", &key).success();
    for step in ["import-copied", "import-verified"] {
        let mut command = rkt.command(args!["--insecure-options=none", "fetch", &image]);
        let end = run(command.env("RKT_FAILPOINT", step));
        assert_eq!(end.status, 128 + 9, "{step}: it was not killed\n{end:?}");
        rkt.rkt(["image", "list", "--no-legend"]).success().stdout_is("\n");
        fetch(&rkt, &image).success();
        rkt.run_pod(args!["--insecure-options=none", &image]).success().stdout_is("ran\n");
        assert_eq!(fs::read_dir(rkt.data().join("cas/tmp")).unwrap().count(), 0, "{step}");
        rkt.rkt(["gc", "--grace-period=0s"]).success();
        rkt.rkt(["image", "rm", "test.invalid/killed"]).success();
    }
}
