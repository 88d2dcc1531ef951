//! docs/conformance.md says what the tests say.

use std::{fs, path::Path};

use rkt_tests::conformance::{PAGE, ROOT, page};

#[test]
fn the_page_is_up_to_date_and_every_requirement_has_a_test_or_a_reason() {
    let (want, problems) = page().unwrap();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let have = fs::read_to_string(Path::new(ROOT).join(PAGE)).unwrap();
    assert!(have == want, "{PAGE} is out of date; run: make conformance");
}
