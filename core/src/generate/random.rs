//! Random numbers: splitmix64, the same everywhere.

/// A generator of random numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// A number from `start` to `end` inclusive.
    pub fn between(&mut self, start: i64, end: i64) -> i64 {
        start + self.below((end - start + 1) as usize) as i64
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent as usize
    }

    /// One of some, which are not none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// A number as programs have them: small, a border, or any.
    pub fn immediate(&mut self) -> i32 {
        const BORDERS: [i32; 16] = [
            0,
            1,
            -1,
            2,
            7,
            8,
            16,
            31,
            32,
            63,
            64,
            255,
            0xffff,
            i32::MAX,
            i32::MIN,
            -4096,
        ];
        match self.below(4) {
            0 => self.number() as i32,
            1 => *self.pick(&BORDERS),
            _ => self.between(-16, 64) as i32,
        }
    }
}
