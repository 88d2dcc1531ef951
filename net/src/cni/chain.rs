//! Asking the plugins of a network, one after the other.

use serde_json::{Value, json};

use super::{
    Outcome,
    plugin::{self, Directories, Request},
};
use crate::{
    config::Cni,
    error::{Error, Result},
};

/// What plugins find those in that are to stay.
const VALID: &str = "cni.dev/valid-attachments";

/// The plugins of a network and what they are told of a pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain<'a> {
    /// The network's name.
    pub(crate) network: &'a str,
    /// Its plugins.
    pub(crate) cni: &'a Cni,
    /// What those get that can do something with it.
    pub(crate) runtime: &'a Value,
    /// The pod.
    pub(crate) uuid: &'a str,
    /// Path of its network namespace.
    pub(crate) namespace: &'a str,
    /// The interface in it.
    pub(crate) interface: &'a str,
    /// `CNI_ARGS`
    pub(crate) args: &'a str,
    /// Where plugins are.
    pub(crate) directories: &'a Directories,
}

impl Chain<'_> {
    /// Adds the pod to the network.
    ///
    /// # Errors
    /// What a plugin says. Those before it have done their work already.
    pub(crate) fn add(&self) -> Result<Outcome> {
        let mut last: Option<Value> = None;
        for plugin in &self.cni.plugins {
            let name = name_of(plugin);
            let answer = plugin::ask(name, &self.config(plugin, last.as_ref()), &self.request("ADD"))?;
            last = Some(answer.ok_or_else(|| Error::Refused(format!("plugin {name:?}: ADD: no answer")))?);
        }
        Outcome::read(last.unwrap_or_default())
    }

    /// Has the plugins check that all is as they made it.
    ///
    /// # Errors
    /// What a plugin says to be wrong.
    pub(crate) fn check(&self, result: &Value) -> Result<()> {
        let old = ["0.1.0", "0.2.0", "0.3.0", "0.3.1"].contains(&self.cni.version.as_str());
        if old || self.cni.disable_check {
            return Ok(());
        }
        for plugin in &self.cni.plugins {
            plugin::ask(name_of(plugin), &self.config(plugin, Some(result)), &self.request("CHECK"))?;
        }
        Ok(())
    }

    /// Removes the pod from the network: all plugins, the last first, whatever those before say. Can be done again.
    pub(crate) fn remove(&self, result: Option<&Value>) -> Vec<Error> {
        let plugins = self.cni.plugins.iter().rev();
        let ask = |plugin: &Value| {
            plugin::ask(name_of(plugin), &self.config(plugin, result), &self.request("DEL")).err()
        };
        plugins.filter_map(ask).collect()
    }

    /// Has the plugins remove what they have for others than these: pods with their interfaces. Versions before 1.1 cannot be
    /// asked.
    pub(crate) fn collect(&self, valid: &[(String, String)]) -> Vec<Error> {
        if self.cni.version != "1.1.0" || self.cni.disable_gc {
            return Vec::new();
        }
        let pods = valid.iter().map(|(pod, interface)| json!({"containerID": pod, "ifname": interface}));
        let pods: Value = pods.collect();
        let ask = |plugin: &Value| {
            let mut config = self.config(plugin, None);
            config[VALID] = pods.clone();
            plugin::ask(name_of(plugin), &config, &self.request("GC")).err()
        };
        self.cni.plugins.iter().filter_map(ask).collect()
    }

    fn request(&self, command: &'static str) -> Request<'_> {
        let Chain { uuid, namespace, interface, args, directories, .. } = *self;
        Request { command, uuid, namespace, interface, args, directories, timeout: self.cni.timeout }
    }

    /// What a plugin gets: its part of the configuration, with the network's name, what it is told of the pod, and what the
    /// plugin before has said.
    fn config(&self, plugin: &Value, previous: Option<&Value>) -> Value {
        let mut config = plugin.clone();
        config["name"] = self.network.into();
        config["cniVersion"] = self.cni.version.as_str().into();
        let able =
            plugin["capabilities"].as_object().into_iter().flatten().filter(|(_, able)| **able == true);
        let told: serde_json::Map<String, Value> = able
            .filter_map(|(capability, _)| Some((capability.clone(), self.runtime.get(capability)?.clone())))
            .collect();
        if !told.is_empty() {
            config["runtimeConfig"] = Value::Object(told);
        }
        if let Some(object) = config.as_object_mut() {
            object.remove("capabilities");
        }
        let knows_previous = !["0.1.0", "0.2.0"].contains(&self.cni.version.as_str());
        if let Some(previous) = previous.filter(|_| knows_previous) {
            config["prevResult"] = previous.clone();
        }
        config
    }
}

fn name_of(plugin: &Value) -> &str {
    plugin["type"].as_str().unwrap_or_default()
}
