//! The index of images, in SQLite: many processes read and write it, none has to be there.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};

use super::{ImageRecord, Result, StoreError};
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
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match Connection::open_with_flags(&path, flags) {
            Ok(connection) => connection,
            Err(_) if !path.exists() => {
                let directory = base.join("db");
                fs::create_dir_all(&directory).step("make directory", &directory)?;
                Connection::open_with_flags(&path, flags).map_err(|error| wrap(&path, error))?
            }
            Err(error) => return Err(wrap(&path, error)),
        };
        let index = Index { connection, path };
        index.prepare()?;
        Ok(index)
    }

    fn prepare(&self) -> Result<()> {
        self.connection.busy_timeout(PATIENCE).map_err(|error| self.wrap(error))?;
        match self.version()? {
            VERSION => Ok(()),
            0 => self.create(),
            found => Err(StoreError::Newer { path: self.path.display().to_string(), found, known: VERSION }),
        }
    }

    fn version(&self) -> Result<i64> {
        self.connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(|error| self.wrap(error))
    }

    fn create(&self) -> Result<()> {
        let create = || -> rusqlite::Result<()> {
            self.connection.pragma_update(None, "journal_mode", "WAL")?;
            let transaction =
                rusqlite::Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            // Somebody else may have been first.
            let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            if version == 0 {
                transaction.execute_batch(SCHEMA)?;
            }
            transaction.commit()
        };
        create().map_err(|error| self.wrap(error))
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
