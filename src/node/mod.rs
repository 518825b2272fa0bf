//! Composition: what starts, in which order, and stops.

pub mod config;
pub mod datadir;
pub mod host;
pub mod logging;
pub mod rpc;
