//! `actool`: builds and checks App Container images and manifests.

mod build;
mod cat_manifest;
mod discover;
mod encrypt;
mod http;
mod output;
mod passphrase;
mod patch;
mod patch_manifest;
mod shell;
mod sign;
mod validate;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use shell::boolean;

/// actool, the application container tool
#[derive(Debug, Parser)]
#[command(
    name = "actool",
    disable_version_flag = true,
    disable_help_subcommand = true,
    args_override_self = true
)]
struct Cli {
    /// Print verbose (debug) output
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
        value_parser = boolean, hide_default_value = true, value_name = "BOOL")]
    debug: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(args_override_self = true)]
    Build(build::Args),
    #[command(args_override_self = true)]
    CatManifest(cat_manifest::Args),
    #[command(args_override_self = true)]
    Discover(discover::Args),
    #[command(args_override_self = true)]
    Encrypt(encrypt::Args),
    #[command(args_override_self = true)]
    PatchManifest(Box<patch_manifest::Args>),
    #[command(args_override_self = true)]
    Sign(sign::Args),
    #[command(args_override_self = true)]
    Validate(validate::Args),
    /// Print the version and exit
    Version,
    /// Show a list of commands or help for one command
    Help {
        /// The command
        command: Option<String>,
    },
}

/// Misuse of the command line.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = shell::rewrite(std::env::args_os(), &Cli::command());
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
        Some(Command::Discover(args)) => ("discover", discover::run(&args)),
        Some(Command::Encrypt(args)) => ("encrypt", encrypt::run(&args)),
        Some(Command::Sign(args)) => ("sign", sign::run(&args)),
        Some(Command::PatchManifest(args)) => ("patch-manifest", patch_manifest::run(&args)),
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

/// Help that was asked for by a command's flag is misuse, as it was in the original; by the program's, it is not.
fn usage(error: &clap::Error) -> ExitCode {
    if error.kind() == clap::error::ErrorKind::InvalidSubcommand {
        let name = error.get(clap::error::ContextKind::InvalidSubcommand).map(ToString::to_string);
        eprintln!("actool: unknown subcommand: {:?}\nRun 'actool help' for usage.", name.unwrap_or_default());
        return ExitCode::from(USAGE);
    }
    let general =
        std::env::args_os().skip(1).find(|word| !word.as_encoded_bytes().starts_with(b"-")).is_none();
    if general && error.kind() == clap::error::ErrorKind::DisplayHelp {
        return help(None);
    }
    eprintln!("{error}");
    ExitCode::from(USAGE)
}

fn help(command: Option<&str>) -> ExitCode {
    let mut cli = Cli::command();
    cli.build();
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
