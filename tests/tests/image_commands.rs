//! `rkt image render`, `extract`, `export`, `verify` and `gc`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{Seek, SeekFrom, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use rkt_tests::{
    Rkt,
    archive::{Archive, Header},
    args,
    layers::{OciImage, busybox_layer},
    run,
};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use serde_json::json;

fn trees(rkt: &Rkt) -> Vec<PathBuf> {
    let entries = fs::read_dir(rkt.data().join("cas/tree")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn only_tree(rkt: &Rkt) -> PathBuf {
    let mut all = trees(rkt);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Names of files in the store that are in nobody's place.
fn leftovers(rkt: &Rkt) -> Vec<PathBuf> {
    let entries = fs::read_dir(rkt.data().join("cas/tmp")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// All that can be told of a tree's files without looking at them through anything of ours.
fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let data = fs::symlink_metadata(&path).unwrap();
        let inside = path.strip_prefix(root).unwrap().to_owned();
        let mut text = format!(
            "{:o} {}:{} {}.{:09}",
            data.mode(),
            data.uid(),
            data.gid(),
            data.mtime(),
            data.mtime_nsec()
        );
        if data.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let group: &mut Vec<PathBuf> = numbers.entry(data.ino()).or_default();
            group.push(inside.clone());
        }
        if data.is_file() {
            text += &format!(" {} {}", data.len(), data.blocks() * 512 < data.len());
            let sum = fs::read(&path).unwrap();
            text += &format!(" {:?}", rkt_tests::layers::digest(&sum));
        } else if data.is_symlink() {
            text += &format!(" -> {:?}", fs::read_link(&path).unwrap());
        } else if data.file_type().is_char_device() {
            text += &format!(" device {}", data.rdev());
        }
        let mut list = vec![0; 4096];
        let length = rustix::fs::llistxattr(&path, &mut list[..]).unwrap_or(0);
        let mut attributes: Vec<_> = list[..length].split(|b| *b == 0).filter(|n| !n.is_empty()).collect();
        attributes.sort();
        for name in attributes {
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(&path, name, &mut value[..]).unwrap();
            text += &format!(" {}={:?}", String::from_utf8_lossy(name), &value[..length]);
        }
        found.insert(inside, text);
    }
    for group in numbers.into_values() {
        let first = group.iter().min().unwrap().clone();
        for path in group {
            found.get_mut(&path).unwrap().push_str(&format!(" same as {}", first.display()));
        }
    }
    found
}

fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// A layout with one of each thing that a file can be or have.
fn everything(rkt: &Rkt) -> PathBuf {
    let layout = rkt.files().join("layout");
    let root = layout.join("rootfs");
    fs::create_dir_all(root.join("d/e")).unwrap();
    fs::write(
        layout.join("manifest"),
        json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "test.invalid/everything"})
            .to_string(),
    )
    .unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o2750)).unwrap();
    fs::write(root.join("d/file"), "content").unwrap();
    chown(root.join("d/file"), Some(1000), Some(1001)).unwrap();
    fs::set_permissions(root.join("d/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(root.join("d/file"), root.join("d/e/hard")).unwrap();
    set(&root.join("d/file"), "user.a", b"1\0\n2");
    // cap_net_raw=ep
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    fs::write(root.join("d/ping"), "x").unwrap();
    set(&root.join("d/ping"), "security.capability", &capability);
    // user::rwx, user:1000:r--, group::r-x, mask::r-x, other::---
    let entry = |tag: u16, permissions: u16, id: u32| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes()[..], &id.to_le_bytes()[..]].concat()
    };
    let none = u32::MAX;
    let list = [
        2_u32.to_le_bytes().to_vec(),
        entry(1, 7, none),
        entry(2, 4, 1000),
        entry(4, 5, none),
        entry(16, 5, none),
        entry(32, 0, none),
    ]
    .concat();
    fs::write(root.join("d/listed"), "x").unwrap();
    set(&root.join("d/listed"), "system.posix_acl_access", &list);
    set(&root.join("d/e"), "system.posix_acl_default", &list);
    symlink("/nowhere/at/all", root.join("link")).unwrap();
    rustix::fs::mknodat(
        CWD,
        root.join("null"),
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    rustix::fs::mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    let mut sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.seek(SeekFrom::Start(8 << 20)).unwrap();
    sparse.write_all(b"end").unwrap();
    let long = "n".repeat(200);
    fs::create_dir(root.join(&long)).unwrap();
    fs::write(root.join(&long).join(&long), "long").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"not \xff\xfe utf-8\\")), "bytes").unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_007, 123_456_789);
    for path in ["d/file", "d/e", "d", ""] {
        fs::File::open(root.join(path)).unwrap().set_modified(old).unwrap();
    }
    layout
}

