//! Encrypted images, made by a real gpg and by actool.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rkt_tests::{
    Outcome, Rkt, Terminal, args, run,
    server::{self, send_body},
};

/// The passphrase of all that is encrypted here.
const SECRET: &str = "correct horse";

/// A gpg with a home of its own.
struct Gpg {
    home: PathBuf,
}

impl Gpg {
    fn new(rkt: &Rkt) -> Gpg {
        let home = rkt.files().join("gpg");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        Gpg { home }
    }

    fn run(&self, passphrase: &str, words: &[&str]) -> Outcome {
        let mut command = Command::new("gpg");
        command.env("GNUPGHOME", &self.home).args([
            "--batch",
            "--yes",
            "--quiet",
            "--pinentry-mode=loopback",
        ]);
        run(command.args(["--passphrase", passphrase]).args(words).stdin(Stdio::null()))
    }

    /// Encrypts a file beside itself, as NAME-sealed.aci.
    fn encrypt(&self, image: &Path, more: &[&str]) -> PathBuf {
        let sealed = sealed(image);
        let mut words = more.to_vec();
        words.extend(["--output", sealed.to_str().unwrap(), "--symmetric", image.to_str().unwrap()]);
        self.run(SECRET, &words).success();
        sealed
    }

    /// Makes a key and exports its secret and its public part.
    fn key(&self, kind: &str, passphrase: &str) -> (PathBuf, PathBuf) {
        let user = "Builder <builder@example.com>";
        self.run(passphrase, &["--quick-gen-key", user, kind, "sign,cert", "never"]).success();
        let (secret, public) = (self.home.join("secret.asc"), self.home.join("public.asc"));
        let export = ["--armor", "--output", secret.to_str().unwrap(), "--export-secret-keys"];
        self.run(passphrase, &export).success();
        self.run("", &["--armor", "--output", public.to_str().unwrap(), "--export"]).success();
        (secret, public)
    }
}

/// The keeper of a ring asks an agent, which would stay.
impl Drop for Gpg {
    fn drop(&mut self) {
        drop(Command::new("gpgconf").env("GNUPGHOME", &self.home).args(["--kill", "all"]).output());
    }
}

fn sealed(image: &Path) -> PathBuf {
    image.with_file_name(format!("{}-sealed.aci", image.file_stem().unwrap().to_str().unwrap()))
}

