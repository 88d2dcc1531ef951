//! What `actool patch-manifest` changes in a manifest.

use appc::{
    isolator::{Isolator, IsolatorValue},
    schema::{App, ImageManifest},
};
use serde_json::{Map, Value, json};

use super::shell::parts;

/// Changes, each as it was written on the command line.
#[derive(Debug, Default, Clone, PartialEq, Eq, clap::Args)]
pub(crate) struct Changes {
    /// Replace name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Replace the command line to launch the executable; split at spaces
    #[arg(long, value_name = "COMMAND")]
    pub(crate) exec: Option<String>,
    /// Replace user
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Replace group
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// Replace supplementary groups, expects a comma-separated list
    #[arg(long, value_name = "GID,…")]
    pub(crate) supplementary_groups: Option<String>,
    /// Set the capability retain set
    #[arg(long, value_name = "CAP,…")]
    pub(crate) capability: Option<String>,
    /// Set the capability remove set
    #[arg(long, value_name = "CAP,…")]
    pub(crate) revoke_capability: Option<String>,
    /// Add mount points, or replace those of the same name: NAME,path=PATH[,readOnly=BOOL][:NAME…]
    #[arg(long, value_name = "POINT[:…]")]
    pub(crate) mounts: Option<String>,
    /// Add ports, or replace those of the same name: NAME,protocol=P,port=N[,count=N][,socketActivated=BOOL][:NAME…]
    #[arg(long, value_name = "PORT[:…]")]
    pub(crate) ports: Option<String>,
    /// Add isolators: NAME,KEY=VALUE…[:NAME…]
    #[arg(long, value_name = "ISOLATOR[:…]")]
    pub(crate) isolators: Option<String>,
    /// Enable and configure seccomp isolator: remove or retain, then [,errno=ERRNO]
    #[arg(long, value_name = "MODE")]
    pub(crate) seccomp_mode: Option<String>,
    /// Set of syscalls for seccomp isolator enforcing
    #[arg(long, value_name = "SYSCALL,…")]
    pub(crate) seccomp_set: Option<String>,
}

impl Changes {
    /// Whether something is changed.
    pub(crate) fn any(&self) -> bool {
        *self != Changes::default()
    }

    /// Applies the changes.
    pub(crate) fn apply(&self, manifest: &mut ImageManifest) -> Result<(), String> {
        if let Some(name) = &self.name {
            manifest.name = name.parse().map_err(|error| format!("--name: {error}"))?;
        }
        if *self == (Changes { name: self.name.clone(), ..Changes::default() }) {
            return Ok(());
        }
        if manifest.app.is_none() && self.exec.is_none() {
            return Err("no app in the supplied manifest and no exec command provided".to_owned());
        }
        let app = manifest.app.get_or_insert_with(App::default);
        if let Some(exec) = &self.exec {
            app.exec = exec.split(' ').map(str::to_owned).collect();
        }
        for (value, field) in [(&self.user, &mut app.user), (&self.group, &mut app.group)] {
            if let Some(value) = value {
                value.clone_into(field);
            }
        }
        if let Some(groups) = &self.supplementary_groups {
            let groups = parts(groups, ',').map(|group| {
                group
                    .parse()
                    .map_err(|_| format!("--supplementary-groups: {group:?} is not a group's number"))
            });
            app.supplementary_gids = groups.collect::<Result<_, _>>()?;
        }
        self.mount_points_and_ports(app)?;
        self.capabilities(app)?;
        self.seccomp(app)?;
        for text in self.isolators.iter().flat_map(|list| parts(list, ':')) {
            let isolator = isolator(text).map_err(|error| format!("--isolators: {text:?}: {error}"))?;
            // One that may stand only once is replaced.
            if matches!(isolator.value, IsolatorValue::OomScoreAdj(_)) {
                app.isolators.retain(|earlier| earlier.name != isolator.name);
            }
            app.isolators.push(isolator);
        }
        Ok(())
    }

    fn mount_points_and_ports(&self, app: &mut App) -> Result<(), String> {
        for text in self.mounts.iter().flat_map(|list| parts(list, ':')) {
            let point: appc::schema::MountPoint =
                text.parse().map_err(|error| format!("--mounts: {error}"))?;
            match app.mount_points.iter_mut().find(|earlier| earlier.name == point.name) {
                Some(earlier) => *earlier = point,
                None => app.mount_points.push(point),
            }
        }
        for text in self.ports.iter().flat_map(|list| parts(list, ':')) {
            let port: appc::schema::Port = text.parse().map_err(|error| format!("--ports: {error}"))?;
            match app.ports.iter_mut().find(|earlier| earlier.name == port.name) {
                Some(earlier) => *earlier = port,
                None => app.ports.push(port),
            }
        }
        Ok(())
    }

