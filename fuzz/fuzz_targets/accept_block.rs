//! Feeds blocks and trades to a chain.
#![no_main]

friendchain_fuzz::target!(accept_block, 256 << 20, 200_000);
