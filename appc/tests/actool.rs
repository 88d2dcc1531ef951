//! `actool` on its command line.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::Command,
};

use appc::aci::{Entry, EntryKind};
use common::{MANIFEST, Tar, actool, contents, run};
use tempfile::TempDir;

/// A layout with one of everything.
struct Layout(TempDir);

impl Layout {
    fn small() -> Layout {
        let layout = Layout(tempfile::tempdir().unwrap());
        fs::create_dir_all(layout.path("layout/rootfs")).unwrap();
        fs::write(layout.path("layout/manifest"), MANIFEST).unwrap();
        layout
    }

    fn full() -> Layout {
        let layout = Layout::small();
        let root = layout.path("layout/rootfs");
        fs::create_dir_all(root.join("b/deep")).unwrap();
        fs::write(root.join("b/file"), "content").unwrap();
        fs::hard_link(root.join("b/file"), root.join("a-hard")).unwrap();
        symlink("/etc/passwd", root.join("link")).unwrap();
        symlink("x".repeat(300), root.join("long-link")).unwrap();
        fs::write(root.join("gr\u{fc}n"), "").unwrap();
        let long = ["a-rather-long-name"; 10].join("-");
        fs::write(root.join("b/deep").join(&long), "long").unwrap();
        fs::write(root.join("setuid"), "#!").unwrap();
        chown(root.join("setuid"), Some(3_000_000), Some(7)).unwrap();
        fs::set_permissions(root.join("setuid"), fs::Permissions::from_mode(0o4755)).unwrap();
        let mknod = format!("cd {} && mkfifo fifo && mknod null c 1 3 && mknod disk b 7 300", root.display());
        let made = run(Command::new("sh").arg("-c").arg(mknod));
        assert_eq!(made.0, 0, "must be root to make devices: {made:?}");
        drop(UnixListener::bind(root.join("socket")).unwrap());
        let xattr = rustix::fs::XattrFlags::empty();
        for (name, value) in
            [("user.a", b"1\0\n2".as_slice()), ("trusted.x", b"y"), ("security.capability", CAPABILITY)]
        {
            rustix::fs::setxattr(root.join("b/file"), name, value, xattr).unwrap();
        }
        layout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs actool beside the layout.
    fn actool(&self, arguments: &[&str]) -> (i32, String, String) {
        run(actool().args(arguments).current_dir(self.0.path()).env_remove("SOURCE_DATE_EPOCH"))
    }

    fn entries(&self, name: &str) -> Vec<(Entry, Vec<u8>)> {
        contents(&fs::read(self.path(name)).unwrap()).unwrap().1
    }
}

/// cap_net_bind_service=ep, with a newline among its bytes.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0";

fn ok() -> (i32, String, String) {
    (0, String::new(), String::new())
}

fn fails(message: &str) -> (i32, String, String) {
    (1, String::new(), format!("{message}\n"))
}

// APPC-058, APPC-073, APPC-074, APPC-076, APPC-413
#[test]
fn build_keeps_everything_about_files() {
    let layout = Layout::full();
    assert_eq!(layout.actool(&["build", "layout", "a.aci"]), ok());
    let entries = layout.entries("a.aci");
    let names: Vec<&str> = entries.iter().map(|(entry, _)| entry.path.to_str().unwrap()).collect();
    let long = format!("rootfs/b/deep/{}", ["a-rather-long-name"; 10].join("-"));
    let want = [
        "rootfs",
        "rootfs/a-hard",
        "rootfs/b",
        "rootfs/b/deep",
        &long,
        "rootfs/b/file",
        "rootfs/disk",
        "rootfs/fifo",
        "rootfs/gr\u{fc}n",
        "rootfs/link",
        "rootfs/long-link",
        "rootfs/null",
        "rootfs/setuid",
        "manifest",
    ];
    assert_eq!(names, want, "in the order of names, without the socket, the manifest last");
    let find = |name: &str| entries.iter().find(|(entry, _)| entry.path == Path::new(name)).unwrap();
    let (hard, content) = find("rootfs/a-hard");
    assert_eq!((hard.kind.clone(), content.as_slice()), (EntryKind::Regular, b"content".as_slice()));
    let attributes: Vec<(&str, &[u8])> =
        hard.xattrs.iter().map(|(name, value)| (name.to_str().unwrap(), value.as_slice())).collect();
    assert_eq!(attributes, [("security.capability", CAPABILITY), ("user.a", b"1\0\n2".as_slice())]);
    assert_eq!(find("rootfs/b/file").0.kind, EntryKind::HardLink("rootfs/a-hard".into()));
    assert_eq!(find("rootfs/null").0.kind, EntryKind::CharDevice { major: 1, minor: 3 });
    assert_eq!(find("rootfs/disk").0.kind, EntryKind::BlockDevice { major: 7, minor: 300 });
    assert_eq!(find("rootfs/fifo").0.kind, EntryKind::Fifo);
    assert_eq!(find("rootfs/link").0.kind, EntryKind::Symlink("/etc/passwd".into()));
    let setuid = &find("rootfs/setuid").0;
    assert_eq!((setuid.mode, setuid.uid, setuid.gid), (0o4755, 3_000_000, 7));
    let metadata = fs::metadata(layout.path("layout/rootfs/setuid")).unwrap();
    assert_eq!((setuid.mtime, i64::from(setuid.mtime_nsec)), (metadata.mtime(), metadata.mtime_nsec()));
    let mode = fs::metadata(layout.path("a.aci")).unwrap().mode() & 0o777;
    assert_eq!(mode & !0o644, 0, "{mode:o}");
}

// APPC-079, APPC-412
#[test]
fn build_gives_the_same_bytes_each_time() {
    let layout = Layout::full();
    for name in ["a.aci", "b.aci"] {
        assert_eq!(layout.actool(&["build", "layout", name]), ok());
    }
    assert_eq!(fs::read(layout.path("a.aci")).unwrap(), fs::read(layout.path("b.aci")).unwrap());
    let epoch = run(actool()
        .args(["build", "-owner-root", "layout", "c.aci"])
        .current_dir(layout.0.path())
        .env("SOURCE_DATE_EPOCH", "1000"));
    assert_eq!(epoch, ok());
    for (entry, _) in layout.entries("c.aci") {
        assert!(
            (entry.mtime, entry.mtime_nsec) == (1000, 0) && (entry.uid, entry.gid) == (0, 0),
            "{entry:?}"
        );
    }
}

// APPC-050, APPC-069, APPC-412
#[test]
fn build_compresses_as_it_is_told() {
    let layout = Layout::full();
    let mut hashes = Vec::new();
    for (flags, magic, at) in [
        (&[][..], b"\x1f\x8b".as_slice(), 0),
        (&["--compression=gzip"], b"\x1f\x8b", 0),
        (&["--no-compression"], b"ustar", 257),
        (&["--no-compression=true"], b"ustar", 257),
        (&["--no-compression=false"], b"\x1f\x8b", 0),
        (&["-compression", "none"], b"ustar", 257),
        (&["--compression=bzip2"], b"BZh", 0),
        (&["--compression=xz"], b"\xfd7zXZ", 0),
        (&["--compression=zstd"], b"\x28\xb5\x2f\xfd", 0),
    ] {
        let arguments = [&["build", "--overwrite"], flags, &["layout", "a.aci"]].concat();
        assert_eq!(layout.actool(&arguments), ok(), "{flags:?}");
        let bytes = fs::read(layout.path("a.aci")).unwrap();
        assert!(bytes[at..].starts_with(magic), "{flags:?}");
        hashes.push(contents(&bytes).unwrap().0.id);
        assert_eq!(layout.actool(&["validate", "a.aci"]), ok());
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 1);
}

// APPC-050, APPC-410, APPC-411, APPC-414
#[test]
fn build_refuses_what_is_no_layout_and_leaves_nothing() {
    let layout = Layout::small();
    let files = |layout: &Layout| fs::read_dir(layout.0.path()).unwrap().count();
    let before = files(&layout);
    for (arguments, message) in [
        (&["build"][..], "build: Must provide directory and output file"),
        (&["build", "layout"], "build: Must provide directory and output file"),
        (&["build", "layout", "a.aci", "b"], "build: Must provide directory and output file"),
        (&["build", "layout", "a.tar"], "build: Extension must be .aci (given .tar)"),
        (&["build", "layout", "a"], "build: Extension must be .aci (given )"),
        (&["build", "none", "a.aci"], "build: Layout failed validation: none: No such file or directory"),
        (
            &["build", "layout/manifest", "a.aci"],
            "build: Layout failed validation: layout/manifest: Not a directory",
        ),
        (
            &["build", "layout/rootfs", "a.aci"],
            "build: Layout failed validation: layout/rootfs: no image manifest found in layout",
        ),
        (&["build", "layout", "none/a.aci"], "build: Unable to open none/a.aci: No such file or directory"),
    ] {
        assert_eq!(layout.actool(arguments), fails(message), "{arguments:?}");
    }
    type Break = fn(&Path);
    let breaks: [(Break, &str); 7] = [
        (|at| fs::write(at.join("other"), "").unwrap(), "unrecognized file path in layout: \"other\""),
        (|at| fs::remove_file(at.join("manifest")).unwrap(), "no image manifest found in layout"),
        (|at| fs::write(at.join("manifest"), "{}").unwrap(), "manifest: acKind"),
        (|at| fs::remove_dir(at.join("rootfs")).unwrap(), "no rootfs found in layout"),
        (
            |at| {
                fs::remove_dir(at.join("rootfs")).unwrap();
                symlink("/etc", at.join("rootfs")).unwrap();
            },
            "rootfs is not a directory",
        ),
        (
            |at| {
                fs::remove_file(at.join("manifest")).unwrap();
                symlink("/etc/hostname", at.join("manifest")).unwrap();
            },
            "manifest:",
        ),
        (
            |at| {
                fs::remove_file(at.join("manifest")).unwrap();
                assert_eq!(run(Command::new("mkfifo").arg(at.join("manifest"))).0, 0);
            },
            "not a regular file",
        ),
    ];
    for (damage, want) in breaks {
        let layout = Layout::small();
        damage(&layout.path("layout"));
        for arguments in [&["build", "layout", "a.aci"][..], &["validate", "layout"]] {
            let (code, output, error) = layout.actool(arguments);
            assert!(code == 1 && output.is_empty() && error.contains(want), "{arguments:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        assert_eq!(files(&layout), 1);
    }
    // The walk itself fails half way: nothing is left, and what was there before stays.
    let deep = layout.path("layout/rootfs").join("d/".repeat(260));
    fs::create_dir_all(deep).unwrap();
    assert_eq!(layout.actool(&["build", "layout", "a.aci"]).0, 1);
    fs::write(layout.path("a.aci"), "precious").unwrap();
    assert_eq!(layout.actool(&["build", "--overwrite", "layout", "a.aci"]).0, 1);
    assert_eq!(fs::read(layout.path("a.aci")).unwrap(), b"precious");
    assert_eq!(files(&layout), before + 1);
}

// APPC-411, APPC-412
#[test]
fn build_overwrites_only_where_it_may() {
    let layout = Layout::small();
    fs::write(layout.path("a.aci"), "precious").unwrap();
    let refused = fails("build: Target file exists (try --overwrite)");
    assert_eq!(layout.actool(&["build", "layout", "a.aci"]), refused);
    assert_eq!(layout.actool(&["build", "--overwrite=false", "layout", "a.aci"]), refused);
    assert_eq!(fs::read(layout.path("a.aci")).unwrap(), b"precious");
    assert_eq!(layout.actool(&["build", "--overwrite", "layout", "a.aci"]), ok());
    assert_eq!(layout.actool(&["validate", "a.aci"]), ok());
}

#[test]
fn build_and_validate_in_memory_that_does_not_grow() {
    let layout = Layout::small();
    let file = fs::File::create(layout.path("layout/rootfs/large")).unwrap();
    file.set_len(320 << 20).unwrap();
    let script = format!(
        "ulimit -v 250000 && {0} build --no-compression layout a.aci && {0} validate a.aci",
        program()
    );
    let result = run(Command::new("sh").arg("-c").arg(script).current_dir(layout.0.path()));
    assert_eq!(result, ok());
    assert!(fs::metadata(layout.path("a.aci")).unwrap().len() > 320 << 20);
}

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_actool")
}

// APPC-415, APPC-416
#[test]
fn validate_finds_out_what_a_file_is() {
    let layout = Layout::small();
    assert_eq!(layout.actool(&["build", "layout", "a.aci"]), ok());
    let pod = r#"{"acKind":"PodManifest","acVersion":"0.8.11","apps":[]}"#;
    fs::write(layout.path("pod"), pod).unwrap();
    let files = ["a.aci", "layout", "layout/manifest", "pod"];
    assert_eq!(layout.actool(&[&["validate"], &files[..]].concat()), ok());
    let said = "a.aci: valid app container image\nlayout: valid image layout\nlayout/manifest: valid ImageManifest\n\
                pod: valid PodManifest\n";
    let debug = layout.actool(&[&["-debug", "validate"], &files[..]].concat());
    assert_eq!(debug, (0, String::new(), said.to_owned()));
    for (kind, file) in [("appimage", "a.aci"), ("layout", "layout"), ("manifest", "pod")] {
        assert_eq!(layout.actool(&["validate", "--type", kind, file]), ok());
    }
}

// APPC-072, APPC-415, APPC-416
#[test]
fn validate_goes_on_after_bad_content_but_not_after_a_bad_file() {
    let layout = Layout::small();
    fs::write(layout.path("bad"), "{}").unwrap();
    fs::write(layout.path("odd"), b"\0\0\0").unwrap();
    fs::write(layout.path("secret.aci"), b"\x8c\x0d\x04\x09\x03\x02").unwrap();
    fs::write(layout.path("no.aci"), Tar::default().file("manifest", MANIFEST).end()).unwrap();
    let (code, _, error) = layout.actool(&["validate", "bad", "no.aci", "layout"]);
    assert_eq!(code, 1);
    let lines: Vec<&str> = error.lines().collect();
    assert!(
        lines[0].starts_with("bad: acKind") && lines[1].starts_with("no.aci: no rootfs found"),
        "{error}"
    );
    for (file, want) in [
        ("none", "none: unable to access: No such file or directory\n"),
        ("odd", "odd: unable to detect filetype (try --type)\n"),
        ("secret.aci", "secret.aci: is encrypted (OpenPGP); decrypt it first, as with gpg --decrypt\n"),
    ] {
        assert_eq!(layout.actool(&["validate", file, "bad"]), (1, String::new(), want.to_owned()));
    }
    for kind in ["appimage", "manifest"] {
        let wrong = fails("layout: is a directory (wrong --type?)");
        assert_eq!(layout.actool(&["validate", &format!("--type={kind}"), "layout"]), wrong);
    }
    assert_eq!(layout.actool(&["validate"]), fails("must pass one or more files"));
    assert_ne!(layout.actool(&["validate", "--type=pod", "layout"]).0, 0);
}

// APPC-419, APPC-420
#[test]
fn cat_manifest_prints_what_is_there() {
    let layout = Layout::small();
    let spaced = MANIFEST.replace(',', " ,\n");
    let write = |manifest: &str| {
        let tar =
            Tar::default().file("./manifest", manifest).add(common::Header::new("rootfs", b'5'), "").end();
        fs::write(layout.path("a.aci"), tar).unwrap();
    };
    write(&spaced);
    assert_eq!(layout.actool(&["cat-manifest", "a.aci"]), (0, format!("{spaced}\n"), String::new()));
    let pretty = "{\n    \"acKind\": \"ImageManifest\",\n    \"acVersion\": \"0.8.11\",\n    \"name\": \"example.com/a\"\n}\n";
    for flag in ["--pretty-print", "-pretty-print", "--pretty-print=true"] {
        assert_eq!(layout.actool(&["cat-manifest", flag, "a.aci"]), (0, pretty.to_owned(), String::new()));
    }
    write("{\"acKind\":7}");
    let (code, output, error) = layout.actool(&["cat-manifest", "a.aci"]);
    assert_eq!((code, output.as_str()), (1, "{\"acKind\":7}\n"));
    assert!(error.starts_with("cat-manifest: a.aci: acKind"), "{error}");
    fs::write(layout.path("no.aci"), Tar::default().add(common::Header::new("rootfs", b'5'), "").end())
        .unwrap();
    let missing = fails("cat-manifest: no.aci: no image manifest found in layout");
    assert_eq!(layout.actool(&["cat-manifest", "no.aci"]), missing);
    assert_eq!(layout.actool(&["cat-manifest"]), fails("cat-manifest: Must provide one file"));
    let none = fails("cat-manifest: Cannot open none: No such file or directory");
    assert_eq!(layout.actool(&["cat-manifest", "none"]), none);
}

// APPC-421
#[test]
fn patch_manifest_changes_the_manifest_and_nothing_else() {
    let layout = Layout::full();
    assert_eq!(layout.actool(&["build", "layout", "a.aci"]), ok());
    let patch = [
        "patch-manifest",
        "-exec",
        "/b -c d",
        "--user=0",
        "--group",
        "0",
        "--name=example.com/b",
        "a.aci",
        "b.aci",
    ];
    assert_eq!(layout.actool(&patch), ok());
    let manifest = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/b","app":{"exec":["/b","-c","d"],"user":"0","group":"0"}}"#;
    assert_eq!(layout.actool(&["cat-manifest", "b.aci"]).1, format!("{manifest}\n"));
    let (before, after) = (layout.entries("a.aci"), layout.entries("b.aci"));
    assert_eq!(before.len(), after.len());
    for (before, after) in
        before.iter().zip(&after).filter(|(before, _)| before.0.path != Path::new("manifest"))
    {
        assert_eq!(before, after);
    }
    let (old, new) = (&before.last().unwrap().0, &after.last().unwrap().0);
    assert_eq!(*new, Entry { size: manifest.len() as u64, ..old.clone() });
}

// APPC-422, APPC-423
#[test]
fn patch_manifest_replaces_in_place_or_takes_a_whole_manifest() {
    let layout = Layout::small();
    assert_eq!(layout.actool(&["build", "layout", "a.aci"]), ok());
    fs::set_permissions(layout.path("a.aci"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(layout.actool(&["patch-manifest", "--replace", "--name=example.com/c", "a.aci"]), ok());
    assert!(layout.actool(&["cat-manifest", "a.aci"]).1.contains("example.com/c"));
    assert_eq!(fs::metadata(layout.path("a.aci")).unwrap().mode() & 0o777, 0o640, "it keeps its mode");
    let whole = MANIFEST.replace(',', ",  ");
    fs::write(layout.path("whole"), &whole).unwrap();
    let by_file = ["patch-manifest", "--manifest", "whole", "--no-compression", "a.aci", "b.aci"];
    assert_eq!(layout.actool(&by_file), ok());
    assert_eq!(layout.actool(&["cat-manifest", "b.aci"]).1, format!("{whole}\n"), "as it stands");
    assert_eq!(&fs::read(layout.path("b.aci")).unwrap()[257..262], b"ustar");
    // An image whose manifest is broken can be mended so.
    let broken = Tar::default().file("manifest", "{").add(common::Header::new("rootfs", b'5'), "").end();
    fs::write(layout.path("broken.aci"), broken).unwrap();
    assert_eq!(layout.actool(&["patch-manifest", "--manifest=whole", "broken.aci", "mended.aci"]), ok());
    assert_eq!(layout.actool(&["validate", "mended.aci"]), ok());
}

// APPC-037, APPC-422, APPC-423
#[test]
fn patch_manifest_refuses_and_leaves_nothing() {
    let layout = Layout::small();
    assert_eq!(layout.actool(&["build", "layout", "a.aci"]), ok());
    fs::write(layout.path("b.aci"), "precious").unwrap();
    fs::write(layout.path("bad"), "{}").unwrap();
    let before = fs::read(layout.path("a.aci")).unwrap();
    for (arguments, want) in [
        (&[][..], "Must provide input and output files (or use --replace)"),
        (&["a.aci"], "Must provide input and output files (or use --replace)"),
        (&["--replace", "a.aci", "c.aci"], "Must provide one file to replace"),
        (&["--replace", "--overwrite", "a.aci"], "Cannot use both --replace and --overwrite"),
        (&["a.aci", "b.aci"], "Target file exists (try --overwrite)"),
        (&["a.aci", "b.tar"], "Extension must be .aci (given .tar)"),
        (&["none.aci", "c.aci"], "Cannot open none.aci: No such file or directory"),
        (&["--manifest=bad", "a.aci", "c.aci"], "bad: acKind: missing or bad"),
        (&["--manifest=bad", "--user=0", "a.aci", "c.aci"], "--manifest is incompatible"),
        (&["--manifest=bad", "--ports=x", "a.aci", "c.aci"], "--manifest is incompatible"),
        (&["--user=0", "a.aci", "c.aci"], "no app in the supplied manifest and no exec command provided"),
        (&["--exec=/x", "a.aci", "c.aci"], "app.user: must be set"),
        (&["--exec=/x", "--replace", "a.aci"], "app.user: must be set"),
        (&["bad", "c.aci"], "a text file"),
    ] {
        let (code, output, error) = layout.actool(&[&["patch-manifest"], arguments].concat());
        assert_eq!((code, output.as_str()), (1, ""), "{arguments:?}: {error}");
        assert!(error.starts_with("patch-manifest: ") && error.contains(want), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    assert_eq!(fs::read(layout.path("b.aci")).unwrap(), b"precious");
    assert_eq!(fs::read(layout.path("a.aci")).unwrap(), before);
    assert_eq!(fs::read_dir(layout.0.path()).unwrap().count(), 4, "layout, a.aci, b.aci, bad");
}

// APPC-410, APPC-424, APPC-425
#[test]
fn the_shell_is_the_originals() {
    let layout = Layout::small();
    assert_eq!(layout.actool(&["version"]), (0, "actool version 0.8.11\n".to_owned(), String::new()));
    for arguments in [&[][..], &["--help"], &["-help"], &["help"]] {
        let (code, output, error) = layout.actool(arguments);
        assert_eq!((code, error.as_str()), (0, ""), "{arguments:?}");
        for command in ["build", "cat-manifest", "discover", "help", "patch-manifest", "validate", "version"]
        {
            assert!(output.contains(&format!("\n  {command} ")), "{command}\n{output}");
        }
    }
    let unknown =
        (2, String::new(), "actool: unknown subcommand: \"nope\"\nRun 'actool help' for usage.\n".to_owned());
    assert_eq!(layout.actool(&["nope"]), unknown);
    assert_eq!(layout.actool(&["help", "nope"]), fails("Unrecognized command: nope"));
    for command in ["build", "cat-manifest", "discover", "patch-manifest", "validate"] {
        let (code, output, _) = layout.actool(&["help", command]);
        assert!(code == 0 && output.contains(&format!("Usage: actool {command}")), "{output}");
        let (code, output, error) = layout.actool(&[command, "--help"]);
        assert!((code, output.as_str()) == (2, "") && error.contains("Usage: actool"), "{command}: {error}");
        let (code, output, error) = layout.actool(&[command, "--no-such-flag"]);
        assert!((code, output.as_str()) == (2, "") && error.contains("--no-such-flag"), "{command}: {error}");
    }
    assert_eq!(layout.actool(&["--no-such-flag"]).0, 2);
    assert_eq!(layout.actool(&["build", "--overwrite=perhaps", "layout", "a.aci"]).0, 2);
    // Flags end at the first operand.
    assert_eq!(layout.actool(&["build", "layout", "a.aci", "--overwrite"]).0, 1);
}
