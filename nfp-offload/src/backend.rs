//! The NFP as a backend: analysis, checks, translation and relocation at load, and one modelled
//! micro-engine context for each RX queue.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use iom_core::abi::{
    Backend, BackendError, Capabilities, Environment, Event, Frame, Instance, LoadRequest, Outcome,
    PacketRandom, QueueId, Recorder, Refusal, Trap, TrapKind, Worker, XdpAction,
};
use iom_core::map::{Errno, Map, MapContents, MapSet, MapSpec, MapType};
use iom_core::memory::SharedBytes;
use iom_core::module::ProgramType;

use crate::check::Reason;
use crate::cycles::Cost;
use crate::machine::{
    Config, CounterWidth, FRAME_LEN_MAX, Finding, Findings, Firmware, FirmwareFault, Helper,
    HelperCall, Memory, MicroEngine, OutOfBounds, Program, ResultWord, map_address, map_pointer,
};
use crate::offload::{Request, offload};
use crate::profile::FirmwareProfile;
use crate::translate::DefectMode;

const NAME: &str = "nfp";
/// The shortest frame that the MAC delivers, without FCS.
const FRAME_BYTES_MIN: usize = 60;
/// Ethernet header with one VLAN tag, which the MTU does not count.
const LINK_HEADER_BYTES: usize = 18;

/// A model of a card with this firmware.
#[derive(Clone, Debug)]
pub struct Nfp {
    /// The firmware.
    pub profile: FirmwareProfile,
    /// What becomes of the driver's defects.
    pub mode: DefectMode,
    /// Runs note what a card might not forgive, in the totals.
    pub strict: bool,
    /// Where runs add up what they cost, if somebody wants to know.
    pub totals: Option<Arc<Totals>>,
}

/// What the packets of a run have cost together.
#[derive(Debug, Default)]
pub struct Totals(Mutex<Total>);

/// See [`Totals`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their costs.
    pub cost: Cost,
    /// What strict mode noted.
    pub findings: Findings,
}

impl Totals {
    /// As they are now.
    pub fn get(&self) -> Total {
        let total = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        total.clone()
    }

    fn add(&self, more: &Total, findings: &[Finding]) {
        let mut total = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        total.packets += more.packets;
        total.bytes += more.bytes;
        total.cost += more.cost;
        for finding in findings {
            total.findings.add(*finding);
        }
    }
}

impl Nfp {
    /// A card that runs the words that Linux's driver would load.
    pub const fn new(profile: FirmwareProfile) -> Self {
        Self {
            profile,
            mode: DefectMode::Kept,
            strict: false,
            totals: None,
        }
    }

    /// A card that runs words without the driver's defects.
    #[must_use]
    pub fn fixed(self) -> Self {
        Self {
            mode: DefectMode::Fixed,
            ..self
        }
    }

    /// Loads words, relocated for this firmware, onto a set of maps. `first_words` are those of
    /// each eBPF instruction, to name it when the machine faults.
    pub fn load_words(
        &self,
        program_type: ProgramType,
        words: &[u64],
        first_words: &[u16],
        maps: &MapSet,
        environment: Environment,
    ) -> Result<Box<dyn Instance>, BackendError> {
        let program =
            Program::load(words, &self.profile).map_err(|fault| BackendError::Failed {
                backend: NAME,
                message: fault.to_string(),
            })?;
        Ok(Box::new(Loaded {
            program_type,
            program,
            first_words: first_words.to_vec(),
            maps: maps.clone(),
            map_ids: table_ids(maps.iter().map(|map| map.spec())),
            environment,
            strict: self.strict,
            totals: self.totals.clone(),
        }))
    }
}

