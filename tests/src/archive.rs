//! Tar archives as an attacker writes them: every field of a header is what the test says, true or not.

const BLOCK: usize = 512;

/// An archive that is being written.
#[derive(Debug, Default, Clone)]
pub struct Archive(Vec<u8>);

/// The header of one entry (ustar). The size in the header is the content's, unless the test lies about it.
#[derive(Debug, Clone)]
pub struct Header {
    name: Vec<u8>,
    link: Vec<u8>,
    kind: u8,
    mode: u32,
    size: Option<Vec<u8>>,
    device: (u32, u32),
    owner: (u32, u32),
}

impl Header {
    fn new(name: &str, kind: u8, mode: u32) -> Header {
        let name = name.as_bytes().to_vec();
        Header { name, link: Vec::new(), kind, mode, size: None, device: (0, 0), owner: (0, 0) }
    }

    /// A regular file.
    pub fn file(name: &str) -> Header {
        Header::new(name, b'0', 0o644)
    }

    /// A directory.
    pub fn directory(name: &str) -> Header {
        Header::new(name, b'5', 0o755)
    }

    /// A symbolic link.
    pub fn symlink(name: &str, target: &str) -> Header {
        Header { link: target.as_bytes().to_vec(), ..Header::new(name, b'2', 0o777) }
    }

    /// A hard link.
    pub fn hard_link(name: &str, target: &str) -> Header {
        Header { link: target.as_bytes().to_vec(), ..Header::new(name, b'1', 0o644) }
    }

    /// A character device.
    pub fn device(name: &str, major: u32, minor: u32) -> Header {
        Header { device: (major, minor), ..Header::new(name, b'3', 0o666) }
    }

    /// An entry of any type.
    pub fn of_kind(name: &str, kind: u8) -> Header {
        Header::new(name, kind, 0o644)
    }

    /// With these permissions.
    #[must_use]
    pub fn mode(self, mode: u32) -> Header {
        Header { mode, ..self }
    }

    /// Claims this size, whatever follows.
    #[must_use]
    pub fn claims(self, size: u64) -> Header {
        self.claims_raw(format!("{size:011o}\0").as_bytes())
    }

    /// Puts these bytes into the field for the size.
    #[must_use]
    pub fn claims_raw(self, field: &[u8]) -> Header {
        Header { size: Some(field.to_vec()), ..self }
    }

    fn into_block(self, content: usize) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        put(&mut block[0..100], &self.name);
        put(&mut block[100..108], format!("{:07o}\0", self.mode).as_bytes());
        put(&mut block[108..116], format!("{:07o}\0", self.owner.0).as_bytes());
        put(&mut block[116..124], format!("{:07o}\0", self.owner.1).as_bytes());
        let size = self.size.unwrap_or_else(|| format!("{content:011o}\0").into_bytes());
        put(&mut block[124..136], &size);
        put(&mut block[136..148], b"00000000000\0");
        block[156] = self.kind;
        put(&mut block[157..257], &self.link);
        put(&mut block[257..265], b"ustar\x0000");
        put(&mut block[329..337], format!("{:07o}\0", self.device.0).as_bytes());
        put(&mut block[337..345], format!("{:07o}\0", self.device.1).as_bytes());
        put(&mut block[148..156], b"        ");
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        put(&mut block[148..156], format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

fn put(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

impl Archive {
    /// An empty archive.
    pub fn new() -> Archive {
        Archive::default()
    }

    /// The beginning of an image: a manifest for this machine whose app is `/bin/true`, and `rootfs`.
    pub fn image(name: &str) -> Archive {
        let manifest = crate::Image::empty(name).exec(&["/bin/true"]).manifest().to_string();
        Archive::new().entry(Header::file("manifest"), manifest).entry(Header::directory("rootfs"), "")
    }

    /// Adds an entry.
    #[must_use]
    pub fn entry(mut self, header: Header, content: impl AsRef<[u8]>) -> Archive {
        let content = content.as_ref();
        self.0.extend(header.into_block(content.len()));
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// Adds a PAX extended header (`x`, or `g` for a global one) with these records.
    #[must_use]
    pub fn pax(self, kind: u8, records: &[(&str, &str)]) -> Archive {
        let text: String = records.iter().map(|(key, value)| pax_record(key, value)).collect();
        self.entry(Header::of_kind("PaxHeaders/x", kind), text)
    }

    /// Adds bytes that are no entry.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Archive {
        self.0.extend(bytes);
        self
    }

    /// The archive without its end: two empty blocks are missing.
    pub fn unfinished(&self) -> Vec<u8> {
        self.0.clone()
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend([0; 2 * BLOCK]);
        self.0
    }
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_reads_what_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.tar");
        let long = "d/".repeat(80) + "f";
        let archive = Archive::new()
            .entry(Header::directory("rootfs"), "")
            .pax(b'x', &[("path", &long)])
            .entry(Header::file("short"), "content")
            .entry(Header::symlink("rootfs/link", "target"), "");
        std::fs::write(&file, archive.finish()).unwrap();
        let listing = crate::run(std::process::Command::new("tar").arg("-tf").arg(&file)).success();
        assert_eq!(listing.lines(), ["rootfs", &long, "rootfs/link"]);
    }
}
