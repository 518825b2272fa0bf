//! Feeds headers to a chain.
#![no_main]

friendchain_fuzz::target!(accept_headers, 256 << 20, 20_000);
