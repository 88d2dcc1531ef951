//! Options for what an app is given: `--mount`, `--tmpfs`, `--device`.

use std::os::unix::fs::FileTypeExt;

use anyhow::{Context, Result, bail};
use appc::{
    schema::{Mount, Volume},
    types::Quantity,
};
use rkt_pod::extras::{Device, Owners, Tmpfs};

/// What `--mount` says.
#[derive(Debug)]
pub(super) struct MountOption {
    /// The mount of a volume.
    pub(super) mount: Mount,
    /// Whether nothing appears in it that is mounted on the host later.
    pub(super) private: bool,
    /// Whose its files are, where that was said.
    pub(super) owners: Option<Owners>,
}

/// `volume=NAME,target=PATH[,propagation=slave|private][,idmap=none|UID:GID]`
pub(super) fn mount(text: &str) -> Result<MountOption> {
    let (mut volume, mut path, mut propagation, mut idmap) = (None, None, None, None);
    for part in text.split(',') {
        let slot = match part.split_once('=') {
            Some(("volume", value)) => (&mut volume, value),
            Some(("target", value)) => (&mut path, value),
            Some(("propagation", value @ ("slave" | "private"))) => (&mut propagation, value),
            Some(("propagation", value)) => {
                bail!(
                    "mount {text:?}: propagation={value} is neither slave nor private: no pod mounts on the host"
                )
            }
            Some(("idmap", value)) => (&mut idmap, value),
            _ => bail!("mount {text:?}: {part:?} is neither volume=NAME nor target=PATH"),
        };
        if slot.0.replace(slot.1).is_some() {
            bail!("mount {text:?}: {part:?} is given twice");
        }
    }
    let volume = volume.with_context(|| format!("mount {text:?}: volume is missing"))?;
    let path = path.filter(|path| path.starts_with('/'));
    let path = path.with_context(|| format!("mount {text:?}: target must be an absolute path"))?;
    let volume = volume.parse().with_context(|| format!("mount {text:?}"))?;
    Ok(MountOption {
        mount: Mount { volume, path: path.to_owned(), app_volume: None },
        private: propagation == Some("private"),
        owners: idmap.map(owners).transpose().with_context(|| format!("mount {text:?}"))?,
    })
}

/// A volume of an app alone, and where it goes: `NAME,…,target=PATH`.
pub(super) fn mounted_volume(text: &str) -> Result<Mount> {
    let (targets, volume): (Vec<&str>, Vec<&str>) =
        text.split(',').partition(|part| part.starts_with("target="));
    let [target] = targets.as_slice() else { bail!("{text:?} must have one target=PATH") };
    let volume: Volume = volume.join(",").parse().with_context(|| text.to_owned())?;
    let path = absolute(&target["target=".len()..])?;
    Ok(Mount { volume: volume.name.clone(), path, app_volume: Some(volume) })
}

fn owners(text: &str) -> Result<Owners> {
    // The largest number is the kernel's sign for none.
    let id = |text: &str| text.parse().ok().filter(|id| *id != u32::MAX);
    let ids = text.split_once(':').and_then(|(uid, gid)| Some((id(uid)?, id(gid)?)));
    match (text, ids) {
        ("none", _) => Ok(Owners::Host),
        (_, Some((uid, gid))) => Ok(Owners::Root { uid, gid }),
        _ => bail!("idmap={text} is neither none nor UID:GID, the pod's root on the host"),
    }
}

/// `TARGET[:size=BYTES][,mode=OCTAL]`
pub(super) fn tmpfs(text: &str) -> Result<Tmpfs> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut tmpfs = Tmpfs { target: absolute(target)?, size: None, mode: 0o1777 };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) if tmpfs.size.is_none() => {
                let quantity: Quantity = value.parse().context("size")?;
                let size = quantity.units().filter(|size| *size > 0);
                tmpfs.size = Some(size.with_context(|| format!("size={value}: must be some bytes"))?);
            }
            Some(("mode", value)) => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                tmpfs.mode = mode.with_context(|| format!("mode={value}: must be octal, at most 7777"))?;
            }
            _ => bail!("{option:?} is not size=BYTES or mode=OCTAL"),
        }
    }
    Ok(tmpfs)
}

/// `SOURCE[:TARGET][:rwm]`
pub(super) fn device(text: &str) -> Result<Device> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, access) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, second] if second.starts_with('/') => (source, second, "rwm"),
        [source, access] => (source, source, access),
        [source, target, access] => (source, target, access),
        _ => bail!("{text:?} is not SOURCE[:TARGET][:rwm]"),
    };
    let is_access = !access.is_empty()
        && access.chars().all(|letter| "rwm".contains(letter))
        && access.chars().enumerate().all(|(at, letter)| access.find(letter) == Some(at));
    if !is_access {
        bail!("{access:?} is not made of r, w and m, each at most once");
    }
    let device = Device { source: absolute(source)?, target: absolute(target)?, access: access.to_owned() };
    let kind = std::fs::metadata(source).with_context(|| source.to_owned())?.file_type();
    if !kind.is_char_device() && !kind.is_block_device() {
        bail!("{source} is no device");
    }
    Ok(device)
}

fn absolute(path: &str) -> Result<String> {
    let parts = std::path::Path::new(path).components();
    let leads_up = parts.clone().any(|part| part == std::path::Component::ParentDir);
    if !path.starts_with('/') || leads_up || parts.count() < 2 {
        bail!("{path:?} must be an absolute path without \"..\"");
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_in_memory_has_a_size_and_a_mode() {
        let want = Tmpfs { target: "/run".to_owned(), size: Some(64 << 20), mode: 0o755 };
        assert_eq!(tmpfs("/run:size=64Mi,mode=755").unwrap(), want);
        assert_eq!(tmpfs("/run").unwrap(), Tmpfs { size: None, mode: 0o1777, ..want });
        for wrong in ["run", "/", "/a/../b", "/run:size=0", "/run:size=x", "/run:mode=9", "/run:exec", ""] {
            assert!(tmpfs(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mount_says_whose_its_files_are() {
        let parse = |text: &str| mount(&format!("volume=data,target=/data,{text}"));
        assert_eq!(parse("idmap=none").unwrap().owners, Some(Owners::Host));
        assert_eq!(parse("idmap=7:8").unwrap().owners, Some(Owners::Root { uid: 7, gid: 8 }));
        for wrong in
            ["idmap=", "idmap=7", "idmap=7:", "idmap=-1:0", "idmap=4294967295:0", "idmap=none,idmap=none"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_device_is_one_and_says_what_may_be_done_with_it() {
        let null = |target: &str, access: &str| Device {
            source: "/dev/null".to_owned(),
            target: target.to_owned(),
            access: access.to_owned(),
        };
        assert_eq!(device("/dev/null").unwrap(), null("/dev/null", "rwm"));
        assert_eq!(device("/dev/null:/dev/x").unwrap(), null("/dev/x", "rwm"));
        assert_eq!(device("/dev/null:r").unwrap(), null("/dev/null", "r"));
        assert_eq!(device("/dev/null:/dev/x:rw").unwrap(), null("/dev/x", "rw"));
        for wrong in
            ["/etc/passwd", "/dev", "/dev/none", "null", "/dev/null:rx", "/dev/null:rr", "/dev/null:/a:r:w"]
        {
            assert!(device(wrong).is_err(), "{wrong}");
        }
    }
}
