//! The steps. Tests include this file, to go through all of them.

/// The names of all steps.
pub(crate) const NAMES: [&str; 12] = [
    "net-leased",
    "net-noted",
    "net-linked",
    "net-limited",
    "net-addressed",
    "net-added",
    "net-filtered",
    "net-told",
    "net-unfiltered",
    "net-unlinked",
    "net-forgotten",
    "net-released",
];
