//! Settings of the host's kernel that forwarding needs.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::error::{Result, failed};

const SETTINGS: &str = "/proc/sys/net";

/// Whether the host uses IPv6.
pub(crate) fn has_ipv6() -> bool {
    fs::read_to_string(Path::new(SETTINGS).join("ipv6/conf/all/disable_ipv6"))
        .is_ok_and(|text| text.trim() == "0")
}

/// Has the kernel forward packets between interfaces.
pub(crate) fn forward(ipv6: bool) -> Result<()> {
    turn_on("ipv4/ip_forward")?;
    if ipv6 && !is("ipv6/conf/all/forwarding", "1") {
        // A machine that forwards passes over what routers announce, unless it is told not to: its own way out may be
        // one of those.
        for interface in entries("ipv6/conf")? {
            let setting = format!("ipv6/conf/{interface}/accept_ra");
            if is(&setting, "1") {
                set(&setting, "2")?;
            }
        }
        set("ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

/// Lets packets from this machine's loopback addresses leave through an interface. What comes in by it to those
/// addresses is dropped by our packet filter.
pub(crate) fn let_loopback_out(interface: &str) -> Result<()> {
    turn_on(&format!("ipv4/conf/{interface}/route_localnet"))
}

/// Has an interface's own address count at once, without asking whether somebody else has it: there is nobody at the other
/// end but ourselves. Until it counts, the kernel forwards no IPv6 packet through the interface.
pub(crate) fn trust_own_address(interface: &str) -> Result<()> {
    let setting = format!("ipv6/conf/{interface}/accept_dad");
    if path(&setting).exists() { set(&setting, "0") } else { Ok(()) }
}

fn turn_on(setting: &str) -> Result<()> {
    if is(setting, "1") { Ok(()) } else { set(setting, "1") }
}

fn is(setting: &str, value: &str) -> bool {
    fs::read_to_string(path(setting)).is_ok_and(|text| text.trim() == value)
}

fn set(setting: &str, value: &str) -> Result<()> {
    let path = path(setting);
    fs::write(&path, value).map_err(failed("set", path.display()))
}

fn path(setting: &str) -> PathBuf {
    Path::new(SETTINGS).join(setting)
}

fn entries(directory: &str) -> Result<Vec<String>> {
    let path = path(directory);
    match fs::read_dir(&path) {
        Ok(entries) => {
            Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("list", path.display())(error)),
    }
}
