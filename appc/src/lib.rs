//! The App Container specification 0.8.11.

pub mod aci;
