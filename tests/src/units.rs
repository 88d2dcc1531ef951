//! Unit files on a system that systemd runs: the examples that rkt ships, with the rkt, the images and the names of a test.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{
    outcome::Outcome,
    rkt::{Rkt, run, wait_until},
};

/// Where units go that are gone after the next boot.
const UNITS: &str = "/run/systemd/system";

/// The units of one test. When it is dropped they are stopped and removed.
#[derive(Debug)]
pub struct Units<'a> {
    rkt: &'a Rkt,
    supervisor: &'static str,
    prefix: String,
    files: RefCell<Vec<PathBuf>>,
}

/// The image that the examples run.
pub const IMAGE: &str = "example.com/web:1.0";

/// Has a test done with each launcher, where there is systemd.
pub fn each(test: impl Fn(&Rkt, &Units<'_>)) {
    if !on_systemd() {
        return;
    }
    for supervisor in ["systemd", "direct"] {
        let rkt = Rkt::new();
        test(&rkt, &Units::new(&rkt, supervisor));
    }
}

/// Whether systemd is the service manager here.
pub fn on_systemd() -> bool {
    Path::new(UNITS).is_dir()
}

impl<'a> Units<'a> {
    /// No units yet. Pods that say nothing of it get this supervisor.
    pub fn new(rkt: &'a Rkt, supervisor: &'static str) -> Units<'a> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("t{}x{number}", process::id());
        Units { rkt, supervisor, prefix, files: RefCell::default() }
    }

    /// The test's own name for an example's.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Installs an example with the test's own rkt. In its text, whatever is first in a pair of `changes` is replaced by what is
    /// second. Returns its name.
    #[track_caller]
    pub fn example(&self, name: &str, changes: &[(&str, &str)]) -> String {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../units/examples");
        let mut text = fs::read_to_string(directory.join(name)).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{name} does not contain {from:?}");
            text = text.replace(from, to);
        }
        for other in fs::read_dir(directory).unwrap().flatten() {
            let other = other.file_name().into_string().unwrap();
            text = text.replace(&format!("={other}"), &format!("={}{other}", self.prefix));
            if let Some((template, _)) = other.split_once('@') {
                text = text.replace(&format!("={template}@"), &format!("={}{template}@", self.prefix));
            }
        }
        self.write(name, &text)
    }

    /// Installs a unit file, in which rkt is `/usr/bin/rkt`, and returns its name.
    #[track_caller]
    pub fn write(&self, name: &str, text: &str) -> String {
        let command = self.rkt.command([] as [&str; 0]);
        let words: Vec<&str> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_str().unwrap())
            .collect();
        let rkt = words.join(" ");
        let supervisor = if text.contains("--supervisor=") {
            String::new()
        } else {
            format!("--supervisor={} ", self.supervisor)
        };
        let net = if text.contains("--net=") { "" } else { "--net=none " };
        let text = text
            .replace("/usr/bin/rkt run ", &format!("{rkt} run {supervisor}{net}"))
            .replace("/usr/bin/rkt", &rkt)
            .replace(
                "\n[Service]\n",
                &format!("\n[Service]\nEnvironment=TMPDIR={}\n", self.rkt.base().join("tmp").display()),
            );
        let name = self.name(name);
        let file = Path::new(UNITS).join(&name);
        fs::write(&file, text).unwrap();
        self.files.borrow_mut().push(file);
        tool(&["systemctl", "daemon-reload"]).success();
        name
    }

    /// The command line of an rkt of the test, with a supervisor and a network for `run`.
    pub fn command(&self, words: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = words.iter().map(ToString::to_string).collect();
        if words.first() == Some(&"run") {
            all.splice(1..1, [format!("--supervisor={}", self.supervisor), "--net=none".to_owned()]);
        }
        let command = self.rkt.command(&all);
        let program = std::iter::once(command.get_program());
        program.chain(command.get_args()).map(|word| word.to_str().unwrap().to_owned()).collect()
    }

    /// `systemctl VERB… UNIT`.
    #[track_caller]
    pub fn ctl(&self, words: &[&str]) -> Outcome {
        let mut all = vec!["timeout", "25", "systemctl"];
        all.extend(words);
        tool(&all)
    }

    /// A property of a unit.
    #[track_caller]
    pub fn show(&self, unit: &str, property: &str) -> String {
        let outcome = tool(&["systemctl", "show", "--value", "--property", property, "--", unit]).success();
        outcome.stdout.trim_end().to_owned()
    }

    /// Waits until a property of a unit is this.
    #[track_caller]
    pub fn wait_for(&self, unit: &str, property: &str, value: &str) {
        let mut is = String::new();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while is != value {
            assert!(
                std::time::Instant::now() < end,
                "{property} of {unit} is {is:?} and not {value:?}\n{:?}\n{:?}",
                tool(&["systemctl", "status", "--no-pager", "--full", "--", unit]),
                self.journal(unit, &[])
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
            is = self.show(unit, property);
        }
    }

    /// What `journalctl -u UNIT` shows, one message a line.
    #[track_caller]
    pub fn journal(&self, unit: &str, more: &[&str]) -> Outcome {
        let mut words = vec!["journalctl", "--quiet", "--no-pager", "--output=cat", "-u", unit];
        words.extend(more);
        tool(&words).success()
    }

    /// Waits until the journal of a unit has this.
    #[track_caller]
    pub fn wait_for_journal(&self, unit: &str, part: &str) {
        wait_until(&format!("{part:?} in the journal of {unit}"), || {
            self.journal(unit, &[]).stdout.contains(part)
        });
    }

    /// The UUID of the pod that runs under a name.
    #[track_caller]
    pub fn pod(&self) -> String {
        let list = self.rkt.rkt(["list", "--format=json"]).success().json();
        let running = list.as_array().unwrap().iter().find(|pod| pod["state"] == "running");
        running.unwrap_or_else(|| panic!("no pod runs: {list}"))["name"].as_str().unwrap().to_owned()
    }
}

impl Drop for Units<'_> {
    fn drop(&mut self) {
        let pattern = format!("{}*", self.prefix);
        // Sockets and timers first: they would start again what is stopped.
        for pattern in [&format!("{pattern}.timer"), &format!("{pattern}.socket"), &pattern] {
            drop(tool(&["systemctl", "stop", "--", pattern]));
        }
        drop(tool(&["systemctl", "reset-failed", "--", &pattern]));
        for file in self.files.borrow().iter() {
            fs::remove_file(file).unwrap();
        }
        drop(tool(&["systemctl", "daemon-reload"]));
    }
}

/// Runs one of systemd's programs.
#[track_caller]
pub fn tool(words: &[&str]) -> Outcome {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .env("SYSTEMD_COLORS", "0")
        .env("SYSTEMD_PAGER", "cat")
        .env("SYSTEMD_EMOJI", "0");
    run(&mut command)
}
