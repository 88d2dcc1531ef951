//! Archives as an attacker writes them, and the programs under test.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::{
    io,
    path::Path,
    process::{Command, Output},
};

use appc::aci::{Archive, Entry, Limits, ReadError, read};

pub const MANIFEST: &str = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/a"}"#;

/// A header in which every field is what the test says.
#[derive(Clone)]
pub struct Header(pub [u8; 512]);

impl Header {
    pub fn new(name: &str, kind: u8) -> Header {
        let mut header = Header([0; 512]);
        header.put(0, name.as_bytes());
        header.put(100, if kind == b'5' { b"0000755\0" } else { b"0000644\0" });
        for at in [108, 116, 329, 337] {
            header.put(at, b"0000000\0");
        }
        header.put(136, b"00000000000\0");
        header.put(156, &[kind]);
        header.put(257, b"ustar\x0000");
        header
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub fn with(mut self, at: usize, bytes: &[u8]) -> Header {
        self.put(at, bytes);
        self
    }

    pub fn link(self, target: &str) -> Header {
        self.with(157, target.as_bytes())
    }

    /// In GNU's format, for the types that only it has.
    pub fn gnu(self) -> Header {
        self.with(257, b"ustar  \0")
    }

    fn sealed(mut self, size: usize) -> [u8; 512] {
        if self.0[124] == 0 {
            self.put(124, format!("{size:011o}\0").as_bytes());
        }
        self.put(148, b"        ");
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.put(148, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

/// An archive in the making.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    /// `manifest` and `rootfs`.
    pub fn image() -> Tar {
        Tar::default().file("manifest", MANIFEST).add(Header::new("rootfs", b'5'), "")
    }

    pub fn add(mut self, header: Header, content: impl AsRef<[u8]>) -> Tar {
        let content = content.as_ref();
        self.0.extend(header.sealed(content.len()));
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, content: &str) -> Tar {
        self.add(Header::new(name, b'0'), content)
    }

    pub fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Tar {
        let text: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.add(Header::new("PaxHeaders/x", kind), text)
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend(value);
    record.push(b'\n');
    record
}

/// Entries, each with its content.
pub type Contents = Vec<(Entry, Vec<u8>)>;

/// What an archive has, as its reader sees it.
pub fn contents(bytes: &[u8]) -> Result<(Archive, Contents), ReadError<io::Error>> {
    let mut seen = Vec::new();
    let archive = read(bytes, &Limits::default(), &mut |entry, content| {
        let mut text = Vec::new();
        content.read_to_end(&mut text)?;
        seen.push((entry.clone(), text));
        Ok(())
    })?;
    Ok((archive, seen))
}

/// The one line that refuses an archive.
pub fn refusal(bytes: &[u8]) -> String {
    let error = contents(bytes).map(|(_, seen)| seen).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// Runs a command to its end: exit code, output, error output.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

pub fn actool() -> Command {
    Command::new(env!("CARGO_BIN_EXE_actool"))
}

/// The specification's own actool.
pub fn original() -> Command {
    const PATH: &str = "/usr/bin/actool";
    assert!(
        Path::new(PATH).exists(),
        "install the counterpart: apt-get install -y --no-install-recommends appc-spec"
    );
    Command::new(PATH)
}
