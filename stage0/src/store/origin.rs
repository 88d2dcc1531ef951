//! Where images came from, and by what one sees that nothing has changed there.

use rusqlite::params;

/// A file that was imported, and by what one sees that it has not changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its absolute path.
    pub(super) path: String,
    /// Device number.
    pub(super) device: i64,
    /// Inode number.
    pub(super) inode: i64,
    /// Bytes.
    pub(super) size: i64,
    /// Nanoseconds since the epoch.
    pub(super) mtime: i64,
    /// Nanoseconds since the epoch.
    pub(super) ctime: i64,
    /// Whether its signature was verified; where one is looked for, whether it must have been.
    pub(super) verified: bool,
}

/// What was downloaded, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    /// The URL.
    pub(super) url: String,
    /// By what the server knows it again.
    pub(crate) etag: Option<String>,
    /// For how many seconds nobody need ask again.
    pub(super) max_age: i64,
    /// When: seconds since the epoch.
    pub(super) time: i64,
    /// Whether its signature was verified.
    pub(super) verified: bool,
}

/// Where an image came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin<'a> {
    /// From a file.
    File(&'a Source),
    /// From a URL.
    Remote(&'a Remote),
    /// From where nothing tells whether it has changed.
    Elsewhere,
}

impl Origin<'_> {
    /// Notes it, so that the image is known again.
    pub(super) fn note(&self, transaction: &rusqlite::Transaction<'_>, image: &str) -> rusqlite::Result<()> {
        match self {
            Origin::File(source) => transaction.execute(
                "INSERT OR REPLACE INTO source (path, device, inode, size, mtime, ctime, image, verified) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    source.path,
                    source.device,
                    source.inode,
                    source.size,
                    source.mtime,
                    source.ctime,
                    image,
                    source.verified
                ],
            ),
            Origin::Remote(remote) => transaction.execute(
                "INSERT OR REPLACE INTO remote (url, etag, max_age, time, image, verified) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![remote.url, remote.etag, remote.max_age, remote.time, image, remote.verified],
            ),
            Origin::Elsewhere => Ok(0),
        }
        .map(drop)
    }
}

impl Remote {
    /// What was downloaded just now, and is asked for again each time.
    pub(crate) fn now(url: String, etag: String) -> Remote {
        Remote { url, etag: Some(etag), max_age: 0, time: super::import::seconds_now(), verified: false }
    }
}
