//! Asks the default gateway to map ports, by PCP (RFC 6887) or NAT-PMP (RFC 6886).
//!
//! # Security
//! The gateway is hostile. `crab_nat` connects its sockets, so that the system drops what other
//! machines send; it reads at most 1,100 bytes of an answer, and checks form, nonce and port. This
//! file checks the rest: the address must be public, and the time long enough. The number of
//! requests depends on nothing that the gateway sends.

#[cfg(target_os = "linux")]
use std::{fs::File, io::Read};
use std::{
    iter::once,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU16,
    time::{Duration, Instant},
};

use crab_nat::{
    GATEWAY_PORT, InternetProtocol, PortMapping, PortMappingOptions, PortMappingType,
    TimeoutConfig, natpmp, pcp,
};
use futures::future::join_all;
use libp2p::{Multiaddr, multiaddr::Protocol};

use crate::net::{
    address::{Scope, scope, socket},
    event::MappedBy,
    limits::{MAPPING_RENEWAL, MAPPING_TIME, SHORTEST_MAPPING},
    wake::source_of,
};

/// Waits for an answer: 250 ms, then 500 ms and 1 s after a repetition. A gateway is one hop away,
/// so the 3 s that PCP recommends only delay a round with a silent one.
const PATIENCE: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 2,
    max_retry_timeout: Some(Duration::from_secs(1)),
};
/// Bytes of the routing table that are read. Default routes come first in it.
#[cfg(target_os = "linux")]
const MAX_ROUTES: u64 = 64 * 1024;

/// The default gateway, and this machine's address towards it. Both are private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) gateway: Ipv4Addr,
    pub(super) client: Ipv4Addr,
}

impl Place {
    /// Finds the gateway. Returns none if there is none at a private address.
    pub(super) fn find() -> Option<Self> {
        let gateway = default_gateway()?;
        let source = source_of(SocketAddr::from((gateway, GATEWAY_PORT)))?;
        let IpAddr::V4(client) = source else { return None };
        let is_home = gateway.is_private() && client.is_private();
        is_home.then_some(Self { gateway, client })
    }
}

/// Reads the gateway from the routing table of this process's network namespace.
#[cfg(target_os = "linux")]
fn default_gateway() -> Option<Ipv4Addr> {
    let mut table = String::new();
    let file = File::open("/proc/self/net/route").ok()?;
    file.take(MAX_ROUTES).read_to_string(&mut table).ok()?;
    gateway_in(&table)
}

/// Returns the gateway of the best default route.
#[cfg(target_os = "linux")]
fn gateway_in(table: &str) -> Option<Ipv4Addr> {
    /// The route is up, and leads through a gateway.
    const FLAGS: u32 = 3;
    let route = |line: &str| -> Option<(u32, Ipv4Addr)> {
        let fields: Vec<&str> = line.split_whitespace().take(8).collect();
        let [_, "00000000", gateway, flags, _, _, metric, "00000000"] = fields.as_slice() else {
            return None;
        };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        // The kernel prints the four bytes as a number of this machine's byte order.
        let gateway = u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes();
        (flags & FLAGS == FLAGS).then_some((metric.parse().ok()?, gateway.into()))
    };
    table.lines().filter_map(route).min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

/// Guesses the gateway: the first address of the network of 24 bits, as most routers have it.
#[cfg(not(target_os = "linux"))]
fn default_gateway() -> Option<Ipv4Addr> {
    // Any address beyond the gateway will do. Nothing is sent to it.
    let IpAddr::V4(own) = source_of(SocketAddr::from(([192, 0, 2, 1], 9)))? else { return None };
    let [first, second, third, _] = own.octets();
    Some(Ipv4Addr::new(first, second, third, 1))
}

/// The reason why a gateway maps no port. A later one says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    /// No answer, or none that makes sense.
    Silent,
    Refused,
    /// The gateway has no public address itself.
    NotPublic,
}

/// A port of this machine that the gateway is asked to map.
#[derive(Debug, Clone)]
pub(super) struct Port {
    local: Multiaddr,
    protocol: InternetProtocol,
    internal: NonZeroU16,
    /// The external port to ask for. The gateway may choose another.
    wished: NonZeroU16,
}

