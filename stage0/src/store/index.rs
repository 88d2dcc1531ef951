//! The index of images, in SQLite: many processes read and write it, none has to be there.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};

use super::{
    ImageRecord, Result, StoreError,
    workspace::{Workspace, make},
};
use crate::files::Step;

/// The version of the tables below.
const VERSION: i64 = 1;

/// How long to wait for another process's transaction.
const PATIENCE: Duration = Duration::from_secs(30);

const SCHEMA: &str = "
    CREATE TABLE image (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT, import_time INTEGER NOT NULL,
        last_used INTEGER NOT NULL, latest INTEGER NOT NULL, size INTEGER NOT NULL, tree_size INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX image_by_name ON image (name);
    CREATE TABLE source (
        path TEXT PRIMARY KEY, device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL,
        mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, image TEXT NOT NULL
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;
";

const COLUMNS: &str = "id, name, version, import_time, last_used, latest, size, tree_size";

/// A file that was imported, and by what one sees that it has not changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
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
}

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
        let connection = match connect(&path, OpenFlags::empty()) {
            Ok(connection) => Ok(connection),
            // Somebody else may make it at this moment, too.
            Err(_) => {
                if !path.exists() {
                    create(base, &path)?;
                }
                connect(&path, OpenFlags::empty())
            }
        };
        let index = Index { connection: connection.map_err(|error| wrap(&path, error))?, path };
        match index.version()? {
            VERSION => Ok(index),
            found => {
                Err(StoreError::Version { path: index.path.display().to_string(), found, known: VERSION })
            }
        }
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
             AND inode = ?3 AND source.size = ?4 AND mtime = ?5 AND ctime = ?6"
        );
        let values =
            params![source.path, source.device, source.inode, source.size, source.mtime, source.ctime];
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

    /// Adds an image, and the file it came from.
    pub(super) fn add(&self, image: &ImageRecord, source: &Source) -> Result<()> {
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
            transaction.execute(
                "INSERT OR REPLACE INTO source (path, device, inode, size, mtime, ctime, image) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    source.path,
                    source.device,
                    source.inode,
                    source.size,
                    source.mtime,
                    source.ctime,
                    image.id.as_str()
                ],
            )?;
            transaction.commit()
        };
        run().map_err(|error| self.wrap(error))
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
                        };
                        index.add(&image, &source).unwrap();
                    });
                }
            });
            assert_eq!(Index::open(base.path()).unwrap().all().unwrap().len(), 16);
            assert_eq!(fs::read_dir(base.path().join("tmp")).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_is_no_index_of_ours_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("db/index.sqlite3");
        drop(Index::open(base.path()).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = Index::open(base.path()).unwrap_err().to_string();
        assert!(error.ends_with("it has version 99, this rkt knows 1; use the rkt that made it"), "{error}");
        fs::write(&path, "x".repeat(10_000)).unwrap();
        let error = Index::open(base.path()).unwrap_err().to_string();
        assert!(error.contains("file is not a database"), "{error}");
    }
}
