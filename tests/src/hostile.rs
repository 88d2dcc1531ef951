//! A web server that does what it is told, however wrong that is: for tests of what becomes of an image that comes from
//! such a server.

use std::{
    io::Write,
    net::TcpStream,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::server::{Request, serve};

/// What the server does with a request. A head is a status and headers, without the last line break.
#[derive(Debug, Clone)]
pub enum Act {
    /// Sends this, and closes the connection, whatever the head announces.
    Send(String, Vec<u8>),
    /// Sends this, and resets the connection.
    Reset(String, Vec<u8>),
    /// Sends this, and nothing more.
    Stall(String, Vec<u8>),
    /// Sends the head, and then the body a byte at a time.
    Drip(String, Vec<u8>, Duration),
    /// Sends the head, and then the first piece, and then the second again and again.
    Endless(String, Vec<u8>, Vec<u8>),
    /// Sends bytes of a head a byte at a time.
    DripHead(Duration),
    /// Sends headers again and again.
    EndlessHead,
    /// Sends what is asked of the body, which has this entity tag, as a good server does.
    Good(String, Vec<u8>),
}

impl Act {
    /// A body and its length, with more headers.
    pub fn whole(headers: &str, body: &[u8]) -> Act {
        Act::Send(head(headers, body.len()), body.to_vec())
    }

    /// The connection ends after `length` bytes of a body.
    pub fn cut(headers: &str, body: &[u8], length: usize) -> Act {
        Act::Send(head(headers, body.len()), body[..length].to_vec())
    }

    /// The connection is reset after `length` bytes of a body.
    pub fn reset(headers: &str, body: &[u8], length: usize) -> Act {
        Act::Reset(head(headers, body.len()), body[..length].to_vec())
    }

    /// Nothing comes after `length` bytes of a body.
    pub fn stall(headers: &str, body: &[u8], length: usize) -> Act {
        Act::Stall(head(headers, body.len()), body[..length].to_vec())
    }

    /// A status without a body.
    pub fn status(status: &str) -> Act {
        Act::Send(format!("{status}\r\nContent-Length: 0"), Vec::new())
    }

    /// Sends all that is told. That the other side has left already is its own matter.
    fn perform(&self, request: &Request, stream: &mut TcpStream) {
        let start = |stream: &mut TcpStream, head: &str| {
            stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes()).ok();
        };
        match self {
            Act::Send(head, body) => {
                start(stream, head);
                stream.write_all(body).ok();
            }
            Act::Reset(head, body) => {
                start(stream, head);
                stream.write_all(body).ok();
                // What was sent arrives first.
                thread::sleep(Duration::from_millis(300));
                rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO)).ok();
            }
            Act::Stall(head, body) => {
                start(stream, head);
                stream.write_all(body).ok();
                thread::sleep(Duration::from_secs(60));
            }
            Act::Drip(head, body, pause) => {
                start(stream, head);
                drip(stream, body, *pause);
            }
            Act::Endless(head, first, piece) => {
                start(stream, head);
                stream.write_all(first).ok();
                while stream.write_all(piece).is_ok() {}
            }
            Act::DripHead(pause) => {
                drip(stream, &[b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; 10_000][..]].concat(), *pause);
            }
            Act::EndlessHead => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n").ok();
                while stream.write_all(b"X-Header: and another one\r\n").is_ok() {}
            }
            Act::Good(etag, body) => {
                let same = request.header("if-range").is_none_or(|known| known == etag);
                let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
                let from = range.and_then(|range| range.strip_suffix('-')).and_then(|from| from.parse().ok());
                let (status, from) = match from.filter(|_| same) {
                    Some(from) if from < body.len() => {
                        let (end, all) = (body.len() - 1, body.len());
                        (format!("206 Partial Content\r\nContent-Range: bytes {from}-{end}/{all}"), from)
                    }
                    Some(_) => ("416 Range Not Satisfiable".to_owned(), body.len()),
                    None => ("200 OK".to_owned(), 0),
                };
                let rest = &body[from..];
                start(stream, &format!("{status}\r\nETag: {etag}\r\nContent-Length: {}", rest.len()));
                stream.write_all(rest).ok();
            }
        }
    }
}

fn head(headers: &str, length: usize) -> String {
    let headers: String = headers.lines().map(|header| format!("{header}\r\n")).collect();
    format!("200 OK\r\n{headers}Content-Length: {length}")
}

fn drip(stream: &mut TcpStream, bytes: &[u8], pause: Duration) {
    for byte in bytes {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        thread::sleep(pause);
    }
}

/// A server that does one act after the other, and the last one again and again.
#[derive(Debug)]
pub struct HostileServer {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl HostileServer {
    /// Starts one, for as long as the test runs.
    pub fn new(script: Vec<Act>) -> HostileServer {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let (address, _) = serve(move |request, stream| {
            let number = {
                let mut seen = seen.lock().unwrap();
                seen.push(request.clone());
                seen.len()
            };
            script[number.min(script.len()) - 1].perform(request, stream);
        });
        HostileServer { address, requests }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}
