//! `actool`: builds and checks App Container images and manifests.

mod build;
mod cat_manifest;
mod layout;
mod validate;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// The application container tool.
#[derive(Debug, Parser)]
#[command(name = "actool", disable_version_flag = true, disable_help_subcommand = true)]
struct Cli {
    /// Print out more debug information to stderr
    #[arg(long)]
    debug: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an ACI from an image layout
    Build(build::Args),
    /// Print the image manifest of an ACI
    CatManifest(cat_manifest::Args),
    /// Validate manifests, image layouts and ACIs
    Validate(validate::Args),
    /// Print the version and exit
    Version,
    /// Show help, of a command where one is named
    Help {
        /// The command
        command: Option<String>,
    },
}

/// Misuse of the command line.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = std::env::args_os().map(double_dash);
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let (name, result) = match cli.command {
        None => return help(None),
        Some(Command::Help { command }) => return help(command.as_deref()),
        Some(Command::Version) => {
            println!("actool version {}", appc::SPEC_VERSION);
            return ExitCode::SUCCESS;
        }
        Some(Command::Build(args)) => ("build", build::run(&args)),
        Some(Command::CatManifest(args)) => ("cat-manifest", cat_manifest::run(&args)),
        Some(Command::Validate(args)) => return validate::run(&args, cli.debug),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{name}: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The original took flags with one dash, too.
fn double_dash(argument: std::ffi::OsString) -> std::ffi::OsString {
    match argument.to_str() {
        Some(text) if text.len() > 2 && text.starts_with('-') && !text.starts_with("--") => {
            format!("-{text}").into()
        }
        _ => argument,
    }
}

fn usage(error: &clap::Error) -> ExitCode {
    let asked = error.kind() == clap::error::ErrorKind::DisplayHelp;
    if error.kind() == clap::error::ErrorKind::InvalidSubcommand {
        let name = error
            .get(clap::error::ContextKind::InvalidSubcommand)
            .map(ToString::to_string)
            .unwrap_or_default();
        eprintln!("actool: unknown subcommand: {name:?}\nRun 'actool help' for usage.");
    } else if asked {
        println!("{error}");
        return ExitCode::SUCCESS;
    } else {
        eprintln!("{error}");
    }
    ExitCode::from(USAGE)
}

fn help(command: Option<&str>) -> ExitCode {
    let mut cli = Cli::command();
    let text = match command {
        None => cli.render_long_help(),
        Some(name) => match cli.find_subcommand_mut(name) {
            Some(command) => command.render_long_help(),
            None => {
                eprintln!("Unrecognized command: {name}");
                return ExitCode::FAILURE;
            }
        },
    };
    println!("{text}");
    ExitCode::SUCCESS
}
