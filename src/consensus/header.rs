//! Checks of a header, which need its ancestors and a clock, but no body.

use super::{CheckedHeader, HeaderError, HeaderWindow, Network, difficulty, min_time};
use crate::primitives::{BlockHash, Header, UnixMillis};

/// Checks that `header` follows the last ancestor of the window, at the clock's time `now`.
///
/// The clock is checked last, so [`HeaderError::TooFarAhead`] means that every other check passed,
/// including the work.
pub fn check_header(
    header: &Header,
    network: &Network,
    window: &HeaderWindow,
    now: UnixMillis,
) -> Result<CheckedHeader, HeaderError> {
    check_hashed_header(header, header.hash(), network, window, now)
}

/// Does the same as [`check_header`] for a caller that has already computed the hash.
pub(crate) fn check_hashed_header(
    header: &Header,
    hash: BlockHash,
    network: &Network,
    window: &HeaderWindow,
    now: UnixMillis,
) -> Result<CheckedHeader, HeaderError> {
    debug_assert_eq!(hash, header.hash());
    if header.previous != window.parent() {
        return Err(HeaderError::WrongParent { expected: window.parent(), found: header.previous });
    }
    if window.parent_height().checked_add(1) != Some(header.height) {
        return Err(HeaderError::WrongHeight {
            parent: window.parent_height(),
            found: header.height,
        });
    }
    let earliest = min_time(window);
    if header.time < earliest {
        return Err(HeaderError::TimeTooOld { time: header.time, earliest });
    }
    let target = difficulty::next_target(&network.params, network.floor(), window, header.time);
    let expected = target.to_compact();
    if header.bits != expected {
        return Err(HeaderError::WrongBits { expected, found: header.bits });
    }
    if !target.is_met_by(&hash) {
        return Err(HeaderError::NotEnoughWork { hash, target });
    }
    let due = header.time.saturating_sub(network.params.future_limit_ms());
    if due > now {
        return Err(HeaderError::TooFarAhead { time: header.time, now, due });
    }
    Ok(CheckedHeader::new(*header, hash, target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::Target;
    use crate::consensus::testing::{checked, hash, mine, network, next_block};

    const SPACING: u64 = 10_000;

    fn setup() -> (Network, HeaderWindow, Header) {
        let network = network(SPACING);
        let window = HeaderWindow::genesis(&network);
        let header = next_block(&network, &window, vec![]).header;
        (network, window, header)
    }

    fn remined(header: Header) -> Header {
        let mut block = crate::primitives::Block { header, transactions: vec![] };
        mine(&mut block);
        block.header
    }

    fn unworked(header: Header) -> Header {
        let mut tries = (0..100).map(|nonce| Header { nonce, ..header });
        tries.find(|header| header.hash().0[0] != 0).expect("all but one in 256 are")
    }

    #[test]
    fn the_next_header_is_accepted_with_its_hash_and_work() {
        let (network, window, header) = setup();
        let checked =
            check_header(&header, &network, &window, header.time).expect("the next header");
        assert_eq!((checked.header(), checked.hash()), (&header, header.hash()));
        assert_eq!(checked.work(), Target::from_compact(header.bits).expect("a target").work());
        assert_eq!(CheckedHeader::from_store(header), Ok(checked));
    }

    #[test]
    fn a_header_that_does_not_follow_is_refused_by_cause() {
        let (network, window, header) = setup();
        let verdict = |header: Header| {
            check_header(&header, &network, &window, header.time).expect_err("invalid")
        };

        let found = verdict(Header { previous: hash(1), ..header });
        assert_eq!(found, HeaderError::WrongParent { expected: network.id, found: hash(1) });
        let found = verdict(Header { height: 2, ..header });
        assert_eq!(found, HeaderError::WrongHeight { parent: 0, found: 2 });
        let time = network.genesis.header.time;
        let found = verdict(Header { time, ..header });
        assert_eq!(found, HeaderError::TimeTooOld { time, earliest: time + 1 });
        let found = verdict(Header { bits: header.bits - 1, ..header });
        assert_eq!(found, HeaderError::WrongBits { expected: header.bits, found: header.bits - 1 });
        let lazy = unworked(header);
        assert!(
            matches!(verdict(lazy), HeaderError::NotEnoughWork { hash, .. } if hash == lazy.hash())
        );
        for error in [verdict(lazy), found] {
            assert_eq!(error.blame(), crate::consensus::Blame::Peer);
        }
    }

    #[test]
    fn a_header_ahead_of_the_clock_is_nobodys_fault_and_is_due_later() {
        let (network, window, header) = setup();
        let limit = network.params.future_limit_ms();
        let now = header.time - limit - 1;
        let error = check_header(&header, &network, &window, now).expect_err("too early");
        assert_eq!(error, HeaderError::TooFarAhead { time: header.time, now, due: now + 1 });
        assert_eq!(error.blame(), crate::consensus::Blame::Nobody);
        assert!(check_header(&header, &network, &window, now + 1).is_ok());
    }

    #[test]
    fn work_is_judged_before_the_clock() {
        let (network, window, header) = setup();
        let lazy = unworked(header);
        assert!(matches!(
            check_header(&lazy, &network, &window, 0),
            Err(HeaderError::NotEnoughWork { .. })
        ));
    }

    #[test]
    fn the_last_height_has_no_child() {
        let (network, _, header) = setup();
        let times = (0..61).map(|i| (i, network.floor().to_compact()));
        let window = HeaderWindow::new(hash(5), u32::MAX, times).expect("a window");
        let child = remined(Header { previous: hash(5), height: 0, ..header });
        let error =
            check_header(&child, &network, &window, header.time).expect_err("no height is left");
        assert_eq!(error, HeaderError::WrongHeight { parent: u32::MAX, found: 0 });
    }

    #[test]
    fn a_pushed_window_is_the_window_of_all_headers() {
        let network = network(SPACING);
        let (mut window, mut headers) =
            (HeaderWindow::genesis(&network), vec![network.genesis.header]);
        for _ in 0..70 {
            let block = next_block(&network, &window, vec![]);
            window.push(&checked(&network, &window, &block));
            headers.push(block.header);
            assert_eq!(HeaderWindow::from_headers(&headers), Ok(window.clone()));
        }
        let last: Vec<_> = headers.iter().rev().take(61).rev().copied().collect();
        assert_eq!(HeaderWindow::from_headers(&last), Ok(window));
        assert!(HeaderWindow::from_headers(&last[1..]).is_err(), "60 ancestors are one too few");
    }
}
