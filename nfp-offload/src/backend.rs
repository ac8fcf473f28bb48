//! The NFP as a backend: analysis, checks, translation and relocation at load, and one modelled
//! micro-engine context for each RX queue.

use std::sync::atomic::Ordering::Relaxed;

use iom_core::abi::{
    Backend, BackendError, Capabilities, Frame, Instance, LoadRequest, Outcome, QueueId, Recorder,
    Refusal, Trap, TrapKind, Worker, XdpAction,
};
use iom_core::map::{MapContents, MapSet, MapType};
use iom_core::memory::SharedBytes;
use iom_core::module::ProgramType;
use iom_core::verifier::{AnalyzeError, analyze};

use crate::check::check;
use crate::machine::{
    Config, CounterWidth, FRAME_LEN_MAX, Firmware, FirmwareFault, Helper, HelperCall, Memory,
    MicroEngine, OutOfBounds, Program, map_pointer,
};
use crate::profile::FirmwareProfile;
use crate::relocate::Image;
use crate::translate::{Input, mark_removed, translate};

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
}

/// What the translator made of a program: the image and its final words.
#[derive(Clone, Debug)]
pub struct Offload {
    /// Before relocation.
    pub image: Image,
    /// For this firmware, with ECC.
    pub words: Vec<u64>,
}

impl Nfp {
    /// Translates a program of a module, or says every reason why not.
    pub fn offload(
        &self,
        module: &iom_core::module::Module,
        entry: usize,
    ) -> Result<Offload, Vec<Refusal>> {
        let program = &module.programs[entry];
        let refusal = |insn, message| {
            vec![Refusal {
                program: entry,
                insn,
                message,
                fix: None,
            }]
        };
        let mut facts =
            analyze(program).map_err(|error| refusal(Some(insn_of(&error)), error.to_string()))?;
        let reasons = check(module, entry, &facts, &self.profile);
        if !reasons.is_empty() {
            return Err(reasons);
        }
        mark_removed(program, &mut facts);
        let map_ids: Vec<u32> = (1..).take(module.maps.len()).collect();
        let image = translate(Input {
            program,
            facts: &facts,
            profile: &self.profile,
            map_ids: &map_ids,
        })
        .map_err(|error| {
            let insn = (error.insn < program.insns.len()).then_some(error.insn);
            refusal(insn, error.to_string())
        })?;
        let words = image
            .relocate(&self.profile)
            .map_err(|error| refusal(None, error.to_string()))?;
        Ok(Offload { image, words })
    }

    /// Loads words, relocated for this firmware, onto a set of maps. `first_words` are those of
    /// each eBPF instruction, to name it when the machine faults.
    pub fn load_words(
        &self,
        words: &[u64],
        first_words: &[u16],
        maps: &MapSet,
    ) -> Result<Box<dyn Instance>, BackendError> {
        let program =
            Program::load(words, &self.profile).map_err(|fault| BackendError::Failed {
                backend: NAME,
                message: fault.to_string(),
            })?;
        Ok(Box::new(Loaded {
            program,
            first_words: first_words.to_vec(),
            maps: maps.clone(),
        }))
    }
}

const fn insn_of(error: &AnalyzeError) -> usize {
    match *error {
        AnalyzeError::LocalFunction { insn }
        | AnalyzeError::KernelFunction { insn }
        | AnalyzeError::LeavesProgram { insn } => insn,
    }
}

