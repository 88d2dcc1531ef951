//! `rkt app start|stop|rm`

use anyhow::Result;
use rkt_pod::{State, lookup, stage1::AppRequest};

use super::{ask, must_have, must_run, mutable};
use crate::{
    commands::{global::Global, need_root},
    pod::{control, prepare},
};

/// An app of a pod.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// UUID of the pod, or the beginning of it
    #[arg(value_name = "UUID")]
    uuid: String,
    /// The app
    #[arg(long, value_name = "NAME")]
    app: String,
}

/// Starts the app, and waits until its sandbox is built.
pub(super) fn start(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    let (description, manifest) = mutable(lookup::by_prefix(&global.dir, &args.uuid)?)?;
    must_run(&description)?;
    must_have(&manifest, &description.pod, &args.app)?;
    ask(&description.pod, &AppRequest::Start(args.app.clone()))?;
    Ok(0)
}

/// Stops the app, and waits until it has ended.
pub(super) fn stop(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    let (description, manifest) = mutable(lookup::by_prefix(&global.dir, &args.uuid)?)?;
    must_have(&manifest, &description.pod, &args.app)?;
    if description.state.is_exited() {
        let said = format!("pod {:?} is already stopped\n", description.pod.uuid());
        crate::output::print(said.as_bytes())?;
        return Ok(0);
    }
    must_run(&description)?;
    ask(&description.pod, &AppRequest::Stop(args.app.clone()))?;
    Ok(0)
}

/// Stops the app where it runs, and removes it from the pod: from the manifest first.
pub(super) fn rm(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    let (description, manifest) = mutable(lookup::by_prefix(&global.dir, &args.uuid)?)?;
    let pod = &description.pod;
    must_have(&manifest, pod, &args.app)?;
    if description.state == State::Running && description.app_state(&args.app) == "running" {
        ask(pod, &AppRequest::Stop(args.app.clone()))?;
    }
    let _changing = control::change(&pod.path())?;
    let (_, mut manifest) = mutable(pod.clone())?;
    manifest.apps.retain(|app| app.name.as_str() != args.app);
    prepare::drop_app(pod, &args.app, &manifest)?;
    Ok(0)
}
