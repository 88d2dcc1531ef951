//! Options for what an app is given besides volumes: `--tmpfs`, `--device`.

use std::os::unix::fs::FileTypeExt;

use anyhow::{Context, Result, bail};
use appc::types::Quantity;
use rkt_pod::extras::{Device, Tmpfs};

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
