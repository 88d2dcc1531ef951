//! What is printed and read again is what it was, for every type.

mod manifests;
mod strategies;
mod types;
