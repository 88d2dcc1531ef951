//! Kernel settings that each pod has for itself (sysctl; appc spec, `os/unix/sysctl`).

/// The namespace that a setting belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The network.
    Network,
    /// System V's and POSIX's means of communication.
    Ipc,
    /// Names of the machine.
    Names,
}

/// Settings of the IPC namespace. All below `fs.mqueue` are, too.
const IPC: [&str; 11] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.msg_next_id",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_next_id",
    "kernel.shm_rmid_forced",
];

/// Whose a setting is; `None` where it is the whole machine's, or no setting's name.
pub fn owner(key: &str) -> Option<Owner> {
    let is_name = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    if !key.split('.').all(is_name) {
        return None;
    }
    match key.split_once('.')? {
        ("net", _) => Some(Owner::Network),
        ("fs", rest) if rest.starts_with("mqueue.") => Some(Owner::Ipc),
        ("kernel", "domainname") => Some(Owner::Names),
        _ if IPC.contains(&key) => Some(Owner::Ipc),
        _ => None,
    }
}

/// The file of a setting, below `/proc/sys`.
pub fn file(key: &str) -> String {
    key.replace('.', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-297, APPC-298
    #[test]
    fn settings_of_the_machine_and_names_of_none_have_no_owner() {
        for (key, want) in [
            ("net.core.somaxconn", Some(Owner::Network)),
            ("net.ipv4.ip_unprivileged_port_start", Some(Owner::Network)),
            ("fs.mqueue.msg_max", Some(Owner::Ipc)),
            ("kernel.shmmax", Some(Owner::Ipc)),
            ("kernel.domainname", Some(Owner::Names)),
            ("kernel.core_pattern", None),
            ("kernel.hostname", None),
            ("vm.swappiness", None),
            ("fs.file-max", None),
            ("net", None),
            ("net..core", None),
            ("net.core.", None),
            ("net.../../kernel/core_pattern", None),
            ("net/core", None),
            ("", None),
        ] {
            assert_eq!(owner(key), want, "{key}");
        }
    }
}
