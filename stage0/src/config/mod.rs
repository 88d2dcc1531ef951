//! Configuration: directories of JSON files, each layer overriding the one before (vendor, administrator, user).

mod insecure;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

pub(crate) use insecure::InsecureOptions;

/// Kinds that a subdirectory may hold.
const KINDS: [(&str, &[&str]); 3] =
    [("auth.d", &["auth", "dockerAuth"]), ("paths.d", &["paths"]), ("stage1.d", &["stage1"])];

/// The data directory that the configuration names, in its last layer that does.
pub(crate) fn data_directory(layers: &[PathBuf]) -> Result<Option<PathBuf>> {
    let mut data = None;
    for layer in layers {
        data = read_layer(layer)?.or(data);
    }
    Ok(data)
}

/// Reads one layer. A missing one is fine.
fn read_layer(layer: &Path) -> Result<Option<PathBuf>> {
    let mut data = None;
    for (subdirectory, kinds) in KINDS {
        for path in files(&layer.join(subdirectory))? {
            let found =
                read_file(&path, kinds).with_context(|| format!("configuration {}", path.display()))?;
            match (found, &data) {
                (Some(_), Some(_)) => {
                    bail!("configuration {}: data directory is already specified", path.display())
                }
                (Some(directory), None) => data = Some(directory),
                (None, _) => {}
            }
        }
    }
    Ok(data)
}

/// The regular `.json` files in a directory, in the order of their names.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("configuration {}", directory.display())),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("configuration {}", directory.display()))?;
        let is_json = entry.path().extension().is_some_and(|extension| extension == "json");
        if is_json && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Checks a file and returns the data directory that it names.
fn read_file(path: &Path, kinds: &[&str]) -> Result<Option<PathBuf>> {
    let value: Value = serde_json::from_slice(&fs::read(path)?).context("not valid JSON")?;
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let kind = text("rktKind").context("rktKind is missing")?;
    let version = text("rktVersion").context("rktVersion is missing")?;
    if !kinds.contains(&kind) {
        bail!("rktKind {kind:?} does not belong here (must be one of: {kinds:?})");
    }
    if version != "v1" {
        bail!("no parser for rktKind {kind:?}, rktVersion {version:?}");
    }
    if kind != "paths" {
        return Ok(None);
    }
    for name in ["data", "stage1-images"] {
        if text(name).is_some_and(|path| !Path::new(path).is_absolute()) {
            bail!("{name} must be an absolute path");
        }
    }
    Ok(text("data").map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_layers_override_and_errors_name_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let layer = |name: &str, files: &[(&str, &str)]| {
            let path = directory.path().join(name);
            fs::create_dir_all(path.join("paths.d")).unwrap();
            for (file, text) in files {
                fs::write(path.join("paths.d").join(file), text).unwrap();
            }
            path
        };
        let paths = |data: &str| format!(r#"{{"rktKind":"paths","rktVersion":"v1","data":"{data}"}}"#);
        let vendor = layer("vendor", &[("a.json", &paths("/vendor")), ("b.conf", "ignored")]);
        let local = layer("local", &[("a.json", &paths("/local"))]);
        let missing = directory.path().join("missing");
        assert_eq!(data_directory(&[vendor.clone(), missing]).unwrap(), Some("/vendor".into()));
        assert_eq!(data_directory(&[vendor, local]).unwrap(), Some("/local".into()));
        for (name, text) in [
            ("relative", paths("data")),
            ("kind", r#"{"rktKind":"auth","rktVersion":"v1"}"#.to_owned()),
            ("version", r#"{"rktKind":"paths","rktVersion":"v2"}"#.to_owned()),
            ("syntax", "{".to_owned()),
        ] {
            let error = data_directory(&[layer(name, &[("x.json", &text)])]).unwrap_err();
            assert!(format!("{error:#}").contains("x.json"), "{error:#}");
        }
        let twice = layer("twice", &[("a.json", &paths("/a")), ("b.json", &paths("/b"))]);
        assert!(data_directory(&[twice]).is_err());
    }
}