/// A file with a passphrase.
fn passphrase(rkt: &Rkt, name: &str, text: &str) -> PathBuf {
    let path = rkt.file(name, format!("{text}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

fn actool(rkt: &Rkt, words: &[&str]) -> Outcome {
    run(Command::new(rkt.program("actool")).args(words).stdin(Stdio::null()))
}

/// Encrypts with actool, as NAME-sealed.aci.
fn encrypt(rkt: &Rkt, image: &Path) -> PathBuf {
    let file = passphrase(rkt, "secret", SECRET);
    let to = sealed(image);
    let words = ["encrypt", "--overwrite", &flag("passphrase-file", &file), image.to_str().unwrap()];
    actool(rkt, &[&words[..], &[to.to_str().unwrap()]].concat()).success();
    to
}

fn fetch(rkt: &Rkt, image: &Path, file: &Path) -> Outcome {
    rkt.rkt(args!["fetch", "--full", flag("passphrase-file", file), image])
}

/// That nothing of an image was kept.
fn assert_nothing_stored(rkt: &Rkt, why: &str) {
    assert_eq!(rkt.rkt(["image", "list", "--no-legend"]).success().stdout.trim(), "", "{why}");
    for place in ["tmp", "blob", "tree", "imageManifest"] {
        let mut files = Vec::new();
        collect(&rkt.data().join("cas").join(place), &mut files);
        assert!(files.is_empty(), "{why}: {files:?}");
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

/// Asserts a refusal in one line, after which nothing is stored.
fn refused(rkt: &Rkt, image: &Path, file: &Path, reason: &str) {
    let end = fetch(rkt, image, file).refused(&[image.to_str().unwrap(), reason]);
    assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
    assert!(!end.stderr.contains(SECRET), "{end:?}");
    assert_nothing_stored(rkt, reason);
}

// APPC-062, APPC-070
#[test]
fn what_gpg_encrypts_is_stored_as_it_was_before() {
    let rkt = Rkt::new();
    let gpg = Gpg::new(&rkt);
    let image = rkt.image("app", |image| image);
    let file = passphrase(&rkt, "secret", SECRET);
    let plain = rkt.rkt(args!["fetch", "--full", &image]).success().stdout;
    for options in [
        &["--cipher-algo=AES256"][..],
        &["--cipher-algo=AES192"],
        &["--cipher-algo=AES128"],
        &["--armor"],
        &["--compress-algo=none"],
        &["--compress-algo=zip"],
        &["--compress-algo=zlib"],
        &["--compress-algo=bzip2"],
        &["--armor", "--compress-algo=zlib", "--cipher-algo=AES256", "--s2k-digest-algo=SHA512"],
        &["--s2k-mode=1"],
    ] {
        rkt.rkt(args!["image", "rm", plain.trim()]).success();
        let sealed = gpg.encrypt(&image, options);
        assert_eq!(fetch(&rkt, &sealed, &file).success().stdout, plain, "{options:?}");
    }
    // The store has it as it was before, and what runs needs no passphrase.
    let mut blobs = Vec::new();
    collect(&rkt.data().join("cas/blob"), &mut blobs);
    assert_eq!(blobs.len(), 1);
    assert!(fs::read(&blobs[0]).unwrap() == fs::read(&image).unwrap());
    rkt.run_pod([plain.trim()]).success();
}

// APPC-050, APPC-068
#[test]
fn what_actool_encrypts_gpg_decrypts_and_rkt_runs() {
    let rkt = Rkt::new();
    let gpg = Gpg::new(&rkt);
    let image = rkt.image("app", |image| image.sh("echo ran"));
    let sealed = encrypt(&rkt, &image);
    let file = rkt.files().join("secret");
    let decrypted = rkt.files().join("decrypted");
    gpg.run(SECRET, &["--output", decrypted.to_str().unwrap(), "--decrypt", sealed.to_str().unwrap()])
        .success();
    assert!(fs::read(&decrypted).unwrap() == fs::read(&image).unwrap());
    let packets = gpg.run(SECRET, &["--list-packets", sealed.to_str().unwrap()]).success();
    packets.stdout_has("cipher 9").stdout_has("hash 10").stdout_has("mdc_method: 2");
    rkt.run_pod(args![flag("passphrase-file", &file), &sealed]).success().stdout_is("ran\n");
    // What is there is there.
    let words =
        ["encrypt", &flag("passphrase-file", &file), image.to_str().unwrap(), sealed.to_str().unwrap()];
    actool(&rkt, &words).exits(1).stderr_has("--overwrite");
    for command in [&["validate"][..], &["cat-manifest"]] {
        let end = actool(&rkt, &[command, &[sealed.to_str().unwrap()]].concat()).exits(1);
        end.stderr_has("encrypted").stderr_has("gpg --decrypt");
    }
    let other = decrypted.with_extension("aci");
    let twice = [&words[..2], &[sealed.to_str().unwrap(), other.to_str().unwrap()]].concat();
    actool(&rkt, &twice).exits(1).stderr_has("encrypted already");
    let without = ["encrypt", image.to_str().unwrap(), "/tmp/never.aci"];
    let mut command = Command::new("setsid");
    let end = run(command.arg(rkt.program("actool")).args(without).stdin(Stdio::null()));
    end.exits(1).stderr_has("--passphrase-file");
}

// APPC-071
#[test]
fn a_passphrase_is_asked_for_twice_and_not_shown() {
    let rkt = Rkt::new();
    let image = rkt.image("app", |image| image);
    let start = |to: &Path| {
        let mut command = Command::new(rkt.program("actool"));
        Terminal::start(command.arg("encrypt").arg(&image).arg(to))
    };
    let to = sealed(&image);
    let mut terminal = start(&to);
    terminal.wait_for("Passphrase: ");
    terminal.write(&format!("{SECRET}\n"));
    terminal.wait_for("again: ");
    terminal.write("another\n");
    terminal.wait_for("not the same");
    assert!(!terminal.text().contains(SECRET) && !to.exists());
    assert_eq!(terminal.wait(), 1);
    let mut terminal = start(&to);
    terminal.wait_for("Passphrase: ");
    terminal.write(&format!("{SECRET}\n"));
    terminal.wait_for("again: ");
    terminal.write(&format!("{SECRET}\n"));
    assert_eq!(terminal.wait(), 0);
    fetch(&rkt, &to, &passphrase(&rkt, "secret", SECRET)).success();
}

// APPC-064
#[test]
fn what_actool_signs_gpg_and_rkt_accept() {
    for (kind, secret) in [("ed25519", ""), ("rsa3072", "key's own"), ("nistp256", "key's own")] {
        let rkt = Rkt::new();
        let gpg = Gpg::new(&rkt);
        let (key, public) = gpg.key(kind, secret);
        let image = encrypt(&rkt, &rkt.image("app", |image| image.sh("echo ran")));
        let file = passphrase(&rkt, "key-secret", if secret.is_empty() { "none" } else { secret });
        let (key, of_key) = (flag("key", &key), flag("passphrase-file", &file));
        let sign = ["sign", &key, &of_key, image.to_str().unwrap()];
        actool(&rkt, &sign).success();
        let asc = format!("{}.asc", image.display());
        gpg.run("", &["--verify", &asc, image.to_str().unwrap()]).success();
        actool(&rkt, &sign).exits(1).stderr_has("--overwrite");
        if !secret.is_empty() {
            let wrong = passphrase(&rkt, "wrong", "wrong");
            let words =
                ["sign", "--overwrite", &key, &flag("passphrase-file", &wrong), image.to_str().unwrap()];
            actool(&rkt, &words).exits(1).stderr_has("does not open it");
        }
        let public_key = flag("key", &public);
        actool(&rkt, &["sign", "--overwrite", &public_key, image.to_str().unwrap()])
            .exits(1)
            .stderr_has("secret key");
        // The signature is that of the encrypted file.
        let trust = ["--insecure-options=none", "trust", "--skip-fingerprint-review", "--root"];
        rkt.rkt(args![trust[0], trust[1], trust[2], trust[3], &public]).success();
        let secret = flag("passphrase-file", &rkt.files().join("secret"));
        let none = "--insecure-options=none";
        let end = rkt.run_pod(args![none, &secret, &image]).success().stdout_is("ran\n");
        end.stderr_has("signature verified:");
    }
}

// APPC-066
#[test]
fn a_signature_counts_before_what_is_inside() {
    let rkt = Rkt::new();
    let gpg = Gpg::new(&rkt);
    let (key, public) = gpg.key("ed25519", "");
    let image = encrypt(&rkt, &rkt.image("app", |image| image));
    let file = rkt.files().join("secret");
    let fetch = || rkt.rkt(args!["--insecure-options=none", "fetch", flag("passphrase-file", &file), &image]);
    fetch().refused(&["its signature"]);
    actool(&rkt, &["sign", &flag("key", &key), image.to_str().unwrap()]).success();
    fetch().refused(&["not trusted"]);
    rkt.rkt(args!["--insecure-options=none", "trust", "--skip-fingerprint-review", "--root", &public])
        .success();
    // Encrypted anew: the same inside, but not what was signed.
    let signed = fs::read(&image).unwrap();
    encrypt(&rkt, &image.with_file_name("app.aci"));
    fetch().refused(&["does not fit the image"]);
    assert_nothing_stored(&rkt, "another was signed");
    fs::write(&image, signed).unwrap();
    fetch().success();
}

// APPC-070
#[test]
fn what_cannot_or_must_not_be_opened_is_refused() {
    let rkt = Rkt::new();
    let gpg = Gpg::new(&rkt);
    let image = rkt.image("app", |image| image);
    let file = passphrase(&rkt, "secret", SECRET);
    let wrong = passphrase(&rkt, "wrong", "incorrect horse");
    let sealed = gpg.encrypt(&image, &[]);
    refused(&rkt, &sealed, &wrong, "no passphrase that was given opens it");
    let end = rkt.rkt(args!["fetch", &sealed]).refused(&["--passphrase-file", "imageKey"]);
    assert_eq!(end.stderr.lines().count(), 1);
    for (cipher, name) in [("CAST5", "CAST5"), ("3DES", "3DES"), ("TWOFISH", "Twofish")] {
        let sealed = gpg.encrypt(&image, &["--cipher-algo", cipher]);
        refused(&rkt, &sealed, &file, &format!("encrypted with {name}"));
    }
    // A session key, and then encrypted data of the kind without integrity protection.
    let whole = fs::read(gpg.encrypt(&image, &[])).unwrap();
    let start = usize::from(whole[1]) + 2;
    assert_eq!((whole[0], whole[start]), (0x8c, 0xd2));
    let mut unprotected = whole.clone();
    unprotected[start] = 0xc9;
    fs::write(&sealed, &unprotected).unwrap();
    refused(&rkt, &sealed, &file, "without integrity protection");
    gpg.run("", &["--quick-gen-key", "b@example.com", "rsa2048", "encr", "never"]);
    gpg.run("", &["--quick-gen-key", "c@example.com", "default", "default", "never"]).success();
    let public = ["--trust-model=always", "--output", sealed.to_str().unwrap(), "--recipient=c@example.com"];
    gpg.run("", &[&public[..], &["--encrypt", image.to_str().unwrap()]].concat()).success();
    refused(&rkt, &sealed, &file, "encrypted to a public key");
}

#[test]
fn what_was_changed_is_refused_and_leaves_nothing() {
    let rkt = Rkt::new();
    let gpg = Gpg::new(&rkt);
    let image = rkt.image("app", |image| image);
    let file = passphrase(&rkt, "secret", SECRET);
    for options in [&["--compress-algo=none"][..], &["--compress-algo=zlib"], &["--compress-algo=bzip2"]] {
        // Making the key of the passphrase takes its time, every time.
        let sealed = gpg.encrypt(&image, &[options, &["--s2k-count=65536"]].concat());
        let whole = fs::read(&sealed).unwrap();
        for place in [whole.len() / 2, whole.len() * 9 / 10, whole.len() - 25, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(&sealed, &changed).unwrap();
            refused(&rkt, &sealed, &file, "was changed");
        }
        for kept in [whole.len() / 2, whole.len() - 22, whole.len() - 1] {
            fs::write(&sealed, &whole[..kept]).unwrap();
            refused(&rkt, &sealed, &file, "its end is missing");
        }
        fs::write(&sealed, [&whole[..], b"more"].concat()).unwrap();
        let end = fetch(&rkt, &sealed, &file).exits(254);
        assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
        assert_nothing_stored(&rkt, "more after it");
    }
}

fn configure(rkt: &Rkt, name: &str, prefix: &str, file: &Path) {
    let keys = rkt.base().join("local/keys.d");
    fs::create_dir_all(&keys).unwrap();
    let text = format!(
        r#"{{"rktKind": "imageKey", "rktVersion": "v1", "prefixes": ["{prefix}"], "passphraseFile": "{}"}}"#,
        file.display()
    );
    fs::write(keys.join(name), text).unwrap();
}

// APPC-071
#[test]
fn a_key_is_for_the_images_below_its_prefix() {
    let rkt = Rkt::new();
    let image = encrypt(&rkt, &rkt.image("app", |image| image.sh("echo ran")));
    let file = rkt.files().join("secret");
    let wrong = passphrase(&rkt, "wrong", "incorrect horse");
    configure(&rkt, "a.json", "test.invalid/ap", &wrong);
    configure(&rkt, "b.json", "other.invalid", &file);
    // It opens, but is for others.
    let end = rkt.rkt(args!["fetch", &image]).refused(&["test.invalid/app", "other.invalid"]);
    assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
    assert_nothing_stored(&rkt, "another prefix");
    configure(&rkt, "b.json", "test.invalid/ap", &file);
    rkt.rkt(args!["fetch", &image]).refused(&["already specified"]);
    fs::remove_file(rkt.base().join("local/keys.d/b.json")).unwrap();
    rkt.rkt(args!["fetch", &image]).refused(&["no passphrase that was given opens it"]);
    configure(&rkt, "b.json", "test.invalid", &file);
    rkt.run_pod(args![&image]).success().stdout_is("ran\n");
}

#[test]
fn a_passphrase_that_others_may_read_is_none() {
    let rkt = Rkt::new();
    let image = encrypt(&rkt, &rkt.image("app", |image| image));
    let file = rkt.files().join("secret");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fetch(&rkt, &image, &file).refused(&["files/secret", "mode 0644", "chmod 600"]);
    configure(&rkt, "a.json", "test.invalid", &file);
    rkt.rkt(args!["fetch", &image]).refused(&["files/secret", "mode 0644", "chmod 600"]);
    fetch(&rkt, &image, Path::new("/no/such/file")).refused(&["/no/such/file"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    rkt.rkt(args!["fetch", &image]).success();
}

#[test]
fn what_comes_from_a_server_is_decrypted_on_its_way() {
    let rkt = Rkt::new();
    let image = encrypt(&rkt, &rkt.image("app", |image| image.sh("echo ran")));
    let whole = fs::read(&image).unwrap();
    let half = whole.len() / 2;
    let (address, _) = server::serve(move |request, stream| {
        let end = if request.path.contains("half") { half } else { whole.len() };
        send_body(stream, "200 OK", &whole[..end]);
    });
    let file = flag("passphrase-file", &rkt.files().join("secret"));
    let url = format!("http://{address}/half.aci");
    rkt.rkt(args!["fetch", &file, &url]).refused(&[&url, "its end is missing"]);
    rkt.rkt(args!["fetch", &url]).refused(&[&url, "--passphrase-file", "imageKey"]);
    assert_nothing_stored(&rkt, "half an image");
    rkt.run_pod(args![&file, format!("http://{address}/app.aci")]).success().stdout_is("ran\n");
}

#[test]
fn memory_does_not_grow_with_the_image() {
    let rkt = Rkt::new();
    let gpg = Gpg::new(&rkt);
    // What does not compress, and so fills the encrypted file.
    let mut noise = vec![0; 100 << 20];
    let mut state = 1_u64;
    for chunk in noise.chunks_mut(8) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        chunk.copy_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    let image = rkt.empty_image("large", |image| image.file("noise", noise, 0o644));
    let file = passphrase(&rkt, "secret", SECRET);
    for sealed in [encrypt(&rkt, &image), gpg.encrypt(&image, &["--compress-algo=none"])] {
        assert!(fs::metadata(&sealed).unwrap().len() > 100 << 20);
        let time = rkt.files().join("time");
        let command = rkt.command(args!["fetch", "--full", flag("passphrase-file", &file), &sealed]);
        let mut timed = Command::new("/usr/bin/env");
        timed.arg("python3").arg("-c").arg(
            "import resource, subprocess, sys\n\
             status = subprocess.call(sys.argv[2:])\n\
             open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n\
             sys.exit(status)",
        );
        timed.arg(&time).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        let id = run(&mut timed).success().stdout;
        let kilobytes: u64 = fs::read_to_string(&time).unwrap().parse().unwrap();
        assert!(kilobytes < 64 << 10, "{kilobytes} KiB");
        rkt.rkt(args!["image", "rm", id.trim()]).success();
    }
}