    fn capabilities(&self, app: &mut App) -> Result<(), String> {
        let (name, list) = match (&self.capability, &self.revoke_capability) {
            (None, None) => return Ok(()),
            (Some(_), Some(_)) => {
                return Err("--capability and --revoke-capability exclude each other".to_owned());
            }
            (Some(retain), None) => ("os/linux/capabilities-retain-set", retain),
            (None, Some(remove)) => ("os/linux/capabilities-remove-set", remove),
        };
        app.isolators.retain(|isolator| !isolator.name.as_str().starts_with("os/linux/capabilities-"));
        let set: Vec<&str> = parts(list, ',').collect();
        app.isolators
            .push(Isolator::new(name, json!({ "set": set })).map_err(|error| format!("{name}: {error}"))?);
        Ok(())
    }

    fn seccomp(&self, app: &mut App) -> Result<(), String> {
        let Some(mode) = &self.seccomp_mode else {
            return match &self.seccomp_set {
                Some(_) => Err("--seccomp-set specified without --seccomp-mode".to_owned()),
                None => Ok(()),
            };
        };
        let mut words = mode.split(',');
        let name = match words.next() {
            Some("remove") => "os/linux/seccomp-remove-set",
            Some("retain") => "os/linux/seccomp-retain-set",
            _ => return Err(format!("--seccomp-mode: {mode:?}: must begin with remove or retain")),
        };
        let set: Vec<&str> = self.seccomp_set.iter().flat_map(|list| parts(list, ',')).collect();
        let mut value = json!({ "set": set });
        for word in words {
            match word.split_once('=') {
                Some(("errno", errno)) => value["errno"] = errno.into(),
                _ => return Err(format!("--seccomp-mode: {word:?}: only errno=ERRNO may follow the mode")),
            }
        }
        app.isolators.retain(|isolator| !isolator.name.as_str().starts_with("os/linux/seccomp-"));
        app.isolators.push(Isolator::new(name, value).map_err(|error| format!("--seccomp-mode: {error}"))?);
        Ok(())
    }
}

/// An isolator as on the command line.
fn isolator(text: &str) -> Result<Isolator, String> {
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    let value = match name {
        _ if name.starts_with("resource/") => resource(rest)?,
        "os/linux/no-new-privileges" => super::shell::boolean(rest)?.into(),
        "os/linux/oom-score-adj" => {
            rest.parse::<i32>().map_err(|_| format!("{rest:?} is not a number"))?.into()
        }
        _ => return Err(format!("isolator {name} is not supported for patching")),
    };
    let isolator = Isolator::new(name, value).map_err(|error| error.to_string())?;
    if isolator.value == IsolatorValue::Unknown {
        return Err(format!("isolator {name} is not known"));
    }
    Ok(isolator)
}

