//! Which networks there are, and which of them a pod gets.

mod load;
mod native;
mod selection;
mod store;

use std::time::Duration;

use serde_json::Value;

pub use load::{Loaded, load};
pub use native::Native;
pub use selection::{Selection, Wanted};
pub use store::{store, stored};

/// A configured network.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// The name of its file: networks of a pod are in the order of these.
    pub file: String,
    /// Its configuration, as it was written.
    pub config: Value,
    /// How it is made.
    pub kind: Kind,
}

/// How a network is made.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// By ourselves.
    Native(Native),
    /// By CNI plugins.
    Cni(Cni),
}

/// A network that CNI plugins make.
#[derive(Debug, Clone, PartialEq)]
pub struct Cni {
    /// The version of CNI that its configuration is written in.
    pub version: String,
    /// What each plugin of the chain gets, in order.
    pub plugins: Vec<Value>,
    /// Whether plugins must not be asked to check.
    pub disable_check: bool,
    /// Whether plugins must not be asked to collect what is left.
    pub disable_gc: bool,
    /// How long each plugin may take.
    pub timeout: Duration,
}

impl Cni {
    /// Whether one of its plugins can do something with what it is told of the pod by that name.
    pub fn can(&self, capability: &str) -> bool {
        self.plugins.iter().any(|plugin| plugin["capabilities"][capability] == true)
    }
}

impl Network {
    /// Whether what leaves the network looks as if it came from this machine.
    pub fn masquerades(&self) -> bool {
        match &self.kind {
            Kind::Native(native) => native.masquerade,
            Kind::Cni(cni) => cni.plugins.iter().any(|plugin| plugin["ipMasq"] == true),
        }
    }

    /// Whether its plugins forward ports themselves.
    pub fn forwards_ports(&self) -> bool {
        match &self.kind {
            Kind::Native(_) => false,
            Kind::Cni(cni) => cni.can("portMappings"),
        }
    }
}
