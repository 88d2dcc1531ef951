//! Volumes: what apps share with each other and with the host.

use std::{fmt, str::FromStr};

use serde_json::Value;

use crate::{
    json::{Node, Object, SchemaError},
    types::{AcName, Parameters, TypeError},
};

/// The mode of an empty volume where nothing is said.
const DEFAULT_MODE: u32 = 0o755;

/// A volume of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: AcName,
    /// What is in it.
    pub kind: VolumeKind,
    /// Whether apps do not write to it; where absent, the mount point says.
    pub read_only: Option<bool>,
}

/// What is in a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeKind {
    /// A file or directory of the host.
    Host {
        /// Its absolute path.
        source: String,
        /// Whether mounts below it are seen, too; they are where absent.
        recursive: Option<bool>,
    },
    /// Nothing at first; removed with the pod.
    Empty {
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

impl Volume {
    pub(super) fn read(node: &Node<'_>) -> Result<Volume, SchemaError> {
        let text = |name: &str| node.member(name, |n| n.string().map(str::to_owned));
        let id = |name: &str| {
            node.member(name, |n| {
                Ok(n.integer_in(0, i64::from(u32::MAX) - 1)?.and_then(|id| u32::try_from(id).ok()))
            })
        };
        let parts = Parts {
            source: Some(text("source")?).filter(|source| !source.is_empty()),
            recursive: node.member("recursive", |n| n.boolean())?,
            mode: Some(text("mode")?).filter(|mode| !mode.is_empty()),
            uid: id("uid")?,
            gid: id("gid")?,
        };
        let kind = text("kind")?;
        Ok(Volume {
            name: node.member("name", |n| n.parse())?,
            kind: parts.kind(&kind).map_err(|rule| node.error(rule))?,
            read_only: node.member("readOnly", |n| n.boolean())?,
        })
    }

    pub(super) fn write(&self) -> Value {
        let object = Object::default().set("name", self.name.as_str());
        match &self.kind {
            VolumeKind::Host { source, recursive } => object
                .set("kind", "host")
                .set("source", source.as_str())
                .set_option("readOnly", self.read_only)
                .set_option("recursive", *recursive),
            VolumeKind::Empty { mode, uid, gid } => object
                .set("kind", "empty")
                .set_option("readOnly", self.read_only)
                .set("mode", format!("{mode:04o}"))
                .set("uid", *uid)
                .set("gid", *gid),
        }
        .into()
    }
}

/// The members that only one kind has.
struct Parts {
    source: Option<String>,
    recursive: Option<bool>,
    mode: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Parts {
    fn kind(self, kind: &str) -> Result<VolumeKind, String> {
        match kind {
            "host" if self.mode.is_some() || self.uid.is_some() || self.gid.is_some() => {
                Err("mode, uid and gid are only for volumes of kind \"empty\"".to_owned())
            }
            "host" => match self.source {
                Some(source) if source.starts_with('/') => {
                    Ok(VolumeKind::Host { source, recursive: self.recursive })
                }
                Some(_) => Err("source must be an absolute path".to_owned()),
                None => Err("source must be set".to_owned()),
            },
            "empty" if self.source.is_some() => Err("source is only for volumes of kind \"host\"".to_owned()),
            "empty" => {
                let mode = self.mode.map_or(Ok(DEFAULT_MODE), |mode| parse_mode(&mode))?;
                Ok(VolumeKind::Empty { mode, uid: self.uid.unwrap_or(0), gid: self.gid.unwrap_or(0) })
            }
            _ => Err("unrecognized volume kind: should be one of \"empty\", \"host\"".to_owned()),
        }
    }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    let octal = !text.is_empty() && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = if octal { u32::from_str_radix(text, 8).ok() } else { None };
    mode.filter(|mode| *mode <= 0o7777).ok_or_else(|| format!("mode {text:?} must be octal, at most 7777"))
}

impl FromStr for Volume {
    type Err = TypeError;

    /// Reads `NAME,kind=host,source=PATH[,readOnly=BOOL][,recursive=BOOL]` or
    /// `NAME,kind=empty[,mode=OCTAL][,uid=N][,gid=N][,readOnly=BOOL]`.
    fn from_str(text: &str) -> Result<Volume, TypeError> {
        let parameters = Parameters::parse(text)?;
        let known = ["name", "kind", "source", "readOnly", "recursive", "mode", "uid", "gid"];
        parameters.only(&known, "volume")?;
        let parts = Parts {
            source: parameters.get("source").map(str::to_owned),
            recursive: parameters.boolean("recursive")?,
            mode: parameters.get("mode").map(str::to_owned),
            uid: parameters.number("uid")?,
            gid: parameters.number("gid")?,
        };
        Ok(Volume {
            name: parameters.required("name")?.parse()?,
            kind: parts.kind(parameters.required("kind")?).map_err(|rule| TypeError::new(text, rule))?,
            read_only: parameters.boolean("readOnly")?,
        })
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},kind=", self.name)?;
        match &self.kind {
            VolumeKind::Host { source, recursive } => {
                write!(f, "host,source={source}")?;
                if let Some(recursive) = recursive {
                    write!(f, ",recursive={recursive}")?;
                }
            }
            VolumeKind::Empty { mode, uid, gid } => {
                f.write_str("empty")?;
                if *mode != DEFAULT_MODE {
                    write!(f, ",mode={mode:04o}")?;
                }
                for (name, id) in [("uid", uid), ("gid", gid)] {
                    if *id != 0 {
                        write!(f, ",{name}={id}")?;
                    }
                }
            }
        }
        self.read_only.map_or(Ok(()), |read_only| write!(f, ",readOnly={read_only}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{MountPoint, Port};

    // APPC-196, APPC-199
    #[test]
    fn volumes_are_read_and_printed() {
        for text in [
            "data,kind=host,source=/srv/d",
            "data,kind=host,source=/srv/a=b c,recursive=false,readOnly=true",
            "tmp,kind=empty",
            "tmp,kind=empty,mode=0700,uid=1,gid=2,readOnly=false",
        ] {
            assert_eq!(text.parse::<Volume>().unwrap().to_string(), text);
        }
    }

    // APPC-183, APPC-184, APPC-188, APPC-197
    #[test]
    fn malformed_volumes_are_refused() {
        for text in [
            "",
            "data",
            "data,kind=host",
            "data,kind=host,source=rel",
            "data,kind=host,source=/a,mode=0755",
            "data,kind=empty,source=/a",
            "data,kind=empty,mode=9",
            "data,kind=empty,uid=-1",
            "data,kind=nfs",
            "data,kind=empty,KIND=empty",
            "data,kind=empty,kind=host",
            "data,kind=empty,readOnly=yes",
            "data,kind",
            "Data,kind=empty",
        ] {
            assert!(text.parse::<Volume>().is_err(), "{text:?}");
        }
    }

    // APPC-119, APPC-120, APPC-201
    #[test]
    fn mount_points_and_ports_are_read_and_printed() {
        for text in ["db,path=/var/db", "db,path=/var/db,readOnly=true"] {
            assert_eq!(text.parse::<MountPoint>().unwrap().to_string(), text);
        }
        let port = "http,protocol=tcp,port=80,count=1,socketActivated=false";
        assert_eq!(port.parse::<Port>().unwrap().to_string(), port);
        assert_eq!("http,protocol=tcp,port=80".parse::<Port>().unwrap().to_string(), port);
        for text in [
            "http,protocol=tcp,port=0",
            "http,protocol=tcp,port=65536",
            "http,port=80",
            "http,protocol=tcp,port=65535,count=2",
        ] {
            assert!(text.parse::<Port>().is_err(), "{text:?}");
        }
        for text in ["db", "db,path=", "db,path=rel", ",path=/a"] {
            assert!(text.parse::<MountPoint>().is_err(), "{text:?}");
        }
    }
}
