//! How large the next batch may be.

use std::time::Duration;

/// A size that follows the time its batches take: it grows at most twofold, and shrinks at once to what would have fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    now: u32,
    least: u32,
    most: u32,
    target: Duration,
}

impl Size {
    pub fn new(start: u32, least: u32, most: u32, target: Duration) -> Self {
        Self { now: start.clamp(least, most), least, most, target }
    }

    /// A size that never changes, save under [`Size::cut`], because somebody has said it.
    pub fn fixed(size: u32) -> Self {
        Self { now: size, least: 1, most: size, target: Duration::MAX }
    }

    pub const fn get(self) -> u32 {
        self.now
    }

    /// A batch took `took`. One that was not `full` says nothing about how long a full one takes, unless it was too long.
    pub fn took(&mut self, took: Duration, full: bool) {
        let fit = self.target.as_secs_f64() / took.as_secs_f64().max(1e-6);
        let factor = match fit {
            // What is over the target waits in somebody's way: all of the excess goes, and a little more.
            fit if fit < 1.0 => fit * 0.9,
            fit if full => fit.min(2.0),
            _ => 1.0,
        };
        self.now = self.bounded(f64::from(self.now) * factor);
    }

    /// Something went wrong that a smaller batch may avoid. Says whether there is a smaller one.
    pub fn cut(&mut self) -> bool {
        let before = self.now;
        self.now = (self.now / 4).max(self.least);
        self.now < before
    }

    /// No more than this is of use.
    pub fn at_most(&mut self, size: u32) {
        self.now = self.now.min(size.max(self.least));
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to two u32 first")]
    fn bounded(self, size: f64) -> u32 {
        size.clamp(f64::from(self.least), f64::from(self.most)) as u32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(took_ms: &[u64]) -> u32 {
        let mut size = Size::new(500, 10, 50_000, Duration::from_millis(250));
        for ms in took_ms {
            size.took(Duration::from_millis(*ms), true);
        }
        size.get()
    }

    #[test]
    fn it_grows_twofold_at_most_and_shrinks_to_what_fits() {
        assert_eq!(after(&[]), 500);
        assert_eq!(after(&[1]), 1_000);
        assert_eq!(after(&[1, 1, 1, 1, 1, 1, 1, 1, 1]), 50_000);
        assert_eq!(after(&[250]), 500);
        assert_eq!(after(&[2_500]), 45);
        assert_eq!(after(&[3_600_000]), 10);
    }

    #[test]
    fn a_batch_that_was_not_full_does_not_make_it_grow() {
        let mut size = Size::new(500, 10, 50_000, Duration::from_millis(250));
        size.took(Duration::from_millis(1), false);
        assert_eq!(size.get(), 500);
    }

    #[test]
    fn a_fixed_size_yields_only_to_trouble() {
        let mut size = Size::fixed(100);
        size.took(Duration::from_secs(3_600), true);
        assert_eq!(size.get(), 100);
        assert!(size.cut());
        assert_eq!(size.get(), 25);
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds_and_settles_at_the_target(per_row_us in 1u64..100_000, start in 1u32..1_000_000) {
            let target = Duration::from_millis(250);
            let mut size = Size::new(start, 10, 50_000, target);
            for _ in 0..40 {
                size.took(Duration::from_micros(per_row_us * u64::from(size.get())), true);
                prop_assert!((10..=50_000).contains(&size.get()));
            }
            let took = Duration::from_micros(per_row_us * u64::from(size.get()));
            prop_assert!(took <= target * 5 / 4 || size.get() == 10, "{took:?} for {}", size.get());
            prop_assert!(took >= target / 2 || size.get() == 50_000 || per_row_us * 20 > 250_000, "{took:?}");
        }
    }
}
