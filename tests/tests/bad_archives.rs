//! Archives made to harm: whatever they hold, nothing outside the image changes and no test leaves anything behind.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use rkt_tests::{
    Outcome, Rkt,
    archive::{Archive, Header},
    args, host_busybox,
};

/// An image whose app is busybox's `true`; more entries may follow.
fn image(name: &str) -> Archive {
    let busybox = fs::read(host_busybox()).expect("busybox");
    Archive::image(name)
        .entry(Header::directory("rootfs/bin"), "")
        .entry(Header::file("rootfs/bin/busybox").mode(0o755), busybox)
        .entry(Header::symlink("rootfs/bin/true", "busybox"), "")
        .entry(Header::symlink("rootfs/bin/sh", "busybox"), "")
}

fn fetch(rkt: &Rkt, name: &str, archive: Archive) -> Outcome {
    let file = rkt.file(&format!("{name}.aci"), archive.finish());
    rkt.rkt(args!["fetch", file])
}

/// Fetches the image and runs it where it is taken. Either is right as long as nothing outside changes.
fn run(rkt: &Rkt, name: &str, archive: Archive) -> Outcome {
    let file = rkt.file(&format!("{name}.aci"), archive.finish());
    let end = rkt.run_pod(args![file]);
    assert!(!end.stderr.contains("panicked"), "{end:?}");
    end
}

fn assert_nothing_stored(rkt: &Rkt) {
    rkt.rkt(["image", "list", "--no-legend"]).success().stdout_is("\n");
}

/// A file on the host that no image may touch.
fn target(rkt: &Rkt) -> PathBuf {
    rkt.file("target", "untouched")
}

fn assert_untouched(target: &Path) {
    assert_eq!(fs::read_to_string(target).unwrap_or_default(), "untouched");
    let metadata = fs::metadata(target).expect("it is still there");
    assert_eq!((metadata.mode() & 0o7777, metadata.nlink()), (0o644, 1));
}

#[test]
fn case_01_entries_with_dots_or_absolute_names_stay_inside() {
    let rkt = Rkt::new();
    let target = target(&rkt);
    let absolute = target.to_string_lossy().into_owned();
    let up = format!("rootfs/{}{}", "../".repeat(30), absolute.trim_start_matches('/'));
    for (name, entry) in [
        ("dots", up.as_str()),
        ("absolute", &absolute),
        ("short", "../target"),
        ("inner", "rootfs/../../target"),
    ] {
        run(&rkt, name, image(name).entry(Header::file(entry), "overwritten"));
        assert_untouched(&target);
    }
    assert!(!rkt.data().join("cas/target").exists() && !rkt.data().join("target").exists());
}

// APPC-077
#[test]
fn case_01_a_file_through_an_earlier_link_stays_inside() {
    let rkt = Rkt::new();
    let target = target(&rkt);
    let directory = rkt.files().to_string_lossy().into_owned();
    for (name, to) in
        [("absolute", directory.clone()), ("relative", format!("{}{directory}", "../".repeat(30)))]
    {
        let archive = image(name)
            .entry(Header::symlink("rootfs/link", &to), "")
            .entry(Header::file("rootfs/link/target").mode(0o777), "overwritten")
            .entry(Header::file("rootfs/link/new"), "made");
        run(&rkt, name, archive);
        assert_untouched(&target);
        assert!(!rkt.files().join("new").exists());
    }
}

#[test]
fn case_02_a_link_that_is_named_again_is_never_followed() {
    let rkt = Rkt::new();
    let target = target(&rkt);
    let place = rkt.files().join("place");
    fs::create_dir(&place).unwrap();
    let before = fs::metadata(&place).unwrap();
    let (file, directory) = (target.to_string_lossy(), place.to_string_lossy());
    for (name, again) in [
        ("directory", Header::directory("rootfs/link").mode(0o777)),
        ("file", Header::file("rootfs/link").mode(0o777)),
        ("hard-link", Header::hard_link("rootfs/link", "rootfs/bin/busybox")),
    ] {
        for to in [&file, &directory] {
            run(
                &rkt,
                name,
                image(name).entry(Header::symlink("rootfs/link", to), "").entry(again.clone(), ""),
            );
        }
    }
    assert_untouched(&target);
    let after = fs::metadata(&place).unwrap();
    assert_eq!((before.mode(), before.uid(), before.mtime()), (after.mode(), after.uid(), after.mtime()));
}

#[test]
fn case_02_a_directory_swapped_for_a_link_half_way() {
    let rkt = Rkt::new();
    let target = target(&rkt);
    let archive = image("swap")
        .entry(Header::directory("rootfs/dir"), "")
        .entry(Header::file("rootfs/dir/a"), "a")
        .entry(Header::symlink("rootfs/dir", &rkt.files().to_string_lossy()), "")
        .entry(Header::file("rootfs/dir/target"), "overwritten");
    run(&rkt, "swap", archive);
    assert_untouched(&target);
}

