//! Verdicts on gossip messages.

/// The decision about a gossip message. Every message gets exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The message is valid and is forwarded to other peers.
    Accept,
    /// The message is dropped. The peer that forwarded it is not at fault.
    Ignore,
    /// The message is dropped, and the peer that forwarded it is at fault.
    Reject,
}
