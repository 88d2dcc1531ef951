//! The grammar of images, their options and their arguments: `IMG1 --exec … -- args --- IMG2 …`.

use std::ffi::OsString;

use anyhow::{Context, Result, bail};
use appc::schema::Mount;
use clap::ArgMatches;

use crate::pod::manifest::AppOptions;

/// Between the arguments of one group. No argument of a process can contain it.
const SEPARATOR: &str = "\0";

/// Replaces each `-- … ---` after `run` by one hidden option, so that the order of everything is kept.
pub(crate) fn mark_groups(arguments: Vec<OsString>) -> Vec<OsString> {
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    if !arguments[..end].iter().skip(1).any(|argument| argument == "run" || argument == "ru") {
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
                if !text.to_string_lossy().ends_with('=') {
                    text.push(SEPARATOR);
                } else if argument.is_empty() {
                    // An empty first argument is told from none by the separator after it.
                    text.push(SEPARATOR);
                    continue;
                }
                text.push(argument);
            }
            None if argument == "--" => group = Some("--app-arguments=".into()),
            // Without a group to end it means nothing; neither does an empty argument.
            None if argument == "---" || argument.is_empty() => {}
            None => marked.push(argument),
        }
    }
    marked.extend(group);
    marked
}

/// Mounts for all apps, and the apps with their options.
pub(super) fn apps(matches: &ArgMatches) -> Result<(Vec<Mount>, Vec<AppOptions>)> {
    const OPTIONS: [&str; 16] = [
        "name",
        "exec",
        "working_dir",
        "user",
        "group",
        "supplementary_gids",
        "readonly_rootfs",
        "mount",
        "environment",
        "caps_retain",
        "caps_remove",
        "oom_score_adj",
        "annotation",
        "user_annotation",
        "user_label",
        "app_arguments",
    ];
    let mut words: Vec<(usize, &str, &String)> = Vec::new();
    for id in OPTIONS.into_iter().chain(["images"]) {
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
            ("images", _) => apps.push(AppOptions { image: value.clone(), ..AppOptions::default() }),
            ("mount", None) => mounts.push(mount(value)?),
            ("app_arguments", None) => bail!("arguments after -- must follow an image"),
            (_, None) => bail!("{} must follow an image", flag()),
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
        "working_dir" => app.working_directory = Some(value.to_owned()),
        "user" => app.user = Some(value.to_owned()),
        "group" => app.group = Some(value.to_owned()),
        "supplementary_gids" => {
            for gid in value.split(',') {
                app.supplementary_gids
                    .push(gid.parse().with_context(|| format!("{gid:?} is not a group id"))?);
            }
        }
        "readonly_rootfs" => app.read_only = Some(boolean(value)?),
        "mount" => app.mounts.push(mount(value)?),
        "environment" => app.environment.push(pair(value)?),
        "caps_retain" => app.caps_retain = Some(list()),
        "caps_remove" => app.caps_remove = Some(list()),
        "oom_score_adj" => {
            app.oom_score_adj = Some(value.parse().with_context(|| format!("{value:?} is not a number"))?);
        }
        "annotation" => app.annotations.push(pair(value)?),
        "user_annotation" => app.user_annotations.push(pair(value)?),
        "user_label" => app.user_labels.push(pair(value)?),
        _ if app.arguments.is_empty() => {
            if !value.is_empty() {
                app.arguments = value.split(SEPARATOR).map(str::to_owned).collect();
            }
        }
        _ => bail!("there may be one list of arguments for an image"),
    }
    Ok(())
}

fn once(slot: &mut Option<String>, value: &str) -> Result<()> {
    match slot.replace(value.to_owned()) {
        None => Ok(()),
        Some(_) => bail!("may be given once for an image"),
    }
}

fn boolean(text: &str) -> Result<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => bail!("{text:?} is neither true nor false"),
    }
}

/// `KEY=VALUE`
pub(super) fn pair(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => bail!("{text:?} is not of the form key=value"),
    }
}

/// `volume=NAME,target=PATH`
fn mount(text: &str) -> Result<Mount> {
    let (mut volume, mut path) = (None, None);
    for part in text.split(',') {
        let slot = match part.split_once('=') {
            Some(("volume", value)) => (&mut volume, value),
            Some(("target", value)) => (&mut path, value),
            _ => bail!("mount {text:?}: {part:?} is neither volume=NAME nor target=PATH"),
        };
        if slot.0.replace(slot.1.to_owned()).is_some() {
            bail!("mount {text:?}: {part:?} is given twice");
        }
    }
    let volume = volume.with_context(|| format!("mount {text:?}: volume is missing"))?;
    let path = path.filter(|path| path.starts_with('/'));
    Ok(Mount {
        volume: volume.parse().with_context(|| format!("mount {text:?}"))?,
        path: path.with_context(|| format!("mount {text:?}: target must be an absolute path"))?,
        app_volume: None,
    })
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
            "---",
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
        assert_eq!(apps[0].arguments, ["-x", "--name", ""]);
        assert_eq!((apps[1].name.as_deref(), apps[1].mounts.len()), (Some("two"), 1));
        assert!(apps[1].arguments.is_empty() && apps[2].arguments.is_empty());
    }

    #[test]
    fn what_belongs_to_no_image_is_refused() {
        for words in [
            &["--exec=/bin/a", "a.aci"][..],
            &["--", "x", "---", "a.aci"],
            &["a.aci", "--", "x", "---", "--", "y"],
            &["a.aci", "--exec=/a", "--exec=/b"],
            &["a.aci", "--mount=volume=v"],
            &["a.aci", "--mount=volume=v,target=rel"],
            &["a.aci", "--mount=volume=v,target=/a,x=y"],
            &["a.aci", "--environment=A"],
            &["a.aci", "--readonly-rootfs=maybe"],
            &["a.aci", "--supplementary-gids=1,x"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
