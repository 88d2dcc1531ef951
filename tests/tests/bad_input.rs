//! Images that are none or lie: one clear line, the documented status, nothing left behind.

use std::fs;

use rkt_tests::{
    Rkt,
    archive::{Archive, Header},
    args,
};
use serde_json::json;

#[test]
fn a_file_that_is_no_image() {
    let rkt = Rkt::new();
    let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let files: [(&str, &[u8]); 7] = [
        ("empty", b""),
        ("text", b"this is no image\n"),
        ("noise", &noise),
        (
            "gzip-of-nothing",
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        ),
        ("gzip-magic", b"\x1f\x8b\x08\x00garbage follows here"),
        ("xz-magic", b"\xfd7zXZ\x00garbage"),
        ("zstd-magic", b"\x28\xb5\x2f\xfdgarbage"),
    ];
    for (name, content) in files {
        let file = rkt.file(&format!("{name}.aci"), content);
        for end in [rkt.rkt(args!["fetch", &file]), rkt.run_pod(args![&file])] {
            let end = end.refused(&[name]);
            assert_eq!(end.stderr.trim_end().lines().count(), 1, "{end:?}");
        }
    }
    rkt.rkt(args!["fetch", rkt.files()]).exits(254);
    rkt.rkt(["image", "list", "--no-legend"]).success().stdout_is("\n");
}

#[test]
fn a_manifest_that_lies_is_refused_by_path_and_rule() {
    let rkt = Rkt::new();
    let app = |app: serde_json::Value| {
        json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "a", "app": app}).to_string()
    };
    let deep = "[".repeat(100_000);
    let big =
        format!(r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"{}"}}"#, "a".repeat(64 << 20));
    let table: [(&str, String, &str); 12] = [
        ("no-json", "not json".into(), "manifest"),
        ("nul", "\0".into(), "manifest"),
        ("array", "[]".into(), "manifest"),
        ("kind", json!({"acKind": "PodManifest", "acVersion": "0.8.11", "name": "a"}).to_string(), "acKind"),
        (
            "version",
            json!({"acKind": "ImageManifest", "acVersion": "one", "name": "a"}).to_string(),
            "acVersion",
        ),
        (
            "name",
            json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "../A b"}).to_string(),
            "name",
        ),
        ("exec", app(json!({"exec": "/bin/true", "user": "0", "group": "0"})), "exec"),
        ("no-user", app(json!({"exec": ["/bin/true"], "group": "0"})), "user"),
        (
            "relative",
            app(json!({"exec": ["/x"], "user": "0", "group": "0", "workingDirectory": "tmp"})),
            "workingDirectory",
        ),
        (
            "environment",
            app(
                json!({"exec": ["/x"], "user": "0", "group": "0", "environment": [{"name": "1=", "value": ""}]}),
            ),
            "environment",
        ),
        ("deep", deep, "manifest"),
        ("big", big, "manifest"),
    ];
    for (name, manifest, word) in table {
        let archive = Archive::new()
            .entry(Header::file("manifest"), manifest)
            .entry(Header::directory("rootfs"), "")
            .finish();
        let end =
            rkt.rkt(args!["fetch", rkt.file(&format!("{name}.aci"), archive)]).exits(254).stderr_has(word);
        assert!(
            end.stderr.len() < 2000 && !end.stderr.contains("panicked"),
            "{name}: {} bytes",
            end.stderr.len()
        );
    }
}

#[test]
fn os_and_arch_must_be_those_of_this_machine() {
    let rkt = Rkt::new();
    for (label, value, message) in [
        ("os", "", "missing os label in the image manifest"),
        ("arch", "", "missing arch label in the image manifest"),
        ("os", "freebsd", "bad os \"freebsd\""),
        ("arch", "armv7b", "bad arch \"armv7b\" for linux"),
    ] {
        let image = rkt.image("labels", |image| image.label(label, value));
        rkt.run_pod(args![&image]).exits(254).stderr_has(message);
    }
}

// APPC-105
#[test]
fn an_image_without_a_command_says_what_to_do() {
    let rkt = Rkt::new();
    let image = rkt.image("noexec", rkt_tests::Image::without_app);
    rkt.run_pod(args![&image]).exits(254).stderr_has("--exec");
    rkt.run_pod(args![&image, "--exec=/bin/echo", "--", "given"]).success().stdout_is("given\n");
}

