//! Discovery: where images and keys of a name are, as the name's web pages tell (spec, image discovery).
//!
//! Nothing here talks to a network. The caller passes a closure that gets the page of one [`Place`]; how it does that,
//! and whom it trusts, is its own matter.

mod html;
mod template;

use std::fmt;

pub use html::{MetaKind, MetaTag, meta_tags};
pub use template::{Rendering, render};

use crate::types::ImageName;

/// A place where a page about a name may be: the name itself, or one of its parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a>(&'a str);

impl<'a> Place<'a> {
    /// The part of the name.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The page's URL, with another port than the scheme's where one is given.
    pub fn url(self, scheme: &str, port: Option<u16>) -> String {
        let (host, path) = self.0.find('/').map_or((self.0, ""), |slash| self.0.split_at(slash));
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{host}{port}{path}?ac-discovery=1")
    }
}

/// The places of a name, from itself up to its host. A name whose parts would lead elsewhere in a URL has none.
pub fn places(name: &str) -> impl Iterator<Item = Place<'_>> {
    let name = Some(name).filter(|name| is_path(name));
    std::iter::successors(name, |name| name.rsplit_once('/').map(|(parent, _)| parent)).map(Place)
}

/// Whether each part of a name is a part of a path, too.
fn is_path(name: &str) -> bool {
    !name.split('/').any(|part| matches!(part, "" | "." | ".."))
}

/// Where an image and its signature are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The image's URL.
    pub aci: String,
    /// Its signature's URL.
    pub asc: String,
}

/// What a walk has found, and the places that could not be fetched before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T, E> {
    /// In the order of the page.
    pub found: Vec<T>,
    /// Each place that was tried in vain, and why.
    pub failures: Vec<(String, E)>,
}

/// Nothing was found at any place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFound<E> {
    /// The name asked for.
    pub name: String,
    /// What was looked for.
    pub what: &'static str,
    /// Each place that could not be fetched, and why. Places whose page says nothing of the name are not here.
    pub failures: Vec<(String, E)>,
}