impl Backend for Nfp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        let profile = &self.profile;
        let split = (usize::from(profile.inline_mtu) * 64).saturating_sub(32);
        let longest = (profile.port_mtu as usize + LINK_HEADER_BYTES)
            .min(split)
            .min(FRAME_LEN_MAX);
        Capabilities {
            program_types: vec![ProgramType::Xdp, ProgramType::SchedCls],
            map_types: if profile.maps.is_some() {
                vec![MapType::Hash, MapType::Array]
            } else {
                Vec::new()
            },
            helpers: helpers(profile),
            frame_bytes: (FRAME_BYTES_MIN, longest),
            notes: vec![
                "of a return value only the action comes back; of XDP programs anything above tx is an abort"
                    .to_owned(),
            ],
        }
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Instance>, BackendError> {
        let map_ids = table_ids(&request.module.maps);
        let offload = offload(Request {
            module: request.module,
            entry: request.entry,
            profile: &self.profile,
            map_ids: &map_ids,
            mode: self.mode,
        })
        .map_err(|reasons| BackendError::Refused {
            backend: NAME,
            reasons: reasons
                .into_iter()
                .map(|reason| refusal(request.entry, reason))
                .collect(),
            log: String::new(),
        })?;
        self.load_words(
            request.module.programs[request.entry].program_type,
            &offload.words,
            &offload.image.first_words,
            request.maps,
            request.environment,
        )
    }
}

/// The card's ids of maps: numbered as they are created. Event arrays stay on the host and keep the
/// kernel's ids.
pub fn table_ids<'a>(maps: impl IntoIterator<Item = &'a MapSpec>) -> Vec<u32> {
    let maps = (0..).zip(maps);
    maps.map(|(index, map)| match map.map_type {
        MapType::PerfEventArray => HOST_MAP_ID + index,
        _ => 1 + index,
    })
    .collect()
}

/// Id of the first map of the host, apart from those of the card.
const HOST_MAP_ID: u32 = 100;

/// Numbers of the helpers that the firmware has.
fn helpers(profile: &FirmwareProfile) -> Vec<u32> {
    let addresses = profile.helpers;
    [
        (1, addresses.map_lookup != 0),
        (2, addresses.map_update != 0),
        (3, addresses.map_delete != 0),
        (7, profile.random),
        (25, addresses.perf_event_output != 0),
        (44, profile.adjust_head.is_some()),
        (65, profile.adjust_tail),
    ]
    .into_iter()
    .filter_map(|(number, is_there)| is_there.then_some(number))
    .collect()
}

fn refusal(program: usize, reason: Reason) -> Refusal {
    Refusal {
        program,
        insn: reason.insn,
        message: reason.message,
        fix: reason.fix.map(str::to_owned),
    }
}

struct Loaded {
    program_type: ProgramType,
    program: Program,
    first_words: Vec<u16>,
    maps: MapSet,
    map_ids: Vec<u32>,
    environment: Environment,
    strict: bool,
    totals: Option<Arc<Totals>>,
}

impl Instance for Loaded {
    fn worker(&self, queue: QueueId) -> Result<Box<dyn Worker + '_>, BackendError> {
        let card = Card {
            maps: &self.maps,
            map_ids: &self.map_ids,
            queue,
            values: Vec::new(),
            key: Vec::new(),
            events: Vec::new(),
            random: self.environment.random(0),
        };
        Ok(Box::new(Context {
            program_type: self.program_type,
            program: &self.program,
            first_words: &self.first_words,
            environment: self.environment,
            engine: MicroEngine::new(Config {
                strict: self.strict,
                ..Config::default()
            }),
            card,
            totals: self.totals.as_deref(),
            total: Total::default(),
        }))
    }

    fn maps(&self) -> Result<Vec<MapContents>, BackendError> {
        Ok(self.maps.iter().map(|map| map.contents()).collect())
    }
}

/// An ME context that serves one RX queue.
struct Context<'a> {
    program_type: ProgramType,
    program: &'a Program,
    first_words: &'a [u16],
    environment: Environment,
    engine: MicroEngine,
    card: Card<'a>,
    totals: Option<&'a Totals>,
    /// Of the batch.
    total: Total,
}

impl Worker for Context<'_> {
    fn run(
        &mut self,
        frames: &mut [Frame],
        outcomes: &mut Vec<Outcome>,
        mut recorder: Option<&mut Recorder>,
    ) -> Result<(), BackendError> {
        outcomes.clear();
        for frame in frames {
            outcomes.push(self.run_frame(frame));
            let events = self.card.events.drain(..);
            if let Some(recorder) = recorder.as_deref_mut() {
                recorder.events.extend(events.map(|(map, bytes)| Event {
                    packet_id: frame.packet_id,
                    map,
                    bytes,
                }));
            }
        }
        let total = std::mem::take(&mut self.total);
        if let Some(totals) = self.totals {
            totals.add(&total, self.engine.findings());
        }
        Ok(())
    }
}

