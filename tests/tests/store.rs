//! Images in the store: fetched, named, listed, removed, and never there in halves.

use std::{fs, process::Command};

use rkt_tests::{Rkt, args, run};

// APPC-062
#[test]
fn fetch_prints_the_id_which_is_the_hash_of_the_tar() {
    let rkt = Rkt::new();
    let image = rkt.image("hash", |image| image);
    let tar = rkt.files().join("plain.tar");
    let unpack = format!("gzip -dc < {} > {}", image.display(), tar.display());
    run(Command::new("sh").arg("-c").arg(unpack)).success();
    let sum = run(Command::new("sha512sum").arg(&tar)).success().stdout;
    let short = rkt.rkt(args!["fetch", &image]).success();
    short.clone().stdout_is(&format!("sha512-{}\n", &sum[..32]));
    let full = rkt.rkt(args!["fetch", "--full", &image]).success().stdout;
    assert!(full.starts_with(&format!("sha512-{}", &sum[..64])), "{full}");
}

// APPC-050, APPC-059, APPC-060
#[test]
fn every_compression_gives_the_same_image() {
    let rkt = Rkt::new();
    let image = rkt.image("packed", |image| image.sh("echo ran"));
    let tar = rkt.files().join("image.data");
    let unpack = format!("gzip -dc < {} > {}", image.display(), tar.display());
    run(Command::new("sh").arg("-c").arg(unpack)).success();
    let id = rkt.rkt(args!["fetch", &image]).success().stdout;
    for tool in ["cat", "gzip -c", "bzip2 -c", "xz -c", "zstd -qc"] {
        let name = tool.split(' ').next().unwrap();
        let packed = rkt.files().join(format!("misleading-{name}.xz.aci"));
        let script = format!("{tool} < {} > {}", tar.display(), packed.display());
        if !run(Command::new("sh").arg("-c").arg(script)).status.eq(&0) {
            // Not every testbed has every compressor; the plain machine has them all.
            continue;
        }
        rkt.rkt(args!["fetch", &packed]).success().stdout_is(&id);
        rkt.run_pod(args![&packed]).success().stdout_is("ran\n");
    }
    assert_eq!(rkt.rkt(["image", "list", "--no-legend"]).success().lines().len(), 1);
}

#[test]
fn a_stored_image_runs_by_id_prefix_and_name_without_its_file() {
    let rkt = Rkt::new();
    let image = rkt.image("named", |image| image.sh("echo ran"));
    let id = rkt.rkt(args!["fetch", "--full", &image]).success().stdout.trim().to_owned();
    fs::remove_file(&image).unwrap();
    for reference in [id.as_str(), &id[..16], "test.invalid/named", "test.invalid/named:1.0"] {
        rkt.run_pod([reference]).success().stdout_is("ran\n");
    }
    rkt.run_pod(["sha512-"]).exits(254);
    rkt.run_pod([&format!("sha512-{}", "0".repeat(64))]).exits(254);
}

#[test]
fn image_list_has_rkts_columns_and_json() {
    let rkt = Rkt::new();
    let image = rkt.image("listed", |image| image);
    let id = rkt.rkt(args!["fetch", "--full", &image]).success().stdout.trim().to_owned();
    let list = rkt.rkt(["image", "list"]).success();
    let cells =
        |line: &str| line.split('\t').filter(|c| !c.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells(list.lines()[0]), ["ID", "NAME", "SIZE", "IMPORT TIME", "LAST USED"]);
    let row = cells(list.lines()[1]);
    assert_eq!(row[..2], [&id[..19], "test.invalid/listed:1.0"]);
    assert!(row[2].ends_with("iB"), "{list:?}");
    let full = rkt.rkt(["image", "list", "--full", "--no-legend"]).success();
    let row = cells(full.lines()[0]);
    assert_eq!(row[0], id);
    assert!(row[2].parse::<u64>().is_ok_and(|bytes| bytes > 1_000_000), "{full:?}");
    let json = rkt.rkt(["image", "list", "--format=json"]).success().json();
    assert!(json[0]["id"].as_str().unwrap().starts_with(&id));
    assert_eq!(json[0]["name"], "test.invalid/listed:1.0");
    assert!(json[0]["import_time"].as_i64().unwrap() > 1_000_000_000_000_000_000, "nanoseconds");
    let fields = rkt.rkt(["image", "list", "--fields=name", "--no-legend"]).success();
    assert_eq!(fields.stdout.trim(), "test.invalid/listed:1.0");
}

