//! Isolators: limits and restrictions of apps and pods, as typed values (spec, isolators).

mod parse;
mod rules;

use serde_json::Value;

use crate::{
    json::{Node, Object, SchemaError},
    types::{AcIdentifier, Quantity},
};

pub(crate) use rules::check_set;

/// An isolator as it stands in a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Isolator {
    /// Its name.
    pub name: AcIdentifier,
    /// What its value means.
    pub value: IsolatorValue,
    raw: Value,
}

/// What an isolator asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum IsolatorValue {
    /// `resource/cpu`, in cores.
    Cpu(Resource),
    /// `resource/memory`, in bytes.
    Memory(Resource),
    /// `resource/block-bandwidth`, in bytes a second, over all block devices.
    BlockBandwidth(Resource),
    /// `resource/block-iops`, in operations a second, over all block devices.
    BlockIops(Resource),
    /// `resource/network-bandwidth`, in bytes a second, over all interfaces but loopback.
    NetworkBandwidth(Resource),
    /// `resource/pids`, in processes and threads. The specification has no such isolator; this is an addition to it.
    Pids(Resource),
    /// `os/linux/seccomp-remove-set`: these system calls are blocked.
    SeccompRemove(SeccompSet),
    /// `os/linux/seccomp-retain-set`: only these system calls are allowed.
    SeccompRetain(SeccompSet),
    /// `os/linux/capabilities-remove-set`: the defaults without these.
    CapabilitiesRemove(Vec<String>),
    /// `os/linux/capabilities-retain-set`: exactly these.
    CapabilitiesRetain(Vec<String>),
    /// `os/linux/selinux-context`.
    SelinuxContext {
        /// User.
        user: String,
        /// Role.
        role: String,
        /// Type.
        kind: String,
        /// Level.
        level: String,
    },
    /// `os/linux/apparmor-profile`: the name of a loaded profile.
    ApparmorProfile(String),
    /// `os/linux/no-new-privileges`.
    NoNewPrivileges(bool),
    /// `os/linux/oom-score-adj`, -1000 to 1000.
    OomScoreAdj(i32),
    /// `os/linux/cpu-shares`, 2 to 262144.
    CpuShares(u32),
    /// `os/unix/sysctl`: keys and values, in order.
    Sysctl(Vec<(String, String)>),
    /// One that this library does not know. It is kept as it is.
    Unknown,
}

/// How much of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Whether it is the default for all devices.
    pub default: bool,
    /// What is guaranteed; the limit where absent.
    pub request: Option<Quantity>,
    /// What is never exceeded.
    pub limit: Option<Quantity>,
}

/// A set of system calls.
#[derive(Debug, Clone, PartialEq)]
pub struct SeccompSet {
    /// Names of system calls, and of sets of them after an `@`.
    pub set: Vec<String>,
    /// The error that a blocked call returns; the process is killed by SIGSYS where absent.
    pub errno: Option<String>,
}

impl Isolator {
    /// Makes an isolator of a name and a JSON value.
    ///
    /// # Errors
    /// Where the name is malformed, or the value breaks the rules of a known isolator.
    pub fn new(name: &str, value: Value) -> Result<Isolator, SchemaError> {
        let name: AcIdentifier =
            name.parse().map_err(|error| SchemaError::rule("name", format!("{error}")))?;
        let parsed = parse::value(name.as_str(), &Node::root(&value))?;
        Ok(Isolator { name, value: parsed, raw: value })
    }

    /// Checks that what it limits can be counted, and is not limited to nothing.
    ///
    /// # Errors
    /// Which amount cannot be.
    pub fn check_amounts(&self) -> Result<(), String> {
        use IsolatorValue as V;
        let (V::Cpu(resource)
        | V::Memory(resource)
        | V::BlockBandwidth(resource)
        | V::BlockIops(resource)
        | V::NetworkBandwidth(resource)
        | V::Pids(resource)) = &self.value
        else {
            return Ok(());
        };
        for quantity in [&resource.request, &resource.limit].into_iter().flatten() {
            let amount = if matches!(self.value, V::Cpu(_)) { quantity.milli() } else { quantity.units() };
            match amount {
                Some(0) => return Err(format!("{quantity} is nothing to run with")),
                Some(_) => {}
                None => return Err(format!("{quantity} is not an amount that could be counted")),
            }
        }
        Ok(())
    }

    /// The value as it was given.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    pub(crate) fn read(node: &Node<'_>) -> Result<Isolator, SchemaError> {
        let name: AcIdentifier = node.member("name", |name| name.parse())?;
        node.member("value", |value| {
            let parsed = parse::value(name.as_str(), &value)?;
            Ok(Isolator {
                value: parsed,
                raw: value.value().cloned().unwrap_or_default(),
                name: name.clone(),
            })
        })
    }

    pub(crate) fn write(&self) -> Value {
        Object::default().set("name", self.name.as_str()).set("value", self.raw.clone()).into()
    }
}
