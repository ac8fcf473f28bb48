//! The interpreter behind the IO-module ABI, and its entry for `raw` programs.

use iom_core::abi::{
    Backend, BackendError, Capabilities, Event, Frame, Instance, LoadRequest, Network, Outcome,
    PortId, QueueId, Recorder, Refusal, SocketBuffer, Trap, Worker,
};
use iom_core::helper::{self, Fib, RedirectState};
use iom_core::map::{Map, MapContents, MapSet, MapType, Ringbuf};
use iom_core::memory::SharedBytes;
use iom_core::module::{Module, ProgramType};
use std::sync::Arc;

use super::address::{self, Kind};
use super::coverage::{Counter, Counts, Coverage};
use super::execute::{Caller, Machine, Observer, Packet, Stop, Unobserved};
use super::memory::{FRAMES_MAX, Memory};
use super::op::{Code, GlobalData, lower};
use super::trace::{Trace, Tracer};

/// Name on the command line and in errors.
const NAME: &str = "sim";

/// Instructions for one packet at most, unless told otherwise. Linux verifies at most a million
/// steps of a program without `may_goto`.
pub const DEFAULT_BUDGET: u64 = 64 << 20;

/// The interpreter.
#[derive(Clone, Debug)]
pub struct Interpreter {
    /// Instructions for one packet at most.
    pub budget: u64,
    /// What to look at while programs run.
    pub observe: Observe,
}

/// What the interpreter looks at while programs run.
#[derive(Clone, Debug, Default)]
pub enum Observe {
    /// Nothing, which costs nothing.
    #[default]
    Nothing,
    /// Every step of one packet.
    Trace(Trace),
    /// How often instructions run, of all packets.
    Coverage(Coverage),
}

impl Default for Interpreter {
    fn default() -> Self {
        Self {
            budget: DEFAULT_BUDGET,
            observe: Observe::Nothing,
        }
    }
}

impl Backend for Interpreter {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        use MapType::{
            Array, ArrayOfMaps, BloomFilter, Cpumap, Devmap, DevmapHash, Hash, HashOfMaps, LpmTrie,
            LruHash, LruPercpuHash, PercpuArray, PercpuHash, PerfEventArray, ProgArray, Queue,
            Ringbuf, Stack, Xskmap,
        };
        Capabilities {
            program_types: vec![
                ProgramType::Xdp,
                ProgramType::SchedCls,
                ProgramType::SocketFilter,
                ProgramType::Raw,
            ],
            map_types: vec![
                Array,
                PercpuArray,
                Hash,
                PercpuHash,
                LruHash,
                LruPercpuHash,
                LpmTrie,
                Queue,
                Stack,
                BloomFilter,
                ProgArray,
                Ringbuf,
                Devmap,
                DevmapHash,
                Cpumap,
                Xskmap,
                PerfEventArray,
                ArrayOfMaps,
                HashOfMaps,
            ],
            helpers: helper::implemented()
                .filter(|helper| {
                    helper
                        .prototype
                        .is_some_and(|prototype| prototype.backends.sim)
                })
                .map(|helper| helper.number)
                .collect(),
            frame_bytes: (0, Frame::BYTES_MAX),
            notes: vec![format!(
                "at most {} instructions for one packet",
                self.budget
            )],
        }
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Instance>, BackendError> {
        let mut global_data = GlobalData::default();
        let programs = lower_all(request.module, request.entry, &mut global_data)?;
        let loaded = Loaded {
            module: Arc::clone(request.module),
            entry: request.entry as u32,
            programs,
            global_data,
            maps: request.maps.clone(),
            environment: request.environment,
            fib: fib(request),
            network: request.network.clone(),
            budget: self.budget,
            observe: self.observe.clone(),
        };
        loaded
            .global_values()
            .map_err(|message| refused(request.entry, None, message))?;
        if let Observe::Coverage(coverage) = &loaded.observe {
            coverage.lock().fit(&loaded.module);
        }
        Ok(Box::new(loaded))
    }
}

/// The FIB of the ports and of what is beside them.
fn fib(request: &LoadRequest<'_>) -> Fib {
    let ports = (0..request.ports).map(|port| PortId(port).ifindex());
    Fib::new(request.network, ports.chain(request.other_interfaces()))
}