impl Context<'_> {
    fn run_frame(&mut self, frame: &mut Frame) -> Outcome {
        self.card.values.clear();
        self.card.random = self.environment.random(frame.packet_id);
        match self
            .engine
            .run(self.program, frame.linear(), &mut self.card)
        {
            Ok(outcome) => {
                self.total.packets += 1;
                self.total.bytes += frame.linear().len() as u64;
                self.total.cost += outcome.cost;
                self.take_packet(frame);
                Outcome {
                    program_type: self.program_type,
                    retval: retval(self.program_type, outcome.result),
                    ..Outcome::default()
                }
            }
            Err(fault) => Outcome {
                trap: Some(Box::new(Trap {
                    program: 0,
                    insn: self
                        .first_words
                        .partition_point(|first| usize::from(*first) <= fault.word_index)
                        .saturating_sub(1) as u32,
                    source: None,
                    kind: TrapKind::Machine {
                        fault: fault.to_string(),
                    },
                })),
                ..Outcome::default()
            },
        }
    }

    /// Copies the packet back, to where the program moved it; metadata moves along.
    fn take_packet(&self, frame: &mut Frame) {
        let packet = self.engine.packet();
        let (old_meta, old_data) = (frame.data_meta(), frame.data());
        let moved = |place: usize| place.saturating_add_signed(self.engine.packet_shift());
        let (meta, data) = (moved(old_meta), moved(old_data));
        if data != old_data {
            frame.memory_mut().copy_within(old_meta..old_data, meta);
            frame.set_bounds(meta, data, data + packet.len());
        } else if packet.len() != frame.linear().len() {
            frame.set_bounds(meta, data, data + packet.len());
        }
        frame.memory_mut()[data..data + packet.len()].copy_from_slice(packet);
    }
}

/// A return value with the effect of what the firmware is told. Only that comes back: of a TC
/// program, whether a packet that is dropped counts as such, or was stolen.
fn retval(program_type: ProgramType, result: ResultWord) -> u32 {
    const UNSPEC: u32 = u32::MAX;
    const SHOT: u32 = 2;
    const STOLEN: u32 = 4;
    const REDIRECT: u32 = 7;
    let action = result.xdp_action().unwrap_or(XdpAction::Aborted);
    match (program_type, action) {
        (ProgramType::SchedCls, XdpAction::Pass) => UNSPEC,
        (ProgramType::SchedCls, XdpAction::Drop | XdpAction::Aborted) => {
            if result.counts_drop() {
                SHOT
            } else {
                STOLEN
            }
        }
        (ProgramType::SchedCls, XdpAction::Tx | XdpAction::Redirect) => REDIRECT,
        (_, XdpAction::Aborted) => 0,
        (_, XdpAction::Drop) => 1,
        (_, XdpAction::Pass) => 2,
        (_, XdpAction::Tx) => 3,
        (_, XdpAction::Redirect) => 4,
    }
}

/// What is around the micro-engine: maps, events, random numbers. The values that a packet's lookups found get an
/// address each, [`VALUE_BYTES`] apart.
struct Card<'a> {
    maps: &'a MapSet,
    /// The table id of each map.
    map_ids: &'a [u32],
    queue: QueueId,
    values: Vec<SharedBytes<'a>>,
    key: Vec<u8>,
    /// Events of the packet: map, by index, and contents.
    events: Vec<(u32, Vec<u8>)>,
    random: PacketRandom,
}

/// Where the data of an event is, as the kernel numbers register types.
const EVENT_OF_MAP_VALUE: u32 = 4;
const EVENT_OF_STACK: u32 = 6;

/// Address space of a map value, more than any firmware allows.
const VALUE_BYTES: u64 = 1 << 16;
/// Address of the first value.
const FIRST_VALUE: u64 = 1 << 32;

impl<'a> Card<'a> {
    fn value(&self, address: u64, len: usize) -> Result<(SharedBytes<'a>, usize), OutOfBounds> {
        let outside = OutOfBounds { address, len };
        let relative = address.checked_sub(FIRST_VALUE).ok_or(outside)?;
        let value = self
            .values
            .get((relative / VALUE_BYTES) as usize)
            .ok_or(outside)?;
        let offset = (relative % VALUE_BYTES) as usize;
        if offset < value.len() {
            Ok((*value, offset))
        } else {
            Err(outside)
        }
    }
}

