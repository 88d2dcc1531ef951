//! The commands: one file each, with its options, one call and one print.

mod app;
mod attach;
mod cat_manifest;
mod completion;
mod cp;
mod enter;
mod events;
mod export;
mod fetch;
mod gc;
mod global;
mod image;
mod list;
mod logs;
mod man;
mod metadata_service;
mod net;
mod policy;
mod prepare;
mod ps;
mod rm;
mod run;
mod run_prepared;
mod stats;
mod status;
mod stop;
mod trust;
mod uuids;
mod version;
mod wait;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::{ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::output::{note, print_error};
use global::{Global, GlobalArgs};

/// rkt's answer to practically every failure.
const FAILURE: u8 = 254;

/// rkt, the application container runner.
#[derive(Debug, Parser)]
#[command(
    name = "rkt",
    version,
    infer_subcommands = true,
    disable_version_flag = true,
    args_override_self = true
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Option<Commands>,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Run image(s) in a pod in rkt
    Run(Box<run::Args>),
    /// Prepare to run image(s) in a pod in rkt
    Prepare(Box<prepare::Args>),
    /// Run a prepared application pod in rkt
    RunPrepared(run_prepared::Args),
    /// Fetch image(s) and store them in the local store
    Fetch(fetch::Args),
    /// Trust a key for image verification
    Trust(trust::Args),
    /// Run a command in an app of a running pod
    Enter(enter::Args),
    /// Connect to the standard streams of an app that runs
    Attach(attach::Args),
    /// Operate on the apps of a pod that was started with rkt app sandbox
    #[command(subcommand)]
    App(app::Commands),
    /// List pods
    List(list::Args),
    /// Check the status of a rkt pod
    Status(status::Args),
    /// Write an app of an exited pod into a file, as an image
    Export(export::Args),
    /// Copy files out of an app, or into one that runs
    Cp(cp::Args),
    /// Show what happens to pods, as it happens
    Events(events::Args),
    /// Wait until pods have exited
    Wait(wait::Args),
    /// Show the processes of a running pod
    #[command(alias = "top")]
    Ps(ps::Args),
    /// Show what the apps of a running pod take of the machine
    Stats(stats::Args),
    /// Stop a pod
    Stop(stop::Args),
    /// Remove all files and resources associated with an exited pod
    Rm(rm::Args),
    /// Garbage collect rkt pods no longer in use
    Gc(gc::Args),
    /// Inspect and print the pod manifest
    CatManifest(cat_manifest::Args),
    /// Show the output of a pod's apps
    Logs(logs::Args),
    /// Look at, tidy and repair what pods have of networks
    #[command(subcommand)]
    Net(net::Commands),
    /// Operate on images in the local store
    #[command(subcommand)]
    Image(image::Commands),
    /// Run the metadata service
    MetadataService(metadata_service::Args),
    /// Print the version and exit
    Version(version::Args),
    /// Print a completion script for a shell
    Completion(completion::Args),
    /// Write the manual pages into a directory
    Man(man::Args),
}

impl Commands {
    /// The word before error messages.
    fn name(&self) -> &'static str {
        match self {
            Commands::Run(_) => "run",
            Commands::Prepare(_) => "prepare",
            Commands::RunPrepared(_) => "run-prepared",
            Commands::Fetch(_) => "fetch",
            Commands::Trust(_) => "trust",
            Commands::Enter(_) => "enter",
            Commands::Attach(_) => "attach",
            Commands::App(command) => command.name(),
            Commands::List(_) => "list",
            Commands::Status(_) => "status",
            Commands::Export(_) => "export",
            Commands::Cp(_) => "cp",
            Commands::Events(_) => "events",
            Commands::Wait(_) => "wait",
            Commands::Ps(_) => "ps",
            Commands::Stats(_) => "stats",
            Commands::Stop(_) => "stop",
            Commands::Rm(_) => "rm",
            Commands::Gc(_) => "gc",
            Commands::CatManifest(_) => "cat-manifest",
            Commands::Logs(_) => "logs",
            Commands::Net(command) => command.name(),
            Commands::Image(command) => command.name(),
            Commands::MetadataService(_) => "metadata-service",
            Commands::Version(_) => "version",
            Commands::Completion(_) => "completion",
            Commands::Man(_) => "man",
        }
    }
}

/// The definition of the whole command line.
fn definition() -> Command {
    forgiving(Cli::command())
}

