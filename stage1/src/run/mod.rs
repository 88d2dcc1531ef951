//! The entry point `run`: makes the pod and stays as its supervisor.

mod args;
mod etc;
mod last_words;
mod mutable;
mod requests;
pub(crate) mod rights;
mod spec;
mod stdio;
mod supervise;
pub(crate) mod volumes;

use std::{
    collections::BTreeSet,
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use appc::isolator::IsolatorValue;
use rkt_pod::{
    Lock, failpoint, layout,
    stage1::{ENV_LOCK_FD, LogSink, RunArgs, RuntimeState, Supervisor},
    sysctl::{self, Owner},
};
use rustix::process::Signal;

use crate::{
    attach::Attach,
    cgroup::PodCgroup,
    init::{self, Init},
    journal,
    launcher::{self, Connecting, Control, Launch, Launcher},
    mounts,
    network::Network,
    output::{self, Output},
    pod::{Pod, PodApp},
    resources::{Controller, Limits, enforced},
    stop_signal,
    sys::{self, SignalFd, Signals},
    terminal::Terminal,
    wrap::{Notify, Sockets, Taking},
};
use mutable::Mutable;

/// How long an app may take to end after SIGTERM before it is killed.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes the pod, waits for its end, and returns the exit status of `rkt run`.
pub(crate) fn main() -> Result<u8> {
    let args = args::parse()?;
    let sockets = Sockets::from_environment()?;
    let _lock = inherit_lock()?;
    let signals = block_signals()?;
    // Connecting takes as long as making the namespaces does: both at once.
    let (connecting, no_bus) = connect(args.supervisor)?;
    if args.own_journal && connecting.is_none() {
        bail!("--journal=pod: a pod has a journal of its own only where systemd starts its apps");
    }
    let pod = Pod::load(&args.uuid, args.mutable)?;
    // The cgroup of init is needed before the bus has answered. Where systemd is likely, it makes the cgroups.
    let (cgroup, no_cgroup) = match connecting {
        Some(_) => (None, None),
        None => split(PodCgroup::create(&pod.directory, &pod.uuid)),
    };
    let mut network = Network::load(&args, &pod)?;
    failpoint!("pod-loaded");
    let init = match start_init(&args, &pod, &network, cgroup.as_ref()) {
        Ok(init) => init,
        Err(error) => {
            if let Some(Err(left)) = cgroup.as_ref().map(PodCgroup::remove) {
                output::say(&format!("remove the pod's cgroup: {left}"));
            }
            return Err(error);
        }
    };
    failpoint!("pod-init-started");
    let mut state = RuntimeState { supervisor_reason: no_bus, ..RuntimeState::default() };
    state.not_enforced.extend(no_cgroup.map(|reason| format!("pod: cgroups: {reason}")));
    let made = make(&args, &pod, &init, &mut network, (connecting, cgroup, sockets), &mut state);
    let mut supervisor = match made {
        Ok(made) => supervise::Supervisor::new(&pod, &init, made),
        Err(error) => {
            // Where apps were launched, all is gone already.
            init.kill()?;
            init.wait()?;
            network.end(&pod);
            return Err(error);
        }
    };
    let ended = supervisor.run(&signals);
    failpoint!("pod-ended");
    let is_clean = network.end(&pod) && supervisor.is_clean();
    failpoint!("pod-unnetworked");
    // A journal stays until the pod is collected.
    if is_clean && !args.own_journal {
        note_end(&pod);
    }
    ended
}

/// A pod whose apps have been started.
pub(crate) struct Made<'a> {
    launcher: Box<dyn Launcher>,
    output: Output,
    attach: Attach,
    terminal: Option<Terminal>,
    apps: Vec<supervise::App>,
    notify: Notify,
    /// What is needed to start more of them, where they come and go.
    mutable: Option<Mutable<'a>>,
}

