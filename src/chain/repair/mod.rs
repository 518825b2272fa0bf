//! Finds and repairs damage in `chain.redb` for `verify-chain`, `reindex` and a chain that does not
//! open.

pub mod salvage;
mod verify;
