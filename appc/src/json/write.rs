//! Writing JSON as the reference library does: members in a fixed order, and characters escaped that HTML minds.

use serde::Serialize;
use serde_json::{Map, Value};

/// An object under construction, its members in the order of the calls.
#[derive(Debug, Default)]
pub(crate) struct Object(Map<String, Value>);

impl Object {
    /// Adds a member.
    pub(crate) fn set(mut self, name: &str, value: impl Into<Value>) -> Object {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a member where it is more than nothing: not null, false, 0, or empty.
    pub(crate) fn set_some(self, name: &str, value: impl Into<Value>) -> Object {
        let value = value.into();
        let nothing = match &value {
            Value::Null | Value::Bool(false) => true,
            Value::Number(number) => number.as_u64() == Some(0),
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Bool(true) => false,
        };
        if nothing { self } else { self.set(name, value) }
    }

    /// Adds a member where there is one, even if it is false or 0.
    pub(crate) fn set_option(self, name: &str, value: Option<impl Into<Value>>) -> Object {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Value {
        Value::Object(object.0)
    }
}

/// The compact form.
pub(crate) fn to_bytes(value: &Value) -> Vec<u8> {
    escape(&value.to_string())
}

/// A form for people, each level indented by `indent`.
pub(crate) fn to_pretty(value: &Value, indent: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    match value.serialize(&mut serializer) {
        Ok(()) => escape(&String::from_utf8_lossy(&bytes)),
        // Neither a vector nor a JSON value gives cause for an error; the compact form has none.
        Err(_) => to_bytes(value),
    }
}

/// These characters occur only inside strings, where an escape means the same.
fn escape(text: &str) -> Vec<u8> {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.into_bytes()
}
