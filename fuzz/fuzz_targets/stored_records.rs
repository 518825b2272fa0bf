//! What the node finds on its own disk.
#![no_main]

friendchain_fuzz::target!(stored_records, 512 << 20, 200);
