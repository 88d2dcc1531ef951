//! Configuration: directories of JSON files, each layer overriding the one before (vendor, administrator, user).

mod insecure;
mod kinds;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

pub(crate) use insecure::InsecureOptions;
use kinds::Setting;

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

/// Reads one layer. A missing one is fine. Within a layer nothing may be said twice.
fn read_layer(layer: &Path) -> Result<Option<PathBuf>> {
    let mut settings: Vec<Setting> = Vec::new();
    for (subdirectory, allowed) in KINDS {
        for path in files(&layer.join(subdirectory))? {
            let shown = || format!("configuration {}", path.display());
            let text = fs::read(&path).with_context(shown)?;
            for setting in kinds::parse(&text, allowed).with_context(shown)? {
                if settings.iter().any(|earlier| earlier.conflicts(&setting)) {
                    bail!("{}: {} is already specified", shown(), setting.describe());
                }
                settings.push(setting);
            }
        }
    }
    Ok(settings.into_iter().find_map(|setting| match setting {
        Setting::Data(path) => Some(PathBuf::from(path)),
        _ => None,
    }))
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
        for (name, text) in
            [("relative", paths("data")), ("kind", r#"{"rktKind":"auth","rktVersion":"v1"}"#.to_owned())]
        {
            let error = data_directory(&[layer(name, &[("x.json", &text)])]).unwrap_err();
            assert!(format!("{error:#}").contains("x.json"), "{error:#}");
        }
        let twice = layer("twice", &[("a.json", &paths("/a")), ("b.json", &paths("/b"))]);
        let error = data_directory(&[twice]).unwrap_err().to_string();
        assert!(error.contains("b.json: data directory is already specified"), "{error}");
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(data_directory(&[file]).is_err());
    }

    #[test]
    fn only_regular_json_files_directly_in_the_directory_are_read() {
        let layer = tempfile::tempdir().unwrap();
        let subdirectory = layer.path().join("auth.d");
        fs::create_dir_all(subdirectory.join("below.json")).unwrap();
        fs::write(subdirectory.join("note.txt"), "no JSON").unwrap();
        fs::write(layer.path().join("elsewhere"), "no JSON").unwrap();
        std::os::unix::fs::symlink("../elsewhere", subdirectory.join("link.json")).unwrap();
        assert_eq!(data_directory(&[layer.path().to_owned()]).unwrap(), None);
    }
}
