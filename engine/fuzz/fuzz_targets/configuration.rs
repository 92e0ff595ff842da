//! The program that libFuzzer runs; see `logdrive_fuzz::configuration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| logdrive_fuzz::configuration::run(input));
