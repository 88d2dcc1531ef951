//! The commands: one file each, with its options, one call and one print.

mod cat_manifest;
mod completion;
mod fetch;
mod gc;
mod global;
mod image;
mod list;
mod logs;
mod rm;
mod run;
mod status;
mod stop;
mod uuids;
mod version;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::{
    ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::BoolishValueParser,
};

use crate::output::print_error;
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
    /// Fetch image(s) and store them in the local store
    Fetch(fetch::Args),
    /// List pods
    List(list::Args),
    /// Check the status of a rkt pod
    Status(status::Args),
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
    /// Operate on images in the local store
    #[command(subcommand)]
    Image(image::Commands),
    /// Print the version and exit
    Version(version::Args),
    /// Print a completion script for a shell
    Completion(completion::Args),
}

impl Commands {
    /// The word before error messages.
    fn name(&self) -> &'static str {
        match self {
            Commands::Run(_) => "run",
            Commands::Fetch(_) => "fetch",
            Commands::List(_) => "list",
            Commands::Status(_) => "status",
            Commands::Stop(_) => "stop",
            Commands::Rm(_) => "rm",
            Commands::Gc(_) => "gc",
            Commands::CatManifest(_) => "cat-manifest",
            Commands::Logs(_) => "logs",
            Commands::Image(command) => command.name(),
            Commands::Version(_) => "version",
            Commands::Completion(_) => "completion",
        }
    }
}

/// The definition of the whole command line.
fn definition() -> Command {
    forgiving(Cli::command())
}

/// Reads options as rkt's users know them: `--flag=false` beside `--flag`, and of an option given twice the last one.
fn forgiving(command: Command) -> Command {
    let command = command.args_override_self(true).mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .value_name("BOOL")
            .value_parser(BoolishValueParser::new())
            .hide_default_value(true)
            .hide_possible_values(true),
        _ => arg,
    });
    command.mut_subcommands(forgiving)
}

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    let arguments = booleans(run::mark_groups(std::env::args_os().collect()));
    let (matches, cli) = match parse(arguments) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let Some(command) = cli.command else {
        eprintln!("rkt: missing command");
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
            let unreadable = name == "status" && error.downcast_ref::<uuids::UnreadableFile>().is_some();
            ExitCode::from(if unreadable { 1 } else { FAILURE })
        }
    }
}

/// Lets flags have a value, as rkt's had: `--full=true` is `--full`, `--full=false` is as if it were not there.
fn booleans(arguments: Vec<OsString>) -> Vec<OsString> {
    let value = |argument: &OsString| {
        let (flag, value) = argument.to_str()?.strip_prefix("--")?.split_once('=')?;
        match value {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Some((flag.to_owned(), true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Some((flag.to_owned(), false)),
            _ => None,
        }
    };
    if !arguments.iter().any(|argument| value(argument).is_some()) {
        return arguments;
    }
    let mut flags = Vec::new();
    collect_flags(&definition(), &mut flags);
    let known = |flag: &str| flags.iter().any(|known| known == flag);
    arguments
        .into_iter()
        .filter_map(|argument| match value(&argument) {
            Some((flag, set)) if known(&flag) => set.then(|| format!("--{flag}").into()),
            _ => Some(argument),
        })
        .collect()
}

/// The names of all flags that take no value.
fn collect_flags(command: &Command, flags: &mut Vec<String>) {
    let plain = command.get_arguments().filter(|arg| matches!(arg.get_action(), clap::ArgAction::SetTrue));
    flags.extend(plain.filter_map(|arg| arg.get_long()).map(str::to_owned));
    for below in command.get_subcommands() {
        collect_flags(below, flags);
    }
}

fn parse(arguments: Vec<OsString>) -> Result<(ArgMatches, Cli), ExitCode> {
    let parsed = definition().try_get_matches_from(arguments).and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((matches, cli))
    });
    parsed.map_err(|error| {
        let asked = matches!(
            error.kind(),
            clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion
        );
        if error.print().is_err() {
            // Nobody reads.
        }
        ExitCode::from(if asked { 0 } else { FAILURE })
    })
}

fn print_help() {
    if definition().print_help().is_err() {
        // Nobody reads.
    }
}

fn dispatch(global: &Global, command: Commands, matches: &ArgMatches) -> Result<u8> {
    match command {
        Commands::Run(args) => {
            let matches = matches.subcommand().map(|(_, matches)| matches);
            run::run(global, &args, matches)
        }
        Commands::Fetch(args) => fetch::run(global, &args),
        Commands::List(args) => list::run(global, &args),
        Commands::Status(args) => status::run(global, &args),
        Commands::Stop(args) => stop::run(global, &args),
        Commands::Rm(args) => rm::run(global, &args),
        Commands::Gc(args) => gc::run(global, &args),
        Commands::CatManifest(args) => cat_manifest::run(global, &args),
        Commands::Logs(args) => logs::run(global, &args),
        Commands::Image(command) => image::run(global, command),
        Commands::Version(args) => version::run(&args),
        Commands::Completion(args) => completion::run(&args),
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
