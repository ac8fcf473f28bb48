//! The smallest packets on which backends still differ in the same aspect: the search of
//! `minimize.rs` with a fresh load of the backends for each trial.

use iom_core::abi::Environment;

use crate::compare::Aspect;
use crate::cross_check::{CrossCheck, Keep, Report, frame_bytes};
use crate::kept_packets::{self, KeptPacket};
use crate::lane::{Lane, Setup};
use crate::mask::Masks;
use crate::minimize::{Limits, Minimized, Verdict, minimize};
use crate::progress::Progress;
use crate::replay_args::ReplayArgs;

/// What is to stay while packets are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Some packet differs in this.
    Packet(Aspect),
    /// This map differs at the end, by its index in the module.
    Map(usize),
}

impl Difference {
    /// The first difference of a report.
    pub fn first_of(report: &Report) -> Option<Self> {
        let aspects = report.first_packets.iter();
        let first = aspects.min_by_key(|(_, packet)| **packet);
        first.map(|(aspect, _)| Self::Packet(*aspect)).or(report
            .maps
            .keys()
            .next()
            .copied()
            .map(Self::Map))
    }

    /// The packet behind which none is needed to see it.
    pub fn last_packet(self, report: &Report) -> u64 {
        match self {
            Self::Packet(aspect) => report
                .first_packets
                .get(&aspect)
                .copied()
                .unwrap_or(u64::MAX),
            Self::Map(_) => u64::MAX,
        }
    }

    /// The same, if a check of these packets shows it.
    pub fn shows(self, report: &Report, packets: &[KeptPacket]) -> Verdict {
        match self {
            Self::Packet(aspect) => report.first_packets.get(&aspect).copied(),
            Self::Map(map) => {
                let last = packets.iter().map(|packet| packet.id).max();
                last.filter(|_| report.maps.contains_key(&map))
            }
        }
    }
}

/// How packets are tried.
pub struct Trials<'a> {
    /// How captures are replayed.
    pub replay: &'a ReplayArgs,
    /// What the backends have in common.
    pub setup: &'a Setup,
    /// Length to which frames are padded.
    pub pad_to: usize,
    /// What may differ.
    pub masks: &'a Masks,
    /// Loads the backends, with fresh maps.
    pub load: &'a dyn Fn(&Setup) -> anyhow::Result<Vec<Lane>>,
}

/// A minimal case, and how much there was before.
#[derive(Clone, Debug)]
pub struct MinimalCase {
    /// The packets, and how they were found.
    pub minimized: Minimized,
    /// How many packets there were up to the difference.
    pub packets_before: usize,
}

impl Trials<'_> {
    /// Looks for the smallest packets that show a report's first difference; `None` if the packets
    /// up to it do not show it again.
    ///
    /// # Errors
    /// Captures that cannot be read, backends that fail.
    pub fn search(
        &self,
        report: &Report,
        difference: Difference,
        trials: u32,
    ) -> anyhow::Result<Option<MinimalCase>> {
        let last = difference.last_packet(report);
        let packets = kept_packets::read(self.replay, self.setup, last)?;
        let packets_before = packets.len();
        let (shortest, _) = frame_bytes(&(self.load)(self.setup)?);
        let limits = Limits {
            trials,
            // Below an Ethernet header there is nothing to see.
            frame_bytes_min: shortest.max(self.pad_to).max(14),
        };
        let progress = Progress::start("trials");
        let mut done = 0;
        let found = minimize(packets, limits, &mut |packets| {
            done += 1;
            progress.set(done);
            Ok(difference.shows(&self.check(packets)?, packets))
        })?;
        Ok(found.map(|minimized| MinimalCase {
            minimized,
            packets_before,
        }))
    }

    fn check(&self, packets: &[KeptPacket]) -> anyhow::Result<Report> {
        let replay = kept_packets::replay_args(self.replay, packets, "".as_ref());
        let setup = Setup {
            environment: Environment {
                start_ns: packets[0].ktime_ns,
                ..self.setup.environment
            },
            ..self.setup.clone()
        };
        let lanes = (self.load)(&setup)?;
        let check = CrossCheck {
            lanes: &lanes,
            queues: setup.queues,
            keep: Keep::First(0),
            masks: self.masks,
        };
        let mut ingress = replay.ingress(&setup, frame_bytes(&lanes), self.pad_to);
        let mut source = kept_packets::source(packets);
        check.run(&mut source, &mut ingress, &mut |_, _, _| Ok(()))
    }
}
