//! The service's listeners.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
};

use crate::{
    SOCKET, api,
    error::{Error, Result},
    key::Key,
    pods::Pods,
    registration,
    reply::Reply,
    socket,
};

/// Most connections at once; others wait.
const CONNECTIONS: usize = 256;

/// How long a connection may take in all.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that an app may send: a form to sign.
const LARGEST_FORM: usize = 1 << 20;

/// Bytes of a manifest.
const LARGEST_MANIFEST: usize = 16 << 20;

/// How the service is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where apps ask.
    pub port: u16,
    /// The data directory, whose running pods are known again.
    pub data: PathBuf,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
enum Side {
    App,
    Root,
}

#[derive(Debug)]
struct State {
    key: Key,
    pods: Mutex<Pods>,
    connections: Semaphore,
}

/// Serves until it is asked to end (SIGINT, SIGTERM). `log` gets a line for each request.
///
/// # Errors
/// Where it cannot listen, or its key cannot be read or made.
pub fn serve(options: &Options, log: fn(&str)) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start", "the metadata service"))?;
    runtime.block_on(run(options, log))
}

async fn run(options: &Options, log: fn(&str)) -> Result<()> {
    let socket = Path::new(SOCKET);
    let registration = socket::listen(socket)?;
    let address = (Ipv4Addr::UNSPECIFIED, options.port);
    let public = TcpListener::bind(address)
        .await
        .map_err(Error::io("listen at", format!("{}:{}", address.0, address.1)))?;
    let state = Arc::new(State {
        key: Key::load(&socket.with_extension("key"))?,
        pods: Mutex::new(Pods::running(&options.data)),
        connections: Semaphore::new(CONNECTIONS),
    });
    let stop = |kind: SignalKind| signal(kind).map_err(Error::io("watch", "signals"));
    let (mut interrupted, mut terminated) = (stop(SignalKind::interrupt())?, stop(SignalKind::terminate())?);
    log(&format!("listening at {SOCKET} and port {}", options.port));
    loop {
        tokio::select! {
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
            accepted = registration.accept() => match accepted {
                Ok((stream, _)) => take(Arc::clone(&state), stream, Side::Root, log),
                Err(_) => rest().await,
            },
            accepted = public.accept() => match accepted {
                Ok((stream, _)) => take(Arc::clone(&state), stream, Side::App, log),
                Err(_) => rest().await,
            },
        }
    }
}

/// After an error of accept(2): mostly there are too few descriptors, which passes.
async fn rest() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn take<S>(state: Arc<State>, stream: S, side: Side, log: fn(&str))
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        let Ok(_permit) = state.connections.acquire().await else { return };
        let service = service_fn(|request| answer(&state, request, side, log));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), service);
        if tokio::time::timeout(PATIENCE, connection).await.is_err() {
            // Whoever takes longer is not answered.
        }
    });
}

async fn answer(
    state: &State,
    request: Request<Incoming>,
    side: Side,
    log: fn(&str),
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let (path, query) = (head.uri.path(), head.uri.query());
    let limit = match side {
        Side::App => LARGEST_FORM,
        Side::Root => LARGEST_MANIFEST,
    };
    let reply = match Limited::new(body, limit).collect().await {
        Err(_) => Reply::status(413, "too large, or cut short"),
        Ok(body) => {
            let body = body.to_bytes();
            let mut pods = state.pods.lock().unwrap_or_else(PoisonError::into_inner);
            match side {
                Side::App => api::answer(&pods, &state.key, &head.method, path, &body),
                Side::Root => registration::answer(&mut pods, &head.method, path, query, body.to_vec()),
            }
        }
    };
    log(&format!("{} {} - {}", head.method, shown(path, side), reply.status));
    Ok(response(reply))
}

/// The path as it may stand in a log: without a token.
fn shown(path: &str, side: Side) -> &str {
    match side {
        Side::Root => path,
        Side::App => path.get(1..).and_then(|path| path.split_once('/')).map_or("", |(_, rest)| rest),
    }
}

fn response(reply: Reply) -> Response<Full<Bytes>> {
    let mut builder = Response::builder().status(reply.status);
    if let Some(kind) = reply.kind {
        builder = builder.header(CONTENT_TYPE, kind);
    }
    builder.body(Full::new(Bytes::from(reply.body))).unwrap_or_default()
}
