//! `rkt app add`

use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use rkt_pod::lookup;

use super::{must_run, mutable};
use crate::{
    commands::{
        global::Global,
        need_root,
        run::{AppArgs, app_options},
    },
    fetch::Reference,
    output::Progress,
    pod::{
        control, manifest,
        prepare::{self, AppImage},
    },
    store::{PullPolicy, Store},
};

/// Add an app to a pod, without starting it.
///
/// The image must be in the store already.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// UUID of the pod, or the beginning of it
    #[arg(value_name = "UUID")]
    uuid: String,
    /// The image: an ID or a name
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Volume of the app alone, and where it goes: NAME,kind=host,source=PATH,target=PATH
    #[arg(long, value_name = "VOLUME")]
    mnt_volume: Vec<String>,
    #[command(flatten)]
    _app: AppArgs,
}

/// Lays the app out in the pod's directory, and adds it to the pod's manifest last.
pub(super) fn run(global: &Global, _args: &Args, matches: Option<&ArgMatches>) -> Result<u8> {
    need_root()?;
    let (_, options) = app_options(matches.context("no arguments")?)?;
    let [options] = options.as_slice() else { bail!("must give exactly one image") };
    let pod = lookup::by_prefix(&global.dir, &_args.uuid)?;
    let (description, _) = mutable(pod)?;
    must_run(&description)?;
    let pod = &description.pod;
    let store = Store::open(&global.dir)?;
    let progress = Progress::new(true);
    let fetcher = global.fetcher(&store, PullPolicy::Never, None, &progress)?;
    let record = fetcher.fetch(&Reference::read(&options.image)?, None)?;
    let _preparing = store.preparing()?;
    let image = AppImage::new(&store, record)?;
    let _changing = control::change(&pod.path())?;
    // Read again: somebody else may have changed it meanwhile.
    let (_, mut manifest) = mutable(pod.clone())?;
    let app = manifest::add(&mut manifest, options, &image)?;
    manifest::check_mounts(&manifest)?;
    prepare::add(pod, &app, &image, &manifest)?;
    Ok(0)
}
