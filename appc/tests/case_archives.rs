//! Attacks on whoever reads an archive, numbered as in the project's list of safety cases.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{fs, io, process::Command, time::Instant};

use appc::aci::{AciError, ArchiveWriter, Compression, Entry, EntryKind, Limits, ReadError, read};
use common::{Header, MANIFEST, Tar, contents, refusal, run};

fn refused(table: &[(&str, Tar, &str)]) {
    for (what, tar, want) in table {
        let error = refusal(&tar.clone().end());
        assert!(error.contains(want), "{what}: {error}");
    }
}

// APPC-054, APPC-055
#[test]
fn case_01_entries_that_leave_the_root() {
    let long = |name: &[u8]| Tar::image().pax(b'x', &[("path", name)]).file("rootfs/short", "x");
    let image = Tar::image;
    let link = image().add(Header::new("rootfs/link", b'2').link("/etc"), "");
    refused(&[
        ("absolute", image().file("/etc/passwd", "x"), "absolute"),
        ("absolute rootfs", image().file("/rootfs/x", "x"), "absolute"),
        ("dots", image().file("rootfs/../../etc/x", "x"), "\"..\""),
        ("dots that stay", image().file("rootfs/a/../b", "x"), "\"..\""),
        ("dots alone", image().file("..", "x"), "\"..\""),
        ("dots in an extended header", long(b"../x"), "\"..\""),
        ("absolute in an extended header", long(b"/rootfs/x"), "absolute"),
        ("a NUL in an extended header", long(b"rootfs/a\0/../../x"), "NUL"),
        (
            "dots in a long name",
            image().add(Header::new("././@LongLink", b'L').gnu(), b"../x\0").file("rootfs/x", ""),
            "\"..\"",
        ),
        ("dots in a prefix", image().add(Header::new("x", b'0').with(345, b"rootfs/../.."), "x"), "\"..\""),
        ("beside rootfs", image().file("rootfsX", "x"), "unrecognized"),
        ("beside manifest", image().file("manifest/x", "x"), "unrecognized"),
        ("through a link", link.clone().file("rootfs/link/passwd", "x"), "not a directory"),
        ("through a file", image().file("rootfs/f", "").file("rootfs/f/x", "x"), "not a directory"),
    ]);
    for name in ["./rootfs/x", "rootfs//x", "rootfs/./x"] {
        let (_, seen) = contents(&Tar::image().file(name, "x").end()).unwrap();
        assert_eq!(seen[2].0.path.to_str(), Some("rootfs/x"), "{name}");
    }
}

// APPC-053
#[test]
fn case_02_a_link_and_then_something_below_or_in_its_place() {
    let link = Tar::image().add(Header::new("rootfs/l", b'2').link("/etc"), "");
    refused(&[
        ("a file below", link.clone().file("rootfs/l/x", ""), "not a directory"),
        ("a directory below", link.clone().add(Header::new("rootfs/l/x", b'5'), ""), "not a directory"),
        (
            "a hard link below",
            link.clone().file("rootfs/f", "").add(Header::new("rootfs/l/x", b'1').link("rootfs/f"), ""),
            "not a directory",
        ),
        ("a directory in its place", link.clone().add(Header::new("rootfs/l", b'5'), ""), "duplicate"),
        ("itself again", link.clone().add(Header::new("rootfs/l", b'2').link("/"), ""), "duplicate"),
        (
            "a hard link to it",
            link.add(Header::new("rootfs/h", b'1').link("rootfs/l"), ""),
            "not a regular file",
        ),
        (
            "a directory that becomes a link half way",
            Tar::image()
                .file("rootfs/d/a", "")
                .add(Header::new("rootfs/d", b'2').link("/etc"), "")
                .file("rootfs/d/b", ""),
            "to be a directory",
        ),
        ("two manifests", Tar::image().file("./manifest", MANIFEST), "duplicate"),
        ("two of a cleaned name", Tar::image().file("rootfs/x", "1").file("./rootfs//x", "2"), "duplicate"),
        ("two directories", Tar::image().add(Header::new("rootfs/", b'5'), ""), "duplicate"),
    ]);
}

