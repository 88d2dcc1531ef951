//! Hundreds of pods, some of which are none, or go while one looks.

use std::{fs, thread};

use rustix::fs::{CWD, FileType, Mode};

use crate::support::{Data, ran};

fn uuid(number: usize) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

/// Pods that have ended, made of copies of one's files.
fn exited(data: &Data, count: usize) {
    for number in 0..count {
        ran(&data.pod("run", &uuid(number), &["web"]), &[("web", 0)]);
    }
}

#[test]
fn case_45_hundreds_of_pods_are_listed_in_order_whatever_lies_between_them() {
    const COUNT: usize = 700;
    let data = Data::new();
    exited(&data, COUNT);
    let run = data.path().join("data/pods/run");
    // A manifest that is none, one that nobody ever writes to, and things that are no pods.
    fs::write(run.join(uuid(300)).join("pod"), "{").unwrap();
    let pipe = run.join(uuid(600)).join("pod");
    fs::remove_file(&pipe).unwrap();
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::write(run.join(uuid(COUNT)), "").unwrap();
    fs::create_dir(run.join("lost+found")).unwrap();
    let list = data.rkt(&["list", "--full", "--no-legend"]).exits(0);
    let listed: Vec<String> =
        list.stdout.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect();
    assert_eq!(listed, (0..COUNT).map(uuid).collect::<Vec<_>>());
    assert!(list.stderr.contains("list: 2 error(s) encountered"), "{}", list.stderr);
    assert!(list.stderr.contains(&uuid(300)) && list.stderr.contains(&uuid(600)), "{}", list.stderr);
    let json = data.rkt(&["list", "--format=json"]).exits(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let named: Vec<&str> = json.as_array().unwrap().iter().map(|pod| pod["name"].as_str().unwrap()).collect();
    assert_eq!(named, listed);
}

#[test]
fn case_34_pods_that_are_removed_while_they_are_listed_are_no_errors() {
    let data = Data::new();
    for _ in 0..3 {
        exited(&data, 300);
        thread::scope(|scope| {
            let gc = scope.spawn(|| data.rkt(&["gc", "--grace-period=0s"]).exits(0));
            while !gc.is_finished() {
                let list = data.rkt(&["list"]).exits(0);
                assert!(list.stderr.is_empty(), "{}", list.stderr);
            }
        });
        assert!(data.pods_in("run").is_empty() && data.pods_in("exited-garbage").is_empty());
    }
}

#[test]
fn a_prefix_and_a_name_that_fit_two_pods_tell_both() {
    let data = Data::new();
    exited(&data, 2);
    let name = "00000001";
    let named = data.pod("prepared", "eeeeeeee-0000-4000-8000-000000000000", &["web"]);
    fs::write(named.join("pod-name"), name).unwrap();
    let noted = data.path().join("data/names").join(name);
    fs::create_dir_all(&noted).unwrap();
    for pod in ["eeeeeeee-0000-4000-8000-000000000000", "ffffffff-0000-4000-8000-000000000000", "x"] {
        fs::write(noted.join(pod), "").unwrap();
    }
    for command in ["status", "cat-manifest", "logs", "wait"] {
        let answer = data.rkt(&[command, name]).exits(254);
        assert!(answer.stderr.contains("2 matches"), "{command}: {answer:?}");
        assert!(answer.stderr.contains(&uuid(1)) && answer.stderr.contains("eeeeeeee-0000"), "{answer:?}");
    }
    // A note is none of a name: what is in the pod's directory counts.
    fs::remove_file(named.join("pod-name")).unwrap();
    assert!(data.rkt(&["status", name]).exits(0).stdout.contains("state=exited"));
}
