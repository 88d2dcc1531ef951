//! Manifests and what is in them.

use appc::{
    isolator::Isolator,
    schema::{ImageManifest, PodManifest},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::strategies;

/// What is read survives; what is refused is refused with the member's name.
fn survives_or_is_named(document: &Value, member: &str) {
    match ImageManifest::from_slice(document.to_string().as_bytes()) {
        Ok(read) => assert_eq!(ImageManifest::from_slice(&read.to_vec().unwrap()).unwrap(), read),
        Err(error) => assert!(error.to_string().contains(member), "{error} does not name {member}"),
    }
}

proptest! {
    #[test]
    fn image_manifests(manifest in strategies::image_manifest()) {
        let bytes = manifest.to_vec().unwrap();
        prop_assert_eq!(&ImageManifest::from_slice(&bytes).unwrap(), &manifest);
        let pretty = manifest.to_vec_pretty("  ").unwrap();
        prop_assert_eq!(&ImageManifest::from_slice(&pretty).unwrap(), &manifest);
    }

    #[test]
    fn pod_manifests(manifest in strategies::pod_manifest()) {
        let bytes = manifest.to_vec().unwrap();
        prop_assert_eq!(&PodManifest::from_slice(&bytes).unwrap(), &manifest);
        let pretty = manifest.to_vec_pretty("\t").unwrap();
        prop_assert_eq!(&PodManifest::from_slice(&pretty).unwrap(), &manifest);
    }

    // APPC-024
    #[test]
    fn isolators_keep_their_values(isolator in strategies::isolator()) {
        let again = Isolator::new(isolator.name.as_str(), isolator.raw().clone()).unwrap();
        prop_assert_eq!(again, isolator);
    }

    /// A member of a good manifest is replaced by whatever: that is refused with a path, or survives.
    #[test]
    fn a_manifest_with_a_member_of_any_kind(
        manifest in strategies::image_manifest(),
        member in prop_oneof![
            "acVersion", "name", "labels", "app", "annotations", "dependencies", "pathWhitelist", "other"
        ],
        value in strategies::json_value(),
    ) {
        let mut document: Value = serde_json::from_slice(&manifest.to_vec().unwrap()).unwrap();
        document[&member] = value;
        survives_or_is_named(&document, &member);
    }

    /// The same for a part of an app.
    #[test]
    fn an_app_with_a_member_of_any_kind(
        member in prop_oneof![
            "exec", "eventHandlers", "user", "group", "supplementaryGIDs", "workingDirectory", "environment",
            "mountPoints", "ports", "isolators", "userAnnotations", "userLabels"
        ],
        value in strategies::json_value(),
    ) {
        let mut document = json!({
            "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "a",
            "app": {"exec": ["/a"], "user": "0", "group": "0"},
        });
        document["app"][&member] = value;
        survives_or_is_named(&document, &member);
    }

    // APPC-041
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(ImageManifest::from_slice(&bytes).is_err());
        prop_assert!(PodManifest::from_slice(&bytes).is_err());
    }
}
