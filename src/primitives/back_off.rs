//! Waits that double with each failure, for everything that tries again.

use std::time::Duration;

/// Returns the wait after a number of doublings, at most `longest`.
pub(crate) fn doubled(first: Duration, doublings: u32, longest: Duration) -> Duration {
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_up_to_its_bound_after_any_number_of_failures() {
        let wait = |doublings| doubled(Duration::from_secs(5), doublings, Duration::from_mins(1));
        assert_eq!([0, 1, 2, 3].map(|it| wait(it).as_secs()), [5, 10, 20, 40]);
        for doublings in [4, 31, 32, u32::MAX] {
            assert_eq!(wait(doublings), Duration::from_mins(1), "{doublings}");
        }
    }
}
