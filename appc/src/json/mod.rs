//! Reading JSON documents with the reference library's habits, and errors that name the place and the rule.
//!
//! Unknown members are ignored, names match whatever their case, `null` is as if absent. What is read is checked by the
//! type that takes it; see [`Node::parse`].

mod node;
mod write;

pub(crate) use node::{Node, document};
pub(crate) use write::{Object, to_bytes, to_pretty};

/// Largest manifest that is read, in bytes. Real ones have a few kilobytes.
pub const MAX_MANIFEST_SIZE: u64 = 4 << 20;

/// Why a document is no valid manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It is larger than [`MAX_MANIFEST_SIZE`].
    #[error("the manifest has {0} bytes; at most {MAX_MANIFEST_SIZE} are read")]
    TooLarge(u64),
    /// It is not JSON.
    #[error("not valid JSON: line {line}, column {column}: {problem}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A value breaks a rule.
    #[error("{path}: {rule}")]
    Rule {
        /// Where, as in `apps[0].app.user`; `manifest` for the whole document.
        path: String,
        /// The rule.
        rule: String,
    },
}

impl SchemaError {
    /// A broken rule of the member `path`.
    pub(crate) fn rule(path: impl Into<String>, rule: impl Into<String>) -> SchemaError {
        SchemaError::Rule { path: path.into(), rule: rule.into() }
    }
}
