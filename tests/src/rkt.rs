//! One test's rkt: its data directory, its images, the commands it runs, and what must be gone in the end.

use std::{
    cell::RefCell,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    image::Image,
    lan::Lan,
    leaks,
    outcome::Outcome,
    place::{self, Launcher},
    pod::Pod,
};

/// How long what a pod leaves may take to disappear after the pod: systemd collects units when it gets to it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A data directory with everything around it. When it is dropped it collects the pods and looks for what is left.
#[derive(Debug)]
pub struct Rkt {
    base: TempDir,
    launcher: Launcher,
    pods: RefCell<Vec<String>>,
    lan: Option<Lan>,
}

impl Default for Rkt {
    fn default() -> Rkt {
        Rkt::new()
    }
}

impl Rkt {
    /// An empty data directory, for the launcher under test.
    pub fn new() -> Rkt {
        Rkt::with_launcher(Launcher::under_test())
    }

    /// An empty data directory, for this launcher.
    pub fn with_launcher(launcher: Launcher) -> Rkt {
        place::programs();
        let base = tempfile::Builder::new().prefix("rkt-test-").tempdir_in(place::scratch()).unwrap();
        for name in ["tmp", "images", "files", "local", "system"] {
            fs::create_dir(base.path().join(name)).unwrap();
        }
        Rkt { base, launcher, pods: RefCell::default(), lan: None }
    }

    /// An empty data directory, on a host of its own in a network of its own.
    pub fn on_lan() -> Rkt {
        let mut rkt = Rkt::new();
        rkt.lan = Some(Lan::new());
        rkt
    }

