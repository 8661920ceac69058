//! Random numbers that are the same everywhere (SplitMix64).

pub(crate) struct Random(u64);

impl Random {
    /// A stream of its own for each pair.
    pub(crate) fn of(one: u64, other: u64) -> Self {
        Self(one.wrapping_mul(0xD134_2543_DE82_EF95) ^ other.wrapping_mul(0x2545_F491_4F6C_DD1D))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`, each with equal chance.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        // Multiplying takes the upper bits and costs no division.
        let wide = u128::from(self.next()) * u128::from(n);
        u64::try_from(wide >> 64).expect("less than n")
    }
}
