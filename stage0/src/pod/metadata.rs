//! Pods and the metadata service.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use appc::schema::PodManifest;
use rkt_pod::{PodDir, directory::write_atomically, layout};
use rustix::fs::{Mode, OFlags};

/// Makes a pod that is about to run known to the service, and returns its token. The token is noted first: a service that is started
/// anew finds it there.
pub(crate) fn register(pod: &PodDir) -> Result<String> {
    let path = pod.path();
    let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
    let text = read(&path.join(layout::MANIFEST))?;
    let mut images = BTreeMap::new();
    for app in &PodManifest::from_slice(&text)?.apps {
        let info = path.join(layout::APPS_INFO).join(app.name.as_str());
        images.insert(app.name.to_string(), read(&info.join(layout::APP_MANIFEST))?);
    }
    let token = rkt_metadata::token()?;
    let directory =
        rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("open {}", path.display()))?;
    let note = |name: &str, content: &str| {
        write_atomically(&directory, name.as_ref(), content.as_bytes(), 0o600)
            .with_context(|| format!("write {}", path.join(name).display()))
    };
    note(layout::METADATA_TOKEN, &token)?;
    rkt_metadata::register(pod.uuid(), &token, &text, &images)?;
    note(layout::METADATA_REGISTERED, "")?;
    Ok(token)
}

/// Has the service forget a pod that it knows. One that does not run knows nobody.
pub(crate) fn unregister(pod: &PodDir, debug: bool) {
    if !pod.path().join(layout::METADATA_REGISTERED).exists() || rkt_metadata::probe().is_err() {
        return;
    }
    if let Err(error) = rkt_metadata::unregister(pod.uuid()) {
        crate::output::print_error("gc", &anyhow::Error::from(error).context("warning"), debug);
    }
}
