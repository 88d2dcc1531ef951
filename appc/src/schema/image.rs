//! The image manifest.

use serde_json::Value;

use super::{
    App, Kind,
    common::{check_kind, read_annotations, read_labels, read_version, write_annotations, write_labels},
};
use crate::{
    json::{Node, Object, SchemaError, document, to_bytes, to_pretty},
    types::{AcIdentifier, Annotations, ImageId, Labels, SemVer},
};

/// What an image says of itself (spec, image manifest).
#[derive(Debug, Clone, PartialEq)]
pub struct ImageManifest {
    /// The version of the specification it was written for.
    pub ac_version: SemVer,
    /// The image's name.
    pub name: AcIdentifier,
    /// What distinguishes it from others of the name: version, os, arch.
    pub labels: Labels,
    /// How it is executed by default; images that are only dependencies have none.
    pub app: Option<App>,
    /// Further metadata.
    pub annotations: Annotations,
    /// Images that are rendered below this one, in order.
    pub dependencies: Vec<Dependency>,
    /// Absolute paths that remain after rendering; empty: all.
    pub path_whitelist: Vec<String>,
}

/// An image that is rendered below another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Its name.
    pub image_name: AcIdentifier,
    /// What it must hash to.
    pub image_id: Option<ImageId>,
    /// Labels it must have.
    pub labels: Labels,
    /// Its size in bytes; 0: not said.
    pub size: u64,
}

impl ImageManifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// Names the first member that breaks a rule.
    pub fn from_slice(bytes: &[u8]) -> Result<ImageManifest, SchemaError> {
        let value = document(bytes)?;
        let node = Node::root(&value);
        if node.object()?.is_none() {
            return Err(node.error("must be an object"));
        }
        check_kind(&node, Kind::Image)?;
        Ok(ImageManifest {
            ac_version: read_version(&node)?,
            name: node.member("name", |n| n.parse())?,
            labels: read_labels(&node)?,
            app: node.member("app", |n| if n.is_present() { App::read(&n).map(Some) } else { Ok(None) })?,
            annotations: read_annotations(&node)?,
            dependencies: node.member("dependencies", |n| n.list(|d| Dependency::read(&d)))?,
            path_whitelist: node.member("pathWhitelist", |n| n.list(|p| read_path(&p)))?,
        })
    }

    fn value(&self) -> Value {
        Object::default()
            .set("acKind", Kind::Image.as_str())
            .set("acVersion", self.ac_version.to_string())
            .set("name", self.name.as_str())
            .set_some("labels", write_labels(&self.labels))
            .set_option("app", self.app.as_ref().map(App::write))
            .set_some("annotations", write_annotations(&self.annotations))
            .set_some("dependencies", self.dependencies.iter().map(Dependency::write).collect::<Vec<Value>>())
            .set_some("pathWhitelist", self.path_whitelist.clone())
            .into()
    }

    /// Writes the manifest in one line.
    ///
    /// # Errors
    /// What reading it back would say.
    pub fn to_vec(&self) -> Result<Vec<u8>, SchemaError> {
        let bytes = to_bytes(&self.value());
        ImageManifest::from_slice(&bytes).map(|_| bytes)
    }

    /// Writes the manifest for people, each level indented by `indent`.
    ///
    /// # Errors
    /// As [`ImageManifest::to_vec`].
    pub fn to_vec_pretty(&self, indent: &str) -> Result<Vec<u8>, SchemaError> {
        self.to_vec().map(|_| to_pretty(&self.value(), indent))
    }
}

fn read_path(node: &Node<'_>) -> Result<String, SchemaError> {
    match node.required()? {
        path if path.starts_with('/') => Ok(path.to_owned()),
        _ => Err(node.error("must be an absolute path")),
    }
}

impl Dependency {
    fn read(node: &Node<'_>) -> Result<Dependency, SchemaError> {
        Ok(Dependency {
            image_name: node.member("imageName", |n| n.parse())?,
            image_id: node.member("imageID", |n| n.parse_optional())?,
            labels: read_labels(node)?,
            size: node.member("size", |n| match n.integer()? {
                Some(size) => u64::try_from(size).map_err(|_| n.error("must not be negative")),
                None => Ok(0),
            })?,
        })
    }

