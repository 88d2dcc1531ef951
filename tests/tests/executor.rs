//! What the specification asks of an executor, where no other file has it as its subject.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    process::Command,
};

use rkt_tests::{Launcher, Outcome, Rkt, args, run, server};
use serde_json::{Value, json};

fn fetch(rkt: &Rkt, image: &std::path::Path) -> String {
    rkt.rkt(args!["fetch", "--full", image]).success().stdout.trim().to_owned()
}

/// Runs a pod of a manifest with these apps.
fn run_manifest(rkt: &Rkt, apps: &Value) -> Outcome {
    let manifest = json!({"acVersion": "0.8.11", "acKind": "PodManifest", "apps": apps});
    let file = rkt.file("pod.json", manifest.to_string());
    rkt.run_pod(args![format!("--pod-manifest={}", file.display())])
}

// APPC-107
#[test]
fn commands_and_variables_are_taken_literally() {
    let rkt = Rkt::new();
    let image = rkt.image("literal", |image| {
        image
            .exec(&[
                "/bin/sh",
                "-c",
                "printf '[%s]' \"$@\" \"$VALUE\"",
                "sh",
                "$HOME",
                "*",
                "a  b",
                "",
                "`id`",
            ])
            .env("VALUE", "$PATH ${HOME} %s \\n")
    });
    rkt.run_pod(args![&image]).success().stdout_is("[$HOME][*][a  b][][`id`][$PATH ${HOME} %s \\n]");
}

// APPC-021
#[test]
fn what_is_for_users_has_no_effect() {
    let rkt = Rkt::new();
    let words = json!({"exec": "/bin/false", "PATH": "/nowhere", "user": "1000", "": ""});
    let image = rkt.image("notes", |image| {
        image
            .sh("echo $(id -u) $PATH; env | grep -c nowhere")
            .with("userAnnotations", words.clone())
            .with("userLabels", words)
    });
    let end = rkt.run_pod(args![&image]).exits(1);
    assert_eq!(end.stdout, "0 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n0\n");
}

// APPC-105
#[test]
fn an_empty_command_needs_one_from_the_user() {
    let rkt = Rkt::new();
    for exec in [json!([]), json!(null)] {
        let image = rkt.image("empty", |image| image.with("exec", exec));
        rkt.run_pod(args![&image]).exits(254).stderr_has("--exec");
        rkt.run_pod(args![&image, "--exec=/bin/echo", "--", "given"]).success().stdout_is("given\n");
    }
}

// APPC-115
#[test]
fn the_working_directory_may_be_in_a_volume() {
    let rkt = Rkt::new();
    fs::create_dir(rkt.files().join("inside")).unwrap();
    let volume = format!("--volume=data,kind=host,source={}", rkt.files().display());
    let image =
        rkt.image("cwd", |image| image.exec(&["/bin/pwd"]).with("workingDirectory", json!("/data/inside")));
    rkt.run_pod(args![volume, &image, "--mount=volume=data,target=/data"])
        .success()
        .stdout_is("/data/inside\n");
    rkt.run_pod(args![&image]).exits(200).stderr_has("/data/inside");
}

// APPC-127
#[test]
fn how_dependencies_are_executed_does_not_matter() {
    let rkt = Rkt::new();
    let below = rkt.image("below", |image| {
        image
            .sh("echo below")
            .env("FROM", "below")
            .user("alice", "wonder")
            .with("workingDirectory", json!("/tmp"))
    });
    fetch(&rkt, &below);
    let on_below = json!([{"imageName": "test.invalid/below"}]);
    let plain = rkt.empty_image("plain", |image| image.field("dependencies", on_below.clone()));
    rkt.run_pod(args![&plain]).exits(254).stderr_has("--exec");
    let above = rkt.empty_image("above", |image| {
        image.exec(&["/bin/sh", "-c", "echo $(id -u) $PWD $FROM"]).field("dependencies", on_below)
    });
    rkt.run_pod(args![&above]).success().stdout_is("0 /\n");
}

/// Runs rkt where a name that is nobody's leads to a server of images without signatures.
fn fetch_by_name(rkt: &Rkt, address: &str, image: &std::path::Path) -> Outcome {
    let mut command =
        rkt.command(args!["--insecure-options=image,http", "fetch", "--pull-policy=new", image]);
    let proxy = server::tunnel(address).0;
    run(command.env("http_proxy", format!("http://{proxy}")).env("https_proxy", "http://127.0.0.1:1"))
}

