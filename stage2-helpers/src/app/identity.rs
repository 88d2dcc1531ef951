//! Who the app is.

use std::os::fd::OwnedFd;

use super::{
    lookup::{id_of, owner, read, valid_id},
    users,
};
use crate::{
    control::exit,
    failure::{At, Result, failure, words},
    mounts,
    spec::AppSpec,
};

/// The ids of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// User.
    pub(super) uid: u32,
    /// Group.
    pub(super) gid: u32,
    /// Supplementary groups.
    pub(super) groups: Vec<u32>,
}

impl Identity {
    /// Who event handlers are.
    pub(super) const ROOT: Identity = Identity { uid: 0, gid: 0, groups: Vec::new() };
}

/// Resolves the app's user and group inside its root, which is the root directory by now.
pub(super) fn resolve(spec: &AppSpec) -> Result<Identity> {
    let root = mounts::pod_root().at("open", "the app's root", exit::NAMESPACE)?;
    let uid = look_up(spec, &root, &USER, &spec.user)?;
    let gid = match look_up(spec, &root, &GROUP, &spec.group) {
        Err(_) if spec.group_falls_back_to_user => uid,
        other => other?,
    };
    users::check(spec, USER.step, uid, USER.status)?;
    for group in spec.supplementary_gids.iter().chain([&gid]) {
        users::check(spec, GROUP.step, *group, GROUP.status)?;
    }
    Ok(Identity { uid, gid, groups: spec.supplementary_gids.clone() })
}

/// What differs between users and groups.
struct Kind {
    step: &'static str,
    file: &'static str,
    status: u8,
    of: fn((u32, u32)) -> u32,
}

const USER: Kind = Kind { step: "look up user", file: "etc/passwd", status: exit::USER, of: |(uid, _)| uid };
const GROUP: Kind =
    Kind { step: "look up group", file: "etc/group", status: exit::GROUP, of: |(_, gid)| gid };

fn look_up(spec: &AppSpec, root: &OwnedFd, kind: &Kind, name: &str) -> Result<u32> {
    let wrong = |reason: String| failure(kind.step, format!("{name:?}"), reason, kind.status);
    if name.starts_with('/') {
        let owner = owner(root, name).map(kind.of).map_err(|errno| wrong(words(errno)))?;
        return users::in_pod(spec, owner)
            .ok_or_else(|| wrong(format!("its owner, {owner} on the host, is none of the pod's users")));
    }
    if name == "root" || name == "0" {
        return Ok(0);
    }
    let content = read(root, kind.file).map_err(|reason| wrong(format!("/{} {reason}", kind.file)))?;
    // A name of digits is a name first.
    id_of(&content, name)
        .or_else(|| valid_id(name))
        .ok_or_else(|| wrong(format!("not in the image's /{}", kind.file)))
}