/// Reads options as rkt's users know them: `--flag=false` beside `--flag`.
fn forgiving(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .value_name("BOOL")
            .value_parser(boolean)
            .hide_default_value(true),
        _ => arg,
    });
    command.mut_subcommands(forgiving)
}

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    let arguments = run::mark_groups(std::env::args_os().collect());
    let (matches, cli) = match parse(&arguments) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let Some(command) = cli.command else {
        note("rkt", "missing command");
        print_help();
        return ExitCode::from(2);
    };
    let name = command.name();
    let debug = cli.global.debug;
    let result = Global::new(cli.global).and_then(|global| dispatch(&global, command, &matches));
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            print_error(name, &error, debug);
            // The two that tell this apart, as they always did.
            let unreadable = ["status", "stop"].contains(&name) && error.is::<uuids::UnreadableFile>();
            ExitCode::from(if unreadable { 1 } else { FAILURE })
        }
    }
}

/// A truth value, in any of the ways that Go's programs read one.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

fn parse(arguments: &[OsString]) -> Result<(ArgMatches, Cli), ExitCode> {
    let parsed = definition().try_get_matches_from(arguments).and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((matches, cli))
    });
    parsed.map_err(|error| {
        let asked = matches!(
            error.kind(),
            clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion
        );
        let text = error.to_string();
        match text.strip_prefix("error: ") {
            // As in all messages, the command that it is about comes first.
            Some(message) => {
                let known = error.kind() != clap::error::ErrorKind::InvalidSubcommand;
                let position = run::command_position(arguments).filter(|_| known);
                let command = position.and_then(|at| arguments[at].to_str()).unwrap_or("rkt");
                note(command, &usage_error(message));
            }
            None if error.print().is_err() => {} // Nobody reads.
            None => {}
        }
        ExitCode::from(if asked { 0 } else { FAILURE })
    })
}

/// What is wrong with the arguments, in one line: what clap says first, and its tips.
fn usage_error(message: &str) -> String {
    let mut paragraphs = message.split("\n\n").map(str::trim);
    let words = |text: &str| text.split_whitespace().collect::<Vec<&str>>().join(" ");
    let wrong = paragraphs.next().map(words).unwrap_or_default();
    let tips = paragraphs.filter(|text| text.starts_with("tip:")).map(|text| format!(" ({})", words(text)));
    std::iter::once(wrong).chain(tips).chain(["; see --help".to_owned()]).collect()
}

fn print_help() {
    if definition().print_help().is_err() {
        // Nobody reads.
    }
}

fn dispatch(global: &Global, command: Commands, matches: &ArgMatches) -> Result<u8> {
    let own = matches.subcommand().map(|(_, matches)| matches);
    match command {
        Commands::Run(args) => run::run(global, &args, own),
        Commands::Prepare(args) => prepare::run(global, &args, own),
        Commands::RunPrepared(args) => run_prepared::run(global, &args),
        Commands::Fetch(args) => fetch::run(global, &args, own),
        Commands::Trust(args) => trust::run(global, &args),
        Commands::Enter(args) => enter::run(global, &args),
        Commands::Attach(args) => attach::run(global, &args),
        Commands::App(command) => app::run(global, command, own),
        Commands::List(args) => list::run(global, &args),
        Commands::Status(args) => status::run(global, &args),
        Commands::Export(args) => export::run(global, &args),
        Commands::Cp(args) => cp::run(global, &args),
        Commands::Events(args) => events::run(global, &args),
        Commands::Wait(args) => wait::run(global, &args),
        Commands::Ps(args) => ps::run(global, &args),
        Commands::Stats(args) => stats::run(global, &args),
        Commands::Stop(args) => stop::run(global, &args),
        Commands::Rm(args) => rm::run(global, &args),
        Commands::Gc(args) => gc::run(global, &args),
        Commands::CatManifest(args) => cat_manifest::run(global, &args),
        Commands::Logs(args) => logs::run(global, &args),
        Commands::Net(command) => net::run(global, &command),
        Commands::Image(command) => image::run(global, command, own),
        Commands::MetadataService(args) => metadata_service::run(global, &args),
        Commands::Version(args) => version::run(&args),
        Commands::Completion(args) => completion::run(&args),
        Commands::Man(args) => man::run(&args),
    }
}

/// Refuses callers who are not root.
fn need_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    anyhow::bail!("cannot run as unprivileged user")
}

/// Formats of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One line.
    Json,
    /// For people.
    JsonPretty,
}
