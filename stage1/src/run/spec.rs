//! The spec that `app-exec` gets for an app.

use std::{net::Ipv4Addr, path::Path};

use anyhow::{Context as _, Result};
use appc::schema::{App, HandlerName};
use rkt_pod::{
    layout,
    stage1::{METADATA_PORT, RunArgs},
    streams::Mode,
};
use rustix::{fs, io::Errno};
use stage2::spec::{AppSpec, LIMITED, Mount, Seccomp, Users, VERSION};

use super::{rights::Rights, volumes};
use crate::{
    network::Known,
    pod::{Pod, PodApp},
    wrap::Taking,
};

/// The path in which programs are looked up, where the app does not set its own (appc spec, environment).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is the same for all apps of a run.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// The arguments of `run`.
    pub(super) args: &'a RunArgs,
    /// Whether `app-exec` starts outside the pod's PID namespace.
    pub(super) joins: bool,
    /// Whether each app has a cgroup of its own.
    pub(super) own_cgroup: bool,
    /// Whether the app gets the user's terminal, whatever its own settings are.
    pub(super) terminal: bool,
    /// What the pod's networks say of names.
    pub(super) known: &'a Known,
}

/// Writes the app's spec into the pod's directory and returns its absolute path.
pub(super) fn write(
    pod: &Pod,
    app: &PodApp,
    mounts: &[volumes::Mount],
    taking: &Taking,
    context: &Context<'_>,
) -> Result<String> {
    let name = app.name();
    let spec = build(pod, app, mounts, taking, context).with_context(|| format!("app {name:?}"))?;
    match rustix::fs::mkdirat(&pod.directory, layout::SPECS, fs::Mode::from_raw_mode(0o750)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).context("make the directory of the specs"),
    }
    let file = Path::new(layout::SPECS).join(name);
    rkt_pod::directory::write_atomically(&pod.directory, &file, &serde_json::to_vec(&spec)?, 0o640)
        .with_context(|| format!("app {name:?}: write its spec"))?;
    let path = pod.path.join(file);
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}

fn build(
    pod: &Pod,
    pod_app: &PodApp,
    mounts: &[volumes::Mount],
    taking: &Taking,
    context: &Context<'_>,
) -> Result<AppSpec> {
    let app = &pod_app.app;
    let args = context.args;
    let terminal = context.terminal || super::stdio::of(pod_app)?.stdin == Mode::Tty;
    let rights = Rights { app: &app.isolators, pod: &pod.manifest.isolators };
    let handler = |name: HandlerName| {
        app.event_handlers.iter().find(|handler| handler.name == name).map(|handler| handler.exec.clone())
    };
    Ok(AppSpec {
        version: VERSION,
        pod: pod.uuid.clone(),
        app: pod_app.name().to_owned(),
        enter_pid_namespace: context.joins,
        own_cgroup: context.own_cgroup,
        users: args.private_users.map(|range| Users { base: range.base(), count: range.count() }),
        read_only_root: pod_app.runtime.read_only_root_fs,
        mounts: mounts.iter().enumerate().map(|(source, mount)| spec_mount(source, mount)).collect(),
        unprotected_paths: args.insecure_paths,
        etc: super::etc::files(pod, args, context.known.resolv.as_deref(), mounts.len())?,
        exec: command(app)?,
        environment: environment(pod_app, terminal, metadata_url(args, context.known), taking),
        working_directory: app.working_directory.clone().unwrap_or_else(|| "/".to_owned()),
        user: app.user.clone(),
        group: app.group.clone(),
        group_falls_back_to_user: pod_app.is_docker() && app.user == app.group,
        supplementary_gids: app.supplementary_gids.clone(),
        capabilities: (!args.insecure_capabilities).then(|| rights.capabilities()),
        no_new_privileges: rights.no_new_privileges(),
        selinux: rights.selinux(),
        apparmor: rights.apparmor(),
        seccomp: if args.insecure_seccomp { Seccomp::Off } else { rights.seccomp()? },
        limits: limits(),
        oom_score_adj: rights.oom_score_adj(),
        pre_start: handler(HandlerName::PreStart),
        post_stop: handler(HandlerName::PostStop),
        listen: taking.listen.iter().map(|(name, _)| name.clone()).collect(),
        terminal,
    })
}

/// Those of who starts the pod, whoever starts its apps then.
fn limits() -> Vec<(Option<u64>, Option<u64>)> {
    let own = LIMITED.map(rustix::process::getrlimit);
    own.iter().map(|limit| (limit.current, limit.maximum)).collect()
}

fn command(app: &App) -> Result<Vec<String>> {
    if app.exec.is_empty() {
        anyhow::bail!("the image does not say what to execute (try --exec=BINARY)");
    }
    Ok(app.exec.clone())
}

fn spec_mount(source: usize, mount: &volumes::Mount) -> Mount {
    Mount { source, volume: mount.name.clone(), target: mount.target.clone(), read_only: mount.read_only }
}

/// Where the apps find the metadata service: at an address of the host that the pod reaches.
fn metadata_url(args: &RunArgs, known: &Known) -> Option<String> {
    let token = args.metadata_token.as_ref()?;
    let host = known.host.unwrap_or(Ipv4Addr::LOCALHOST);
    Some(format!("http://{host}:{METADATA_PORT}/{token}"))
}

/// The environment: the app's own, what it leaves unset, and what the executor says.
fn environment(app: &PodApp, terminal: bool, metadata_url: Option<String>, taking: &Taking) -> Vec<String> {
    let mut variables: Vec<(String, String)> =
        app.app.environment.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect();
    let term = if terminal { std::env::var("TERM").ok() } else { None };
    let defaults = [
        ("PATH", DEFAULT_PATH),
        ("SHELL", "/bin/sh"),
        ("USER", "root"),
        ("LOGNAME", "root"),
        ("HOME", "/root"),
        ("TERM", term.as_deref().unwrap_or("dumb")),
    ];
    for (name, value) in defaults {
        if !variables.iter().any(|(have, _)| have == name) {
            variables.push((name.to_owned(), value.to_owned()));
        }
    }
    let said = [
        ("AC_APP_NAME", Some(app.name().to_owned())),
        ("AC_METADATA_URL", metadata_url),
        ("container", Some("rkt".to_owned())),
    ];
    let said = said.into_iter().filter_map(|(name, value)| Some((name, value?)));
    for (name, value) in said.chain(taking.environment.iter().cloned()) {
        variables.retain(|(have, _)| have != name);
        variables.push((name.to_owned(), value));
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}