// APPC-058, APPC-063, APPC-073
#[test]
fn render_and_extract_give_back_all_that_went_in() {
    let rkt = Rkt::new();
    let layout = everything(&rkt);
    let want = describe(&layout.join("rootfs"));
    assert!(want.len() > 12);
    let image = rkt.files().join("everything.aci");
    run(Command::new(rkt.program("actool")).arg("build").arg(&layout).arg(&image)).success();
    rkt.rkt(args!["fetch", &image]).success();
    for command in ["render", "extract"] {
        let whole = rkt.files().join(format!("{command}-whole"));
        let files = rkt.files().join(format!("{command}-files"));
        rkt.rkt(args!["image", command, "test.invalid/everything", &whole]).success();
        assert_eq!(names(&whole), ["manifest", "rootfs"]);
        assert_eq!(fs::metadata(whole.join("manifest")).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(describe(&whole.join("rootfs")), want, "{command}");
        rkt.rkt(args!["image", command, "--rootfs-only", "test.invalid/everything", &files]).success();
        assert_eq!(describe(&files), want, "{command}");
    }
    rkt.rkt(["image", "verify", "test.invalid/everything"]).success();
    let tar = rkt.files().join("out.aci");
    rkt.rkt(args!["image", "export", "test.invalid/everything", &tar]).success();
    let id = rkt.rkt(args!["fetch", "--full", &image]).success().stdout;
    let other = Rkt::new();
    other.rkt(args!["fetch", "--full", &tar]).success().stdout_is(&id);
    let sum = run(Command::new("sha512sum").arg(&tar)).success().stdout;
    assert!(id.starts_with(&format!("sha512-{}", &sum[..64])), "{id}");
}

#[test]
fn what_is_there_is_replaced_only_when_told_and_never_the_root() {
    let rkt = Rkt::new();
    let image = rkt.image("given", |image| image.file("own", "x", 0o644));
    rkt.rkt(args!["fetch", &image]).success();
    let place = rkt.files().join("place");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("old"), "").unwrap();
    for command in ["render", "extract"] {
        rkt.rkt(args!["image", command, "test.invalid/given", &place]).refused(&["exists", "--overwrite"]);
        assert_eq!(names(&place), ["old"]);
        rkt.rkt(args!["image", command, "--overwrite", "test.invalid/given", "/"]).exits(254);
        rkt.rkt(args!["image", command, "--overwrite", "test.invalid/given", "/tmp/.."])
            .refused(&["no place"]);
    }
    rkt.rkt(args!["image", "render", "--overwrite", "test.invalid/given", &place]).success();
    assert_eq!(names(&place), ["manifest", "rootfs"]);
    rkt.rkt(args!["image", "extract", "--overwrite", "--rootfs-only", "test.invalid/given", &place])
        .success();
    assert!(place.join("own").exists());
    rkt.rkt(args!["image", "export", "test.invalid/given", &place]).refused(&["exists"]);
    rkt.rkt(args!["image", "export", "--overwrite", "test.invalid/given", &place]).success();
    assert!(place.is_file());
    rkt.rkt(args!["image", "render", "test.invalid/nothing", rkt.files().join("x")]).refused(&["no image"]);
    assert!(names(&rkt.files()).iter().all(|name| !name.starts_with('.')), "{:?}", names(&rkt.files()));
}

#[test]
fn render_has_the_dependencies_and_extract_has_not() {
    let rkt = Rkt::new();
    let below = rkt.empty_image("below", |image| image.file("f/below", "below", 0o644));
    rkt.rkt(args!["fetch", &below]).success();
    let above = rkt.empty_image("above", |image| {
        image.file("f/above", "x", 0o644).field("dependencies", json!([{"imageName": "test.invalid/below"}]))
    });
    rkt.rkt(args!["fetch", "--pull-policy=new", &above]).success();
    let (rendered, extracted) = (rkt.files().join("rendered"), rkt.files().join("extracted"));
    rkt.rkt(args!["image", "render", "test.invalid/above", &rendered]).success();
    rkt.rkt(args!["image", "extract", "test.invalid/above", &extracted]).success();
    assert_eq!(names(&rendered.join("rootfs/f")), ["above", "below"]);
    assert_eq!(names(&extracted.join("rootfs/f")), ["above"]);
    rkt.rkt(["image", "verify", "test.invalid/above", "test.invalid/below"]).success();
}

