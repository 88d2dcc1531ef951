//! Importing an image file: read once, copied, hashed, checked and unpacked in one pass.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use appc::aci::{self, Limits};
use rkt_pod::lock::{Kind, Lock};
use sha2::{Digest, Sha512};

use super::{
    ImageRecord, Result, Store, StoreError, lock,
    origin::{Origin, Source},
    sealed::{Image, Keys},
    tree,
    unpack::Unpacker,
    verify::{Check, Verification, copy},
    workspace::{Workspace, make},
};
use rkt_pod::failpoint;

use crate::files::Step;

/// How long an image counts as used after a use, in nanoseconds: so long, no use is written down.
const USE_LASTS: i64 = 3600 * 1_000_000_000;

/// What is imported, and how.
#[derive(Debug)]
pub(super) struct Import<'a> {
    /// Where it is from, for messages.
    pub(super) shown: &'a str,
    /// What it is checked with, if it is.
    pub(super) check: Option<Check<'a>>,
    /// What opens it, if it is encrypted.
    pub(super) keys: Keys<'a>,
}

/// Where its bytes are.
pub(super) enum Input<'i> {
    /// In a file of somebody else's.
    File(File),
    /// On their way to a file of ours, which has all of them when they have come.
    Download {
        /// What comes.
        body: &'i mut (dyn Read + Send),
        /// The file.
        data: &'i Path,
    },
}

impl Store {
    /// Imports the image in a file. The same file, unchanged, is not read again.
    pub(crate) fn import_file(
        &self,
        path: &Path,
        verification: Verification<'_>,
        keys: Keys<'_>,
    ) -> Result<ImageRecord> {
        let shown = path.display().to_string();
        let path = std::path::absolute(path).step("find", path)?;
        // Opening a pipe would wait for a writer.
        let metadata = fs::metadata(&path).step("open image", &path)?;
        if !metadata.is_file() {
            let source = aci::AciError::NotAnImage("it is not a regular file".to_owned());
            return Err(StoreError::Invalid { path: shown, source });
        }
        let file = File::open(&path).step("open image", &path)?;
        let data = file.metadata().step("look at", &path)?;
        let source = source_of(&data, &path, "", verification.is_needed());
        if let Some(image) = self.known(&source)? {
            return Ok(image);
        }
        let _lock = self.lock(&format!("{source:?}"))?;
        // Whoever had the lock before us may have imported the same file.
        if let Some(image) = self.known(&source)? {
            return Ok(image);
        }
        let shown = path.display().to_string();
        let import = Import { shown: &shown, check: verification.prepare(&shown)?, keys };
        self.import(Input::File(file), &import, &Origin::File(&source))
    }

    /// The image that was imported from this file, which has not changed since; verified where it has to be.
    pub(crate) fn known_file(&self, path: &Path, verified: bool) -> Result<Option<ImageRecord>> {
        let path = std::path::absolute(path).step("find", path)?;
        let Ok(data) = fs::metadata(&path) else { return Ok(None) };
        self.known(&source_of(&data, &path, "", verified))
    }

    /// What tells a file, and what of it is meant, from others, and from itself as it was or will be.
    pub(crate) fn source(&self, path: &Path, prefix: &str) -> Result<Source> {
        let path = std::path::absolute(path).step("find", path)?;
        let data = fs::metadata(&path).step("open image", &path)?;
        Ok(source_of(&data, &path, prefix, false))
    }

    /// The image that was imported from this very file.
    pub(crate) fn known(&self, source: &Source) -> Result<Option<ImageRecord>> {
        let image = self.index.by_source(source)?.filter(|image| self.is_whole(image));
        if let Some(image) = &image {
            self.touch(image)?;
        }
        Ok(image)
    }

    /// Notes that an image is used.
    pub(crate) fn touch(&self, image: &ImageRecord) -> Result<()> {
        let now = now();
        if now.saturating_sub(image.last_used) < USE_LASTS {
            return Ok(());
        }
        self.index.set_last_used(image.id.as_str(), now)
    }

