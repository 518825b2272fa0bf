//! The fixed layouts of the chain.
#![no_main]

friendchain_fuzz::target!(consensus_layouts, 1 << 20, 200);
