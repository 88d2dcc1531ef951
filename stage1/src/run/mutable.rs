//! Pods whose apps come and go while they run (`rkt app …`): who asks for it, and what is answered.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail};
use rkt_pod::{
    files::remove_tree,
    layout,
    stage1::{AppReply, AppRequest, RunArgs},
};
use rustix::{
    fs::{AtFlags, Mode},
    io::Errno,
    net::{RecvFlags, SendFlags, SocketFlags},
};

use super::{Missing, hand_over, launch, spec, supervise, volumes};
use crate::{
    attach::Attach,
    init::Init,
    launcher::Launcher,
    listen,
    network::{Known, SHARED},
    output::{self, Output},
    pod::Pod,
    resources::{Limits, enforced},
    wrap::Notify,
};

/// Bytes of a request, at most: an app's name and a few more.
const LARGEST_REQUEST: usize = 1024;

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// That the app with this index runs.
    Start(usize),
    /// That it has ended.
    Stop(usize),
}

/// Somebody who has asked for something.
#[derive(Debug)]
struct Caller {
    socket: OwnedFd,
    waits: Option<Waits>,
}

/// What is needed to start apps later.
#[derive(Debug)]
pub(crate) struct Mutable<'a> {
    args: &'a RunArgs,
    listener: OwnedFd,
    callers: Vec<Caller>,
    joins: bool,
    own_cgroup: bool,
    known: Known,
    missing: Missing,
}

/// Empties what the kernel keeps beside the upper layer: a volatile overlay is mounted again only when it says nothing of an
/// earlier time, after which the machine might have lost a part of the layer. This one has run on.
fn renew_work(pod: &Pod, app: &str) -> Result<()> {
    let (_, work) = layout::app_overlay(app);
    if !rustix::fs::statat(&pod.directory, &work, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| stat.st_nlink > 2)
    {
        return Ok(());
    }
    remove_tree(&pod.path.join(&work))?;
    rustix::fs::mkdirat(&pod.directory, &work, Mode::from_raw_mode(0o755))
        .context("make the overlay's working directory anew")
}

impl<'a> Mutable<'a> {
    /// Listens in the pod's directory.
    pub(super) fn listen(args: &'a RunArgs) -> Result<Mutable<'a>> {
        let listener = listen::in_pod(layout::CONTROL, SocketFlags::NONBLOCK)?;
        Ok(Mutable {
            args,
            listener,
            callers: Vec::new(),
            joins: false,
            own_cgroup: false,
            known: Known::default(),
            missing: Missing::new(),
        })
    }

    /// Keeps what is found out once for all apps.
    pub(super) fn prepare(&mut self, context: &spec::Context<'_>, missing: Missing) -> Result<()> {
        if self.args.private_users.is_some() && !context.joins {
            bail!("--private-users: a pod whose apps come and go has users of its own only with systemd");
        }
        (self.joins, self.own_cgroup, self.missing) = (context.joins, context.own_cgroup, missing);
        self.known = context.known.clone();
        Ok(())
    }

    /// Where callers come in, and those that are here. The listener is first.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd()).chain(self.callers.iter().map(|caller| caller.socket.as_fd()))
    }