// APPC-125, APPC-128
#[test]
fn a_dependency_is_discovered_by_its_name_and_labels_and_has_its_id() {
    let rkt = Rkt::new();
    let library = |version: &str| {
        rkt.empty_image("lib", |image| {
            image.label("version", version).file("version", format!("{version}\n"), 0o644)
        })
    };
    let bodies: Vec<(String, Vec<u8>)> = ["1.0", "2.0"]
        .iter()
        .map(|version| (format!("/test.invalid/lib-{version}.aci"), fs::read(library(version)).unwrap()))
        .collect();
    let other = Rkt::new();
    let id = fetch(&other, &other.file("lib.aci", &bodies[0].1));
    let page =
        "<meta name=\"ac-discovery\" content=\"test.invalid http://test.invalid/{name}-{version}.{ext}\">";
    let (address, _) = server::serve(move |request, stream| {
        match bodies.iter().find(|(path, _)| request.path.ends_with(path)) {
            Some((_, body)) => server::send_body(stream, "200 OK", body),
            None if request.path.contains("ac-discovery=1") => {
                server::send_body(stream, "200 OK", page.as_bytes());
            }
            None => server::send_body(stream, "404 Not Found", b""),
        }
    });
    let depending = |labels: Value, id: Option<&str>| {
        let mut dependency = json!({"imageName": "test.invalid/lib", "labels": labels});
        if let Some(id) = id {
            dependency["imageID"] = json!(id);
        }
        rkt.image("app", |image| image.sh("cat /version").field("dependencies", json!([dependency])))
    };
    let version = |version: &str| json!([{"name": "version", "value": version}]);
    let end = fetch_by_name(&rkt, &address, &depending(version("2.0"), Some(&id))).exits(254);
    end.stderr_has("test.invalid/lib").stderr_has(&id[..39]);
    let image = depending(version("1.0"), Some(&id));
    fetch_by_name(&rkt, &address, &image).success();
    rkt.run_pod(args![&image]).success().stdout_is("1.0\n");
    fetch_by_name(&rkt, &address, &depending(version("3.0"), None)).exits(254).stderr_has("404");
}

// APPC-126
#[test]
fn a_dependency_is_not_larger_than_its_size() {
    let rkt = Rkt::new();
    let library = fs::read(rkt.empty_image("lib", |image| image.file("f", vec![7; 100_000], 0o644))).unwrap();
    let size = library.len();
    let page =
        "<meta name=\"ac-discovery\" content=\"test.invalid http://test.invalid/{name}-{version}.{ext}\">";
    // The first answer says how long it is, and the second does not.
    for announced in [true, false] {
        let library = library.clone();
        let (address, _) = server::serve(move |request, stream| {
            if request.path.contains("ac-discovery=1") {
                server::send_body(stream, "200 OK", page.as_bytes());
            } else if announced {
                server::send_body(stream, "200 OK", &library);
            } else {
                server::send(stream, "200 OK", &library);
            }
        });
        for (stated, fine) in [(1, false), (size - 1, false), (size, true), (0, true)] {
            let rkt = Rkt::new();
            let dependency = json!([{"imageName": "test.invalid/lib", "size": stated}]);
            let image = rkt.image("app", |image| image.field("dependencies", dependency));
            let end = fetch_by_name(&rkt, &address, &image);
            if fine {
                end.success();
            } else {
                end.exits(254)
                    .stderr_has(&format!("more than {stated} bytes"))
                    .stderr_has("test.invalid/lib");
            }
        }
    }
}

