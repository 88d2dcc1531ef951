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

use serde_json::{Map, Value, json};

use crate::{Forward, config::Cni, link::Rate};

/// A network's own largest packet is not known before it is there.
const LARGEST_PACKET: u32 = 9000;

/// What plugins that can do it are told of the pod: its ports, how many bytes a second may go through its interface, and of
/// what the user says (`IP=…;MAC=…`) what they can be told so. The rest of that is what they get as `CNI_ARGS`.
pub(crate) fn runtime(
    cni: &Cni,
    forwards: &[Forward],
    bandwidth: Option<u64>,
    args: &str,
) -> (Value, String) {
    let (mut runtime, rest) = wishes(cni, args);
    if cni.can("portMappings") && !forwards.is_empty() {
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
    if let Some(rate) = bandwidth.filter(|_| cni.can("bandwidth")) {
        // In bits.
        let burst = u64::from(Rate { rate, mtu: LARGEST_PACKET }.burst()) * 8;
        let rate = rate.saturating_mul(8);
        let told =
            json!({"ingressRate": rate, "ingressBurst": burst, "egressRate": rate, "egressBurst": burst});
        runtime.insert("bandwidth".to_owned(), told);
    }
    (Value::Object(runtime), rest)
}

/// Addresses that the user wants, for those who can be told of them, and all else that he says.
fn wishes(cni: &Cni, args: &str) -> (Map<String, Value>, String) {
    let mut told = Map::new();
    let mut ips: Vec<&str> = Vec::new();
    let mut rest: Vec<&str> = Vec::new();
    for pair in args.split(';').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("IP", ip)) if cni.can("ips") => ips.push(ip),
            Some(("MAC", mac)) if cni.can("mac") => {
                // That is how rkt has been told of it before values could have colons.
                told.insert("mac".to_owned(), mac.replace('-', ":").into());
            }
            _ => rest.push(pair),
        }
    }
    if !ips.is_empty() {
        told.insert("ips".to_owned(), ips.into());
    }
    (told, rest.join(";"))
}
