//! The mining mode of a node: a word of the command line, the RPC and the miner.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The times at which a node mines by itself. The command line shows the variants' docs as help.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum MiningMode {
    /// Only when asked: `mine`, `send --mine`, `note`.
    #[default]
    Off,
    /// While trades wait: own ones at once, others' after a random wait.
    OnDemand,
    /// Always.
    Always,
}

impl fmt::Display for MiningMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Off => "off",
            Self::OnDemand => "on-demand",
            Self::Always => "always",
        })
    }
}
