//! What apps ask.

use std::borrow::Cow;

use appc::types::Annotations;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::Method;
use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;

use crate::{
    key::Key,
    pods::{Pod, Pods},
    reply::Reply,
};

const PREFIX: &str = "acMetadata/v1/";

/// Answers a request. `form` is its body.
pub(crate) fn answer(pods: &Pods, key: &Key, method: &Method, path: &str, form: &[u8]) -> Reply {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (token, rest) = path.split_once('/').unwrap_or((path, ""));
    let Some(pod) = pods.by_token(token) else { return Reply::status(401, "unknown token") };
    let Some(rest) = rest.strip_prefix(PREFIX) else { return Reply::status(404, "no such object") };
    match (method, rest.split_once('/')) {
        (&Method::GET, Some(("pod", what))) => of_pod(pod, what),
        (&Method::GET, Some(("apps", what))) => of_app(pod, what),
        (&Method::POST, Some(("pod", "hmac/sign"))) => sign(pod, key, form),
        (&Method::POST, Some(("pod", "hmac/verify"))) => verify(key, form),
        (&Method::GET | &Method::POST, _) => Reply::status(404, "no such object"),
        _ => Reply::status(405, "GET or POST"),
    }
}

fn of_pod(pod: &Pod, what: &str) -> Reply {
    match what {
        "uuid" => Reply::text(pod.uuid.to_string()),
        "manifest" => Reply::json(pod.text.clone()),
        "annotations" => Reply::json(annotations_of(&pod.text)),
        _ => match what.strip_prefix("annotations/") {
            Some(name) => annotation(&pod.manifest.annotations, name),
            None => Reply::status(404, "no such object"),
        },
    }
}

/// The list as the manifest has it, to the letter: whoever compares the two finds them the same.
fn annotations_of(manifest: &[u8]) -> Vec<u8> {
    #[derive(serde::Deserialize)]
    struct Only<'a> {
        #[serde(borrow)]
        annotations: Option<&'a RawValue>,
    }
    let list = serde_json::from_slice::<Only<'_>>(manifest).ok().and_then(|only| only.annotations);
    list.map_or(b"null".to_vec(), |list| list.get().as_bytes().to_vec())
}

fn of_app(pod: &Pod, what: &str) -> Reply {
    let (name, what) = what.split_once('/').unwrap_or((what, ""));
    let app = pod.manifest.apps.iter().find(|app| app.name.as_str() == name);
    let (Some(app), Some((text, image))) = (app, pod.images.get(name)) else {
        return Reply::status(404, "no such app");
    };
    let merged = || {
        let mut all = image.annotations.clone();
        for annotation in &app.annotations {
            if all.set(annotation.name.as_str(), &annotation.value).is_err() {
                // It is valid where it comes from.
            }
        }
        all
    };
    match what {
        "image/manifest" => Reply::json(text.clone()),
        "image/id" => app
            .image
            .id
            .as_ref()
            .map_or_else(|| Reply::status(404, "no id"), |id| Reply::text(id.to_string())),
        "annotations" => {
            let merged = merged();
            let list = merged.iter().map(|one| json!({"name": one.name.as_str(), "value": one.value}));
            Reply::json(Value::Array(list.collect()).to_string().into_bytes())
        }
        _ => match what.strip_prefix("annotations/") {
            Some(name) => annotation(&merged(), name),
            None => Reply::status(404, "no such object"),
        },
    }
}

fn annotation(all: &Annotations, name: &str) -> Reply {
    if name.parse::<appc::types::AcIdentifier>().is_err() {
        return Reply::status(400, "not the name of an annotation");
    }
    all.get(name).map_or_else(|| Reply::status(404, "no such annotation"), Reply::text)
}

fn sign(pod: &Pod, key: &Key, form: &[u8]) -> Reply {
    match field(form, "content") {
        Some(content) => Reply::text(STANDARD.encode(key.sign(pod.uuid, content.as_bytes()))),
        None => Reply::status(400, "content is missing"),
    }
}

/// Any pod may ask about the signature of any other, by its UUID.
fn verify(key: &Key, form: &[u8]) -> Reply {
    let uuid = field(form, "uuid").and_then(|uuid| uuid.parse::<Uuid>().ok());
    let signature = field(form, "signature").and_then(|text| STANDARD.decode(text.as_bytes()).ok());
    let (Some(content), Some(uuid), Some(signature)) = (field(form, "content"), uuid, signature) else {
        return Reply::status(400, "content, uuid or signature is missing or malformed");
    };
    match key.verify(uuid, content.as_bytes(), &signature) {
        true => Reply::text(""),
        false => Reply::status(403, "not the signature of this pod"),
    }
}

fn field<'a>(form: &'a [u8], wanted: &str) -> Option<Cow<'a, str>> {
    form_urlencoded::parse(form).find(|(name, _)| name == wanted).map(|(_, value)| value)
}
