//! What the apps of a pod say of themselves, made into what the pod says of itself.

/// One app.
#[derive(Debug)]
struct App {
    name: String,
    /// Whether it speaks for itself. Others are ready when their sandbox is built.
    speaks: bool,
    ready: bool,
    ended: bool,
    /// Whether it has shown that it is alive since the pod last did.
    pinged: bool,
}

/// All apps of a pod.
#[derive(Debug, Default)]
pub(super) struct Merged {
    apps: Vec<App>,
    /// Whether the pod has said that it is ready, and none of its apps took that back.
    ready: bool,
}

impl Merged {
    /// Adds an app; its index is the next one.
    pub(super) fn add(&mut self, name: &str, speaks: bool) {
        self.apps.push(App { name: name.to_owned(), speaks, ready: false, ended: false, pinged: false });
    }

    /// Whether some app speaks for itself.
    pub(super) fn speaks(&self) -> bool {
        self.apps.iter().any(|app| app.speaks)
    }

    /// Whether the pod is ready.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// The sandbox of an app is built. Returns what is to be said.
    pub(super) fn built(&mut self, app: usize) -> Vec<String> {
        if let Some(app) = self.apps.get_mut(app) {
            app.ready |= !app.speaks;
        }
        self.check()
    }

    /// An app has ended. Who has done its work is waited for no longer.
    pub(super) fn ended(&mut self, app: usize) -> Vec<String> {
        if let Some(app) = self.apps.get_mut(app) {
            app.ended = true;
        }
        let mut said = self.check();
        said.extend(self.pings());
        said
    }

    /// An app says something: assignments, one a line (sd_notify(3)). Returns what is to be said of the pod. What is about
    /// processes and descriptors of the app, which the service manager does not know, stays here.
    pub(super) fn heard(&mut self, index: usize, text: &str) -> Vec<String> {
        let several = self.apps.len() > 1;
        let Some(app) = self.apps.get_mut(index) else { return Vec::new() };
        let mut said = Vec::new();
        let mut reloads = false;
        for line in text.lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => app.ready = true,
                Some(("RELOADING", "1")) => {
                    reloads = true;
                    said.push(line.to_owned());
                }
                Some(("WATCHDOG", "1")) => app.pinged = true,
                Some(("WATCHDOG", "trigger")) => said.push(line.to_owned()),
                Some(("STATUS", status)) if several => said.push(format!("STATUS={}: {status}", app.name)),
                Some(("STATUS", _)) => said.push(line.to_owned()),
                Some(("MONOTONIC_USEC" | "EXTEND_TIMEOUT_USEC", number)) if number.parse::<u64>().is_ok() => {
                    said.push(line.to_owned());
                }
                _ => {}
            }
        }
        if reloads {
            // Ready again when it says so.
            (app.ready, self.ready) = (false, false);
        }
        said.extend(self.check());
        said.extend(self.pings());
        said
    }

    fn check(&mut self) -> Vec<String> {
        if self.ready || !self.apps.iter().all(|app| app.ready || app.ended) {
            return Vec::new();
        }
        self.ready = true;
        vec!["READY=1".to_owned()]
    }

    /// The pod is alive when all of its apps are that can say so.
    fn pings(&mut self) -> Vec<String> {
        let speaking = || self.apps.iter().filter(|app| app.speaks && !app.ended);
        if speaking().next().is_none() || !speaking().all(|app| app.pinged) {
            return Vec::new();
        }
        self.apps.iter_mut().for_each(|app| app.pinged = false);
        vec!["WATCHDOG=1".to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(apps: &[(&str, bool)]) -> Merged {
        let mut merged = Merged::default();
        apps.iter().for_each(|(name, speaks)| merged.add(name, *speaks));
        merged
    }

    #[test]
    fn a_pod_is_ready_when_all_of_its_apps_are() {
        let mut merged = pod(&[("a", false), ("b", true), ("c", true)]);
        assert!(merged.built(0).is_empty());
        assert!(merged.built(1).is_empty(), "it speaks for itself");
        assert!(merged.built(2).is_empty());
        assert!(merged.heard(1, "READY=1\nMAINPID=7").is_empty());
        assert_eq!(merged.heard(2, "READY=1"), ["READY=1"]);
        assert!(merged.is_ready());
        assert!(merged.heard(2, "READY=1").is_empty(), "once is enough");
        assert_eq!(pod(&[("a", false)]).built(0), ["READY=1"]);
    }

    #[test]
    fn who_has_ended_is_not_waited_for() {
        let mut merged = pod(&[("once", false), ("web", true)]);
        assert!(merged.ended(0).is_empty());
        assert_eq!(merged.heard(1, "READY=1"), ["READY=1"]);
        let mut merged = pod(&[("a", true), ("b", true)]);
        assert!(merged.heard(0, "WATCHDOG=1").is_empty());
        assert_eq!(merged.ended(1), ["WATCHDOG=1"]);
    }

    #[test]
    fn a_pod_is_alive_when_all_that_say_so_are() {
        let mut merged = pod(&[("a", true), ("quiet", false), ("b", true)]);
        assert!(merged.heard(0, "WATCHDOG=1").is_empty());
        assert!(merged.heard(0, "WATCHDOG=1").is_empty());
        assert_eq!(merged.heard(2, "WATCHDOG=1"), ["WATCHDOG=1"]);
        assert!(merged.heard(2, "WATCHDOG=1").is_empty(), "of the first one nothing is known since");
    }

    #[test]
    fn a_reload_is_over_when_the_app_says_so() {
        let mut merged = pod(&[("a", true)]);
        assert_eq!(merged.heard(0, "READY=1"), ["READY=1"]);
        assert_eq!(merged.heard(0, "RELOADING=1\nMONOTONIC_USEC=12"), ["RELOADING=1", "MONOTONIC_USEC=12"]);
        assert!(!merged.is_ready());
        assert_eq!(merged.heard(0, "READY=1\nSTATUS=fresh"), ["STATUS=fresh", "READY=1"]);
    }

    #[test]
    fn what_is_not_the_pods_to_say_is_dropped() {
        let mut merged = pod(&[("a", true), ("b", true)]);
        let text = "MAINPID=1\nFDSTORE=1\nFDNAME=x\nBARRIER=1\nSTOPPING=1\nNOTIFYACCESS=all\nEXTEND_TIMEOUT_USEC=x\n=\n\nREADY=2";
        assert!(merged.heard(0, text).is_empty());
        assert_eq!(merged.heard(1, "STATUS=half way"), ["STATUS=b: half way"]);
        assert_eq!(merged.heard(1, "EXTEND_TIMEOUT_USEC=9"), ["EXTEND_TIMEOUT_USEC=9"]);
        assert!(merged.heard(7, "READY=1").is_empty());
    }
}