// APPC-077
#[test]
fn case_03_a_hard_link_out_of_the_image_is_refused() {
    let rkt = Rkt::new();
    let target = target(&rkt);
    let absolute = target.to_string_lossy().into_owned();
    let dots = format!("{}{absolute}", "../".repeat(30));
    for (name, to) in [
        ("absolute", absolute.as_str()),
        ("dots", &dots),
        ("missing", "rootfs/nothing"),
        ("fd", "/proc/self/fd/0"),
    ] {
        fetch(&rkt, name, image(name).entry(Header::hard_link("rootfs/stolen", to), ""))
            .exits(254)
            .stderr_has("stolen");
        assert_untouched(&target);
    }
    let through = image("through")
        .entry(Header::symlink("rootfs/out", &rkt.files().to_string_lossy()), "")
        .entry(Header::hard_link("rootfs/stolen", "rootfs/out/target"), "");
    run(&rkt, "through", through);
    assert_untouched(&target);
}

#[test]
fn case_04_headers_that_contradict_each_other_give_one_meaning_or_an_error() {
    let rkt = Rkt::new();
    // GNU tar takes the size of the extended header. Who takes the other one finds a hidden entry in the content.
    let hidden = Archive::new().entry(Header::file("rootfs/hidden"), "smuggled").unfinished();
    let size = hidden.len().to_string();
    let archive = image("smuggle")
        .pax(b'x', &[("size", &size)])
        .entry(Header::file("rootfs/carrier").claims(0), &hidden);
    let file = rkt.file("smuggle.aci", archive.finish());
    if rkt.rkt(args!["fetch", &file]).status == 0 {
        rkt.run_pod(args!["--no-overlay", &file]).success();
        let root = rkt.pod_dir(&rkt.only_pod()).join("stage1/rootfs/opt/stage2/smuggle/rootfs");
        assert!(!root.join("hidden").exists(), "read otherwise than GNU tar does");
        assert_eq!(fs::read(root.join("carrier")).unwrap(), hidden);
    }
}

