//! What `list` and `status` know of a pod.

use std::{
    fs,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::bail;
use appc::schema::{ImageManifest, Mount, PodManifest, VolumeKind};
use rkt_net::{NET_INFO, NetInfo};
use rkt_pod::{
    Place, PodDir, State, View, layout, names,
    stage1::{MUTABLE, RuntimeState},
    users::Range,
};
use serde_json::{Map, Value, json};

use crate::output;

/// A pod as it was found at one moment.
#[derive(Debug)]
pub(crate) struct Description {
    /// Its directory.
    pub(crate) pod: PodDir,
    /// The same, open.
    pub(crate) view: View,
    /// Its state.
    pub(crate) state: State,
    /// Its manifest, where it has one.
    pub(crate) manifest: Option<PodManifest>,
}

impl Description {
    /// Looks at a pod. Errors that do not hide the pod itself are added to `problems`.
    pub(crate) fn new(pod: PodDir, problems: &mut Vec<String>) -> rkt_pod::Result<Description> {
        let view = View::of(&pod)?;
        let state = view.state();
        let manifest = match view.read(layout::MANIFEST) {
            Ok(text) => PodManifest::from_slice(&text)
                .map_err(|error| problems.push(format!("pod {}: manifest: {error}", pod.uuid())))
                .ok(),
            Err(_) if matches!(state, State::Preparing | State::AbortedPrepare | State::Embryo) => None,
            Err(error) => {
                // Where somebody removes the pod, or has moved it, that is why.
                if !matches!(View::of(&pod)?.state(), State::Deleting | State::ExitedDeleting) {
                    problems.push(format!("pod {}: manifest: {}", pod.uuid(), error.kind()));
                }
                None
            }
        };
        Ok(Description { pod, view, state, manifest })
    }

    /// How it runs or ran.
    pub(crate) fn runtime(&self) -> Option<RuntimeState> {
        serde_json::from_slice(&self.view.read(layout::RUNTIME).ok()?).ok()
    }

    /// The name and version of an app's image, from its saved manifest.
    pub(crate) fn image_name(&self, app: &str) -> Option<String> {
        let path = Path::new(layout::APPS_INFO).join(app).join(layout::APP_MANIFEST);
        let manifest = ImageManifest::from_slice(&self.view.read(path).ok()?).ok()?;
        Some(match manifest.labels.get("version") {
            Some(version) => format!("{}:{version}", manifest.name),
            None => manifest.name.to_string(),
        })
    }

    /// Names of the apps.
    pub(crate) fn apps(&self) -> Vec<&str> {
        self.manifest.iter().flat_map(|manifest| &manifest.apps).map(|app| app.name.as_str()).collect()
    }

    /// The app that is meant: the one that was named, or the only one. The first of `problems` is why there may be none.
    pub(crate) fn choose_app(&self, wanted: Option<&str>, problems: Vec<String>) -> anyhow::Result<String> {
        if let Some(problem) = problems.into_iter().next() {
            bail!(problem);
        }
        let (apps, uuid) = (self.apps(), self.pod.uuid());
        let list = apps.join(", ");
        match (wanted, apps.as_slice()) {
            (Some(app), _) if apps.contains(&app) => Ok(app.to_owned()),
            (Some(app), _) => bail!("pod {uuid} has no app {app:?} (it has: {list})"),
            (None, [app]) => Ok((*app).to_owned()),
            (None, _) => bail!("pod {uuid} has several apps: choose one of them with --app: {list}"),
        }
    }

    /// When the pod was marked as garbage, in nanoseconds since the epoch.
    fn marked(&self) -> Option<i64> {
        use std::os::unix::fs::MetadataExt;
        if self.pod.place() != Place::ExitedGarbage {
            return None;
        }
        let data = self.pod.path().symlink_metadata().ok()?;
        let moved = UNIX_EPOCH + Duration::from_secs(data.ctime().unsigned_abs());
        Some(output::seconds(moved) * 1_000_000_000 + data.ctime_nsec())
    }

    /// The pod's networks: of pods that run or ran, as `list` and `status` show them.
    pub(crate) fn networks(&self) -> Vec<NetInfo> {
        if self.state == State::Running || self.state.is_exited() {
            self.view.read(NET_INFO).map(|text| NetInfo::read(&text)).unwrap_or_default()
        } else {
            Vec::new()
        }
    }

    /// The same in one line.
    pub(crate) fn networks_line(&self) -> String {
        let networks = self.networks();
        let one = |network: &NetInfo| {
            let v4 = (!network.ip.is_empty()).then(|| format!("{}:ip4={}", network.net_name, network.ip));
            let v6 = network.ip6.iter().map(|ip| format!("{}:ip6={ip}", network.net_name));
            v4.into_iter().chain(v6).collect::<Vec<_>>().join(", ")
        };
        networks.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// The pod as an object, as `--format=json` shows it.
    pub(crate) fn object(&self) -> Value {
        let mut object = Map::new();
        object.insert("name".to_owned(), json!(self.pod.uuid()));
        if let Some(name) = names::in_view(&self.view) {
            object.insert("pod_name".to_owned(), json!(name));
        }
        object.insert("state".to_owned(), json!(self.state.as_str()));
        let networks = self.networks();
        if !networks.is_empty() {
            object.insert("networks".to_owned(), json!(networks));
        }
        let apps: Vec<Value> = self.apps().into_iter().map(|app| self.app_object(app)).collect();
        if !apps.is_empty() {
            object.insert("app_names".to_owned(), json!(self.apps()));
            object.insert("apps".to_owned(), Value::Array(apps));
        }
        for (name, time) in [("created_at", self.view.created()), ("started_at", self.view.started())] {
            if let Some(time) = time {
                object.insert(name.to_owned(), json!(output::seconds(time)));
            }
        }
        if let Some(manifest) = &self.manifest {
            for (name, map) in
                [("user_annotations", &manifest.user_annotations), ("user_labels", &manifest.user_labels)]
            {
                if !map.is_empty() {
                    object.insert(name.to_owned(), json!(map));
                }
            }
        }
        if let Ok(Some(users)) = Range::of_pod(&self.pod.path()) {
            let users = json!({"base": users.base(), "count": users.count()});
            object.insert("private_users".to_owned(), users);
        }
        if let Some(runtime) = self.runtime() {
            object.insert("runtime".to_owned(), json!(runtime));
        }
        Value::Object(object)
    }

    /// Whether apps come and go.
    fn is_mutable(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.annotations.get(MUTABLE) == Some("true"))
    }

    /// When a file of the pod's was written last.
    fn written(&self, file: &Path) -> Option<i64> {
        let time = fs::metadata(self.pod.path().join(file)).and_then(|data| data.modified()).ok()?;
        i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
    }

    /// The state of an app.
    pub(crate) fn app_state(&self, name: &str) -> &'static str {
        let started = || self.pod.path().join(layout::app_started(name)).exists();
        match (self.pod.exit_status(name), self.state) {
            (Some(_), _) => "exited",
            (None, State::Running) if self.is_mutable() && !started() => "created",
            (None, State::Running) => "running",
            (None, state) if state.is_exited() => "exited",
            (None, State::Garbage | State::Deleting) => "exited",
            (None, State::Prepared | State::Preparing | State::Embryo) => "created",
            _ => "unknown",
        }
    }

    /// When an app was made, when it was started, and when it has ended, in nanoseconds since the epoch.
    fn app_times(&self, name: &str) -> [Option<i64>; 3] {
        if self.is_mutable() {
            let made = Path::new(layout::APPS_INFO).join(name).join(layout::APP_MANIFEST);
            return [made, layout::app_started(name), layout::app_status(name)]
                .map(|file| self.written(&file));
        }
        let nanoseconds = |time| output::seconds(time) * 1_000_000_000;
        [self.view.created().map(nanoseconds), self.view.started().map(nanoseconds), self.marked()]
    }

    /// An app as an object, as `--format=json` shows it.
    pub(crate) fn app_object(&self, name: &str) -> Value {
        let mut object = Map::new();
        let status = self.pod.exit_status(name);
        object.insert("name".to_owned(), json!(name));
        object.insert("state".to_owned(), json!(self.app_state(name)));
        for (field, time) in ["created_at", "started_at", "finished_at"].into_iter().zip(self.app_times(name))
        {
            if let Some(time) = time {
                object.insert(field.to_owned(), json!(time));
            }
        }
        if let Some(status) = status {
            object.insert("exit_code".to_owned(), json!(status));
        }
        if self.pod.was_out_of_memory(name) {
            object.insert("oom_killed".to_owned(), json!(true));
        }
        let app =
            self.manifest.iter().flat_map(|manifest| &manifest.apps).find(|app| app.name.as_str() == name);
        let Some(app) = app else { return Value::Object(object) };
        if let Some(id) = &app.image.id {
            object.insert("image_id".to_owned(), json!(id.as_str()));
        }
        let mounts: Vec<Value> = app.mounts.iter().filter_map(|mount| self.mount_object(mount)).collect();
        if !mounts.is_empty() {
            object.insert("mounts".to_owned(), Value::Array(mounts));
        }
        let maps = app
            .app
            .as_ref()
            .map(|app| [("user_annotations", &app.user_annotations), ("user_labels", &app.user_labels)]);
        for (name, map) in maps.into_iter().flatten().filter(|(_, map)| !map.is_empty()) {
            object.insert(name.to_owned(), json!(map));
        }
        Value::Object(object)
    }

    fn mount_object(&self, mount: &Mount) -> Option<Value> {
        let declared = self.manifest.iter().flat_map(|manifest| &manifest.volumes);
        let volume = mount.app_volume.iter().chain(declared).find(|volume| volume.name == mount.volume)?;
        let host_path = match &volume.kind {
            VolumeKind::Host { source, .. } => source.clone(),
            VolumeKind::Empty { .. } => {
                let path = self.pod.path().join(layout::SHARED_VOLUMES).join(volume.name.as_str());
                path.to_string_lossy().into_owned()
            }
        };
        Some(json!({
            "name": volume.name.as_str(),
            "container_path": mount.path,
            "host_path": host_path,
            "read_only": volume.read_only.unwrap_or(false),
        }))
    }
}
