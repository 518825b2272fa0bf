//! The order of precedence: flags, environment, `friendchain.toml`, defaults.

use std::{collections::BTreeMap, num::NonZeroUsize};

use clap::ValueEnum as _;
use serde_json::Value as Json;

use super::{Key, Settings, Value};
use crate::{
    node::config::{
        DEFAULT_CACHE_MIB, NodeConfig, RelayMode, checked_name, listen_anywhere, parse_external,
        parse_listen, parse_metrics, parse_peer, parse_rpc,
    },
    primitives::{Address, MiningMode, trimmed},
    rpc::{
        RpcError,
        types::{Origin, SettingView},
    },
};

/// The settings of a node by their origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layers {
    /// Values from the command line and the environment.
    pub(crate) typed: BTreeMap<Key, (Value, Origin)>,
    /// Values from the folder's file.
    pub(crate) file: Settings,
    /// Values that apply if nobody chose one.
    pub(crate) defaults: Settings,
}

impl Layers {
    /// Returns the settings of a folder on which no node is started, with the general defaults.
    pub(crate) fn of_file(file: Settings) -> Self {
        let defaults = [
            (Key::Mine, Value::text(MiningMode::Off.to_string())),
            (Key::Rpc, Value::text("127.0.0.1:0")),
            (Key::Mdns, Value::Switch(true)),
            (Key::CacheMib, Value::Number(DEFAULT_CACHE_MIB)),
            (Key::LanFriends, Value::Switch(true)),
        ];
        Self { typed: BTreeMap::new(), file, defaults: defaults.into() }
    }

    /// Returns the value in force, and its origin.
    pub(crate) fn get(&self, key: Key) -> (Option<&Value>, Origin) {
        if let Some((value, origin)) = self.typed.get(&key) {
            return (Some(value), *origin);
        }
        match self.file.get(&key) {
            Some(value) => (Some(value), Origin::File),
            None => (self.defaults.get(&key), Origin::Default),
        }
    }

    /// Returns the text in force for a key.
    pub(crate) fn text(&self, key: Key) -> Option<&str> {
        self.get(key).0.and_then(Value::as_text)
    }

    fn list(&self, key: Key) -> &[String] {
        self.get(key).0.map_or(&[], Value::as_list)
    }

    fn switch(&self, key: Key) -> Option<bool> {
        self.get(key).0.and_then(Value::as_switch)
    }

    /// Returns the port from the file or the default.
    pub(crate) fn port(&self) -> Option<u16> {
        self.get(Key::Port).0.and_then(Value::as_number).and_then(|port| port.try_into().ok())
    }

    /// Copies the settings into a node's configuration. The caller reads the passphrase's file, and
    /// checks that the RPC's address is a loopback one.
    ///
    /// # Errors
    /// A value from the command line or the environment is wrong.
    pub(crate) fn configure(&self, config: &mut NodeConfig) -> Result<(), RpcError> {
        let typed = self.typed.get(&Key::Name).and_then(|(name, _)| name.as_text());
        config.name = typed.map(checked_name).transpose()?;
        let kept = self.file.get(&Key::Name).and_then(Value::as_text);
        config.kept_name = kept.map(checked_name).transpose()?;
        let listen = self.list(Key::Listen).iter().map(|text| parse_listen(text));
        config.listen = listen.collect::<Result<Vec<_>, _>>()?.concat();
        if config.listen.is_empty() {
            config.listen = listen_anywhere(self.port().unwrap_or(0));
        }
        let external = self.list(Key::External).iter().filter(|text| !text.is_empty());
        let external = external.map(|text| parse_external(text));
        config.external = external.collect::<Result<Vec<_>, _>>()?.concat();
        let peers = self.list(Key::Peers).iter().filter(|text| !text.is_empty());
        config.peers = peers.map(|text| parse_peer(text)).collect::<Result<_, _>>()?;
        let mining = self.text(Key::Mine).and_then(|text| MiningMode::from_str(text, false).ok());
        config.mining = mining.unwrap_or(config.mining);
        match self.text(Key::Miner).map(trimmed).filter(|miner| !miner.is_empty()) {
            // The node looks the friend up once it has opened its files.
            Some(friend) if !Address::looks_like(friend) => {
                config.miner_friend = Some(friend.to_owned());
            }
            miner => config.miner = miner.map(str::parse).transpose()?,
        }
        let threads = self.get(Key::Threads).0.and_then(Value::as_number);
        config.threads = threads
            .and_then(|threads| usize::try_from(threads).ok())
            .and_then(NonZeroUsize::new)
            .or(config.threads);
        config.rpc = self.text(Key::Rpc).map_or(Ok(config.rpc), parse_rpc)?;
        config.metrics = self.text(Key::Metrics).map(parse_metrics).transpose()?;
        config.mdns = self.switch(Key::Mdns).unwrap_or(config.mdns);
        config.cache_mib =
            self.get(Key::CacheMib).0.and_then(Value::as_number).unwrap_or(config.cache_mib);
        config.private_only = self.switch(Key::PrivateOnly).or(config.private_only);
        config.port_mapping = self.switch(Key::PortMapping).or(config.port_mapping);
        let relay = self.text(Key::Relay).and_then(|text| RelayMode::from_str(text, false).ok());
        config.relay = relay.or(config.relay);
        config.lan_friends = self.switch(Key::LanFriends).unwrap_or(config.lan_friends);
        Ok(())
    }

