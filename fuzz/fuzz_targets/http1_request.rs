#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tqserver_fuzz::http1_request(data));
