//! What registries want to see: from our configuration, else from where Docker's and Podman's users keep it.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::reference::DEFAULT_REGISTRY;

/// Docker's names for its own registry in its configuration.
const DEFAULT_NAMES: [&str; 4] =
    ["https://index.docker.io/v1/", "index.docker.io", "docker.io", DEFAULT_REGISTRY];

/// A user and a password, as base64 of `user:password`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Basic(String);

impl Basic {
    pub(crate) fn new(user: &str, password: &str) -> Basic {
        Basic(STANDARD.encode(format!("{user}:{password}")))
    }

    /// The value of the header `Authorization`.
    pub(super) fn header(&self) -> String {
        format!("Basic {}", self.0)
    }
}

/// Secrets are printed nowhere.
impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Basic(..)")
    }
}

/// A `config.json` of Docker, or an `auth.json` of Podman.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry(..)")
    }
}

/// What a credential helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// What is to be shown to a registry for a repository.
///
/// # Errors
/// Where a file cannot be read, or a helper fails.
pub(super) fn find(
    configured: &BTreeMap<String, Basic>,
    registry: &str,
    repository: &str,
) -> Result<Option<Basic>> {
    if let Some(basic) = configured.get(registry) {
        return Ok(Some(basic.clone()));
    }
    for path in files() {
        let Ok(text) = fs::read(&path) else { continue };
        let file: File =
            serde_json::from_slice(&text).with_context(|| format!("credentials {}", path.display()))?;
        if let Some(basic) =
            file.find(registry, repository).with_context(|| format!("credentials {}", path.display()))?
        {
            return Ok(Some(basic));
        }
    }
    Ok(None)
}

/// Where such files are; the first that knows a registry counts.
fn files() -> Vec<PathBuf> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("HOME");
    let docker = variable("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
    [
        variable("REGISTRY_AUTH_FILE"),
        variable("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json")),
        docker.map(|directory| directory.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl File {
    fn find(&self, registry: &str, repository: &str) -> Result<Option<Basic>> {
        let hosts: Vec<&str> =
            if registry == DEFAULT_REGISTRY { DEFAULT_NAMES.to_vec() } else { vec![registry] };
        for host in &hosts {
            if let Some(helper) = self.cred_helpers.get(*host) {
                return ask(helper, host);
            }
        }
        // Podman's may be for a part of a registry; the longest that fits counts.
        let mut scope = repository;
        loop {
            for host in &hosts {
                if let Some(entry) = self.auths.get(&format!("{host}/{scope}")) {
                    return entry.basic();
                }
            }
            match scope.rsplit_once('/') {
                Some((parent, _)) => scope = parent,
                None => break,
            }
        }
        for host in &hosts {
            let entry = self.auths.get(*host).or_else(|| self.auths.get(&format!("https://{host}")));
            match entry.map(Entry::basic).transpose()?.flatten() {
                Some(basic) => return Ok(Some(basic)),
                // Docker leaves an empty entry where a store has the secret.
                None if !self.creds_store.is_empty() => {
                    if let Some(basic) = ask(&self.creds_store, host)? {
                        return Ok(Some(basic));
                    }
                }
                None => {}
            }
        }
        Ok(None)
    }
}

impl Entry {
    fn basic(&self) -> Result<Option<Basic>> {
        if !self.username.is_empty() {
            return Ok(Some(Basic::new(&self.username, &self.password)));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let decoded = STANDARD.decode(self.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|text| text.trim_end_matches('\0').split_once(':')) {
            Some((user, password)) => Ok(Some(Basic::new(user, password))),
            None => bail!("an \"auth\" is not base64 of user:password"),
        }
    }
}

/// Asks `docker-credential-<helper>`. That it does not know a registry is no error.
fn ask(helper: &str, host: &str) -> Result<Option<Basic>> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if helper.is_empty() || !helper.bytes().all(is_name) {
        bail!("{helper:?} is no name of a credential helper");
    }
    let program = format!("docker-credential-{helper}");
    let run = || -> std::io::Result<std::process::Output> {
        let mut child = Command::new(&program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(host.as_bytes())?;
        }
        child.wait_with_output()
    };
    let output = run().with_context(|| format!("run {program}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        if text.contains("credentials not found") {
            return Ok(None);
        }
        let said = rkt_pod::message::plain(text.lines().next().unwrap_or_default());
        bail!("{program} get {host}: {said}");
    }
    let answer: Answer =
        serde_json::from_str(&text).with_context(|| format!("the answer of {program} get {host}"))?;
    if answer.username == "<token>" {
        bail!("{program}: it has an identity token for {host}, which is not supported; use a password");
    }
    Ok(Some(Basic::new(&answer.username, &answer.secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, registry: &str, repository: &str) -> Result<Option<Basic>> {
        serde_json::from_str::<File>(text).unwrap().find(registry, repository)
    }

    #[test]
    fn the_nearest_entry_of_a_file_counts() {
        let file = format!(
            r#"{{"auths": {{"h.test": {{"auth": "{}"}}, "h.test/a/b": {{"username": "b", "password": "p"}},
                "https://index.docker.io/v1/": {{"auth": "{}"}}, "e.test": {{}}, "s.test": {{"auth": "%"}}}}}}"#,
            STANDARD.encode("whole:p:q"),
            STANDARD.encode("docker:p"),
        );
        for (registry, repository, want) in [
            ("h.test", "x", Some(("whole", "p:q"))),
            ("h.test", "a/b", Some(("b", "p"))),
            ("h.test", "a/b/c", Some(("b", "p"))),
            ("h.test", "a/bc", Some(("whole", "p:q"))),
            (DEFAULT_REGISTRY, "library/redis", Some(("docker", "p"))),
            ("e.test", "x", None),
            ("h.test:5000", "x", None),
            ("evil.h.test", "x", None),
        ] {
            let want = want.map(|(user, password)| Basic::new(user, password));
            assert_eq!(found(&file, registry, repository).unwrap(), want, "{registry}/{repository}");
        }
        assert!(found(&file, "s.test", "x").is_err());
    }

    #[test]
    fn a_helper_is_a_name_and_not_a_path() {
        for helper in ["../../tmp/x", "a b", "x;y", ""] {
            let file = format!(r#"{{"credHelpers": {{"h.test": "{helper}"}}}}"#);
            assert!(found(&file, "h.test", "x").unwrap_err().to_string().contains("no name"), "{helper}");
        }
    }
}