#[test]
fn a_command_that_cannot_be_executed_is_203_and_one_line() {
    let rkt = Rkt::new();
    let foreign = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0\x01\0\0\0";
    let image = rkt.image("bad", |image| {
        image
            .file("plain", "not executable", 0o644)
            .file("script", "#!/no/such/interpreter\n", 0o755)
            .file("foreign", foreign.to_vec(), 0o755)
            .file("noise", "no format at all", 0o755)
            .link("dangling", "/nowhere")
            .link("loop", "loop")
    });
    for (exec, reason) in [
        ("/missing", "No such file or directory"),
        ("missing-in-path", "missing-in-path"),
        ("/plain", "Permission denied"),
        ("/script", "/no/such/interpreter"),
        ("/foreign", "riscv64"),
        ("/noise", "Exec format error"),
        ("/dangling", "link to nothing"),
        ("/loop", "symbolic links"),
        ("/bin", "is a directory"),
    ] {
        let end = rkt.run_pod(args![&image, format!("--exec={exec}")]).exits(203);
        let line = end.stderr.lines().find(|line| line.contains("app \"bad\""));
        assert!(line.is_some_and(|line| line.contains(exec) && line.contains(reason)), "{exec}\n{end:?}");
    }
}

// APPC-003, APPC-005
#[test]
fn case_46_hostile_names_are_refused_before_anything_is_made() {
    let rkt = Rkt::new();
    let image = rkt.image("named", |image| image);
    let long = "x".repeat(300);
    for name in ["..", "../up", "a/b", "", "UPPER", "ü", "\\x2d", "a b", "-a", "a-", "a\nb", "a.b"] {
        rkt.run_pod(args![&image, format!("--name={name}")]).exits(254);
    }
    assert!(rkt.pods_on_disk().is_empty(), "{:?}", rkt.pods_on_disk());
    // Allowed by the grammar, and too long for a file or a unit: an error, or it runs.
    let end = rkt.run_pod(args![&image, format!("--name={long}")]);
    assert!([0, 254].contains(&end.status), "{end:?}");
    rkt.run_pod(args![&image, "--name=a-b-c"]).success();
    for uuid in ["../../etc", "..", "/", "\\x2d", &long] {
        for command in ["status", "stop", "rm", "cat-manifest"] {
            let end = rkt.rkt([command, uuid]);
            assert!(end.status != 0 && !end.stderr.contains("panicked"), "{end:?}");
        }
    }
}

// APPC-173
#[test]
fn two_apps_of_one_name_are_refused() {
    let rkt = Rkt::new();
    let image = rkt.image("same", |image| image);
    rkt.run_pod(args![&image, &image]).exits(254).stderr_has("same");
}

#[test]
fn arguments_that_make_no_sense() {
    let rkt = Rkt::new();
    let image = rkt.image("args", |image| image);
    for words in [
        args!["--exec=/bin/true", &image].to_vec(),
        args![&image, "--name=a", "--name="].to_vec(),
        args!["--", "first"].to_vec(),
        args![&image, "--user"].to_vec(),
    ] {
        rkt.run_pod(words).exits(254);
    }
    rkt.rkt(["nonsense"]).exits(254);
    rkt.rkt(["--dir=", "list"]).exits(254);
    rkt.rkt(["--insecure-options=nonsense", "list"]).exits(254);
    let file = rkt.file("in-the-way", "");
    rkt.rkt(args![format!("--dir={}", file.display()), "list"]).exits(254);
    rkt.rkt(args![format!("--dir={}", file.display()), "fetch", &image]).exits(254);
}

#[test]
fn a_store_that_cannot_be_written_names_the_step_and_the_file() {
    let rkt = Rkt::new();
    let image = rkt.image("ro", |image| image);
    // /proc is a directory that takes no files, whoever asks.
    rkt.rkt(args!["--dir=/proc/rkt", "fetch", &image]).refused(&["/proc/rkt"]);
    let blocked = rkt.base().join("blocked");
    fs::create_dir_all(&blocked).unwrap();
    fs::write(blocked.join("pods"), "").unwrap();
    let mut all = args![format!("--dir={}", blocked.display())].to_vec();
    all.extend(rkt.run_args(args![&image]));
    rkt.rkt(all).exits(254).stderr_has("pods");
}
