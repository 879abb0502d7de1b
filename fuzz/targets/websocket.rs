#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| messenger_fuzz::websocket(data));