    /// Takes a caller in.
    pub(super) fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        if let Ok(socket) = rustix::net::accept_with(&self.listener, flags) {
            self.callers.push(Caller { socket, waits: None });
        }
    }

    /// What a caller asks. One that goes, or says what nobody understands, is forgotten.
    pub(super) fn request(&mut self, caller: usize) -> Option<AppRequest> {
        let mut text = [0; LARGEST_REQUEST];
        let socket = &self.callers.get(caller)?.socket;
        match rustix::net::recv(socket, &mut text[..], RecvFlags::empty()) {
            Err(Errno::AGAIN | Errno::INTR) => None,
            Ok((length, _)) if length > 0 => match serde_json::from_slice(&text[..length]) {
                Ok(request) => Some(request),
                Err(error) => {
                    self.answer(caller, Some(error.to_string()));
                    None
                }
            },
            _ => {
                self.callers.remove(caller);
                None
            }
        }
    }

    /// Has a caller wait for something.
    pub(super) fn wait(&mut self, caller: usize, waits: Waits) {
        if let Some(caller) = self.callers.get_mut(caller) {
            caller.waits = Some(waits);
        }
    }

    /// Answers a caller, and lets it go.
    pub(super) fn answer(&mut self, caller: usize, error: Option<String>) {
        if caller >= self.callers.len() {
            return;
        }
        let caller = self.callers.remove(caller);
        let text = serde_json::to_vec(&AppReply { error }).unwrap_or_default();
        if rustix::net::send(&caller.socket, &text, SendFlags::NOSIGNAL).is_err() {
            // It has gone.
        }
    }

    /// Answers all who wait for this.
    pub(super) fn done(&mut self, waits: Waits, error: Option<&str>) {
        while let Some(caller) = self.callers.iter().position(|caller| caller.waits == Some(waits)) {
            self.answer(caller, error.map(str::to_owned));
        }
    }

    /// Starts an app of the pod's manifest as it is by now; `index` is its place among those that were started.
    pub(super) fn start(
        &self,
        name: &str,
        index: usize,
        init: &Init,
        launcher: &mut dyn Launcher,
        (output, attach): (&mut Output, &mut Attach),
        notify: &mut Notify,
    ) -> Result<supervise::App> {
        let pod = Pod::load(&self.args.uuid, true)?;
        let app = pod.apps.iter().find(|app| app.name() == name);
        let app = app.with_context(|| format!("the pod has no app {name:?}"))?;
        let mut mounts = volumes::of_app(&pod, app)?;
        let limits = Limits::of(&app.app.isolators)?;
        self.check(app.name(), &app.app.isolators, &mounts, launcher)?;
        let context = spec::Context {
            args: self.args,
            joins: self.joins,
            own_cgroup: self.own_cgroup,
            terminal: false,
            known: &self.known,
        };
        renew_work(&pod, name)?;
        let mut taking = notify.add(app)?;
        mounts.extend(taking.socket.take().map(volumes::notify));
        let root = crate::mounts::root(&pod, name, init.user_namespace())?;
        let descriptors = super::descriptors(&pod, init, name, Some(root), &mounts)?;
        output.log_of(&pod, index, name)?;
        let stdio = super::stdio::own(output, attach, index, app)?;
        launcher.announce(app)?;
        let started = launch(&pod, app, index, launcher, (&mounts, &taking, &limits), &context)?;
        hand_over(&started, init, &descriptors, &stdio, &taking)?;
        Ok(started)
    }

    /// Tells what of the app's isolators is without effect, or refuses it where the user wants all or nothing.
    fn check(
        &self,
        name: &str,
        isolators: &[appc::isolator::Isolator],
        mounts: &[volumes::Mount],
        launcher: &mut dyn Launcher,
    ) -> Result<()> {
        let reason = |wanted| {
            self.missing.iter().find(|(controller, _)| *controller == wanted).map(|(_, why)| why.clone())
        };
        let shared = Some(SHARED);
        let lacking = enforced::Missing { controller: &reason, pod_bandwidth: shared, app_bandwidth: shared };
        let mut lines = enforced::without_effect(&[], [(name, isolators)].into_iter(), &lacking);
        if volumes::given(mounts).next().is_some()
            && let Err(reason) = launcher.restrict_devices()
        {
            lines.extend(volumes::unrestricted(name, mounts, &reason));
        }
        if let Some(first) = lines.first().filter(|_| self.args.strict_isolators) {
            bail!("{first} (--strict-isolators: it was not started)");
        }
        lines.iter().for_each(|line| output::say(&format!("warning: {line}")));
        Ok(())
    }
}