    fn write(&self) -> Value {
        Object::default()
            .set("imageName", self.image_name.as_str())
            .set_option("imageID", self.image_id.as_ref().map(ImageId::as_str))
            .set_some("labels", write_labels(&self.labels))
            .set_some("size", self.size)
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> String {
        ImageManifest::from_slice(text.as_bytes()).unwrap_err().to_string()
    }

    const SMALL: &str = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/a"}"#;

    // APPC-019, APPC-036
    #[test]
    fn a_manifest_survives_reading_and_writing() {
        let full = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/a","labels":[{"name":"version","value":"1"},{"name":"os","value":"linux"}],"app":{"exec":["/bin/a","\u003c"],"eventHandlers":[{"name":"pre-start","exec":["/b"]}],"user":"0","group":"0","supplementaryGIDs":[1,2],"workingDirectory":"/w","environment":[{"name":"A","value":"b"}],"mountPoints":[{"name":"data","path":"/data","readOnly":true}],"ports":[{"name":"http","protocol":"tcp","port":80,"count":1,"socketActivated":false}],"isolators":[{"name":"resource/memory","value":{"limit":"1G"}}],"userAnnotations":{"a":"b"},"userLabels":{"c":"d"}},"annotations":[{"name":"authors","value":"x"}],"dependencies":[{"imageName":"example.com/b","imageID":"sha512-ab","labels":[{"name":"version","value":"2"}],"size":7}],"pathWhitelist":["/a"]}"#;
        for text in [SMALL, full] {
            let manifest = ImageManifest::from_slice(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(manifest.to_vec().unwrap()).unwrap(), text);
            let pretty = manifest.to_vec_pretty("\t").unwrap();
            assert_eq!(ImageManifest::from_slice(&pretty).unwrap(), manifest);
        }
    }

    // APPC-033, APPC-034
    #[test]
    fn names_of_members_match_whatever_their_case_and_unknown_ones_are_ignored() {
        let text = r#"{"ACKIND":"ImageManifest","AcVersion":"0.8.11","NAME":"a","x":{"y":[1]},"app":null,"labels":null}"#;
        assert_eq!(ImageManifest::from_slice(text.as_bytes()).unwrap().name.as_str(), "a");
    }

    // APPC-007, APPC-008, APPC-035, APPC-100, APPC-101, APPC-104, APPC-112, APPC-114, APPC-117
    // APPC-120
    #[test]
    fn errors_name_the_place_and_the_rule() {
        let app = |app: &str| SMALL.replace("}", &format!(r#","app":{app}}}"#));
        for (text, want) in [
            ("", "not valid JSON: line 1, column 0"),
            ("{\n\"a\" 1}", "not valid JSON: line 2, column 5"),
            (&format!("{SMALL}x"), "not valid JSON: line 1"),
            ("[]", "manifest: must be an object"),
            ("null", "manifest: must be an object"),
            (r#"{"acKind":"PodManifest"}"#, "acKind: missing or bad ACKind"),
            (r#"{"acKind":"ImageManifest"}"#, "acVersion: must be set"),
            (&SMALL.replace("example.com/a", "A"), "name: \"A\": an AC identifier may contain only"),
            (&SMALL.replace("\"example.com/a\"", "7"), "name: must be a string, is a number"),
            (&SMALL.replace("com/a", "com/\\u0000a"), "name: must not contain a NUL"),
            (&app(r#"{"user":"0"}"#), "app.group: must be set"),
            (&app(r#"{"user":"0","group":0}"#), "app.group: must be a string, is a number"),
            (&app(r#"{"user":"0","group":"0","exec":["a",1]}"#), "app.exec[1]: must be a string"),
            (
                &app(r#"{"user":"0","group":"0","workingDirectory":"w"}"#),
                "app.workingDirectory: must be an absolute",
            ),
            (&app(r#"{"user":"0","group":"0","environment":[{"name":"1A"}]}"#), "app.environment[0].name:"),
            (
                &app(r#"{"user":"0","group":"0","ports":[{"name":"a","protocol":"tcp","port":0}]}"#),
                "app.ports[0].port:",
            ),
            (
                &app(
                    r#"{"user":"0","group":"0","ports":[{"name":"a","protocol":"tcp","port":65535,"count":2}]}"#,
                ),
                "app.ports[0].count: end of port range",
            ),
            (&app(r#"{"user":"0","group":"0","supplementaryGIDs":[-1]}"#), "app.supplementaryGIDs[0]:"),
            (
                &app(r#"{"user":"0","group":"0","isolators":[{"name":"resource/cpu"}]}"#),
                "app.isolators[0].value: must be set",
            ),
        ] {
            assert!(rule(text).starts_with(want), "{text}\n got {}\nwant {want}", rule(text));
        }
    }

    // APPC-041
    #[test]
    fn hostile_documents_are_refused() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(rule(&deep).contains("recursion limit"), "{}", rule(&deep));
        let huge = vec![b' '; usize::try_from(crate::MAX_MANIFEST_SIZE).unwrap() + 1];
        assert!(matches!(ImageManifest::from_slice(&huge), Err(SchemaError::TooLarge(_))));
        assert!(ImageManifest::from_slice(b"\xff\xfe{}").is_err());
        assert!(ImageManifest::from_slice(b"{\"name\":\"\0\"}").is_err());
    }
}
