//! Replays the inputs of the fuzz targets.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{fs, path::PathBuf};

fn replay(name: &str, target: fn(&[u8])) {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(name);
    let mut count = 0;
    for file in fs::read_dir(&directory).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        target(&bytes);
        // What is cut off or has a flipped bit must end well, too.
        for length in (0..bytes.len()).step_by(101) {
            target(&bytes[..length]);
            let mut flipped = bytes.clone();
            flipped[length] ^= 1 << (length % 8);
            target(&flipped);
        }
        count += 1;
    }
    assert!(count >= 10, "{count} in {}", directory.display());
}

#[test]
fn archives() {
    replay("archive", appc::fuzz::archive);
}

// APPC-041
#[test]
fn manifests() {
    replay("manifest", appc::fuzz::manifest);
}
