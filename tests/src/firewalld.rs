//! A firewalld for the host of one test: on a bus of its own, with Debian's configuration.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{
    outcome::Outcome,
    place,
    rkt::{Rkt, run, wait_until},
};

/// A running firewalld. Ends when it is dropped, and takes its rules along.
#[derive(Debug)]
pub struct Firewalld {
    bus: Child,
    daemon: Child,
    address: String,
}

impl Firewalld {
    /// Starts it on the host that this rkt is on. `None` where it is not installed.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn start(rkt: &Rkt) -> Option<Firewalld> {
        if !Path::new("/usr/sbin/firewalld").exists() {
            assert!(!place::is_testbed(), "firewalld is missing in the testbed");
            return None;
        }
        let directory = rkt.files().join("firewalld");
        run(Command::new("cp").arg("-r").arg("/etc/firewalld").arg(&directory)).success();
        let socket = directory.join("bus");
        let address = format!("unix:path={}", socket.display());
        let config = directory.join("bus.conf");
        let policy =
            r#"<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>"#;
        fs::write(
            &config,
            format!(
                "<busconfig><type>system</type><listen>{address}</listen><auth>EXTERNAL</auth>\
                 <policy context=\"default\">{policy}</policy></busconfig>"
            ),
        )
        .unwrap();
        let mut bus = Command::new("dbus-daemon");
        bus.arg(format!("--config-file={}", config.display())).args(["--nofork", "--nopidfile"]);
        let bus = spawn(&mut bus);
        wait_until("the bus", || socket.exists());
        let mut daemon = rkt.lan().on_host("/usr/sbin/firewalld");
        daemon
            .args(["--nofork", "--nopid", "--log-target=file"])
            .arg(format!("--system-config={}", directory.display()))
            .arg(format!("--log-file={}", directory.join("log").display()))
            .env("DBUS_SYSTEM_BUS_ADDRESS", &address);
        let daemon = spawn(&mut daemon);
        let firewalld = Firewalld { bus, daemon, address };
        wait_until("firewalld", || firewalld.command(&["--state"]).status == 0);
        Some(firewalld)
    }

    /// `firewall-cmd` with these options.
    pub fn command(&self, options: &[&str]) -> Outcome {
        // It waits for long where nobody answers.
        let mut command = Command::new("timeout");
        command.args(["20", "firewall-cmd"]).args(options).env("DBUS_SYSTEM_BUS_ADDRESS", &self.address);
        run(&mut command)
    }

    /// Has it end in an orderly way.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let daemon = rustix::process::Pid::from_child(&self.daemon);
        rustix::process::kill_process(daemon, rustix::process::Signal::TERM).ok();
        self.daemon.wait().ok();
        self.bus.kill().ok();
        self.bus.wait().ok();
    }
}

impl Drop for Firewalld {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
