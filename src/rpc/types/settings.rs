//! The reply of `config show` and `config set`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The origin of a setting's value. An earlier variant takes precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// A flag or an argument of the node's command line.
    #[serde(rename = "flag")]
    Flag,
    /// A variable of the node's environment.
    #[serde(rename = "environment")]
    Environment,
    /// The file `friendchain.toml` of the data folder.
    #[serde(rename = "friendchain.toml")]
    File,
    /// The value of a setting that nobody chose.
    #[serde(rename = "default")]
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "friendchain.toml",
            Self::Default => "default",
        })
    }
}

/// A setting of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SettingView {
    pub key: String,
    /// A text, a number, true or false, or a list of texts. `null`: the program decides.
    pub value: serde_json::Value,
    pub origin: Origin,
    /// The running node's value, if it differs. It stays until the next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<serde_json::Value>,
}

/// Settings of a node, in the order of the guide.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SettingList {
    pub settings: Vec<SettingView>,
}