impl Backend for Nfp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        let profile = &self.profile;
        let split = usize::from(profile.inline_mtu) * 64 - 32;
        let longest = (profile.port_mtu as usize + LINK_HEADER_BYTES)
            .min(split)
            .min(FRAME_LEN_MAX);
        Capabilities {
            program_types: vec![ProgramType::Xdp],
            map_types: if profile.maps.is_some() {
                vec![MapType::Hash, MapType::Array]
            } else {
                Vec::new()
            },
            helpers: if profile.helpers.map_lookup == 0 {
                Vec::new()
            } else {
                vec![1]
            },
            frame_bytes: (FRAME_BYTES_MIN, longest),
            notes: vec![
                "of a return value only the action comes back; anything above tx is an abort"
                    .to_owned(),
                "zero extensions are kept where the Linux driver drops some: other words, same results"
                    .to_owned(),
                "no packet-changing helpers, no functions of the program's own".to_owned(),
            ],
        }
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Instance>, BackendError> {
        let offload = self
            .offload(request.module, request.entry)
            .map_err(|reasons| BackendError::Refused {
                backend: NAME,
                reasons,
                log: String::new(),
            })?;
        self.load_words(&offload.words, &offload.image.first_words, request.maps)
    }
}

struct Loaded {
    program: Program,
    first_words: Vec<u16>,
    maps: MapSet,
}

impl Instance for Loaded {
    fn worker(&self, queue: QueueId) -> Result<Box<dyn Worker + '_>, BackendError> {
        let card = Card {
            maps: &self.maps,
            queue,
            values: Vec::new(),
            key: Vec::new(),
        };
        Ok(Box::new(Context {
            program: &self.program,
            first_words: &self.first_words,
            engine: MicroEngine::new(Config::default()),
            card,
        }))
    }

    fn maps(&self) -> Result<Vec<MapContents>, BackendError> {
        Ok(self.maps.iter().map(|map| map.contents()).collect())
    }
}

/// An ME context that serves one RX queue.
struct Context<'a> {
    program: &'a Program,
    first_words: &'a [u16],
    engine: MicroEngine,
    card: Card<'a>,
}

impl Worker for Context<'_> {
    fn run(
        &mut self,
        frames: &mut [Frame],
        outcomes: &mut Vec<Outcome>,
        _recorder: Option<&mut Recorder>,
    ) -> Result<(), BackendError> {
        outcomes.clear();
        for frame in frames {
            outcomes.push(self.run_frame(frame));
        }
        Ok(())
    }
}

impl Context<'_> {
    fn run_frame(&mut self, frame: &mut Frame) -> Outcome {
        self.card.values.clear();
        match self
            .engine
            .run(self.program, frame.linear(), &mut self.card)
        {
            Ok(outcome) => {
                let (start, len) = (frame.data(), self.engine.packet().len());
                frame.memory_mut()[start..start + len].copy_from_slice(self.engine.packet());
                let action = outcome.result.xdp_action().unwrap_or(XdpAction::Aborted);
                Outcome {
                    retval: retval(action),
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
}

const fn retval(action: XdpAction) -> u32 {
    match action {
        XdpAction::Aborted => 0,
        XdpAction::Drop => 1,
        XdpAction::Pass => 2,
        XdpAction::Tx => 3,
        XdpAction::Redirect => 4,
    }
}

/// What is around the micro-engine: the maps. The values that a packet's lookups found get an
/// address each, [`VALUE_BYTES`] apart.
struct Card<'a> {
    maps: &'a MapSet,
    queue: QueueId,
    values: Vec<SharedBytes<'a>>,
    key: Vec<u8>,
}

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

impl Firmware for Card<'_> {
    fn call(&mut self, helper: Helper, call: &HelperCall<'_>) -> Result<u64, FirmwareFault> {
        // Other helpers have no address in a translated program: the checks refuse them.
        assert_eq!(helper, Helper::MapLookup, "only map lookups are translated");
        let map = call
            .table()
            .checked_sub(1)
            .and_then(|index| self.maps.get(index));
        let map = map.ok_or(FirmwareFault::UnknownTable {
            table: call.table(),
        })?;
        self.key.resize(map.spec().key_size as usize, 0);
        call.key(&mut self.key);
        Ok(map.lookup(self.queue, &self.key).map_or(0, |value| {
            self.values.push(value);
            map_pointer(FIRST_VALUE + (self.values.len() as u64 - 1) * VALUE_BYTES)
        }))
    }

    fn random(&mut self) -> u32 {
        unreachable!("random numbers are not translated")
    }
}