    /// Lets one at a time import what is called `what`.
    pub(crate) fn lock(&self, what: &str) -> Result<Lock> {
        lock::wait(&self.lock_path(what), Kind::Exclusive)
    }

    /// What is locked by who works on `what`.
    pub(super) fn lock_path(&self, what: &str) -> PathBuf {
        let name: String = Sha512::digest(what).iter().take(16).map(|b| format!("{b:02x}")).collect();
        self.base.join("imagelocks").join(name)
    }

    /// Imports an image. It is added to the index when all of it is in its place.
    pub(super) fn import(
        &self,
        input: Input<'_>,
        import: &Import<'_>,
        origin: &Origin<'_>,
    ) -> Result<ImageRecord> {
        let workspace = Workspace::new(&self.base)?;
        let blob = workspace.path().join("blob");
        let Some(check) = &import.check else {
            return match input {
                Input::File(input) => {
                    let image = Image::open(input, &import.keys, import.shown)?;
                    let copy = Some(File::create_new(&blob).step("make", &blob)?);
                    self.unpack(&workspace, Tee { image, copy }, &blob, import, origin)
                }
                Input::Download { body, data } => {
                    let image = Image::open(body, &import.keys, import.shown)?;
                    self.unpack_from(&workspace, image, data, import, origin)
                }
            };
        };
        // Nothing is unpacked before all of it was verified, and what is unpacked is what was verified.
        let data = match input {
            Input::File(input) => {
                copy(input, &blob, import.shown)?;
                &blob
            }
            Input::Download { body, data } => {
                io::copy(body, &mut io::sink())
                    .map_err(|source| StoreError::Read { path: import.shown.to_owned(), source })?;
                data
            }
        };
        failpoint!("import-copied");
        check.verify(data, import.shown, &import.keys)?;
        failpoint!("import-verified");
        let input = File::open(data).step("open", data)?;
        let image = Image::open(input, &import.keys, import.shown)?;
        self.unpack_from(&workspace, image, data, import, origin)
    }

    /// Unpacks an image that is in the file `data`, or comes to be. One that is encrypted is kept as it is inside, and needs
    /// no passphrase any more.
    fn unpack_from(
        &self,
        workspace: &Workspace,
        image: Image<'_>,
        data: &Path,
        import: &Import<'_>,
        origin: &Origin<'_>,
    ) -> Result<ImageRecord> {
        if !image.is_encrypted() {
            return self.unpack(workspace, Tee { image, copy: None }, data, import, origin);
        }
        let blob = workspace.path().join("blob");
        if data == blob {
            fs::remove_file(&blob).step("remove", &blob)?;
        }
        let copy = Some(File::create_new(&blob).step("make", &blob)?);
        self.unpack(workspace, Tee { image, copy }, &blob, import, origin)
    }

