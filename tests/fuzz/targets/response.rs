#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| picluster_fuzz::response::check(data));
