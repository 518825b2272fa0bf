//! The `friendchain` binary.

fn main() {}
