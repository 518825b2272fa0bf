//! The settings in the data folder's `friendchain.toml`, and the order of precedence.
//!
//! | file | concern |
//! |---|---|
//! | `mod` | the keys, the form of their values, and the checks |
//! | `file` | reading and writing `friendchain.toml` |
//! | `layers` | flags, environment, file and defaults, and the node's configuration out of them |
//!
//! A setting has the name of its flag. The functions that check flags check all values, so a file
//! cannot hold a value that a flag rejects.

mod file;
mod layers;

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use clap::ValueEnum as _;
use serde_json::json;

#[cfg(any(test, fuzzing))]
pub(crate) use file::parse_text;
pub(crate) use file::{read_settings, write_settings};
pub(crate) use layers::{Layers, port_of};

use super::config::{
    MAX_CACHE_MIB, MIN_CACHE_MIB, RelayMode, checked_name, parse_external, parse_listen,
    parse_metrics, parse_peer, parse_rpc,
};
use crate::{
    primitives::{Address, MiningMode, closest, nearest, printable, trimmed},
    rpc::{RpcError, check_rpc},
};

/// The most entries in a list. Each peer costs a dial.
const MAX_LIST: usize = 64;

/// The longest text, in bytes: longer than any address or path.
const MAX_TEXT: usize = 4_096;

/// The most miner threads: more than any machine has processors.
const MAX_THREADS: u32 = 4_096;

/// A setting of a node. The order is that of `config show`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Name,
    Port,
    Listen,
    External,
    Peers,
    Mine,
    Miner,
    Threads,
    Rpc,
    Metrics,
    LogDir,
    Mdns,
    CacheMib,
    PrivateOnly,
    LanFriends,
    PortMapping,
    Relay,
    PassphraseFile,
}

/// The form of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Switch,
    List,
}

impl Key {
    /// All keys, in the order of `config show`.
    pub(crate) const ALL: [Self; 18] = [
        Self::Name,
        Self::Port,
        Self::Listen,
        Self::External,
        Self::Peers,
        Self::Mine,
        Self::Miner,
        Self::Threads,
        Self::Rpc,
        Self::Metrics,
        Self::LogDir,
        Self::Mdns,
        Self::CacheMib,
        Self::PrivateOnly,
        Self::LanFriends,
        Self::PortMapping,
        Self::Relay,
        Self::PassphraseFile,
    ];

