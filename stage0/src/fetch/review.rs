//! Keys that are to be trusted: got, shown, and accepted or not.

use std::{
    fs::File,
    io::{self, BufRead, IsTerminal, Read, Write},
};

use anyhow::{Context, Result, bail};
use appc::discovery;

use crate::{
    http::{Client, Schemes},
    output::note,
    trust::{Key, Keystore},
};

/// Largest file of keys, in bytes.
const MAX_KEYS: u64 = 4 << 20;

/// How keys are accepted, and for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Review<'a> {
    /// Where accepted keys go.
    pub(crate) keystore: &'a Keystore,
    /// The beginning of the names that they are trusted for; all names where absent.
    pub(crate) prefix: Option<&'a str>,
    /// Whether they are accepted without asking.
    pub(crate) skip: bool,
    /// Whether those are that come over https.
    pub(crate) trust_https: bool,
}

/// Where the keys of a prefix are, as its pages tell.
pub(crate) fn keys_of(prefix: &str, client: Client<'_>, schemes: Schemes) -> Result<Vec<String>> {
    let found = discovery::keys(prefix, &mut |place| client.page(place, schemes))?;
    Ok(found.found)
}

/// Gets the keys at a place, a file or a URL, shows each, asks, and adds it to the keystore.
///
/// # Errors
/// Where there is none, or it is not accepted.
pub(crate) fn trust_key(
    review: &Review<'_>,
    place: &str,
    client: Client<'_>,
    schemes: Schemes,
) -> Result<()> {
    let bytes = if place.starts_with("https://") || place.starts_with("http://") {
        client.document(place, schemes, MAX_KEYS).context("download keys")?
    } else {
        let path = place.strip_prefix("file://").unwrap_or(place);
        let mut bytes = Vec::new();
        let file = File::open(path).with_context(|| format!("open keys {path}"))?;
        file.take(MAX_KEYS).read_to_end(&mut bytes).with_context(|| format!("read keys {path}"))?;
        bytes
    };
    Key::read_all(&bytes, place)?.iter().try_for_each(|key| add(review, place, key))
}

fn add(review: &Review<'_>, place: &str, key: &Key) -> Result<()> {
    note("trust", &format!("prefix: {:?}", review.prefix.unwrap_or_default()));
    note("trust", &format!("key: {place:?}"));
    crate::output::print(describe(key).as_bytes())?;
    let unasked = review.skip || (review.trust_https && place.starts_with("https://"));
    if !unasked && !ask(key)? {
        bail!("key {} was not accepted", key.fingerprint());
    }
    let how = if unasked { "without" } else { "after" };
    let what = review.prefix.map_or_else(|| "all images".to_owned(), |prefix| format!("prefix {prefix:?}"));
    note("trust", &format!("Trusting {place:?} for {what} {how} fingerprint review."));
    let path = review.keystore.add(review.prefix, key)?.display().to_string();
    let added = match review.prefix {
        Some(prefix) => format!("Added key for prefix {prefix:?} at {path:?}"),
        None => format!("Added root key at {path:?}"),
    };
    note("trust", &added);
    Ok(())
}

fn describe(key: &Key) -> String {
    let mut text = format!("gpg key fingerprint is: {}\n", key.readable_fingerprint());
    for subkey in key.readable_subkeys() {
        text.push_str(&format!("    Subkey fingerprint: {subkey}\n"));
    }
    for identity in key.identities() {
        text.push_str(&format!("\t{identity}\n"));
    }
    text
}

/// Asks until somebody says yes or no.
fn ask(key: &Key) -> Result<bool> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        bail!(
            "nobody is there to compare the fingerprint of key {}; run this on a terminal, or compare it yourself and use --skip-fingerprint-review",
            key.fingerprint()
        );
    }
    loop {
        write!(io::stderr(), "Are you sure you want to trust this key (yes/no)? ").context("ask")?;
        let mut answer = String::new();
        if io::stdin().lock().read_line(&mut answer).context("read the answer")? == 0 {
            return Ok(false);
        }
        match answer.trim() {
            "yes" => return Ok(true),
            "no" => return Ok(false),
            _ => note("trust", "Please enter 'yes' or 'no'"),
        }
    }
}