    /// Does something on the host that this rkt is on.
    pub fn as_host<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.lan {
            Some(lan) => lan.as_host(work),
            None => work(),
        }
    }

    /// The host and its neighbour.
    #[track_caller]
    pub fn lan(&self) -> &Lan {
        self.lan.as_ref().expect("Rkt::on_lan")
    }

    /// The launcher of this rkt.
    pub fn launcher(&self) -> Launcher {
        self.launcher
    }

    /// The data directory (`--dir`).
    pub fn data(&self) -> PathBuf {
        self.base.path().join("data")
    }

    /// A directory for the test's own files.
    pub fn files(&self) -> PathBuf {
        self.base.path().join("files")
    }

    /// Everything of this test is below this directory.
    pub fn base(&self) -> &Path {
        self.base.path()
    }

    /// A file of the test's own with this content.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.files().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Builds an image with busybox in it, as `describe` says, and returns its file.
    pub fn image(&self, name: &str, describe: impl FnOnce(Image) -> Image) -> PathBuf {
        describe(Image::busybox(name)).build(&self.base.path().join("images"))
    }

    /// The same without busybox and without an app.
    pub fn empty_image(&self, name: &str, describe: impl FnOnce(Image) -> Image) -> PathBuf {
        describe(Image::empty(name)).build(&self.base.path().join("images"))
    }

    /// `rkt` with the global flags of this test.
    pub fn command<I, A>(&self, args: I) -> Command
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        let mut command = match &self.lan {
            Some(lan) => lan.on_host(self.program("rkt")),
            None => Command::new(self.program("rkt")),
        };
        let base = self.base.path();
        command
            .arg(flag("--dir", &self.data()))
            .arg(flag("--local-config", &base.join("local")))
            .arg(flag("--system-config", &base.join("system")))
            .arg("--insecure-options=image")
            .args(args)
            .env("TMPDIR", base.join("tmp"))
            .env_remove("LISTEN_FDS")
            .stdin(Stdio::null());
        command
    }

    /// The path of one of our programs.
    pub fn program(&self, name: &str) -> PathBuf {
        place::programs().join(name)
    }

    /// Runs a subcommand of rkt to its end.
    #[track_caller]
    pub fn rkt<I, A>(&self, args: I) -> Outcome
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        run(&mut self.command(args))
    }

    /// Arguments of `rkt run` for a pod without network on the launcher under test, `args` after them.
    pub fn run_args<I, A>(&self, args: I) -> Vec<OsString>
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        let mut all: Vec<OsString> = vec![
            "run".into(),
            "--net=none".into(),
            format!("--supervisor={}", self.launcher.as_str()).into(),
        ];
        all.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        all
    }

    /// Arguments of `rkt run` for a pod with networks, `args` after them.
    pub fn net_args<I, A>(&self, args: I) -> Vec<OsString>
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        self.run_args(args).into_iter().filter(|arg| arg != "--net=none").collect()
    }

    /// Runs a pod with networks to its end.
    #[track_caller]
    pub fn run_net<I, A>(&self, args: I) -> Outcome
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        let outcome = run(&mut self.command(self.net_args(args)));
        self.remember_pods();
        outcome
    }

    /// Starts a pod with networks in the background.
    #[track_caller]
    pub fn start_net<I, A>(&self, args: I) -> Pod<'_>
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        let all: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        self.start_with(all, Rkt::net_args)
    }

    /// Runs a pod to its end.
    #[track_caller]
    pub fn run_pod<I, A>(&self, args: I) -> Outcome
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        let outcome = run(&mut self.command(self.run_args(args)));
        self.remember_pods();
        outcome
    }

    /// Starts a pod in the background and waits until its directory exists.
    #[track_caller]
    pub fn start<I, A>(&self, args: I) -> Pod<'_>
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        self.start_with(args.into_iter().map(|arg| arg.as_ref().to_owned()).collect(), |rkt, args| {
            rkt.run_args(args)
        })
    }

    #[track_caller]
    fn start_with(
        &self,
        args: Vec<OsString>,
        whole: impl FnOnce(&Rkt, Vec<OsString>) -> Vec<OsString>,
    ) -> Pod<'_> {
        let file = self.files().join(format!("uuid-{}", self.pods.borrow().len()));
        let mut own = vec![flag("--uuid-file-save", &file)];
        own.extend(args);
        let pod = Pod::start(self, self.command(whole(self, own)), &file);
        self.pods.borrow_mut().push(pod.uuid().to_owned());
        pod
    }

    /// Starts a pod in the background with variables in its environment, `args` as [`Rkt::start`] takes them.
    #[track_caller]
    pub fn start_in(&self, environment: &[(&str, &Path)], args: &[OsString]) -> Pod<'_> {
        let file = self.files().join(format!("uuid-{}", self.pods.borrow().len()));
        let mut own = vec![flag("--uuid-file-save", &file)];
        own.extend_from_slice(args);
        let mut command = self.command(self.run_args(own));
        command.envs(environment.iter().copied());
        let pod = Pod::start(self, command, &file);
        self.pods.borrow_mut().push(pod.uuid().to_owned());
        pod
    }

    /// Starts a command that becomes a pod that is there already.
    #[track_caller]
    pub fn background(&self, command: Command, uuid: &str) -> Pod<'_> {
        assert!(leaks::is_uuid(uuid), "{uuid:?} is no UUID");
        self.pods.borrow_mut().push(uuid.to_owned());
        Pod::spawn(self, command, uuid)
    }

    /// Starts a pod in the background by another subcommand than `run`, which takes the same options.
    #[track_caller]
    pub fn start_command(&self, words: &[&str], more: &[&str]) -> Pod<'_> {
        let file = self.files().join(format!("uuid-{}", self.pods.borrow().len()));
        let mut all: Vec<OsString> = words.iter().map(OsString::from).collect();
        all.extend(self.run_args([flag("--uuid-file-save", &file)]).into_iter().skip(1));
        all.extend(more.iter().map(OsString::from));
        let pod = Pod::start(self, self.command(all), &file);
        self.pods.borrow_mut().push(pod.uuid().to_owned());
        pod
    }

    /// Starts `rkt enter` for a pod in the background. What is returned is that command.
    #[track_caller]
    pub fn enter(&self, pod: &Pod<'_>, words: &[&str]) -> Pod<'_> {
        let own = ["enter", pod.uuid()];
        Pod::spawn(self, self.command(own.iter().chain(words)), pod.uuid())
    }

    /// UUIDs of all pods that are in a directory of the data directory now.
    pub fn pods_on_disk(&self) -> Vec<String> {
        let mut found = Vec::new();
        for place in fs::read_dir(self.data().join("pods")).into_iter().flatten().flatten() {
            for pod in fs::read_dir(place.path()).into_iter().flatten().flatten() {
                found.push(pod.file_name().to_string_lossy().into_owned());
            }
        }
        found
    }

    /// The directory of a pod, wherever it is now.
    #[track_caller]
    pub fn pod_dir(&self, uuid: &str) -> PathBuf {
        let places = fs::read_dir(self.data().join("pods")).unwrap().flatten();
        let found = places.map(|place| place.path().join(uuid)).find(|path| path.is_dir());
        found.unwrap_or_else(|| panic!("no directory of pod {uuid}"))
    }

    /// The UUID of the only pod.
    #[track_caller]
    pub fn only_pod(&self) -> String {
        let mut pods = self.pods_on_disk();
        assert_eq!(pods.len(), 1, "pods: {pods:?}");
        pods.remove(0)
    }

    /// Removes everything that is left of pods, and asserts that nothing remains.
    #[track_caller]
    pub fn collect(&self) {
        self.remember_pods();
        self.rkt(["gc", "--grace-period=0s", "--expire-prepared=0s"]).success();
        assert_eq!(self.pods_on_disk(), Vec::<String>::new(), "pods after gc");
        let left = self.left_after(PATIENCE);
        assert!(left.is_empty(), "left behind by pods {:?}:\n{}", self.pods.borrow(), left.join("\n"));
    }

    fn remember_pods(&self) {
        let mut known = self.pods.borrow_mut();
        for uuid in self.pods_on_disk() {
            if !known.contains(&uuid) {
                known.push(uuid);
            }
        }
    }

    fn left_after(&self, patience: Duration) -> Vec<String> {
        let end = Instant::now() + patience;
        loop {
            let mut left = leaks::left(self.base.path(), &self.pods.borrow(), self.launcher);
            left.extend(self.lan.iter().flat_map(Lan::left));
            if left.is_empty() || Instant::now() > end {
                return left;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Rkt {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.collect();
            return;
        }
        // The test has failed already: clean up for the others without a word.
        self.remember_pods();
        leaks::kill_processes(self.base.path(), &self.pods.borrow());
        drop(self.command(["gc", "--grace-period=0s", "--expire-prepared=0s"]).output());
    }
}

fn flag(name: &str, value: &Path) -> OsString {
    let mut flag = OsString::from(name);
    flag.push("=");
    flag.push(value);
    flag
}

/// Runs any command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Outcome {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    let words = words.join(" ");
    match command.output() {
        Ok(output) => Outcome::new(words, &output),
        Err(error) => panic!("{words}: {error}"),
    }
}

/// Waits until `done` says yes, and panics with `what` where it does not within a minute: a busy machine is no failure.
#[track_caller]
pub fn wait_until(what: &str, done: impl FnMut() -> bool) {
    wait_until_within(Duration::from_secs(60), what, done);
}

/// The same, within another time.
#[track_caller]
pub fn wait_until_within(time: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + time;
    while !done() {
        assert!(Instant::now() < end, "waited {time:?} for: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
