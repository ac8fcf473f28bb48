//! Packets a second from the cost of a packet: as many as the contexts of the micro-engines get done,
//! which issue of instructions and waiting for memory bound, and as fit on the wire.

use super::threads::{Turns, packets_per_cycle};
use super::{Cost, Cycles, Wait};
use crate::profile::Card;

/// Preamble, gap and FCS, which the captured length leaves out.
const WIRE_OVERHEAD_BYTES: f64 = 24.0;

/// The mean cost of a packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PacketCost {
    /// Instructions of the program.
    pub instructions: f64,
    /// Cycles that the micro-engine issues for it, routines of the firmware included.
    pub cycles: f64,
    /// Cycles that its context waits.
    pub waiting: Cycles,
    /// How often it does.
    pub waits: f64,
    /// Bytes of a frame, without FCS.
    pub frame_bytes: f64,
}

impl PacketCost {
    /// Of packets whose costs and bytes were added up.
    pub fn mean(total: &Cost, packets: u64, bytes: u64) -> Self {
        let each = |sum: f64| sum / packets.max(1) as f64;
        let mut mean = Self {
            instructions: each(total.instructions as f64),
            cycles: each(total.cycles as f64),
            waiting: Cycles::default(),
            waits: each(total.waits.total() as f64),
            frame_bytes: each(bytes as f64),
        };
        for wait in Wait::ALL {
            let count = each(total.waits.of(wait) as f64);
            mean.cycles += count * wait.routine_cycles() as f64;
            mean.waiting.min += count * wait.latency().min;
            mean.waiting.max += count * wait.latency().max;
        }
        mean
    }
}

/// What limits the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Instructions that the micro-engines issue.
    Issue,
    /// Memory: all contexts wait.
    Latency,
    /// The wire.
    Wire,
}

impl Bound {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Issue => "instruction issue",
            Self::Latency => "memory latency",
            Self::Wire => "the wire",
        }
    }
}

/// A rate in million packets a second, as the memory latencies are long, middling or short.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// With the longest latencies.
    pub low: f64,
    /// With those in the middle.
    pub middle: f64,
    /// With the shortest.
    pub high: f64,
}

/// What a card could do. Not in it: memories that many contexts want at once, the firmware around
/// the program, the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Packets that can be in the programs at the same time.
    pub packets_in_flight: u64,
    /// Mpps if only issue mattered.
    pub issue: f64,
    /// Mpps if no context had to wait for another to let it run.
    pub latency: Band,
    /// Mpps of the wire with frames of this length.
    pub wire: f64,
    /// Mpps in all.
    pub mpps: Band,
    /// What limits the middle of the band.
    pub bound: Bound,
}

/// Predicts the rate of packets of this cost.
pub fn predict(cost: &PacketCost, card: &Card) -> Prediction {
    let engines = f64::from(card.micro_engines);
    let contexts = f64::from(card.contexts);
    let clock = f64::from(card.clock_mhz);
    let issue = engines * clock / cost.cycles.max(1.0);
    let latency = |waiting: f64| engines * contexts * clock / (cost.cycles + waiting).max(1.0);
    let wire_bits = 8.0 * (cost.frame_bytes.max(60.0) + WIRE_OVERHEAD_BYTES);
    let wire = 1000.0 * f64::from(card.wire_gbps) / wire_bits;
    let latency = Band {
        low: latency(cost.waiting.max),
        middle: latency(f64::midpoint(cost.waiting.min, cost.waiting.max)),
        high: latency(cost.waiting.min),
    };
    // Contexts that share an engine get a little less than either bound.
    let shared = |waiting: f64| {
        let turns = Turns {
            running: cost.cycles,
            waiting,
            waits: cost.waits,
        };
        engines * clock * packets_per_cycle(turns, card.contexts)
    };
    let least = |waiting: f64| shared(waiting).min(wire);
    let between = f64::midpoint(cost.waiting.min, cost.waiting.max);
    let middle = least(between);
    Prediction {
        packets_in_flight: u64::from(card.micro_engines) * u64::from(card.contexts),
        issue,
        latency,
        wire,
        mpps: Band {
            low: least(cost.waiting.max),
            middle,
            high: least(cost.waiting.min),
        },
        bound: if middle >= wire {
            Bound::Wire
        } else if latency.middle >= issue {
            Bound::Issue
        } else {
            Bound::Latency
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: Card = Card {
        clock_mhz: 800,
        micro_engines: 50,
        contexts: 4,
        wire_gbps: 50,
    };

    fn cost(cycles: f64, waiting: f64) -> PacketCost {
        PacketCost {
            instructions: cycles,
            cycles,
            waiting: Cycles {
                min: waiting,
                max: waiting,
            },
            waits: if waiting > 0.0 { 4.0 } else { 0.0 },
            frame_bytes: 60.0,
        }
    }

    fn round(mpps: f64) -> u64 {
        mpps.round() as u64
    }

    #[test]
    fn each_bound_can_be_the_least() {
        // 64-byte frames of 50 Gbit/s: 74.4 Mpps.
        let wire = predict(&cost(100.0, 0.0), &CARD);
        assert_eq!((round(wire.wire), wire.bound), (74, Bound::Wire));
        assert_eq!(round(wire.issue), 400);
        let issue = predict(&cost(1000.0, 500.0), &CARD);
        assert_eq!((round(issue.mpps.middle), issue.bound), (40, Bound::Issue));
        let latency = predict(&cost(1000.0, 7000.0), &CARD);
        let expected = (20, Bound::Latency);
        assert_eq!((round(latency.mpps.middle), latency.bound), expected);
        assert_eq!(latency.packets_in_flight, 200);
    }

    #[test]
    fn routines_of_the_firmware_count() {
        let mut total = Cost {
            instructions: 200,
            cycles: 200,
            ..Cost::default()
        };
        total.waits.count(Wait::Lookup);
        total.waits.count(Wait::PacketRead);
        let mean = PacketCost::mean(&total, 2, 128);
        assert_eq!(round(mean.cycles), 125);
        assert_eq!(round(mean.frame_bytes), 64);
        let waiting = Cycles {
            min: 175.0,
            max: 300.0,
        };
        assert_eq!(mean.waiting, waiting);
    }
}