// APPC-129, APPC-156, APPC-158, APPC-159, APPC-160
#[test]
fn a_whitelist_names_each_path_that_stays() {
    let rkt = Rkt::new();
    let below = rkt.empty_image("below", |image| {
        image
            .file("d/sub/one", "1", 0o644)
            .file("d/sub/two", "2", 0o644)
            .file("d/deep/er/three", "3", 0o644)
            .link("d/link", "sub/two")
            .field("pathWhitelist", json!(["/d//sub/", "/d/deep/er/three", "/none", "/d/link"]))
    });
    fetch(&rkt, &below);
    let layout = rkt_tests::Image::empty("linked")
        .file("l/first", "shared", 0o640)
        .field("pathWhitelist", json!(["/l/second"]))
        .lay_out(&rkt.files());
    fs::hard_link(layout.join("rootfs/l/first"), layout.join("rootfs/l/second")).unwrap();
    let aci = rkt.files().join("linked.aci");
    run(Command::new(rkt.program("actool")).arg("build").args([&layout, &aci])).success();
    fetch(&rkt, &aci);
    let image = rkt.image("app", |image| {
        image
            .sh("cd /; find d l | sort; cat l/second; stat -c ' %a %h' l/second")
            .field(
                "dependencies",
                json!([{"imageName": "test.invalid/below"}, {"imageName": "test.invalid/linked"}]),
            )
            .field("pathWhitelist", json!([]))
    });
    let want = "d\nd/deep\nd/deep/er\nd/deep/er/three\nd/link\nd/sub\nl\nl/second\nshared 640 1\n";
    rkt.run_pod(args!["--no-overlay", &image]).success().stdout_is(want);
}

// APPC-155, APPC-157
#[test]
fn whitelists_of_all_images_above_hold() {
    let rkt = Rkt::new();
    let library = |name: &str, below: Value, whitelist: Value| {
        let image = rkt.empty_image(name, |image| {
            ["one", "two", "three"]
                .iter()
                .fold(image, |image, file| image.file(&format!("{name}/{file}"), "", 0o644))
                .field("dependencies", below)
                .field("pathWhitelist", whitelist)
        });
        rkt.rkt(args!["fetch", "--pull-policy=new", image]).success();
    };
    let on = |name: &str| json!([{"imageName": format!("test.invalid/{name}")}]);
    library("low", json!([]), json!(["/low/one", "/low/two"]));
    library("middle", on("low"), json!(["/low/two", "/low/three", "/middle/one", "/middle/two"]));
    library("beside", json!([]), json!([]));
    let both = json!([{"imageName": "test.invalid/middle"}, {"imageName": "test.invalid/beside"}]);
    library(
        "top",
        both,
        json!(["/low/one", "/low/two", "/low/three", "/middle/two", "/beside/three", "/top/one"]),
    );
    let place = rkt.files().join("rendered");
    rkt.rkt(args!["image", "render", "--rootfs-only", "test.invalid/top", &place]).success();
    let found = run(Command::new("sh").args(["-c", "find . -type f | sort"]).current_dir(&place)).success();
    assert_eq!(found.lines(), ["./beside/three", "./low/two", "./middle/two", "./top/one"]);
}

// APPC-063, APPC-163
#[test]
fn an_image_whose_stored_file_was_changed_is_not_rendered() {
    let rkt = Rkt::new();
    let image = rkt.image("changed", |image| image.file("mark", "as it was", 0o644));
    let id = fetch(&rkt, &image);
    fs::remove_dir_all(rkt.data().join("cas/tree")).unwrap();
    let blob = rkt.data().join("cas/blob/sha512").join(&id[7..9]).join(&id[..71]);
    let other = rkt.image("changed", |image| image.file("mark", "otherwise", 0o644));
    fs::copy(other, blob).unwrap();
    rkt.run_pod([id.as_str()]).exits(254).stderr_has(&id[..39]);
}

// APPC-178
#[test]
fn a_volume_of_the_mount_itself_wins_over_the_name() {
    let rkt = Rkt::new();
    let id = fetch(&rkt, &rkt.image("base", |image| image.sh("cat /data/mark")));
    for name in ["shared", "own"] {
        fs::create_dir(rkt.files().join(name)).unwrap();
        fs::write(rkt.files().join(name).join("mark"), format!("{name}\n")).unwrap();
    }
    let volume = |name: &str, directory: &str| json!({"name": name, "kind": "host", "source": rkt.files().join(directory)});
    let app = |mount: Value| json!([{"name": "a", "image": {"id": id}, "mounts": [mount]}]);
    let run = |apps: Value| {
        let manifest = json!({"acVersion": "0.8.11", "acKind": "PodManifest", "apps": apps,
            "volumes": [volume("data", "shared")]});
        let file = rkt.file("pod.json", manifest.to_string());
        rkt.run_pod(args![format!("--pod-manifest={}", file.display())])
    };
    run(app(json!({"volume": "data", "path": "/data"}))).success().stdout_is("shared\n");
    let own = json!({"volume": "data", "path": "/data", "appVolume": volume("any", "own")});
    run(app(own)).success().stdout_is("own\n");
    run(app(json!({"volume": "none", "path": "/data"}))).exits(254).stderr_has("none");
}

