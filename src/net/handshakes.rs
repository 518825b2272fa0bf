//! Bounds the handshakes in progress of peers that dial this node, and the time that a connection
//! takes to close.
//!
//! A mute socket costs its owner nothing, and its owner is not known yet. The node therefore
//! refuses no new one: when all slots are in use, it drops the oldest handshake of the network with
//! the most. One machine has as many IPv6 addresses as it likes, so a /64 counts as one address,
//! and a /24 or /48 as one network. A peer that stops reading does not keep a connection open
//! either: the connection is dropped soon after the node has closed it.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent},
        transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent},
    },
};
use tokio::time::{Sleep, sleep};

use super::{
    gate::ip_of,
    limits::{CLOSE_MS, MAX_HANDSHAKES, MAX_HANDSHAKES_PER_IP},
};
use crate::peers::{host_group, site_group};

/// The connection that a transport makes.
type Connection = (PeerId, StreamMuxerBox);

/// The handshakes in progress, by their numbers, which rise.
#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// The host of each handshake, and the waker of its task once it is polled.
    running: BTreeMap<u64, (Option<IpAddr>, Option<Waker>)>,
}

impl Table {
    /// Adds a handshake. Drops an older one if there are too many.
    fn begin(&mut self, address: Option<IpAddr>) -> u64 {
        let address = address.map(host_group);
        let here = self.running.values().filter(|(other, _)| *other == address).count();
        let oldest = if here >= MAX_HANDSHAKES_PER_IP {
            self.running.iter().find(|(_, (other, _))| *other == address).map(|(id, _)| *id)
        } else if self.running.len() >= MAX_HANDSHAKES {
            self.oldest_of_the_largest_network()
        } else {
            None
        };
        if let Some(oldest) = oldest
            && let Some((_, Some(task))) = self.running.remove(&oldest)
        {
            task.wake();
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.running.insert(id, (address, None));
        id
    }

    fn oldest_of_the_largest_network(&self) -> Option<u64> {
        let networks =
            || self.running.iter().map(|(id, (address, _))| (id, address.map(site_group)));
        let mut counts: HashMap<Option<IpAddr>, usize> = HashMap::new();
        for (_, network) in networks() {
            let count = counts.entry(network).or_default();
            *count = count.saturating_add(1);
        }
        let most = counts.values().copied().max();
        networks().find(|(_, network)| counts.get(network).copied() == most).map(|(id, _)| *id)
    }

    /// Returns true unless the handshake was dropped. Its task is woken when it is.
    fn waits(&mut self, id: u64, task: &Waker) -> bool {
        let Some((_, waker)) = self.running.get_mut(&id) else { return false };
        *waker = Some(task.clone());
        true
    }
}

/// The slots of all handshakes in progress.
#[derive(Debug, Clone, Default)]
struct Slots(Arc<Mutex<Table>>);

impl Slots {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot of one handshake, which ends with it.
#[derive(Debug)]
struct Slot {
    slots: Slots,
    id: u64,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.table().running.remove(&self.id);
    }
}

/// A transport whose handshakes are bounded.
pub(super) struct Bounded {
    inner: Boxed<Connection>,
    slots: Slots,
}

/// Bounds the handshakes of a transport.
pub(super) fn bounded(inner: Boxed<Connection>) -> Bounded {
    Bounded { inner, slots: Slots::default() }
}

/// A connection during its handshake.
pub(super) struct Handshake {
    inner: Pin<Box<dyn Future<Output = io::Result<Connection>> + Send>>,
    /// The handshake's slot; `None` for a dial of this node, which is not bounded here.
    slot: Option<Slot>,
}

impl Future for Handshake {
    type Output = io::Result<(PeerId, Closing)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(slot) = &self.slot
            && !slot.slots.table().waits(slot.id, cx.waker())
        {
            return Poll::Ready(Err(io::Error::other("too many handshakes at once")));
        }
        self.inner
            .as_mut()
            .poll(cx)
            .map_ok(|(peer, inner)| (peer, Closing { inner, deadline: None }))
    }
}