impl Memory for Card<'_> {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        let (value, offset) = self.value(address, bytes.len())?;
        // Short loads read whole words: up to 3 bytes behind the value.
        let inside = bytes.len().min(value.len() - offset);
        if bytes.len() - inside > 3 {
            return Err(OutOfBounds {
                address,
                len: bytes.len(),
            });
        }
        bytes[inside..].fill(0);
        value.read(offset, &mut bytes[..inside]).ok_or(OutOfBounds {
            address,
            len: inside,
        })
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let (value, offset) = self.value(address, bytes.len())?;
        value.write(offset, bytes).ok_or(OutOfBounds {
            address,
            len: bytes.len(),
        })
    }

    fn add(&mut self, address: u64, addend: u64, width: CounterWidth) -> Result<(), OutOfBounds> {
        // In the host's order and atomic: queues add to the same counters at the same time.
        let (value, offset) = self.value(address, 4)?;
        let old = match width {
            CounterWidth::Bits32 => value
                .atomic_u32(offset)
                .map(|counter| u64::from(counter.fetch_add(addend as u32, Relaxed))),
            CounterWidth::Bits64 => value
                .atomic_u64(offset)
                .map(|counter| counter.fetch_add(addend, Relaxed)),
        };
        old.map(|_| ()).ok_or(OutOfBounds { address, len: 4 })
    }
}

impl<'a> Card<'a> {
    fn map(&self, table: u32) -> Result<(u32, &'a Map), FirmwareFault> {
        let index = self.map_ids.iter().position(|&id| id == table);
        let found = index.and_then(|index| Some((index as u32, &**self.maps.get(index as u32)?)));
        found.ok_or(FirmwareFault::UnknownTable { table })
    }

    /// `bpf_perf_event_output`: the program's bytes, and as many of the packet as the flags say.
    fn event(&mut self, call: &HelperCall<'_>) -> Result<u64, FirmwareFault> {
        let (map, _) = self.map(call.argument(2) as u32)?;
        let (flags, pointer) = (call.argument(3), call.argument(4));
        let Some(packet) = call.packet().get(..(flags >> 32) as usize) else {
            return Ok(Errno::EFAULT.to_register());
        };
        let mut bytes = vec![0; (call.argument(5) as usize).min(EVENT_BYTES)];
        match call.data_type() {
            EVENT_OF_STACK => call.local_memory(pointer as u32, &mut bytes),
            EVENT_OF_MAP_VALUE => self.read(map_address(pointer), &mut bytes)?,
            _ => bytes.clear(),
        }
        bytes.extend_from_slice(packet);
        self.events.push((map, bytes));
        Ok(0)
    }
}

/// The most that an event holds: more than any stack or map value.
const EVENT_BYTES: usize = 1 << 12;

fn result(result: Result<(), Errno>) -> u64 {
    result.map_or_else(Errno::to_register, |()| 0)
}

impl Firmware for Card<'_> {
    fn call(&mut self, helper: Helper, call: &HelperCall<'_>) -> Result<u64, FirmwareFault> {
        if helper == Helper::PerfEventOutput {
            return self.event(call);
        }
        let (_, map) = self.map(call.table())?;
        self.key.resize(map.spec().key_size as usize, 0);
        call.key(&mut self.key);
        Ok(match helper {
            Helper::MapLookup => map.lookup(self.queue, &self.key).map_or(0, |value| {
                self.values.push(value);
                map_pointer(FIRST_VALUE + (self.values.len() as u64 - 1) * VALUE_BYTES)
            }),
            Helper::MapUpdate => {
                let mut value = vec![0; map.spec().value_size as usize];
                call.value(&mut value);
                result(map.update(self.queue, &self.key, &value, call.argument(4)))
            }
            Helper::MapDelete => result(map.delete(&self.key)),
            Helper::PerfEventOutput => unreachable!("handled above"),
        })
    }

    fn random(&mut self) -> u32 {
        self.random.next_u32()
    }
}