impl<E: fmt::Display> fmt::Display for NotFound<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "discovery failed: no {} of {:?}", self.what, self.name)?;
        if !is_path(&self.name) {
            write!(f, ": a name with empty parts, \".\" or \"..\" is looked for nowhere")?;
        }
        for (index, (place, error)) in self.failures.iter().enumerate() {
            write!(f, "{} {place}: {error}", if index == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for NotFound<E> {}

/// Finds where images of a name are.
///
/// # Errors
/// [`NotFound`], where no page has a usable template.
pub fn images<E>(
    name: &ImageName,
    fetch: &mut dyn FnMut(Place<'_>) -> Result<Vec<u8>, E>,
) -> Result<Found<Endpoint, E>, NotFound<E>> {
    walk(name.name.as_str(), "image", fetch, &|tag| {
        let usable = tag.kind == MetaKind::Images && name.name.as_str().starts_with(&tag.prefix);
        usable.then(|| endpoint(&tag.rest, name)).flatten()
    })
}

/// Where the image of a name is on a host that has no pages for discovery: at its own name (simple discovery of the
/// specification up to 0.7.4). It names no keys. `None` where the name lacks a label of that place.
pub fn simple(name: &ImageName, scheme: &str) -> Option<Endpoint> {
    if !is_path(name.name.as_str()) {
        return None;
    }
    endpoint(&format!("{scheme}://{{name}}-{{version}}-{{os}}-{{arch}}.{{ext}}"), name)
}

/// Finds the keys of a name: URLs, as they stand in the page.
///
/// # Errors
/// [`NotFound`], where no page names any.
pub fn keys<E>(
    name: &str,
    fetch: &mut dyn FnMut(Place<'_>) -> Result<Vec<u8>, E>,
) -> Result<Found<String, E>, NotFound<E>> {
    walk(name, "public keys", fetch, &|tag| {
        (tag.kind == MetaKind::PublicKeys && name.starts_with(&tag.prefix)).then(|| tag.rest.clone())
    })
}

fn endpoint(template: &str, name: &ImageName) -> Option<Endpoint> {
    let aci = render(template, name, "aci")?;
    let asc = render(template, name, "aci.asc")?;
    // Without a place for the extension both would be one file.
    (aci.url != asc.url).then_some(Endpoint { aci: aci.url, asc: asc.url })
}

/// Goes up until a page has something of use. Whatever goes wrong with one page, the next is tried.
fn walk<T, E>(
    name: &str,
    what: &'static str,
    fetch: &mut dyn FnMut(Place<'_>) -> Result<Vec<u8>, E>,
    take: &dyn Fn(&MetaTag) -> Option<T>,
) -> Result<Found<T, E>, NotFound<E>> {
    let mut failures = Vec::new();
    for place in places(name) {
        match fetch(place) {
            Ok(page) => {
                let found: Vec<T> = meta_tags(&page).iter().filter_map(take).collect();
                if !found.is_empty() {
                    return Ok(Found { found, failures });
                }
            }
            Err(error) => failures.push((place.as_str().to_owned(), error)),
        }
    }
    Err(NotFound { name: name.to_owned(), what, failures })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pages = &'static [(&'static str, &'static str)];

    fn fetch(pages: Pages) -> impl FnMut(Place<'_>) -> Result<Vec<u8>, String> {
        move |place| {
            let page = pages.iter().find(|(url, _)| *url == place.url("https", None));
            page.map(|(_, page)| page.as_bytes().to_vec())
                .ok_or_else(|| "expected a 200 OK got 404".to_owned())
        }
    }

    const IMAGE: &str = r#"<meta name="ac-discovery" content="example.com https://s.example.com/{name}-{version}.{ext}">
        <meta name="ac-discovery" content="example.com hdfs://s/{name}-{version}-{os}.{ext}">
        <meta name="ac-discovery" content="example.org https://other/{name}.{ext}">
        <meta name="ac-discovery" content="example.com https://no-extension/{name}">"#;
    const KEYS: &str =
        r#"<meta name="ac-discovery-pubkeys" content="example.com https://example.com/keys.gpg">"#;

    // APPC-350, APPC-357, APPC-367
    #[test]
    fn places_go_up_to_the_host() {
        let all: Vec<&str> = places("example.com/a/b").map(Place::as_str).collect();
        assert_eq!(all, ["example.com/a/b", "example.com/a", "example.com"]);
        let place = places("example.com/a").next().unwrap();
        assert_eq!(place.url("http", Some(8080)), "http://example.com:8080/a?ac-discovery=1");
        assert_eq!(places("host").next().unwrap().url("https", None), "https://host?ac-discovery=1");
    }

    // APPC-351, APPC-352, APPC-357, APPC-358, APPC-360
    #[test]
    fn images_and_keys_are_found_by_walks_of_their_own() {
        let pages: Pages =
            &[("https://example.com/a?ac-discovery=1", IMAGE), ("https://example.com?ac-discovery=1", KEYS)];
        let found = images(&"example.com/a/b".parse().unwrap(), &mut fetch(pages)).unwrap();
        let url = "https://s.example.com/example.com/a/b-latest";
        assert_eq!(found.found, [Endpoint { aci: format!("{url}.aci"), asc: format!("{url}.aci.asc") }]);
        assert_eq!(found.failures, [("example.com/a/b".to_owned(), "expected a 200 OK got 404".to_owned())]);
        let keys = keys("example.com/a/b", &mut fetch(pages)).unwrap();
        assert_eq!(keys.found, ["https://example.com/keys.gpg"]);
        assert_eq!(keys.failures.len(), 1, "the page without keys was fetched well");
    }

    // APPC-361
    #[test]
    fn templates_of_other_schemes_and_with_labels_are_results() {
        let pages: Pages = &[("https://example.com/a?ac-discovery=1", IMAGE)];
        let found = images(&"example.com/a:2,os=linux".parse().unwrap(), &mut fetch(pages)).unwrap();
        let all: Vec<&str> = found.found.iter().map(|endpoint| endpoint.aci.as_str()).collect();
        assert_eq!(all, ["https://s.example.com/example.com/a-2.aci", "hdfs://s/example.com/a-2-linux.aci"]);
    }

    // APPC-375
    #[test]
    fn the_simple_place_of_a_name_is_made_of_its_labels() {
        let at =
            |name: &str| simple(&name.parse().unwrap(), "https").map(|endpoint| (endpoint.aci, endpoint.asc));
        let url = "https://example.com/a/b-1.0-linux-amd64.aci".to_owned();
        assert_eq!(at("example.com/a/b:1.0,os=linux,arch=amd64"), Some((url.clone(), format!("{url}.asc"))));
        let latest = at("example.com/a,os=linux,arch=amd64").unwrap();
        assert_eq!(latest.0, "https://example.com/a-latest-linux-amd64.aci");
        assert_eq!(at("example.com/a:1.0,os=linux"), None);
    }

    // APPC-003
    #[test]
    fn names_that_lead_elsewhere_are_looked_for_nowhere() {
        let mut asked =
            |place: Place<'_>| -> Result<Vec<u8>, String> { panic!("asked for {}", place.as_str()) };
        for name in ["example.com/a/../../b", "example.com//a", "example.com/./a", "a/../b"] {
            let name: ImageName = format!("{name}:1,os=linux,arch=amd64").parse().unwrap();
            let error = images(&name, &mut asked).unwrap_err().to_string();
            assert!(error.ends_with("is looked for nowhere"), "{error}");
            assert!(keys(name.name.as_str(), &mut asked).is_err());
            assert_eq!(simple(&name, "https"), None);
        }
    }

    // APPC-373
    #[test]
    fn what_is_nowhere_is_an_error_that_lists_the_places() {
        let pages: Pages = &[("https://example.com?ac-discovery=1", "<p>nothing</p>")];
        let error = images(&"example.com/a".parse().unwrap(), &mut fetch(pages)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "discovery failed: no image of \"example.com/a\": example.com/a: expected a 200 OK got 404"
        );
    }
}
