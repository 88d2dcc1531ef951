//! Many at once: an image is stored once, rendered once, and nobody sees half of it.

use std::{
    fs,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use rkt_tests::{Rkt, args};

fn trees(rkt: &Rkt) -> usize {
    fs::read_dir(rkt.data().join("cas/tree")).expect("the store has trees").flatten().count()
}

// APPC-220
#[test]
fn twenty_runs_of_one_new_image_render_it_once() {
    let rkt = Rkt::new();
    let image = rkt.image("crowd", |image| image.sh("echo ran"));
    let mut children: Vec<Child> = (0..20)
        .map(|_| {
            let mut run = rkt.command(rkt.run_args(args![&image]));
            run.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children.drain(..) {
        let end = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&end.stderr);
        assert!(end.status.success(), "{stderr}");
        assert_eq!(String::from_utf8_lossy(&end.stdout), "ran\n", "{stderr}");
    }
    assert_eq!(trees(&rkt), 1);
    assert_eq!(rkt.rkt(["image", "list", "--no-legend"]).success().lines().len(), 1);
    assert_eq!(rkt.pods_on_disk().len(), 20);
}

#[test]
fn two_fetches_of_one_file_store_it_once() {
    let rkt = Rkt::new();
    let image = rkt.image("twins", |image| image.file("big", vec![7; 8 << 20], 0o644));
    let children: Vec<Child> = (0..4)
        .map(|_| {
            rkt.command(args!["fetch", "--full", &image])
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut ids: Vec<String> = children
        .into_iter()
        .map(|child| {
            let end = child.wait_with_output().unwrap();
            assert!(end.status.success());
            String::from_utf8(end.stdout).unwrap()
        })
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(rkt.rkt(["image", "list", "--no-legend"]).success().lines().len(), 1);
}

#[test]
fn case_34_gc_beside_starting_and_ending_pods() {
    let rkt = Rkt::new();
    let image = rkt.image("busy", |image| image.sh("echo ran"));
    let mut runs: Vec<Child> = Vec::new();
    for _ in 0..8 {
        let mut run = rkt.command(rkt.run_args(args![&image]));
        runs.push(run.stdout(std::process::Stdio::null()).spawn().unwrap());
        rkt.rkt(["gc", "--grace-period=0s", "--expire-prepared=0s"]).success();
    }
    for mut child in runs {
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn case_11_ten_who_fetch_run_remove_and_collect_never_see_half_an_image() {
    let rkt = Rkt::new();
    let images: Vec<_> = (0..3)
        .map(|n| {
            let name = format!("shared-{n}");
            (rkt.image(&name, |image| image.sh("echo ran")), format!("test.invalid/{name}"))
        })
        .collect();
    let end = Instant::now() + Duration::from_secs(8);
    // The harness is for one thread: each takes the words of its command.
    let none: [&str; 0] = [];
    let (program, flags) = (rkt.program("rkt"), rkt.command(none));
    let flags: Vec<_> = flags.get_args().map(ToOwned::to_owned).collect();
    let run = rkt.run_args(none);
    let images = &images;
    let work = |seed: usize| {
        let (mut turn, mut done) = (seed, [0; 8]);
        while Instant::now() < end {
            turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let what = (turn >> 33) % 8;
            let (file, name) = &images[(turn >> 40) % images.len()];
            let args = match what {
                0 | 1 => args!["fetch", file].to_vec(),
                2 => [run.as_slice(), &args![file]].concat(),
                3 => [run.as_slice(), &args!["--pull-policy=never", name]].concat(),
                4 => args!["image", "rm", name].to_vec(),
                5 => args!["image", "gc", "--grace-period=0s"].to_vec(),
                6 => args!["gc", "--grace-period=0s"].to_vec(),
                _ => args!["image", "verify", name].to_vec(),
            };
            let out = Command::new(&program).args(&flags).args(&args).output().unwrap();
            let (stdout, stderr) =
                (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            if out.status.success() {
                done[what] += 1;
                assert!(!(2..=3).contains(&what) || stdout == "ran\n", "{args:?}: {stdout}{stderr}");
            } else {
                let is_clean = stderr.contains("in the store") || stderr.contains("not found in the store");
                assert!(is_clean, "{args:?}: {stdout}{stderr}");
            }
        }
        done
    };
    let done = thread::scope(|scope| {
        let all: Vec<_> = (0..10)
            .map(|seed| {
                let work = &work;
                scope.spawn(move || work(seed * 7919 + 1))
            })
            .collect();
        all.into_iter().fold([0; 8], |mut sum, one| {
            let done = one.join().unwrap();
            sum.iter_mut().zip(done).for_each(|(sum, done)| *sum += done);
            sum
        })
    });
    // Each was done, or this has shown nothing. Few names are in the store when somebody asks for them.
    for what in [0, 1, 2, 4, 5, 6] {
        assert!(done[what] > 0, "{done:?}");
    }
    for (file, name) in images {
        rkt.rkt(args!["fetch", file]).success();
        rkt.rkt(["image", "verify", name]).success().stdout_has("successfully verified");
        rkt.run_pod(args![file]).success().stdout_is("ran\n");
    }
    rkt.rkt(["gc", "--grace-period=0s"]).success();
    rkt.rkt(["image", "gc", "--grace-period=0s"]).success();
    assert_eq!(trees(&rkt), 0);
    assert_eq!(fs::read_dir(rkt.data().join("cas/tmp")).unwrap().count(), 0);
}

#[test]
fn case_34_image_gcs_beside_pods_that_are_prepared_and_started() {
    let rkt = Rkt::new();
    let image = rkt.image("prepared", |image| image.sh("echo ran"));
    let spawn = |args: Vec<std::ffi::OsString>| {
        let mut command = rkt.command(args);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    for _ in 0..4 {
        let pods: Vec<Child> = (0..3)
            .flat_map(|_| [spawn(args!["prepare", &image].to_vec()), spawn(rkt.run_args(args![&image]))])
            .collect();
        let collectors: Vec<Child> =
            (0..2).map(|_| spawn(args!["image", "gc", "--grace-period=0s"].to_vec())).collect();
        for child in collectors {
            let end = child.wait_with_output().unwrap();
            assert!(end.status.success(), "{}", String::from_utf8_lossy(&end.stderr));
        }
        for child in pods {
            let end = child.wait_with_output().unwrap();
            let (stdout, stderr) =
                (String::from_utf8_lossy(&end.stdout), String::from_utf8_lossy(&end.stderr));
            if !end.status.success() {
                assert!(stderr.contains("it was removed just now"), "{stderr}");
            } else if stdout != "ran\n" {
                // What was prepared still has its tree.
                rkt.rkt(["image", "gc", "--grace-period=0s"]).success();
                let supervisor = format!("--supervisor={}", rkt.launcher().as_str());
                rkt.rkt(["run-prepared", "--net=none", &supervisor, stdout.trim()])
                    .success()
                    .stdout_is("ran\n");
            }
        }
    }
}