impl Port {
    /// Takes the port of an address. `held` is its external port so far.
    pub(super) fn new(local: &Multiaddr, held: Option<NonZeroU16>) -> Option<Self> {
        let (socket, is_udp) = socket(local)?;
        let internal = NonZeroU16::new(socket.port())?;
        let protocol = if is_udp { InternetProtocol::Udp } else { InternetProtocol::Tcp };
        Some(Self { local: local.clone(), protocol, internal, wished: held.unwrap_or(internal) })
    }

    fn options(&self) -> PortMappingOptions {
        PortMappingOptions {
            external_port: Some(self.wished),
            lifetime_seconds: u32::try_from(MAPPING_TIME.as_secs()).ok(),
            timeout_config: Some(PATIENCE),
        }
    }

    /// Returns the address at which the gateway accepts connections to this port.
    fn external(&self, ip: IpAddr, port: NonZeroU16) -> Multiaddr {
        let transport = match self.protocol {
            InternetProtocol::Tcp => Protocol::Tcp(port.get()),
            InternetProtocol::Udp => Protocol::Udp(port.get()),
        };
        once(Protocol::from(ip)).chain(once(transport)).chain(self.local.iter().skip(2)).collect()
    }

    /// Checks a granted mapping, and ends it if it is of no use.
    async fn checked(&self, mapping: PortMapping, ip: IpAddr) -> Result<Lease, Refusal> {
        let external = self.external(ip, mapping.external_port());
        let lease = Lease { local: self.local.clone(), external, mapping };
        let refusal = if !is_public(ip) {
            Refusal::NotPublic
        } else if lease.lifetime() < SHORTEST_MAPPING {
            Refusal::Refused
        } else {
            return Ok(lease);
        };
        lease.delete().await;
        Err(refusal)
    }
}

/// A mapped port.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    local: Multiaddr,
    external: Multiaddr,
    mapping: PortMapping,
}

impl Lease {
    pub(super) const fn local(&self) -> &Multiaddr {
        &self.local
    }

    pub(super) const fn external(&self) -> &Multiaddr {
        &self.external
    }

    pub(super) fn external_port(&self) -> NonZeroU16 {
        self.mapping.external_port()
    }

    pub(super) fn by(&self) -> MappedBy {
        match self.mapping.mapping_type() {
            PortMappingType::NatPmp => MappedBy::NatPmp,
            PortMappingType::Pcp { .. } => MappedBy::Pcp,
        }
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(self.mapping.lifetime().into())
    }

    /// Returns the time after which to renew it.
    pub(super) fn renewal(&self) -> Duration {
        (self.lifetime() / 2).min(MAPPING_RENEWAL)
    }

    /// True if the gateway still keeps it, as far as this node knows.
    pub(super) fn is_valid(&self, now: Instant) -> bool {
        now < self.mapping.expiration()
    }

    /// Asks the gateway to end it. If the answer is lost, it ends by itself in the end.
    pub(super) async fn delete(self) {
        let _ = self.mapping.try_drop().await;
    }
}

/// Asks the gateway to map the ports. Returns those that it maps, or the reason if it maps none.
pub(super) async fn ask(
    place: Place,
    nonce: pcp::Nonce,
    ports: Vec<Port>,
) -> Result<Vec<Lease>, Refusal> {
    let answers = join_all(ports.iter().map(|port| ask_by_pcp(place, nonce, port))).await;
    match granted(answers) {
        Err(Refusal::Silent) if !ports.is_empty() => ask_by_nat_pmp(place, &ports).await,
        other => other,
    }
}

async fn ask_by_pcp(place: Place, nonce: pcp::Nonce, port: &Port) -> Result<Lease, Refusal> {
    let (gateway, client) = (place.gateway.into(), place.client.into());
    let request = pcp::BaseMapRequest::new(gateway, client, port.protocol, port.internal);
    let answer = pcp::port_mapping(request, Some(nonce), None, port.options()).await;
    let mapping = answer.map_err(|failure| match failure {
        pcp::Failure::Socket(_)
        | pcp::Failure::Timeout
        | pcp::Failure::Nonce
        | pcp::Failure::InvalidResponse(_)
        | pcp::Failure::UnsupportedVersion(_) => Refusal::Silent,
        _ => Refusal::Refused,
    })?;
    match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => port.checked(mapping, external_ip).await,
        PortMappingType::NatPmp => Err(Refusal::Silent),
    }
}