/// All that is between a running init and running apps.
fn make<'a>(
    args: &'a RunArgs,
    pod: &'a Pod,
    init: &Init,
    network: &mut Network,
    (connecting, cgroup, sockets): (Option<Connecting>, Option<PodCgroup>, Sockets),
    state: &mut RuntimeState,
) -> Result<Made<'a>> {
    write_pids(pod, init)?;
    failpoint!("pod-noted");
    // While init makes its namespaces ready.
    network.attach(pod, init)?;
    network.introduce(pod, || etc::shared_hosts(pod, args))?;
    failpoint!("pod-networked");
    state.log = match args {
        RunArgs { interactive: true, .. } => LogSink::None,
        RunArgs { own_journal: true, .. } => LogSink::PodJournal,
        _ => output::choose_log(),
    };
    let mut output = Output::new(pod, state.log)?;
    let mut attach = Attach::default();
    let terminal = if args.interactive { Terminal::open()? } else { None };
    let mut mutable = if args.mutable { Some(Mutable::listen(args)?) } else { None };
    let mut volumes = volumes::resolve(pod)?;
    let mut notify = Notify::new(&pod.uuid);
    let takings = taking(pod, &mut notify, sockets, &mut volumes)?;
    state.notifies = notify.speaks();
    let roots = mapped_roots(pod, init)?;
    let mut launcher = launcher::choose(args.supervisor, connecting, pod, init, cgroup, state)?;
    let built = (|| {
        let (limits, missing) = limits(args, pod, launcher.as_mut(), (&volumes, network), state)?;
        let joins = state.supervisor == Supervisor::Systemd;
        let own_cgroup = joins || !state.not_enforced.iter().any(|line| line.starts_with("pod: cgroups"));
        let known = network.known();
        let context = spec::Context { args, joins, own_cgroup, terminal: terminal.is_some(), known: &known };
        if let Some(mutable) = &mut mutable {
            mutable.prepare(&context, missing)?;
            launcher.open()?;
        }
        let mut apps = Vec::new();
        for (index, app) in pod.apps.iter().enumerate() {
            apps.push(launch(
                pod,
                app,
                index,
                launcher.as_mut(),
                (&volumes[index], &takings[index], &limits[index]),
                &context,
            )?);
        }
        failpoint!("pod-launched");
        // All this goes on while init and each app-exec start up.
        let mut handovers = Vec::new();
        let mut roots = roots.into_iter();
        for (index, app) in pod.apps.iter().enumerate() {
            let stdio = stdio::first(args, (&mut output, &mut attach), terminal.as_ref(), index, app)?;
            handovers.push((descriptors(pod, init, app.name(), roots.next(), &volumes[index])?, stdio));
        }
        launcher.settle(init, network, state);
        notify.is_in(state.slice.as_deref());
        failpoint!("pod-settled");
        write_state(pod, state)?;
        failpoint!("pod-told");
        init.wait_ready()?;
        failpoint!("pod-ready");
        for (index, (app, (mounts, stdio))) in apps.iter().zip(&handovers).enumerate() {
            hand_over(app, init, mounts, stdio, &takings[index])?;
        }
        failpoint!("pod-handed-over");
        Ok(apps)
    })();
    match built {
        Ok(apps) => Ok(Made { launcher, output, attach, terminal, apps, notify, mutable }),
        Err(error) => {
            // Without init nothing else works: what it complains of is the reason.
            let error = init.complaint().unwrap_or(error);
            let left = launcher::end(launcher.as_mut(), init, false)?;
            for left in left.into_iter().chain(launcher.close()) {
                output::say(&format!("{left:#}"));
            }
            Err(error)
        }
    }
}

/// What each app gets of a service manager: a socket to say how it is, among its mounts, and those that are listened at for it.
fn taking(
    pod: &Pod,
    notify: &mut Notify,
    mut sockets: Sockets,
    volumes: &mut [Vec<volumes::Mount>],
) -> Result<Vec<Taking>> {
    let mut takings = Vec::new();
    for (app, mounts) in pod.apps.iter().zip(volumes) {
        let mut taking = notify.add(app)?;
        mounts.extend(taking.socket.take().map(volumes::notify));
        taking.listen = sockets.of(&pod.manifest, app)?;
        takings.push(taking);
    }
    sockets.close();
    Ok(takings)
}

/// Starts `app-exec` for an app.
fn launch(
    pod: &Pod,
    app: &PodApp,
    index: usize,
    launcher: &mut dyn Launcher,
    (mounts, taking, limits): (&[volumes::Mount], &Taking, &Limits),
    context: &spec::Context<'_>,
) -> Result<supervise::App> {
    let path = spec::write(pod, app, mounts, taking, context)?;
    let (control, theirs) = Control::pair()?;
    let stop_signal = stop_signal::of(&app.image).unwrap_or_else(|error| {
        output::say(&format!("warning: app {:?}: {error:#}; taking SIGTERM", app.name()));
        Signal::TERM
    });
    let devices = volumes::devices(mounts)?;
    let pid = launcher.launch(Launch {
        app: index,
        name: app.name(),
        spec: &path,
        control: theirs,
        stop_signal,
        limits,
        devices: &devices,
    })?;
    Ok(supervise::App::new(app.name(), control, pid))
}

