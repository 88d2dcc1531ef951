//! Giving images out of the store: as a directory, or as the file that they were.
//!
//! What is given is made under another name beside its place, and moved there when it is whole.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use appc::{
    aci::{self, ArchiveWriter, Compression, Entry, Limits},
    types::ImageId,
};
use rkt_pod::lock::{Kind, Lock};
use rustix::{
    fs::{CWD, RenameFlags},
    io::Errno,
};
use sha2::{Digest, Sha512};

use super::{ImageRecord, Result, Store, StoreError, import::sync, unpack::Unpacker, workspace::Workspace};
use rkt_pod::failpoint;

use crate::files::{Step, copy_tree, remove_tree};

/// Where an image is to go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The path.
    pub(crate) path: &'a Path,
    /// Whether it takes the place of what is there.
    pub(crate) overwrite: bool,
}

/// What is given of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// Its manifest, and its files in `rootfs`.
    Layout,
    /// Its files alone.
    Files,
}

impl Store {
    /// Renders the image with all that it depends on. `report` is told where its tree is not as it was made.
    pub(crate) fn give_rendered(
        &self,
        image: &ImageRecord,
        given: Given,
        place: Place<'_>,
        report: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let made = Beside::new(place)?;
        // The tree stays while it is copied.
        let _reading = self.reading()?;
        let tree = self.tree(image)?;
        let root = made.root(given)?;
        let mut damaged = None;
        for layer in &tree.layers {
            damaged = self.difference(&layer.id)?;
            if damaged.is_some() {
                break;
            }
        }
        match damaged {
            None => tree.copy(&root)?,
            Some(difference) if !self.index.layers(image.id.as_str())?.is_empty() => {
                return Err(StoreError::Lookup(format!(
                    "image {}: a layer of it is damaged: {difference}; verify the image, and fetch it again",
                    image.display_name()
                )));
            }
            // Pods may have the tree: what is given is rendered apart.
            Some(difference) => {
                report(&difference);
                let workspace = Workspace::new(&self.base)?;
                let (tree, _) = self.make_tree(image, &self.parts(image)?, workspace.path())?;
                copy_tree(&tree.join("rootfs"), &root)?;
            }
        }
        self.finish(image, &made, given)
    }

    /// Unpacks the image itself, without what it depends on.
    pub(crate) fn give_extracted(&self, image: &ImageRecord, given: Given, place: Place<'_>) -> Result<()> {
        let made = Beside::new(place)?;
        let root = made.root(given)?;
        let _reading = self.reading()?;
        if !self.index.layers(image.id.as_str())?.is_empty() {
            self.tree(image)?.copy(&root)?;
            return self.finish(image, &made, given);
        }
        let blob = self.blob_path(&image.key());
        let file = File::open(&blob).step("open", &blob)?;
        let unpacked = made.path().join("unpacked");
        let mut unpacker = Unpacker::new(&unpacked)?;
        let archive = aci::read(file, &Limits::default(), &mut |entry, content| unpacker.add(entry, content))
            .map_err(|error| StoreError::of_read(&blob, error))?;
        self.check_id(image, &archive.id)?;
        unpacker.finish(&[])?;
        fs::remove_dir(&root).step("remove", &root)?;
        let from = unpacked.join("rootfs");
        fs::rename(&from, &root).step("move", &from)?;
        fs::remove_dir(&unpacked).step("remove", &unpacked)?;
        self.finish(image, &made, given)
    }

    fn finish(&self, image: &ImageRecord, made: &Beside<'_>, given: Given) -> Result<()> {
        let from = match given {
            Given::Files => made.path().join("rootfs"),
            Given::Layout => {
                let path = made.layout().join("manifest");
                let mut options = fs::OpenOptions::new();
                let mut file =
                    options.write(true).create_new(true).mode(0o700).open(&path).step("make", &path)?;
                file.write_all(&self.manifest_bytes(image)?).step("write", &path)?;
                made.layout()
            }
        };
        sync(made.path())?;
        failpoint!("give-made");
        made.place(&from)?;
        failpoint!("give-placed");
        Ok(())
    }

    /// Writes the image's archive, uncompressed: its hash is the image's ID, unless the image was made of layers.
    pub(crate) fn export(&self, image: &ImageRecord, place: Place<'_>) -> Result<()> {
        if !self.index.layers(image.id.as_str())?.is_empty() {
            return self.export_layers(image, place);
        }
        let made = Beside::new(place)?;
        let _reading = self.reading()?;
        let blob = self.blob_path(&image.key());
        let input = File::open(&blob).step("open", &blob)?;
        let path = made.path().join("image");
        let mut output = File::create_new(&path).step("make", &path)?;
        let mut hash = Sha512::new();
        let (_, mut reader) = aci::decompress_tar(input).step("read", &blob)?;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let length = reader.read(&mut buffer).step("read", &blob)?;
            if length == 0 {
                break;
            }
            hash.update(&buffer[..length]);
            output.write_all(&buffer[..length]).step("write", place.path)?;
        }
        self.check_id(image, &ImageId::from_digest(&hash.finalize().into()))?;
        output.sync_all().step("sync", place.path)?;
        failpoint!("export-written");
        made.place(&path)
    }

    /// Writes an image that was made of layers as one archive, which is another image with the same files and manifest.
    fn export_layers(&self, image: &ImageRecord, place: Place<'_>) -> Result<()> {
        let made = Beside::new(place)?;
        let _reading = self.reading()?;
        let root = made.root(Given::Layout)?;
        self.tree(image)?.copy(&root)?;
        let manifest = self.manifest_bytes(image)?;
        let path = made.layout().join("manifest");
        fs::write(&path, &manifest).step("write", &path)?;
        let path = made.path().join("image");
        let mut output = File::create_new(&path).step("make", &path)?;
        let mut write = || -> std::result::Result<(), WriteFailure> {
            let limits = Limits::default();
            let layout = aci::Layout::open(&made.layout())?;
            let mut archive = ArchiveWriter::new(&mut output, Compression::None, &limits)?;
            layout.walk(&mut |entry, content| archive.add(&entry, content).map_err(WriteFailure::from))?;
            let entry = Entry::manifest(manifest.len(), 0);
            archive.add(&entry, &mut manifest.as_slice())?;
            archive.finish()?;
            Ok(())
        };
        let shown = || place.path.display().to_string();
        write().map_err(|error| StoreError::Lookup(format!("write {}: {error}", shown())))?;
        output.sync_all().step("sync", place.path)?;
        made.place(&path)
    }

    fn check_id(&self, image: &ImageRecord, found: &ImageId) -> Result<()> {
        if *found == image.id {
            return Ok(());
        }
        Err(StoreError::Lookup(format!(
            "image {}: its file {} was changed (it is {found} now); remove and fetch the image again",
            image.id,
            self.blob_path(&image.key()).display()
        )))
    }
}

