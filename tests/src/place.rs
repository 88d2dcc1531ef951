//! Where things are on the machine that runs the tests.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Who starts the apps in this run of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launcher {
    /// stage1 itself.
    Direct,
    /// Transient units of the system's systemd.
    Systemd,
}

impl Launcher {
    /// The launcher that `RKT_TEST_SUPERVISOR` names.
    ///
    /// # Panics
    /// Where it names none.
    pub fn under_test() -> Launcher {
        match env::var("RKT_TEST_SUPERVISOR").as_deref() {
            Err(_) | Ok("" | "direct") => Launcher::Direct,
            Ok("systemd") => Launcher::Systemd,
            Ok(other) => panic!("RKT_TEST_SUPERVISOR is {other:?}: direct or systemd"),
        }
    }

    /// The word after `--supervisor=`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Launcher::Direct => "direct",
            Launcher::Systemd => "systemd",
        }
    }
}

/// Whether this is a system of the testbed, which has all packages that tests need.
pub fn is_testbed() -> bool {
    env::var_os("RKT_TEST_SUITE").is_some()
}

/// The directory with `rkt`, `actool`, `stage1`, `init` and `app-exec`.
pub(crate) fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let directory = env::var_os("RKT_TEST_BIN_DIR").map_or_else(beside_this_test, PathBuf::from);
        for name in ["rkt", "actool", "stage1", "init", "app-exec"] {
            let program = directory.join(name);
            assert!(program.exists(), "{} is missing: cargo build --workspace", program.display());
        }
        directory
    })
}

/// Test programs are in `target/<triple>/<profile>/deps`.
fn beside_this_test() -> PathBuf {
    let this = env::current_exe().expect("path of the test program");
    let deps = this.parent().expect("a directory");
    if deps.ends_with("deps") { deps.parent().expect("a directory").to_owned() } else { deps.to_owned() }
}

/// Where tests keep their directories: a file system on which overlays can be made.
pub(crate) fn scratch() -> PathBuf {
    if let Some(directory) = env::var_os("RKT_TEST_DIR") {
        return directory.into();
    }
    let directory = Path::new("/var/tmp");
    if is_overlay(directory) { "/dev/shm".into() } else { directory.into() }
}

fn is_overlay(directory: &Path) -> bool {
    const OVERLAYFS_SUPER_MAGIC: u64 = 0x794c_7630;
    rustix::fs::statfs(directory).is_ok_and(|found| u64::try_from(found.f_type) == Ok(OVERLAYFS_SUPER_MAGIC))
}

/// The host's static busybox, which is the whole content of most test images.
///
/// # Panics
/// Where there is none, or it needs a dynamic loader.
pub fn host_busybox() -> &'static Path {
    static BUSYBOX: OnceLock<&'static Path> = OnceLock::new();
    BUSYBOX.get_or_init(|| {
        let found =
            ["/usr/bin/busybox", "/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
        let busybox = found.expect("busybox is missing: apt-get install busybox-static");
        let content = fs::read(busybox).expect("read busybox");
        let dynamic = content.windows(6).any(|window| window == b"/ld-li");
        assert!(!dynamic, "{} is not static: apt-get install busybox-static", busybox.display());
        busybox
    })
}
