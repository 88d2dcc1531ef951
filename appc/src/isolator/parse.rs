//! The values of the known isolators.

use super::{IsolatorValue, Resource, SeccompSet};
use crate::{
    json::{Node, SchemaError},
    types::Quantity,
};

/// Reads the value of the isolator called `name`.
pub(super) fn value(name: &str, node: &Node<'_>) -> Result<IsolatorValue, SchemaError> {
    use IsolatorValue as V;
    Ok(match name {
        "resource/cpu" => V::Cpu(resource(node, false)?),
        "resource/memory" => V::Memory(resource(node, false)?),
        "resource/block-bandwidth" => V::BlockBandwidth(resource(node, true)?),
        "resource/block-iops" => V::BlockIops(resource(node, true)?),
        "resource/network-bandwidth" => V::NetworkBandwidth(resource(node, true)?),
        "resource/pids" => V::Pids(limit_only(node)?),
        "os/linux/seccomp-remove-set" => V::SeccompRemove(seccomp(node)?),
        "os/linux/seccomp-retain-set" => V::SeccompRetain(seccomp(node)?),
        "os/linux/capabilities-remove-set" => V::CapabilitiesRemove(set(node)?),
        "os/linux/capabilities-retain-set" => V::CapabilitiesRetain(set(node)?),
        "os/linux/selinux-context" => selinux(node)?,
        "os/linux/apparmor-profile" => {
            V::ApparmorProfile(node.member("profile", |n| n.required().map(str::to_owned))?)
        }
        "os/linux/no-new-privileges" => V::NoNewPrivileges(present(node, node.boolean()?)?),
        "os/linux/oom-score-adj" => V::OomScoreAdj(number(node, -1000, 1000)?),
        "os/linux/cpu-shares" => V::CpuShares(number(node, 2, 262_144)?),
        "os/unix/sysctl" => V::Sysctl(sysctl(node)?),
        _ => V::Unknown,
    })
}

fn present<T>(node: &Node<'_>, value: Option<T>) -> Result<T, SchemaError> {
    value.ok_or_else(|| node.error("must be set"))
}

fn number<T: TryFrom<i64>>(node: &Node<'_>, low: i64, high: i64) -> Result<T, SchemaError> {
    let value = present(node, node.integer_in(low, high)?)?;
    T::try_from(value).map_err(|_| node.error("is out of range"))
}

/// A resource. Those of devices and networks apply to all (`default`) and cannot be guaranteed.
fn resource(node: &Node<'_>, for_all: bool) -> Result<Resource, SchemaError> {
    if !node.is_present() {
        return Err(node.error("must be set (an object)"));
    }
    let default = node.member("default", |n| {
        let default = n.boolean()?.unwrap_or(false);
        match (default, for_all) {
            (false, true) => Err(n.error("must be true")),
            (true, false) => Err(n.error("must be false or absent")),
            _ => Ok(default),
        }
    })?;
    let request = node.member("request", |n| {
        let request = quantity(&n)?;
        if for_all && request.is_some() { Err(n.error("must be absent")) } else { Ok(request) }
    })?;
    let limit = node.member("limit", |n| quantity(&n))?;
    if let (Some(request), Some(limit)) = (request, limit)
        && request > limit
    {
        return Err(node.error("the request must not be larger than the limit"));
    }
    Ok(Resource { default, request, limit })
}

/// A resource of which nothing can be guaranteed.
fn limit_only(node: &Node<'_>) -> Result<Resource, SchemaError> {
    let resource = resource(node, false)?;
    match (resource.request, resource.limit) {
        (Some(_), _) => Err(node.error("must have no request")),
        (None, None) => Err(node.error("must have a limit")),
        (None, Some(_)) => Ok(resource),
    }
}

/// A quantity: a string, or a bare number.
fn quantity(node: &Node<'_>) -> Result<Option<Quantity>, SchemaError> {
    match node.value() {
        Some(serde_json::Value::Number(number)) => {
            number.to_string().parse().map(Some).map_err(|error: crate::types::TypeError| node.error(error))
        }
        _ => node.parse_optional(),
    }
}

fn set(node: &Node<'_>) -> Result<Vec<String>, SchemaError> {
    node.member("set", |n| {
        let set = n.list(|element| element.required().map(str::to_owned))?;
        if set.is_empty() { Err(n.error("must not be empty")) } else { Ok(set) }
    })
}

fn seccomp(node: &Node<'_>) -> Result<SeccompSet, SchemaError> {
    let errno = node.member("errno", |n| {
        let errno = n.string()?;
        let rest = errno.strip_prefix('E');
        let valid =
            rest.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
        match errno {
            "" => Ok(None),
            _ if valid => Ok(Some(errno.to_owned())),
            _ => Err(n.error("must be the name of an error, E and then upper-case letters and digits")),
        }
    })?;
    Ok(SeccompSet { set: set(node)?, errno })
}

fn selinux(node: &Node<'_>) -> Result<IsolatorValue, SchemaError> {
    let part = |name: &str, colons: bool| {
        node.member(name, |n| {
            let part = n.required()?;
            if !colons && part.contains(':') {
                Err(n.error("must not contain a colon"))
            } else {
                Ok(part.to_owned())
            }
        })
    };
    Ok(IsolatorValue::SelinuxContext {
        user: part("user", false)?,
        role: part("role", false)?,
        kind: part("type", false)?,
        level: part("level", true)?,
    })
}

fn sysctl(node: &Node<'_>) -> Result<Vec<(String, String)>, SchemaError> {
    if !node.is_present() {
        return Err(node.error("must be set (an object)"));
    }
    Ok(node.string_map()?.into_iter().collect())
}