/// Lowers the entry program, and the others for tail calls: one that cannot run here is a fault
/// only when it is reached.
fn lower_all(
    module: &Module,
    entry: usize,
    global_data: &mut GlobalData,
) -> Result<Vec<Result<Code, String>>, BackendError> {
    let mut programs = Vec::with_capacity(module.programs.len());
    for index in 0..module.programs.len().max(entry + 1) {
        programs.push(match lower(module, index, global_data) {
            Ok(code) => Ok(code),
            Err(reasons) if index == entry => {
                let log = String::new();
                return Err(BackendError::Refused {
                    backend: NAME,
                    reasons,
                    log,
                });
            }
            Err(reasons) => {
                let first = reasons.into_iter().next();
                Err(first.map_or_else(String::new, |reason| reason.message))
            }
        });
    }
    Ok(programs)
}

fn refused(program: usize, insn: Option<usize>, message: String) -> BackendError {
    let reasons = vec![Refusal {
        program,
        insn,
        message,
        fix: None,
    }];
    BackendError::Refused {
        backend: NAME,
        reasons,
        log: String::new(),
    }
}

/// A loaded module with its maps.
#[derive(Debug)]
struct Loaded {
    module: Arc<Module>,
    entry: u32,
    programs: Vec<Result<Code, String>>,
    global_data: GlobalData,
    maps: MapSet,
    environment: iom_core::abi::Environment,
    fib: Fib,
    network: Network,
    budget: u64,
    observe: Observe,
}

impl Loaded {
    fn program_type(&self) -> ProgramType {
        self.module.programs[self.entry as usize].program_type
    }

    /// The values that programs address directly.
    fn global_values(&self) -> Result<Vec<(SharedBytes<'_>, &Map)>, String> {
        let value = |&index: &u32| {
            let map: &Map = self
                .maps
                .get(index)
                .ok_or_else(|| format!("map {index} is missing"))?;
            let spec = map.spec();
            if spec.map_type != MapType::Array || spec.max_entries != 1 {
                return Err(format!(
                    "the address of a value of map {} is not constant",
                    spec.name
                ));
            }
            let value = map.lookup(QueueId(0), &[0; 4]);
            value
                .map(|value| (value, map))
                .ok_or_else(|| format!("map {} is empty", spec.name))
        };
        self.global_data.maps.iter().map(value).collect()
    }

    fn machine(&self, queue: QueueId, raw: Vec<u8>) -> Result<Machine<'_>, BackendError> {
        let values = self
            .global_values()
            .map_err(|message| BackendError::Failed {
                backend: NAME,
                message,
            })?;
        Ok(Machine {
            programs: &self.programs,
            maps: &self.maps,
            memory: Memory::new(&self.maps, values, raw),
            callers: [Caller::default(); FRAMES_MAX],
            repeats: std::array::from_fn(|_| None),
            queue,
            environment: self.environment,
            fib: &self.fib,
            budget: self.budget,
        })
    }

    fn trap(&self, stop: Stop) -> Trap {
        let position = stop.position;
        let program = &self.module.programs[position.program as usize];
        let line = program.line_of(position.slot as usize);
        Trap {
            program: position.program,
            insn: position.slot,
            source: line.map(|line| format!("{}:{}: {}", line.file, line.line, line.text.trim())),
            kind: *stop.kind,
        }
    }
}

impl Instance for Loaded {
    fn worker(&self, queue: QueueId) -> Result<Box<dyn Worker + '_>, BackendError> {
        let machine = self.machine(queue, Vec::new())?;
        let rings = self.maps.iter().enumerate();
        let rings = rings.filter_map(|(index, map)| Some((index as u32, map.ringbuf()?)));
        Ok(Box::new(QueueWorker {
            loaded: self,
            rings: rings.collect(),
            machine,
        }))
    }

    fn maps(&self) -> Result<Vec<MapContents>, BackendError> {
        Ok(self.maps.iter().map(|map| map.contents()).collect())
    }
}

/// The worker of one queue.
struct QueueWorker<'m> {
    loaded: &'m Loaded,
    /// Ring buffers by map index.
    rings: Vec<(u32, &'m Ringbuf)>,
    machine: Machine<'m>,
}

impl Worker for QueueWorker<'_> {
    fn run(
        &mut self,
        frames: &mut [Frame],
        outcomes: &mut Vec<Outcome>,
        mut recorder: Option<&mut Recorder>,
    ) -> Result<(), BackendError> {
        outcomes.clear();
        outcomes.reserve(frames.len());
        let observe = &self.loaded.observe;
        let mut counts = match observe {
            Observe::Coverage(coverage) => Some(coverage.lock()),
            Observe::Nothing | Observe::Trace(_) => None,
        };
        for frame in frames {
            let recorder = recorder.as_deref_mut();
            outcomes.push(match (observe, &mut counts) {
                (_, Some(counts)) => self.count_frame(counts, frame, recorder),
                (Observe::Trace(trace), None) if trace.packet_id() == frame.packet_id => {
                    self.trace_frame(trace, frame, recorder)
                }
                _ => self.run_frame(frame, recorder, &mut Unobserved),
            });
        }
        Ok(())
    }
}