/// Passes `app-exec` the app's root, streams, volumes and sockets.
fn hand_over(
    app: &supervise::App,
    init: &Init,
    mounts: &[OwnedFd],
    stdio: &[OwnedFd; 3],
    taking: &Taking,
) -> Result<()> {
    let fds: Vec<BorrowedFd<'_>> = [init.pidfd(), mounts[0].as_fd()]
        .into_iter()
        .chain(stdio.iter().map(AsFd::as_fd))
        .chain(mounts[1..].iter().map(AsFd::as_fd))
        .chain(taking.listen.iter().map(|(_, socket)| socket.as_fd()))
        .collect();
    app.hand_over(&fds)
}

/// The controllers that are not to be had, and why.
type Missing = Vec<(Controller, String)>;

/// Bounds the pod, and returns the limits of its apps. Isolators without effect are told, or refused where the user wants
/// all or nothing.
fn limits(
    args: &RunArgs,
    pod: &Pod,
    launcher: &mut dyn Launcher,
    (volumes, network): (&[Vec<volumes::Mount>], &Network),
    state: &mut RuntimeState,
) -> Result<(Vec<Limits>, Missing)> {
    let whole = Limits::of(&pod.manifest.isolators).context("the pod's isolators")?;
    let apps: Vec<Limits> = pod
        .apps
        .iter()
        .map(|app| Limits::of(&app.app.isolators).with_context(|| format!("app {:?}", app.name())))
        .collect::<Result<_>>()?;
    let mut needed: BTreeSet<Controller> =
        apps.iter().chain([&whole]).flat_map(Limits::controllers).collect();
    if args.mutable {
        // Whatever the apps that come later want.
        needed.extend(Controller::ALL);
    }
    let missing = launcher.limit(&whole, &needed.into_iter().collect::<Vec<_>>())?;
    let reason = |wanted: Controller| {
        missing.iter().find(|(controller, _)| *controller == wanted).map(|(_, reason)| reason.clone())
    };
    let each = pod.apps.iter().map(|app| (app.name(), app.app.isolators.as_slice()));
    let (pod_bandwidth, app_bandwidth) = network.unlimited();
    let lacking = enforced::Missing { controller: &reason, pod_bandwidth, app_bandwidth };
    let mut without_effect = enforced::without_effect(&pod.manifest.isolators, each, &lacking);
    if volumes.iter().any(|mounts| volumes::given(mounts).next().is_some())
        && let Err(reason) = launcher.restrict_devices()
    {
        for (app, mounts) in pod.apps.iter().zip(volumes) {
            without_effect.extend(volumes::unrestricted(app.name(), mounts, &reason));
        }
    }
    if let Some(first) = without_effect.first().filter(|_| args.strict_isolators) {
        bail!("{first} (--strict-isolators: nothing was started)");
    }
    for line in &without_effect {
        output::say(&format!("warning: {line}"));
    }
    state.not_enforced.extend(without_effect);
    Ok((apps, missing))
}

/// The roots of all apps, where the pod has a user namespace. Making them takes a thread, which a process whose children are
/// born in another PID namespace cannot have: they come before the launcher.
fn mapped_roots(pod: &Pod, init: &Init) -> Result<Vec<OwnedFd>> {
    let Some(users) = init.user_namespace() else { return Ok(Vec::new()) };
    pod.apps.iter().map(|app| mounts::root(pod, app.name(), Some(users))).collect()
}

/// The app's root, then its volumes, then what names of other pods come in, all detached.
fn descriptors(
    pod: &Pod,
    init: &Init,
    app: &str,
    root: Option<OwnedFd>,
    volumes: &[volumes::Mount],
) -> Result<Vec<OwnedFd>> {
    let users = init.user_namespace();
    let root = match root {
        Some(root) => root,
        None => mounts::root(pod, app, users)?,
    };
    let mut all = Vec::with_capacity(volumes.len() + 1);
    for mount in volumes {
        let seed = mount.seeded.then_some((&root, mount.target.as_str()));
        all.push(mounts::source(pod, mount, seed, users)?);
    }
    all.insert(0, root);
    all.extend(mounts::hosts(pod)?);
    Ok(all)
}

fn connect(wanted: Supervisor) -> Result<(Option<Connecting>, Option<String>)> {
    match wanted {
        Supervisor::Direct => Ok((None, None)),
        Supervisor::Systemd => Ok((Some(Connecting::start()?), None)),
        Supervisor::Auto => Ok(split(Connecting::start().map_err(|error| format!("{error:#}")))),
    }
}