/// Why an archive of layers could not be written.
#[derive(Debug, thiserror::Error)]
enum WriteFailure {
    #[error(transparent)]
    Layout(#[from] aci::LayoutError),
    #[error(transparent)]
    Archive(#[from] aci::WriteError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A directory beside a place, in which what goes there is made. It vanishes with its owner; what an owner that was killed
/// has left, the next one at the same place removes.
pub(crate) struct Beside<'a> {
    place: Place<'a>,
    path: PathBuf,
    _lock: Lock,
}

impl<'a> Beside<'a> {
    /// One beside `path`.
    pub(crate) fn at(path: &'a Path, overwrite: bool) -> Result<Beside<'a>> {
        Beside::new(Place { path, overwrite })
    }

    fn new(place: Place<'a>) -> Result<Beside<'a>> {
        let shown = place.path.display();
        let refused = |why: &str| Err(StoreError::Lookup(format!("{shown}: {why}")));
        let Some(name) = place.path.file_name() else {
            return refused("this is no place that an image could take");
        };
        if place.path.canonicalize().is_ok_and(|real| real == Path::new("/")) {
            return refused("the root directory is not overwritten");
        }
        if !place.overwrite && fs::symlink_metadata(place.path).is_ok() {
            return refused("it exists; use --overwrite to have it replaced");
        }
        let mut prefix = OsString::from(".");
        prefix.push(name);
        prefix.push(".rkt-");
        let parent = match place.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        sweep(parent, &prefix);
        loop {
            let mut hidden = prefix.clone();
            hidden.push(uuid::Uuid::new_v4().to_string());
            let path = parent.join(hidden);
            fs::DirBuilder::new().mode(0o700).create(&path).step("make directory", &path)?;
            // Somebody who sweeps may have been here before our lock.
            match Lock::try_now(&path, Kind::Exclusive) {
                Ok(Some(lock)) if path.exists() => return Ok(Beside { place, path, _lock: lock }),
                Err(error) if path.exists() => {
                    // Removing a tree could take what we lack now.
                    fs::remove_dir(&path).step("remove", &path)?;
                    return Err(StoreError::Lookup(error.to_string()));
                }
                _ => {}
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn layout(&self) -> PathBuf {
        self.path.join("layout")
    }

    /// The empty directory for the image's files.
    fn root(&self, given: Given) -> Result<PathBuf> {
        let base = if given == Given::Layout { self.layout() } else { self.path.clone() };
        let root = base.join("rootfs");
        fs::create_dir_all(&root).step("make directory", &root)?;
        Ok(root)
    }

    /// Moves what was made to its place. What was there stays until then.
    pub(crate) fn place(&self, from: &Path) -> Result<()> {
        let to = self.place.path;
        let moved = match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) if self.place.overwrite => {
                // The old one comes to where the new one was, and vanishes with that.
                match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
                    Err(Errno::INVAL | Errno::NOSYS) => self.replace(from),
                    other => other,
                }
            }
            Err(Errno::INVAL | Errno::NOSYS) if fs::symlink_metadata(to).is_err() => {
                rustix::fs::renameat(CWD, from, CWD, to)
            }
            Err(Errno::INVAL | Errno::NOSYS) if self.place.overwrite => self.replace(from),
            other => other,
        };
        Ok(moved.step("move to its place", to)?)
    }

    /// For file systems that cannot exchange two names.
    fn replace(&self, from: &Path) -> rustix::io::Result<()> {
        let to = self.place.path;
        rustix::fs::renameat(CWD, to, CWD, self.path.join("old"))?;
        rustix::fs::renameat(CWD, from, CWD, to)
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            crate::output::note("image", &format!("{error}; remove it by hand"));
        }
    }
}

/// Removes what others have left that were killed.
fn sweep(parent: &Path, prefix: &OsString) {
    use std::os::unix::ffi::OsStrExt;
    let is_ours = |name: &OsString| {
        let rest = name.as_bytes().strip_prefix(prefix.as_bytes());
        rest.and_then(|rest| std::str::from_utf8(rest).ok()).is_some_and(rkt_pod::lookup::is_uuid)
    };
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|entry| is_ours(&entry.file_name())) {
        if let Ok(Some(_lock)) = Lock::try_now(&entry.path(), Kind::Exclusive)
            && remove_tree(&entry.path()).is_err()
        {
            // Left for the next time.
        }
    }
}
