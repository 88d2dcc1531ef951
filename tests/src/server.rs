//! A web server for tests, which says whatever a test wants it to, true or not.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// What a client asked.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The path with its query.
    pub path: String,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn read(stream: &TcpStream) -> Option<Request> {
        let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
        let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
        let mut headers = Vec::new();
        for line in lines {
            let line = line.ok()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        Some(Request { path, headers })
    }
}

/// Answers every request with `answer`, each in a thread of its own, as long as the test runs. Returns the address, and a
/// counter of requests.
pub fn serve(
    answer: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let (counter, answer) = (Arc::clone(&counter), Arc::clone(&answer));
            thread::spawn(move || {
                if let Some(request) = Request::read(&stream) {
                    counter.fetch_add(1, Ordering::SeqCst);
                    answer(&request, &mut stream);
                }
            });
        }
    });
    (address, requests)
}

/// A whole answer. That the other side has left already is its own matter.
pub fn send(stream: &mut TcpStream, head: &str, body: &[u8]) {
    stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes()).ok();
    stream.write_all(body).ok();
}

/// An answer with a body of the length that it says.
pub fn send_body(stream: &mut TcpStream, head: &str, body: &[u8]) {
    send(stream, &format!("{head}\r\nContent-Length: {}", body.len()), body);
}

/// A proxy that connects everybody who asks to `target`, whatever they ask for. Returns its address, and the lines that
/// it is asked with.
pub fn tunnel(target: &str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (asked, target) = (Arc::new(Mutex::new(Vec::new())), target.to_owned());
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (log, target) = (Arc::clone(&log), target.clone());
            thread::spawn(move || connect(&client, &target, &log));
        }
    });
    (address, asked)
}

fn connect(client: &TcpStream, target: &str, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut head = BufReader::new(client.try_clone().ok()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        head.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    log.lock().ok()?.extend(lines);
    let server = TcpStream::connect(target).ok()?;
    (&*client).write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
    let (mut from, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    thread::spawn(move || {
        io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Write).ok();
    });
    io::copy(&mut head, &mut &server).ok();
    Some(())
}
