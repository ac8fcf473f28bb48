//! The cross-check: the same packets through several backends (or several versions of a program),
//! in step, and everything that they leave behind compared.

use std::collections::BTreeMap;

use iom_core::abi::{BackendError, Event, Outcome, ShownSocketBuffer, XdpAction};
use iom_core::map::{MapContents, MapEntry};
use iom_sim::capture::{CaptureError, MergedReader, PacketSource};
use iom_sim::replay::{Ingress, Ingressed, PacketBatch};
use rayon::prelude::*;

use crate::compare::{Aspect, PacketView, map_differences};
use crate::known::KnownDifference;
use crate::lane::{Lane, Running};
use crate::map_pairs::MapPairs;
use crate::mask::Masks;

/// Packets that go through the backends between two comparisons.
const BATCH_PACKETS: usize = 512;

/// Outcome of a cross-check.
#[derive(Debug, Default)]
pub struct Report {
    /// Packets compared on all backends.
    pub packets: u64,
    /// Packets that a backend cannot take: backend, reason, count.
    pub not_comparable: BTreeMap<(String, String), u64>,
    /// Known differences that apply, with the packets on which they showed.
    pub known: BTreeMap<KnownDifference, u64>,
    /// What was hidden by masks.
    pub masked: Masks,
    /// Packets and map entries that differ.
    pub differences: u64,
    /// Packets that differ, by what the two sides returned.
    pub changed: BTreeMap<(XdpAction, XdpAction), u64>,
    /// The first packet that differs in each aspect.
    pub first_packets: BTreeMap<Aspect, u64>,
    /// Entries that differ of each map, by its index in the module of the first backend.
    pub maps: BTreeMap<usize, u64>,
    /// The first packets that differ.
    pub packet_differences: Vec<PacketDifference>,
    /// The first map entries that differ.
    pub entry_differences: Vec<EntryDifference>,
    /// Frames that were padded for all backends.
    pub padded: u64,
    /// The capture's fault, if it ended in one; all packets before it were compared.
    pub capture_fault: Option<CaptureError>,
}

/// A packet on which two backends differ.
#[derive(Debug)]
pub struct PacketDifference {
    /// The packet.
    pub packet: Ingressed,
    /// Its bytes before the run.
    pub received: Vec<u8>,
    /// In what they differ.
    pub aspects: Vec<Aspect>,
    /// The first byte that differs, if the bytes do.
    pub first_byte: usize,
    /// The backend that the others are compared with.
    pub left: PacketResult,
    /// The backend that differs.
    pub right: PacketResult,
}

impl PacketDifference {
    /// What the two sides returned.
    pub fn actions(&self) -> (XdpAction, XdpAction) {
        (self.left.outcome.action(), self.right.outcome.action())
    }
}

/// What one backend made of a packet, kept for the report.
#[derive(Debug)]
pub struct PacketResult {
    /// Name of the backend.
    pub backend: String,
    /// What the program did.
    pub outcome: Outcome,
    /// The packet afterwards.
    pub bytes: Vec<u8>,
    /// The metadata afterwards.
    pub metadata: Vec<u8>,
    /// The socket buffer afterwards.
    pub socket_buffer: ShownSocketBuffer,
    /// Events.
    pub events: Vec<Event>,
}

impl PacketResult {
    fn keep(backend: &str, view: &PacketView<'_>) -> Self {
        Self {
            backend: backend.to_owned(),
            outcome: view.outcome.clone(),
            bytes: view.frame.packet(),
            metadata: view.frame.metadata().to_vec(),
            socket_buffer: view.frame.socket_buffer.shown(),
            events: view.events.to_vec(),
        }
    }
}

/// A map entry that differs between two backends at the end.
#[derive(Debug)]
pub struct EntryDifference {
    /// Map, by index in the module of the left backend.
    pub map: usize,
    /// The backend that the others are compared with, and its entry.
    pub left: (String, Option<MapEntry>),
    /// The backend that differs, and its entry.
    pub right: (String, Option<MapEntry>),
}

