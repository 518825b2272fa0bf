//! Reports of sync: the phase, the progress, Status messages to peers, and results of `sync`
//! commands.

use std::collections::BTreeSet;

use super::{
    LAG_BLOCKS, LAG_MS, MAX_TICKETS, NEWS_MS, NEWS_SYNCING_MS, Obstacle, Phase, Progress,
    REFRESH_MS, STALL_MS, START_MS, STATUS_TIMEOUT_MS, Sync, SyncAction, SyncOutcome, SyncReport,
    meter::Meter,
    peer::{Claim, MempoolVisit, Peer},
    ticket::Ticket,
};
use crate::{
    primitives::{Height, Moment, PeerId},
    telemetry::events,
};

impl Sync {
    /// Returns the phase, with heights and the rate.
    #[must_use]
    pub(crate) fn progress(&self) -> Progress {
        let (blocks_per_second, seconds_left) = match self.phase {
            Phase::Syncing => (self.meter.blocks_per_second, self.meter.seconds_left),
            _ => (0, None),
        };
        let (height, best_header_height) = (self.tip.height, self.best_header.height);
        Progress {
            phase: self.phase,
            height,
            best_header_height,
            target_height: self.target_height(),
            blocks_per_second,
            seconds_left,
            confirmed: self.confirmed(),
            has_friends: self.trust.has_friends(),
            obstacle: (self.phase == Phase::Stalled).then(|| self.obstacle()),
        }
    }

    /// Returns why sync cannot fetch the chain that peers claim.
    fn obstacle(&self) -> Obstacle {
        if self.best_header.hash != self.tip.hash || !self.withheld.is_empty() {
            Obstacle::Bodies
        } else if self.has_hopeless_friend() {
            Obstacle::Branch
        } else {
            Obstacle::Headers
        }
    }

    /// Returns true if a friend claims a branch that cannot win or cannot be kept.
    fn has_hopeless_friend(&self) -> bool {
        self.peers.iter().any(|(id, peer)| {
            let hopeless =
                |claim: Claim| peer.hopeless == Some(claim.tip) && claim.beats(&self.tip);
            peer.claim.is_some_and(hopeless) && self.trust.is_friend(id)
        })
    }

    /// Returns true if each peer that sent its Status claims a better chain than ours. Unless
    /// [`Sync::is_behind`] is true as well, sync has tested these claims in vain.
    fn is_doubted(&self) -> bool {
        let claims = || self.peers.values().filter_map(|peer| peer.claim);
        claims().next().is_some() && claims().all(|claim| claim.beats(&self.tip))
    }

    /// Returns true if the chain is diverged and the other branch is stored completely.
    pub(super) fn has_other_branch(&self) -> bool {
        self.diverged
            && self.missing.complete_for == Some(self.best_header.hash)
            && self.bodies.is_empty()
    }

    /// Returns a peer's claim if it may be better than the known chain.
    ///
    /// While the chain is diverged, a claim has to beat only our own tip, since it may extend
    /// either branch.
    pub(super) fn lead_of(&self, peer: &Peer) -> Option<Claim> {
        let known = if self.diverged { &self.tip } else { &self.best_header };
        peer.lead(known).filter(|claim| claim.tip != self.best_header.hash)
    }

    /// Returns true if there is a better chain to fetch: headers prove it, or a claim that counts
    /// says so.
    pub(super) fn is_behind(&self) -> bool {
        (self.best_header.hash != self.tip.hash && !self.has_other_branch())
            || self.leads().next().is_some()
    }

    /// Returns the height of the best chain that headers show or claims that count name.
    fn target_height(&self) -> Height {
        let claimed = self.leads().map(|claim| claim.height);
        claimed.fold(self.best_header.height, Height::max)
    }

