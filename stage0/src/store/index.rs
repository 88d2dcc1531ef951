//! The index of images, in SQLite: many processes read and write it, none has to be there.

use std::{
    fs,
    io::ErrorKind,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};

use super::{
    ImageRecord, Result, StoreError,
    origin::{Origin, Remote, Source},
    schema::{SCHEMA, UPGRADES, VERSION},
    workspace::{Workspace, make},
};
use rkt_pod::failpoint;

use crate::files::Step;

/// How long to wait for another process's transaction.
const PATIENCE: Duration = Duration::from_secs(30);

const COLUMNS: &str = "id, name, version, import_time, last_used, latest, size, tree_size";

/// The open index.
#[derive(Debug)]
pub(super) struct Index {
    connection: Connection,
    path: PathBuf,
}

impl Index {
    /// Opens the index below `base`; it is made where it is missing.
    pub(super) fn open(base: &Path) -> Result<Index> {
        let path = base.join("db/index.sqlite3");
        // SQLite tries again to read only what it could not open to write, and must not meet the file in between.
        if !path.exists() {
            create(base, &path)?;
        }
        let connection =
            if is_read_only(&path) { connect_to_fixed(&path) } else { connect(&path, OpenFlags::empty()) };
        let index = Index { connection: connection.map_err(|error| wrap(&path, error))?, path };
        match index.version()? {
            VERSION => Ok(index),
            1 | 2 => index.upgrade().map(|()| index),
            found => {
                Err(StoreError::Version { path: index.path.display().to_string(), found, known: VERSION })
            }
        }
    }

    /// Brings an index of an older version up to date, unless somebody else just has.
    fn upgrade(&self) -> Result<()> {
        let run = || -> rusqlite::Result<()> {
            let transaction =
                rusqlite::Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            for (from, step) in UPGRADES {
                if version <= from {
                    transaction.execute_batch(step)?;
                }
            }
            failpoint!("index-upgraded");
            transaction.commit()
        };
        run().map_err(|error| self.wrap(error))
    }

    fn version(&self) -> Result<i64> {
        self.connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(|error| self.wrap(error))
    }

    fn wrap(&self, error: rusqlite::Error) -> StoreError {
        wrap(&self.path, error)
    }

    /// The image that was imported from this very file.
    pub(super) fn by_source(&self, source: &Source) -> Result<Option<ImageRecord>> {
        let columns = COLUMNS.replace(", size", ", image.size");
        let sql = format!(
            "SELECT {columns} FROM source JOIN image ON image.id = source.image WHERE path = ?1 AND device = ?2 \
             AND inode = ?3 AND source.size = ?4 AND mtime = ?5 AND ctime = ?6 AND verified >= ?7"
        );
        let values = params![
            source.path,
            source.device,
            source.inode,
            source.size,
            source.mtime,
            source.ctime,
            source.verified
        ];
        self.connection.query_row(&sql, values, read).optional().map_err(|error| self.wrap(error))
    }

    /// The image with this ID.
    pub(super) fn by_id(&self, id: &str) -> Result<Option<ImageRecord>> {
        let sql = format!("SELECT {COLUMNS} FROM image WHERE id = ?1");
        self.connection.query_row(&sql, [id], read).optional().map_err(|error| self.wrap(error))
    }

    /// The images whose ID starts with `prefix`.
    pub(super) fn by_id_prefix(&self, prefix: &str) -> Result<Vec<ImageRecord>> {
        // '~' sorts after all that an ID has.
        self.query("WHERE id >= ?1 AND id < ?1 || '~'", [prefix])
    }

    /// The images of this name.
    pub(super) fn by_name(&self, name: &str) -> Result<Vec<ImageRecord>> {
        self.query("WHERE name = ?1", [name])
    }

    /// All images.
    pub(super) fn all(&self) -> Result<Vec<ImageRecord>> {
        self.query("ORDER BY import_time, id", [])
    }

    fn query<P: rusqlite::Params>(&self, rest: &str, values: P) -> Result<Vec<ImageRecord>> {
        let run = || -> rusqlite::Result<Vec<ImageRecord>> {
            let mut statement = self.connection.prepare(&format!("SELECT {COLUMNS} FROM image {rest}"))?;
            statement.query_map(values, read)?.collect()
        };
        run().map_err(|error| self.wrap(error))
    }

