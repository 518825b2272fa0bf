//! Composition: what starts, in which order, and stops.

pub mod rpc;
