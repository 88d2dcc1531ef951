//! Reading the configurations of networks.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use super::{
    Cni, Kind, Native, Network, Selection, Wanted,
    native::{TYPE, built_in},
};
use crate::error::{Error, Result, failed, refused};

/// More than a configuration ever has.
const LONGEST: u64 = 1024 * 1024;

/// How long each plugin may take, in seconds: our own addition to a configuration.
const TIMEOUT: &str = "rktTimeout";
const USUAL_TIMEOUT: Duration = Duration::from_secs(30);

/// All networks, and what is to be said about how they were found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// In the order of their files' names.
    pub networks: Vec<Network>,
    /// Which configurations took the place of others.
    pub notices: Vec<String>,
}

/// Reads the configurations in these directories, the built-in ones first. Later ones take the place of earlier ones of the
/// same name. A directory need not exist.
///
/// # Errors
/// Where a configuration cannot be read or is not one, whether a pod wants its network or not.
pub fn load(directories: &[PathBuf]) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    for (file, config) in built_in() {
        loaded.networks.push(read(file, config).map_err(Error::Refused)?);
    }
    for directory in directories {
        let mut own: Vec<Network> = Vec::new();
        for network in from_directory(directory)? {
            if own.iter().any(|earlier| earlier.name == network.name) {
                loaded.notices.push(format!(
                    "network {:?}: {} is passed over: an earlier file has one of that name",
                    network.name,
                    directory.join(&network.file).display()
                ));
                continue;
            }
            own.push(network);
        }
        for network in own {
            if let Some(earlier) = loaded.networks.iter_mut().find(|earlier| earlier.name == network.name) {
                loaded.notices.push(format!(
                    "network {:?}: {} takes the place of an earlier configuration",
                    network.name,
                    directory.join(&network.file).display()
                ));
                *earlier = network;
            } else {
                loaded.networks.push(network);
            }
        }
    }
    loaded.networks.sort_by(|a, b| a.file.cmp(&b.file));
    check_overlaps(&loaded.networks)?;
    Ok(loaded)
}

/// Refuses networks of ours that would give the same address to two pods.
fn check_overlaps(networks: &[Network]) -> Result<()> {
    let ours: Vec<(&str, &Native)> = networks
        .iter()
        .filter_map(|network| match &network.kind {
            Kind::Native(native) => Some((network.name.as_str(), native)),
            Kind::Cni(_) => None,
        })
        .collect();
    for (index, (name, native)) in ours.iter().enumerate() {
        for (other, theirs) in &ours[..index] {
            if native.subnet4.overlaps(theirs.subnet4) {
                return refused(format!(
                    "networks {other:?} and {name:?}: their ranges {} and {} overlap",
                    theirs.subnet4, native.subnet4
                ));
            }
            if native.subnet6.is_some() && native.subnet6 == theirs.subnet6 {
                return refused(format!("networks {other:?} and {name:?} have the same IPv6 range"));
            }
        }
    }
    Ok(())
}

/// The networks of one directory, in the order of their files' names.
pub(crate) fn from_directory(directory: &Path) -> Result<Vec<Network>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed("list", directory.display()))?,
    };
    let mut names: Vec<String> = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("list", directory.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if (name.ends_with(".conf") || name.ends_with(".conflist")) && entry.path().is_file() {
            names.push(name);
        }
    }
    names.sort();
    let one = |name: &String| {
        let path = directory.join(name);
        let config = parse(&path)?;
        read(name, config).map_err(|reason| Error::Refused(format!("{}: {reason}", path.display())))
    };
    names.iter().map(one).collect()
}

fn parse(path: &Path) -> Result<Value> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text))
        .map_err(failed("read", path.display()))?;
    if text.len() as u64 > LONGEST {
        return refused(format!("{}: longer than {LONGEST} bytes", path.display()));
    }
    serde_json::from_str(&text).map_err(|error| Error::Refused(format!("{}: {error}", path.display())))
}

/// Makes a network out of its configuration.
fn read(file: &str, config: Value) -> Result<Network, String> {
    let name = config["name"].as_str().ok_or("it has no name")?.to_owned();
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !first || name.len() > 64 || !name.bytes().all(valid) {
        return Err(format!("{name:?} cannot be a network's name: letters, digits, `_`, `.` and `-`"));
    }
    if matches!(name.as_str(), "host" | "none" | "all") {
        return Err(format!("{name:?} is a word of --net and cannot be a network's name"));
    }
    let kind = if config["type"] == TYPE {
        Kind::Native(Native::read(&config)?)
    } else {
        Kind::Cni(Cni::read(&config)?)
    };
    Ok(Network { name, file: file.to_owned(), config, kind })
}

impl Cni {
    fn read(config: &Value) -> Result<Cni, String> {
        let version = match &config["cniVersion"] {
            Value::Null => "0.1.0".to_owned(),
            Value::String(version) => version.clone(),
            _ => return Err("cniVersion is not a string".to_owned()),
        };
        if !["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"].contains(&version.as_str()) {
            return Err(format!("cniVersion {version:?} is none that rkt knows: 0.1.0 to 1.1.0"));
        }
        let plugins = match &config["plugins"] {
            Value::Null => vec![config.clone()],
            Value::Array(plugins) if !plugins.is_empty() => plugins.clone(),
            _ => return Err("plugins is not a list of plugins".to_owned()),
        };
        for plugin in &plugins {
            let kind = plugin["type"].as_str().ok_or("a plugin has no type")?;
            if kind.is_empty() || kind.contains('/') || kind.starts_with('.') {
                return Err(format!("{kind:?} cannot be a plugin's name"));
            }
        }
        let timeout = match &config[TIMEOUT] {
            Value::Null => USUAL_TIMEOUT,
            value => match value.as_u64() {
                Some(seconds) if (1..=3600).contains(&seconds) => Duration::from_secs(seconds),
                _ => return Err(format!("{TIMEOUT} must be from 1 to 3600 seconds")),
            },
        };
        let [disable_check, disable_gc] = ["disableCheck", "disableGC"].map(|key| config[key] == true);
        Ok(Cni { version, plugins, disable_check, disable_gc, timeout })
    }
}

