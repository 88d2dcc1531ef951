//! Apps as images.

use std::{fs, io::Read, path::Path};

use anyhow::{Context, Result};
use appc::{
    aci::{self, ArchiveWriter, Compression, Entry, Limits},
    schema::ImageManifest,
};
use rkt_pod::{PodDir, layout, users::Range};

use super::root;
use crate::store::Beside;

/// Writes an app of an exited pod into a file.
pub(crate) fn write(pod: &PodDir, app: &str, file: &Path, overwrite: bool) -> Result<()> {
    let root = root::of_exited(pod, app)?;
    let users = Range::of_pod(&pod.path())?;
    let manifest = manifest(pod, app)?;
    let path = std::path::absolute(file).with_context(|| format!("{}", file.display()))?;
    let made = Beside::at(&path, overwrite)?;
    let output = made.path().join("image");
    let mut archive = fs::File::create_new(&output).with_context(|| format!("make {}", output.display()))?;
    pack(&root, users, &manifest, &mut archive)?;
    archive.sync_all().with_context(|| format!("sync {}", file.display()))?;
    Ok(made.place(&output)?)
}

/// The app's image manifest. All that it depends on is in the root by now, and nothing of that is left out.
fn manifest(pod: &PodDir, app: &str) -> Result<Vec<u8>> {
    let path = pod.path().join(layout::APPS_INFO).join(app).join(layout::APP_MANIFEST);
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let mut manifest = ImageManifest::from_slice(&text).with_context(|| path.display().to_string())?;
    if manifest.dependencies.is_empty() && manifest.path_whitelist.is_empty() {
        return Ok(text);
    }
    manifest.dependencies.clear();
    manifest.path_whitelist.clear();
    Ok(manifest.to_vec()?)
}

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Root(#[from] aci::LayoutError),
    #[error(transparent)]
    Archive(#[from] aci::WriteError),
}

fn pack(
    root: &std::os::fd::OwnedFd,
    users: Option<Range>,
    manifest: &[u8],
    output: &mut fs::File,
) -> Result<()> {
    let limits = Limits::default();
    let mut archive = ArchiveWriter::new(output, Compression::Gzip, &limits)?;
    // Who the pod's users are on the host is the host's business.
    let in_pod = |id: u32| users.and_then(|range| range.id_in_pod(id)).unwrap_or(id);
    aci::walk_root::<Failure>(root, &mut |mut entry: Entry, content: &mut dyn Read| {
        (entry.uid, entry.gid) = (in_pod(entry.uid), in_pod(entry.gid));
        Ok(archive.add(&entry, content)?)
    })?;
    let entry = Entry::manifest(manifest.len(), 0);
    archive.add(&entry, &mut &manifest[..])?;
    archive.finish()?;
    Ok(())
}