    /// Returns the claims of better chains that count.
    ///
    /// The claims of trusted peers that fail count only if all trusted peers fail. The claims of
    /// others count only while no trusted peer is reliable, and until they are tested.
    fn leads(&self) -> impl Iterator<Item = Claim> {
        let reliable = self.has_trusted();
        self.peers
            .iter()
            .filter(move |(id, peer)| {
                peer.failures == 0 && (!reliable || self.is_trusted(id, peer))
                    || !reliable && self.is_trusted(id, peer)
            })
            .filter_map(|(_, peer)| self.lead_of(peer))
    }

    pub(super) fn drive_phase(&mut self, now: Moment) {
        let next = self.next_phase(now);
        let before = std::mem::replace(&mut self.phase, next);
        let (height, best_header_height) = (self.tip.height, self.best_header.height);
        if next != before {
            self.out.push(SyncAction::PhaseChanged { phase: next });
            match next {
                Phase::Syncing => self.meter = Meter::new(now, height),
                Phase::Stalled => {
                    events::SyncStalled { height, best_header_height }.emit();
                    self.start_over(now);
                }
                _ => {}
            }
        }
        let done = before == Phase::Syncing && next == Phase::Synced;
        if done {
            self.meter.take(height, best_header_height, now);
        }
        if done || (next == Phase::Syncing && self.meter.measure(height, best_header_height, now)) {
            let blocks_per_second = self.meter.blocks_per_second;
            let seconds_left = self.meter.seconds_left.unwrap_or(0);
            events::SyncProgress { height, best_header_height, blocks_per_second, seconds_left }
                .emit();
        }
        if next == Phase::Synced && before != Phase::Synced {
            events::Synced { height, tip: self.tip.hash }.emit();
        }
        if next == Phase::Stalled && now.saturating_sub(self.stalled_at) >= STALL_MS {
            self.start_over(now);
        }
    }

    fn next_phase(&mut self, now: Moment) -> Phase {
        if self.diverged {
            self.behind_since = None;
            return Phase::Diverged;
        }
        let behind = self.is_behind() || self.min_work > self.tip.work;
        if !self.peers.values().any(|peer| peer.claim.is_some()) {
            self.behind_since = None;
            let starting =
                self.phase == Phase::Starting && now.saturating_sub(self.started) < START_MS;
            return if starting { Phase::Starting } else { Phase::Alone };
        }
        if !behind {
            self.behind_since = None;
            let stuck = self.has_hopeless_friend() || self.is_doubted();
            return if stuck { Phase::Stalled } else { Phase::Synced };
        }
        let since = *self.behind_since.get_or_insert(now);
        if now.saturating_sub(since.max(self.moved)) >= STALL_MS {
            return Phase::Stalled;
        }
        let lag = self.target_height().saturating_sub(self.tip.height);
        let brief = now.saturating_sub(since.max(self.tip_moved)) <= LAG_MS;
        if self.phase == Phase::Synced && lag <= LAG_BLOCKS && brief {
            Phase::Synced
        } else {
            Phase::Syncing
        }
    }

