//! A value in a JSON document, which knows where it is.

use std::{fmt, str::FromStr};

use serde_json::{Map, Value};

use super::{MAX_MANIFEST_SIZE, SchemaError};
use crate::types::TypeError;

/// A value and its place. An absent value is a node, too, so that rules about presence are errors like all others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'a> {
    value: Option<&'a Value>,
    path: Path<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'a str),
    Element(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => f.write_str("manifest"),
            Path::Member(Path::Root, name) => f.write_str(name),
            Path::Member(parent, name) => write!(f, "{parent}.{name}"),
            Path::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Reads a document into its tree.
///
/// # Errors
/// [`SchemaError::TooLarge`] and [`SchemaError::Syntax`].
pub(crate) fn document(bytes: &[u8]) -> Result<Value, SchemaError> {
    let size = bytes.len() as u64;
    if size > MAX_MANIFEST_SIZE {
        return Err(SchemaError::TooLarge(size));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let problem = text.split(" at line ").next().unwrap_or(&text).to_owned();
        SchemaError::Syntax { line: error.line(), column: error.column(), problem }
    })
}

impl<'a> Node<'a> {
    /// The whole document.
    pub(crate) fn root(value: &'a Value) -> Node<'a> {
        Node { value: Some(value), path: Path::Root }
    }

    /// An error about this value.
    pub(crate) fn error(&self, rule: impl fmt::Display) -> SchemaError {
        SchemaError::rule(self.path.to_string(), rule.to_string())
    }

    /// The value itself.
    pub(crate) fn value(&self) -> Option<&'a Value> {
        self.value
    }

    fn present(&self) -> Option<&'a Value> {
        self.value.filter(|value| !value.is_null())
    }

    /// Whether there is a value other than `null`.
    pub(crate) fn is_present(&self) -> bool {
        self.present().is_some()
    }

    fn expected(&self, what: &str) -> SchemaError {
        match self.present() {
            None => self.error(format_args!("must be set ({what})")),
            Some(value) => self.error(format_args!("must be {what}, is {}", kind(value))),
        }
    }

    /// This value as an object; an absent one is an empty one.
    pub(crate) fn object(&self) -> Result<Option<&'a Map<String, Value>>, SchemaError> {
        match self.present() {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members)),
            Some(_) => Err(self.expected("an object")),
        }
    }

    /// Calls `read` with the member called `name`, whatever its case.
    pub(crate) fn member<T>(
        &self,
        name: &str,
        read: impl FnOnce(Node<'_>) -> Result<T, SchemaError>,
    ) -> Result<T, SchemaError> {
        let value = self.object()?.and_then(|members| {
            members.get(name).or_else(|| {
                members.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
            })
        });
        read(Node { value, path: Path::Member(&self.path, name) })
    }

    /// Calls `read` with each element of this list; an absent list is an empty one.
    pub(crate) fn list<T>(
        &self,
        mut read: impl FnMut(Node<'_>) -> Result<T, SchemaError>,
    ) -> Result<Vec<T>, SchemaError> {
        match self.present() {
            None => Ok(Vec::new()),
            Some(Value::Array(elements)) => elements
                .iter()
                .enumerate()
                .map(|(index, value)| {
                    read(Node { value: Some(value), path: Path::Element(&self.path, index) })
                })
                .collect(),
            Some(_) => Err(self.expected("a list")),
        }
    }

    /// This value as a string; an absent one is empty.
    pub(crate) fn string(&self) -> Result<&'a str, SchemaError> {
        match self.present() {
            None => Ok(""),
            Some(Value::String(text)) if text.contains('\0') => {
                Err(self.error("must not contain a NUL character"))
            }
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(self.expected("a string")),
        }
    }

    /// This value as a string that is not empty.
    pub(crate) fn required(&self) -> Result<&'a str, SchemaError> {
        match self.string()? {
            "" => Err(self.error("must be set (a string that is not empty)")),
            text => Ok(text),
        }
    }

    /// This value as a boolean; an absent one is `None`.
    pub(crate) fn boolean(&self) -> Result<Option<bool>, SchemaError> {
        match self.present() {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(self.expected("true or false")),
        }
    }

    /// This value as an integer; an absent one is `None`.
    pub(crate) fn integer(&self) -> Result<Option<i64>, SchemaError> {
        match self.present() {
            None => Ok(None),
            Some(Value::Number(number)) if number.is_i64() => Ok(number.as_i64()),
            Some(_) => Err(self.expected("an integer")),
        }
    }

    /// This value as an integer in a range; an absent one is `None`.
    pub(crate) fn integer_in(&self, low: i64, high: i64) -> Result<Option<i64>, SchemaError> {
        match self.integer()? {
            Some(value) if !(low..=high).contains(&value) => {
                Err(self.error(format_args!("must be in {low} to {high}, is {value}")))
            }
            other => Ok(other),
        }
    }

    /// This value, a string, as the type `T`.
    pub(crate) fn parse<T: FromStr<Err = TypeError>>(&self) -> Result<T, SchemaError> {
        self.required()?.parse().map_err(|error: TypeError| self.error(error))
    }

    /// This value as the type `T`; an absent one is `None`.
    pub(crate) fn parse_optional<T: FromStr<Err = TypeError>>(&self) -> Result<Option<T>, SchemaError> {
        if self.is_present() { self.parse().map(Some) } else { Ok(None) }
    }

    /// This value as a list of strings.
    pub(crate) fn strings(&self) -> Result<Vec<String>, SchemaError> {
        self.list(|element| element.string().map(str::to_owned))
    }

    /// This value as an object of strings, ordered by name.
    pub(crate) fn string_map(&self) -> Result<std::collections::BTreeMap<String, String>, SchemaError> {
        let Some(members) = self.object()? else { return Ok(Default::default()) };
        members
            .iter()
            .map(|(name, value)| {
                let node = Node { value: Some(value), path: Path::Member(&self.path, name) };
                match value {
                    Value::String(text) => Ok((name.clone(), text.clone())),
                    _ => Err(node.expected("a string")),
                }
            })
            .collect()
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