#[test]
fn verify_names_the_first_difference_and_mends_it() {
    let rkt = Rkt::new();
    let image = rkt.image("checked", |image| image.sh("cat /etc/passwd").file("z", "z", 0o644));
    rkt.rkt(args!["fetch", &image]).success();
    let sound = rkt.rkt(["image", "verify", "test.invalid/checked"]).success();
    sound.stdout_has("successfully verified checksum for image: \"test.invalid/checked\" (\"sha512-");
    let root = only_tree(&rkt).join("rootfs");
    let text = fs::read(root.join("etc/passwd")).unwrap();
    let time = fs::metadata(root.join("etc/passwd")).unwrap().modified().unwrap();
    let mut changed = text.clone();
    changed[0] ^= 1;
    fs::write(root.join("etc/passwd"), &changed).unwrap();
    fs::File::open(root.join("etc/passwd")).unwrap().set_modified(time).unwrap();
    fs::set_permissions(root.join("z"), fs::Permissions::from_mode(0o600)).unwrap();
    let end = rkt.rkt(["image", "verify", "test.invalid/checked"]).success();
    assert!(end.stderr.contains("/etc/passwd: content differs"), "{end:?}");
    end.stdout_has("rendered anew");
    assert_eq!(fs::read(only_tree(&rkt).join("rootfs/etc/passwd")).unwrap(), text);
    rkt.rkt(["image", "verify", "test.invalid/checked"]).success().stdout_has("successfully verified");
    type Change = fn(&Path);
    let table: [(Change, &str); 4] = [
        (|root| fs::remove_file(root.join("z")).unwrap(), "/z is missing"),
        (|root| fs::write(root.join("new"), "").unwrap(), "/new is there, and was not recorded"),
        (
            |root| fs::set_permissions(root.join("z"), fs::Permissions::from_mode(0o600)).unwrap(),
            "/z: mode 0600, recorded 0644",
        ),
        (|root| chown(root.join("z"), Some(7), Some(8)).unwrap(), "/z: owner 7:8, recorded 0:0"),
    ];
    for (change, want) in table {
        change(&only_tree(&rkt).join("rootfs"));
        let end = rkt.rkt(["image", "verify", "test.invalid/checked"]).success();
        assert!(end.stderr.contains(want), "{want}: {end:?}");
    }
    fs::remove_dir_all(only_tree(&rkt)).unwrap();
    rkt.rkt(["image", "verify", "test.invalid/checked"]).success().stdout_has("no verification is needed");
    rkt.rkt(["image", "verify", "test.invalid/other"]).refused(&["no image"]);
    assert_eq!(leftovers(&rkt), Vec::<PathBuf>::new());
}

#[test]
fn a_tree_is_not_changed_below_a_pod() {
    let rkt = Rkt::new();
    let image = rkt.image("below", |image| {
        image.sh("echo up; until test -e /data/go; do sleep 0.1; done; ls /bin/busybox").file("z", "z", 0o644)
    });
    let volume = format!("--volume=data,kind=host,source={}", rkt.files().display());
    let mut pod = rkt.start(args![volume, &image, "--mount=volume=data,target=/data"]);
    pod.wait_for("up");
    let tree = only_tree(&rkt);
    fs::set_permissions(tree.join("rootfs/z"), fs::Permissions::from_mode(0o600)).unwrap();
    let number = fs::metadata(&tree).unwrap().ino();
    let end =
        rkt.rkt(["image", "verify", "test.invalid/below"]).refused(&["is not made anew while pods have it"]);
    assert!(end.stderr.contains("/z: mode 0600, recorded 0644"), "{end:?}");
    assert_eq!(fs::metadata(&tree).unwrap().ino(), number);
    // What is given is sound, whatever the tree is.
    let place = rkt.files().join("place");
    rkt.rkt(args!["image", "render", "test.invalid/below", &place]).success();
    assert_eq!(fs::metadata(place.join("rootfs/z")).unwrap().mode() & 0o7777, 0o644);
    rkt.file("go", "");
    pod.wait().success().stdout_has("/bin/busybox");
    rkt.rkt(["image", "verify", "test.invalid/below"]).success().stdout_has("rendered anew");
}

