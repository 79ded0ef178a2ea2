//! A seeded generator whose numbers never change between versions (SplitMix64, Steele et al. 2014).

/// A stream of numbers for one thing, e.g. household block 7 of seed 42.
pub(super) struct Rng(u64);

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Rng {
    /// The stream of item `index` in `domain` under `seed`; streams do not depend on each other.
    pub(super) const fn of(seed: u64, domain: u64, index: u64) -> Self {
        Self(mix(mix(mix(seed.wrapping_add(GAMMA)) ^ domain.wrapping_mul(GAMMA)) ^ index.wrapping_add(GAMMA)))
    }

    /// The next 64 bits.
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// A number in `0..n`; 0 when `n` is 0. The bias of 2⁻³² does not matter here.
    pub(super) const fn below(&mut self, n: u32) -> u32 {
        (((self.next() >> 32) * n as u64) >> 32) as u32
    }

    /// A number in `low..=high`.
    pub(super) const fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True `per_mille` times in a thousand.
    pub(super) const fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < per_mille
    }
}

/// A seeded one-to-one map of `0..size` onto itself; `factor` must share no divisor with `size`.
pub(super) const fn permute(seed: u64, domain: u64, factor: u64, size: u64, index: u64) -> u64 {
    let offset = Rng::of(seed, domain, 0).next() % size;
    (index % size * factor + offset) % size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_splitmix64() {
        // Reference values of SplitMix64 started at 0.
        let mut rng = Rng(0);
        assert_eq!(rng.next(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(rng.next(), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn numbers_stay_in_their_bounds() {
        let mut rng = Rng::of(1, 2, 3);
        assert!((0..1000).all(|_| (5..=9).contains(&rng.between(5, 9))));
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn a_permutation_repeats_nothing() {
        let mut seen: Vec<u64> = (0..999).map(|i| permute(7, 1, 10, 999, i)).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..999).collect::<Vec<_>>());
    }
}
