//! The metadata service of a test.

use std::{
    fs::File,
    io::Read,
    net::TcpStream,
    os::unix::net::UnixStream,
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Rkt, wait_until};

/// Where pods are made known.
pub const SOCKET: &str = "/run/rkt/metadata-svc.sock";

/// The service of a test. There is one place for it on a machine.
#[derive(Debug)]
pub struct Service {
    process: Child,
    only: File,
}

impl Service {
    /// Starts it. `only` says that there is no other one.
    pub fn start(rkt: &Rkt, only: File) -> Service {
        let process = rkt.command(["metadata-service"]).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("the metadata service", || UnixStream::connect(SOCKET).is_ok());
        wait_until("its port", || rkt.as_host(|| TcpStream::connect("127.0.0.1:18112").is_ok()));
        Service { process, only }
    }

    /// Ends it, and returns what it has logged.
    pub fn end(mut self) -> (String, File) {
        let only = self.only.try_clone().unwrap();
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        assert!(self.process.wait().unwrap().success());
        let mut log = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (log, only)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Waits until no other test has a metadata service.
pub fn only_one() -> File {
    let file = File::create(std::env::temp_dir().join("rkt-test-metadata.lock")).unwrap();
    file.lock().unwrap();
    file
}