fn resource(text: &str) -> Result<Value, String> {
    let mut value = Map::new();
    for pair in parts(text, ',') {
        let known = match pair.split_once('=') {
            Some((key @ ("request" | "limit"), quantity)) => value.insert(key.to_owned(), quantity.into()),
            Some(("default", word)) => {
                value.insert("default".to_owned(), super::shell::boolean(word)?.into())
            }
            _ => return Err(format!("{pair:?} is none of request=, limit= and default=")),
        };
        if known.is_some() {
            return Err(format!("{pair:?}: given twice"));
        }
    }
    Ok(Value::Object(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/a"}"#;

    fn patch(changes: &Changes) -> Result<String, String> {
        let mut manifest = ImageManifest::from_slice(BARE.as_bytes()).unwrap();
        changes.apply(&mut manifest)?;
        let text = manifest.to_vec().map_err(|error| error.to_string())?;
        Ok(String::from_utf8(text).unwrap())
    }

    fn app() -> Changes {
        let some = |text: &str| Some(text.to_owned());
        Changes { exec: some("/a  b"), user: some("0"), group: some("1"), ..Changes::default() }
    }

    // APPC-421
    #[test]
    fn changes_are_applied() {
        let some = |text: &str| Some(text.to_owned());
        let table = [
            (app(), r#""exec":["/a","","b"],"user":"0","group":"1""#),
            (Changes { supplementary_groups: some("3,4"), ..app() }, r#""supplementaryGIDs":[3,4]"#),
            (
                Changes { capability: some("CAP_A,CAP_B"), ..app() },
                r#""isolators":[{"name":"os/linux/capabilities-retain-set","value":{"set":["CAP_A","CAP_B"]}}]"#,
            ),
            (
                Changes { revoke_capability: some("CAP_A"), ..app() },
                r#"[{"name":"os/linux/capabilities-remove-set","value":{"set":["CAP_A"]}}]"#,
            ),
            (
                Changes { mounts: some("work,path=/opt,readOnly=true:x,path=/x"), ..app() },
                r#""mountPoints":[{"name":"work","path":"/opt","readOnly":true},{"name":"x","path":"/x"}]"#,
            ),
            (
                Changes { mounts: some("x,path=/x:x,path=/y"), ..app() },
                r#""mountPoints":[{"name":"x","path":"/y"}]"#,
            ),
            (
                Changes { ports: some("query,protocol=tcp,port=8080"), ..app() },
                r#"[{"name":"query","protocol":"tcp","port":8080,"count":1,"socketActivated":false}]"#,
            ),
            (
                Changes { seccomp_mode: some("remove,errno=EPERM"), seccomp_set: some("a,b"), ..app() },
                r#"[{"name":"os/linux/seccomp-remove-set","value":{"set":["a","b"],"errno":"EPERM"}}]"#,
            ),
            (
                Changes { isolators: some("resource/cpu,request=50m,limit=100m"), ..app() },
                r#"[{"name":"resource/cpu","value":{"request":"50m","limit":"100m"}}]"#,
            ),
            (
                Changes { isolators: some("os/linux/oom-score-adj,5:os/linux/oom-score-adj,6"), ..app() },
                r#""isolators":[{"name":"os/linux/oom-score-adj","value":6}]"#,
            ),
            (
                Changes {
                    isolators: some(
                        "resource/block-iops,default=true,limit=5:os/linux/no-new-privileges,true",
                    ),
                    ..app()
                },
                r#"[{"name":"resource/block-iops","value":{"default":true,"limit":"5"}},{"name":"os/linux/no-new-privileges","value":true}]"#,
            ),
            (Changes { name: some("example.com/b"), ..Changes::default() }, r#""name":"example.com/b"}"#),
        ];
        for (changes, want) in table {
            let text = patch(&changes).unwrap();
            assert!(text.contains(want), "{text}\n{want}");
        }
    }

    // APPC-421
    #[test]
    fn wrong_changes_are_refused() {
        let some = |text: &str| Some(text.to_owned());
        let table = [
            (Changes { user: some("0"), ..Changes::default() }, "no app in the supplied manifest"),
            (Changes { exec: some("/a"), ..Changes::default() }, "app.user: must be set"),
            (Changes { name: some("A"), ..Changes::default() }, "--name"),
            (Changes { supplementary_groups: some("staff"), ..app() }, "--supplementary-groups"),
            (Changes { capability: some("A"), revoke_capability: some("B"), ..app() }, "exclude"),
            (Changes { mounts: some("work"), ..app() }, "--mounts"),
            (Changes { ports: some("x,port=0"), ..app() }, "--ports"),
            (Changes { seccomp_set: some("a"), ..app() }, "without --seccomp-mode"),
            (Changes { seccomp_mode: some("strict"), ..app() }, "remove or retain"),
            (Changes { seccomp_mode: some("remove,x=y"), seccomp_set: some("a"), ..app() }, "only errno"),
            (Changes { seccomp_mode: some("remove"), ..app() }, "must not be empty"),
            (Changes { isolators: some("os/unix/sysctl,a=b"), ..app() }, "not supported for patching"),
            (Changes { isolators: some("resource/gpu,limit=1"), ..app() }, "not known"),
            (Changes { isolators: some("resource/cpu,limit=1,limit=2"), ..app() }, "twice"),
            (Changes { isolators: some("resource/cpu,max=1"), ..app() }, "none of"),
        ];
        for (changes, want) in table {
            let error = patch(&changes).unwrap_err();
            assert!(error.contains(want), "{changes:?}: {error}");
        }
    }
}
