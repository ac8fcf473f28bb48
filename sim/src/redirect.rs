//! Where redirected packets go: the entries of devmaps and cpumaps, broadcasts to all of a map's
//! interfaces, and the programs that entries name, which run before a packet leaves (devmap) or on
//! the other CPU (cpumap).

use std::collections::{BTreeMap, BTreeSet};

use iom_core::abi::{
    BackendError, Frame, Instance, Outcome, PortId, QueueId, Recorder, Redirect, RedirectKind,
    Worker, XdpAction,
};
use iom_core::helper::{BROADCAST, EXCLUDE_INGRESS, redirect_kind};
use iom_core::map::{Map, MapSet, MapValue};

use crate::device::{DropReason, Verdict};

/// An entry of a devmap or cpumap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// Interface index or CPU.
    target: u32,
    /// Program of the module that runs behind it, by index.
    program: Option<usize>,
}

/// The devmaps and cpumaps of a module by index, each with its entries by key. Programs cannot change
/// them.
#[derive(Clone, Debug, Default)]
pub struct RedirectMaps {
    maps: BTreeMap<u32, BTreeMap<u32, Entry>>,
}

impl RedirectMaps {
    /// What the maps of a set hold.
    pub fn of(maps: &MapSet) -> Self {
        let maps = (0..).zip(maps.iter());
        let maps = maps.filter_map(|(index, map)| Some((index, entries(map)?)));
        Self {
            maps: maps.collect(),
        }
    }

    /// The programs that entries name.
    pub fn programs(&self) -> BTreeSet<usize> {
        let entries = self.maps.values().flat_map(BTreeMap::values);
        entries.filter_map(|entry| entry.program).collect()
    }

    /// The entries that a redirect goes to; `None` if it goes through none of these maps.
    fn targets(&self, redirect: Redirect, ingress: PortId) -> Option<Vec<Entry>> {
        let entries = self.maps.get(&redirect.map?)?;
        if redirect.flags & BROADCAST == 0 {
            return Some(entries.get(&redirect.key?).copied().into_iter().collect());
        }
        let excluded = (redirect.flags & EXCLUDE_INGRESS != 0).then_some(ingress.ifindex());
        let entries = entries.values().copied();
        Some(
            entries
                .filter(|entry| Some(entry.target) != excluded)
                .collect(),
        )
    }
}

/// The entries of a devmap or cpumap.
fn entries(map: &Map) -> Option<BTreeMap<u32, Entry>> {
    let kind = redirect_kind(map.spec().map_type)?;
    if kind == RedirectKind::Xskmap {
        return None;
    }
    let word = |bytes: &[u8]| bytes.first_chunk().map(|word| u32::from_le_bytes(*word));
    let contents = map.contents().entries.into_iter();
    let entries = contents.filter_map(|entry| {
        let key = word(&entry.key)?;
        let MapValue::Plain(value) = entry.value else {
            return None;
        };
        let target = match kind {
            RedirectKind::Cpumap => key,
            _ => word(&value)?,
        };
        let program = word(value.get(4..)?).and_then(|number| number.checked_sub(1));
        let program = program.map(|number| number as usize);
        Some((key, Entry { target, program }))
    });
    Some(entries.collect())
}

/// One packet on its way out of the device; a broadcast makes several of one.
#[derive(Debug)]
pub struct Delivery {
    /// What the device does with it.
    pub verdict: Verdict,
    /// The packet where it is not as the program left it: behind a second program.
    pub frame: Option<Box<Frame>>,
}

/// Carries out what programs decided.
pub struct Deliverer<'a> {
    maps: &'a RedirectMaps,
    /// The programs behind entries, by index.
    workers: BTreeMap<usize, Box<dyn Worker + 'a>>,
    outcomes: Vec<Outcome>,
}

impl<'a> Deliverer<'a> {
    /// A device whose maps are these; `programs` are the instances of those that entries name.
    ///
    /// # Errors
    /// A backend that gives no worker.
    pub fn new(
        maps: &'a RedirectMaps,
        programs: &'a BTreeMap<usize, Box<dyn Instance>>,
    ) -> Result<Self, BackendError> {
        let mut workers = BTreeMap::new();
        for (index, instance) in programs {
            workers.insert(*index, instance.worker(QueueId(0))?);
        }
        Ok(Self {
            maps,
            workers,
            outcomes: Vec::new(),
        })
    }