// APPC-077
#[test]
fn case_03_hard_links_out_of_the_tree() {
    let hard =
        |target: &str| Tar::image().file("rootfs/f", "").add(Header::new("rootfs/h", b'1').link(target), "");
    let directory = Tar::image().add(Header::new("rootfs/h", b'1').link("rootfs"), "");
    refused(&[
        ("absolute", hard("/etc/shadow"), "absolute"),
        ("dots", hard("rootfs/../../etc/shadow"), "\"..\""),
        ("beside", hard("manifest"), "outside rootfs"),
        ("missing", hard("rootfs/nothing"), "not a regular file"),
        ("nothing", hard(""), "target is missing"),
        ("a descriptor", hard("/proc/self/fd/3"), "absolute"),
        ("a directory", directory, "not a regular file"),
        ("itself", hard("rootfs/h"), "not a regular file"),
    ]);
    assert!(refusal(&hard("/etc/shadow").end()).contains("rootfs/h"), "the link is named");
    let (_, seen) = contents(&hard("./rootfs/f").end()).unwrap();
    assert_eq!(seen[3].0.kind, EntryKind::HardLink("rootfs/f".into()));
}

#[test]
fn case_04_sizes_that_contradict_each_other() {
    let image = Tar::image;
    let hidden = Tar::default().file("rootfs/hidden", "smuggled").0;
    let size = hidden.len().to_string();
    // The extended header counts, as in GNU tar: what is hidden in the content stays content.
    let smuggle = image()
        .pax(b'x', &[("size", size.as_bytes())])
        .add(Header::new("rootfs/c", b'0').with(124, b"00000000000\0"), &hidden);
    let (_, seen) = contents(&smuggle.end()).unwrap();
    assert_eq!((seen.len(), &seen[2].1), (3, &hidden));
    // A record that only looks like one, in the middle of another.
    let value = b"\n14 size=99999\n".as_slice();
    let inside = image().pax(b'x', &[("SCHILY.xattr.user.a", value)]).file("rootfs/x", "x");
    let (_, seen) = contents(&inside.end()).unwrap();
    assert_eq!((seen[2].0.size, seen[2].0.xattrs[0].1.as_slice()), (1, value));
    // An extended header belongs to the file, not to the long name between them.
    let between = image()
        .pax(b'x', &[("size", b"3")])
        .add(Header::new("././@LongLink", b'L').gnu(), "rootfs/long\0")
        .add(Header::new("rootfs/x", b'0'), "abc");
    let (_, seen) = contents(&between.end()).unwrap();
    assert_eq!((seen[2].0.path.to_str(), seen[2].1.as_slice()), (Some("rootfs/long"), b"abc".as_slice()));
    let file = |size: &[u8]| image().add(Header::new("rootfs/x", b'0').with(124, size), "content");
    refused(&[
        ("negative", file(&[0xff; 12]), "size is not a number"),
        ("huge", file(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "size is not a number"),
        ("the largest", file(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"), "files have more than"),
        ("letters", file(b"notanumber!\0"), "size is not a number"),
        ("8 GiB", file(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), "truncated"),
        ("8 GiB less one", file(b"77777777777\0"), "truncated"),
        (
            "an extended size that is none",
            image().pax(b'x', &[("size", b"-1")]).file("rootfs/x", ""),
            "size is not",
        ),
        ("an empty one", image().pax(b'x', &[("size", b"")]).file("rootfs/x", ""), "empty value"),
        (
            "more than there are",
            image().pax(b'x', &[("size", b"18446744073709551615")]).file("rootfs/x", ""),
            "files have more than",
        ),
        (
            "a malformed header",
            image().add(Header::new("p", b'x'), "99 path=x\n").file("rootfs/x", ""),
            "malformed",
        ),
        (
            "a length that is short",
            image().add(Header::new("p", b'x'), "9 path=xy\n").file("rootfs/x", ""),
            "malformed",
        ),
        (
            "two headers",
            image().pax(b'x', &[("a", b"")]).pax(b'x', &[("a", b"")]).file("rootfs/x", ""),
            "second header",
        ),
        (
            "two long names",
            image()
                .pax(b'x', &[("path", b"rootfs/a")])
                .add(Header::new("././@LongLink", b'L').gnu(), "rootfs/b\0")
                .file("rootfs/x", ""),
            "two long names",
        ),
        ("nothing after a header", image().pax(b'x', &[("path", b"rootfs/a")]), "truncated"),
        (
            "a global path",
            image().pax(b'g', &[("path", b"rootfs/all")]).file("rootfs/x", ""),
            "global header",
        ),
        ("a global size", image().pax(b'g', &[("size", b"512")]).file("rootfs/x", ""), "global header"),
        (
            "a directory with content",
            image().add(Header::new("rootfs/d", b'5'), hidden.clone()),
            "only regular files",
        ),
        (
            "a link with content",
            image().add(Header::new("rootfs/d", b'2').link("x"), hidden.clone()),
            "only regular files",
        ),
        (
            "a checksum",
            Tar({
                let mut t = image().0;
                t[0] ^= 1;
                t
            }),
            "checksum",
        ),
        (
            "another format",
            image().add(Header::new("rootfs/x", b'0').with(257, b"ustar\x0099"), ""),
            "no known format",
        ),
    ]);
    let comment = image().pax(b'g', &[("comment", b"0123456789abcdef")]).file("rootfs/x", "");
    assert_eq!(contents(&comment.end()).unwrap().1.len(), 3, "a global comment, as git writes it");
}

/// A sparse file in GNU's old format.
fn sparse(pieces: &[(u64, u64)], size: u64, content: &[u8]) -> Tar {
    let mut header = Header::new("rootfs/s", b'S').gnu();
    for (index, (offset, length)) in pieces.iter().enumerate() {
        header.put(386 + 24 * index, format!("{offset:011o}\0{length:011o}\0").as_bytes());
    }
    header.put(483, format!("{size:011o}\0").as_bytes());
    Tar::image().add(header, content)
}

#[test]
fn case_04_sparse_files_are_expanded_or_refused() {
    let (_, seen) = contents(&sparse(&[(512, 512), (2000, 3)], 2003, &[7; 515]).end()).unwrap();
    let mut want = vec![0; 2003];
    want[512..1024].fill(7);
    want[2000..].fill(7);
    assert_eq!(seen[2].1, want);
    let named = [("GNU.sparse.major", b"1".as_slice()), ("GNU.sparse.name", b"rootfs/y")];
    refused(&[
        ("overlapping", sparse(&[(0, 512), (100, 512)], 2000, &[7; 1024]), "overlap"),
        ("beyond the end", sparse(&[(5000, 512)], 2000, &[7; 512]), "add up"),
        ("less than stored", sparse(&[(0, 512)], 2000, &[7; 1024]), "add up"),
        ("in an extended header", Tar::image().pax(b'x', &named).file("rootfs/x", "1\n0\n5\n"), "--sparse"),
    ]);
    // More than all files together may have.
    let mut huge = Header::new("rootfs/s", b'S').gnu();
    huge.put(483, b"\x80\0\0\0\0\0\x0a\0\0\0\0\0");
    let error = refusal(&Tar::image().add(huge, "").end());
    assert!(error.contains("its files have more than"), "{error}");
}

#[test]
fn case_05_attributes_of_overlays_and_of_the_host_are_dropped() {
    let attributes: Vec<(String, &[u8])> = [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "user.overlay.whiteout",
        "security.selinux",
        "security.ima",
        "system.nfs4_acl",
        "trusted.x",
        "user.kept",
        "security.capability",
        "system.posix_acl_access",
        "system.posix_acl_default",
    ]
    .map(|name| (format!("SCHILY.xattr.{name}"), b"y".as_slice()))
    .to_vec();
    let records: Vec<(&str, &[u8])> = attributes.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let (_, seen) = contents(&Tar::image().pax(b'x', &records).file("rootfs/x", "").end()).unwrap();
    let kept: Vec<&str> = seen[2].0.xattrs.iter().map(|(name, _)| name.to_str().unwrap()).collect();
    assert_eq!(
        kept,
        ["user.kept", "security.capability", "system.posix_acl_access", "system.posix_acl_default"]
    );
    let devices = Tar::image()
        .add(Header::new("rootfs/null", b'3').with(329, b"0000001\0").with(337, b"0000003\0"), "")
        .add(Header::new("rootfs/setuid", b'0').with(100, b"0106755\0"), "");
    let (_, seen) = contents(&devices.end()).unwrap();
    assert_eq!(seen[2].0.kind, EntryKind::CharDevice { major: 1, minor: 3 });
    assert_eq!(seen[3].0.mode, 0o6755);
    let file = |at: usize, field: &[u8]| Tar::image().add(Header::new("rootfs/x", b'0').with(at, field), "");
    let owner = |value: &[u8]| Tar::image().pax(b'x', &[("uid", value)]).file("rootfs/x", "");
    refused(&[
        ("an owner above the range", file(108, b"\x80\0\0\x01\0\0\0\0"), "owner"),
        ("an owner below it", file(108, &[0xff; 8]), "owner"),
        ("the owner that is none", owner(b"4294967295"), "owner"),
        ("an extended owner above it", owner(b"4294967296"), "owner"),
        ("an extended owner below it", owner(b"-1"), "owner"),
        ("a mode that is none", file(100, b"rwxrwxr\0"), "mode"),
        ("a type that is none", Tar::image().add(Header::new("rootfs/x", b'V'), ""), "type"),
        (
            "a device without numbers",
            Tar::image().add(Header::new("rootfs/x", b'4').with(329, &[0; 16]), ""),
            "device",
        ),
    ]);
}

// APPC-078
#[test]
fn case_06_whiteouts_are_ordinary_names() {
    let tar = Tar::image().file("rootfs/.wh.x", "").file("rootfs/.wh..wh..opq", "");
    assert_eq!(contents(&tar.end()).unwrap().1.len(), 4);
}

// APPC-061
#[test]
fn case_07_bombs_end_in_a_clear_error_in_flat_memory() {
    let deep = format!("rootfs/{}f", "d/".repeat(300));
    let long = format!("rootfs/{}", "n/".repeat(2 << 20));
    let wide = format!("rootfs/{}", "n".repeat(300));
    let named = |name: &str| Tar::image().pax(b'x', &[("path", name.as_bytes())]).file("x", "");
    let huge_name =
        Tar::image().add(Header::new("././@LongLink", b'L').gnu(), vec![b'a'; 3 << 20]).file("x", "");
    refused(&[
        ("deep", named(&deep), "directories deep"),
        ("long", named(&long), "extended headers have more than"),
        ("longer than a path", named(&format!("rootfs/{}", "n/".repeat(3000))), "at most 4096"),
        ("wide", named(&wide), "longer than 255"),
        ("a long name of megabytes", huge_name, "extended headers have more than"),
    ]);
    // Compressed, a gigabyte of zeros is small; the limit ends it long before.
    let limits = Limits { bytes: 4 << 20, content: 1 << 20, entries: 1000, ..Limits::default() };
    for compression in [Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd] {
        let generous = Limits::default();
        let mut writer = ArchiveWriter::new(Vec::new(), compression, &generous).unwrap();
        let entry = |path: &str, kind, size| Entry {
            path: path.into(),
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            size,
            mtime: 0,
            mtime_nsec: 0,
            xattrs: Vec::new(),
        };
        let size = 8 << 20;
        writer.add(&entry("rootfs", EntryKind::Directory, 0), &mut io::empty()).unwrap();
        writer.add(&entry("rootfs/zeros", EntryKind::Regular, size), &mut io::repeat(0)).unwrap();
        let (_, bomb) = writer.finish().unwrap();
        let error = read(bomb.as_slice(), &limits, &mut |_, _| Ok::<(), io::Error>(())).unwrap_err();
        assert!(matches!(error, ReadError::Invalid(AciError::Archive(_))), "{compression:?}: {error}");
    }
    let mut many = Tar::image();
    for index in 0..1000 {
        many = many.file(&format!("rootfs/{index}"), "");
    }
    let error = read(many.end().as_slice(), &limits, &mut |_, _| Ok::<(), io::Error>(())).unwrap_err();
    assert!(error.to_string().contains("more than 1000 entries"), "{error}");
}

#[test]
fn case_07_an_xz_that_asks_for_gigabytes_of_memory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.tar");
    fs::write(&file, Tar::image().end()).unwrap();
    let packed =
        Command::new("xz").args(["-c", "--lzma2=dict=1GiB,mf=hc3,mode=fast"]).arg(&file).output().unwrap();
    assert!(packed.status.success(), "{packed:?}");
    let error = refusal(&packed.stdout);
    assert!(error.contains("memory"), "{error}");
}

#[test]
fn case_07_the_work_does_not_grow_with_the_depth() {
    let parent = "d/".repeat(250);
    let mut tar = Tar::image();
    for index in 0..5000 {
        tar = tar.pax(b'x', &[("path", format!("rootfs/{parent}{index}").as_bytes())]).file("x", "");
    }
    let start = Instant::now();
    assert_eq!(contents(&tar.end()).unwrap().0.entries, 5002);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn case_08_truncated_at_every_kilobyte() {
    let whole = Tar::image().add(Header::new("rootfs/f", b'0'), vec![1; 700_000]).file("rootfs/g", "x").end();
    for length in (0..whole.len() - 1024).step_by(1024) {
        let error = refusal(&whole[..length]);
        assert!(error.contains("truncated") || error.contains("not an image"), "{length}: {error}");
    }
    // The first of the blocks of zeros at the end is needed, the second is not.
    assert!(contents(&whole[..whole.len() - 1024]).is_err());
    assert!(contents(&whole[..whole.len() - 512]).is_ok());
}

// APPC-062
#[test]
fn what_follows_the_end_counts_for_the_id_and_is_not_read() {
    let plain = Tar::image().end();
    let mut longer = plain.clone();
    longer.extend(Tar::default().file("rootfs/../../x", "y").0);
    let ((first, _), (second, seen)) = (contents(&plain).unwrap(), contents(&longer).unwrap());
    assert_eq!(seen.len(), 2);
    assert_ne!(first.id, second.id);
    assert_eq!(second.size, longer.len() as u64);
}

// APPC-051, APPC-052, APPC-056, APPC-072, APPC-100
#[test]
fn what_is_no_image_is_told_apart() {
    let manifest =
        |text: &str| Tar::default().file("manifest", text).add(Header::new("rootfs", b'5'), "").end();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let large = format!("\"{}\"", "x".repeat(5 << 20));
    for (bytes, want) in [
        (Vec::new(), "not an image"),
        (b"\x7fELF\x02\x01\x01".to_vec(), "not an image"),
        (b"{}".to_vec(), "a text file"),
        (b"\x8c\x0d\x04\x09\x03\x02rest".to_vec(), "encrypted"),
        (b"-----BEGIN PGP MESSAGE-----\n".to_vec(), "encrypted"),
        (vec![0; 10_240], "not an image"),
        (Tar::default().file("manifest", MANIFEST).end(), "no rootfs"),
        (Tar::default().add(Header::new("rootfs", b'5'), "").end(), "no image manifest"),
        (Tar::default().file("manifest", MANIFEST).file("rootfs/x", "").end(), "no rootfs"),
        (Tar::default().file("rootfs", "").end(), "must be a directory"),
        (Tar::default().add(Header::new("rootfs", b'2').link("/"), "").end(), "must be a directory"),
        (Tar::default().add(Header::new("manifest", b'5'), "").end(), "regular file"),
        (Tar::default().add(Header::new("manifest", b'2').link("/etc/passwd"), "").end(), "regular file"),
        (manifest(""), "manifest: not valid JSON"),
        (manifest("[]"), "must be an object"),
        (manifest(&MANIFEST.replace("Image", "Pod")), "acKind"),
        (manifest(&MANIFEST.replace("example.com/a", "\\u0000")), "name"),
        (manifest(&deep), "recursion"),
        (manifest(&large), "bytes; at most"),
        (Tar::image().file("other", "").end(), "other"),
    ] {
        let error = refusal(&bytes);
        assert!(error.contains(want), "{want}: {error}");
    }
}

// APPC-061
#[test]
fn streams_of_several_members_are_read_to_their_end() {
    let directory = tempfile::tempdir().unwrap();
    let whole = Tar::image().add(Header::new("rootfs/f", b'0'), vec![3; 900_000]).end();
    let (plain, _) = contents(&whole).unwrap();
    for program in ["gzip", "bzip2", "xz", "zstd"] {
        let mut packed = Vec::new();
        for half in [&whole[..500_000], &whole[500_000..]] {
            let file = directory.path().join("half");
            fs::write(&file, half).unwrap();
            let output = Command::new(program).arg("-c").arg(&file).output();
            let output = output.unwrap_or_else(|error| panic!("{error}: apt-get install -y {program}"));
            packed.extend(output.stdout);
        }
        let (archive, _) = contents(&packed).unwrap_or_else(|error| panic!("{program}: {error}"));
        assert_eq!((archive.id, archive.size), (plain.id.clone(), plain.size), "{program}");
        assert!(contents(&packed[..packed.len() - 10]).is_err(), "{program}, cut off");
    }
}

#[test]
fn what_tar_writes_is_read_whatever_its_format() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let long = format!("rootfs/{}", "a-long-name/".repeat(15));
    fs::create_dir_all(at.join(&long)).unwrap();
    fs::write(at.join("manifest"), MANIFEST).unwrap();
    fs::write(at.join(&long).join("file"), "content").unwrap();
    fs::hard_link(at.join(&long).join("file"), at.join("rootfs/hard")).unwrap();
    std::os::unix::fs::symlink("t".repeat(200), at.join("rootfs/link")).unwrap();
    let script =
        "truncate -s 1M rootfs/sparse && printf end >> rootfs/sparse && chown 3000000:3000001 rootfs/sparse";
    assert_eq!(run(Command::new("sh").arg("-c").arg(script).current_dir(at)).0, 0);
    for format in ["gnu", "pax", "posix"] {
        for sparse in [&["--sparse"][..], &[]] {
            if format != "gnu" && !sparse.is_empty() {
                continue;
            }
            let mut tar = Command::new("tar");
            tar.arg(format!("--format={format}")).args(sparse).args(["-cf", "-", "manifest", "rootfs"]);
            let bytes = tar.current_dir(at).output().unwrap().stdout;
            let (_, seen) = contents(&bytes).unwrap_or_else(|error| panic!("{format} {sparse:?}: {error}"));
            let find = |end: &str| seen.iter().find(|(entry, _)| entry.path.ends_with(end)).unwrap();
            assert_eq!(find("sparse").1, fs::read(at.join("rootfs/sparse")).unwrap(), "{format} {sparse:?}");
            assert_eq!((find("sparse").0.uid, find("sparse").0.gid), (3_000_000, 3_000_001));
            assert_eq!(find("link").0.kind, EntryKind::Symlink("t".repeat(200).into()));
            let (file, hard) = (find("file"), find("hard"));
            let content = if file.1.is_empty() { &hard.1 } else { &file.1 };
            assert_eq!(content, b"content");
        }
    }
}
