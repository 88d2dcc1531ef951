//! The grammar of images, their options and their arguments: `IMG1 --exec … -- args --- IMG2 …`.

use std::ffi::OsString;

use anyhow::{Context, Result, bail};
use appc::{isolator::Isolator, schema::Mount};
use clap::ArgMatches;
use rkt_pod::{extras::VolumeOwners, streams};
use serde_json::json;

use super::extras::{self, MountOption, mount};
use crate::{commands::boolean, pod::manifest::AppOptions};

/// After each argument of a group. No argument of a process can contain it.
const END: &str = "\0";

/// The global options whose value may be an argument of its own.
const GLOBAL_OPTIONS: [&str; 5] =
    ["--dir", "--system-config", "--local-config", "--user-config", "--insecure-options"];

/// Where the subcommand's name is.
pub(crate) fn command_position(arguments: &[OsString]) -> Option<usize> {
    let mut words = arguments.iter().enumerate().skip(1);
    while let Some((position, word)) = words.next() {
        if GLOBAL_OPTIONS.iter().any(|option| word == option) {
            words.next();
        } else if !word.as_encoded_bytes().starts_with(b"-") {
            return Some(position);
        }
    }
    None
}

/// Replaces each `-- … ---` after `run` by one hidden option, so that the order of everything is kept.
pub(crate) fn mark_groups(arguments: Vec<OsString>) -> Vec<OsString> {
    let command = command_position(&arguments).map(|position| &arguments[position]);
    // The commands that take them, and their unambiguous beginnings.
    let takes = |word: &OsString| {
        let word = word.to_str().unwrap_or_default();
        word == "run" || (!word.is_empty() && "prepare".starts_with(word))
    };
    let adds = |position: usize| {
        arguments[position] == "app" && arguments.get(position + 1).is_some_and(|word| word == "add")
    };
    if !command.is_some_and(takes) && !command_position(&arguments).is_some_and(adds) {
        return arguments;
    }
    let mut marked = Vec::new();
    let mut group: Option<OsString> = None;
    for argument in arguments {
        match &mut group {
            Some(text) if argument == "---" => {
                marked.push(std::mem::take(text));
                group = None;
            }
            Some(text) => {
                text.push(argument);
                text.push(END);
            }
            None if argument == "--" => group = Some("--app-arguments=".into()),
            // Without a group to end it means nothing.
            None if argument == "---" => {}
            None => marked.push(argument),
        }
    }
    marked.extend(group);
    marked
}

/// Images that have no options but the signature.
pub(crate) fn images(matches: &ArgMatches) -> Result<Vec<AppOptions>> {
    Ok(collect(matches, &["signature"])?.1)
}

/// Mounts for all apps, and the apps with their options.
pub(crate) fn apps(matches: &ArgMatches) -> Result<(Vec<Mount>, Vec<AppOptions>)> {
    const OPTIONS: [&str; 32] = [
        "name",
        "exec",
        "working_dir",
        "user",
        "group",
        "supplementary_gids",
        "readonly_rootfs",
        "mount",
        "mnt_volume",
        "tmpfs",
        "device",
        "environment",
        "caps_retain",
        "caps_remove",
        "no_new_privileges",
        "seccomp",
        "oom_score_adj",
        "memory",
        "cpu",
        "cpu_shares",
        "pids_limit",
        "block_bandwidth",
        "block_iops",
        "network_bandwidth",
        "stdin",
        "stdout",
        "stderr",
        "annotation",
        "user_annotation",
        "user_label",
        "signature",
        "app_arguments",
    ];
    collect(matches, &OPTIONS)
}