impl Loaded {
    /// The networks of a selection, each with what its plugin is told.
    ///
    /// # Errors
    /// Where there is no network of a name.
    pub fn select(&self, selection: &Selection) -> Result<Vec<(Network, String)>> {
        let wanted: Vec<Wanted> = match selection {
            Selection::Host | Selection::None => return Ok(Vec::new()),
            Selection::Networks(wanted) => wanted.clone(),
            Selection::All => {
                let all = self.networks.iter();
                all.map(|network| Wanted { name: network.name.clone(), args: String::new() }).collect()
            }
        };
        let known = |wanted: &&Wanted| self.networks.iter().any(|network| network.name == wanted.name);
        let unknown: Vec<&str> =
            wanted.iter().filter(|wanted| !known(wanted)).map(|wanted| wanted.name.as_str()).collect();
        if !unknown.is_empty() {
            return refused(format!("networks not found: {}", unknown.join(", ")));
        }
        let args = |network: &Network| {
            wanted.iter().find(|wanted| wanted.name == network.name).map(|wanted| wanted.args.clone())
        };
        let selected = self.networks.iter();
        Ok(selected.filter_map(|network| Some((network.clone(), args(network)?))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(loaded: &Loaded) -> Vec<&str> {
        loaded.networks.iter().map(|network| network.name.as_str()).collect()
    }

    #[test]
    fn later_directories_win_and_files_sort() {
        let base = tempfile::tempdir().unwrap();
        let (system, local) = (base.path().join("system"), base.path().join("local"));
        for (directory, file, text) in [
            (&system, "10-b.conf", r#"{"name": "b", "type": "bridge"}"#),
            (&system, "20-b.conf", r#"{"name": "b", "type": "macvlan"}"#),
            (&system, "note.txt", "not one"),
            (
                &local,
                "30-b.conflist",
                r#"{"name": "b", "cniVersion": "1.0.0", "plugins": [{"type": "ptp"}]}"#,
            ),
            (&local, "40-c.conf", r#"{"name": "c", "type": "rkt", "ipam": {"subnet": "10.0.0.0/24"}}"#),
        ] {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join(file), text).unwrap();
        }
        let loaded = load(&[system, local, base.path().join("none")]).unwrap();
        assert_eq!(names(&loaded), ["b", "c", "default-restricted", "default"]);
        assert_eq!(loaded.networks[0].file, "30-b.conflist");
        assert_eq!(loaded.notices.len(), 2, "{:?}", loaded.notices);
        let select = |list: &str| loaded.select(&Selection::read(&[list.to_owned()]).unwrap());
        let chosen = select("default:IP=172.16.28.9,b").unwrap();
        let chosen: Vec<_> =
            chosen.iter().map(|(network, args)| (network.name.as_str(), args.as_str())).collect();
        assert_eq!(chosen, [("b", ""), ("default", "IP=172.16.28.9")]);
        assert_eq!(select("all").unwrap().len(), 4);
        assert_eq!(select("x,b,y").unwrap_err().to_string(), "networks not found: x, y");
    }

    #[test]
    fn a_bad_configuration_is_refused_by_name() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("10-x.conf");
        for (text, want) in [
            ("", "EOF"),
            ("[]", "it has no name"),
            (r#"{"name": "x"}"#, "a plugin has no type"),
            (r#"{"name": "../x", "type": "ptp"}"#, "cannot be a network's name"),
            (r#"{"name": "host", "type": "ptp"}"#, "is a word of --net"),
            (r#"{"name": "x", "type": "../ptp"}"#, "cannot be a plugin's name"),
            (r#"{"name": "x", "type": "ptp", "cniVersion": "9.0"}"#, "none that rkt knows"),
            (r#"{"name": "x", "plugins": []}"#, "not a list of plugins"),
            (r#"{"name": "x", "type": "ptp", "rktTimeout": 0}"#, "rktTimeout must be"),
            (r#"{"name": "x", "type": "rkt", "ipam": {"subnet": "10.0.0.0/33"}}"#, "from 8 to 30"),
            (r#"{"name": "x", "type": "rkt", "ipam": {"subnet": "10.0.0.0/8"}, "mtu": 3}"#, "mtu must be"),
            (r#"{"name": "x", "type": "rkt", "ipam": {"subnet": "10.0.0.0/8"}, "mtv": 3}"#, "unknown field"),
        ] {
            fs::write(&file, text).unwrap();
            let error = load(&[base.path().to_owned()]).unwrap_err().to_string();
            assert!(error.contains("10-x.conf") && error.contains(want), "{text}: {error}");
        }
        fs::write(&file, vec![b' '; 1024 * 1024 + 1]).unwrap();
        assert!(load(&[base.path().to_owned()]).unwrap_err().to_string().contains("longer than"));
    }
}
