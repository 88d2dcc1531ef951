//! Users and groups are resolved inside the image: by name, number, or the owner of a file.

use rkt_tests::{Rkt, args};
use serde_json::json;

// APPC-109
#[test]
fn names_numbers_and_files_owners_of_image_and_command_line() {
    let rkt = Rkt::new();
    let image = rkt.image("id", |image| {
        image.sh("id -u; id -g").user("alice", "wonder").file("owned", "", 0o644).owned_by(77, 78)
    });
    let table: [(&[&str], &str); 8] = [
        (&[], "1000\n1001\n"),
        (&["--user=root"], "0\n1001\n"),
        (&["--user=0", "--group=0"], "0\n0\n"),
        (&["--user=1", "--group=daemon"], "1\n1\n"),
        (&["--user=4242", "--group=4343"], "4242\n4343\n"),
        (&["--user=/owned", "--group=/owned"], "77\n78\n"),
        (&["--user=daemon"], "1\n1001\n"),
        (&["--group=staff"], "1000\n50\n"),
    ];
    for (flags, expected) in table {
        let mut all = args![&image].to_vec();
        all.extend(flags.iter().map(Into::into));
        rkt.run_pod(all).success().stdout_is(expected);
    }
}

// APPC-111
#[test]
fn supplementary_groups_are_those_asked_for_and_no_others() {
    let rkt = Rkt::new();
    let image = rkt.image("id", |image| {
        image.sh("grep ^Groups: /proc/self/status").with("supplementaryGIDs", json!([11, 12]))
    });
    let groups = |end: &rkt_tests::Outcome| -> Vec<u32> {
        end.stdout.split_whitespace().skip(1).map(|gid| gid.parse().unwrap()).collect()
    };
    let end = rkt.run_pod(args![&image]).success();
    assert!(groups(&end).iter().all(|gid| [0, 11, 12].contains(gid)), "{end:?}");
    assert!([11, 12].iter().all(|gid| groups(&end).contains(gid)), "{end:?}");
    let end = rkt.run_pod(args![&image, "--supplementary-gids=1234"]).success();
    assert!(groups(&end).contains(&1234), "{end:?}");
}

// APPC-110
#[test]
fn an_unknown_user_or_group_is_one_clear_line() {
    let rkt = Rkt::new();
    let image = rkt.image("id", |image| image);
    for (flag, word, status) in
        [("--user=nobody-here", "nobody-here", 217), ("--group=no-group", "no-group", 216)]
    {
        rkt.run_pod(args![&image, flag]).exits(status).stderr_has("app \"id\"").stderr_has(word);
    }
    for flag in ["--user=/no/such/file", "--user=4294967295", "--user=-1", "--user=99999999999"] {
        let end = rkt.run_pod(args![&image, flag]);
        assert!(end.status >= 200, "{flag}: {end:?}");
    }
}
