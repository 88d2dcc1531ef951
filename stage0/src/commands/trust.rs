//! `rkt trust`

use anyhow::{Result, bail};
use appc::types::AcIdentifier;

use super::global::Global;
use crate::{
    fetch::{Review, keys_of, trust_key},
    http::{Client, Schemes},
};

/// Trust a key for image verification.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Trust the keys for images whose names start with this
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Trust the keys for all images
    #[arg(long)]
    root: bool,
    /// Accept the keys without asking
    #[arg(long)]
    skip_fingerprint_review: bool,
    /// Get keys over http, too
    #[arg(long)]
    insecure_allow_http: bool,
    /// Files or URLs of public keys; without, those that the prefix's own pages name
    #[arg(value_name = "PUBKEY")]
    keys: Vec<String>,
}

/// Shows each key, asks, and adds it to the keystore.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    let prefix = match (&args.prefix, args.root) {
        (Some(_), true) => bail!("--prefix and --root exclude each other"),
        (None, false) if args.keys.is_empty() => {
            bail!("which keys, and for which images? give --prefix=PREFIX, or --root and a file of keys")
        }
        (None, false) => bail!(
            "a key without --prefix would be trusted for all images; if that is what you want, say so with --root"
        ),
        (None, true) => None,
        (Some(prefix), false) => Some(check_prefix(prefix)?),
    };
    if global.insecure.image() {
        bail!("--insecure-options=image leaves nothing to trust keys for");
    }
    let client = Client::new(global.insecure.tls());
    let schemes = if args.insecure_allow_http { Schemes::All } else { Schemes::Https };
    let places = match (&prefix, args.keys.is_empty()) {
        (Some(prefix), true) => keys_of(prefix, client, schemes)?,
        (None, true) => {
            bail!("which keys? those for all images are looked for nowhere; give a file or a URL")
        }
        (_, false) => args.keys.clone(),
    };
    let review = Review {
        keystore: &global.keystore,
        prefix: prefix.as_deref(),
        skip: args.skip_fingerprint_review,
        trust_https: global.trust_keys_from_https,
    };
    for place in &places {
        trust_key(&review, place, client, schemes)?;
    }
    Ok(0)
}

/// A prefix is the beginning of a name, and so a name itself.
fn check_prefix(prefix: &str) -> Result<String> {
    if prefix.contains("://") {
        bail!("--prefix={prefix}: a prefix is the beginning of images' names; leave out the scheme");
    }
    let name: AcIdentifier = prefix.parse().map_err(|error| anyhow::anyhow!("--prefix: {error}"))?;
    if name.as_str().split('/').any(|part| matches!(part, "" | "." | "..")) {
        bail!("--prefix={prefix}: its parts must be names");
    }
    Ok(name.to_string())
}

#[cfg(test)]
mod tests {
    use super::check_prefix;

    #[test]
    fn a_prefix_is_a_beginning_of_names() {
        for good in ["example.com", "example.com/app", "a"] {
            assert_eq!(check_prefix(good).unwrap(), good);
        }
        for bad in ["https://example.com", "", "/a", "a/../b", "a//b", "A", "a/./b", "a/"] {
            assert!(check_prefix(bad).is_err(), "{bad:?}");
        }
    }
}
