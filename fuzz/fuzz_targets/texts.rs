//! What people type, paste and call the RPC with.
#![no_main]

friendchain_fuzz::target!(texts, 4 << 20, 200);
