//! How large parts are.

use super::{LARGEST_PART, SMALLEST_PART};
use crate::store::Parts;

const MIB: u64 = 1 << 20;

/// Parts for an object of about `expected` bytes, of at least `least` bytes and in whole MiB, so that twice as much would
/// fit into `most` of them: an estimate may be wrong, and the size of parts cannot be changed under way.
pub fn choose(expected: u64, least: u64, most: u32) -> Parts {
    let most = most.max(1);
    let needed = expected.saturating_mul(2).div_ceil(u64::from(most));
    let size = needed.max(least).max(SMALLEST_PART).div_ceil(MIB).saturating_mul(MIB).min(LARGEST_PART);
    Parts { size: usize::try_from(size).unwrap_or(usize::MAX), most }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn parts_are_small_until_an_object_would_not_fit() {
        let size = |expected, least, most| choose(expected, least, most).size as u64;
        assert_eq!(size(0, 8 * MIB, 10_000), 8 * MIB);
        assert_eq!(size(39 * GIB, 8 * MIB, 10_000), 8 * MIB, "about 75 GB, counted twice");
        assert_eq!(size(40 * GIB, 8 * MIB, 10_000), 9 * MIB);
        assert_eq!(size(345 * GIB, 8 * MIB, 10_000), 71 * MIB);
        assert_eq!(size(345 * GIB, 8 * MIB, 1_000), 707 * MIB);
        assert_eq!(size(0, 1, 10_000), 5 * MIB, "the protocol's least");
        assert_eq!(size(u64::MAX, 8 * MIB, 10_000), 5 * GIB, "the protocol's most");
    }

    proptest! {
        #[test]
        fn twice_as_much_as_expected_fits(expected in 0_u64..(1 << 44), least in 1_u64..(1 << 30), most in 100_u32..=10_000) {
            let parts = choose(expected, least, most);
            let size = parts.size as u64;
            prop_assert!(size >= least.min(LARGEST_PART) && size.is_multiple_of(MIB));
            if size < LARGEST_PART {
                prop_assert!(u128::from(size) * u128::from(parts.most) >= u128::from(expected) * 2);
            }
        }
    }
}