    /// Adds an image, where it came from, and the layers that it is made of, the lowest first.
    pub(super) fn add(&self, image: &ImageRecord, origin: &Origin<'_>, layers: &[String]) -> Result<()> {
        let run = || -> rusqlite::Result<()> {
            let transaction =
                rusqlite::Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            transaction.execute(
                &format!("INSERT OR REPLACE INTO image ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
                params![
                    image.id.as_str(),
                    image.name,
                    image.version,
                    image.import_time,
                    image.last_used,
                    image.latest,
                    image.size,
                    image.tree_size
                ],
            )?;
            if !layers.is_empty() {
                transaction.execute("DELETE FROM layer WHERE image = ?1", [image.id.as_str()])?;
            }
            for (position, layer) in layers.iter().enumerate() {
                transaction.execute(
                    "INSERT OR REPLACE INTO layer (image, position, tree) VALUES (?1, ?2, ?3)",
                    params![image.id.as_str(), i64::try_from(position).unwrap_or(i64::MAX), layer],
                )?;
            }
            origin.note(&transaction, image.id.as_str())?;
            transaction.commit()
        };
        run().map_err(|error| self.wrap(error))
    }

    /// The trees of the layers that an image is made of, the lowest first; none where it is not made of layers.
    pub(super) fn layers(&self, id: &str) -> Result<Vec<String>> {
        let run = || -> rusqlite::Result<Vec<String>> {
            let sql = "SELECT tree FROM layer WHERE image = ?1 ORDER BY position";
            self.connection.prepare(sql)?.query_map([id], |row| row.get(0))?.collect()
        };
        run().map_err(|error| self.wrap(error))
    }

    /// What was downloaded from this URL, and the image that it was.
    pub(super) fn by_url(&self, url: &str) -> Result<Option<(Remote, String)>> {
        let sql = "SELECT etag, max_age, time, verified, image FROM remote WHERE url = ?1";
        let read = |row: &Row<'_>| {
            let remote = Remote {
                url: url.to_owned(),
                etag: row.get(0)?,
                max_age: row.get(1)?,
                time: row.get(2)?,
                verified: row.get(3)?,
            };
            Ok((remote, row.get(4)?))
        };
        self.connection.query_row(sql, [url], read).optional().map_err(|error| self.wrap(error))
    }

    /// Notes the size of an image's tree.
    pub(super) fn set_tree_size(&self, id: &str, size: i64) -> Result<()> {
        let sql = "UPDATE image SET tree_size = ?2 WHERE id = ?1";
        self.connection.execute(sql, params![id, size]).map(drop).map_err(|error| self.wrap(error))
    }

    /// Notes that an image is used.
    pub(super) fn set_last_used(&self, id: &str, time: i64) -> Result<()> {
        let sql = "UPDATE image SET last_used = ?2 WHERE id = ?1";
        self.connection.execute(sql, params![id, time]).map(drop).map_err(|error| self.wrap(error))
    }

    /// Forgets an image and the files it came from.
    pub(super) fn remove(&self, id: &str) -> Result<()> {
        let run = || -> rusqlite::Result<()> {
            let transaction =
                rusqlite::Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            transaction.execute("DELETE FROM source WHERE image = ?1", [id])?;
            transaction.execute("DELETE FROM remote WHERE image = ?1", [id])?;
            transaction.execute("DELETE FROM layer WHERE image = ?1", [id])?;
            transaction.execute("DELETE FROM image WHERE id = ?1", [id])?;
            transaction.commit()
        };
        run().map_err(|error| self.wrap(error))
    }
}

