//! Parameters of gossipsub's peer score.
//!
//! Two facts lower the score of a peer: messages that the node rejected (P4), and a used-up budget
//! (P5). Nothing raises it above 0.
//!
//! | score | effect inside gossipsub |
//! |---|---|
//! | below 0 | the peer leaves the mesh and may not return |
//! | below −20 | no message ids are exchanged with the peer |
//! | below −60 | all messages from the peer are dropped, and none are published to it |
//!
//! Deliveries do not count (P1 to P3). In a small group each message arrives first from the same
//! few peers, and a peer with nothing to forward is honest. P7 and slow peers do not count either:
//! the node has its own scores, and [`GossipLiveness`](super::gossip::GossipLiveness) reconnects
//! slow peers. P5 mutes a peer that is over its budget: see [`MUTED_SCORE`]. A crowd at one IP
//! address (P6) does not count: it would mute a friend for the identities that others make there,
//! and [`Places`](crate::peers::Places) bounds a crowd of strangers.

use std::time::Duration;

use libp2p::gossipsub::{
    PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams, score_parameter_decay,
};

/// Weight of the square of the rejected messages of one topic: the first three cost 10, 40 and 90.
const REJECT_WEIGHT: f64 = -10.0;
/// Time after which one rejected message is forgotten.
const REJECT_MEMORY: Duration = Duration::from_mins(10);
/// Time for which gossipsub remembers the score of a disconnected peer, so that a reconnection does
/// not clear it. This time is the only bound on the number of remembered peers, so it is short.
const SCORE_MEMORY: Duration = Duration::from_mins(1);

/// Score below which message ids are no longer exchanged with a peer: two rejected messages.
const GOSSIP_THRESHOLD: f64 = -20.0;
/// Score below which gossipsub drops all messages of a peer: three rejected messages within 50 s.
pub(super) const GRAYLIST_THRESHOLD: f64 = -60.0;

/// Score of a peer that is over its budget of gossip. Gossipsub drops its messages before it
/// remembers their ids, so that the same messages still arrive from other peers.
pub(super) const MUTED_SCORE: f64 = -1_000.0;

/// Returns the thresholds of the score, all at most 0.
pub(super) fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: GOSSIP_THRESHOLD,
        publish_threshold: GRAYLIST_THRESHOLD,
        graylist_threshold: GRAYLIST_THRESHOLD,
        accept_px_threshold: 0.0,
        opportunistic_graft_threshold: 0.0,
    }
}

/// Returns the parameters of the score, with the same weights for all topics.
pub(super) fn params<'a>(topics: impl Iterator<Item = &'a TopicHash>) -> PeerScoreParams {
    PeerScoreParams {
        topics: topics.map(|topic| (topic.clone(), topic_params())).collect(),
        topic_score_cap: 0.0,
        app_specific_weight: 1.0,
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: 0.0,
        retain_score: SCORE_MEMORY,
        slow_peer_weight: 0.0,
        ..PeerScoreParams::default()
    }
}

fn topic_params() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: REJECT_WEIGHT,
        invalid_message_deliveries_decay: score_parameter_decay(REJECT_MEMORY),
        ..TopicScoreParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gossipsub_accepts_the_parameters() {
        let topic = TopicHash::from_raw("topic");
        params([topic].iter()).validate().unwrap();
        thresholds().validate().unwrap();
    }

    #[test]
    fn three_rejected_messages_graylist_and_two_do_not() {
        let score = |rejected: f64| REJECT_WEIGHT * rejected * rejected;
        assert!(score(2.0) > GRAYLIST_THRESHOLD && score(2.0) < GOSSIP_THRESHOLD);
        // The decay of 50 s, in which the second and third message may come.
        let decayed = score_parameter_decay(REJECT_MEMORY).powi(50);
        assert!(score(3.0 * decayed) < GRAYLIST_THRESHOLD);
    }

    #[test]
    fn nobody_pays_for_others_at_the_same_address() {
        assert!(params([].iter()).ip_colocation_factor_weight.abs() < f64::EPSILON);
    }
}
