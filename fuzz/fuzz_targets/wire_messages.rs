//! Decodes messages of peers.
#![no_main]

friendchain_fuzz::target!(wire_messages, 8 << 20, 200);
