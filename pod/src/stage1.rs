//! The stage1 interface: what stage0 says to a stage1 program, and what that leaves in the pod's directory.
//!
//! A stage1 is a directory with a manifest whose annotations name its programs ([`annotation`]). Each is called with the
//! pod's directory as its working directory. The built-in stage1 is one program that looks at its `argv[0]`.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::{attach::End, users::Range};

/// The version of the interface that this implementation speaks (annotation `…/interface-version`).
pub const INTERFACE_VERSION: u32 = 6;
/// Environment of `run`: the number of the inherited descriptor that holds the pod's lock.
pub const ENV_LOCK_FD: &str = "RKT_LOCK_FD";

/// Exit status of `rkt` and of a stage1 that failed itself, whatever its apps did.
pub const EXIT_FAILURE: u8 = 254;

/// The entry points of a stage1, by the last part of their annotation's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Makes and supervises the pod: [`RunArgs`]. Replaces the calling process.
    Run,
    /// Executes a command in an app of the pod: [`enter_args`]. Replaces the calling process.
    Enter,
    /// Connects the caller's streams to an app's: [`AttachArgs`]. Replaces the calling process.
    Attach,
    /// Stops the pod: `stop [--force] UUID`.
    Stop,
    /// Undoes what a dead pod left outside its directory: `gc [--debug] UUID`.
    Gc,
}

impl Entry {
    /// The last part of the annotation's name, and the built-in stage1's `argv[0]`.
    pub const fn name(self) -> &'static str {
        match self {
            Entry::Run => "run",
            Entry::Enter => "enter",
            Entry::Attach => "attach",
            Entry::Stop => "stop",
            Entry::Gc => "gc",
        }
    }
}

/// The annotation of a stage1 image that names the program of `entry`.
pub fn annotation(entry: Entry) -> String {
    format!("coreos.com/rkt/stage1/{}", entry.name())
}

/// Who starts and watches the apps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supervisor {
    /// systemd where it is the service manager and answers, else direct.
    #[default]
    Auto,
    /// Apps are transient units.
    Systemd,
    /// stage1 starts the apps itself.
    Direct,
}

impl Supervisor {
    /// The word on the command line and in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Supervisor::Auto => "auto",
            Supervisor::Systemd => "systemd",
            Supervisor::Direct => "direct",
        }
    }

    /// The supervisor that `word` names.
    pub fn from_word(word: &str) -> Option<Supervisor> {
        [Supervisor::Auto, Supervisor::Systemd, Supervisor::Direct].into_iter().find(|s| s.as_str() == word)
    }
}

/// The arguments of a stage1's `run`, in the order of rkt 1.30; `--supervisor` and `--strict-isolators` are ours.
#[derive(Debug, Clone, Default)]
pub struct RunArgs {
    /// `--debug`
    pub debug: bool,
    /// `--net=LIST`, as the user wrote it; `host` and `none` are built in.
    pub net: String,
    /// `--interactive`: the only app gets the terminal.
    pub interactive: bool,
    /// `--private-users=BASE:COUNT`: the pod has a user namespace, whose users are these of the host.
    pub private_users: Option<Range>,
    /// `--mds-token=T`: the path below which the pod's apps find the metadata service.
    pub metadata_token: Option<String>,
    /// `--local-config=DIR`
    pub local_config: Option<OsString>,
    /// `--hostname=H`; `rkt-<uuid>` where absent.
    pub hostname: Option<String>,
    /// `--disable-capabilities-restriction`
    pub insecure_capabilities: bool,
    /// `--disable-paths`
    pub insecure_paths: bool,
    /// `--disable-seccomp`
    pub insecure_seccomp: bool,
    /// `--strict-isolators`: refuse to start where an isolator would be without effect. Ours.
    pub strict_isolators: bool,
    /// `--dns-conf-mode=resolv=MODE,hosts=MODE`: where `/etc/resolv.conf` and `/etc/hosts` come from: `default` (networks or
    /// the image), `host`, `none`, or `stage0`, which has written them ([`crate::layout::RESOLV`], [`crate::layout::HOSTS`]).
    pub dns_conf_mode: String,
    /// `--journal=pod`: the pod has a journal of its own. Ours.
    pub own_journal: bool,
    /// `--mutable`: apps come and go while the pod runs, and none has to be there.
    pub mutable: bool,
    /// `--ipc=auto|private|parent`
    pub ipc: Option<String>,
    /// `--supervisor=auto|systemd|direct`
    pub supervisor: Supervisor,
    /// The pod.
    pub uuid: String,
}

