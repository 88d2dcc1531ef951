//! The `app` object: how an image is executed.

use std::{collections::BTreeMap, fmt, path::Path, str::FromStr};

use serde_json::Value;

use super::common::{check_unique, read_isolators, write_map};
use crate::{
    isolator::{Isolator, check_set},
    json::{Node, Object, SchemaError},
    types::{AcName, Parameters, TypeError},
};

/// How an app is executed (spec, image manifest, "app").
#[derive(Debug, Clone, Default, PartialEq)]
pub struct App {
    /// The command and its arguments, taken literally. Empty: the executor must be told one.
    pub exec: Vec<String>,
    /// What is executed around the app.
    pub event_handlers: Vec<EventHandler>,
    /// A name, a number, or the path of a file whose owner counts.
    pub user: String,
    /// As `user`, for the group.
    pub group: String,
    /// Further group ids.
    pub supplementary_gids: Vec<u32>,
    /// Absolute; `/` where absent.
    pub working_directory: Option<String>,
    /// Variables, each once.
    pub environment: Vec<EnvironmentVariable>,
    /// Where volumes are expected.
    pub mount_points: Vec<MountPoint>,
    /// Where the app listens.
    pub ports: Vec<Port>,
    /// Limits and restrictions.
    pub isolators: Vec<Isolator>,
    /// For users; no effect on execution.
    pub user_annotations: BTreeMap<String, String>,
    /// For users; no effect on execution.
    pub user_labels: BTreeMap<String, String>,
}

/// A variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentVariable {
    /// `[A-Za-z_][A-Za-z_0-9.-]*`
    pub name: String,
    /// Taken literally.
    pub value: String,
}

/// When a handler is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandlerName {
    /// To its end before the app.
    PreStart,
    /// After the app has ended.
    PostStop,
}

impl HandlerName {
    /// The word in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            HandlerName::PreStart => "pre-start",
            HandlerName::PostStop => "post-stop",
        }
    }
}

/// What is executed around an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHandler {
    /// When.
    pub name: HandlerName,
    /// The command and its arguments.
    pub exec: Vec<String>,
}

/// Where a volume is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// The name by which a volume is found.
    pub name: AcName,
    /// Absolute path in the app.
    pub path: String,
    /// Whether the app does not write to it.
    pub read_only: bool,
}

/// Where an app listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The name.
    pub name: AcName,
    /// `tcp`, `udp`, or another.
    pub protocol: String,
    /// 1 to 65535.
    pub port: u16,
    /// How many ports in a row, from 1; the last is 65535 at most.
    pub count: u16,
    /// Whether the app gets a listening socket.
    pub socket_activated: bool,
}

impl App {
    pub(super) fn read(node: &Node<'_>) -> Result<App, SchemaError> {
        Ok(App {
            exec: node.member("exec", |n| n.strings())?,
            event_handlers: node.member("eventHandlers", |n| read_handlers(&n))?,
            user: node.member("user", |n| n.required().map(str::to_owned))?,
            group: node.member("group", |n| n.required().map(str::to_owned))?,
            supplementary_gids: node.member("supplementaryGIDs", |n| n.list(|gid| read_gid(&gid)))?,
            working_directory: node.member("workingDirectory", |n| read_directory(&n))?,
            environment: node.member("environment", |n| read_environment(&n))?,
            mount_points: node.member("mountPoints", |n| read_mount_points(&n))?,
            ports: node.member("ports", |n| n.list(|port| Port::read(&port)))?,
            isolators: {
                let isolators = read_isolators(node)?;
                node.member("isolators", |n| check_set(&isolators).map_err(|rule| n.error(rule)))?;
                isolators
            },
            user_annotations: node.member("userAnnotations", |n| n.string_map())?,
            user_labels: node.member("userLabels", |n| n.string_map())?,
        })
    }

