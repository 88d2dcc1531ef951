//! `rkt cp`

use std::{
    ffi::{OsStr, OsString},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path},
};

use anyhow::{Context, Result, bail};
use rkt_pod::{
    State,
    files::{Exchange, Owners, place_in_root},
    users::Range,
};
use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
};

use super::{global::Global, need_root, uuids::Uuids};
use crate::pod::{describe::Description, root};

const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Copy files out of an app, or into one that runs.
///
/// One of SOURCE and DESTINATION is UUID:PATH, a path in the app's root; the pod's name does as well. A directory is copied
/// with all that is in it; SOURCE/. is only what is in it. Links are copied as links.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The app, where the pod has several
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Keep owners, times, set-id bits and extended attributes
    #[arg(short, long)]
    archive: bool,
    /// Copy what SOURCE links to, where it is a link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// What is copied
    #[arg(value_name = "SOURCE")]
    source: OsString,
    /// Where it goes: into the directory of this name, or else to this name
    #[arg(value_name = "DESTINATION")]
    destination: OsString,
}

/// Copies.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    let (source, destination) = (End::parse(&args.source)?, End::parse(&args.destination)?);
    let (from, to, owners) = match (source.pod, destination.pod) {
        (Some(pod), None) => {
            let (root, users) = app_root(global, pod, args.app.as_deref(), true)?;
            let owners = match users.filter(|_| args.archive) {
                Some(users) => Owners::Shifted { from: users.base(), to: 0, count: users.count() },
                None if args.archive => Owners::Shifted { from: 0, to: 0, count: 0 },
                None => Owners::One(0),
            };
            (Tree::Root(root), Tree::Host, owners)
        }
        (None, Some(pod)) => {
            let (root, users) = app_root(global, pod, args.app.as_deref(), false)?;
            let (base, count) = users.map_or((0, 0), |users| (users.base(), users.count()));
            let owners =
                if args.archive { Owners::Shifted { from: 0, to: base, count } } else { Owners::One(base) };
            (Tree::Host, Tree::Root(root), owners)
        }
        (Some(_), Some(_)) => bail!("one of SOURCE and DESTINATION is a path on the host, not both in pods"),
        (None, None) => bail!("one of SOURCE and DESTINATION must be UUID:PATH"),
    };
    let place = from.place(source.path, args.follow_link || source.names_directory());
    let place = place.with_context(|| args.source.display().to_string())?;
    let exchange = Exchange::new(owners, args.archive);
    let left_out = copy(exchange, (&source, &place), (&to, &destination))
        .with_context(|| format!("copy {} to {}", args.source.display(), args.destination.display()))?;
    if let Some(first) = left_out.first() {
        let (count, first) = (left_out.len(), first.display());
        bail!("devices and sockets are not copied: {count} of them, the first of which is {first}");
    }
    Ok(0)
}

/// The root of an app, and whose users are whose in it.
fn app_root(global: &Global, pod: &str, app: Option<&str>, exited: bool) -> Result<(OwnedFd, Option<Range>)> {
    let mut problems = Vec::new();
    let description = Description::new(Uuids::of(pod).one(global)?, &mut problems)?;
    let app = description.choose_app(app, problems)?;
    let (pod, state) = (&description.pod, description.state);
    let root = match state {
        State::Running => root::of_running(pod, &app)?,
        state if exited && state.is_exited() => root::of_exited(pod, &app)?,
        state => bail!("pod {:?} is not running (it is {state})", pod.uuid()),
    };
    Ok((root, Range::of_pod(&pod.path())?))
}