fn connect(path: &Path, more: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// Whether nobody can write to what is on this file system.
pub(super) fn is_read_only(path: &Path) -> bool {
    use rustix::fs::StatVfsMountFlags;
    rustix::fs::statvfs(path).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Opens an index that cannot be written. SQLite would want to make a file beside it even to read, unless it is told that
/// nobody changes anything.
fn connect_to_fixed(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' => uri.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags)
}

/// Makes an empty index elsewhere and links it into place, so that nobody ever sees half of one. SQLite could not do that
/// for many at once: to switch to WAL it needs the file for itself, and does not wait for it.
fn create(base: &Path, path: &Path) -> Result<()> {
    let workspace = Workspace::new(base)?;
    let new = workspace.path().join("index");
    let fill = || -> rusqlite::Result<()> {
        let connection = connect(&new, OpenFlags::SQLITE_OPEN_CREATE)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.execute_batch(SCHEMA)?;
        connection.close().map_err(|(_, error)| error)
    };
    fill().map_err(|error| wrap(&new, error))?;
    failpoint!("index-made");
    make(&base.join("db"))?;
    match fs::hard_link(&new, path) {
        // Somebody else was first.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => Ok(other.step("make image index", path)?),
    }
}

fn wrap(path: &Path, error: rusqlite::Error) -> StoreError {
    StoreError::Index(path.display().to_string(), error)
}

fn read(row: &Row<'_>) -> rusqlite::Result<ImageRecord> {
    let id: String = row.get(0)?;
    let id = id.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok(ImageRecord {
        id,
        name: row.get(1)?,
        version: row.get(2)?,
        import_time: row.get(3)?,
        last_used: row.get(4)?,
        latest: row.get(5)?,
        size: row.get(6)?,
        tree_size: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_who_make_it_at_once_have_one() {
        for _ in 0..20 {
            let base = tempfile::tempdir().unwrap();
            std::thread::scope(|scope| {
                for number in 0..16 {
                    let base = base.path();
                    scope.spawn(move || {
                        let index = Index::open(base).unwrap();
                        let id = format!("sha512-{number:0128x}");
                        let image = ImageRecord {
                            id: id.parse().unwrap(),
                            name: "example.com/x".to_owned(),
                            version: None,
                            import_time: number,
                            last_used: 0,
                            latest: true,
                            size: 0,
                            tree_size: 0,
                        };
                        let source = Source {
                            path: format!("/{number}"),
                            device: 0,
                            inode: 0,
                            size: 0,
                            mtime: 0,
                            ctime: 0,
                            verified: false,
                        };
                        index.add(&image, &Origin::File(&source), &[]).unwrap();
                    });
                }
            });
            assert_eq!(Index::open(base.path()).unwrap().all().unwrap().len(), 16);
            assert_eq!(fs::read_dir(base.path().join("tmp")).unwrap().count(), 0);
        }
    }

    #[test]
    fn an_older_index_is_brought_up_to_date() {
        let base = tempfile::tempdir().unwrap();
        drop(Index::open(base.path()).unwrap());
        let old = Connection::open(base.path().join("db/index.sqlite3")).unwrap();
        old.execute_batch(
            "ALTER TABLE source DROP COLUMN verified; DROP TABLE remote; DROP TABLE layer; PRAGMA user_version = 1;",
        )
        .unwrap();
        old.execute_batch("INSERT INTO image VALUES ('sha512-ab', 'a', NULL, 1, 1, 1, 1, 1)").unwrap();
        old.execute_batch("INSERT INTO source VALUES ('/a', 1, 1, 1, 1, 1, 'sha512-ab')").unwrap();
        drop(old);
        let index = Index::open(base.path()).unwrap();
        let mut source = Source {
            path: "/a".to_owned(),
            device: 1,
            inode: 1,
            size: 1,
            mtime: 1,
            ctime: 1,
            verified: false,
        };
        assert_eq!(index.by_source(&source).unwrap().unwrap().name, "a");
        source.verified = true;
        assert!(index.by_source(&source).unwrap().is_none(), "nobody has verified it");
        assert_eq!(index.layers("sha512-ab").unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_index_of_ours_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("db/index.sqlite3");
        drop(Index::open(base.path()).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = Index::open(base.path()).unwrap_err().to_string();
        assert!(error.ends_with("it has version 99, this rkt knows 3; use the rkt that made it"), "{error}");
        fs::write(&path, "x".repeat(10_000)).unwrap();
        let error = Index::open(base.path()).unwrap_err().to_string();
        assert!(error.contains("file is not a database"), "{error}");
    }
}
