//! Requirements of the specification that no test of a single type shows. What their numbers mean is in
//! tests/conformance/requirements.tsv.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod app;
#[path = "../common/mod.rs"]
mod common;
mod image;
mod isolators;
mod pod;
mod tools;

use appc::{
    isolator::Isolator,
    schema::{App, ImageManifest, PodManifest},
};
use serde_json::{Value, json};

pub(crate) fn image(members: &Value) -> Result<ImageManifest, String> {
    let mut manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/a"});
    manifest.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    ImageManifest::from_slice(manifest.to_string().as_bytes()).map_err(|error| error.to_string())
}

pub(crate) fn app(members: &Value) -> Result<App, String> {
    let mut app = json!({"user": "0", "group": "0"});
    app.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    image(&json!({"app": app})).map(|manifest| manifest.app.unwrap())
}

pub(crate) fn pod(members: &Value) -> Result<PodManifest, String> {
    let mut manifest = json!({"acKind": "PodManifest", "acVersion": "0.8.11"});
    manifest.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    PodManifest::from_slice(manifest.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// All of these are refused, at this place.
pub(crate) fn refused<T: std::fmt::Debug>(
    read: fn(&Value) -> Result<T, String>,
    place: &str,
    table: impl IntoIterator<Item = Value>,
) {
    for members in table {
        let error = read(&members).unwrap_err();
        assert!(error.starts_with(place), "{members}: {error}");
    }
}

pub(crate) fn isolator(name: &str, value: Value) -> Result<Isolator, String> {
    Isolator::new(name, value).map_err(|error| error.to_string())
}
