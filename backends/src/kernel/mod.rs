//! The kernel backend: the running Linux kernel's verifier and JIT, one `BPF_PROG_TEST_RUN` for
//! each packet, in a network namespace of our own.
//!
//! Programs are loaded twice: as they are, for the verifier's verdict, and rewritten, so that a
//! run is a pure function of module, maps, packets and seed (`rewrite.rs`).

#[cfg(target_os = "linux")]
mod capability;
#[cfg(all(test, target_os = "linux"))]
mod decode_agreement;
#[cfg(target_os = "linux")]
mod environment_map;
#[cfg(target_os = "linux")]
mod instance;
#[cfg(target_os = "linux")]
mod kfuncs;
#[cfg(target_os = "linux")]
mod link;
pub mod live;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod log;
#[cfg(target_os = "linux")]
mod maps;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod namespace;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod observe;
#[cfg(target_os = "linux")]
mod perf;
#[cfg(target_os = "linux")]
mod queue_thread;
#[cfg(target_os = "linux")]
mod raw_verdict;
#[cfg(target_os = "linux")]
mod rewrite;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(target_os = "linux")]
mod syscall;
#[cfg(target_os = "linux")]
mod test_run;
#[cfg(target_os = "linux")]
mod verdict;

use iom_core::abi::{Backend, BackendError, Capabilities, Instance, LoadRequest};
use iom_core::map::MapType;
use iom_core::module::ProgramType;

#[cfg(target_os = "linux")]
pub use raw_verdict::KernelVerifier;
#[cfg(target_os = "linux")]
pub use verdict::{KernelVerdict, VerdictOptions};

/// `BPF_F_XDP_HAS_FRAGS`.
#[cfg(target_os = "linux")]
const XDP_HAS_FRAGS: u32 = 1 << 5;

/// Name on the command line and in errors.
const NAME: &str = "kernel";

/// How programs are prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelConfig {
    /// Rewrite programs for deterministic replay. Without it time, random numbers and redirect
    /// targets are the plain kernel's: the first two differ from run to run, the last are unknown.
    pub rewrite: bool,
}

impl Default for KernelConfig {
    fn default() -> Self {
        Self { rewrite: true }
    }
}

/// The running kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelBackend {
    /// How programs are prepared.
    pub config: KernelConfig,
}

impl KernelBackend {
    /// Whether the kernel can be used here, else why not: [`BackendError::Missing`] with one line.
    pub fn probe() -> Result<(), BackendError> {
        #[cfg(target_os = "linux")]
        let missing = capability::missing();
        #[cfg(not(target_os = "linux"))]
        let missing = Some("it needs Linux".to_owned());
        missing.map_or(Ok(()), |reason| {
            Err(BackendError::Missing {
                backend: NAME,
                reason,
            })
        })
    }

    /// CPUs that the kernel counts with, on which per-CPU maps and the eviction of LRU maps
    /// depend; 1 where there is no Linux.
    pub fn cpus() -> u32 {
        #[cfg(target_os = "linux")]
        return maps::possible_cpus();
        #[cfg(not(target_os = "linux"))]
        1
    }
}

impl Backend for KernelBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    /// What the harness supports and replays the same in every run. Programs that call other
    /// helpers are left to the verifier: it takes all that the kernel has, but what those return
    /// may depend on the machine.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            program_types: vec![
                ProgramType::Xdp,
                ProgramType::SchedCls,
                ProgramType::SocketFilter,
            ],
            map_types: MAP_TYPES.to_vec(),
            helpers: iom_core::helper::implemented()
                .map(|helper| helper.number)
                .collect(),
            frame_bytes: FRAME_BYTES,
            notes: NOTES.map(str::to_owned).to_vec(),
        }
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Instance>, BackendError> {
        Self::probe()?;
        #[cfg(target_os = "linux")]
        return Ok(Box::new(instance::SharedInstance(std::sync::Arc::new(
            load::load(self.config, request)?,
        ))));
        #[cfg(not(target_os = "linux"))]
        unreachable!("probe refuses other systems, not {request:?}");
    }
}

/// Shortest and longest packet that the kernel's test-run takes.
const FRAME_BYTES: (usize, usize) = (14, 73_152);

/// Map types that the harness creates, fills and dumps.
const MAP_TYPES: [MapType; 19] = [
    MapType::Hash,
    MapType::Array,
    MapType::ProgArray,
    MapType::PercpuHash,
    MapType::PercpuArray,
    MapType::LruHash,
    MapType::LruPercpuHash,
    MapType::LpmTrie,
    MapType::Devmap,
    MapType::Cpumap,
    MapType::DevmapHash,
    MapType::Ringbuf,
    MapType::Queue,
    MapType::Stack,
    MapType::BloomFilter,
    MapType::PerfEventArray,
    MapType::Xskmap,
    MapType::ArrayOfMaps,
    MapType::HashOfMaps,
];

/// What stays different from a live device, a sentence each.
const NOTES: [&str; 8] = [
    "frames under 14 and above 73,152 bytes are refused by the kernel's test-run",
    "programs with a socket buffer see frames of at most 3,520 bytes",
    "a queue runs on the CPU with its number, so there are at most as many queues as CPUs",
    "time stands still within a packet",
    "cpumaps keep only entries whose CPU exists, devmaps those with an interface index below 2^20",
    "devmap and cpumap programs do not run",
    "xskmaps hold no sockets",
    "lines of trace_printk go to the kernel's trace buffer and are not captured",
];
