//! Parts that several objects of the manifests share.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Kind;
use crate::{
    isolator::Isolator,
    json::{Node, Object, SchemaError},
    types::{AcName, Annotation, Annotations, Label, Labels, SemVer},
};

/// Checks `acKind`.
pub(super) fn check_kind(node: &Node<'_>, kind: Kind) -> Result<(), SchemaError> {
    node.member("acKind", |n| {
        if n.string()? == kind.as_str() {
            return Ok(());
        }
        Err(n.error(format_args!("missing or bad ACKind (must be {:?})", kind.as_str())))
    })
}

pub(super) fn read_version(node: &Node<'_>) -> Result<SemVer, SchemaError> {
    node.member("acVersion", |n| n.parse())
}

pub(super) fn read_labels(node: &Node<'_>) -> Result<Labels, SchemaError> {
    node.member("labels", |list| {
        let labels = list.list(|label| {
            Ok(Label {
                name: label.member("name", |n| n.parse())?,
                value: label.member("value", |n| n.string().map(str::to_owned))?,
            })
        })?;
        Labels::new(labels).map_err(|error| list.error(error.rule))
    })
}

pub(super) fn read_annotations(node: &Node<'_>) -> Result<Annotations, SchemaError> {
    node.member("annotations", |list| {
        let annotations = list.list(|annotation| {
            Ok(Annotation {
                name: annotation.member("name", |n| n.parse())?,
                value: annotation.member("value", |n| n.string().map(str::to_owned))?,
            })
        })?;
        Annotations::new(annotations).map_err(|error| list.error(error))
    })
}

pub(super) fn read_isolators(node: &Node<'_>) -> Result<Vec<Isolator>, SchemaError> {
    node.member("isolators", |list| list.list(|isolator| Isolator::read(&isolator)))
}

fn named(name: &str, value: &str) -> Value {
    Object::default().set("name", name).set("value", value).into()
}

pub(super) fn write_labels(labels: &Labels) -> Vec<Value> {
    labels.iter().map(|label| named(label.name.as_str(), &label.value)).collect()
}

pub(super) fn write_annotations(annotations: &Annotations) -> Vec<Value> {
    annotations.iter().map(|annotation| named(annotation.name.as_str(), &annotation.value)).collect()
}

pub(super) fn write_map(map: &BTreeMap<String, String>) -> Value {
    Value::Object(
        map.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect::<Map<_, _>>(),
    )
}

/// A list, or `null` where it is empty.
pub(super) fn list_or_null(list: Vec<Value>) -> Value {
    if list.is_empty() { Value::Null } else { Value::Array(list) }
}

/// Refuses a list in which a name stands twice.
pub(super) fn check_unique<'a>(names: impl Iterator<Item = &'a AcName>, what: &str) -> Result<(), String> {
    let mut seen: Vec<&AcName> = names.collect();
    seen.sort();
    match seen.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("duplicate {what} {:?}", pair[0].as_str())),
        None => Ok(()),
    }
}