impl RunArgs {
    /// The argument vector, `argv[0]` excluded.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        if self.debug {
            args.push("--debug".into());
        }
        args.push(format!("--net={}", self.net).into());
        if self.interactive {
            args.push("--interactive".into());
        }
        if let Some(range) = self.private_users {
            args.push(format!("--private-users={range}").into());
        }
        if let Some(token) = &self.metadata_token {
            args.push(format!("--mds-token={token}").into());
        }
        if let Some(dir) = &self.local_config {
            let mut arg = OsString::from("--local-config=");
            arg.push(dir);
            args.push(arg);
        }
        if let Some(hostname) = &self.hostname {
            args.push(format!("--hostname={hostname}").into());
        }
        for (set, flag) in [
            (self.insecure_capabilities, "--disable-capabilities-restriction"),
            (self.insecure_paths, "--disable-paths"),
            (self.insecure_seccomp, "--disable-seccomp"),
            (self.strict_isolators, "--strict-isolators"),
            (self.mutable, "--mutable"),
            (self.own_journal, "--journal=pod"),
        ] {
            if set {
                args.push(flag.into());
            }
        }
        if !self.dns_conf_mode.is_empty() {
            args.push(format!("--dns-conf-mode={}", self.dns_conf_mode).into());
        }
        if let Some(ipc) = &self.ipc {
            args.push(format!("--ipc={ipc}").into());
        }
        if self.supervisor != Supervisor::Auto {
            args.push(format!("--supervisor={}", self.supervisor.as_str()).into());
        }
        args.push(self.uuid.clone().into());
        args
    }
}

/// The annotation of an image, or of an app of a pod, that says that the app tells when it is ready (sd_notify(3)).
pub const NOTIFIES: &str = "appc.io/executor/supports-systemd-notify";

/// The annotation of a pod that says whether its apps come and go.
pub const MUTABLE: &str = "coreos.com/rkt/stage1/mutable";

/// What the supervisor of a mutable pod is asked for, in one message as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum AppRequest {
    /// To start an app of the pod's manifest. Answered when its sandbox is built.
    Start(String),
    /// To stop one. Answered when it has ended.
    Stop(String),
}

/// The answer: why it was not done, where it was not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppReply {
    /// One line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Where the metadata service answers apps.
pub const METADATA_PORT: u16 = 18_112;

/// The arguments of a stage1's `attach`. The descriptors are the caller's own standard streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachArgs {
    /// `--appname=NAME`
    pub app: String,
    /// `--ends=LIST`, at least one.
    pub ends: Vec<End>,
    /// `--close-stdin`: the app's standard input ends with the caller's.
    pub close_stdin: bool,
    /// `--detach-keys=LIST`, the numbers of bytes.
    pub detach_keys: Vec<u8>,
}

impl AttachArgs {
    /// The argument vector, `argv[0]` excluded.
    pub fn to_args(&self) -> Vec<OsString> {
        let ends: Vec<&str> = self.ends.iter().map(|end| end.name()).collect();
        let keys: Vec<String> = self.detach_keys.iter().map(u8::to_string).collect();
        let mut args: Vec<OsString> =
            vec![format!("--appname={}", self.app).into(), format!("--ends={}", ends.join(",")).into()];
        if self.close_stdin {
            args.push("--close-stdin".into());
        }
        args.push(format!("--detach-keys={}", keys.join(",")).into());
        args
    }