/// Sees every packet's result on every backend.
pub type Observer<'o> = dyn FnMut(&str, &Ingressed, &PacketView<'_>) -> anyhow::Result<()> + 'o;

/// The shortest and the longest frame that all backends take.
pub fn frame_bytes(lanes: &[Lane]) -> (usize, usize) {
    let limits = lanes.iter().map(|lane| lane.capabilities.frame_bytes);
    limits.fold((0, usize::MAX), |(min, max), (lane_min, lane_max)| {
        (min.max(lane_min), max.min(lane_max))
    })
}

/// Which differences are kept for the report; all are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The first packets, and the first map entries.
    First(usize),
    /// For each pair of actions the first packets, and for each map the first entries.
    OfEachKind(usize),
}

/// What to check.
pub struct CrossCheck<'a> {
    /// The backends; the others are compared with the first.
    pub lanes: &'a [Lane],
    /// RX queues.
    pub queues: u32,
    /// Which differences to keep.
    pub keep: Keep,
    /// What may differ; their counts go on in the report.
    pub masks: &'a Masks,
}

impl CrossCheck<'_> {
    /// Runs all packets of `source` and compares.
    ///
    /// # Errors
    /// A backend failed, or the observer did. A faulty capture is no error: it stands in the report.
    pub fn run<R: PacketSource>(
        &self,
        source: &mut MergedReader<R>,
        ingress: &mut Ingress,
        observer: &mut Observer<'_>,
    ) -> anyhow::Result<Report> {
        let known = self
            .lanes
            .iter()
            .flat_map(|lane| KnownDifference::of_module(&lane.module));
        let mut report = Report {
            masked: self.masks.clone(),
            known: known.map(|known| (known, 0)).collect(),
            ..Report::default()
        };
        let pairs: Vec<MapPairs> = self
            .lanes
            .iter()
            .map(|lane| MapPairs::new(&self.lanes[0].module, &lane.module))
            .collect();
        let mut running = self
            .lanes
            .iter()
            .map(|lane| lane.start(self.queues))
            .collect::<Result<Vec<_>, _>>()?;
        let mut batch = PacketBatch::default();
        loop {
            let filled = ingress.fill(source, &mut batch, BATCH_PACKETS);
            report.capture_fault = filled.err();
            running
                .par_iter_mut()
                .try_for_each(|lane| lane.run(&batch))?;
            self.compare_batch(&batch, (&running, &pairs), &mut report, observer)?;
            if batch.is_empty() || report.capture_fault.is_some() {
                break;
            }
        }
        report.padded = ingress.padded();
        drop(running);
        self.compare_maps(&pairs, &mut report)?;
        Ok(report)
    }

    fn compare_batch(
        &self,
        batch: &PacketBatch,
        (running, pairs): (&[Running<'_>], &[MapPairs]),
        report: &mut Report,
        observer: &mut Observer<'_>,
    ) -> anyhow::Result<()> {
        for packet in batch.set_aside() {
            let (lane, reason) = self.who_cannot_take(packet.len_bytes());
            *report.not_comparable.entry((lane, reason)).or_default() += 1;
        }
        let mut views: Vec<_> = running.iter().map(Running::views).collect();
        for packet in batch.packets() {
            let views: Vec<PacketView<'_>> = views
                .iter_mut()
                .map(|views| views.next().expect("one result for each packet"))
                .collect();
            for (lane, view) in self.lanes.iter().zip(&views) {
                observer(&lane.name, packet, view)?;
            }
            self.compare_packet((packet, batch.bytes(packet)), &views, pairs, report);
        }
        Ok(())
    }

    fn who_cannot_take(&self, len: usize) -> (String, String) {
        let takes = |lane: &&Lane| {
            (lane.capabilities.frame_bytes.0..=lane.capabilities.frame_bytes.1).contains(&len)
        };
        let lane = self
            .lanes
            .iter()
            .find(|lane| !takes(lane))
            .expect("some backend set the limit");
        let (min, max) = lane.capabilities.frame_bytes;
        let reason = if len < min {
            format!("frames shorter than {min} bytes")
        } else {
            format!("frames longer than {max} bytes")
        };
        (lane.name.clone(), reason)
    }

    fn compare_packet(
        &self,
        (packet, received): (&Ingressed, &[u8]),
        views: &[PacketView<'_>],
        pairs: &[MapPairs],
        report: &mut Report,
    ) {
        let refused = self
            .lanes
            .iter()
            .zip(views)
            .find_map(|(lane, view)| Some((lane, view.outcome.refused.clone()?)));
        if let Some((lane, reason)) = refused {
            *report
                .not_comparable
                .entry((lane.name.clone(), reason))
                .or_default() += 1;
            return;
        }
        report.packets += 1;
        let left = &views[0];
        for ((lane, right), pairs) in self.lanes.iter().zip(views).zip(pairs).skip(1) {
            let renumbered = pairs.renumber(right);
            let comparable = match &renumbered {
                Some((outcome, events)) => PacketView {
                    outcome,
                    events,
                    ..*right
                },
                None => *right,
            };
            let mut aspects = left.differences(&comparable);
            if aspects.is_empty() {
                continue;
            }
            if let Some(known) = KnownDifference::of_packet(&aspects, left, &comparable) {
                *report.known.entry(known).or_default() += 1;
                continue;
            }
            report.masked.hide_packet(left, &comparable, &mut aspects);
            if aspects.is_empty() {
                continue;
            }
            report.differences += 1;
            let actions = (left.outcome.action(), right.outcome.action());
            *report.changed.entry(actions).or_default() += 1;
            for aspect in &aspects {
                report.first_packets.entry(*aspect).or_insert(packet.id);
            }
            if self.keeps_packet(report, actions) {
                let left = PacketResult::keep(&self.lanes[0].name, left);
                let right = PacketResult::keep(&lane.name, right);
                report.packet_differences.push(PacketDifference {
                    packet: *packet,
                    received: received.to_vec(),
                    aspects,
                    first_byte: report.masked.first_difference(&left.bytes, &right.bytes),
                    left,
                    right,
                });
            }
        }
    }

    fn keeps_packet(&self, report: &Report, actions: (XdpAction, XdpAction)) -> bool {
        let kept = report.packet_differences.iter();
        match self.keep {
            Keep::First(count) => kept.count() < count,
            Keep::OfEachKind(count) => {
                kept.filter(|kept| kept.actions() == actions).count() < count
            }
        }
    }

    fn keeps_entry(&self, report: &Report, map: usize) -> bool {
        let kept = report.entry_differences.iter();
        match self.keep {
            Keep::First(count) => kept.count() < count,
            Keep::OfEachKind(count) => kept.filter(|kept| kept.map == map).count() < count,
        }
    }

    fn compare_maps(&self, pairs: &[MapPairs], report: &mut Report) -> Result<(), BackendError> {
        let dumps: Vec<Vec<MapContents>> = self
            .lanes
            .iter()
            .map(Lane::maps)
            .collect::<Result<_, _>>()?;
        let first = &self.lanes[0];
        for ((lane, dump), pairs) in self.lanes.iter().zip(&dumps).zip(pairs).skip(1) {
            for &(map, right_map) in &pairs.compared {
                let name = &first.module.maps[map].name;
                for entry in map_differences(&dumps[0][map], &dump[right_map]) {
                    if report.masked.hides_entry(name, &entry) {
                        continue;
                    }
                    report.differences += 1;
                    *report.maps.entry(map).or_default() += 1;
                    if self.keeps_entry(report, map) {
                        report.entry_differences.push(EntryDifference {
                            map,
                            left: (first.name.clone(), entry.left.cloned()),
                            right: (lane.name.clone(), entry.right.cloned()),
                        });
                    }
                }
            }
        }
        Ok(())
    }
}
