//! Operating systems and architectures, in appc's names and in Go's.

use super::TypeError;

/// Known pairs (spec, image manifest, with the additions of the reference library).
const KNOWN: [(&str, &[&str]); 3] = [
    (
        "linux",
        &[
            "amd64",
            "i386",
            "aarch64",
            "aarch64_be",
            "armv6l",
            "armv7l",
            "armv7b",
            "ppc64",
            "ppc64le",
            "s390x",
        ],
    ),
    ("freebsd", &["amd64", "i386", "arm"]),
    ("darwin", &["x86_64", "i386"]),
];

/// appc os and arch, then Go's os, arch and flavour.
const GO: [(&str, &str, &str, &str, &str); 14] = [
    ("linux", "amd64", "linux", "amd64", ""),
    ("linux", "i386", "linux", "386", ""),
    ("linux", "aarch64", "linux", "arm64", ""),
    ("linux", "armv6l", "linux", "arm", "6"),
    ("linux", "armv7l", "linux", "arm", "7"),
    ("linux", "ppc64", "linux", "ppc64", ""),
    ("linux", "ppc64le", "linux", "ppc64le", ""),
    ("linux", "s390x", "linux", "s390x", ""),
    ("freebsd", "amd64", "freebsd", "amd64", ""),
    ("freebsd", "i386", "freebsd", "386", ""),
    ("freebsd", "arm", "freebsd", "arm", "6"),
    ("darwin", "x86_64", "darwin", "amd64", ""),
    ("darwin", "i386", "darwin", "386", ""),
    ("linux", "armv6l", "linux", "arm", ""),
];

/// Checks an `os` label and, where there is one, the `arch` label beside it.
///
/// # Errors
/// Where the operating system, or the architecture for it, is unknown.
pub fn check_os_arch(os: &str, arch: Option<&str>) -> Result<(), TypeError> {
    let Some((_, known)) = KNOWN.iter().find(|(name, _)| *name == os) else {
        let names: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
        return Err(TypeError::new(os, format!("bad os {os:?} (must be one of: {names:?})")));
    };
    match arch {
        Some(arch) if !known.contains(&arch) => {
            Err(TypeError::new(arch, format!("bad arch {arch:?} for {os} (must be one of: {known:?})")))
        }
        _ => Ok(()),
    }
}

/// The machine that this program was built for, in appc's names.
pub fn host_os_arch() -> (&'static str, &'static str) {
    let big = cfg!(target_endian = "big");
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        "aarch64" if big => "aarch64_be",
        "arm" if big => "armv7b",
        "arm" if cfg!(target_feature = "v7") => "armv7l",
        "arm" => "armv6l",
        "powerpc64" if big => "ppc64",
        "powerpc64" => "ppc64le",
        other => other,
    };
    (std::env::consts::OS, arch)
}

/// appc's names for a platform in Go's names, or `None` where there are none.
pub fn from_go(os: &str, arch: &str, flavor: &str) -> Option<(&'static str, &'static str)> {
    let exact = GO.iter().find(|row| (row.2, row.3, row.4) == (os, arch, flavor));
    // FreeBSD names one ARM for all its versions.
    let any = || GO.iter().find(|row| row.2 == "freebsd" && (row.2, row.3) == (os, arch));
    exact.or_else(any).map(|row| (row.0, row.1))
}

/// Go's names (os, arch, flavour) for a platform in appc's names, or `None` where there are none.
pub fn to_go(os: &str, arch: &str) -> Option<(&'static str, &'static str, &'static str)> {
    GO.iter().find(|row| (row.0, row.1) == (os, arch)).map(|row| (row.2, row.3, row.4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known() {
        let (os, arch) = host_os_arch();
        assert!(check_os_arch(os, Some(arch)).is_ok());
    }

    // APPC-018
    #[test]
    fn names_translate_both_ways() {
        for row in &GO[..13] {
            assert_eq!(from_go(row.2, row.3, row.4), Some((row.0, row.1)));
            assert_eq!(to_go(row.0, row.1), Some((row.2, row.3, row.4)));
        }
        assert_eq!(from_go("linux", "arm", ""), Some(("linux", "armv6l")));
        assert_eq!(from_go("freebsd", "arm", "7"), Some(("freebsd", "arm")));
        assert_eq!(from_go("linux", "mips", ""), None);
        assert_eq!(to_go("linux", "aarch64_be"), None);
    }
}
