//! Configuration: directories of JSON files, each layer overriding the one before (vendor, administrator, user).

mod insecure;
mod kinds;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

pub(crate) use insecure::InsecureOptions;
use kinds::Setting;
pub(crate) use kinds::{AwsKey, Credential};

use crate::oci::Basic;

/// Kinds that a subdirectory may hold.
const KINDS: [(&str, &[&str]); 4] = [
    ("auth.d", &["auth", "dockerAuth"]),
    ("keys.d", &["imageKey"]),
    ("paths.d", &["paths"]),
    ("stage1.d", &["stage1"]),
];

/// What the layers say together.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    /// The data directory.
    pub(crate) data: Option<PathBuf>,
    /// What hosts want to see, by host, or host and port, as it stands in URLs.
    pub(crate) credentials: BTreeMap<String, Credential>,
    /// What registries want to see, by host, or host and port.
    pub(crate) registries: BTreeMap<String, Basic>,
    /// Files with passphrases of encrypted images, by the prefixes of their names.
    pub(crate) image_keys: BTreeMap<String, PathBuf>,
}

impl Configuration {
    /// Reads all layers; what a later one says counts.
    pub(crate) fn read(layers: &[PathBuf]) -> Result<Configuration> {
        let mut all = Configuration::default();
        for setting in layers.iter().map(|layer| read_layer(layer)).collect::<Result<Vec<_>>>()?.concat() {
            match setting {
                Setting::Data(path) => all.data = Some(path.into()),
                Setting::Domain(domain, credential) => {
                    all.credentials.insert(domain, credential);
                }
                Setting::Registry(registry, basic) => {
                    all.registries.insert(registry, basic);
                }
                Setting::ImageKey(prefix, path) => {
                    all.image_keys.insert(prefix, path);
                }
                _ => {}
            }
        }
        Ok(all)
    }
}

/// Reads one layer. A missing one is fine. Within a layer nothing may be said twice.
fn read_layer(layer: &Path) -> Result<Vec<Setting>> {
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
    Ok(settings)
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

    fn data_directory(layers: &[PathBuf]) -> Result<Option<PathBuf>> {
        Ok(Configuration::read(layers)?.data)
    }

    #[test]
    fn credentials_are_headers_and_secrets_stay_secret() {
        let directory = tempfile::tempdir().unwrap();
        let auth = directory.path().join("auth.d");
        fs::create_dir(&auth).unwrap();
        let file = |name: &str, kind: &str, credentials: &str| {
            let text = format!(
                r#"{{"rktKind":"auth","rktVersion":"v1","domains":["{name}"],"type":"{kind}","credentials":{credentials}}}"#
            );
            fs::write(auth.join(format!("{name}.json")), text).unwrap();
        };
        file("basic.test", "basic", r#"{"user":"ci","password":"s3cret"}"#);
        file("oauth.test", "oauth", r#"{"token":"t0ken"}"#);
        file("aws.test", "aws", r#"{"accessKeyID":"a","secretAccessKey":"b"}"#);
        let read = Configuration::read(&[directory.path().to_owned()]).unwrap().credentials;
        let header = |text: &str| Some(Credential::Header(text.to_owned()));
        assert_eq!(read.get("basic.test").cloned(), header("Basic Y2k6czNjcmV0"));
        assert_eq!(read.get("oauth.test").cloned(), header("Bearer t0ken"));
        let key = AwsKey { id: "a".to_owned(), secret: "b".to_owned(), region: None };
        assert_eq!(read.get("aws.test"), Some(&Credential::Aws(key)));
        assert!(!format!("{read:?}").contains("t0ken"));
    }

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
    fn keys_of_images_are_by_prefix() {
        let directory = tempfile::tempdir().unwrap();
        let layer = |name: &str, files: &[(&str, &str, &str)]| {
            let path = directory.path().join(name);
            fs::create_dir_all(path.join("keys.d")).unwrap();
            for (file, prefix, passphrase) in files {
                let text = format!(
                    r#"{{"rktKind":"imageKey","rktVersion":"v1","prefixes":["{prefix}"],"passphraseFile":"{passphrase}"}}"#
                );
                fs::write(path.join("keys.d").join(file), text).unwrap();
            }
            path
        };
        let vendor = layer("vendor", &[("a.json", "a.test", "/a"), ("b.json", "b.test", "/b")]);
        let local = layer("local", &[("b.json", "b.test", "/other")]);
        let read = Configuration::read(&[vendor, local]).unwrap().image_keys;
        let want = [("a.test", "/a"), ("b.test", "/other")];
        assert_eq!(read, want.map(|(prefix, path)| (prefix.to_owned(), path.into())).into());
        let twice = layer("twice", &[("a.json", "a.test", "/a"), ("b.json", "a.test", "/b")]);
        let error = Configuration::read(&[twice]).unwrap_err().to_string();
        assert!(error.contains("b.json: image key for prefix \"a.test\" is already specified"), "{error}");
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
