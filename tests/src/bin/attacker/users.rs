//! User namespaces and what can be gained in them.

use std::fs;

use crate::calls::{call, say, text};

const NEW_USER: usize = libc::CLONE_NEWUSER as usize;
const NEW_MOUNTS: usize = libc::CLONE_NEWNS as usize;

fn write(path: &str, content: &str) -> Result<i64, i32> {
    fs::write(path, content).map(|()| 0).map_err(|error| error.raw_os_error().unwrap())
}

/// Gives up a group that keeps this process out of a file.
pub(crate) fn groups(secret: &str) {
    let read = || fs::read(secret).map(|_| 0).map_err(|error| error.raw_os_error().unwrap());
    let give_up = || call(libc::SYS_setgroups, &[0, 0]);
    say("read as I am", read());
    say("give up groups", give_up());
    println!("namespace made: {}", call(libc::SYS_unshare, &[NEW_USER]).is_ok());
    say("give up groups in a namespace", give_up());
    println!("user mapped: {}", write("/proc/self/uid_map", "0 1000 1").is_ok());
    say("map the group without a word", write("/proc/self/gid_map", "0 1001 1"));
    println!("gave the word: {}", write("/proc/self/setgroups", "deny").is_ok());
    println!("group mapped: {}", write("/proc/self/gid_map", "0 1001 1").is_ok());
    say("take the word back", write("/proc/self/setgroups", "allow"));
    say("give up groups as root in a namespace", give_up());
    say("read in a namespace", read());
}

/// Becomes root in a namespace of its own, and tries to see or change what is hidden or read-only outside of it.
pub(crate) fn nested() {
    println!("namespace made: {}", call(libc::SYS_unshare, &[NEW_USER | NEW_MOUNTS]).is_ok());
    let mount = |source, target, kind, flags: u64| {
        call(libc::SYS_mount, &[source, target, kind, usize::try_from(flags).unwrap(), 0])
    };
    let none = text(c"none");
    say("mount proc", mount(none, text(c"/tmp"), text(c"proc"), 0));
    say("mount sysfs", mount(none, text(c"/tmp"), text(c"sysfs"), 0));
    say("mount cgroup", mount(none, text(c"/tmp"), text(c"cgroup"), 0));
    for path in
        [c"/proc/kcore", c"/proc/keys", c"/proc/sys", c"/proc/sysrq-trigger", c"/sys/firmware", c"/sys/fs"]
    {
        say(&format!("unmount {}", path.to_str().unwrap()), call(libc::SYS_umount2, &[text(path), 2]));
    }
    for path in [c"/proc/sys", c"/sys", c"/proc/sysrq-trigger", c"/dev"] {
        let remounted = mount(0, text(path), 0, libc::MS_REMOUNT | libc::MS_BIND);
        say(&format!("remount {}", path.to_str().unwrap()), remounted);
    }
    for path in ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/kernel/modprobe"] {
        let opened = fs::OpenOptions::new().write(true).open(path);
        say(&format!("write {path}"), opened.map(|_| 0).map_err(|error| error.raw_os_error().unwrap()));
    }
    let dev = [c"/tmp/mem".as_ptr() as usize, (libc::S_IFCHR | 0o666) as usize, 0x101];
    say("make device", call(libc::SYS_mknod, &dev));
}

/// Who executes this, as the kernel sees it.
pub(crate) fn whoami() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    for name in ["Uid:", "Gid:", "CapEff:", "CapPrm:", "CapBnd:", "NoNewPrivs:"] {
        println!("{}", status.lines().find(|line| line.starts_with(name)).unwrap());
    }
}
