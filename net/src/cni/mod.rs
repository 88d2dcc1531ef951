//! Networks that CNI plugins make (versions 0.1 to 1.1 of the interface).
//!
//! A plugin is a program that gets its configuration on stdin, what is to be done in its environment, and answers on stdout.
//! Those of a chain are asked one after the other; each gets what the one before has said.

mod chain;
mod plugin;
mod result;

pub(crate) use chain::Chain;
pub use plugin::{Directories, find};
pub(crate) use result::Outcome;

use serde_json::{Value, json};

use crate::{Forward, config::Cni};

/// What plugins that can do it are told of the pod: ports, and the address that it wishes for.
pub(crate) fn runtime(cni: &Cni, forwards: &[Forward]) -> Value {
    let mut runtime = serde_json::Map::new();
    let can = |capability: &str| cni.plugins.iter().any(|plugin| plugin["capabilities"][capability] == true);
    if can("portMappings") && !forwards.is_empty() {
        let one = |forward: &Forward| {
            let mut mapping = json!({
                "hostPort": forward.host_port,
                "containerPort": forward.pod_port,
                "protocol": forward.protocol.name(),
            });
            if let Some(ip) = forward.host_ip {
                mapping["hostIP"] = ip.to_string().into();
            }
            mapping
        };
        runtime.insert("portMappings".to_owned(), forwards.iter().map(one).collect());
    }
    Value::Object(runtime)
}
