//! What must hold for any input. The fuzz targets (tests/fuzz) look for inputs for which it does not; the tests replay
//! the inputs that are kept.

use std::io;

use crate::{
    aci::{ArchiveWriter, Compression, Entry, Limits, read},
    schema::{ImageManifest, PodManifest, kind_of},
};

/// Small, so that a short input cannot ask for much work.
const LIMITS: Limits =
    Limits { entries: 1000, bytes: 1 << 20, content: 1 << 20, path: 4096, depth: 64, manifest: 64 << 10 };

/// An archive is refused, or it survives being written again.
///
/// # Panics
/// Where that is not so.
pub fn archive(bytes: &[u8]) {
    let Some(entries) = entries(bytes) else { return };
    let mut writer = ArchiveWriter::new(Vec::new(), Compression::None, &LIMITS).expect("memory takes all");
    for (entry, content) in &entries {
        writer.add(entry, &mut content.as_slice()).expect("what was read can be written");
    }
    let (id, copy) = writer.finish().expect("it is whole");
    let read = self::entries(&copy);
    // Extended headers may make the copy larger than is read here.
    if copy.len() as u64 <= LIMITS.bytes {
        assert_eq!(read.as_ref(), Some(&entries), "{id:?}");
    }
}

fn entries(bytes: &[u8]) -> Option<Vec<(Entry, Vec<u8>)>> {
    let mut entries = Vec::new();
    let archive = read(bytes, &LIMITS, &mut |entry, content| {
        let mut text = Vec::new();
        content.read_to_end(&mut text)?;
        assert_eq!(text.len() as u64, entry.size, "{entry:?}");
        entries.push((entry.clone(), text));
        Ok::<(), io::Error>(())
    });
    archive.is_ok_and(|archive| archive.entries == entries.len() as u64).then_some(entries)
}

/// A manifest is refused, or it survives being printed and read again.
///
/// # Panics
/// Where that is not so.
pub fn manifest(bytes: &[u8]) {
    if kind_of(bytes).is_err() {
        return;
    }
    if let Ok(manifest) = ImageManifest::from_slice(bytes) {
        let text = manifest.to_vec().expect("what was read can be printed");
        assert_eq!(ImageManifest::from_slice(&text).as_ref(), Ok(&manifest));
    }
    if let Ok(manifest) = PodManifest::from_slice(bytes) {
        let text = manifest.to_vec().expect("what was read can be printed");
        assert_eq!(PodManifest::from_slice(&text).as_ref(), Ok(&manifest));
    }
}
