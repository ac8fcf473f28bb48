//! A loaded module: its maps, and a set of programs for each queue that is used.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use iom_core::abi::{BackendError, Environment, Instance, LoadRequest, Network, QueueId, Worker};
use iom_core::helper::number;
use iom_core::isa::{CallTarget, Insn};
use iom_core::map::{MapContents, MapSpec, MapType};
use iom_core::module::Module;

use super::NAME;
use super::load::{Loader, ProgramSet, failed, indexes};
use super::maps;
use super::namespace::Namespace;
use super::observe::Targets;
use super::perf::PerfArrays;
use super::queue_thread::QueueThread;
use super::ring::Ring;
use super::syscall::SyscallError;
use super::test_run::KernelWorker;

/// A loaded module, which the threads of its queues share.
#[derive(Debug)]
pub(super) struct SharedInstance(pub(super) Arc<KernelInstance>);

/// A loaded module.
#[derive(Debug)]
pub(super) struct KernelInstance {
    pub(super) namespace: Arc<Namespace>,
    pub(super) environment: Environment,
    pub(super) network: Network,
    /// What redirects go through.
    pub(super) targets: Targets,
    /// A lock, so that what a packet sent is taken out before another packet runs.
    pub(super) rings: Mutex<Vec<Ring>>,
    pub(super) perf: PerfArrays,
    /// The CPU that runs a program decides results: the one of the queue's number must.
    pub(super) cpu_matters: bool,
    loader: Loader,
    first: ProgramSet,
    /// Of the queues behind the first, loaded when they are asked for.
    others: Vec<OnceLock<ProgramSet>>,
    loading: Mutex<()>,
}

impl KernelInstance {
    /// An instance whose maps are filled.
    pub(super) fn new(
        loader: Loader,
        namespace: Arc<Namespace>,
        request: &LoadRequest<'_>,
    ) -> Result<Self, BackendError> {
        let first = loader.load_set(true)?;
        let specs = &loader.module.maps;
        let observed = first.redirects && first.environment.is_some();
        let targets = if observed {
            Targets::learn(specs, &loader.maps, |map| {
                maps::dump(&loader.maps[map], &specs[map], 0)
            })
            .map_err(failed)?
        } else {
            Targets::default()
        };
        let rings = open_rings(&loader).map_err(failed)?;
        let perf = PerfArrays::open(specs, &loader.maps, request.queues).map_err(failed)?;
        Ok(Self {
            namespace,
            environment: request.environment,
            network: request.network.clone(),
            targets,
            rings: Mutex::new(rings),
            perf,
            cpu_matters: cpu_matters(&loader.module),
            loader,
            first,
            others: (1..request.queues).map(|_| OnceLock::new()).collect(),
            loading: Mutex::new(()),
        })
    }

    /// The programs of a queue.
    pub(super) fn set(&self, queue: QueueId) -> Result<&ProgramSet, BackendError> {
        let Some(other) = queue.0.checked_sub(1) else {
            return Ok(&self.first);
        };
        let cell = self
            .others
            .get(other as usize)
            .ok_or_else(|| BackendError::Failed {
                backend: NAME,
                message: format!("there is no RX queue {}", queue.0),
            })?;
        if let Some(set) = cell.get() {
            return Ok(set);
        }
        let _guard = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = cell.get() {
            return Ok(set);
        }
        let set = self.loader.load_set(false)?;
        Ok(cell.get_or_init(|| set))
    }
}

/// Whether what a module's programs leave behind depends on the CPU: through maps with values, lists
/// or rings for each CPU, by its number, or through kernel functions, which may do anything.
fn cpu_matters(module: &Module) -> bool {
    let by_cpu = |spec: &MapSpec| {
        spec.map_type.is_per_cpu()
            || matches!(
                spec.map_type,
                MapType::LruHash | MapType::LruPercpuHash | MapType::PerfEventArray
            )
    };
    let asks = |insn: &Insn| {
        let Insn::Call { target } = insn else {
            return false;
        };
        match target {
            CallTarget::Helper(helper) => *helper == number::GET_SMP_PROCESSOR_ID,
            CallTarget::Kfunc { .. } | CallTarget::Kernel(_) => true,
            CallTarget::Local(_) => false,
        }
    };
    let mut insns = module.programs.iter().flat_map(|program| &program.insns);
    module.maps.iter().any(by_cpu) || insns.any(asks)
}

fn open_rings(loader: &Loader) -> Result<Vec<Ring>, SyscallError> {
    let specs = loader.module.maps.iter().zip(&loader.maps);
    (0..)
        .zip(specs)
        .filter(|(_, (spec, _))| spec.map_type == MapType::Ringbuf)
        .map(|(index, (spec, fd))| Ring::open(index, fd, spec.max_entries as usize))
        .collect()
}

impl Instance for SharedInstance {
    fn worker(&self, queue: QueueId) -> Result<Box<dyn Worker + '_>, BackendError> {
        let set = self.0.set(queue)?;
        if self.0.cpu_matters && !self.0.others.is_empty() {
            return Ok(Box::new(QueueThread::start(Arc::clone(&self.0), queue)));
        }
        Ok(Box::new(KernelWorker::new(&self.0, set, queue)))
    }

    fn maps(&self) -> Result<Vec<MapContents>, BackendError> {
        self.0.contents()
    }
}
impl KernelInstance {
    fn contents(&self) -> Result<Vec<MapContents>, BackendError> {
        let queues = self.others.len() as u32 + 1;
        let specs = self.loader.module.maps.iter();
        specs
            .zip(&self.loader.maps)
            .map(|(spec, map)| {
                let contents = maps::dump(map, spec, queues).map_err(failed)?;
                Ok(match spec.map_type {
                    MapType::ProgArray => indexes(&self.first.ids, contents),
                    MapType::ArrayOfMaps | MapType::HashOfMaps => {
                        indexes(&self.loader.map_ids()?, contents)
                    }
                    _ => contents,
                })
            })
            .collect()
    }
}
