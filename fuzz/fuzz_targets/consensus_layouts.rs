//! Decodes the chain's fixed layouts.
#![no_main]

friendchain_fuzz::target!(consensus_layouts, 1 << 20, 200);
