//! Images for tests: described in a few lines, built by the real `actool`.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    place::{host_busybox, programs},
    rkt::run,
};

const APPLETS: &[&str] = &[
    "sh", "true", "false", "echo", "cat", "sleep", "id", "env", "hostname", "ls", "stat", "mknod", "mount",
    "umount", "wget", "httpd", "nc", "ps", "grep", "kill", "pwd", "readlink", "touch", "mkdir", "rm", "ip",
    "tty", "wc", "head", "seq", "test", "printenv", "chmod", "ln", "cut", "sed", "stty", "dd", "find",
    "sort",
];

/// What an image is to hold.
#[derive(Debug)]
pub struct Image {
    name: String,
    labels: Vec<(String, String)>,
    app: Option<Value>,
    fields: Vec<(String, Value)>,
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    path: String,
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
}

#[derive(Debug)]
enum Kind {
    Regular(Vec<u8>),
    Directory,
    Link(String),
}

impl Image {
    /// An image named `test.invalid/<name>` for this machine, with busybox, users and groups, whose app does nothing.
    pub fn busybox(name: &str) -> Image {
        let mut image = Image::empty(name)
            .file("bin/busybox", fs::read(host_busybox()).unwrap(), 0o755)
            .file(
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/sh\nalice:x:1000:1001::/home:/bin/sh\n",
                0o644,
            )
            .file("etc/group", "root:x:0:\ndaemon:x:1:\nstaff:x:50:alice\nwonder:x:1001:\n", 0o644)
            .directory("tmp", 0o1777)
            .directory("root", 0o700);
        for applet in APPLETS {
            image = image.link(&format!("bin/{applet}"), "busybox");
        }
        image.exec(&["/bin/true"])
    }

    /// An image without an app and without files.
    pub fn empty(name: &str) -> Image {
        let labels = [("version", "1.0"), ("os", "linux"), ("arch", host_arch())];
        Image {
            name: format!("test.invalid/{name}"),
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            app: None,
            fields: Vec::new(),
            files: Vec::new(),
        }
    }

    /// The command. Makes an app where the image has none, run by root.
    #[must_use]
    pub fn exec(self, words: &[&str]) -> Image {
        self.with("exec", json!(words))
    }

    /// The command: a shell with this script.
    #[must_use]
    pub fn sh(self, script: &str) -> Image {
        self.exec(&["/bin/sh", "-c", script])
    }

    /// The user and the group.
    #[must_use]
    pub fn user(self, user: &str, group: &str) -> Image {
        self.with("user", json!(user)).with("group", json!(group))
    }

    /// A variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Image {
        let app = self.app.get_or_insert_with(default_app);
        app["environment"].as_array_mut().unwrap().push(json!({"name": name, "value": value}));
        self
    }

    /// Any field of the app.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Image {
        self.app.get_or_insert_with(default_app)[field] = value;
        self
    }

    /// Any field of the manifest.
    #[must_use]
    pub fn field(mut self, name: &str, value: Value) -> Image {
        self.fields.push((name.to_owned(), value));
        self
    }

    /// No app.
    #[must_use]
    pub fn without_app(mut self) -> Image {
        self.app = None;
        self
    }

    /// A label, instead of the one of this name; none where `value` is empty.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Image {
        self.labels.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.labels.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// A regular file, instead of what was there.
    #[must_use]
    pub fn file(self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Image {
        self.entry(path, Kind::Regular(content.into()), mode)
    }

    /// A directory.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Image {
        self.entry(path, Kind::Directory, mode)
    }

    /// A symbolic link, instead of what was there.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Image {
        self.entry(path, Kind::Link(target.to_owned()), 0o777)
    }

    /// Gives the entry that was described last to this user and group.
    #[must_use]
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Image {
        self.files.last_mut().unwrap().owner = (uid, gid);
        self
    }

    fn entry(mut self, path: &str, kind: Kind, mode: u32) -> Image {
        self.files.retain(|file| file.path != path);
        self.files.push(File { path: path.to_owned(), kind, mode, owner: (0, 0) });
        self
    }

    /// The image manifest.
    pub fn manifest(&self) -> Value {
        let labels: Vec<Value> =
            self.labels.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let mut manifest =
            json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": self.name, "labels": labels});
        if let Some(app) = &self.app {
            manifest["app"] = app.clone();
        }
        for (name, value) in &self.fields {
            manifest[name] = value.clone();
        }
        manifest
    }

    /// Writes the image's layout below `directory` and returns the layout's path.
    pub fn lay_out(&self, directory: &Path) -> PathBuf {
        let layout = tempfile::Builder::new().prefix("layout-").tempdir_in(directory).unwrap().keep();
        fs::write(layout.join("manifest"), self.manifest().to_string()).unwrap();
        fs::create_dir(layout.join("rootfs")).unwrap();
        fs::set_permissions(layout.join("rootfs"), fs::Permissions::from_mode(0o755)).unwrap();
        for file in &self.files {
            file.write(&layout.join("rootfs"));
        }
        layout
    }

    /// Builds the image with `actool build` into `directory`.
    pub(crate) fn build(self, directory: &Path) -> PathBuf {
        let layout = self.lay_out(directory);
        let short = self.name.rsplit('/').next().unwrap();
        let file = layout.with_file_name(format!("{short}.aci"));
        let mut actool = Command::new(programs().join("actool"));
        run(actool.arg("build").arg("--overwrite").arg(&layout).arg(&file)).success();
        fs::remove_dir_all(layout).unwrap();
        file
    }
}

impl File {
    fn write(&self, rootfs: &Path) {
        let path = rootfs.join(&self.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match &self.kind {
            Kind::Link(target) => return symlink(target, &path).unwrap(),
            Kind::Directory => fs::create_dir_all(&path).unwrap(),
            Kind::Regular(content) => fs::write(&path, content).unwrap(),
        }
        // The owner first: a change of it takes the set-user-ID bit away.
        chown(&path, Some(self.owner.0), Some(self.owner.1)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(self.mode)).unwrap();
    }
}

fn default_app() -> Value {
    json!({"exec": ["/bin/true"], "user": "0", "group": "0", "environment": []})
}

/// This machine's architecture in appc's words.
fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        other => other,
    }
}