#[test]
fn a_damaged_layer_goes_and_is_fetched_again() {
    let rkt = Rkt::new();
    let path = rkt.files().join("layout");
    let layers = [busybox_layer(), Archive::new().entry(Header::file("own"), "own\n")];
    OciImage::new(&layers, "cat /own", &json!({})).lay_out(&path, &["v1"]);
    let image = format!("oci:{}:v1", path.display());
    let id = rkt.rkt(args!["fetch", "--full", &image]).success().stdout.trim().to_owned();
    rkt.rkt(["image", "verify", &id]).success().stdout_has("successfully verified");
    let own = trees(&rkt).into_iter().find(|tree| tree.join("rootfs/own").exists()).unwrap();
    fs::write(own.join("rootfs/own"), "bad\n").unwrap();
    let end = rkt.rkt(["image", "verify", &id]).refused(&["was damaged", "fetch the image again"]);
    assert!(end.stderr.contains("/own: content differs"), "{end:?}");
    assert!(!own.exists());
    rkt.run_pod(args![&image]).success().stdout_is("own\n");
    rkt.rkt(["image", "verify", &id]).success();
}

#[test]
fn an_image_of_layers_is_given_as_one() {
    let rkt = Rkt::new();
    let path = rkt.files().join("layout");
    let below = Archive::new().entry(Header::file("gone"), "").entry(Header::file("own"), "below\n");
    let above = Archive::new().entry(Header::file(".wh.gone"), "").entry(Header::file("own"), "own\n");
    let script = "cat /own; ls /gone 2>&1";
    OciImage::new(&[busybox_layer(), below, above], script, &json!({})).lay_out(&path, &["v1"]);
    rkt.rkt(args!["fetch", format!("oci:{}:v1", path.display())]).success();
    let (archive, files) = (rkt.files().join("flat.aci"), rkt.files().join("flat"));
    rkt.rkt(args!["image", "export", "layout:v1", &archive]).success();
    rkt.rkt(args!["image", "render", "--rootfs-only", "layout:v1", &files]).success();
    assert_eq!(fs::read_to_string(files.join("own")).unwrap(), "own\n");
    assert!(!files.join("gone").exists());
    let end = rkt.run_pod(args![&archive]).exits(1);
    assert!(end.stdout.starts_with("own\n") && end.stdout.contains("/gone: No such file"), "{end:?}");
    rkt_tests::run(std::process::Command::new(rkt.program("actool")).arg("validate").arg(&archive)).success();
}

#[test]
fn gc_removes_what_is_old_and_unused_and_nothing_that_pods_have() {
    let rkt = Rkt::new();
    let used = rkt.image("used", |image| image.sh("echo ran"));
    let unused = rkt.image("unused", |image| image);
    rkt.run_pod(args![&used]).success();
    rkt.rkt(args!["fetch", &unused]).success();
    rkt.rkt(["image", "gc"]).success().stdout_is("");
    assert_eq!(trees(&rkt).len(), 2);
    let end = rkt.rkt(["image", "gc", "--grace-period=0s"]).success();
    assert_eq!(end.lines().len(), 2, "{end:?}");
    assert!(end.stdout.contains("successfully removed aci for image: \"sha512-"), "{end:?}");
    assert!(end.stdout.contains("removed treestore \"deps-sha512-"), "{end:?}");
    rkt.rkt(["image", "list", "--no-legend", "--fields=name"]).success().stdout_has("test.invalid/used:1.0");
    assert_eq!(trees(&rkt).len(), 1);
    rkt.rkt(["gc", "--grace-period=0s"]).success();
    rkt.rkt(["image", "gc", "--grace-period=0s"]).success();
    assert_eq!(trees(&rkt).len(), 0);
    for kind in ["blob", "imageManifest"] {
        for shard in fs::read_dir(rkt.data().join("cas").join(kind).join("sha512")).unwrap() {
            assert_eq!(names(&shard.unwrap().path()), Vec::<String>::new());
        }
    }
    for kind in ["imagelocks", "tmp"] {
        assert_eq!(names(&rkt.data().join("cas").join(kind)), Vec::<String>::new());
    }
    rkt.run_pod(args![&used]).success().stdout_is("ran\n");
}