async fn ask_by_nat_pmp(place: Place, ports: &[Port]) -> Result<Vec<Lease>, Refusal> {
    let refusal = |failure| match failure {
        natpmp::Failure::Socket(_)
        | natpmp::Failure::Timeout
        | natpmp::Failure::InvalidResponse(_)
        | natpmp::Failure::UnsupportedVersion(_) => Refusal::Silent,
        _ => Refusal::Refused,
    };
    let gateway = place.gateway.into();
    let ip = natpmp::external_address(gateway, Some(PATIENCE)).await.map_err(refusal)?.into();
    if !is_public(ip) {
        return Err(Refusal::NotPublic);
    }
    let answers = ports.iter().map(|port| async move {
        let answer = natpmp::port_mapping(gateway, port.protocol, port.internal, port.options());
        port.checked(answer.await.map_err(refusal)?, ip).await
    });
    granted(join_all(answers).await)
}

fn is_public(ip: IpAddr) -> bool {
    ip.is_ipv4() && scope(&Multiaddr::from(ip)) == Scope::Public
}

/// Returns the granted mappings, or the refusal that says most if there are none.
fn granted(answers: Vec<Result<Lease, Refusal>>) -> Result<Vec<Lease>, Refusal> {
    let mut leases = Vec::new();
    let mut worst = Refusal::Silent;
    for answer in answers {
        match answer {
            Ok(lease) => leases.push(lease),
            Err(refusal) => worst = worst.max(refusal),
        }
    }
    if leases.is_empty() { Err(worst) } else { Ok(leases) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_gateway_of_the_best_default_route_is_asked() {
        let hex = |ip: Ipv4Addr| format!("{:08X}", u32::from_ne_bytes(ip.octets()));
        let route = |destination: &str, gateway: &str, flags: u32, metric: u32| {
            format!(
                "eth0\t{destination}\t{gateway}\t{flags:04X}\t0\t0\t{metric}\t{destination}\t0\n"
            )
        };
        let (near, far) = (Ipv4Addr::new(192, 168, 1, 1), Ipv4Addr::new(10, 0, 0, 1));
        let head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n";
        let default = "00000000";
        let table = [
            head,
            &route(default, &hex(far), 3, 600),
            &route(default, &hex(near), 3, 100),
            &route(default, default, 1, 0),
            &route("0000A8C0", &hex(far), 3, 0),
            "eth0\t00000000\tzz\t0003\t0\t0\t0\t00000000\n",
            "eth0\t00000000",
        ]
        .concat();
        assert_eq!(gateway_in(&table), Some(near));
        assert_eq!(gateway_in(head), None);
    }

    #[test]
    fn an_external_address_keeps_its_transport() {
        let ip = IpAddr::from([5, 6, 7, 8]);
        for (local, external) in [
            ("/ip4/192.168.1.7/tcp/8891", "/ip4/5.6.7.8/tcp/9"),
            ("/ip4/192.168.1.7/udp/8891/quic-v1", "/ip4/5.6.7.8/udp/9/quic-v1"),
        ] {
            let port = Port::new(&local.parse().unwrap(), None).unwrap();
            let there = port.external(ip, NonZeroU16::new(9).unwrap());
            assert_eq!(there.to_string(), external);
        }
        assert!(Port::new(&"/dns/yzw.example/tcp/1".parse().unwrap(), None).is_none());
    }

    #[test]
    fn the_refusal_that_says_most_counts() {
        let (silent, refused) = (|| Err(Refusal::Silent), || Err(Refusal::Refused));
        let worst = |answers| granted(answers).unwrap_err();
        assert_eq!(worst(Vec::new()), Refusal::Silent);
        assert_eq!(worst(vec![refused(), silent()]), Refusal::Refused);
        assert_eq!(worst(vec![refused(), Err(Refusal::NotPublic)]), Refusal::NotPublic);
    }
}
