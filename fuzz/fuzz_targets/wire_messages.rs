//! Every protocol's requests and responses, every topic's gossip.
#![no_main]

friendchain_fuzz::target!(wire_messages, 8 << 20, 200);
