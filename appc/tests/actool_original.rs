//! Ours and the specification's own `actool`: what one makes, the other takes.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command};

use common::{Header, MANIFEST, Tar, actool, original, run};
use tempfile::TempDir;

const FULL: &str = r#"{"name":"example.com/full","acVersion":"0.8.11","acKind":"ImageManifest","unknown":1,"labels":[{"name":"version","value":"1.0"},{"name":"os","value":"linux"},{"name":"arch","value":"amd64"}],"app":{"exec":["/bin/a","<&>"],"user":"0","group":"0","environment":[{"name":"A","value":"b"}],"mountPoints":[{"name":"data","path":"/data"}],"ports":[{"name":"http","protocol":"tcp","port":80}],"isolators":[{"name":"resource/memory","value":{"limit":"1G"}}]},"annotations":[{"name":"created","value":"2024-01-02T03:04:05Z"}]}"#;

struct Place(TempDir);

impl Place {
    fn new(manifest: &str) -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let root = place.path("layout/rootfs");
        fs::create_dir_all(root.join("dir/empty")).unwrap();
        fs::write(place.path("layout/manifest"), manifest).unwrap();
        fs::write(root.join("dir/file"), vec![b'x'; 70_000]).unwrap();
        fs::hard_link(root.join("dir/file"), root.join("hard")).unwrap();
        symlink("dir/file", root.join("link")).unwrap();
        fs::write(root.join(["long-name"; 15].join("-")), "long").unwrap();
        fs::write(root.join("gr\u{fc}n"), "").unwrap();
        let script = "cd layout/rootfs && mkfifo fifo && mknod null c 1 3 && chown 3000000:5 dir/empty";
        assert_eq!(
            run(Command::new("sh").arg("-c").arg(script).current_dir(place.0.path())).0,
            0,
            "must be root"
        );
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn ours(&self, arguments: &[&str]) -> (i32, String, String) {
        run(actool().args(arguments).current_dir(self.0.path()))
    }

    fn theirs(&self, arguments: &[&str]) -> (i32, String, String) {
        run(original().args(arguments).current_dir(self.0.path()))
    }

    /// Both give the same code and output; what they say of failures is in their own words.
    fn agree(&self, arguments: &[&str]) -> (i32, String) {
        let (ours, theirs) = (self.ours(arguments), self.theirs(arguments));
        assert_eq!(
            (ours.0, &ours.1),
            (theirs.0, &theirs.1),
            "{arguments:?}\nours {ours:?}\ntheirs {theirs:?}"
        );
        (ours.0, ours.1)
    }
}

// APPC-036, APPC-413
#[test]
fn each_takes_what_the_other_builds() {
    for manifest in [MANIFEST, FULL] {
        let place = Place::new(manifest);
        for flags in [&[][..], &["--no-compression"], &["--owner-root"]] {
            let build = |file| [&["build", "--overwrite"], flags, &["layout", file]].concat();
            assert_eq!(place.ours(&build("ours.aci")).0, 0);
            assert_eq!(place.theirs(&build("theirs.aci")).0, 0);
            for file in ["ours.aci", "theirs.aci"] {
                assert_eq!(place.agree(&["validate", file]).0, 0, "{file}");
                assert_eq!(place.agree(&["validate", "--type=appimage", file]).0, 0, "{file}");
                place.agree(&["cat-manifest", "--pretty-print", file]);
            }
            let manifest = place.agree(&["cat-manifest", "ours.aci"]);
            assert_eq!(
                place.agree(&["cat-manifest", "theirs.aci"]),
                manifest,
                "the same manifest, byte for byte"
            );
        }
        place.agree(&["validate", "layout"]);
        place.agree(&["validate", "layout/manifest"]);
        // The same names, in the same order.
        let list =
            |file: &str| run(Command::new("tar").arg("-tf").arg(place.path(file))).1.replace("/\n", "\n");
        assert_eq!(list("ours.aci"), list("theirs.aci"));
        for compression in ["bzip2", "xz"] {
            let build =
                ["build", "--overwrite", &format!("--compression={compression}"), "layout", "ours.aci"];
            assert_eq!(place.ours(&build).0, 0);
            assert_eq!(place.agree(&["validate", "ours.aci"]).0, 0, "{compression}");
        }
    }
}

// APPC-421
#[test]
fn each_patches_what_the_other_builds() {
    let place = Place::new(FULL);
    assert_eq!(place.ours(&["build", "layout", "ours.aci"]).0, 0);
    assert_eq!(place.theirs(&["build", "layout", "theirs.aci"]).0, 0);
    for (index, flags) in [
        &["--name=example.com/b"][..],
        &["--exec=/x y", "-user", "1", "--group=2"],
        &["--supplementary-groups=1,2"],
        &["--capability=CAP_A,CAP_B"],
        &["--revoke-capability=CAP_A"],
        &["--mounts=work,path=/opt,readOnly=true:tmp,path=/tmp"],
        &["--ports=query,protocol=tcp,port=8080,count=1"],
        &["--seccomp-mode=retain,errno=EPERM", "--seccomp-set=read,write"],
        // One key only: the original writes several in an order that changes from run to run.
        &["--isolators=resource/cpu,limit=100m:os/linux/no-new-privileges,true:os/linux/oom-score-adj,5"],
        &["--manifest=layout/manifest"],
    ]
    .into_iter()
    .enumerate()
    {
        let patch = |from, to| [&["patch-manifest", "--overwrite"], flags, &[from, to]].concat();
        assert_eq!(place.ours(&patch("theirs.aci", "a.aci")).0, 0, "{index}");
        assert_eq!(place.theirs(&patch("ours.aci", "b.aci")).0, 0, "{index}");
        assert_eq!(place.agree(&["validate", "a.aci", "b.aci"]).0, 0);
        assert_eq!(
            place.agree(&["cat-manifest", "a.aci"]),
            place.agree(&["cat-manifest", "b.aci"]),
            "{flags:?}"
        );
    }
}

// APPC-410
#[test]
fn both_refuse_the_same() {
    let place = Place::new(MANIFEST);
    let archives = [
        ("none.aci", Tar::default()),
        ("no-rootfs.aci", Tar::default().file("manifest", MANIFEST)),
        ("no-manifest.aci", Tar::default().add(Header::new("rootfs", b'5'), "")),
        ("other.aci", Tar::image().file("other", "")),
        ("absolute.aci", Tar::image().file("/rootfs/x", "")),
        ("dots.aci", Tar::image().file("rootfs/../../x", "")),
        ("twice.aci", Tar::image().file("rootfs/x", "").file("./rootfs/x", "")),
        ("kind.aci", Tar::default().file("manifest", "{}").add(Header::new("rootfs", b'5'), "")),
        ("file.aci", Tar::default().file("manifest", MANIFEST).file("rootfs", "")),
    ];
    for (name, tar) in archives {
        fs::write(place.path(name), tar.end()).unwrap();
        assert_eq!(place.agree(&["validate", name]).0, 1, "{name}");
    }
    for arguments in [
        &["build", "layout"][..],
        &["build", "layout", "a.tar"],
        &["build", "none", "a.aci"],
        &["validate"],
        &["validate", "none"],
        &["validate", "--type=appimage", "layout"],
        &["cat-manifest", "none"],
        &["cat-manifest", "kind.aci"],
        &["patch-manifest", "layout"],
        &["patch-manifest", "--replace", "--overwrite", "other.aci"],
        &["help", "nope"],
        &["nope"],
        &["build", "--nope"],
        &["build", "--help"],
        &["version"],
    ] {
        place.agree(arguments);
    }
}
