//! What a program can learn from outside: time and random numbers, the same on every backend.

/// Constants of a run from which time and random numbers follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Seed of `get_prandom_u32`.
    pub seed: u64,
    /// `ktime_get_ns` of the first packet.
    pub start_ns: u64,
}

impl Default for Environment {
    /// Seed 0; the first packet comes 1,000 s after boot, so that a program's "zero means never"
    /// does not meet a real time of zero.
    fn default() -> Self {
        Self {
            seed: 0,
            start_ns: 1_000_000_000_000,
        }
    }
}

/// Nanoseconds in one tick of `jiffies64`: 250 ticks a second, Debian's rate.
const JIFFY_NS: u64 = 4_000_000;

impl Environment {
    /// `jiffies64` at a time of `ktime_get_ns`.
    pub const fn jiffies(ktime_ns: u64) -> u64 {
        ktime_ns / JIFFY_NS
    }

    /// The random numbers of one packet.
    pub const fn random(&self, packet_id: u64) -> PacketRandom {
        PacketRandom {
            state: mix(self.seed ^ mix(packet_id)),
        }
    }
}

/// `get_prandom_u32` within one packet: splitmix64, whose state depends on seed and packet alone.
/// The kernel backend starts its program from [`PacketRandom::state`] and computes the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketRandom {
    /// State before the next number.
    pub state: u64,
}

impl PacketRandom {
    /// Increment of the state.
    pub const INCREMENT: u64 = 0x9e37_79b9_7f4a_7c15;
    /// First multiplier of the mixer.
    pub const MULTIPLIER_1: u64 = 0xbf58_476d_1ce4_e5b9;
    /// Second multiplier of the mixer.
    pub const MULTIPLIER_2: u64 = 0x94d0_49bb_1331_11eb;

    /// The next number: the low half of the mixed state.
    pub const fn next_u32(&mut self) -> u32 {
        self.state = self.state.wrapping_add(Self::INCREMENT);
        mix(self.state) as u32
    }
}

/// The output function of splitmix64.
const fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(PacketRandom::MULTIPLIER_1);
    let state = (state ^ (state >> 27)).wrapping_mul(PacketRandom::MULTIPLIER_2);
    state ^ (state >> 31)
}

/// Turns packet times, which may jump back, into `ktime`, which does not.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "units stand last in every name")]
pub struct PacketClock {
    start_ns: u64,
    first_ns: Option<u64>,
    latest_ns: u64,
}

impl PacketClock {
    /// A clock that has seen no packet.
    pub const fn new(environment: &Environment) -> Self {
        Self {
            start_ns: environment.start_ns,
            first_ns: None,
            latest_ns: 0,
        }
    }

    /// `ktime` of a packet with this capture time: the latest time so far less the first, plus
    /// the environment's start.
    pub fn ktime_ns(&mut self, packet_ns: u64) -> u64 {
        let first = *self.first_ns.get_or_insert(packet_ns);
        self.latest_ns = self.latest_ns.max(packet_ns.saturating_sub(first));
        self.start_ns.saturating_add(self.latest_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back() {
        let mut clock = PacketClock::new(&Environment {
            seed: 0,
            start_ns: 100,
        });
        let times = [50, 60, 40, 70].map(|time| clock.ktime_ns(time));
        assert_eq!(times, [100, 110, 110, 120]);
    }

    #[test]
    fn random_numbers_depend_on_seed_packet_and_call() {
        let numbers = |seed, packet| {
            let mut random = Environment { seed, start_ns: 0 }.random(packet);
            [random.next_u32(), random.next_u32()]
        };
        assert_eq!(numbers(1, 2), numbers(1, 2));
        assert_ne!(numbers(1, 2), numbers(2, 1));
        assert_ne!(numbers(1, 2)[0], numbers(1, 2)[1]);
    }
}