fn copy(
    mut exchange: Exchange,
    (source, place): (&End<'_>, &OwnedFd),
    (tree, destination): (&Tree, &End<'_>),
) -> Result<Vec<std::path::PathBuf>> {
    let is_directory =
        |fd: &OwnedFd| rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
    let copies_directory = is_directory(place);
    match tree.place(destination.path, true) {
        Ok(target) if is_directory(&target) => match source.name() {
            Some(name) => exchange.copy(place, &target, name)?,
            None => exchange.copy_content(place, &target)?,
        },
        Ok(_) if copies_directory || destination.names_directory() => {
            bail!("the destination is no directory")
        }
        Err(Errno::NOENT) if destination.names_directory() && !copies_directory => {
            bail!("the destination does not exist");
        }
        Ok(_) | Err(Errno::NOENT) => {
            let name = destination.name().context("the destination has no name")?;
            let above = destination.path.parent().filter(|path| !path.as_os_str().is_empty());
            let above = above.unwrap_or(Path::new("."));
            let above = tree.place(above, true).with_context(|| format!("open {}", above.display()))?;
            exchange.copy(place, &above, name)?;
        }
        Err(errno) => return Err(errno).context("open the destination"),
    }
    Ok(exchange.left_out())
}

/// Where paths are looked up.
enum Tree {
    /// As the user sees them.
    Host,
    /// In the root of an app, out of which nothing leads.
    Root(OwnedFd),
}

impl Tree {
    fn place(&self, path: &Path, follow: bool) -> rustix::io::Result<OwnedFd> {
        match self {
            Tree::Host => {
                let last = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
                rustix::fs::open(path, PLACE | last, Mode::empty())
            }
            Tree::Root(root) => place_in_root(root, path, follow),
        }
    }
}

/// A source or a destination.
#[derive(Debug, PartialEq, Eq)]
struct End<'a> {
    /// Of the pod, where it is in one.
    pod: Option<&'a str>,
    path: &'a Path,
}

impl<'a> End<'a> {
    /// `UUID:PATH`, or a path that has no colon before its first slash.
    fn parse(text: &'a OsStr) -> Result<End<'a>> {
        let bytes = text.as_bytes();
        let Some(position) = bytes.iter().position(|byte| matches!(byte, b':' | b'/')) else {
            return End::new(None, bytes);
        };
        if bytes[position] == b'/' {
            return End::new(None, bytes);
        }
        let pod = std::str::from_utf8(&bytes[..position])
            .with_context(|| format!("{} is not a UUID", OsStr::from_bytes(&bytes[..position]).display()))?;
        End::new(Some(pod), &bytes[position + 1..])
    }

    fn new(pod: Option<&'a str>, path: &'a [u8]) -> Result<End<'a>> {
        if path.is_empty() {
            bail!("a path is empty");
        }
        Ok(End { pod, path: Path::new(OsStr::from_bytes(path)) })
    }

    /// The name of what it stands for; `None` where that is but what is in a directory.
    fn name(&self) -> Option<&'a OsStr> {
        if self.ends_in_dot() {
            return None;
        }
        match self.path.components().next_back() {
            Some(Component::Normal(name)) => Some(name),
            _ => None,
        }
    }

    /// Whether it can only be a directory.
    fn names_directory(&self) -> bool {
        self.path.as_os_str().as_bytes().ends_with(b"/") || self.name().is_none()
    }

    /// Which [`Path`] itself does not tell.
    fn ends_in_dot(&self) -> bool {
        let bytes = self.path.as_os_str().as_bytes();
        bytes == b"." || bytes.ends_with(b"/.")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_colon_before_the_first_slash_ends_a_pod() {
        let end = |text: &'static str| {
            let end = End::parse(OsStr::new(text)).unwrap();
            (end.pod, end.path.to_str().unwrap(), end.name().map(|name| name.to_str().unwrap()))
        };
        assert_eq!(end("web:/etc/hosts"), (Some("web"), "/etc/hosts", Some("hosts")));
        assert_eq!(end("0a:etc/"), (Some("0a"), "etc/", Some("etc")));
        assert_eq!(end("./a:b"), (None, "./a:b", Some("a:b")));
        assert_eq!(end("a/."), (None, "a/.", None));
        assert_eq!(end("web:/"), (Some("web"), "/", None));
        assert_eq!(end("web:/x/.."), (Some("web"), "/x/..", None));
        assert!(End::parse(OsStr::new("web:")).is_err() && End::parse(OsStr::new("")).is_err());
        assert!(End::parse(OsString::from_vec(b"\xff:/x".to_vec()).as_os_str()).is_err());
        assert!(End::parse(OsStr::new("x/")).unwrap().names_directory());
    }
}
