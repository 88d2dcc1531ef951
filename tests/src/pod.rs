//! A pod that runs in the background, with the `rkt run` that is its supervisor; or another `rkt` that is about a pod.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    outcome::{Outcome, status_of},
    rkt::{Rkt, wait_until},
};

/// A running `rkt run`. Dropping it kills it.
#[derive(Debug)]
pub struct Pod<'a> {
    rkt: &'a Rkt,
    uuid: String,
    child: Child,
    command: String,
    stdout: Stream,
    stderr: Stream,
}

/// What came out of one stream until now, and the thread that reads it.
#[derive(Debug)]
struct Stream {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Stream {
    fn read(source: impl Read + Send + 'static) -> Stream {
        let text = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                sink.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Stream { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.so_far()
    }
}

impl<'a> Pod<'a> {
    #[track_caller]
    pub(crate) fn start(rkt: &'a Rkt, command: Command, uuid_file: &Path) -> Pod<'a> {
        let mut pod = Pod::spawn(rkt, command, "");
        let mut ended = None;
        wait_until("the pod's UUID file", || {
            ended = pod.child.try_wait().unwrap();
            pod.uuid = fs::read_to_string(uuid_file).unwrap_or_default();
            !pod.uuid.is_empty() || ended.is_some()
        });
        assert!(!pod.uuid.is_empty(), "rkt ended before the pod existed\n{:?}", pod.outcome_now());
        pod
    }

    /// Starts a command that is about a pod.
    #[track_caller]
    pub(crate) fn spawn(rkt: &'a Rkt, mut command: Command, uuid: &str) -> Pod<'a> {
        let words = format!("{command:?}");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Stream::read(child.stdout.take().unwrap());
        let stderr = Stream::read(child.stderr.take().unwrap());
        Pod { rkt, uuid: uuid.to_owned(), child, command: words, stdout, stderr }
    }

    /// The pod's UUID.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// PID of `rkt run`, which is the pod's supervisor.
    pub fn supervisor(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// PID of the pod's init, once it is there.
    #[track_caller]
    pub fn init(&self) -> Pid {
        let mut found = None;
        wait_until("the pod's init", || {
            found = self.read("pid").and_then(|text| Pid::from_raw(text.trim().parse().ok()?));
            found.is_some()
        });
        found.unwrap()
    }

    /// PIDs, as the host sees them, of the processes of the pod whose command line contains `part`.
    pub fn processes(&self, part: &str) -> Vec<Pid> {
        let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let Some(wanted) = namespace(self.init().as_raw_nonzero().get()) else { return Vec::new() };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let in_pod = pids.filter(|&pid| namespace(pid).as_ref() == Some(&wanted));
        let matching = in_pod.filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").contains(part)
        });
        matching.filter_map(Pid::from_raw).collect()
    }

    /// Waits for a process of the pod whose command line contains `part`, and returns its PID on the host.
    #[track_caller]
    pub fn process(&self, part: &str) -> Pid {
        let mut found = Vec::new();
        wait_until(&format!("a process {part:?} in the pod"), || {
            found = self.processes(part);
            !found.is_empty()
        });
        found[0]
    }

    /// A file of the pod's directory.
    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.rkt.pod_dir(&self.uuid).join(name)).ok()
    }

    /// The pod's directory.
    pub fn dir(&self) -> PathBuf {
        self.rkt.pod_dir(&self.uuid)
    }

    /// Sends a signal to `rkt run`.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.supervisor(), signal).unwrap();
    }

    /// Waits until standard output contains `part`.
    #[track_caller]
    pub fn wait_for(&mut self, part: &str) -> &mut Self {
        let mut ended = false;
        wait_until(&format!("{part:?} in the output of {}", self.command), || {
            ended = self.child.try_wait().unwrap().is_some();
            self.stdout.so_far().contains(part) || ended
        });
        if ended {
            let text = self.stdout.whole();
            assert!(text.contains(part), "the pod ended without {part:?}\n{:?}", self.outcome_now());
        }
        self
    }

    /// What standard output holds now.
    pub fn stdout_so_far(&self) -> String {
        self.stdout.so_far()
    }

    /// What standard error holds now.
    pub fn stderr_so_far(&self) -> String {
        self.stderr.so_far()
    }

    /// `rkt status` of the pod.
    #[track_caller]
    pub fn status(&self) -> Outcome {
        self.rkt.rkt(["status", &self.uuid]).success()
    }

    /// Waits for the end of `rkt run`.
    #[track_caller]
    pub fn wait(mut self) -> Outcome {
        let mut status = None;
        wait_until(&format!("the end of {}", self.command), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.outcome_now()
    }

    fn outcome_now(&mut self) -> Outcome {
        let status = self.child.wait().unwrap();
        let (stdout, stderr) = (self.stdout.whole(), self.stderr.whole());
        Outcome { command: self.command.clone(), stdout, stderr, status: status_of(status) }
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.child.kill().expect("kill rkt run");
            self.child.wait().expect("wait for rkt run");
        }
    }
}
