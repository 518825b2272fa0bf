//! Parses texts from people: typed, pasted, or sent to the RPC.
#![no_main]

friendchain_fuzz::target!(texts, 4 << 20, 200);