    pub(super) fn write(&self) -> Value {
        let handlers: Vec<Value> = self
            .event_handlers
            .iter()
            .map(|h| Object::default().set("name", h.name.as_str()).set("exec", h.exec.clone()).into())
            .collect();
        let environment: Vec<Value> = self
            .environment
            .iter()
            .map(|v| Object::default().set("name", v.name.as_str()).set("value", v.value.as_str()).into())
            .collect();
        let mount_points: Vec<Value> = self.mount_points.iter().map(MountPoint::write).collect();
        Object::default()
            .set("exec", self.exec.clone())
            .set_some("eventHandlers", handlers)
            .set("user", self.user.as_str())
            .set("group", self.group.as_str())
            .set_some("supplementaryGIDs", self.supplementary_gids.clone())
            .set_some("workingDirectory", self.working_directory.clone().unwrap_or_default())
            .set_some("environment", environment)
            .set_some("mountPoints", mount_points)
            .set_some("ports", self.ports.iter().map(Port::write).collect::<Vec<Value>>())
            .set_some("isolators", self.isolators.iter().map(Isolator::write).collect::<Vec<Value>>())
            .set_some("userAnnotations", write_map(&self.user_annotations))
            .set_some("userLabels", write_map(&self.user_labels))
            .into()
    }

    /// The value of a variable of the environment.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|variable| variable.name == name).map(|variable| variable.value.as_str())
    }

    /// Sets a variable of the environment, in place where it exists.
    ///
    /// # Errors
    /// Where the name is not one of a variable.
    pub fn set_variable(&mut self, name: &str, value: &str) -> Result<(), TypeError> {
        check_variable(name)?;
        match self.environment.iter_mut().find(|variable| variable.name == name) {
            Some(variable) => value.clone_into(&mut variable.value),
            None => {
                self.environment.push(EnvironmentVariable { name: name.to_owned(), value: value.to_owned() });
            }
        }
        Ok(())
    }
}

fn check_variable(name: &str) -> Result<(), TypeError> {
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if starts && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
        return Ok(());
    }
    Err(TypeError::new(
        name,
        "the name of a variable must start with a letter or _, and have only letters, digits, _, . and -",
    ))
}

fn read_handlers(node: &Node<'_>) -> Result<Vec<EventHandler>, SchemaError> {
    let handlers = node.list(|handler| {
        let name = handler.member("name", |n| match n.required()? {
            "pre-start" => Ok(HandlerName::PreStart),
            "post-stop" => Ok(HandlerName::PostStop),
            _ => Err(n.error("must be pre-start or post-stop")),
        })?;
        Ok(EventHandler { name, exec: handler.member("exec", |n| n.strings())? })
    })?;
    for name in [HandlerName::PreStart, HandlerName::PostStop] {
        if handlers.iter().filter(|handler| handler.name == name).count() > 1 {
            return Err(node.error(format_args!("there may be only one {} handler", name.as_str())));
        }
    }
    Ok(handlers)
}

fn read_gid(node: &Node<'_>) -> Result<u32, SchemaError> {
    let gid = node.integer_in(0, i64::from(u32::MAX) - 1)?;
    gid.and_then(|gid| u32::try_from(gid).ok()).ok_or_else(|| node.error("must be an integer"))
}

fn read_directory(node: &Node<'_>) -> Result<Option<String>, SchemaError> {
    match node.string()? {
        "" => Ok(None),
        path if path.starts_with('/') => Ok(Some(path.to_owned())),
        _ => Err(node.error("must be an absolute path")),
    }
}

fn read_environment(node: &Node<'_>) -> Result<Vec<EnvironmentVariable>, SchemaError> {
    let variables = node.list(|variable| {
        let name = variable.member("name", |n| {
            let name = n.required()?;
            check_variable(name).map(|()| name.to_owned()).map_err(|error| n.error(error))
        })?;
        Ok(EnvironmentVariable { name, value: variable.member("value", |n| n.string().map(str::to_owned))? })
    })?;
    let mut names: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(node.error(format_args!("duplicate environment variable {:?}", pair[0]))),
        None => Ok(variables),
    }
}

