//! A real gpg that makes keys and signatures.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Outcome, Rkt, run};

/// An option of gpg that changes nothing: keys are made now.
pub const NOW: &str = "--batch";

/// A key ring of somebody who signs. Its agent ends with it.
#[derive(Debug)]
pub struct Gpg {
    /// The directory of its keys.
    pub home: PathBuf,
}

impl Gpg {
    /// An empty one, in a directory `name`.
    pub fn new(rkt: &Rkt, name: &str) -> Gpg {
        let home = rkt.files().join(name);
        fs::create_dir(&home).unwrap();
        run(Command::new("chmod").arg("700").arg(&home)).success();
        Gpg { home }
    }

    /// Calls gpg.
    pub fn run(&self, args: &[&str]) -> Outcome {
        let mut command = Command::new("gpg");
        command.env("GNUPGHOME", &self.home).args([
            "--batch",
            "--yes",
            "--quiet",
            "--pinentry-mode=loopback",
        ]);
        run(command.args(["--passphrase", ""]).args(args).stdin(Stdio::null()))
    }

    /// Makes a key of `kind` that does not expire, and returns the file of its public part.
    pub fn key(&self, kind: &str) -> PathBuf {
        self.key_until(kind, "never", NOW)
    }

    /// One that was `made` then (an option of gpg) and expires then.
    pub fn key_until(&self, kind: &str, expires: &str, made: &str) -> PathBuf {
        let user = "Builder <builder@example.com>";
        self.run(&[made, "--quick-gen-key", user, kind, "sign,cert", expires]).success();
        self.export()
    }

    /// Writes all public keys to a file.
    pub fn export(&self) -> PathBuf {
        let file = self.home.join("public.asc");
        self.run(&["--armor", "--output", file.to_str().unwrap(), "--export"]).success();
        file
    }

    /// The first key's, in lower case.
    pub fn fingerprint(&self) -> String {
        let list = self.run(&["--with-colons", "--list-keys"]).success().stdout;
        let line = list.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_lowercase()
    }

    /// Makes `image`.asc.
    pub fn sign(&self, image: &Path, more: &[&str]) {
        let asc = format!("{}.asc", image.display());
        let mut all = more.to_vec();
        all.extend(["--armor", "--output", &asc, "--detach-sign", image.to_str().unwrap()]);
        self.run(&all).success();
    }
}

/// The keeper of a ring asks an agent, which would stay.
impl Drop for Gpg {
    fn drop(&mut self) {
        drop(Command::new("gpgconf").env("GNUPGHOME", &self.home).args(["--kill", "all"]).output());
    }
}