impl QueueWorker<'_> {
    fn run_frame<O: Observer>(
        &mut self,
        frame: &mut Frame,
        recorder: Option<&mut Recorder>,
        observer: &mut O,
    ) -> Outcome {
        let program_type = self.loaded.program_type();
        if program_type.has_socket_buffer() {
            let mac = self.loaded.network.mac(frame.receive.ingress_ifindex);
            frame.socket_buffer = SocketBuffer::received(frame, mac);
        }
        let mut packet = Packet {
            random: self.machine.environment.random(frame.packet_id),
            frame,
            program_type,
            redirect: RedirectState::new(program_type),
            tail_calls: 0,
            rings_used: false,
            recorder,
        };
        self.machine.memory.start_packet();
        let arguments = [address::address(Kind::Context, 0, 0), 0];
        let entry = self.loaded.entry;
        let result = self.machine.run(entry, arguments, &mut packet, observer);
        self.machine.memory.release_lock();
        if packet.rings_used {
            self.drain(&mut packet);
        }
        match result {
            Ok(value) => Outcome {
                program_type,
                retval: value as u32,
                redirect: packet.redirect.finish(value as u32),
                ..Outcome::default()
            },
            Err(stop) => Outcome {
                program_type,
                trap: Some(Box::new(self.loaded.trap(stop))),
                ..Outcome::default()
            },
        }
    }

    fn trace_frame(
        &mut self,
        trace: &Trace,
        frame: &mut Frame,
        recorder: Option<&mut Recorder>,
    ) -> Outcome {
        let mut tracer = Tracer::new(&self.loaded.module);
        let outcome = self.run_frame(frame, recorder, &mut tracer);
        trace.finish(tracer, outcome.clone());
        outcome
    }

    fn count_frame(
        &mut self,
        counts: &mut Counts,
        frame: &mut Frame,
        recorder: Option<&mut Recorder>,
    ) -> Outcome {
        let mut counter = Counter::new(counts, self.loaded.entry);
        let outcome = self.run_frame(frame, recorder, &mut counter);
        counter.finish(outcome.action());
        outcome
    }

    /// Empties the ring buffers as user space would, for the recorder or for nobody.
    fn drain(&mut self, packet: &mut Packet<'_>) {
        self.machine.memory.discard_records();
        for (map, ring) in &self.rings {
            let samples = ring.drain();
            let Some(recorder) = packet.recorder.as_deref_mut() else {
                continue;
            };
            recorder
                .events
                .extend(samples.into_iter().map(|bytes| Event {
                    packet_id: packet.frame.packet_id,
                    map: *map,
                    bytes,
                }));
        }
    }
}

/// Runs a `raw` program once: `r1` is the address of `memory`, which is changed in place, `r2` its
/// length; both are 0 without memory. Gives `r0`, or the fault.
pub fn run_raw(
    module: &Arc<Module>,
    memory: &mut Vec<u8>,
    budget: u64,
) -> Result<Result<u64, Trap>, BackendError> {
    let mut global_data = GlobalData::default();
    let loaded = Loaded {
        module: Arc::clone(module),
        entry: 0,
        programs: lower_all(module, 0, &mut global_data)?,
        global_data,
        maps: MapSet::default(),
        environment: iom_core::abi::Environment::default(),
        fib: Fib::default(),
        network: Network::default(),
        budget,
        observe: Observe::Nothing,
    };
    let mut machine = loaded.machine(QueueId(0), std::mem::take(memory))?;
    let arguments = match machine.memory.raw.len() as u64 {
        0 => [0, 0],
        len => [address::address(Kind::Raw, 0, 0), len],
    };
    let mut packet = Packet {
        frame: &mut Frame::new(),
        program_type: ProgramType::Raw,
        redirect: RedirectState::default(),
        random: loaded.environment.random(0),
        tail_calls: 0,
        rings_used: false,
        recorder: None,
    };
    let result = machine.run(0, arguments, &mut packet, &mut Unobserved);
    *memory = std::mem::take(&mut machine.memory.raw);
    Ok(result.map_err(|stop| loaded.trap(stop)))
}
