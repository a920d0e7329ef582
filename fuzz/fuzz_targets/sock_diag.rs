//! Feeds the fuzzer's bytes to `sock_diag` of ../bodies.rs.
#![no_main]

#[expect(dead_code, reason = "this target uses one of the bodies")]
#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::fuzz_sock_diag(data));
