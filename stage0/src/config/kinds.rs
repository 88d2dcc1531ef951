//! The kinds of configuration files: what each may say. Every file is checked, whatever command reads it, so that a
//! mistake is told when it is made.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use appc::types::AcIdentifier;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;

use crate::oci::Basic;

/// What a host wants to see.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// The value of the header `Authorization`.
    Header(String),
    /// A signature of each request for a download.
    Aws(AwsKey),
}

/// What requests to S3 are signed with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AwsKey {
    /// The access key's ID.
    pub(crate) id: String,
    /// The secret access key.
    pub(crate) secret: String,
    /// The region, where it is not to be guessed from the host.
    pub(crate) region: Option<String>,
}

/// Secrets are printed nowhere.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Header(_) => "Header(..)",
            Credential::Aws(_) => "Aws(..)",
        })
    }
}

/// What a file says that other files of its directory must not say too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    /// Credentials for a host (`auth`).
    Domain(String, Credential),
    /// Credentials for a registry (`dockerAuth`).
    Registry(String, Basic),
    /// The file with the passphrase of encrypted images of these names (`imageKey`).
    ImageKey(String, PathBuf),
    /// Where pods and images are.
    Data(String),
    /// Where stage1 images are.
    Stage1Images(String),
    /// Name and version of the stage1 to use.
    Stage1Name(String, String),
    /// Where the stage1 to use comes from.
    Stage1Location(String),
}