    /// The key in `friendchain.toml`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Port => "port",
            Self::Listen => "listen",
            Self::External => "external",
            Self::Peers => "peers",
            Self::Mine => "mine",
            Self::Miner => "miner",
            Self::Threads => "threads",
            Self::Rpc => "rpc",
            Self::Metrics => "metrics",
            Self::LogDir => "log-dir",
            Self::Mdns => "mdns",
            Self::CacheMib => "cache-mib",
            Self::PrivateOnly => "private-only",
            Self::LanFriends => "lan-friends",
            Self::PortMapping => "port-mapping",
            Self::Relay => "relay",
            Self::PassphraseFile => "passphrase-file",
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Port | Self::Threads | Self::CacheMib => Kind::Number,
            Self::Mdns | Self::PrivateOnly | Self::LanFriends | Self::PortMapping => Kind::Switch,
            Self::Listen | Self::External | Self::Peers => Kind::List,
            _ => Kind::Text,
        }
    }

    /// The values that the key accepts, for an error.
    const fn wants(self) -> &'static str {
        match self {
            Self::Name => "a name in quotes, like \"yzw\"",
            Self::Port => "a port from 1 to 65535, like 8891",
            Self::Listen => "a list of addresses, like [\"192.168.1.5:8891\"]",
            Self::External => "a list of addresses, like [\"yzw.example:8891\"]",
            Self::Peers => "a list of addresses, like [\"192.168.1.7:8891\"]",
            Self::Mine => "\"off\", \"on-demand\" or \"always\"",
            Self::Miner => "an address in quotes, like \"fc1…\"",
            Self::Threads => "a number from 1 to 4096",
            Self::Rpc => "an address in quotes, like \"127.0.0.1:8545\"",
            Self::Metrics => "an address in quotes, like \"127.0.0.1:9101\"",
            Self::LogDir => "the whole path of a folder in quotes, like \"/var/log/friendchain\"",
            Self::Mdns | Self::PrivateOnly | Self::LanFriends | Self::PortMapping => {
                "true or false"
            }
            Self::Relay => "\"friends\" or \"off\"",
            Self::CacheMib => "a number of MiB from 16 to 65536",
            Self::PassphraseFile => "the whole path of a file in quotes, like \"/etc/passphrase\"",
        }
    }

    /// Finds the key that a text names: the key's name, the flag's name, or either with `_` for
    /// `-`.
    ///
    /// # Errors
    /// No key has this name. The error suggests the nearest one.
    pub(crate) fn of(text: &str) -> Result<Self, RpcError> {
        let typed = text.trim().replace('_', "-");
        let typed = match typed.as_str() {
            "mining" => "mine",
            "peer" => "peers",
            other => other,
        };
        if let Some(key) = Self::ALL.into_iter().find(|key| key.name() == typed) {
            return Ok(key);
        }
        let short: String = typed.chars().take(40).collect();
        let names = || Self::ALL.into_iter().map(Self::name);
        let nearest = nearest(&short, names()).or_else(|| closest(&short, names()));
        let nearest = nearest.unwrap_or_default();
        Err(RpcError::new(
            "unknown_setting",
            format!(
                "'{}' is no setting: did you mean '{nearest}'? config show lists all",
                printable(&short)
            ),
        ))
    }
}

/// The value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Number(u32),
    Switch(bool),
    List(Vec<String>),
}

/// The values of some settings.
pub(crate) type Settings = BTreeMap<Key, Value>;

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) const fn as_number(&self) -> Option<u32> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    pub(crate) const fn as_switch(&self) -> Option<bool> {
        if let Self::Switch(on) = self { Some(*on) } else { None }
    }

    pub(crate) fn as_list(&self) -> &[String] {
        if let Self::List(list) = self { list } else { &[] }
    }

    /// Returns the value in its JSON form.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Number(number) => json!(number),
            Self::Switch(on) => json!(on),
            Self::List(list) => json!(list),
        }
    }

    /// Parses a value given to `config set`. An empty text removes the setting.
    ///
    /// # Errors
    /// The key does not accept the value.
    pub(crate) fn typed(key: Key, text: &str) -> Result<Option<Self>, RpcError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let value = match key.kind() {
            Kind::Text => Self::text(text),
            Kind::Number => {
                Self::Number(text.parse().map_err(|_| wrong_form(key, &format!("'{text}'")))?)
            }
            Kind::Switch => Self::Switch(match text {
                "true" | "on" | "yes" => true,
                "false" | "off" | "no" => false,
                _ => return Err(wrong_form(key, &format!("'{text}'"))),
            }),
            Kind::List => Self::List(
                text.split(',')
                    .map(str::trim)
                    .filter(|it| !it.is_empty())
                    .map(Into::into)
                    .collect(),
            ),
        };
        value.check(key)?;
        Ok(Some(value))
    }

    /// Checks the value by the rules of the key's flag.
    ///
    /// # Errors
    /// A sentence with the value, and the values that the key accepts.
    fn check(&self, key: Key) -> Result<(), RpcError> {
        let shown = || format!("'{}'", printable(&self.to_json().to_string()));
        let texts: Vec<&str> = match self {
            Self::Text(text) => vec![text],
            Self::List(list) if list.len() > MAX_LIST => {
                return Err(wrong_form(key, "a longer list"));
            }
            Self::List(list) => list.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        if texts.iter().any(|text| text.len() > MAX_TEXT || text.contains('\0')) {
            return Err(wrong_form(key, "a longer text"));
        }
        let number = |least: u32, most: u32| match self.as_number() {
            Some(number) if (least..=most).contains(&number) => Ok(()),
            _ => Err(wrong_form(key, &shown())),
        };
        let all = |check: &dyn Fn(&str) -> Result<(), RpcError>| {
            texts.iter().try_for_each(|text| check(text))
        };
        match key {
            Key::Name => all(&|text| checked_name(text).map(drop)),
            Key::Port => number(1, u16::MAX.into()),
            Key::Listen => all(&|text| parse_listen(text).map(drop)),
            Key::External => all(&|text| parse_external(text).map(drop)),
            Key::Peers => all(&|text| parse_peer(text).map(drop)),
            Key::Mine => all(&|text| {
                MiningMode::from_str(text, false).map(drop).map_err(|_| wrong_form(key, &shown()))
            }),
            Key::Miner => all(&check_miner),
            Key::Threads => number(1, MAX_THREADS),
            Key::Rpc => all(&|text| parse_rpc(text).and_then(check_rpc)),
            Key::Metrics => all(&|text| parse_metrics(text).map(|_: SocketAddr| ())),
            Key::CacheMib => number(MIN_CACHE_MIB, MAX_CACHE_MIB),
            Key::LogDir | Key::PassphraseFile => all(&|text| {
                if Path::new(text).is_absolute() { Ok(()) } else { Err(wrong_form(key, &shown())) }
            }),
            Key::Relay => all(&|text| {
                RelayMode::from_str(text, false).map(drop).map_err(|_| wrong_form(key, &shown()))
            }),
            Key::Mdns | Key::PrivateOnly | Key::LanFriends | Key::PortMapping => Ok(()),
        }
    }
}

