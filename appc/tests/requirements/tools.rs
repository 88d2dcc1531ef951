//! Platforms, discovery, and archives as actool makes them.

use std::{fs, process::Command};

use appc::types::check_os_arch;

use crate::common::{Header, MANIFEST, Tar, actool, contents, run};

// APPC-016, APPC-017
#[test]
fn the_platforms_of_the_reference_are_known() {
    for (os, known) in [
        ("linux", "amd64 i386 aarch64 aarch64_be armv6l armv7l armv7b ppc64 ppc64le s390x"),
        ("freebsd", "amd64 i386 arm"),
        ("darwin", "x86_64 i386"),
    ] {
        for arch in known.split(' ') {
            assert!(check_os_arch(os, Some(arch)).is_ok(), "{os} {arch}");
        }
        assert!(check_os_arch(os, None).is_ok());
        assert!(check_os_arch(os, Some("sparc")).is_err() && check_os_arch(os, Some("")).is_err());
    }
    assert!(check_os_arch("linux", Some("x86_64")).is_err() && check_os_arch("Linux", None).is_err());
}

// APPC-376
#[test]
fn addresses_of_keys_are_no_templates() {
    let page = r#"<meta name="ac-discovery-pubkeys" content="example.com https://x/{name}/{os}.gpg">"#;
    let mut fetch = |_: appc::discovery::Place<'_>| Ok::<_, String>(page.as_bytes().to_vec());
    let keys = appc::discovery::keys("example.com/a", &mut fetch).unwrap();
    assert_eq!(keys.found, ["https://x/{name}/{os}.gpg"]);
}

// APPC-074, APPC-075
#[test]
fn files_of_one_number_on_two_disks_are_two_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("layout/rootfs/a")).unwrap();
    fs::create_dir_all(directory.path().join("layout/rootfs/b")).unwrap();
    fs::write(directory.path().join("layout/manifest"), MANIFEST).unwrap();
    let script =
        "set -e; cd layout/rootfs; for d in a b; do mount -t tmpfs none $d; echo $d >$d/x; ln $d/x $d/y; done
                  [ $(stat -c %i a/x) = $(stat -c %i b/x) ]; cd ../..; exec \"$0\" build layout out.aci";
    let built = run(Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(env!("CARGO_BIN_EXE_actool"))
        .current_dir(directory.path()));
    assert_eq!(built.0, 0, "must be root: {built:?}");
    let (_, entries) = contents(&fs::read(directory.path().join("out.aci")).unwrap()).unwrap();
    for disk in ["a", "b"] {
        let find = |name: &str| {
            let path = format!("rootfs/{disk}/{name}");
            entries.iter().find(|(entry, _)| entry.path.to_str() == Some(&path)).unwrap()
        };
        assert_eq!(find("x").1, format!("{disk}\n").as_bytes());
        assert_eq!(find("y").0.kind, appc::aci::EntryKind::HardLink(format!("rootfs/{disk}/x").into()));
    }
}

// APPC-420
#[test]
fn an_archive_without_a_manifest_can_be_neither_shown_nor_patched() {
    let directory = tempfile::tempdir().unwrap();
    let tar = Tar::default().add(Header::new("rootfs", b'5'), "").end();
    fs::write(directory.path().join("a.aci"), tar).unwrap();
    for arguments in [&["cat-manifest", "a.aci"][..], &["patch-manifest", "--name=b", "a.aci", "b.aci"]] {
        let (code, output, error) = run(actool().args(arguments).current_dir(directory.path()));
        assert_eq!((code, output.as_str()), (1, ""), "{arguments:?}");
        assert!(error.contains("no image manifest found"), "{error}");
    }
    assert!(!directory.path().join("b.aci").exists());
}
