//! Counts as people read them: the noun agrees with the number.

/// The first number that is shown with separators: `10,000 blocks`, but `9999 blocks`.
const SEPARATED_FROM: u64 = 10_000;

/// Formats a count with its noun: `1 block`, `2 blocks`, `10,000 blocks`.
#[must_use]
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", separated(count), if count == 1 { one } else { many })
}

/// Formats a number of blocks, the most common count.
#[must_use]
pub(crate) fn count_of_blocks(count: u64) -> String {
    counted(count, "block", "blocks")
}

/// Formats a number with a comma between thousands, from [`SEPARATED_FROM`] on.
fn separated(number: u64) -> String {
    let digits = number.to_string();
    if number < SEPARATED_FROM {
        return digits;
    }
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().saturating_sub(at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_thousands_are_separated() {
        assert_eq!(count_of_blocks(0), "0 blocks");
        assert_eq!(count_of_blocks(1), "1 block");
        assert_eq!(counted(2, "other", "others"), "2 others");
        assert_eq!(separated(9_999), "9999");
        assert_eq!(separated(10_000), "10,000");
        assert_eq!(separated(249_716), "249,716");
        assert_eq!(separated(1_234_567), "1,234,567");
    }
}
