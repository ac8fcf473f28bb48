//! A program loaded on one backend, with maps of its own, ready to take batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use iom_core::abi::{
    Backend, BackendError, Capabilities, Environment, Event, Frame, Instance, LoadRequest, Network,
    Outcome, Recorder,
};
use iom_core::map::{MapContents, MapSet};
use iom_core::module::Module;
use iom_sim::redirect::{Deliverer, RedirectMaps};
use iom_sim::replay::{PacketBatch, Replay};

use crate::compare::PacketView;

/// What all backends of a run have in common.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Ports of the device.
    pub ports: u32,
    /// RX queues of each port.
    pub queues: u32,
    /// CPUs that LRU maps evict as on: as many as queues, or those of the kernel that takes part.
    pub cpus: u32,
    /// Time and random numbers.
    pub environment: Environment,
    /// What routing helpers see.
    pub network: Option<Arc<Network>>,
}

/// A program on one backend.
pub struct Lane {
    /// Name in reports.
    pub name: String,
    /// What the backend can do.
    pub capabilities: Capabilities,
    /// The backend gives the return value itself, not only the action.
    pub exact_retval: bool,
    /// The program's module.
    pub module: Arc<Module>,
    instance: Box<dyn Instance>,
    redirects: RedirectMaps,
    /// The programs behind entries of devmaps and cpumaps, by index.
    behind: BTreeMap<usize, Box<dyn Instance>>,
}

impl Lane {
    /// Loads a program with maps of its own, filled by `seed`.
    ///
    /// # Errors
    /// Maps that cannot be created or seeded; whatever the backend refuses.
    pub fn load(
        name: &str,
        backend: &dyn Backend,
        exact_retval: bool,
        (module, entry): (&Arc<Module>, usize),
        setup: &Setup,
        seed: &dyn Fn(&MapSet) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let maps = MapSet::create_for_cpus(&module.maps, setup.queues, setup.cpus)
            .context("creating the maps")?;
        seed(&maps).context("filling the maps")?;
        let request = LoadRequest {
            module,
            entry,
            maps: &maps,
            environment: setup.environment,
            network: setup.network.as_deref().unwrap_or(Network::empty()),
            ports: setup.ports,
            queues: setup.queues,
        };
        let instance = backend.load(&request)?;
        let redirects = RedirectMaps::of(&maps);
        let mut behind = BTreeMap::new();
        for entry in redirects.programs() {
            behind.insert(entry, backend.load(&LoadRequest { entry, ..request })?);
        }
        Ok(Self {
            name: name.to_owned(),
            capabilities: backend.capabilities(),
            exact_retval,
            module: Arc::clone(module),
            instance,
            redirects,
            behind,
        })
    }

    /// Contents of all maps now.
    ///
    /// # Errors
    /// The backend failed.
    pub fn maps(&self) -> Result<Vec<MapContents>, BackendError> {
        self.instance.maps()
    }

    /// The device, to carry out what the program decides.
    ///
    /// # Errors
    /// The backend failed.
    pub fn deliverer(&self) -> Result<Deliverer<'_>, BackendError> {
        Deliverer::new(&self.redirects, &self.behind)
    }

    /// Workers for the queues, to run batches with.
    ///
    /// # Errors
    /// The backend failed.
    pub fn start(&self, queues: u32) -> Result<Running<'_>, BackendError> {
        Ok(Running {
            lane: self,
            replay: Replay::new(&*self.instance, queues)?,
            recorder: Recorder::default(),
        })
    }
}

/// A lane with its workers.
pub struct Running<'a> {
    /// The lane.
    pub lane: &'a Lane,
    replay: Replay<'a>,
    recorder: Recorder,
}

impl Running<'_> {
    /// Runs a batch.
    ///
    /// # Errors
    /// The backend failed.
    pub fn run(&mut self, batch: &PacketBatch) -> Result<(), BackendError> {
        self.recorder.events.clear();
        self.recorder.printk.clear();
        self.replay.run(batch, Some(&mut self.recorder))
    }

    /// What became of each packet of the last batch, in its order.
    pub fn views(&self) -> impl Iterator<Item = PacketView<'_>> {
        let mut events = self.recorder.events.as_slice();
        let exact_retval = self.lane.exact_retval;
        self.replay
            .results()
            .map(move |(frame, outcome): (&Frame, &Outcome)| {
                let own = events
                    .iter()
                    .take_while(|event| event.packet_id == frame.packet_id)
                    .count();
                let (own, later): (&[Event], &[Event]) = events.split_at(own);
                events = later;
                PacketView {
                    outcome,
                    frame,
                    events: own,
                    exact_retval,
                }
            })
    }

    /// `trace_printk` lines of the last batch, with their packets.
    pub fn printk(&self) -> &[(u64, String)] {
        &self.recorder.printk
    }
}
