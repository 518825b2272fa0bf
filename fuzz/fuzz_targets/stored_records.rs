//! Reads data from the node's own disk.
#![no_main]

friendchain_fuzz::target!(stored_records, 512 << 20, 200);