impl Transport for Bounded {
    type Output = (PeerId, Closing);
    type Error = io::Error;
    type ListenerUpgrade = Handshake;
    type Dial = Handshake;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Handshake, TransportError<io::Error>> {
        let inner = self.inner.dial(address, options)?;
        Ok(Handshake { inner, slot: None })
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Handshake, io::Error>> {
        let event = std::task::ready!(Pin::new(&mut self.inner).poll(cx));
        let address = match &event {
            TransportEvent::Incoming { send_back_addr, .. } => ip_of(send_back_addr),
            _ => None,
        };
        Poll::Ready(event.map_upgrade(|upgrade| {
            let id = self.slots.table().begin(address);
            let slot = Some(Slot { slots: self.slots.clone(), id });
            Handshake { inner: upgrade, slot }
        }))
    }
}

/// A connection that closes within [`CLOSE_MS`], even if its far end does not read.
pub(super) struct Closing {
    inner: StreamMuxerBox,
    /// The end of the wait, once the node has closed the connection.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl StreamMuxer for Closing {
    type Substream = <StreamMuxerBox as StreamMuxer>::Substream;
    type Error = <StreamMuxerBox as StreamMuxer>::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.inner).poll_inbound(cx)
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.inner).poll_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Poll::Ready(result) = Pin::new(&mut self.inner).poll_close(cx) {
            return Poll::Ready(result);
        }
        let wait = || Box::pin(sleep(Duration::from_millis(CLOSE_MS)));
        self.deadline.get_or_insert_with(wait).as_mut().poll(cx).map(Ok)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "the tested functions take an option")]
    fn address(number: u8) -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::new(192, 0, number, 1)))
    }

    #[test]
    fn mute_sockets_of_one_address_push_out_each_other() {
        let mut table = Table::default();
        let other = table.begin(address(2));
        let mute: Vec<_> = (0..MAX_HANDSHAKES_PER_IP).map(|_| table.begin(address(1))).collect();
        let friend = table.begin(address(1));
        let lives = |table: &mut Table, id| table.waits(id, Waker::noop());
        assert!(!lives(&mut table, mute[0]), "the oldest gave way");
        assert!(lives(&mut table, mute[1]) && lives(&mut table, friend));
        assert!(lives(&mut table, other), "another address pays nothing");
        assert_eq!(table.running.len(), MAX_HANDSHAKES_PER_IP + 1);
    }

    #[test]
    fn the_address_with_the_most_gives_way_when_all_slots_are_in_use() {
        let mut table = Table::default();
        let friend = table.begin(address(9));
        let mut mute = Vec::new();
        for number in 0..2 * MAX_HANDSHAKES {
            mute.push(table.begin(address(u8::try_from(number % 3).unwrap())));
            assert!(table.running.len() <= MAX_HANDSHAKES);
        }
        assert!(table.waits(friend, Waker::noop()));
        assert!(!table.waits(mute[0], Waker::noop()));
    }

    #[test]
    fn the_many_addresses_of_one_machine_count_as_one() {
        let mut table = Table::default();
        let v6 = |site: u64, host: u64| {
            let [one, two] = [site, host].map(u128::from);
            let bits = (0x2001_0db8 << 96) | (one << 64) | two;
            Some(IpAddr::V6(std::net::Ipv6Addr::from_bits(bits)))
        };
        let lives = |table: &mut Table, id| table.waits(id, Waker::noop());
        let friend = table.begin(v6(1 << 16, 1));
        for host in 0..2 * MAX_HANDSHAKES as u64 {
            table.begin(v6(2 << 16, host));
        }
        assert_eq!(table.running.len(), MAX_HANDSHAKES_PER_IP + 1, "one /64");
        // A whole /48 fills the table, and then pushes out its own.
        for subnet in 0..2 * MAX_HANDSHAKES as u64 {
            table.begin(v6((3 << 16) + subnet, 1));
        }
        assert_eq!(table.running.len(), MAX_HANDSHAKES);
        assert!(lives(&mut table, friend));
    }

    #[test]
    fn a_handshake_that_ends_leaves_its_slot() {
        let slots = Slots::default();
        let id = slots.table().begin(address(1));
        drop(Slot { slots: slots.clone(), id });
        assert!(slots.table().running.is_empty());
    }
}