#[test]
fn image_list_is_sorted_as_told() {
    let rkt = Rkt::new();
    for (name, size) in [("b", 3_000), ("a", 200_000), ("c", 40_000)] {
        let image = rkt.empty_image(name, |image| image.file("f", vec![7; size], 0o644));
        rkt.rkt(args!["fetch", &image]).success();
    }
    let names = |args: &[&str]| {
        let all = [&["image", "list", "--no-legend", "--fields=name"], args].concat();
        let lines = rkt.rkt(all).success().stdout;
        let short = |line: &str| line.trim().replace("test.invalid/", "").replace(":1.0", "");
        lines.lines().map(short).collect::<String>()
    };
    for (args, want) in [
        (&[][..], "bac"),
        (&["--order=desc"], "cab"),
        (&["--sort=name"], "abc"),
        (&["--sort=size"], "bca"),
        (&["--sort=size", "--order=desc"], "acb"),
        (&["--sort=name,size", "--order=asc"], "abc"),
        (&["--sort=lastused"], "bac"),
    ] {
        assert_eq!(names(args), want, "{args:?}");
    }
    let json = rkt.rkt(["image", "list", "--format=json", "--sort=name", "--fields=id"]).success().json();
    let keys: Vec<&String> = json[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "name", "import_time", "last_used_time", "size"]);
    assert_eq!(json[2]["name"], "test.invalid/c:1.0");
    for wrong in ["--fields=x", "--sort=x", "--order=x"] {
        assert_ne!(rkt.rkt(["image", "list", wrong]).status, 0, "{wrong}");
    }
}

#[test]
fn image_cat_manifest_and_rm() {
    let rkt = Rkt::new();
    let image = rkt.image("gone", |image| image.env("A", "b"));
    let id = rkt.rkt(args!["fetch", "--full", &image]).success().stdout.trim().to_owned();
    let manifest = rkt.rkt(["image", "cat-manifest", &id[..19]]).success();
    assert_eq!(manifest.json()["name"], "test.invalid/gone");
    assert!(manifest.stdout.contains("\n\t\"acKind\""), "{manifest:?}");
    rkt.rkt(["image", "cat-manifest", "test.invalid/gone"]).success().stdout_is(&manifest.stdout);
    rkt.rkt(["image", "cat-manifest", "sha512-f"]).refused(&["image ID too short"]);
    rkt.rkt(["image", "cat-manifest", "test.invalid/nothing"]).exits(254);
    let end = rkt.rkt(["image", "rm", &id, "test.invalid/gone"]).success();
    assert!(end.stdout.contains("successfully removed aci for image:"), "{end:?}");
    assert!(end.stderr.contains("1 image(s) successfully removed"), "{end:?}");
    rkt.rkt(["image", "list", "--no-legend"]).success().stdout_is("\n");
    rkt.run_pod(["test.invalid/gone"]).exits(254);
}

// APPC-372
#[test]
fn an_unsigned_file_needs_the_users_word() {
    let rkt = Rkt::new();
    let image = rkt.image("unsigned", |image| image);
    let mut strict = Command::new(rkt.program("rkt"));
    let end = run(strict.arg(format!("--dir={}", rkt.data().display())).arg("fetch").arg(&image));
    end.exits(254).stderr_has("--insecure-options=image");
    rkt.rkt(["image", "list", "--no-legend"]).success().stdout_is("\n");
}

#[test]
fn a_removed_image_does_not_disturb_the_pods_that_have_it() {
    let rkt = Rkt::new();
    let image = rkt.image("held", |image| {
        image.sh("echo up; until test -e /data/go; do sleep 0.1; done; ls /bin/busybox")
    });
    let volume = format!("--volume=data,kind=host,source={}", rkt.files().display());
    let mut pod = rkt.start(args![volume, &image, "--mount=volume=data,target=/data"]);
    pod.wait_for("up");
    rkt.rkt(["image", "rm", "test.invalid/held"]).success();
    rkt.file("go", "");
    pod.wait().success().stdout_has("/bin/busybox");
    rkt.rkt(["list"]).success().stdout_has("test.invalid/held:1.0");
}

#[test]
fn case_32_a_tree_or_blob_that_is_lost_is_made_again() {
    let rkt = Rkt::new();
    let image = rkt.image("lost", |image| image.sh("echo ran"));
    rkt.run_pod(args![&image]).success();
    fs::remove_dir_all(rkt.data().join("cas/tree")).unwrap();
    rkt.run_pod(args![&image]).success().stdout_is("ran\n");
    rkt.run_pod(["test.invalid/lost"]).success().stdout_is("ran\n");
}
