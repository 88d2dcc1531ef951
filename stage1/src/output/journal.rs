//! An app's output in the journal, each line with the fields by which `journalctl` finds it.
//!
//! Spoken in journald's native protocol, on a socket of our own: those of the journal's client libraries wait for a journald
//! that hangs, and a supervisor waits for nobody.

use std::{
    collections::{HashMap, VecDeque},
    io::IoSlice,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    rc::Rc,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt},
};

use super::{Stream, lines::Line};

/// Where the host's journald listens.
pub(crate) const SOCKET: &str = "/run/systemd/journal/socket";

/// How much may be on its way to journald, in bytes: what its own clients ask for.
const SEND_BUFFER: usize = 8 << 20;

/// Sends the lines of one pod.
#[derive(Debug)]
pub(crate) struct Journal {
    uuid: String,
    /// Where journald listens.
    address: PathBuf,
    /// The service that shows the lines as its own.
    service: Option<String>,
    socket: Option<OwnedFd>,
    /// The fields of each app, by its name.
    fields: HashMap<String, Rc<[u8]>>,
    /// What journald has not taken yet: the lines of a chunk, since nothing is read as long as something is left.
    pending: VecDeque<Entry>,
}

/// One line as it is sent.
#[derive(Debug)]
struct Entry {
    fields: Rc<[u8]>,
    stream: Stream,
    priority: u8,
    text: Vec<u8>,
}

impl Journal {
    /// For the pod `uuid`, at the socket `address`. Where the pod was started in a unit whose own streams lead to the
    /// journal, each line is the unit's as well.
    pub(crate) fn new(uuid: &str, address: PathBuf, service: Option<String>) -> Journal {
        let (fields, pending) = (HashMap::new(), VecDeque::new());
        Journal { uuid: uuid.to_owned(), address, service, socket: None, fields, pending }
    }

    /// Sends one line, or keeps it until journald takes it. Where no journald is, it is lost.
    pub(crate) fn send(&mut self, app: &str, stream: Stream, line: &Line<'_>) {
        let (priority, text) = priority_of(line.text, stream);
        let fields = self.fields_of(app);
        if !self.pending.is_empty() || !self.takes(&fields, stream, priority, text) {
            self.pending.push_back(Entry { fields, stream, priority, text: text.to_owned() });
        }
    }

    /// The socket, where journald has not taken all.
    pub(crate) fn blocked(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().filter(|_| !self.pending.is_empty()).map(AsFd::as_fd)
    }

    /// Goes on with what journald has not taken.
    pub(crate) fn flush(&mut self) {
        while let Some(entry) = self.pending.pop_front() {
            if !self.takes(&entry.fields, entry.stream, entry.priority, &entry.text) {
                self.pending.push_front(entry);
                return;
            }
        }
    }

    /// Forgets what journald has not taken.
    pub(crate) fn give_up(&mut self) {
        self.pending.clear();
    }

    fn fields_of(&mut self, app: &str) -> Rc<[u8]> {
        if let Some(fields) = self.fields.get(app) {
            return Rc::clone(fields);
        }
        // `journalctl -u` and `systemctl status` show entries of root that name the unit in this field.
        let unit = crate::launcher::app_unit(&self.uuid, app);
        let uuid = &self.uuid;
        let mut text = format!(
            "RKT_POD_UUID={uuid}\nRKT_APP_NAME={app}\nSYSLOG_IDENTIFIER={app}\nOBJECT_SYSTEMD_UNIT={unit}\n"
        );
        // Journald finds out by itself in which unit the sender is, unless that has ended before.
        if let Some(service) = &self.service {
            text.push_str("OBJECT_SYSTEMD_UNIT=");
            text.push_str(service);
            text.push('\n');
        }
        let fields: Rc<[u8]> = text.into_bytes().into();
        self.fields.insert(app.to_owned(), Rc::clone(&fields));
        fields
    }

    /// Whether there is nothing left to do for this line: it was taken, or never will be.
    fn takes(&mut self, fields: &[u8], stream: Stream, priority: u8, text: &[u8]) -> bool {
        // A line has no newline within, so that it needs no length in front of it.
        let stream = stream.name();
        let head = format!("RKT_STREAM={stream}\nPRIORITY={priority}\nMESSAGE=");
        let parts = [fields, head.as_bytes(), text, b"\n"].map(IoSlice::new);
        // A second time where journald listens anew, at another socket.
        for _ in 0..2 {
            if self.socket.is_none() {
                self.socket = connect(&self.address).ok();
            }
            let Some(socket) = &self.socket else { return true };
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::sendmsg(socket, &parts, &mut SendAncillaryBuffer::default(), flags) {
                Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => return false,
                Ok(_) | Err(Errno::MSGSIZE) => return true,
                Err(_) => self.socket = None,
            }
        }
        true
    }
}

fn connect(address: &Path) -> Result<OwnedFd, Errno> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    if sockopt::set_socket_send_buffer_size_force(&socket, SEND_BUFFER).is_err() {
        // What fits by default has to do.
    }
    rustix::net::connect(&socket, &SocketAddrUnix::new(address)?)?;
    Ok(socket)
}

/// The priority of a line: `<N>` at its start, as systemd reads it from services, else by its stream.
fn priority_of(text: &[u8], stream: Stream) -> (u8, &[u8]) {
    const NOTICE: u8 = 5;
    const INFO: u8 = 6;
    if let [b'<', digit @ b'0'..=b'7', b'>', rest @ ..] = text {
        return (digit - b'0', rest);
    }
    match stream {
        Stream::Out => (INFO, text),
        Stream::Err => (NOTICE, text),
    }
}

/// Whether `fd` is the stream to the journal that systemd gave to a service (`$JOURNAL_STREAM`).
pub(crate) fn is_journal_stream(fd: BorrowedFd<'_>) -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(fd).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The service that we are in, where systemd has led its output to the journal.
pub(crate) fn service() -> Option<String> {
    let is_journal = [rustix::stdio::stdout(), rustix::stdio::stderr()].into_iter().any(is_journal_stream);
    is_journal.then(crate::launcher::own_service).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_sets_the_priority() {
        let table: [(&[u8], u8, &[u8]); 5] = [
            (b"<3>disk on fire", 3, b"disk on fire"),
            (b"<8>no priority", 6, b"<8>no priority"),
            (b"<3 not closed", 6, b"<3 not closed"),
            (b"plain", 6, b"plain"),
            (b"", 6, b""),
        ];
        for (text, priority, rest) in table {
            assert_eq!(priority_of(text, Stream::Out), (priority, rest));
        }
        assert_eq!(priority_of(b"plain", Stream::Err).0, 5);
    }
}
