//! Notices about people who are no friends: that they are here, and that they wrote. Each is shown
//! once for each person, with the name by which `accept-friend` finds it.

use std::collections::{HashMap, HashSet};

use super::{Friends, FriendsEvent};
use crate::{
    peers::Level,
    primitives::{Moment, PeerId},
};

/// The most people whose notices are remembered. Beyond it, a notice may be shown twice.
const MAX_TOLD: usize = 1_024;
/// The wait for the profile of an author without a name, in ms. Profiles come within seconds after
/// the connection, often after the first lines.
const NAME_PATIENCE_MS: u64 = 10_000;

/// The notices shown so far in this run.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// People whose presence the user was notified of.
    here: HashSet<PeerId>,
    /// People of whose lines the user was notified.
    wrote: HashSet<PeerId>,
    /// Authors whose notice waits for a name, since when.
    nameless: HashMap<PeerId, Moment>,
}

impl Notices {
    /// Forgets a person, whose standing has changed.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.here.remove(peer);
        self.wrote.remove(peer);
        self.nameless.remove(peer);
    }
}

/// Adds to a set of bounded size, which begins anew when it is full.
fn remember(set: &mut HashSet<PeerId>, peer: PeerId) {
    if set.len() >= MAX_TOLD {
        set.clear();
    }
    set.insert(peer);
}

impl Friends {
    /// Notifies the user once that a stranger has introduced itself.
    pub(super) fn tell_of_stranger(&mut self, peer: PeerId) {
        if !self.notices.here.contains(&peer) && self.rates.take_notice((self.clock)()) {
            remember(&mut self.notices.here, peer);
            let name = self.label(&peer);
            self.emit(FriendsEvent::Asks { peer, name });
        }
    }

    /// Notifies the user once that a peer is here whom a friend introduced, and whom the user
    /// neither accepted nor wrote to.
    pub(super) fn tell_of_introduced(&mut self, peer: PeerId) {
        let is_open = self.level(&peer) == Level::Introduced && !self.is_chosen(&peer);
        if is_open && !self.notices.here.contains(&peer) && self.rates.take_notice((self.clock)()) {
            remember(&mut self.notices.here, peer);
            let by = self.known.get(&peer).and_then(|known| known.voucher);
            let (name, by) = (self.label(&peer), by.map(|by| self.label(&by)));
            self.emit(FriendsEvent::Introduced { peer, name, by });
        }
    }

    /// Notifies the user once that somebody outside the chat wrote. Waits a while for the profile
    /// of an author without a name.
    pub(super) fn tell_of_request(&mut self, author: PeerId) {
        if self.notices.wrote.contains(&author) {
            return;
        }
        if self.name_of(&author).is_some() {
            return self.tell_that_wrote(author);
        }
        if self.notices.nameless.len() < MAX_TOLD {
            let now = (self.clock)();
            self.notices.nameless.entry(author).or_insert(now);
        }
    }

    /// Shows the notice of an author who now has a name, if it waits.
    pub(super) fn named(&mut self, peer: PeerId) {
        if self.notices.nameless.remove(&peer).is_some() {
            self.tell_that_wrote(peer);
        }
    }

    /// Shows the notices of authors whose names did not come in time.
    pub(super) fn tell_of_nameless(&mut self) {
        let now = (self.clock)();
        let is_late = |since: &Moment| now.saturating_sub(*since) >= NAME_PATIENCE_MS;
        let waiting = self.notices.nameless.iter().filter(|(_, since)| is_late(since));
        let late: Vec<PeerId> = waiting.map(|(author, _)| *author).collect();
        for author in late {
            self.notices.nameless.remove(&author);
            self.tell_that_wrote(author);
        }
    }

    fn tell_that_wrote(&mut self, author: PeerId) {
        let is_in_box = self.requests.values().any(|request| request.line.author == author);
        if is_in_box && self.rates.take_notice((self.clock)()) {
            remember(&mut self.notices.wrote, author);
            let name = self.full_label(&author);
            self.emit(FriendsEvent::Requested { peer: author, name });
        }
    }
}
