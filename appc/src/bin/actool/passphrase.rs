//! Passphrases, of a file or of whoever sits at the terminal.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
};

use appc::openpgp::Passphrase;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::shell::words;

/// Longest line that is read, in bytes.
const MAX: u64 = 8192;

/// The passphrase in a file, or the one that is typed, as often as there are prompts, and the same each time.
pub(crate) fn read(file: Option<&Path>, prompts: &[&str]) -> Result<Passphrase, String> {
    if let Some(file) = file {
        return Passphrase::read(file).map_err(|error| error.to_string());
    }
    let terminal = File::options().read(true).write(true).open("/dev/tty");
    let terminal =
        terminal.map_err(|_| "there is no terminal to ask for the passphrase; use --passphrase-file")?;
    let mut typed: Option<Vec<u8>> = None;
    for prompt in prompts {
        let line =
            ask(&terminal, prompt).map_err(|error| format!("read the passphrase: {}", words(&error)))?;
        if typed.as_ref().is_some_and(|before| *before != line) {
            return Err("the two passphrases are not the same".to_owned());
        }
        typed = Some(line);
    }
    Passphrase::new(&typed.unwrap_or_default()).map_err(|error| error.to_string())
}

/// Shows again what is typed when it goes away.
struct Silence<'a>(&'a File, Termios);

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        if tcsetattr(self.0, OptionalActions::Flush, &self.1).is_err() {
            // The terminal is gone.
        }
    }
}

fn ask(mut terminal: &File, prompt: &str) -> std::io::Result<Vec<u8>> {
    let before = tcgetattr(terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(terminal, OptionalActions::Flush, &silent)?;
    let _silence = Silence(terminal, before);
    write!(terminal, "{prompt}: ")?;
    let mut line = Vec::new();
    BufReader::new(terminal.take(MAX)).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(line)
}
