//! The index's tables, and how those of older versions become them.

/// The version of the tables below.
pub(super) const VERSION: i64 = 3;

/// The tables.
pub(super) const SCHEMA: &str = "
    CREATE TABLE image (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT, import_time INTEGER NOT NULL,
        last_used INTEGER NOT NULL, latest INTEGER NOT NULL, size INTEGER NOT NULL, tree_size INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX image_by_name ON image (name);
    CREATE TABLE source (
        path TEXT PRIMARY KEY, device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL,
        mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, image TEXT NOT NULL, verified INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE TABLE remote (
        url TEXT PRIMARY KEY, etag TEXT, max_age INTEGER NOT NULL, time INTEGER NOT NULL, image TEXT NOT NULL,
        verified INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE layer (
        image TEXT NOT NULL, position INTEGER NOT NULL, tree TEXT NOT NULL, PRIMARY KEY (image, position)
    ) WITHOUT ROWID;
    PRAGMA user_version = 3;
";

/// What an index of each older version lacks of the next one.
pub(super) const UPGRADES: [(i64, &str); 2] = [(1, FROM_1), (2, FROM_2)];

const FROM_1: &str = "
    ALTER TABLE source ADD COLUMN verified INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE remote (
        url TEXT PRIMARY KEY, etag TEXT, max_age INTEGER NOT NULL, time INTEGER NOT NULL, image TEXT NOT NULL,
        verified INTEGER NOT NULL
    ) WITHOUT ROWID;
";

const FROM_2: &str = "
    CREATE TABLE layer (
        image TEXT NOT NULL, position INTEGER NOT NULL, tree TEXT NOT NULL, PRIMARY KEY (image, position)
    ) WITHOUT ROWID;
    PRAGMA user_version = 3;
";
