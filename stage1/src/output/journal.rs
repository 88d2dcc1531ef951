//! An app's output in the journal, each line with the fields by which `journalctl` finds it.

use std::os::fd::BorrowedFd;

use libsystemd::logging::{Priority, journal_send};

use super::{Stream, lines::Line};

/// Where journald listens.
pub(crate) const SOCKET: &str = "/run/systemd/journal/socket";

/// Sends the lines of one pod.
#[derive(Debug)]
pub(crate) struct Journal {
    uuid: String,
}

impl Journal {
    /// For the pod `uuid`.
    pub(crate) fn new(uuid: &str) -> Journal {
        Journal { uuid: uuid.to_owned() }
    }

    /// Sends one line. What journald does not take is lost, as its own clients lose it.
    pub(crate) fn send(&self, app: &str, stream: Stream, line: &Line<'_>) {
        let (priority, text) = priority_of(line.text, stream);
        let text = String::from_utf8_lossy(text);
        // `journalctl -u` and `systemctl status` show entries of root that name the unit in this field.
        let unit = crate::launcher::app_unit(&self.uuid, app);
        let fields = [
            ("RKT_POD_UUID", self.uuid.as_str()),
            ("RKT_APP_NAME", app),
            ("SYSLOG_IDENTIFIER", app),
            ("OBJECT_SYSTEMD_UNIT", unit.as_str()),
        ];
        if journal_send(priority, &text, fields.into_iter()).is_err() {
            // Nobody to tell: the journal is where we would.
        }
    }
}

/// The priority of a line: `<N>` at its start, as systemd reads it from services, else by its stream.
fn priority_of(text: &[u8], stream: Stream) -> (Priority, &[u8]) {
    const PRIORITIES: [Priority; 8] = [
        Priority::Emergency,
        Priority::Alert,
        Priority::Critical,
        Priority::Error,
        Priority::Warning,
        Priority::Notice,
        Priority::Info,
        Priority::Debug,
    ];
    if let [b'<', digit @ b'0'..=b'7', b'>', rest @ ..] = text {
        return (PRIORITIES[usize::from(digit - b'0')], rest);
    }
    match stream {
        Stream::Out => (Priority::Info, text),
        Stream::Err => (Priority::Notice, text),
    }
}

/// Whether `fd` is the stream to the journal that systemd gave to a service (`$JOURNAL_STREAM`).
pub(crate) fn is_journal_stream(fd: BorrowedFd<'_>) -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(fd).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
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
            let (got, got_rest) = priority_of(text, Stream::Out);
            assert_eq!((u8::from(got), got_rest), (priority, rest));
        }
    }
}
