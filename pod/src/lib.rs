//! What stage0 and stage1 share: where a pod's files are ([`layout`]), in which state a pod is and who works on it
//! ([`state`], [`lock`], [`directory`], [`view`]), how pods are found ([`lookup`]), which process is an app's ([`process`]), what users are told ([`message`]), how trees of
//! files are copied and removed ([`files`]), what apps and pods are given besides their manifests ([`extras`], [`sysctl`]),
//! where their streams lead ([`streams`]) and how somebody is attached to them ([`attach`]), which users of the host are a pod's ([`users`]), and how stage0 calls a stage1 ([`stage1`]).
//!
//! A pod is a directory. Its parent directory and its `flock` are its state, so there is nothing to repair after a
//! crash: whoever died has lost the lock.

pub mod attach;
pub mod directory;
pub mod error;
pub mod extras;
pub mod failpoint;
pub mod files;
pub mod layout;
pub mod lock;
pub mod lookup;
pub mod message;
pub mod names;
pub mod overlay;
pub mod process;
pub mod stage1;
pub mod state;
pub mod streams;
pub mod sysctl;
pub mod users;
pub mod view;

pub use directory::PodDir;
pub use error::{Error, Result};
pub use lock::Lock;
pub use state::{Place, State};
pub use view::View;
