//! Mounts, and other calls that change the kernel or leave the root.

use crate::calls::{Called, call, say, text};

/// The working directory, for calls that take one.
const HERE: usize = libc::AT_FDCWD as usize;

fn mount(source: usize, target: usize, kind: usize, flags: u64, data: usize) -> Called {
    call(libc::SYS_mount, &[source, target, kind, usize::try_from(flags).unwrap(), data])
}

/// Every way to mount something, or to take a mount away.
pub(crate) fn all() {
    let (tmp, none) = (text(c"/tmp"), text(c"none"));
    say("mount tmpfs", mount(none, tmp, text(c"tmpfs"), 0, 0));
    say("mount proc", mount(none, tmp, text(c"proc"), 0, 0));
    say("mount sysfs", mount(none, tmp, text(c"sysfs"), 0, 0));
    say("mount cgroup2", mount(none, tmp, text(c"cgroup2"), 0, 0));
    say("mount cgroup", mount(none, tmp, text(c"cgroup"), 0, text(c"none,name=attack")));
    say("mount cgroup rdma", mount(none, tmp, text(c"cgroup"), 0, text(c"rdma")));
    say("mount devtmpfs", mount(none, tmp, text(c"devtmpfs"), 0, 0));
    say("mount over proc", mount(none, text(c"/proc"), text(c"tmpfs"), 0, 0));
    say("bind root", mount(text(c"/"), tmp, 0, libc::MS_BIND, 0));
    say("bind over proc", mount(tmp, text(c"/proc"), 0, libc::MS_BIND, 0));
    say("remount proc", mount(0, text(c"/proc"), 0, libc::MS_REMOUNT | libc::MS_BIND, 0));
    say("remount proc/sys", mount(0, text(c"/proc/sys"), 0, libc::MS_REMOUNT | libc::MS_BIND, 0));
    say("remount sys", mount(0, text(c"/sys"), 0, libc::MS_REMOUNT | libc::MS_BIND, 0));
    say("remount dev", mount(0, text(c"/dev"), 0, libc::MS_REMOUNT | libc::MS_BIND, 0));
    say("remount cgroup", mount(0, text(c"/sys/fs/cgroup"), 0, libc::MS_REMOUNT | libc::MS_BIND, 0));
    say("share root", mount(0, text(c"/"), 0, libc::MS_SHARED | libc::MS_REC, 0));
    for path in [c"/proc/kcore", c"/proc/sys", c"/proc/sysrq-trigger", c"/sys/firmware", c"/sys", c"/proc"] {
        let what = format!("unmount {}", path.to_str().unwrap());
        say(&what, call(libc::SYS_umount2, &[text(path), 2]));
    }
    say("change root", call(libc::SYS_pivot_root, &[text(c"/tmp"), text(c"/tmp")]));
    say("clone tree", call(libc::SYS_open_tree, &[HERE, text(c"/"), 1]));
    say("open file system", call(libc::SYS_fsopen, &[text(c"proc"), 0]));
    say("pick file system", call(libc::SYS_fspick, &[HERE, text(c"/proc"), 0]));
    say("move mount", call(libc::SYS_move_mount, &[HERE, text(c"/dev"), HERE, text(c"/tmp"), 0]));
    // Takes read-only away.
    let attributes = [0_u64, 1, 0, 0];
    let set = [HERE, text(c"/proc/sys"), 0, attributes.as_ptr() as usize, 32];
    say("set mount attributes", call(libc::SYS_mount_setattr, &set));
    say("own mounts", call(libc::SYS_unshare, &[libc::CLONE_NEWNS as usize]));
    let init = call(libc::SYS_openat, &[HERE, text(c"/proc/1/ns/mnt"), 0, 0]);
    say("the pod's mounts", init.and_then(|fd| call(libc::SYS_setns, &[fd as usize, 0])));
}

/// Calls that reach the kernel, or files by no path.
pub(crate) fn kernel() {
    let nothing = [0_u8; 256];
    let buffer = nothing.as_ptr() as usize;
    say("load module", call(libc::SYS_init_module, &[buffer, 256, text(c"")]));
    say("load module file", call(libc::SYS_finit_module, &[0, text(c""), 0]));
    say("unload module", call(libc::SYS_delete_module, &[text(c"rkt_no_such_module"), 0]));
    say("load kernel", call(libc::SYS_kexec_load, &[0, 0, 0, 0]));
    say("load bpf", call(libc::SYS_bpf, &[5, buffer, 48]));
    say("swap", call(libc::SYS_swapon, &[text(c"/bin/busybox"), 0]));
    say("account", call(libc::SYS_acct, &[text(c"/tmp")]));
    say("host name", call(libc::SYS_sethostname, &[text(c"pwned"), 5]));
    say("kernel log", call(libc::SYS_syslog, &[3, buffer, 256]));
    let mut handle = [0_u8; 136];
    handle[0] = 8;
    handle[4] = 1;
    handle[8] = 2;
    say("file by handle", call(libc::SYS_open_by_handle_at, &[HERE, handle.as_ptr() as usize, 0]));
    #[cfg(target_arch = "x86_64")]
    say("ports", call(libc::SYS_iopl, &[3]));
}

/// The old way out of a root: another root below it, and up from a directory outside of that.
pub(crate) fn leave_by_chroot(witness: &str) {
    std::fs::create_dir_all("/tmp/inner").unwrap();
    let changed = call(libc::SYS_chroot, &[text(c"/tmp/inner")]);
    for _ in 0..64 {
        call(libc::SYS_chdir, &[text(c"..")]).ok();
    }
    changed.and_then(|_| call(libc::SYS_chroot, &[text(c".")])).ok();
    println!("witness: {}", std::path::Path::new(witness).exists());
    println!("root has: {}", std::path::Path::new("/bin/busybox").exists());
}