fn collect(matches: &ArgMatches, options: &[&'static str]) -> Result<(Vec<Mount>, Vec<AppOptions>)> {
    let mut words: Vec<(usize, &str, &String)> = Vec::new();
    // Those that the command has.
    let has = |id: &&str| matches.try_contains_id(id).is_ok();
    for id in options.iter().copied().chain(["images"]).filter(has) {
        let indices = matches.indices_of(id).into_iter().flatten();
        let values = matches.get_many::<String>(id).into_iter().flatten();
        words.extend(indices.zip(values).map(|(index, value)| (index, id, value)));
    }
    words.sort_unstable();
    let mut mounts = Vec::new();
    let mut apps: Vec<AppOptions> = Vec::new();
    for (_, id, value) in words {
        let flag = || format!("--{}", id.replace('_', "-"));
        match (id, apps.last_mut()) {
            // An empty word is none: scripts write them where an optional one is missing.
            ("images", _) if value.is_empty() => {}
            ("images", _) => apps.push(AppOptions { image: value.clone(), ..AppOptions::default() }),
            ("mount", None) => match mount(value)? {
                MountOption { mount, private: false, owners: None } => mounts.push(mount),
                _ => bail!("--mount: propagation and idmap are for a mount of one image, after it"),
            },
            ("app_arguments", None) => bail!("arguments after -- must follow an image"),
            (_, None) => bail!("{} must follow an image", flag()),
            ("app_arguments", Some(app)) => apply(app, id, value).context("arguments after --")?,
            (id, Some(app)) => apply(app, id, value).with_context(flag)?,
        }
    }
    Ok((mounts, apps))
}

fn apply(app: &mut AppOptions, id: &str, value: &str) -> Result<()> {
    let list = || value.split(',').map(str::to_owned).collect::<Vec<String>>();
    match id {
        "name" => once(&mut app.name, value)?,
        "exec" => once(&mut app.exec, value)?,
        "signature" => once(&mut app.signature, value)?,
        "working_dir" => app.working_directory = Some(value.to_owned()),
        "user" => app.user = Some(value.to_owned()),
        "group" => app.group = Some(value.to_owned()),
        "supplementary_gids" => {
            for gid in value.split(',') {
                app.supplementary_gids
                    .push(gid.parse().with_context(|| format!("{gid:?} is not a group id"))?);
            }
        }
        "readonly_rootfs" => app.read_only = Some(boolean(value).map_err(anyhow::Error::msg)?),
        "mount" => {
            let MountOption { mount, private, owners } = mount(value)?;
            if private {
                app.extras.private.push(mount.path.clone());
            }
            if let Some(owners) = owners {
                app.extras.owners.push(VolumeOwners { target: mount.path.clone(), owners });
            }
            app.mounts.push(mount);
        }
        "mnt_volume" => app.mounts.push(extras::mounted_volume(value)?),
        "tmpfs" => app.extras.tmpfs.push(extras::tmpfs(value)?),
        "device" => app.extras.devices.push(extras::device(value)?),
        "environment" => app.environment.push(pair(value)?),
        "caps_retain" => app.caps_retain = Some(list()),
        "caps_remove" => app.caps_remove = Some(list()),
        "oom_score_adj" => {
            app.oom_score_adj = Some(value.parse().with_context(|| format!("{value:?} is not a number"))?);
        }
        "no_new_privileges" => {
            app.no_new_privileges = Some(boolean(value).map_err(anyhow::Error::msg)?);
        }
        "seccomp" => app.seccomp = Some(seccomp(value)?),
        "memory" | "cpu" | "cpu_shares" | "pids_limit" | "block_bandwidth" | "block_iops"
        | "network_bandwidth" => {
            app.isolators.push(isolator(id, value)?);
        }
        "stdin" => stream(app, streams::STDIN, value)?,
        "stdout" => stream(app, streams::STDOUT, value)?,
        "stderr" => stream(app, streams::STDERR, value)?,
        "annotation" => app.annotations.push(pair(value)?),
        "user_annotation" => app.user_annotations.push(pair(value)?),
        "user_label" => app.user_labels.push(pair(value)?),
        _ => {
            let arguments = value.split_terminator(END).map(str::to_owned).collect();
            if app.arguments.replace(arguments).is_some() {
                bail!("there may be one list of arguments for an image");
            }
        }
    }
    Ok(())
}

/// The pod's manifest says it, so that whoever runs the pod later knows.
fn stream(app: &mut AppOptions, annotation: &str, word: &str) -> Result<()> {
    streams::check(annotation, word).map_err(|reason| anyhow::anyhow!("{word:?} {reason}"))?;
    app.annotations.push((annotation.to_owned(), word.to_owned()));
    Ok(())
}

/// The isolator that an option for resources stands for.
pub(super) fn isolator(option: &str, value: &str) -> Result<Isolator> {
    let (name, value) = match option {
        "memory" => ("resource/memory", json!({"limit": value})),
        "cpu" => ("resource/cpu", json!({"limit": value})),
        "pids_limit" => ("resource/pids", json!({"limit": value})),
        "block_bandwidth" => ("resource/block-bandwidth", json!({"default": true, "limit": value})),
        "network_bandwidth" => ("resource/network-bandwidth", json!({"default": true, "limit": value})),
        "block_iops" => ("resource/block-iops", json!({"default": true, "limit": value})),
        _ => {
            let shares: i64 = value.parse().with_context(|| format!("{value:?} is not a number"))?;
            ("os/linux/cpu-shares", json!(shares))
        }
    };
    let isolator = Isolator::new(name, value)?;
    isolator.check_amounts().map_err(anyhow::Error::msg)?;
    Ok(isolator)
}

/// `mode=retain|remove,[errno=ERRNO,]CALL,…`
fn seccomp(value: &str) -> Result<Isolator> {
    let (mut mode, mut errno, mut set) = (None, None, Vec::new());
    for word in value.split(',') {
        match word.split_once('=') {
            Some(("mode", word)) if mode.is_none() => mode = Some(word),
            Some(("errno", word)) if errno.is_none() => errno = Some(word),
            None if !word.is_empty() => set.push(word),
            _ => bail!("{word:?} is not mode=retain, mode=remove, errno=ERRNO or a system call"),
        }
    }
    let name = match mode {
        Some("retain") => "os/linux/seccomp-retain-set",
        Some("remove") => "os/linux/seccomp-remove-set",
        Some(other) => bail!("mode={other}: must be retain or remove"),
        None => bail!("mode=retain or mode=remove is missing"),
    };
    let isolator = Isolator::new(name, json!({"set": set, "errno": errno}))?;
    crate::pod::manifest::check_isolators(name, std::slice::from_ref(&isolator))?;
    Ok(isolator)
}

fn once(slot: &mut Option<String>, value: &str) -> Result<()> {
    match slot.replace(value.to_owned()) {
        None => Ok(()),
        Some(_) => bail!("may be given once for an image"),
    }
}

/// `KEY=VALUE`
pub(super) fn pair(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => bail!("{text:?} is not of the form key=value"),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::*;

    fn parse(words: &[&str]) -> Result<(Vec<Mount>, Vec<AppOptions>)> {
        let arguments = ["rkt", "run"].iter().chain(words).map(OsString::from).collect();
        let mut marked = mark_groups(arguments);
        marked.remove(0);
        let command = super::super::Args::augment_args(Command::new("run"));
        apps(&command.try_get_matches_from(marked).map_err(|error| anyhow::anyhow!("{error}"))?)
    }

    #[test]
    fn options_belong_to_the_image_before_them() {
        let (mounts, apps) = parse(&[
            "--mount",
            "volume=all,target=/all",
            "a.aci",
            "--exec",
            "/bin/a",
            "--user=7",
            "--",
            "-x",
            "--name",
            "",
            "a=",
            "b",
            "---",
            "",
            "b.aci",
            "--name=two",
            "--mount",
            "volume=v,target=/v",
            "---",
            "c.aci",
            "--",
        ])
        .unwrap();
        assert_eq!(mounts[0].path, "/all");
        assert_eq!(apps.len(), 3);
        assert_eq!(
            (apps[0].image.as_str(), apps[0].exec.as_deref(), apps[0].user.as_deref()),
            ("a.aci", Some("/bin/a"), Some("7"))
        );
        assert_eq!(apps[0].arguments.as_deref().unwrap(), ["-x", "--name", "", "a=", "b"]);
        assert_eq!((apps[1].name.as_deref(), apps[1].mounts.len()), (Some("two"), 1));
        assert_eq!(apps[1].arguments, None);
        assert_eq!(apps[2].arguments, Some(Vec::new()));
    }

    #[test]
    fn an_empty_first_argument_and_an_empty_value_are_kept() {
        let (_, apps) = parse(&["a.aci", "--exec", "", "--", ""]).unwrap();
        assert_eq!(apps.len(), 1);
        assert_eq!(apps[0].exec.as_deref(), Some(""));
        assert_eq!(apps[0].arguments.as_deref().unwrap(), [""]);
    }

    #[test]
    fn only_run_and_prepare_have_groups() {
        for (words, marked) in [
            (&["run", "a", "--", "x"][..], true),
            (&["prepare", "a", "--", "x"], true),
            (&["prep", "a", "--", "x"], true),
            (&["run-prepared", "--", "x"], false),
            (&["--dir", "d", "--debug", "run", "a", "--", "x"], true),
            (&["--dir=run", "rm", "--", "x"], false),
            (&["--dir", "run", "rm", "--", "x"], false),
            (&["stop", "run", "--", "x"], false),
            (&["--dir"], false),
        ] {
            let arguments: Vec<OsString> = ["rkt"].iter().chain(words).map(OsString::from).collect();
            assert_eq!(mark_groups(arguments.clone()) != arguments, marked, "{words:?}");
        }
    }

    #[test]
    fn the_global_options_with_values_are_known() {
        let definition = crate::commands::definition();
        let mut with_values: Vec<String> = definition
            .get_arguments()
            .filter(|argument| !argument.is_require_equals_set() && argument.get_action().takes_values())
            .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
            .collect();
        let mut known = GLOBAL_OPTIONS;
        known.sort_unstable();
        with_values.sort_unstable();
        assert_eq!(with_values, known);
    }

    #[test]
    fn what_belongs_to_no_image_is_refused() {
        for words in [
            &["--exec=/bin/a", "a.aci"][..],
            &["--", "x", "---", "a.aci"],
            &["a.aci", "--", "x", "---", "--", "y"],
            &["a.aci", "--", "---", "--", "y"],
            &["a.aci", "--exec=/a", "--exec=/b"],
            &["a.aci", "--mount=volume=v"],
            &["a.aci", "--mount=volume=v,target=rel"],
            &["a.aci", "--mount=volume=v,target=/a,x=y"],
            &["a.aci", "--environment=A"],
            &["a.aci", "--readonly-rootfs=maybe"],
            &["a.aci", "--supplementary-gids=1,x"],
            &["a.aci", "--stdin=log"],
            &["a.aci", "--stdout=file"],
            &["a.aci", "--stderr="],
            &["--stdout=null", "a.aci"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