// APPC-171, APPC-202
#[test]
fn a_template_without_ids_is_no_pod() {
    let rkt = Rkt::new();
    let image = rkt.image("base", |image| image);
    fetch(&rkt, &image);
    for image in [json!({"name": "test.invalid/base"}), json!({})] {
        let end = run_manifest(&rkt, &json!([{"name": "a", "image": image}])).exits(254);
        assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
    }
    assert!(rkt.pods_on_disk().is_empty());
}

// APPC-185
#[test]
fn what_is_mounted_below_a_source_is_there_unless_told_otherwise() {
    // Apps that systemd starts are not in the namespace in which the test mounts something.
    let rkt = Rkt::with_launcher(Launcher::Direct);
    let source = rkt.files().join("source");
    fs::create_dir_all(source.join("below")).unwrap();
    let image = rkt.image("below", |image| image.sh("ls /data/below"));
    for (recursive, want) in [("", "mark\n"), (",recursive=true", "mark\n"), (",recursive=false", "")] {
        let volume = format!("--volume=data,kind=host,source={}{recursive}", source.display());
        let inner = rkt.command(rkt.run_args(args![volume, &image, "--mount=volume=data,target=/data"]));
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]).arg(format!(
            "mount -t tmpfs none {0}/below && : >{0}/below/mark && exec \"$@\"",
            source.display()
        ));
        command.arg("sh").arg(inner.get_program()).args(inner.get_args());
        run(&mut command).success().stdout_is(want);
    }
}

// APPC-227
#[test]
fn missing_targets_are_made_for_root_and_readable() {
    let rkt = Rkt::new();
    let image = rkt.image("made", |image| image.sh("stat -c '%a %u %g' /x /x/y").user("alice", "wonder"));
    let end = rkt.run_pod(args!["--volume=v,kind=empty", &image, "--mount=volume=v,target=/x/y/z"]);
    end.success().stdout_is("755 0 0\n755 0 0\n");
}

// APPC-231
#[test]
fn a_volume_that_would_hide_another_is_refused() {
    let rkt = Rkt::new();
    let image = rkt.image("over", |image| image.sh("echo ran"));
    let end = rkt.run_pod(args![
        "--volume=one,kind=empty",
        "--volume=two,kind=empty",
        &image,
        "--mount=volume=one,target=/a/b",
        "--mount=volume=two,target=/a"
    ]);
    end.exits(254).stderr_has("one").stderr_has("two").stdout_lacks("ran");
}

// APPC-232, APPC-233, APPC-234
#[test]
fn nothing_is_made_on_the_host_and_links_to_a_source_are_refused() {
    let rkt = Rkt::new();
    let image = rkt.image("source", |image| image.sh("echo ran"));
    let base = rkt.files();
    fs::create_dir_all(base.join("real/inner")).unwrap();
    symlink(base.join("real"), base.join("link")).unwrap();
    for source in ["missing", "missing/deep", "link", "link/inner"] {
        let volume = format!("--volume=data,kind=host,source={}", base.join(source).display());
        let end = rkt.run_pod(args![volume, &image, "--mount=volume=data,target=/data"]).exits(254);
        end.stdout_lacks("ran").stderr_has("data");
    }
    assert!(!base.join("missing").exists());
    assert_eq!(fs::read_dir(base.join("real")).unwrap().count(), 1);
    assert_eq!(fs::metadata(base.join("real/inner")).unwrap().nlink(), 2);
}

// APPC-241, APPC-243
#[test]
fn an_app_is_told_the_name_that_it_has_in_the_pod() {
    let rkt = Rkt::new();
    let image = rkt.image("imagename", |image| image.sh("echo $AC_APP_NAME $container"));
    rkt.run_pod(args![&image, "--name=podname"]).success().stdout_is("podname rkt\n");
}
