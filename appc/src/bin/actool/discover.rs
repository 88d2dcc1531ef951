//! `actool discover`

use std::fmt::Write as _;

use appc::{
    discovery::{self, Endpoint, Found, NotFound},
    types::{ImageName, host_os_arch},
};
use serde_json::json;

use super::{http::Client, shell::boolean};

/// Discover the download URLs for one or more app container images
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Output result as JSON
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
        value_parser = boolean, hide_default_value = true, value_name = "BOOL")]
    json: bool,
    /// Port to connect to when performing discovery
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    port: u16,
    /// Don't check TLS certificates and allow insecure non-TLS downloads over http
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
        value_parser = boolean, hide_default_value = true, value_name = "BOOL")]
    insecure: bool,
    /// Names, each with a version and labels: NAME[:VERSION][,LABEL=VALUE…]
    #[arg(value_name = "APP")]
    names: Vec<String>,
}

/// Prints where the images of the names are. Whatever is found is printed, even if something else is not.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    if args.names.is_empty() {
        return Err("at least one name required".to_owned());
    }
    let client = Client::new(args.insecure, (args.port != 0).then_some(args.port));
    let mut failures = Vec::new();
    for text in &args.names {
        if let Err(error) = discover(args, &client, text) {
            failures.push(error);
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\ndiscover: ")) }
}

fn discover(args: &Args, client: &Client, text: &str) -> Result<(), String> {
    let name = with_platform(text)?;
    let images = discovery::images(&name, &mut |place| client.page(place));
    let keys = discovery::keys(name.name.as_str(), &mut |place| client.page(place));
    let none = || Found { found: Vec::new(), failures: Vec::new() };
    let (images, no_images) = split(images, none());
    let (keys, no_keys) = split(keys, Found { found: Vec::new(), failures: Vec::new() });
    let walks = walks("endpoints", &images.failures) + &walks("public keys", &keys.failures);
    if args.json {
        // What is said about the way must not get between what programs read.
        eprint!("{walks}");
        println!("{}", in_json(&images.found, &keys.found)?);
    } else {
        print!("{walks}{}", in_text(&images.found, &keys.found));
    }
    match (no_images, no_keys) {
        (Some(error), _) => Err(format!("error fetching endpoints for {text}: {error}")),
        (None, Some(error)) => Err(format!("error fetching public keys for {text}: {error}")),
        (None, None) => Ok(()),
    }
}

/// The name, for this machine where it does not say otherwise.
fn with_platform(text: &str) -> Result<ImageName, String> {
    let mut name: ImageName = text.parse().map_err(|error| format!("{error}"))?;
    let (os, arch) = host_os_arch();
    for (label, value) in [("os", os), ("arch", arch)] {
        if name.labels.get(label).is_none() {
            name.labels.set(label, value).map_err(|error| format!("{text}: {error}"))?;
        }
    }
    Ok(name)
}

fn split<T>(
    result: Result<Found<T, String>, NotFound<String>>,
    none: Found<T, String>,
) -> (Found<T, String>, Option<NotFound<String>>) {
    match result {
        Ok(found) => (found, None),
        Err(error) => (none, Some(error)),
    }
}

fn walks(what: &str, failures: &[(String, String)]) -> String {
    failures.iter().fold(String::new(), |mut text, (place, error)| {
        writeln!(text, "discover {what} walk: prefix: {place} error: {error}").unwrap_or_default();
        text
    })
}

fn in_text(images: &[Endpoint], keys: &[String]) -> String {
    let mut text: String =
        images.iter().map(|image| format!("ACI: {}, ASC: {}\n", image.aci, image.asc)).collect();
    if !keys.is_empty() {
        text += &format!("PublicKeys: {}\n", keys.join(","));
    }
    text
}

fn in_json(images: &[Endpoint], keys: &[String]) -> Result<String, String> {
    let images: Vec<_> = images.iter().map(|image| json!({"ACI": image.aci, "ASC": image.asc})).collect();
    let value = json!({"ACIEndpoints": images, "PublicKeys": keys});
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    serde::Serialize::serialize(&value, &mut serializer).map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-417
    #[test]
    fn names_are_for_this_machine_unless_they_say_otherwise() {
        let (os, arch) = host_os_arch();
        let name = with_platform("example.com/a:1").unwrap();
        assert_eq!((name.labels.get("os"), name.labels.get("arch")), (Some(os), Some(arch)));
        let name = with_platform("example.com/a,os=freebsd,arch=i386").unwrap();
        assert_eq!(name.to_string(), "example.com/a,os=freebsd,arch=i386");
        assert!(with_platform("Foo").is_err());
    }
}