fn split<T, E>(result: Result<T, E>) -> (Option<T>, Option<E>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error)),
    }
}

fn start_init(args: &RunArgs, pod: &Pod, network: &Network, cgroup: Option<&PodCgroup>) -> Result<Init> {
    let default_hostname = format!("rkt-{}", pod.uuid);
    let own_network = network.is_own();
    if args.private_users.is_some() && args.ipc.as_deref() == Some("parent") {
        bail!(
            "--ipc=parent does not go with --private-users: the host's IPC objects are not the pod's users'"
        );
    }
    let own_ipc = match args.ipc.as_deref() {
        None | Some("" | "auto" | "private") => true,
        Some("parent") => false,
        Some(other) => bail!("--ipc={other}: must be auto, private or parent"),
    };
    let settings = settings(pod, own_network, own_ipc)?;
    let cgroup = cgroup.map(|pod| pod.child("init.scope")).transpose().context("make the cgroup of init")?;
    let hostname = args.hostname.as_deref().unwrap_or(&default_hostname);
    let users = args.private_users;
    let journal = args.own_journal.then(|| journal::make(&pod.uuid)).transpose()?;
    let settings = &settings;
    Init::start(pod, &init::Options { hostname, own_network, own_ipc, users, settings, journal, cgroup })
}

/// The kernel settings that the pod asks for. Those of namespaces that it shares with the host are not its own to set.
fn settings(pod: &Pod, own_network: bool, own_ipc: bool) -> Result<Vec<(String, String)>> {
    let mut settings = Vec::new();
    for isolator in &pod.manifest.isolators {
        let IsolatorValue::Sysctl(wanted) = &isolator.value else { continue };
        for (key, value) in wanted {
            match sysctl::owner(key) {
                Some(Owner::Network) if !own_network => {
                    bail!("sysctl {key:?}: the pod has the host's network")
                }
                Some(Owner::Ipc) if !own_ipc => bail!("sysctl {key:?}: the pod shares IPC with its parent"),
                Some(_) => settings.push((sysctl::file(key), value.clone())),
                None => bail!("sysctl {key:?}: no setting that a pod has for itself"),
            }
        }
    }
    Ok(settings)
}

/// Notes who supervises the pod, and then who its init is: the latter's file says that the pod has started.
fn write_pids(pod: &Pod, init: &Init) -> Result<()> {
    for (name, pid) in
        [(layout::PPID, std::process::id().to_string()), (layout::PID, init.pid.as_raw_nonzero().to_string())]
    {
        rkt_pod::directory::write_atomically(
            &pod.directory,
            Path::new(name),
            format!("{pid}\n").as_bytes(),
            0o640,
        )
        .with_context(|| format!("write {name}"))?;
    }
    Ok(())
}

/// Notes that gc has only the pod's directory to remove. Where that fails it looks.
fn note_end(pod: &Pod) {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if rustix::fs::openat(&pod.directory, layout::ENDED, flags, Mode::from_raw_mode(0o640)).is_err() {
        // As above.
    }
}

fn write_state(pod: &Pod, state: &RuntimeState) -> Result<()> {
    let text = serde_json::to_vec(state)?;
    rkt_pod::directory::write_atomically(&pod.directory, Path::new(layout::RUNTIME), &text, 0o640)
        .context("note how the pod runs")
}

fn block_signals() -> Result<SignalFd> {
    let signals = [
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGHUP,
        libc::SIGWINCH,
        libc::SIGPIPE,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ];
    Signals::block(&signals).and_then(|signals| signals.descriptor()).context("block signals")
}

/// Takes over the pod's lock. It must be the very lock of this pod: whoever holds it is the pod.
fn inherit_lock() -> Result<Lock> {
    let number = std::env::var(ENV_LOCK_FD)
        .with_context(|| format!("{ENV_LOCK_FD} is not set: rkt starts this program"))?;
    let number: i32 =
        number.parse().ok().filter(|fd| *fd > 2).with_context(|| format!("{ENV_LOCK_FD}={number:?}"))?;
    let is_directory = fs::metadata(format!("/proc/self/fd/{number}")).is_ok_and(|data| data.is_dir());
    if !is_directory {
        bail!("{ENV_LOCK_FD}={number} is not an open directory");
    }
    Lock::inherited(sys::inherited(number)).context("take over the pod's lock")
}
