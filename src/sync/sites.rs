//! The networks of peers whose branches of little work are counted.
//!
//! # Security
//! Keys are free, and a presync of a peer that is not trusted may take [`MAX_DOUBT_MS`]. One
//! machine with many keys could take the turn of every other peer. So each network (a /24 of IPv4
//! or a /48 of IPv6) has at most one presync at once. It pauses after each, longer every time,
//! until one of its branches has shown enough work.
//!
//! [`MAX_DOUBT_MS`]: super::MAX_DOUBT_MS

use std::{collections::BTreeMap, net::IpAddr};

use super::{HOPELESS_MS, MAX_HOPELESS_DOUBLINGS};
use crate::primitives::{Moment, PeerId};

/// The maximum number of networks that are remembered. Beyond it, the one whose pause ends first is
/// forgotten.
const MAX_SITES: usize = 1_024;

/// The network of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Site {
    Network(IpAddr),
    /// A peer whose address is unknown counts as a network of its own.
    Alone(PeerId),
}

/// The presyncs of one network that have not shown enough work.
#[derive(Debug, Clone, Copy)]
struct Record {
    /// The time before which no further one starts.
    next: Moment,
    count: u32,
}

/// The networks that have had a presync.
#[derive(Debug, Default)]
pub(super) struct Sites(BTreeMap<Site, Record>);

impl Sites {
    /// Returns true if the network's pause is over.
    pub(super) fn is_due(&self, site: &Site, now: Moment) -> bool {
        self.0.get(site).is_none_or(|record| now >= record.next)
    }

    /// Records the start of a presync.
    pub(super) fn begin(&mut self, site: Site, now: Moment) {
        if self.0.len() >= MAX_SITES && !self.0.contains_key(&site) {
            let first = self.0.iter().min_by_key(|(_, record)| record.next).map(|(site, _)| *site);
            if let Some(first) = first {
                self.0.remove(&first);
            }
        }
        let record = self.0.entry(site).or_insert(Record { next: now, count: 0 });
        let pause = HOPELESS_MS.saturating_mul(1 << record.count.min(MAX_HOPELESS_DOUBLINGS));
        record.next = now.saturating_add(pause);
        record.count = record.count.saturating_add(1);
    }

    /// Forgets all networks.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets a network, since its branch has shown enough work.
    pub(super) fn forgive(&mut self, site: &Site) {
        self.0.remove(site);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(number: u32) -> Site {
        Site::Network(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn each_presync_costs_its_network_a_longer_pause_until_one_shows_enough_work() {
        let mut sites = Sites::default();
        let (mut now, mut pauses) = (0, Vec::new());
        for _ in 0..9 {
            assert!(sites.is_due(&site(1), now) && sites.is_due(&site(2), now));
            sites.begin(site(1), now);
            let pause =
                (0..100).find(|minutes| sites.is_due(&site(1), now + minutes * HOPELESS_MS));
            pauses.push(pause.expect("an end"));
            now += pauses[pauses.len() - 1] * HOPELESS_MS;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        sites.begin(site(1), now);
        sites.forgive(&site(1));
        assert!(sites.is_due(&site(1), now));
    }

    #[test]
    fn of_too_many_networks_the_one_due_first_is_forgotten() {
        let mut sites = Sites::default();
        let all = 0..=u32::try_from(MAX_SITES).expect("few");
        for number in all.clone() {
            sites.begin(site(number), number.into());
        }
        assert_eq!(
            all.filter(|number| sites.is_due(&site(*number), 1_024)).collect::<Vec<_>>(),
            [0]
        );
    }
}
