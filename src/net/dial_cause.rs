//! The kinds of failed dials, read from the errors of the transports.

use std::{error::Error, io};

use libp2p::{core::transport::timeout::TransportTimeoutError, dns, quic, swarm::DialError};

/// A transport's error that is its own source. libp2p nests the errors of transports in `Either`,
/// which shows only the source of the error that it holds.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Shown<E: Error + 'static>(#[source] pub(super) E);

/// The kind of a failed dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DialCause {
    /// The machine answers, but no program listens at the port.
    Refused,
    /// There was no answer in time.
    TimedOut,
    /// No machine has the address, or this machine has lost its cable.
    NoHost,
    /// This machine has no route to the address, or may not use it.
    NoRoute,
    /// The name has no address.
    NameNotFound,
    /// A peer with another key answered.
    WrongPeer,
    /// A node with this node's key answered: this node itself, or a copy of its folder.
    SameIdentity,
    /// The peer is banned, or friends hold all places.
    Denied,
    /// Another fault, such as an answer of a program that is no node.
    Other,
}

impl DialCause {
    /// Returns the kind of a failure.
    pub(super) fn of(error: &DialError) -> Self {
        match error {
            DialError::LocalPeerId { .. } => Self::SameIdentity,
            DialError::WrongPeerId { .. } => Self::WrongPeer,
            DialError::Denied { .. } => Self::Denied,
            DialError::Transport(errors) => {
                let found = errors.iter().find_map(|(_, error)| Self::of_transport(error));
                found.unwrap_or_else(|| {
                    tracing::debug!(?errors, "a dial failed for an unknown reason");
                    Self::Other
                })
            }
            _ => Self::Other,
        }
    }

    /// Returns the kind of a transport's error, found anywhere in its chain of sources.
    pub(super) fn of_transport(error: &(dyn Error + 'static)) -> Option<Self> {
        if error.is::<dns::ResolveError>() {
            return Some(Self::NameNotFound);
        }
        if let Some(TransportTimeoutError::Timeout) =
            error.downcast_ref::<TransportTimeoutError<io::Error>>()
        {
            return Some(Self::TimedOut);
        }
        if let Some(quic::Error::HandshakeTimedOut) = error.downcast_ref::<quic::Error>() {
            return Some(Self::TimedOut);
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // The source of an `io::Error` omits the error that it wraps.
            return match error.get_ref() {
                Some(inner) => Self::of_transport(inner),
                None => Self::of_kind(error.kind()),
            };
        }
        error.source().and_then(Self::of_transport)
    }

    const fn of_kind(kind: io::ErrorKind) -> Option<Self> {
        match kind {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            io::ErrorKind::TimedOut => Some(Self::TimedOut),
            io::ErrorKind::HostUnreachable => Some(Self::NoHost),
            io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::PermissionDenied => Some(Self::NoRoute),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error that shows only its source, as `Either` does.
    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Hiding<E: Error + 'static>(E);

    #[test]
    fn the_kind_is_found_under_all_wrappers() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let of = |error: io::Error| DialCause::of_transport(&error);
        assert_eq!(of(refused()), Some(DialCause::Refused));
        assert_eq!(of(io::Error::other(io::Error::other(refused()))), Some(DialCause::Refused));
        let timeout = TransportTimeoutError::<io::Error>::Timeout;
        assert_eq!(of(io::Error::other(timeout)), Some(DialCause::TimedOut));
        let wrapped = TransportTimeoutError::Other(io::Error::other(refused()));
        assert_eq!(of(io::Error::other(wrapped)), Some(DialCause::Refused));
        assert_eq!(of(io::Error::other("no node")), None);
        assert_eq!(of(io::ErrorKind::HostUnreachable.into()), Some(DialCause::NoHost));
        let nested = Hiding(Hiding(Shown(refused())));
        assert_eq!(of(io::Error::other(nested)), Some(DialCause::Refused));
    }
}
