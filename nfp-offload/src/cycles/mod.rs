//! The cycle model, a layer of its own above translation and machine: what a packet costs in cycles
//! of a micro-engine and in waiting for memory, and how many packets a card could take. It is a
//! model from published figures, not a measurement of a card.

mod path;
mod predict;
mod threads;

pub(crate) use path::command_wait;
pub use path::{InsnCost, ProgramCost, program_cost};
pub use predict::{Band, Bound, PacketCost, Prediction, predict};

/// What an ME context waits for while others run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// A read of the packet.
    PacketRead,
    /// A write to the packet.
    PacketWrite,
    /// A read of a map value.
    MapRead,
    /// An atomic addition from transfer registers; small additions are not waited for.
    MapAdd,
    /// The firmware looks up a key.
    Lookup,
    /// The firmware updates an entry.
    Update,
    /// The firmware deletes an entry.
    Delete,
    /// The firmware sends an event.
    Event,
}

/// Cycles that a taken branch loses: unconditional, and one that tests something; less those that
/// its defer slots use.
pub(crate) const BUBBLES_ALWAYS: u8 = 2;
pub(crate) const BUBBLES_TESTED: u8 = 3;

/// A number of cycles that is not known exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cycles {
    /// The fewest.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// CTM, where the packet is: 50 to 100 cycles (public notes on the NFP-4000's memories).
const CTM: Cycles = Cycles {
    min: 50.0,
    max: 100.0,
};
/// EMEM, where maps are: 150 to 250 cycles (the same notes).
const EMEM: Cycles = Cycles {
    min: 150.0,
    max: 250.0,
};

impl Wait {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::PacketRead,
        Self::PacketWrite,
        Self::MapRead,
        Self::MapAdd,
        Self::Lookup,
        Self::Update,
        Self::Delete,
        Self::Event,
    ];

    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PacketRead => "packet read",
            Self::PacketWrite => "packet write",
            Self::MapRead => "map read",
            Self::MapAdd => "map addition",
            Self::Lookup => "map lookup",
            Self::Update => "map update",
            Self::Delete => "map delete",
            Self::Event => "event",
        }
    }

    /// How long it takes. The routines of the firmware are not published in words: assumption, a
    /// lookup reads a bucket and an entry, a change writes them, too, an event is one write.
    pub fn latency(self) -> Cycles {
        let (memory, accesses) = match self {
            Self::PacketRead | Self::PacketWrite => (CTM, 1.0),
            Self::MapRead | Self::MapAdd | Self::Event => (EMEM, 1.0),
            Self::Lookup => (EMEM, 2.0),
            Self::Update | Self::Delete => (EMEM, 4.0),
        };
        Cycles {
            min: accesses * memory.min,
            max: accesses * memory.max,
        }
    }

    /// Instructions of the firmware's routine: assumption, it hashes and compares a key of a few
    /// words.
    pub const fn routine_cycles(self) -> u64 {
        match self {
            Self::PacketRead | Self::PacketWrite | Self::MapRead | Self::MapAdd => 0,
            Self::Lookup | Self::Update | Self::Delete | Self::Event => 50,
        }
    }

    /// Helper number to what is waited for.
    const fn of_helper(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Lookup),
            2 => Some(Self::Update),
            3 => Some(Self::Delete),
            25 => Some(Self::Event),
            _ => None,
        }
    }
}

/// How often something was waited for, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits([u64; Wait::ALL.len()]);

impl Waits {
    /// One more.
    #[inline]
    pub const fn count(&mut self, wait: Wait) {
        self.0[wait as usize] += 1;
    }

    /// How often.
    pub const fn of(&self, wait: Wait) -> u64 {
        self.0[wait as usize]
    }

    /// How often in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl std::ops::AddAssign for Waits {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }
}

/// What a run has cost, or a piece of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Instructions, defer slots and NOPs included.
    pub instructions: u64,
    /// Cycles: instructions and the bubbles of taken branches, without waiting.
    pub cycles: u64,
    /// Waiting.
    pub waits: Waits,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.instructions += other.instructions;
        self.cycles += other.cycles;
        self.waits += other.waits;
    }
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Cost {
    /// Cycles until it is done if nobody else runs and memory is slow.
    pub fn alone(&self) -> f64 {
        let waits = Wait::ALL.iter();
        let waiting: f64 = waits
            .map(|wait| {
                let each = wait.latency().max + wait.routine_cycles() as f64;
                self.waits.of(*wait) as f64 * each
            })
            .sum();
        self.cycles as f64 + waiting
    }
}