    /// Handles a stall: sends our Status to all peers, and forgets which blocks they lacked. Claims
    /// of trusted peers are walked again; a branch that cannot win, only after its pause.
    fn start_over(&mut self, now: Moment) {
        self.stalled_at = now;
        self.missing.complete_for = None;
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in peers {
            let trusted = self.trusts(&id);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.lacks.clear();
                if trusted {
                    peer.walked = None;
                }
            }
            self.send_status(id, now);
        }
    }

    /// Sends our Status to the peers that need it.
    ///
    /// Some time after a new tip these are the peers that are behind it, and those whose last
    /// Status is older than the tip. If two peers have the same tip, the first Status makes the
    /// second needless. A peer without a Status exchange for [`REFRESH_MS`] gets one as well.
    pub(super) fn drive_news(&mut self, now: Moment) {
        let wait = if self.phase == Phase::Syncing { NEWS_SYNCING_MS } else { NEWS_MS };
        let news = self.news_since.is_some_and(|since| now.saturating_sub(since) >= wait);
        if news {
            self.news_since = None;
        }
        let tip = self.tip;
        let recipients: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                let silent =
                    now.saturating_sub(peer.claimed_at.max(peer.status_sent_at)) >= REFRESH_MS;
                let behind =
                    peer.claim.is_some_and(|claim| claim.tip != tip.hash && !claim.beats(&tip));
                silent || (news && (behind || peer.claimed_at < self.tip_moved))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in recipients {
            self.send_status(id, now);
        }
    }

    pub(super) fn on_sync_now(&mut self, ticket: u64, peer: Option<PeerId>, now: Moment) {
        let wanted = |id: &PeerId| peer.is_none_or(|peer| peer == *id);
        let waiting: BTreeSet<PeerId> =
            self.peers.keys().filter(|id| wanted(id)).copied().collect();
        let asked = waiting.len();
        let (blocks, trades) = (self.blocks, self.trades.accepted);
        let entry =
            Ticket { number: ticket, waiting, asked, answered: 0, since: now, blocks, trades };
        if asked == 0 {
            // The user's command ends the phase in which a node without peers is starting.
            self.started = now.saturating_sub(START_MS);
            return self.end_ticket(&entry, SyncOutcome::NoPeers);
        }
        if self.tickets.len() >= MAX_TICKETS {
            return self.end_ticket(&entry, SyncOutcome::Busy);
        }
        self.sites.clear();
        for id in entry.waiting.clone() {
            if let Some(peer) = self.peers.get_mut(&id) {
                // A user's command overrides the back-off.
                (peer.headers_from, peer.data_from) = (0, 0);
                peer.mempool = MempoolVisit::Due;
            }
            self.send_status(id, now);
        }
        self.tickets.push(entry);
    }

    pub(super) fn ticket_answered(&mut self, id: PeerId) {
        for ticket in &mut self.tickets {
            if ticket.waiting.remove(&id) {
                ticket.answered = ticket.answered.saturating_add(1);
            }
        }
    }

    pub(super) fn ticket_unanswered(&mut self, id: PeerId) {
        for ticket in &mut self.tickets {
            ticket.waiting.remove(&id);
        }
    }

    pub(super) fn drive_tickets(&mut self, now: Moment) {
        let trusted = self.has_trusted();
        let walking = self
            .peers
            .iter()
            .any(|(id, peer)| peer.walk.is_some() && (!trusted || self.is_trusted(id, peer)));
        let matters = |id: &PeerId| !trusted || self.trusts(id);
        let idle = !self.is_behind()
            && !walking
            && self.trades.is_idle(matters)
            && !self.next_visit(now).is_some_and(|id| matters(&id));
        for ticket in std::mem::take(&mut self.tickets) {
            let patient = now.saturating_sub(ticket.since) < STATUS_TIMEOUT_MS;
            let outcome = if !ticket.waiting.is_empty() && patient {
                None
            } else if ticket.answered == 0 {
                Some(SyncOutcome::NoAnswer)
            } else if self.phase == Phase::Stalled {
                Some(SyncOutcome::Stalled)
            } else {
                idle.then_some(if self.diverged {
                    SyncOutcome::Diverged
                } else {
                    SyncOutcome::UpToDate
                })
            };
            match outcome {
                Some(outcome) => self.end_ticket(&ticket, outcome),
                None => self.tickets.push(ticket),
            }
        }
    }

    fn end_ticket(&mut self, ticket: &Ticket, outcome: SyncOutcome) {
        let report = SyncReport {
            outcome,
            asked: ticket.asked,
            answered: ticket.answered,
            blocks: self.blocks.saturating_sub(ticket.blocks),
            trades: self.trades.accepted.saturating_sub(ticket.trades),
            height: self.tip.height,
            tip: self.tip.hash,
        };
        self.out.push(SyncAction::SyncDone { ticket: ticket.number, report });
    }
}