#[test]
fn gc_keeps_what_a_kept_image_depends_on() {
    let rkt = Rkt::new();
    let below = rkt.empty_image("below", |image| image.file("below", "below\n", 0o644));
    rkt.rkt(args!["fetch", &below]).success();
    let above = rkt.image("above", |image| {
        image.sh("cat /below").field("dependencies", json!([{"imageName": "test.invalid/below"}]))
    });
    let uuid = rkt.rkt(args!["prepare", &above]).success().stdout;
    rkt.rkt(["image", "gc", "--grace-period=0s"]).success();
    assert_eq!(rkt.rkt(["image", "list", "--no-legend"]).success().lines().len(), 2);
    rkt.rkt(["rm", uuid.trim()]).success();
    rkt.rkt(["image", "gc", "--grace-period=0s"]).success();
    rkt.rkt(["image", "list", "--no-legend"]).success().stdout_is("\n");
}

#[test]
fn gc_removes_what_belongs_to_nothing() {
    let rkt = Rkt::new();
    let (kept, lost) = (rkt.image("kept", |image| image.sh("echo ran")), rkt.image("lost", |image| image));
    let id = rkt.rkt(args!["fetch", "--full", &kept]).success().stdout.trim().to_owned();
    let gone = rkt.rkt(args!["fetch", "--full", &lost]).success().stdout.trim().to_owned();
    let cas = rkt.data().join("cas");
    // An image whose manifest is lost, and files that belong to none.
    fs::remove_file(cas.join("imageManifest/sha512").join(&gone[7..9]).join(&gone[..71])).unwrap();
    let stray = format!("sha512-{}", "ab".repeat(32));
    for kind in ["blob", "imageManifest"] {
        let shard = cas.join(kind).join("sha512/ab");
        fs::create_dir_all(&shard).unwrap();
        fs::write(shard.join(&stray), "stray").unwrap();
    }
    for path in ["tmp/stray", "tree/deps-sha512-stray/rootfs", "treestorelocks/stray", "imagelocks/stray"] {
        fs::create_dir_all(cas.join(path)).unwrap();
    }
    let end = rkt.rkt(["image", "gc"]).success();
    assert!(end.stdout.contains(&format!("removed what was left of image {:?}", &gone[..71])), "{end:?}");
    assert!(end.stdout.contains("removed treestore \"deps-sha512-stray\""), "{end:?}");
    assert_eq!(trees(&rkt).len(), 1);
    for path in ["tmp", "treestorelocks", "imagelocks", "blob/sha512/ab", "imageManifest/sha512/ab"] {
        assert!(
            !names(&cas.join(path)).iter().any(|name| name.contains("stray") || *name == stray),
            "{path}"
        );
    }
    rkt.run_pod([id.as_str()]).success().stdout_is("ran\n");
    rkt.rkt(args!["fetch", &lost]).success();
}

#[test]
fn rm_says_which_pods_have_the_image_and_leaves_them_its_tree() {
    let rkt = Rkt::new();
    let image = rkt.image("held", |image| image.sh("echo ran"));
    let uuid = rkt.rkt(args!["prepare", &image]).success().stdout.trim().to_owned();
    let end = rkt.rkt(["image", "rm", "test.invalid/held"]).success();
    assert!(end.stderr.contains(&format!("used by pods, which keep its files: {uuid}")), "{end:?}");
    rkt.rkt(["image", "gc", "--grace-period=0s"]).success().stdout_is("");
    assert_eq!(trees(&rkt).len(), 1);
    let mut run = rkt.command(["run-prepared", "--net=none"]);
    let supervisor = format!("--supervisor={}", rkt.launcher().as_str());
    rkt_tests::run(run.arg(supervisor).arg(&uuid)).success().stdout_is("ran\n");
    rkt.rkt(["gc", "--grace-period=0s"]).success();
    rkt.rkt(["image", "gc"]).success().stdout_has("removed treestore");
    assert_eq!(trees(&rkt).len(), 0);
    // Where no pod has it, the tree goes with the image.
    rkt.rkt(args!["fetch", &image]).success();
    rkt.rkt(["image", "rm", "test.invalid/held"]).success();
    assert_eq!(trees(&rkt).len(), 0);
}
