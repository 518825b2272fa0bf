//! `replies` sends the chain thread's replies and events.

use std::time::Duration;

use tokio::{
    runtime,
    sync::{mpsc, oneshot},
    time,
};

use super::{
    api::{ChainAudit, ChainCommand, ChainEvent},
    errors::ChainFault,
};

/// Interval at which a thread that waits for room in the event channel checks for shutdown.
const EVENT_PATIENCE: Duration = Duration::from_millis(200);

/// Emits an event. Blocks while the channel is full, until the receiver is dropped or the thread
/// is shutting down.
pub(super) fn tell(
    event: ChainEvent,
    events: &mpsc::Sender<ChainEvent>,
    queue: &mpsc::Receiver<ChainCommand>,
    runtime: &runtime::Runtime,
) {
    let mut event = event;
    loop {
        event = match events.try_send(event) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
            Err(mpsc::error::TrySendError::Full(event)) => event,
        };
        if queue.is_closed() {
            return;
        }
        let wait = async { time::timeout(EVENT_PATIENCE, events.reserve()).await.is_ok() };
        runtime.block_on(wait);
    }
}

/// Sends a reply; does nothing if the caller no longer waits.
pub(super) fn send<T>(reply: oneshot::Sender<T>, answer: T) {
    drop(reply.send(answer));
}

/// Sends the reply of an audit. A cancelled audit is not a fault and does not end the thread.
pub(super) fn finish_audit(
    reply: oneshot::Sender<Result<ChainAudit, ChainFault>>,
    result: Result<ChainAudit, ChainFault>,
) -> Result<(), ChainFault> {
    match result {
        Err(ChainFault::Cancelled) => {
            send(reply, Err(ChainFault::Cancelled));
            Ok(())
        }
        Err(fault) => {
            send(reply, Err(fault.clone()));
            Err(fault)
        }
        Ok(audit) => {
            send(reply, Ok(audit));
            Ok(())
        }
    }
}