fn read_mount_points(node: &Node<'_>) -> Result<Vec<MountPoint>, SchemaError> {
    let points = node.list(|point| {
        Ok(MountPoint {
            name: point.member("name", |n| n.parse())?,
            path: point.member("path", |n| match n.required()? {
                path if path.starts_with('/') => Ok(path.to_owned()),
                _ => Err(n.error("must be an absolute path")),
            })?,
            read_only: point.member("readOnly", |n| n.boolean())?.unwrap_or(false),
        })
    })?;
    check_unique(points.iter().map(|point| &point.name), "mount point").map_err(|rule| node.error(rule))?;
    for (index, point) in points.iter().enumerate() {
        // Paths compare by their parts: `/a//b/` is `/a/b`.
        if points[..index].iter().any(|earlier| Path::new(&earlier.path) == Path::new(&point.path)) {
            return Err(node.error(format_args!("duplicate path of mount points {:?}", point.path)));
        }
    }
    Ok(points)
}

impl MountPoint {
    fn write(&self) -> Value {
        Object::default()
            .set("name", self.name.as_str())
            .set("path", self.path.as_str())
            .set_some("readOnly", self.read_only)
            .into()
    }
}

impl FromStr for MountPoint {
    type Err = TypeError;

    /// Reads `NAME,path=PATH[,readOnly=BOOL]`.
    fn from_str(text: &str) -> Result<MountPoint, TypeError> {
        let parameters = Parameters::parse(text)?;
        parameters.only(&["name", "path", "readOnly"], "mount point")?;
        let path = parameters.required("path")?;
        if !path.starts_with('/') {
            return Err(TypeError::new(text, "path must be absolute"));
        }
        Ok(MountPoint {
            name: parameters.required("name")?.parse()?,
            path: path.to_owned(),
            read_only: parameters.boolean("readOnly")?.unwrap_or(false),
        })
    }
}

impl fmt::Display for MountPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},path={}", self.name, self.path)?;
        if self.read_only { f.write_str(",readOnly=true") } else { Ok(()) }
    }
}

impl Port {
    pub(super) fn read(node: &Node<'_>) -> Result<Port, SchemaError> {
        let port = node.member("port", |n| {
            let port = n.integer_in(1, 65535)?.ok_or_else(|| n.error("must be set (1 to 65535)"))?;
            u16::try_from(port).map_err(|_| n.error("is out of range"))
        })?;
        let count = node.member("count", |n| {
            let count = n.integer_in(0, 65535)?.unwrap_or(0).max(1);
            match u16::try_from(count) {
                Ok(count) if u32::from(port) + u32::from(count) <= 65536 => Ok(count),
                _ => Err(n.error("end of port range must be in 1-65535 range")),
            }
        })?;
        Ok(Port {
            name: node.member("name", |n| n.parse())?,
            protocol: node.member("protocol", |n| n.required().map(str::to_owned))?,
            port,
            count,
            socket_activated: node.member("socketActivated", |n| n.boolean())?.unwrap_or(false),
        })
    }

    pub(super) fn write(&self) -> Value {
        Object::default()
            .set("name", self.name.as_str())
            .set("protocol", self.protocol.as_str())
            .set("port", self.port)
            .set("count", self.count)
            .set("socketActivated", self.socket_activated)
            .into()
    }
}

impl FromStr for Port {
    type Err = TypeError;

    /// Reads `NAME,protocol=P,port=N[,count=N][,socketActivated=BOOL]`.
    fn from_str(text: &str) -> Result<Port, TypeError> {
        let parameters = Parameters::parse(text)?;
        parameters.only(&["name", "protocol", "port", "count", "socketActivated"], "port")?;
        let port: u16 = parameters
            .number("port")?
            .filter(|port| *port > 0)
            .ok_or_else(|| TypeError::new(text, "port must be in 1-65535 range"))?;
        let count = parameters.number::<u16>("count")?.unwrap_or(0).max(1);
        if u32::from(port) + u32::from(count) > 65536 {
            return Err(TypeError::new(text, "end of port range must be in 1-65535 range"));
        }
        Ok(Port {
            name: parameters.required("name")?.parse()?,
            protocol: parameters.required("protocol")?.to_owned(),
            port,
            count,
            socket_activated: parameters.boolean("socketActivated")?.unwrap_or(false),
        })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},protocol={},port={},count={}", self.name, self.protocol, self.port, self.count)?;
        write!(f, ",socketActivated={}", self.socket_activated)
    }
}