    /// Unpacks an image; `data` has all of it when `input` is at its end.
    fn unpack(
        &self,
        workspace: &Workspace,
        mut input: Tee<'_>,
        data: &Path,
        import: &Import<'_>,
        origin: &Origin<'_>,
    ) -> Result<ImageRecord> {
        let path = Path::new(import.shown);
        let root = rustix::process::geteuid().is_root();
        let tree = workspace.path().join("tree");
        let mut unpacker = if root { Some(Unpacker::new(&tree)?) } else { None };
        let read = aci::read(&mut input, &Limits::default(), &mut |entry, content| match &mut unpacker {
            Some(unpacker) => unpacker.add(entry, content),
            None => io::copy(content, &mut io::sink()).map(drop).step("read", &entry.path),
        });
        let archive = match read {
            Ok(archive) => archive,
            Err(error) => return Err(input.image.blame(StoreError::of_read(path, error), import.shown)),
        };
        // What follows the archive in the file belongs to the file.
        io::copy(&mut input, &mut io::sink()).map_err(|error| StoreError::of_io(import.shown, error))?;
        input.image.check_name(archive.manifest.name.as_str(), import.shown)?;
        failpoint!("import-unpacked");
        let blob = workspace.path().join("blob");
        if data != blob {
            rename(data, &blob)?;
        }
        let now = now();
        let mut image = ImageRecord {
            name: archive.manifest.name.to_string(),
            version: archive.manifest.labels.get("version").map(str::to_owned),
            import_time: now,
            last_used: now,
            latest: archive.manifest.labels.get("version").is_none(),
            size: i64::try_from(archive.size).unwrap_or(i64::MAX),
            tree_size: 0,
            id: archive.id,
        };
        let manifest = workspace.path().join("manifest");
        fs::write(&manifest, &archive.manifest_bytes).step("write", &manifest)?;
        if let Some(unpacker) = unpacker
            && archive.manifest.dependencies.is_empty()
        {
            let unpacked = unpacker.finish(&[&archive.manifest.path_whitelist])?;
            image.tree_size = i64::try_from(unpacked.size).unwrap_or(i64::MAX);
            tree::complete(&tree, &image, &archive.manifest_bytes, &unpacked.hashes)?;
        }
        failpoint!("import-listed");
        sync(workspace.path())?;
        failpoint!("import-synced");
        // Nobody removes what the index does not know yet.
        let _placing = self.placing()?;
        self.place(workspace, &image)?;
        failpoint!("import-tree-placed");
        if let Some(known) = self.index.by_id(image.id.as_str())? {
            image = ImageRecord { tree_size: image.tree_size.max(known.tree_size), ..known };
        }
        self.index.add(&image, origin, &[])?;
        failpoint!("import-indexed");
        Ok(image)
    }

    /// Moves what is whole to its place. The index comes last: what it names is there.
    fn place(&self, workspace: &Workspace, image: &ImageRecord) -> Result<()> {
        let key = image.key();
        rename(&workspace.path().join("blob"), &self.blob_path(&key))?;
        failpoint!("import-blob-placed");
        rename(&workspace.path().join("manifest"), &self.manifest_path(&key))?;
        failpoint!("import-manifest-placed");
        let tree = workspace.path().join("tree");
        let id = tree::id_of(image);
        // A whole tree of this name is the same tree, and pods may run on it.
        if tree.join("rendered").exists() && !self.is_rendered_tree(&id) {
            let to = self.tree_path(&id);
            crate::files::remove_tree(&to)?;
            rename(&tree, &to)?;
        }
        Ok(())
    }
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        make(parent)?;
    }
    match fs::rename(from, to) {
        // Another import of the same image was faster with its tree.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) =>
        {
            Ok(())
        }
        other => Ok(other.step("move to its place", to)?),
    }
}

/// Has the file system write all that was made, with one call for however many files.
pub(super) fn sync(directory: &Path) -> Result<()> {
    let fd = File::open(directory).step("open", directory)?;
    rustix::fs::syncfs(fd).step("sync", directory)?;
    Ok(())
}

/// Seconds since the epoch.
pub(super) fn seconds_now() -> i64 {
    now() / 1_000_000_000
}

pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn source_of(data: &Metadata, path: &Path, prefix: &str, verified: bool) -> Source {
    Source {
        path: format!("{prefix}{}", path.to_string_lossy()),
        device: data.dev().cast_signed(),
        inode: data.ino().cast_signed(),
        size: data.size().cast_signed(),
        mtime: data.mtime().saturating_mul(1_000_000_000).saturating_add(data.mtime_nsec()),
        ctime: data.ctime().saturating_mul(1_000_000_000).saturating_add(data.ctime_nsec()),
        verified,
    }
}

/// Copies what is read through it, if that is wanted.
struct Tee<'a> {
    image: Image<'a>,
    copy: Option<File>,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.image.read(buffer)?;
        if let Some(copy) = &mut self.copy {
            copy.write_all(&buffer[..length])?;
        }
        Ok(length)
    }
}
