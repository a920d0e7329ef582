//! Feeds the fuzzer's bytes to `error_line` of ../bodies.rs.
#![no_main]

#[expect(dead_code, reason = "this target uses one of the bodies")]
#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::fuzz_error_line(data));