impl Setting {
    /// Whether both say the same thing of the same object.
    pub(super) fn conflicts(&self, other: &Setting) -> bool {
        match (self, other) {
            (Setting::Domain(a, _), Setting::Domain(b, _))
            | (Setting::Registry(a, _), Setting::Registry(b, _))
            | (Setting::ImageKey(a, _), Setting::ImageKey(b, _)) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// In words, for an error.
    pub(super) fn describe(&self) -> String {
        match self {
            Setting::Domain(domain, _) => format!("credentials for domain {domain:?}"),
            Setting::Registry(registry, _) => format!("credentials for registry {registry:?}"),
            Setting::ImageKey(prefix, _) => format!("image key for prefix {prefix:?}"),
            Setting::Data(_) => "data directory".to_owned(),
            Setting::Stage1Images(_) => "stage1 images directory".to_owned(),
            Setting::Stage1Name(..) => "stage1 name and version".to_owned(),
            Setting::Stage1Location(_) => "stage1 location".to_owned(),
        }
    }
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    domains: Vec<String>,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    credentials: Credentials,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Credentials {
    user: String,
    password: String,
    token: String,
    #[serde(rename = "accessKeyID")]
    access_key_id: String,
    #[serde(rename = "secretAccessKey")]
    secret_access_key: String,
    #[serde(rename = "awsRegion")]
    aws_region: String,
}

#[derive(Deserialize)]
struct DockerAuth {
    #[serde(default)]
    registries: Vec<String>,
    #[serde(default)]
    credentials: Credentials,
}

#[derive(Deserialize)]
struct ImageKey {
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default, rename = "passphraseFile")]
    passphrase_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[derive(Default)]
struct Paths {
    data: String,
    stage1_images: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stage1 {
    name: String,
    version: String,
    location: String,
}

/// Reads a file's text: one of the kinds that `allowed` names, version 1.
pub(super) fn parse(text: &[u8], allowed: &[&str]) -> Result<Vec<Setting>> {
    let value: Value = serde_json::from_slice(text).context("not valid JSON")?;
    let word = |name: &str| value.get(name).and_then(Value::as_str).filter(|word| !word.is_empty());
    let kind = word("rktKind").context("rktKind is missing")?.to_owned();
    let version = word("rktVersion").context("rktVersion is missing")?.to_owned();
    if !allowed.contains(&kind.as_str()) {
        bail!("rktKind {kind:?} does not belong here (must be one of: {})", allowed.join(", "));
    }
    if version != "v1" {
        bail!("no parser for rktKind {kind:?}, rktVersion {version:?}");
    }
    match kind.as_str() {
        "auth" => auth(Auth::deserialize(value)?),
        "dockerAuth" => docker_auth(DockerAuth::deserialize(value)?),
        "imageKey" => image_key(ImageKey::deserialize(value)?),
        "paths" => paths(Paths::deserialize(value)?),
        _ => stage1(Stage1::deserialize(value)?),
    }
}

fn auth(auth: Auth) -> Result<Vec<Setting>> {
    let credentials = &auth.credentials;
    let needed: [(&str, &String); 2] = match auth.kind.as_str() {
        "basic" => [("user", &credentials.user), ("password", &credentials.password)],
        "oauth" => [("token", &credentials.token); 2],
        // The region is guessed where it is missing.
        "aws" if credentials.aws_region.contains(char::is_whitespace) => {
            bail!("credentials: awsRegion must not contain spaces")
        }
        "aws" => {
            [("accessKeyID", &credentials.access_key_id), ("secretAccessKey", &credentials.secret_access_key)]
        }
        "" => bail!("type is missing (must be one of: basic, oauth, aws)"),
        other => bail!("unknown type {other:?} (must be one of: basic, oauth, aws)"),
    };
    present(&needed)?;
    let credential = match auth.kind.as_str() {
        "basic" => {
            let both = format!("{}:{}", credentials.user, credentials.password);
            Credential::Header(format!("Basic {}", STANDARD.encode(both)))
        }
        "oauth" => Credential::Header(format!("Bearer {}", credentials.token)),
        _ => Credential::Aws(AwsKey {
            id: credentials.access_key_id.clone(),
            secret: credentials.secret_access_key.clone(),
            region: Some(credentials.aws_region.clone()).filter(|region| !region.is_empty()),
        }),
    };
    named("domains", auth.domains, |domain| Setting::Domain(domain, credential.clone()))
}

fn docker_auth(auth: DockerAuth) -> Result<Vec<Setting>> {
    present(&[("user", &auth.credentials.user), ("password", &auth.credentials.password)])?;
    let basic = Basic::new(&auth.credentials.user, &auth.credentials.password);
    named("registries", auth.registries, |registry| Setting::Registry(registry, basic.clone()))
}

fn image_key(key: ImageKey) -> Result<Vec<Setting>> {
    let path = key.passphrase_file;
    if path.as_os_str().is_empty() {
        bail!("passphraseFile is missing or empty");
    }
    if !path.is_absolute() {
        bail!("passphraseFile must be an absolute path, not {:?}", path.display().to_string());
    }
    for prefix in &key.prefixes {
        if let Err(error) = prefix.parse::<AcIdentifier>() {
            bail!("prefixes: {prefix:?} is no name of an image: {error}");
        }
    }
    named("prefixes", key.prefixes, |prefix| Setting::ImageKey(prefix, path.clone()))
}

/// Refuses credentials that lack something.
fn present(needed: &[(&str, &String)]) -> Result<()> {
    match needed.iter().find(|(_, value)| value.is_empty()) {
        Some((name, _)) => bail!("credentials: {name} is missing or empty"),
        None => Ok(()),
    }
}

fn named(field: &str, names: Vec<String>, setting: impl Fn(String) -> Setting) -> Result<Vec<Setting>> {
    if names.is_empty() {
        bail!("{field}: there must be at least one");
    }
    if names.iter().any(String::is_empty) {
        bail!("{field}: must not be empty");
    }
    Ok(names.into_iter().map(setting).collect())
}

fn paths(paths: Paths) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    for (name, path, setting) in [
        ("data", paths.data, Setting::Data as fn(String) -> Setting),
        ("stage1-images", paths.stage1_images, Setting::Stage1Images),
    ] {
        if path.is_empty() {
            continue;
        }
        if !Path::new(&path).is_absolute() {
            bail!("{name} must be an absolute path, not {path:?}");
        }
        settings.push(setting(path));
    }
    Ok(settings)
}

fn stage1(stage1: Stage1) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    match (stage1.name.is_empty(), stage1.version.is_empty()) {
        (true, true) => {}
        (false, false) => settings.push(Setting::Stage1Name(stage1.name, stage1.version)),
        _ => bail!("name and version of the stage1 must be given together"),
    }
    let location = stage1.location;
    if !location.is_empty() {
        if !location.starts_with('/') {
            match location.split_once(':') {
                Some(("file" | "docker" | "http" | "https", _)) => {}
                Some((scheme, _)) => {
                    bail!("location: unknown scheme {scheme:?} (must be one of: file, docker, http, https)")
                }
                None => bail!("location is either a relative path or a URL without scheme: {location:?}"),
            }
        }
        settings.push(Setting::Stage1Location(location));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 5] = ["auth", "dockerAuth", "imageKey", "paths", "stage1"];

    fn file(kind: &str, rest: &str) -> String {
        format!(r#"{{"rktKind":"{kind}","rktVersion":"v1",{rest}}}"#)
    }

    #[test]
    fn what_files_say() {
        let text = |text: &str| text.to_owned();
        let header = |value: &str| Credential::Header(value.to_owned());
        for (kind, rest, want) in [
            (
                "auth",
                r#""domains":["a.test","b.test:8443"],"type":"basic","credentials":{"user":"u","password":"p"}"#,
                vec![
                    Setting::Domain(text("a.test"), header("Basic dTpw")),
                    Setting::Domain(text("b.test:8443"), header("Basic dTpw")),
                ],
            ),
            (
                "auth",
                r#""domains":["a.test"],"type":"oauth","credentials":{"token":"t"}"#,
                vec![Setting::Domain(text("a.test"), header("Bearer t"))],
            ),
            (
                "auth",
                r#""domains":["a.test"],"type":"aws","credentials":{"accessKeyID":"k","secretAccessKey":"s"}"#,
                vec![Setting::Domain(
                    text("a.test"),
                    Credential::Aws(AwsKey { id: text("k"), secret: text("s"), region: None }),
                )],
            ),
            (
                "dockerAuth",
                r#""registries":["r.test:5000"],"credentials":{"user":"u","password":"p"}"#,
                vec![Setting::Registry(text("r.test:5000"), Basic::new("u", "p"))],
            ),
            (
                "paths",
                r#""data":"/d","stage1-images":"/s""#,
                vec![Setting::Data(text("/d")), Setting::Stage1Images(text("/s"))],
            ),
            (
                "imageKey",
                r#""prefixes":["a.test/b","c.test"],"passphraseFile":"/p""#,
                vec![
                    Setting::ImageKey(text("a.test/b"), "/p".into()),
                    Setting::ImageKey(text("c.test"), "/p".into()),
                ],
            ),
            ("paths", r#""data":"""#, vec![]),
            (
                "stage1",
                r#""name":"a.test/s","version":"1","location":"https://a.test/s.aci""#,
                vec![
                    Setting::Stage1Name(text("a.test/s"), text("1")),
                    Setting::Stage1Location(text("https://a.test/s.aci")),
                ],
            ),
            ("stage1", r#""location":"/s.aci""#, vec![Setting::Stage1Location(text("/s.aci"))]),
        ] {
            assert_eq!(parse(file(kind, rest).as_bytes(), &ALL).unwrap(), want, "{kind} {rest}");
        }
    }

    #[test]
    fn what_files_must_not_say() {
        let credentials = r#""credentials":{"user":"u","password":"p"}"#;
        for (text, word) in [
            ("{".to_owned(), "JSON"),
            ("[]".to_owned(), "rktKind"),
            (r#"{"rktKind":"paths"}"#.to_owned(), "rktVersion"),
            (r#"{"rktKind":"paths","rktVersion":"v2"}"#.to_owned(), "no parser"),
            (file("other", r#""a":1"#), "must be one of: auth, dockerAuth, imageKey, paths, stage1"),
            (file("paths", r#""data":"d""#), "absolute"),
            (file("paths", r#""data":7"#), "invalid type"),
            (file("auth", &format!(r#""type":"basic",{credentials}"#)), "domains"),
            (file("auth", &format!(r#""domains":[],"type":"basic",{credentials}"#)), "domains"),
            (file("auth", &format!(r#""domains":[""],"type":"basic",{credentials}"#)), "domains"),
            (file("auth", &format!(r#""domains":["a"],{credentials}"#)), "type is missing"),
            (file("auth", &format!(r#""domains":["a"],"type":"magic",{credentials}"#)), "magic"),
            (file("auth", &format!(r#""domains":["a"],"type":"oauth",{credentials}"#)), "token"),
            (file("auth", &format!(r#""domains":["a"],"type":"aws",{credentials}"#)), "accessKeyID"),
            (file("auth", r#""domains":["a"],"type":"basic""#), "user"),
            (file("dockerAuth", r#""registries":["a"],"credentials":{"user":"u"}"#), "password"),
            (file("dockerAuth", credentials), "registries"),
            (file("imageKey", r#""prefixes":["a.test"]"#), "passphraseFile is missing"),
            (file("imageKey", r#""prefixes":["a.test"],"passphraseFile":"b/p""#), "absolute"),
            (file("imageKey", r#""passphraseFile":"/p""#), "prefixes"),
            (file("imageKey", r#""prefixes":["A.test/"],"passphraseFile":"/p""#), "no name of an image"),
            (file("stage1", r#""name":"a""#), "together"),
            (file("stage1", r#""location":"s.aci""#), "relative path or a URL without scheme"),
            (file("stage1", r#""location":"ftp://a/s.aci""#), "ftp"),
        ] {
            let error = format!("{:#}", parse(text.as_bytes(), &ALL).unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
            assert!(!error.contains("\"p\""), "credentials are not told: {error}");
        }
    }
}
