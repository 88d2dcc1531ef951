//! Making pods known to the service.

use std::{collections::BTreeMap, future::Future, time::Duration};

use http_body_util::Full;
use hyper::{Method, Request, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::{
    SOCKET,
    error::{Error, Result},
};

/// How often it is tried.
const TRIES: u32 = 3;

/// How long is waited between.
const PAUSE: Duration = Duration::from_secs(1);

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the service runs.
///
/// # Errors
/// [`Error::NotRunning`].
pub fn probe() -> Result<()> {
    std::os::unix::net::UnixStream::connect(SOCKET).map(drop).map_err(|_| not_running())
}

fn not_running() -> Error {
    Error::NotRunning { socket: SOCKET.to_owned() }
}

/// Makes a pod known: its manifest, and those of its apps' images by the apps' names. A pod whose apps cannot all be made known is
/// not known.
///
/// # Errors
/// Where the service does not run, does not answer, or refuses it.
pub fn register(uuid: &str, token: &str, manifest: &[u8], images: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    wait(async {
        ask(Method::PUT, &format!("/pods/{uuid}?token={token}"), manifest).await?;
        for (app, image) in images {
            if let Err(error) = ask(Method::PUT, &format!("/pods/{uuid}/{app}"), image).await {
                drop(ask(Method::DELETE, &format!("/pods/{uuid}"), &[]).await);
                return Err(error);
            }
        }
        Ok(())
    })
}

/// Has the service forget a pod.
///
/// # Errors
/// As [`register`].
pub fn unregister(uuid: &str) -> Result<()> {
    wait(ask(Method::DELETE, &format!("/pods/{uuid}"), &[]))
}

fn wait<T>(what: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("ask", "the metadata service"))?;
    runtime.block_on(what)
}

async fn ask(method: Method, path: &str, body: &[u8]) -> Result<()> {
    let mut last = not_running();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match tokio::time::timeout(PATIENCE, once(method.clone(), path, body)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error @ Error::Refused { .. })) => return Err(error),
            Ok(Err(error)) => last = error,
            Err(_) => last = Error::Slow(PATIENCE.as_secs()),
        }
    }
    Err(last)
}

async fn once(method: Method, path: &str, body: &[u8]) -> Result<()> {
    let stream = UnixStream::connect(SOCKET).await.map_err(|_| not_running())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let what = format!("{method} {}", path.split('?').next().unwrap_or_default());
    let refused = |status: String| Error::Refused { what: what.clone(), status };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "rkt")
        .body(Full::new(Bytes::copy_from_slice(body)))
        .map_err(|error| refused(error.to_string()))?;
    let response = sender.send_request(request).await?;
    connection.abort();
    match response.status() {
        status if status.is_success() => Ok(()),
        status => Err(refused(status.to_string())),
    }
}
