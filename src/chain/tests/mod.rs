//! Tests of the chain through its public methods, on redb in memory.

mod blocks;
mod branches;
mod crash;
mod damage;
mod diverged;
mod headers;
mod histories;
mod layouts;
#[cfg(unix)]
mod links;
mod model;
mod policy;
mod policy_histories;
mod thread;
mod trades;
