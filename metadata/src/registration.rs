//! What root asks at the Unix socket: pods are made known and forgotten.

use hyper::Method;
use uuid::Uuid;

use crate::{pods::Pods, reply::Reply};

/// Answers a request.
pub(crate) fn answer(
    pods: &mut Pods,
    method: &Method,
    path: &str,
    query: Option<&str>,
    body: Vec<u8>,
) -> Reply {
    let mut parts = path.strip_prefix("/pods/").unwrap_or_default().splitn(2, '/');
    let (uuid, app) = (parts.next().unwrap_or_default(), parts.next());
    let Ok(uuid) = uuid.parse::<Uuid>() else { return Reply::status(400, "not a UUID") };
    match (method, app) {
        (&Method::PUT, None) => {
            let query = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
            let token = query.filter(|(name, _)| name == "token").map(|(_, value)| value).next();
            match token.filter(|token| !token.is_empty()) {
                None => Reply::status(400, "the token is missing"),
                Some(token) => match pods.add(uuid, &token, body) {
                    None => Reply::status(400, "not a pod manifest"),
                    Some(()) => Reply::text(""),
                },
            }
        }
        (&Method::PUT, Some(app)) => match pods.by_uuid(uuid) {
            None => Reply::status(404, "no such pod"),
            Some(pod) => match Pods::add_image(pod, app, body) {
                None => Reply::status(400, "not an image manifest"),
                Some(()) => Reply::text(""),
            },
        },
        (&Method::DELETE, None) => match pods.remove(uuid) {
            true => Reply::text(""),
            false => Reply::status(404, "no such pod"),
        },
        _ => Reply::status(405, "PUT /pods/UUID?token=T, PUT /pods/UUID/APP, DELETE /pods/UUID"),
    }
}