/// Returns the error for a value that a key does not accept.
fn wrong_form(key: Key, given: &str) -> RpcError {
    let sentence = format!("'{}' is {}, not {}", key.name(), key.wants(), printable(given));
    RpcError::new("bad_setting", sentence)
}

/// Checks the receiver of mining rewards: an address, or a friend that the node looks up at its
/// start.
fn check_miner(text: &str) -> Result<(), RpcError> {
    let miner = trimmed(text);
    if Address::looks_like(miner) {
        miner.parse::<Address>()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_is_refused_with_the_nearest_one() {
        for (typed, nearest) in
            [("prot", "port"), ("nmae", "name"), ("minig", "mine"), ("cache", "cache-mib")]
        {
            let error = Key::of(typed).expect_err("no key");
            assert!(error.message.contains(&format!("'{nearest}'")), "{error}");
        }
        assert_eq!(Key::of("cache_mib"), Ok(Key::CacheMib));
        assert_eq!(Key::of("mining"), Ok(Key::Mine));
        assert!(Key::of(&"x".repeat(100_000)).expect_err("no key").message.len() < 200);
    }

    #[test]
    fn a_value_obeys_the_rules_of_its_flag() {
        for (key, text) in [
            (Key::Name, "a#b"),
            (Key::Port, "0"),
            (Key::Port, "70000"),
            (Key::Port, "-1"),
            (Key::Mine, "sometimes"),
            (Key::Rpc, "0.0.0.0:1"),
            (Key::Metrics, "9101"),
            (Key::CacheMib, "1"),
            (Key::Mdns, "maybe"),
            (Key::LogDir, "logs"),
            (Key::Peers, "nobody"),
            (Key::Miner, "fc1"),
            (Key::Threads, "0"),
        ] {
            let error = Value::typed(key, text).expect_err("refused");
            assert!(error.message.len() > 15, "{error}");
        }
        assert_eq!(Value::typed(Key::LanFriends, "off"), Ok(Some(Value::Switch(false))));
        assert_eq!(
            Value::typed(Key::Peers, "a:1, b:2"),
            Ok(Some(Value::List(vec!["a:1".to_owned(), "b:2".to_owned()])))
        );
        assert_eq!(Value::typed(Key::Port, " "), Ok(None));
    }
}
