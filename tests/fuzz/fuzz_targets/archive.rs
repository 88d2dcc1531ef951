//! See `appc::fuzz::archive`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| appc::fuzz::archive(bytes));
