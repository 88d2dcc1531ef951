//! See `appc::fuzz::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| appc::fuzz::manifest(bytes));