    /// Returns all settings with their origin. `self` is what the node runs with, and `now` is the
    /// present file. A changed value applies from the next start on.
    pub(crate) fn views(&self, now: &Settings) -> Vec<SettingView> {
        self.beside(&Self { file: now.clone(), ..self.clone() })
    }

    /// Returns the setting of a key at a start without flags, after a change of the file.
    pub(crate) fn changed(&self, key: Key, now: &Settings) -> Vec<SettingView> {
        let next = Self { typed: BTreeMap::new(), file: now.clone(), ..self.clone() };
        let all = self.beside(&next).into_iter();
        all.filter(|setting| setting.key == key.name()).collect()
    }

    /// Returns the settings of the next start, together with the present ones.
    fn beside(&self, next: &Self) -> Vec<SettingView> {
        let json = |value: Option<&Value>| value.map_or(Json::Null, Value::to_json);
        Key::ALL
            .into_iter()
            .map(|key| {
                let ((value, origin), running) = (next.shown(key), self.shown(key).0);
                SettingView {
                    key: key.name().to_owned(),
                    value: json(value.as_ref()),
                    origin,
                    running: (running != value).then(|| json(running.as_ref())),
                }
            })
            .collect()
    }

    /// Returns a value as `config show` lists it. If there is an address, the port is the
    /// address's.
    fn shown(&self, key: Key) -> (Option<Value>, Origin) {
        let (listen, origin) = self.get(Key::Listen);
        let port = listen.and_then(|listen| {
            let addresses = listen.as_list().iter().map(|text| parse_listen(text));
            addresses.flatten().flatten().find_map(|address| port_of(&address))
        });
        match port {
            Some(port) if key == Key::Port => (Some(Value::Number(port.into())), origin),
            _ => {
                let (value, origin) = self.get(key);
                (value.cloned(), origin)
            }
        }
    }
}

/// Returns the port of a multiaddr; `None` if the system chooses it.
pub(crate) fn port_of(address: &str) -> Option<u16> {
    let mut parts = address.split('/').skip_while(|part| !matches!(*part, "tcp" | "udp"));
    parts.nth(1).and_then(|port| port.parse().ok()).filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_beats_the_environment_that_beats_the_file_that_beats_the_default() {
        let mut layers = Layers::of_file([(Key::Mine, Value::text("always"))].into());
        assert_eq!(layers.get(Key::Mine), (Some(&Value::text("always")), Origin::File));
        assert_eq!(layers.get(Key::Mdns), (Some(&Value::Switch(true)), Origin::Default));
        layers.typed.insert(Key::Mine, (Value::text("on-demand"), Origin::Environment));
        let mut config = NodeConfig::new("yzw".to_owned());
        layers.configure(&mut config).expect("a configuration");
        assert_eq!(config.mining, MiningMode::OnDemand);
        layers.typed.insert(Key::Mine, (Value::text("off"), Origin::Flag));
        assert_eq!(layers.get(Key::Mine).1, Origin::Flag);
    }

    #[test]
    fn a_value_that_waits_for_the_next_start_is_shown_beside_the_running_one() {
        let layers = Layers::of_file([(Key::Port, Value::Number(8_891))].into());
        let now = [(Key::Port, Value::Number(9_000))].into();
        let port = layers.views(&now).into_iter().find(|view| view.key == "port").expect("a port");
        assert_eq!((port.value, port.origin), (9_000.into(), Origin::File));
        assert_eq!(port.running, Some(8_891.into()));
    }

    #[test]
    fn the_port_of_an_address_is_shown_as_the_port() {
        let mut layers = Layers::of_file([(Key::Port, Value::Number(1))].into());
        let listen = Value::List(vec!["127.0.0.1:3000".to_owned()]);
        layers.typed.insert(Key::Listen, (listen, Origin::Flag));
        let port = layers.shown(Key::Port);
        assert_eq!(port, (Some(Value::Number(3_000)), Origin::Flag));
        assert_eq!(port_of("/ip4/1.2.3.4/udp/5/quic-v1"), Some(5));
        assert_eq!(port_of("/ip4/1.2.3.4/tcp/0"), None);
    }
}