    /// What becomes of a packet that came in through `port`: one delivery at least, in the order of
    /// the map's keys.
    ///
    /// # Errors
    /// The backend of a program behind an entry failed.
    pub fn deliver(
        &mut self,
        port: PortId,
        outcome: &Outcome,
        frame: &Frame,
        recorder: &mut Recorder,
    ) -> Result<Vec<Delivery>, BackendError> {
        let redirect = outcome.redirect.filter(|_| outcome.trap.is_none());
        let targets =
            redirect.and_then(|redirect| Some((redirect, self.maps.targets(redirect, port)?)));
        let Some((redirect, targets)) = targets else {
            return Ok(vec![Delivery {
                verdict: Verdict::of(port, outcome),
                frame: None,
            }]);
        };
        let mut deliveries = Vec::with_capacity(targets.len());
        for entry in targets {
            deliveries.push(self.deliver_to(redirect.kind, entry, frame, recorder)?);
        }
        if deliveries.is_empty() {
            deliveries.push(Delivery {
                verdict: Verdict::Drop(DropReason::NoTarget),
                frame: None,
            });
        }
        Ok(deliveries)
    }

    fn deliver_to(
        &mut self,
        kind: RedirectKind,
        entry: Entry,
        frame: &Frame,
        recorder: &mut Recorder,
    ) -> Result<Delivery, BackendError> {
        let plain = Verdict::of_target(kind, entry.target);
        let worker = entry.program.and_then(|index| self.workers.get_mut(&index));
        let worker = worker.filter(|_| plain.drop_reason().is_none());
        let Some(worker) = worker else {
            return Ok(Delivery {
                verdict: plain,
                frame: None,
            });
        };
        let mut frame = Box::new(frame.clone());
        frame.receive.queue = 0;
        if kind == RedirectKind::Devmap {
            frame.egress_ifindex = entry.target;
        }
        let frames = std::slice::from_mut(&mut *frame);
        worker.run(frames, &mut self.outcomes, Some(recorder))?;
        let outcome = &self.outcomes[0];
        let verdict = match outcome.action() {
            _ if outcome.trap.is_some() => Verdict::Drop(DropReason::Trap),
            XdpAction::Pass => plain,
            // The other CPU may redirect once more, to an interface.
            XdpAction::Redirect if kind == RedirectKind::Cpumap => Verdict::of(PortId(0), outcome),
            XdpAction::Aborted => Verdict::Drop(DropReason::Aborted),
            XdpAction::Drop | XdpAction::Tx | XdpAction::Redirect => {
                Verdict::Drop(DropReason::Program)
            }
        };
        Ok(Delivery {
            verdict,
            frame: Some(frame),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iom_core::isa::assemble;

    /// What a broadcast with these flags from a port becomes.
    fn broadcast(port: u32, flags: u64) -> Vec<Verdict> {
        let module = assemble(
            ".map ports devmap key 4 value 8 max 4
             .entry 00000000 = 0200000000000000
             .entry 02000000 = 0300000000000000
             .entry 03000000 = 0900000001000000
             r0 = 2\n exit",
            "test.bpf",
        )
        .unwrap();
        let maps = RedirectMaps::of(&MapSet::create(&module.maps, 1).unwrap());
        assert_eq!(maps.programs(), BTreeSet::from([0]));
        let programs = BTreeMap::new();
        let outcome = Outcome {
            retval: 4,
            redirect: Some(Redirect {
                kind: RedirectKind::Devmap,
                map: Some(0),
                key: None,
                target: None,
                flags,
            }),
            ..Outcome::default()
        };
        let mut deliverer = Deliverer::new(&maps, &programs).unwrap();
        let mut recorder = Recorder::default();
        let deliveries = deliverer.deliver(PortId(port), &outcome, &Frame::new(), &mut recorder);
        let deliveries = deliveries.unwrap().into_iter();
        deliveries.map(|delivery| delivery.verdict).collect()
    }

    #[test]
    fn a_broadcast_goes_to_every_entry_but_where_it_came_from() {
        let [zero, one, seven] = [0, 1, 7].map(|port| Verdict::Transmit(PortId(port)));
        assert_eq!(broadcast(0, BROADCAST), [zero, one, seven]);
        assert_eq!(broadcast(0, BROADCAST | EXCLUDE_INGRESS), [one, seven]);
        assert_eq!(
            broadcast(5, BROADCAST | EXCLUDE_INGRESS),
            [zero, one, seven]
        );
    }
}
