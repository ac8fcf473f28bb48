//! The interface of a backend: load a module, get an instance, run batches on its workers.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{
    Capabilities, Environment, Frame, Network, Outcome, PortId, QueueId, Recorder, RedirectKind,
};
use crate::helper::redirect_kind;
use crate::map::{MapContents, MapSet, MapValue};
use crate::module::Module;

/// Something that can run programs.
pub trait Backend {
    /// Name on the command line: `sim`, `kernel`, `nfp`.
    fn name(&self) -> &'static str;

    /// What it can do here.
    fn capabilities(&self) -> Capabilities;

    /// Prepares a program of a module for running on a set of maps.
    ///
    /// # Errors
    /// [`BackendError::Refused`] if the program cannot run here, [`BackendError::Missing`] if the
    /// backend itself cannot.
    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Instance>, BackendError>;
}

/// What to load.
#[derive(Clone, Copy, Debug)]
pub struct LoadRequest<'a> {
    /// The module; its other programs are loaded too where prog arrays name them.
    pub module: &'a Arc<Module>,
    /// Entry program, by index in the module.
    pub entry: usize,
    /// Maps, one for each of the module's declarations. They outlive the instance, and hold their
    /// seeds already. A backend with memory of its own copies contents in at load and out in
    /// [`Instance::maps`].
    pub maps: &'a MapSet,
    /// Time and random numbers.
    pub environment: Environment,
    /// What routing helpers see; [`Network::check`] accepted it.
    pub network: &'a Network,
    /// Ports of the device: interface indexes 2 to `ports + 1`.
    pub ports: u32,
    /// RX queues of each port.
    pub queues: u32,
}

impl LoadRequest<'_> {
    /// Indexes of the interfaces that there are beside the ports: those of the network, and those
    /// that devmaps name.
    pub fn other_interfaces(&self) -> BTreeSet<u32> {
        let maps = self.maps.iter();
        let devmaps =
            maps.filter(|map| redirect_kind(map.spec().map_type) == Some(RedirectKind::Devmap));
        let entries = devmaps.flat_map(|map| map.contents().entries);
        let named = entries.filter_map(|entry| match entry.value {
            MapValue::Plain(value) => value.first_chunk().map(|word| u32::from_le_bytes(*word)),
            MapValue::PerQueue(_) => None,
        });
        let network = self.network.interfaces.iter().map(|known| known.index);
        let free = PortId(self.ports).ifindex()..OTHER_INTERFACES_END;
        named
            .chain(network)
            .filter(|index| free.contains(index))
            .collect()
    }
}

/// Where the indexes of interfaces beside the ports end.
pub const OTHER_INTERFACES_END: u32 = 1 << 20;

/// A loaded program.
pub trait Instance: Send + Sync {
    /// The worker of one RX queue. Workers of different queues may run at the same time.
    fn worker(&self, queue: QueueId) -> Result<Box<dyn Worker + '_>, BackendError>;

    /// Contents of all maps now, one for each of the module's declarations, entries sorted by key.
    fn maps(&self) -> Result<Vec<MapContents>, BackendError>;
}

/// Runs the packets of one RX queue.
pub trait Worker: Send {
    /// Runs the program on each frame in turn and puts one outcome for each into `outcomes`,
    /// which is cleared first. Frames are changed as the program changes them.
    ///
    /// # Errors
    /// The backend itself failed; a bad packet or a faulting program is an outcome.
    fn run(
        &mut self,
        frames: &mut [Frame],
        outcomes: &mut Vec<Outcome>,
        recorder: Option<&mut Recorder>,
    ) -> Result<(), BackendError>;
}

/// One reason why a program cannot run on a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Program of the module, by index.
    pub program: usize,
    /// Slot of the instruction, if one is to blame.
    pub insn: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it, if known.
    pub fix: Option<String>,
}

/// Why a backend failed.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The program cannot run on this backend.
    #[error("{backend} refuses the program: {}", reasons.first().map_or("no reason given", |r| r.message.as_str()))]
    Refused {
        /// Which backend.
        backend: &'static str,
        /// Every reason that was found; at least one.
        reasons: Vec<Refusal>,
        /// The verifier's log, where there is one.
        log: String,
    },
    /// The backend is not available on this machine.
    #[error("{backend} is not available here: {reason}")]
    Missing {
        /// Which backend.
        backend: &'static str,
        /// Why, in one line.
        reason: String,
    },
    /// The backend itself failed.
    #[error("{backend} failed: {message}")]
    Failed {
        /// Which backend.
        backend: &'static str,
        /// What it was doing, and what happened.
        message: String,
    },
}
