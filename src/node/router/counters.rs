//! The metrics that the router counts as events reach it.

use super::reach;
use crate::{chain::DropReason, peers::Offence, telemetry::metrics::EventMetrics};

/// Creates the metrics that the router counts, each series at zero. Otherwise, the first event of a
/// kind would not show as an increase.
pub(crate) fn event_metrics() -> EventMetrics {
    let metrics = EventMetrics::default();
    reach::count_from_zero(&metrics);
    for origin in ["local", "peer"] {
        drop(metrics.trades_accepted.get_or_create(&[("origin", origin)]));
    }
    for reason in DropReason::ALL.map(DropReason::code).into_iter().chain(["void"]) {
        drop(metrics.trades_dropped.get_or_create(&[("reason", reason)]));
    }
    for offence in Offence::ALL.map(Offence::code) {
        drop(metrics.peer_penalties.get_or_create(&[("offence", offence)]));
    }
    metrics
}