    /// The same, read. The error is for whoever calls a stage1.
    pub fn parse(args: impl Iterator<Item = OsString>) -> Result<AttachArgs, String> {
        let mut read =
            AttachArgs { app: String::new(), ends: Vec::new(), close_stdin: false, detach_keys: Vec::new() };
        for argument in args {
            let unexpected = || format!("unexpected argument {argument:?}");
            let text = argument.to_str().ok_or_else(unexpected)?;
            match text.split_once('=') {
                Some(("--appname", name)) if !name.is_empty() => read.app = name.to_owned(),
                Some(("--ends", list)) => {
                    let end = |word| End::from_name(word).ok_or_else(unexpected);
                    read.ends = list.split(',').map(end).collect::<Result<_, _>>()?;
                }
                Some(("--detach-keys", list)) => {
                    let key = |word: &str| word.parse().map_err(|_| unexpected());
                    read.detach_keys = list.split_terminator(',').map(key).collect::<Result<_, _>>()?;
                }
                None if text == "--close-stdin" => read.close_stdin = true,
                _ => return Err(unexpected()),
            }
        }
        if read.app.is_empty() || read.ends.is_empty() {
            return Err("--appname and --ends must be given".to_owned());
        }
        Ok(read)
    }
}

/// The arguments of a stage1's `enter`, `argv[0]` excluded: `--pid=PID --appname=NAME -- COMMAND…`. The PID is that of the
/// pod's init.
pub fn enter_args(pid: u32, app: &str, command: &[OsString]) -> Vec<OsString> {
    let own = [format!("--pid={pid}"), format!("--appname={app}"), "--".to_owned()];
    own.into_iter().map(OsString::from).chain(command.iter().cloned()).collect()
}

/// What stage1 did, kept in [`crate::layout::RUNTIME`] for `status`, `stop`, `logs` and `gc`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeState {
    /// Never `auto`: the one that was taken.
    pub supervisor: Supervisor,
    /// Why `auto` did not take systemd, where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor_reason: Option<String>,
    /// The machine's name, where it is registered with machined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Why there is no machine, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_reason: Option<String>,
    /// The unit that the machine is registered against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_unit: Option<String>,
    /// The slice that holds the pod's units (systemd).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
    /// The app units, in the order of the manifest (systemd).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<String>,
    /// Whether apps say themselves when they are ready, which [`crate::layout::READY`] then notes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notifies: bool,
    /// Where the apps' output goes besides the terminal.
    pub log: LogSink,
    /// Isolators that could not be enforced, each with the reason: `app: isolator: reason`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_enforced: Vec<String>,
}

/// The namespace of the journal that a pod has for itself (`journalctl --namespace`).
pub fn journal_namespace(uuid: &str) -> String {
    format!("rkt-{uuid}")
}

/// Where the apps' output is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogSink {
    /// In the journal, found by the field `RKT_POD_UUID`.
    Journal,
    /// In a journal of the pod's own: [`journal_namespace`].
    PodJournal,
    /// In files below [`crate::layout::LOGS`].
    #[default]
    Files,
    /// Nowhere: the only app has the terminal.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_to_attach_is_read_back() {
        let ends = vec![End::TtyIn, End::TtyOut];
        let args = AttachArgs { app: "web".to_owned(), ends, close_stdin: true, detach_keys: vec![16, 17] };
        assert_eq!(AttachArgs::parse(args.to_args().into_iter()), Ok(args.clone()));
        let none = AttachArgs { detach_keys: Vec::new(), close_stdin: false, ..args };
        assert_eq!(AttachArgs::parse(none.to_args().into_iter()), Ok(none));
        for wrong in [&["--appname=a"][..], &["--appname=a", "--ends=std"], &["--ends=stdin", "x"]] {
            assert!(AttachArgs::parse(wrong.iter().map(OsString::from)).is_err(), "{wrong:?}");
        }
    }
}
