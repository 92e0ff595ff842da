//! Numbers that look random and are the same for the same seed, on every machine and in every version.
//!
//! Not for secrets. There is a sequence ([`Random`]) for what is drawn in order, and a function
//! (`scatter`) for what must be known of line 10^9 without drawing the ones before it.

/// The splitmix64 sequence: small, seedable, and stable across versions of everything.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// The odd number nearest to 2^64 divided by the golden ratio, as splitmix64 steps.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number of the sequence.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number in `0..bound`; the bias of a 64-bit modulus is of no interest here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// A number in `0 < x <= 1`, in steps of 2^-53: never 0, so that it has a logarithm.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.draw() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// A draw from the standard normal distribution (Box and Muller, 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// The number of this index in the sequence of this seed, without the ones before it.
#[inline]
pub(crate) fn scatter(seed: u64, index: u64) -> u64 {
    mix(seed.wrapping_add(index.wrapping_add(1).wrapping_mul(STEP)))
}

#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_numbers_are_those_of_the_sequence() {
        let mut random = Random::new(7);
        for index in 0..1000 {
            assert_eq!(scatter(7, index), random.draw());
        }
    }

    #[test]
    fn draws_are_where_they_ought_to_be() {
        let mut random = Random::new(1);
        let draws: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let square = draws.iter().map(|draw| draw * draw).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (square - 1.0).abs() < 0.02, "mean {mean}, variance {square}");
        assert!((0..100_000).map(|_| random.unit()).all(|unit| unit > 0.0 && unit <= 1.0));
    }
}