#[test]
fn case_04_sizes_that_are_none_are_refused() {
    let rkt = Rkt::new();
    let negative = [0xff; 12];
    let huge = [0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    for (name, header) in [
        ("letters", Header::file("rootfs/x").claims_raw(b"notanumber!\0")),
        ("negative", Header::file("rootfs/x").claims_raw(&negative)),
        ("huge", Header::file("rootfs/x").claims_raw(&huge)),
        ("claims-8-gib", Header::file("rootfs/x").claims(8 << 30)),
    ] {
        fetch(&rkt, name, image(name).entry(header, "few bytes")).exits(254);
    }
    let global =
        image("global").pax(b'g', &[("path", "rootfs/everything")]).entry(Header::file("rootfs/x"), "x");
    run(&rkt, "global", global);
    rkt.rkt(["list"]).success();
}

#[test]
fn case_05_devices_setuid_and_overlay_attributes() {
    let rkt = Rkt::new();
    let archive = image("special")
        .entry(Header::device("rootfs/null", 1, 3), "")
        .entry(Header::file("rootfs/setuid").mode(0o4755), "")
        .pax(
            b'x',
            &[
                ("SCHILY.xattr.trusted.overlay.opaque", "y"),
                ("SCHILY.xattr.trusted.overlay.redirect", "/bin"),
            ],
        )
        .entry(Header::directory("rootfs/opaque"), "");
    let file = rkt.file("special.aci", archive.finish());
    let end = rkt.run_pod(args!["--no-overlay", &file]);
    if end.status == 254 {
        assert_nothing_stored(&rkt);
        return;
    }
    let root = rkt.pod_dir(&rkt.only_pod()).join("stage1/rootfs/opt/stage2/special/rootfs");
    let mut value = [0; 64];
    for name in ["trusted.overlay.opaque", "trusted.overlay.redirect"] {
        let found = rustix::fs::getxattr(root.join("opaque"), name, &mut value);
        assert!(found.is_err(), "{name} was kept: an image could hide or forge files of the layers below");
    }
    assert_eq!(fs::metadata(root.join("setuid")).unwrap().mode() & 0o7777, 0o4755);
    let null = fs::symlink_metadata(root.join("null")).unwrap();
    assert!(null.file_type().is_char_device());
}

// APPC-078
#[test]
fn case_06_whiteouts_of_other_formats_mean_nothing_here() {
    let rkt = Rkt::new();
    let target = target(&rkt);
    let archive = image("whiteout")
        .entry(Header::directory("rootfs/dir"), "")
        .entry(Header::file("rootfs/dir/.wh..."), "")
        .entry(Header::file("rootfs/dir/.wh..wh..opq"), "")
        .entry(Header::file("rootfs/bin/.wh.busybox"), "");
    run(&rkt, "whiteout", archive).success();
    assert_untouched(&target);
}

#[test]
fn case_07_bombs_end_in_a_clear_error_and_free_the_disk() {
    let rkt = Rkt::new();
    let deep = format!("rootfs/{}f", "d/".repeat(3000));
    let long = format!("rootfs/{}", "n".repeat(4 << 20));
    let wide = format!("rootfs/{}", "n".repeat(300));
    for (name, path) in [("deep", &deep), ("long", &long), ("wide", &wide)] {
        fetch(&rkt, name, image(name).pax(b'x', &[("path", path)]).entry(Header::file("x"), "")).exits(254);
    }
    // Ten terabytes of holes, in a few bytes of archive.
    let sparse = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.realsize", "10995116277760"),
        ("GNU.sparse.name", "rootfs/x"),
    ];
    run(
        &rkt,
        "sparse",
        image("sparse").pax(b'x', &sparse).entry(Header::file("rootfs/x"), "1\n0\n10995116277760\n"),
    );
    let left: Vec<_> = fs::read_dir(rkt.data().join("cas/tmp")).into_iter().flatten().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_name_that_comes_twice_is_decided_not_guessed() {
    let rkt = Rkt::new();
    let archive =
        image("twice").entry(Header::file("rootfs/x"), "first").entry(Header::file("rootfs/x"), "second");
    let file = rkt.file("twice.aci", archive.finish());
    let end = rkt.run_pod(args!["--no-overlay", &file]);
    if end.status == 0 {
        let root = rkt.pod_dir(&rkt.only_pod()).join("stage1/rootfs/opt/stage2/twice/rootfs");
        assert_eq!(fs::read_to_string(root.join("x")).unwrap(), "second", "the last one wins, as in GNU tar");
    } else {
        end.exits(254).stderr_has("rootfs/x");
    }
    let manifests = image("two-manifests").entry(Header::file("manifest"), "{}");
    fetch(&rkt, "two-manifests", manifests).exits(254).stderr_has("manifest");
}

// APPC-051, APPC-052
#[test]
fn without_a_manifest_or_a_root_or_with_more_than_those_it_is_no_image() {
    let rkt = Rkt::new();
    let manifest = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a"}"#;
    let table = [
        ("nothing", Archive::new(), "not an image"),
        ("no-manifest", Archive::new().entry(Header::directory("rootfs"), ""), "manifest"),
        ("no-rootfs", Archive::new().entry(Header::file("manifest"), manifest), "rootfs"),
        (
            "rootfs-is-a-file",
            Archive::new().entry(Header::file("manifest"), manifest).entry(Header::file("rootfs"), ""),
            "rootfs",
        ),
        (
            "rootfs-is-a-link",
            Archive::new()
                .entry(Header::file("manifest"), manifest)
                .entry(Header::symlink("rootfs", "/"), ""),
            "rootfs",
        ),
        ("more", image("more").entry(Header::file("other"), ""), "other"),
    ];
    for (name, archive, word) in table {
        fetch(&rkt, name, archive).exits(254).stderr_has(word);
    }
    assert_nothing_stored(&rkt);
}

#[test]
fn truncated_at_every_kilobyte() {
    let rkt = Rkt::new();
    let small = Archive::image("cut")
        .entry(Header::directory("rootfs/dir"), "")
        .entry(Header::file("rootfs/dir/file"), vec![1; 20_000])
        .finish();
    let plain = rkt.file("whole.aci", &small);
    let packed = rkt.files().join("whole-gz.aci");
    let script = format!("gzip -c < {} > {}", plain.display(), packed.display());
    rkt_tests::run(std::process::Command::new("sh").arg("-c").arg(script)).success();
    for whole in [small.clone(), fs::read(&packed).unwrap()] {
        let step = 1024.min(whole.len() / 8);
        for length in (0..whole.len()).step_by(step) {
            // The two empty blocks at the end of a tar are the only part that may be missing.
            if whole == small && length >= whole.len() - 1024 {
                continue;
            }
            let file = rkt.file("cut.aci", &whole[..length]);
            let end = rkt.rkt(args!["fetch", file]).exits(254);
            assert_eq!(end.stderr.trim_end().lines().count(), 1, "one clear line at {length}\n{end:?}");
        }
    }
    assert_nothing_stored(&rkt);
    rkt.rkt(args!["fetch", plain]).success();
}
